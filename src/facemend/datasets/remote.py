"""Faces in archives and at URLs: pictures, zip, WebDataset, Parquet."""

import hashlib
import io
import lzma
import os
import posixpath
import re
import struct
import tarfile
import uuid
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np

from facemend.alignment import Points
from facemend.datasets.faces import FaceRecord, FaceSource, parse_table
from facemend.datasets.folder import IDENTITY_FILE, check_names
from facemend.errors import FacemendError, OutputError, PictureError, SourceError, reason_of
from facemend.files import MOST_TEXT_BYTES, UnfitFile, fingerprint_of, parse_json, refuse_links
from facemend.images import Image
from facemend.io import is_picture, read_image
from facemend.io.formats import is_hidden

MOST_BYTES = 256 << 20
"""The largest file that is read whole: a shard's part of a manifest, or a picture."""
_TEMPORARY = ".unfinished-"


def is_url(text: str) -> bool:
    """Whether a text is a URL, such as s3://bucket/folder, and no path of this machine."""
    return "://" in text


@dataclass(frozen=True)
class Place:
    """A file or folder on a file system. It can be pickled. Every process opens it for itself.

    Attributes:
        url: of it, or a path of this machine. What an address in S3 needs beyond the bucket stands in
            the URL (?region=…, ?endpoint_override=…) or in AWS's usual variables and files.
    """

    url: str

    def __str__(self) -> str:
        return self.url.partition("?")[0]

    def read(self, name: str, most_bytes: int = MOST_BYTES) -> bytes:
        """The bytes of a file below. Raises OSError, FileNotFoundError among them, also if it has more."""
        with self.open(name) as file:
            data: bytes = file.read(most_bytes + 1)
        if len(data) > most_bytes:
            raise UnfitFile(f"{self}/{name} has more than {most_bytes >> 20} MiB")
        return data

    def open(self, name: str = "") -> Any:
        """A file below, to be read from any position. Raises OSError, FileNotFoundError among them."""
        files, path = self._at(name)
        if files.type_name == "local" and Path(path).exists() and not Path(path).is_file():
            raise UnfitFile("it is not a regular file")  # a pipe would be waited for
        return files.open_input_file(path)

    def sha256(self, name: str) -> str | None:
        """The sha256 of a file below, hexadecimal. None if it is not there."""
        digest = hashlib.sha256()
        try:
            with self.open(name) as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        except FileNotFoundError:
            return None
        return digest.hexdigest()

    def write(self, name: str, data: bytes) -> None:
        """Writes a file below whole or not at all, over what was there.

        Raises:
            OutputError: the place refuses.
        """
        temporary = posixpath.join(posixpath.dirname(name), f"{_TEMPORARY}{uuid.uuid4().hex}")
        try:
            files, path = self._at(temporary)
            if files.type_name == "local":  # elsewhere folders are names alone
                refuse_links(Path(self._at("")[1]), Path(path).parent)
                files.create_dir(posixpath.dirname(path))
            try:
                with files.open_output_stream(path) as stream:
                    stream.write(data)
                files.move(path, self._at(name)[1])
            except OSError:
                with suppress(OSError):
                    files.delete_file(path)
                raise
        except OSError as error:
            raise OutputError(f"cannot write {self}/{name}: {reason_of(error)}") from error

    def files(self, folder: str = "") -> Iterator[tuple[str, int, int]]:
        """The files below a folder, in order: name as `read` takes it, bytes, time of change in ns.

        Unfinished ones are not listed. A folder that is not there has none.
        """
        for name, info in self._infos(folder):
            if not posixpath.basename(name).startswith(_TEMPORARY):
                yield name, info.size, info.mtime_ns or 0

    def remove(self, name: str) -> None:
        """Removes a file below, if it is there."""
        files, path = self._at(name)
        with suppress(FileNotFoundError):
            files.delete_file(path)

    def sweep(self) -> None:
        """Removes what killed writers left."""
        for name, _ in self._infos(""):
            if posixpath.basename(name).startswith(_TEMPORARY):
                self.remove(name)

    def _infos(self, folder: str) -> list[tuple[str, Any]]:
        from pyarrow import fs

        files, path = self._at(folder)
        if files.type_name == "local":
            return _local_infos(files, path, self._at("")[1])
        selector = fs.FileSelector(path, recursive=True, allow_not_found=True)
        base = self._at("")[1]
        found = [info for info in files.get_file_info(selector) if info.type == fs.FileType.File]
        return sorted(((posixpath.relpath(info.path, base), info) for info in found), key=itemgetter(0))

    def _at(self, name: str) -> tuple[Any, str]:
        files, base = _file_system(self.url)
        return files, posixpath.join(base, name) if name else base


def _local_infos(files: Any, folder: str, base: str) -> list[tuple[str, Any]]:
    """The files below a folder of this machine. Subfolders that are links are not entered."""
    from pyarrow import fs

    paths = [os.path.join(home, name) for home, _, names in os.walk(folder) for name in names]  # noqa: PTH118
    found = [info for info in files.get_file_info(paths) if info.type == fs.FileType.File]
    return sorted(((posixpath.relpath(info.path, base), info) for info in found), key=itemgetter(0))


_opened: dict[str, tuple[Any, str]] = {}


def _file_system(url: str) -> tuple[Any, str]:
    """PyArrow's file system for a URL or a path, and the path in it. Each process opens a URL once."""
    if url not in _opened:
        try:
            from pyarrow import ArrowInvalid, fs
        except ModuleNotFoundError as error:
            raise FacemendError(f"{url} needs the extra scale: pip install 'facemend[scale]'") from error
        if not is_url(url):
            # Not kept: a relative path starts where the process is now.
            return fs.LocalFileSystem(), Path(url).absolute().as_posix()
        try:
            try:
                _opened[url] = fs.FileSystem.from_uri(url)
            except ArrowInvalid:  # not one of PyArrow's own
                _opened[url] = fs.FileSystem.from_uri(f"fsspec+{url}")
        except (OSError, ValueError, ImportError) as error:
            raise SourceError(f"cannot open {url}: {reason_of(error)}") from error
    return _opened[url]


MOST_MEMBER_BYTES: Final = 256 << 20
"""The largest picture in an archive, a tar or a Parquet file: far more than any crop of a face."""
_MOST_RATIO: Final = 200
"""Of a member's size to what it takes in the archive. Pictures hardly shrink, a bomb 1,000 times."""
_FREE_BYTES: Final = 1 << 20
"""Smaller members may shrink as they like."""

MEMBER_ERRORS: Final = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    RuntimeError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
)
"""What zipfile raises on archives that are damaged, encrypted, or made to harm."""


def read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """The bytes of a member.

    Raises:
        ValueError: it is larger than any picture, or shrinks as no picture does.
        Exception: one of MEMBER_ERRORS.
    """
    info = archive.getinfo(name)
    if info.file_size > MOST_MEMBER_BYTES:
        raise ValueError(f"it takes {info.file_size >> 20} MiB, more than any picture here")
    if info.file_size > max(_FREE_BYTES, _MOST_RATIO * info.compress_size):
        raise ValueError(f"{info.compress_size} bytes would become {info.file_size}; it is no picture")
    with archive.open(info) as file:
        # The directory may lie about the size.
        data = file.read(info.file_size + 1)
    if len(data) > info.file_size:
        raise ValueError("it is larger than the archive says")
    return data


ARCHIVES = (".zip", ".tar", ".parquet")
_PICTURE_COLUMNS = ("image", "target")
"""Where a Parquet file's pictures are: bytes, or Hugging Face's struct with bytes in it."""
_MOST_NOTE_BYTES = 1 << 20
"""The largest KEY.json in a tar."""
_MOST_GROUP_BYTES = 1 << 30
"""The largest column of a Parquet row group, unpacked; those of Hugging Face and ours take some 100 MB."""
_MOST_WORD = 4096
"""Letters of a name or of a person's."""
_NOTE_ROWS = 4096
"""Rows of a Parquet file whose names are read together."""
_MANY_DIGITS = re.compile(rb"[0-9]{100}")
_DAMAGED = (*MEMBER_ERRORS, tarfile.TarError, OverflowError, MemoryError, IndexError, TypeError)
"""The last two are among PyArrow's, of an index or a type that a file lies about."""


@dataclass(frozen=True)
class Entry:
    """Where one picture lies.

    Attributes:
        file: the file that holds it, below the source's place.
        where: its member in a zip, offset and bytes in a tar, row group and row in Parquet. None
            in a folder.
        identity, landmarks: what is said of it there, if anything.
    """

    file: str
    where: Any = None
    identity: str | None = None
    landmarks: Points | None = None


def open_stored(url: str) -> FaceSource:
    """Opens the faces at a URL or a path: a folder of pictures or of shards, or one such file.

    Who is who: `identity` in a tar's KEY.json or in a column; for pictures and zips identities.csv beside
    them, else the subfolder that a picture lies in. `landmarks`, ten numbers in the 178×218 frame, are
    taken from the same places where they are.

    Raises:
        SourceError: nothing there, or nothing that can be understood.
    """
    home = url.rstrip("/")
    place, files = _list(home)
    names = [name for name, _, _ in files if not is_hidden(PurePosixPath(name))]
    kinds = {posixpath.splitext(name)[1].lower() for name in names}
    # Tar first: beside the tar shards of a dataset that facemend built lies a manifest of Parquet.
    kind = next((kind for kind in (".tar", ".parquet", ".zip") if kind in kinds), None)
    inside = [name for name in names if kind is None or name.lower().endswith(kind)]
    try:
        entries = dict(_READERS[kind].entries(place, inside))
    except _DAMAGED as error:
        raise SourceError(f"{place} cannot be read: {error}") from error
    if not entries:
        raise SourceError(f"{place} holds no pictures")
    check_names(place, entries)
    name = posixpath.basename(str(place))
    people = _identities(place, entries)
    records = [
        FaceRecord(key, f"{name}:{people[key]}" if key in people else None, entries[key].landmarks)
        for key in sorted(entries)
    ]
    reader = _Pictures(place, entries, _READERS[kind])
    return FaceSource(name, records, reader, fingerprint_of(*files))


def _list(url: str) -> tuple[Place, list[tuple[str, int, int]]]:
    """The place and the files in it; of a single file, its folder and itself."""
    if url.partition("?")[0].lower().endswith(ARCHIVES):
        path, question, query = url.partition("?")
        folder, name = posixpath.split(path)
        place = Place(folder + question + query)
        files = [info for info in place.files() if info[0] == name]
    else:
        place = Place(url)
        files = list(place.files())
    if not files:
        said = url.partition("?")[0]
        raise SourceError(f"{said} holds no files; pass a folder, a zip, tar shards or Parquet")
    return place, files


def _identities(place: Place, entries: Mapping[str, Entry]) -> dict[str, str]:
    """Who the pictures show, as far as it is known."""
    known = {key: entry.identity for key, entry in entries.items() if entry.identity is not None}
    if known:
        return known
    try:
        data = place.read(IDENTITY_FILE, MOST_TEXT_BYTES)
    except FileNotFoundError:
        return {key: key.rsplit("/", 1)[0] for key in entries if "/" in key}
    except OSError as error:
        raise SourceError(f"{place}/{IDENTITY_FILE} cannot be read: {error}") from error
    rows = parse_table(data, f"{place}/{IDENTITY_FILE}", ("file", "identity"))
    return {row["file"]: row["identity"] for row in rows if row["identity"]}


@dataclass
class _Pictures:
    """Reads the pictures of a source; each process keeps the file open that it read last."""

    place: Place
    entries: Mapping[str, Entry]
    reader: "_Reader"
    _held: dict[str, Any] = field(default_factory=dict)

    def __reduce__(self) -> tuple[Any, ...]:
        return _Pictures, (self.place, self.entries, self.reader)

    def __call__(self, name: str) -> Image:
        entry = self.entries[name]
        try:
            data = self.reader.read(self.place, entry, self._held)
        except _DAMAGED as error:
            raise PictureError(f"{self.place}/{entry.file} has no readable {name}: {error}") from error
        return read_image(io.BytesIO(data), name=f"{self.place}/{entry.file}: {name}")


@dataclass(frozen=True)
class _Reader:
    """How one kind of file is listed and read.

    Attributes:
        entries: the place and its files -> every picture's name and where it lies.
        read: the place, an entry, and what the process holds open -> the picture's bytes.
    """

    entries: Callable[[Place, list[str]], Iterator[tuple[str, Entry]]]
    read: Callable[[Place, Entry, dict[str, Any]], bytes]


def _hold(held: dict[str, Any], key: str, open_it: Callable[[], Any]) -> Any:
    """What is open under a key; one at a time, so that memory does not grow."""
    if key not in held:
        held.clear()
        held[key] = open_it()
    return held[key]


def _list_folder(place: Place, files: list[str]) -> Iterator[tuple[str, Entry]]:
    yield from ((name, Entry(name)) for name in files if is_picture(name))


def _read_folder(place: Place, entry: Entry, held: dict[str, Any]) -> bytes:
    return place.read(entry.file)


def _list_zip(place: Place, files: list[str]) -> Iterator[tuple[str, Entry]]:
    for file in files:
        with place.open(file) as data, zipfile.ZipFile(data) as archive:
            yield from ((name, Entry(file, name)) for name in archive.namelist() if is_picture(name))


def _read_zip(place: Place, entry: Entry, held: dict[str, Any]) -> bytes:
    archive = _hold(held, entry.file, lambda: zipfile.ZipFile(place.open(entry.file)))
    return read_member(archive, entry.where)


def _list_tar(place: Place, files: list[str]) -> Iterator[tuple[str, Entry]]:
    """A picture is KEY.jpg (or .png, .webp), or KEY.target.png of a dataset that facemend built."""
    for file in files:
        pictures: dict[str, tarfile.TarInfo] = {}
        notes: dict[str, dict[str, Any]] = {}
        with (
            place.open(file) as data,
            tarfile.open(fileobj=data, mode="r:", tarinfo=_Member) as archive,
        ):
            for member in archive:
                key, _, ending = member.name.rpartition("/")[2].partition(".")
                key = posixpath.join(posixpath.dirname(member.name), key)
                if not member.isreg():  # a link, perhaps to nothing, or a device
                    continue
                if ending == "json":
                    notes[key] = _note(archive, member)
                elif is_picture(member.name) and not ending.startswith(("occluded.", "alpha.")):
                    pictures[key] = member
        for key, member in pictures.items():
            note = notes.get(key, {})
            name = str(note.get("source", member.name))
            where = member.offset_data, member.size
            yield name, Entry(file, where, _word(note.get("identity")), _points(note.get("landmarks")))


class _Member(tarfile.TarInfo):
    """A member of a tar that no stranger made to take for ever.

    Python before 3.11.10 and 3.11.14 searches an extended header in time that grows with the square of its
    digits (CVE-2024-6232), and goes back and forth where a size is negative (CVE-2025-8194).
    """

    def _block(self, count: int) -> int:
        if count < 0:
            raise tarfile.ReadError("a member has a negative size")
        return super()._block(count)  # type: ignore[misc, no-any-return]

    def _proc_gnulong(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if self.size > _MOST_NOTE_BYTES:
            raise tarfile.ReadError("a name is longer than any")
        return super()._proc_gnulong(archive)  # type: ignore[misc, no-any-return]

    def _proc_pax(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if self.size > _MOST_NOTE_BYTES:
            raise tarfile.ReadError("a header is larger than any")
        file: Any = archive.fileobj
        start = file.tell()
        if _MANY_DIGITS.search(file.read(self.size)):
            raise tarfile.ReadError("a header has a number that is longer than any")
        file.seek(start)
        return super()._proc_pax(archive)  # type: ignore[misc, no-any-return]


def _note(archive: tarfile.TarFile, member: tarfile.TarInfo) -> dict[str, Any]:
    """What a KEY.json says. Raises ValueError: it is too large, or no JSON with keys."""
    if member.size > _MOST_NOTE_BYTES:
        raise ValueError(f"{member.name} takes {member.size} bytes, more than any note")
    file = archive.extractfile(member)
    note = parse_json(file.read() if file else b"{}")
    if not isinstance(note, dict):
        raise ValueError(f"{member.name} is no JSON with keys and values")
    return note


def _read_tar(place: Place, entry: Entry, held: dict[str, Any]) -> bytes:
    offset, size = entry.where
    if size > MOST_MEMBER_BYTES:
        raise ValueError(f"it takes {size >> 20} MiB, more than any picture here")
    file = _hold(held, entry.file, lambda: place.open(entry.file))
    file.seek(offset)
    data: bytes = file.read(size)
    return data


def _list_parquet(place: Place, files: list[str]) -> Iterator[tuple[str, Entry]]:
    for file in files:
        with place.open(file) as data, _arrow_errors():
            table = _open_parquet(data)
            columns = table.schema_arrow.names
            if not set(_PICTURE_COLUMNS) & set(columns):
                continue  # a manifest, for example
            if table.metadata.num_rows > data.size():  # every row becomes an entry
                raise ValueError(f"{file} has more rows than bytes")
            wanted = [name for name in ("source", "file", "identity", "landmarks") if name in columns]
            for group in range(table.num_row_groups):
                _refuse_group(table, group, wanted)
                for row, note in enumerate(_notes(table, group, wanted)):
                    name = _word(note.get("source")) or _word(note.get("file")) or f"{file}/{group}/{row}"
                    known = _word(note.get("identity")), _points(note.get("landmarks"))
                    yield name, Entry(file, (group, row), *known)


def _notes(table: Any, group: int, columns: list[str]) -> Iterator[dict[str, Any]]:
    """What a row group says of its rows, in pieces of some rows."""
    if not columns:
        yield from ({} for _ in range(table.metadata.row_group(group).num_rows))
        return
    for batch in table.iter_batches(_NOTE_ROWS, row_groups=[group], columns=columns):
        for column in batch.columns:
            texts = getattr(column, "dictionary", ())
            if any(len(str(text)) > _MOST_WORD for text in texts):
                raise ValueError(f"it has a name of more than {_MOST_WORD} letters")
        yield from batch.to_pylist()


@contextmanager
def _arrow_errors() -> Iterator[None]:
    """Turns what Arrow raises of a damaged file into a ValueError."""
    from pyarrow import ArrowException

    try:
        yield
    except ArrowException as error:
        raise ValueError(str(error)) from error


def _open_parquet(data: Any) -> Any:
    """A Parquet file whose values are kept as they lie in it: one that comes in a million rows, once."""
    from pyarrow import parquet

    described = parquet.read_metadata(data)
    schema = described.schema
    columns = (schema.column(number) for number in range(len(schema)))
    once = [column.path for column in columns if column.physical_type == "BYTE_ARRAY"]
    data.seek(0)
    return parquet.ParquetFile(data, metadata=described, read_dictionary=once)


def _refuse_group(table: Any, group: int, columns: list[str]) -> None:
    """Raises ValueError: columns of a row group would take too much memory, by what its file says."""
    described = table.metadata.row_group(group)
    for number in range(described.num_columns):
        column = described.column(number)
        if column.path_in_schema.partition(".")[0] in columns:
            size = column.total_uncompressed_size
            if size > _MOST_GROUP_BYTES:
                raise ValueError(f"a row group takes {size >> 20} MiB; write it anew with smaller ones")


def _read_parquet(place: Place, entry: Entry, held: dict[str, Any]) -> bytes:
    group, row = entry.where
    with _arrow_errors():
        column = _hold(held, f"{entry.file} {group}", lambda: _read_group(place, entry.file, group))
        value = column[row].as_py()
    data = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(data, bytes):
        raise ValueError("there are no bytes of a picture")
    return data


def _read_group(place: Place, file: str, group: int) -> Any:
    with place.open(file) as data:
        table = _open_parquet(data)
        name = next(name for name in _PICTURE_COLUMNS if name in table.schema_arrow.names)
        _refuse_group(table, group, [name])
        return table.read_row_group(group, [name]).column(0)


def _word(value: object) -> str | None:
    return None if value in (None, "") else str(value)


def _points(value: object) -> Points | None:
    """Ten numbers, or five pairs. None for anything else, such as a word about them."""
    try:
        points: Points = np.array(value, dtype=np.float64).reshape(5, 2)
    except (TypeError, ValueError):
        return None
    return points


_READERS: Mapping[str | None, _Reader] = {
    None: _Reader(_list_folder, _read_folder),
    ".zip": _Reader(_list_zip, _read_zip),
    ".tar": _Reader(_list_tar, _read_tar),
    ".parquet": _Reader(_list_parquet, _read_parquet),
}

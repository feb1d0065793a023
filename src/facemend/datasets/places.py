"""Folders wherever they are: on this machine, in S3, Google Cloud Storage or what else fsspec knows."""

import hashlib
import posixpath
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facemend.errors import FacemendError, OutputError, SourceError
from facemend.files import UnfitFile

MOST_BYTES = 256 << 20
"""The largest file that is read whole: a shard's part of a manifest, or a picture."""
_TEMPORARY = ".unfinished-"


def is_url(text: str) -> bool:
    """Whether a text is a URL, such as s3://bucket/folder, and no path of this machine."""
    return "://" in text


@dataclass(frozen=True)
class Place:
    """A file or folder on a file system. It can be pickled; every process opens it for itself.

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
            raise UnfitFile("it is no regular file")  # a pipe would be waited for
        return files.open_input_file(path)

    def sha256(self, name: str) -> str | None:
        """The sha256 of a file below, hexadecimal; None if it is not there."""
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
            raise OutputError(f"cannot write {self}/{name}: {_reason(error)}") from error

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
        selector = fs.FileSelector(path, recursive=True, allow_not_found=True)
        base = self._at("")[1]
        found = [info for info in files.get_file_info(selector) if info.type == fs.FileType.File]
        return sorted((posixpath.relpath(info.path, base), info) for info in found)

    def _at(self, name: str) -> tuple[Any, str]:
        files, base = _file_system(self.url)
        return files, posixpath.join(base, name) if name else base


_opened: dict[str, tuple[Any, str]] = {}


def _file_system(url: str) -> tuple[Any, str]:
    """PyArrow's file system for a URL or a path, and the path in it; each process opens it once."""
    if url not in _opened:
        try:
            from pyarrow import ArrowInvalid, fs
        except ModuleNotFoundError as error:
            raise FacemendError(f"{url} needs the extra scale: pip install 'facemend[scale]'") from error
        if not is_url(url):
            _opened[url] = fs.LocalFileSystem(), Path(url).absolute().as_posix()
            return _opened[url]
        try:
            try:
                _opened[url] = fs.FileSystem.from_uri(url)
            except ArrowInvalid:  # not one of PyArrow's own
                _opened[url] = fs.FileSystem.from_uri(f"fsspec+{url}")
        except (OSError, ValueError, ImportError) as error:
            raise SourceError(f"cannot open {url}: {_reason(error)}") from error
    return _opened[url]


def _reason(error: BaseException) -> str:
    """An error in one line."""
    return getattr(error, "strerror", None) or (str(error).splitlines() or [type(error).__name__])[0]

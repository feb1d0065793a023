"""CelebA in its official layout, as users download it.

Liu et al., "Deep Learning Face Attributes in the Wild", ICCV 2015. The pictures stay in
`img_align_celeba.zip`, or in a folder `img_align_celeba/`. The annotations beside them are read if
they exist.
"""

import os
import zipfile
from pathlib import Path, PurePosixPath

from facemend.alignment import Points
from facemend.datasets.faces import FaceRecord, FaceSource, ReadPicture, points_of
from facemend.datasets.remote import MEMBER_ERRORS, read_member
from facemend.errors import PictureError, SourceError
from facemend.files import fingerprint_of, open_named, read_named
from facemend.images import Image
from facemend.io import find_pictures, is_picture, read_image

ARCHIVE = "img_align_celeba.zip"
FOLDER = "img_align_celeba"
IDENTITIES = "identity_CelebA.txt"
LANDMARKS = "list_landmarks_align_celeba.txt"
ATTRIBUTES = "list_attr_celeba.txt"
PARTITION = "list_eval_partition.txt"
_SUFFIX = ".jpg"


def is_celeba(root: Path) -> bool:
    """Whether a path looks like CelebA: the archive, its folder, or the folder that holds either."""
    return root.name in (ARCHIVE, FOLDER) or any((root / name).exists() for name in (ARCHIVE, FOLDER))


def open_celeba(root: Path) -> FaceSource:
    """Opens CelebA: pictures from the archive or the folder, with the annotations that exist.

    Raises:
        SourceError: no pictures, or an annotation file that cannot be parsed.
    """
    home = root.parent if root.name in (ARCHIVE, FOLDER) else root
    pictures = root if root.name in (ARCHIVE, FOLDER) else home / ARCHIVE
    if not pictures.exists():
        pictures = home / FOLDER
    if pictures.is_dir():
        found = find_pictures(pictures, recursive=False)
        names = [path.name for path in found if path.suffix == _SUFFIX]
        read: ReadPicture = _FolderReader(pictures)
        fingerprint = fingerprint_of("folder", len(names), pictures.stat().st_mtime_ns)
    else:
        read_zip = _ZipReader(pictures)
        names, read = read_zip.names(), read_zip
        stat = pictures.stat()
        fingerprint = fingerprint_of("zip", stat.st_size, stat.st_mtime_ns)
    if not names:
        raise SourceError(f"{pictures} holds no .jpg pictures")
    identities = _read_identities(home / IDENTITIES)
    landmarks = _read_landmarks(home / LANDMARKS)
    attributes = _read_attributes(home / ATTRIBUTES)
    records = [
        FaceRecord(name, identities.get(name), landmarks.get(name), attributes.get(name, {}))
        for name in names
    ]
    return FaceSource("CelebA", records, read, fingerprint)


def read_partition(path: Path) -> dict[str, str]:
    """CelebA's own partition by file name: train, val or test. It splits by person as well.

    Args:
        path: of `list_eval_partition.txt`.

    Raises:
        SourceError: the file is missing or not in CelebA's format.
    """
    if not path.exists():
        raise SourceError(f"{path} is missing; it is part of CelebA's download")
    words = {"0": "train", "1": "val", "2": "test"}
    try:
        return {name: words[number] for name, number in _rows(path, 2)}
    except KeyError as error:
        raise SourceError(f"{path} has the partition {error}; CelebA knows 0, 1 and 2") from error


class _FolderReader:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, name: str) -> Image:
        return read_image(self._folder / name)


class _ZipReader:
    """Reads from the archive. Each process opens its own handle."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._owner = -1
        self._archive: zipfile.ZipFile | None = None

    def __reduce__(self) -> tuple[type["_ZipReader"], tuple[Path]]:
        return _ZipReader, (self._path,)

    def names(self) -> list[str]:
        members = (PurePosixPath(name) for name in self._open().namelist())
        ours = (path for path in members if path.parent == PurePosixPath(FOLDER) and is_picture(path))
        return sorted(path.name for path in ours if path.suffix == _SUFFIX)

    def __call__(self, name: str) -> Image:
        try:
            data = read_member(self._open(), f"{FOLDER}/{name}")
            return read_image(data, name=f"{self._path}: {name}")
        except MEMBER_ERRORS as error:
            raise PictureError(f"{self._path} has no readable {FOLDER}/{name}") from error

    def _open(self) -> zipfile.ZipFile:
        if self._archive is None or self._owner != os.getpid():
            try:
                self._archive = zipfile.ZipFile(open_named(self._path))
            except MEMBER_ERRORS as error:
                raise SourceError(f"{self._path} is not a readable zip archive: {error}") from error
            self._owner = os.getpid()
        return self._archive


def _lines(path: Path) -> list[str]:
    try:
        return read_named(path).decode("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path} cannot be read: {error}") from error


def _rows(path: Path, columns: int) -> list[list[str]]:
    """The whitespace-separated rows of an annotation file; rows of another length raise SourceError."""
    rows = [line.split() for line in _lines(path) if line.strip()]
    for number, row in enumerate(rows, 1):
        if len(row) != columns:
            raise SourceError(f"{path}, line {number}: {len(row)} columns instead of {columns}")
    return rows


def _read_identities(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    return {name: f"celeba:{number}" for name, number in _rows(path, 2)}


def _read_landmarks(path: Path) -> dict[str, Points]:
    if not path.exists():
        return {}
    lines = _lines(path)[2:]
    try:
        return {name: points_of(values) for name, *values in map(str.split, filter(str.strip, lines))}
    except ValueError as error:
        raise SourceError(f"{path} is not in CelebA's format: {error}") from error


def _read_attributes(path: Path) -> dict[str, dict[str, bool]]:
    if not path.exists():
        return {}
    lines = _lines(path)
    header = lines[1].split() if len(lines) > 1 else []
    table = {}
    for line in filter(str.strip, lines[2:]):
        name, *values = line.split()
        if len(values) != len(header):
            raise SourceError(f"{path}: {name} has {len(values)} values for {len(header)} attributes")
        table[name] = {word: value == "1" for word, value in zip(header, values, strict=True)}
    return table

"""CelebA in its official layout, as users download it.

Liu et al., "Deep Learning Face Attributes in the Wild", ICCV 2015. The pictures stay in
`img_align_celeba.zip`, or in a folder `img_align_celeba/`. The annotations beside them are read if
they exist. Kaggle's copy has a folder of that name in the folder, and the annotations as CSV. The authors'
own drive has them in the folders Img, Anno and Eval.
"""

import os
import weakref
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
_PICTURES, _ANNOTATIONS = "Img", ("Anno", "Eval")
_SUFFIX = ".jpg"


def is_celeba(root: Path) -> bool:
    """Whether a path looks like CelebA: the archive, its folder, or the folder that holds either."""
    return root.name in (ARCHIVE, FOLDER) or any(place.exists() for place in _places(root))


def _places(home: Path) -> tuple[Path, ...]:
    """Where the pictures may lie below a folder that holds all of CelebA."""
    return home / ARCHIVE, home / FOLDER, home / _PICTURES / ARCHIVE, home / _PICTURES / FOLDER


def open_celeba(root: Path) -> FaceSource:
    """Opens CelebA: pictures from the archive or the folder, with the annotations that exist.

    Raises:
        SourceError: no pictures, or an annotation file that cannot be parsed.
    """
    home = root.parent if root.name in (ARCHIVE, FOLDER) else root
    if root.name in (ARCHIVE, FOLDER):
        pictures = root
    else:
        pictures = next((place for place in _places(home) if place.exists()), home / FOLDER)
    if home.name in (FOLDER, _PICTURES):  # the inner one of Kaggle's, or of the authors' drive
        home = home.parent
    if (pictures / FOLDER).is_dir():
        pictures = pictures / FOLDER
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
    found = _found(path)
    if found is None:
        raise SourceError(f"{path} is missing; it is part of CelebA's download")
    words = {"0": "train", "1": "val", "2": "test"}
    try:
        return {name: words[number] for name, number in _rows(found, 2)}
    except KeyError as error:
        raise SourceError(f"{path} has the partition {error}; CelebA knows 0, 1 and 2") from error


class _FolderReader:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, name: str) -> Image:
        return read_image(self._folder / name)


class _ZipReader:
    """Reads from the archive. Each process opens its own handle."""

    def __init__(self, path: Path, folder: str = FOLDER) -> None:
        self._path, self._folder = path, folder
        self._owner = -1
        self._archive: zipfile.ZipFile | None = None

    def __reduce__(self) -> tuple[type["_ZipReader"], tuple[Path, str]]:
        return _ZipReader, (self._path, self._folder)

    def names(self) -> list[str]:
        members = (PurePosixPath(name) for name in self._open().namelist())
        ours = [path for path in members if path.parent.name == FOLDER and is_picture(path)]
        self._folder = str(ours[0].parent) if ours else FOLDER
        return sorted(
            path.name for path in ours if path.suffix == _SUFFIX and str(path.parent) == self._folder
        )

    def __call__(self, name: str) -> Image:
        try:
            data = read_member(self._open(), f"{self._folder}/{name}")
            return read_image(data, name=f"{self._path}: {name}")
        except MEMBER_ERRORS as error:
            raise PictureError(f"{self._path} has no readable {self._folder}/{name}") from error

    def _open(self) -> zipfile.ZipFile:
        if self._archive is None or self._owner != os.getpid():
            try:
                file = open_named(self._path)
                weakref.finalize(self, file.close)
                self._archive = zipfile.ZipFile(file)
            except MEMBER_ERRORS as error:
                raise SourceError(f"{self._path} is not a readable zip archive: {error}") from error
            self._owner = os.getpid()
        return self._archive


def _found(path: Path) -> Path | None:
    """An annotation as it is published, or as Kaggle has it. None if there is neither."""
    folders = (path.parent, *(path.parent / name for name in _ANNOTATIONS))
    places = (folder / name for folder in folders for name in (path.name, path.with_suffix(".csv").name))
    return next((place for place in places if place.exists()), None)


def _lines(path: Path, header: int) -> list[str]:
    """The lines of an annotation, its words separated by blanks.

    Args:
        header: how many lines CelebA has before the rows: their number, and the columns' names. CSV always
            begins with the names, that of the file's own column first.
    """
    if path.suffix == ".csv":
        columns, *rows = [line.replace(",", " ") for line in _text_lines(path)] or [""]
        names = columns.partition(" ")[2]
        return ([str(len(rows)), names] if header else []) + rows
    return _text_lines(path)


def _text_lines(path: Path) -> list[str]:
    try:
        return read_named(path).decode("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path} cannot be read: {error}") from error


def _rows(path: Path, columns: int) -> list[list[str]]:
    """The whitespace-separated rows of an annotation file; rows of another length raise SourceError."""
    rows = [line.split() for line in _lines(path, 0) if line.strip()]
    for number, row in enumerate(rows, 1):
        if len(row) != columns:
            raise SourceError(f"{path}, line {number}: {len(row)} columns instead of {columns}")
    return rows


def _read_identities(path: Path) -> dict[str, str]:
    found = _found(path)
    if found is None:
        return {}
    return {name: f"celeba:{number}" for name, number in _rows(found, 2)}


def _read_landmarks(path: Path) -> dict[str, Points]:
    found = _found(path)
    if found is None:
        return {}
    lines = _lines(found, 2)[2:]
    try:
        return {name: points_of(values) for name, *values in map(str.split, filter(str.strip, lines))}
    except ValueError as error:
        raise SourceError(f"{path} is not in CelebA's format: {error}") from error


def _read_attributes(path: Path) -> dict[str, dict[str, bool]]:
    found = _found(path)
    if found is None:
        return {}
    lines = _lines(found, 2)
    header = lines[1].split() if len(lines) > 1 else []
    table = {}
    for line in filter(str.strip, lines[2:]):
        name, *values = line.split()
        if len(values) != len(header):
            raise SourceError(f"{path}: {name} has {len(values)} values for {len(header)} attributes")
        table[name] = {word: value == "1" for word, value in zip(header, values, strict=True)}
    return table

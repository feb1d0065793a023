"""Any folder of face crops: 178×218 frames or square pictures."""

import warnings
from collections.abc import Iterable
from pathlib import Path

from facemend.datasets.faces import FaceRecord, FaceSource, fingerprint_of
from facemend.datasets.tables import parse_table
from facemend.errors import SourceError
from facemend.files import read_named
from facemend.images import PICTURE_SUFFIXES, Image
from facemend.photos import read_image

IDENTITY_FILE = "identities.csv"


def open_folder(root: Path) -> FaceSource:
    """Opens a folder of face crops, subfolders included.

    Who is who: `identities.csv` (columns file, identity) in the folder if there is one, else the
    subfolder that a picture lies in, else every picture is taken for another person, with a warning.

    Raises:
        SourceError: no such folder, no pictures in it, or a picture that the CSV does not name.
    """
    if not root.is_dir():
        raise SourceError(f"{root} is no folder; pass CelebA's folder or zip, or a folder of face crops")
    # Pipes, devices, and links to nothing are no pictures, whatever they are called.
    paths = sorted(
        path for path in root.rglob("*") if path.suffix.lower() in PICTURE_SUFFIXES and path.is_file()
    )
    if not paths:
        raise SourceError(f"{root} holds no pictures")
    names = [path.relative_to(root).as_posix() for path in paths]
    check_names(root, names)
    identities = _identities(root, names)
    records = [FaceRecord(name, f"{root.name}:{identities[name]}") for name in names]
    newest = max(path.stat().st_mtime_ns for path in paths)
    return FaceSource(root.name, records, _Reader(root), fingerprint_of(newest, *names))


def check_names(where: object, names: Iterable[str]) -> None:
    """Makes sure that names can be written into manifests. Raises SourceError: one is not UTF-8."""
    for name in names:
        if not name.isascii() and any("\ud800" <= letter <= "\udfff" for letter in name):
            shown = name.encode("utf-8", "backslashreplace").decode()
            raise SourceError(f"{where} holds {shown}, whose name is not UTF-8; rename it")


def _identities(root: Path, names: list[str]) -> dict[str, str]:
    table = root / IDENTITY_FILE
    if table.exists():
        try:
            data = read_named(table)
        except OSError as error:
            raise SourceError(f"{table} cannot be read: {error.strerror or error}") from error
        rows = parse_table(data, str(table), ("file", "identity"))
        known = {row["file"]: row["identity"] for row in rows if row["identity"]}
        missing = [name for name in names if name not in known]
        if missing:
            raise SourceError(f"{table} does not name {missing[0]} ({len(missing)} pictures missing)")
        return known
    if all("/" in name for name in names):
        return {name: name.rsplit("/", 1)[0] for name in names}
    warnings.warn(
        f"{root} has no {IDENTITY_FILE} and no subfolders: every picture is taken for another person",
        stacklevel=3,
    )
    return {name: name for name in names}


class _Reader:
    def __init__(self, root: Path) -> None:
        self._root = root

    def __call__(self, name: str) -> Image:
        return read_image(self._root / name)

"""Any folder of face crops: 178×218 frames or square pictures."""

import csv
import warnings
from pathlib import Path

from facemend.datasets.faces import FaceRecord, FaceSource, fingerprint_of
from facemend.errors import SourceError
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
    paths = sorted(path for path in root.rglob("*") if path.suffix.lower() in PICTURE_SUFFIXES)
    if not paths:
        raise SourceError(f"{root} holds no pictures")
    names = [path.relative_to(root).as_posix() for path in paths]
    identities = _identities(root, names)
    records = [FaceRecord(name, f"{root.name}:{identities[name]}") for name in names]
    newest = max(path.stat().st_mtime_ns for path in paths)
    return FaceSource(root.name, records, _Reader(root), fingerprint_of(newest, *names))


def _identities(root: Path, names: list[str]) -> dict[str, str]:
    table = root / IDENTITY_FILE
    if table.exists():
        with table.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
        if not rows or not {"file", "identity"} <= set(rows[0]):
            raise SourceError(f"{table} needs the columns file and identity")
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

"""Folders of face crops, with or without a table about them."""

import warnings
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from facemend.alignment import Points
from facemend.datasets.faces import (
    AGE,
    COVERAGE,
    ITA,
    SCALE,
    SEX,
    SOURCE,
    YAW,
    FaceRecord,
    FaceSource,
    parse_table,
    points_of,
)
from facemend.errors import SourceError, reason_of
from facemend.files import fingerprint_of, parse_csv, read_named, real_path
from facemend.images import Image
from facemend.io import find_pictures, read_image
from facemend.terminal import printable

IDENTITY_FILE = "identities.csv"


def open_folder(root: Path, leave_out: Iterable[Path] = ()) -> FaceSource:
    """Opens a folder of face crops, subfolders included.

    Who is who: `identities.csv` (columns file, identity) in the folder if there is one, else the
    subfolder that a picture lies in, else every picture is taken for another person, with a warning.

    Args:
        leave_out: output folders, whose pictures are not faces of this source.

    Raises:
        SourceError: no such folder, no pictures in it, or a picture that the CSV does not name.
    """
    if not root.is_dir():
        raise SourceError(f"{root} is no folder; pass CelebA's folder or zip, or a folder of face crops")
    paths = find_pictures(root, leave_out=leave_out)
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
            raise SourceError(f"{where} holds {printable(name)}, whose name is not UTF-8; rename it")


def _identities(root: Path, names: list[str]) -> dict[str, str]:
    table = root / IDENTITY_FILE
    if table.exists():
        try:
            data = read_named(table)
        except OSError as error:
            raise SourceError(f"{table} cannot be read: {reason_of(error)}") from error
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


IMAGES = "images"

_LANDMARKS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
_TRAITS = {"ITA": ITA, "yaw": YAW, "scale": SCALE, "coverage178": COVERAGE, "age": AGE}


def table_of(root: Path) -> Path | None:
    """A folder's `faces.csv`, or a CSV of the folder's name, with a column file; None without."""
    if not (root / IMAGES).is_dir():
        return None
    tables = (root / "faces.csv", root / f"{real_path(root).name}.csv")
    return next((path for path in tables if path.is_file() and "file" in _parsed(path)[0]), None)


def open_table(root: Path) -> FaceSource:
    """Opens the faces that a folder's table names, in its order. Without a person each is another one.

    Raises:
        SourceError: a table that cannot be understood, or a picture that it names is missing.
    """
    table = table_of(root)
    if table is None:
        raise SourceError(f"{root} needs {IMAGES}/ and faces.csv with a column file")
    rows = _rows(table)
    name = real_path(root).name
    records = [_record(table, line, row, name) for line, row in enumerate(rows, 2)]
    names = [record.name for record in records]
    twice, times = Counter(names).most_common(1)[0]
    if times > 1:
        raise SourceError(f"{table} names {twice} twice")
    there = {path.name for path in find_pictures(root / IMAGES, recursive=False)}
    if missing := [each for each in names if each not in there]:
        raise SourceError(f"{root / IMAGES} has no {missing[0]} ({len(missing)} pictures missing)")
    newest = max(path.stat().st_mtime_ns for path in (table, root / IMAGES))
    return FaceSource(name, records, _Reader(root / IMAGES), fingerprint_of("table", newest, *names))


def _rows(table: Path) -> list[dict[str, str]]:
    _, rows = _parsed(table)
    if not rows:
        raise SourceError(f"{table} names no picture")
    return rows


def _parsed(table: Path) -> tuple[list[str], list[dict[str, str]]]:
    try:
        return parse_csv(read_named(table))
    except (OSError, ValueError) as error:
        raise SourceError(f"{table} cannot be read: {error}") from error


def _record(table: Path, line: int, row: Mapping[str, str], source: str) -> FaceRecord:
    try:
        traits = {ours: float(row[theirs]) for theirs, ours in _TRAITS.items() if row.get(theirs)}
        landmarks = _landmarks(row)
    except ValueError as error:
        raise SourceError(f"{table}, line {line}: {error}") from error
    if not all(np.isfinite(value) for value in traits.values()):
        raise SourceError(f"{table}, line {line}: a value is no number")
    file = row.get("file", "")
    person = row.get("person") or file
    labels = {name: row[name] for name in (SEX, SOURCE) if row.get(name)}
    use = row.get("use") or None
    return FaceRecord(file, f"{source}:{person}", landmarks, traits=traits, use=use, labels=labels)


def _landmarks(row: Mapping[str, str]) -> Points | None:
    """The five points of a row. None if the table has none for it. Raises ValueError for a part of them."""
    texts = [row.get(name) or "" for name in _LANDMARKS]
    return points_of(" ".join(texts).split()) if any(texts) else None

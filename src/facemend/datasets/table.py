"""Faces in a folder `images/`, and a table `faces.csv` beside it that describes each of them.

Columns: `file` has to be there. These are read where they are there: `use` ("train", or "measure" for
what is never trained on), `person`, five landmarks in the 178×218 frame as "x y" (`left_eye`,
`right_eye`, `nose`, `left_mouth`, `right_mouth`), and the numbers `ITA`, `yaw`, `scale`, `coverage178` and
`age` (see `traits.py`). Other columns are passed over.
"""

import csv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import numpy as np

from facemend.datasets.faces import FaceRecord, FaceSource, fingerprint_of, points_of
from facemend.datasets.traits import AGE, COVERAGE, ITA, SCALE, YAW
from facemend.errors import SourceError
from facemend.frame import Points
from facemend.images import Image
from facemend.photos import read_image

IMAGES = "images"

_LANDMARKS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
_TRAITS = {"ITA": ITA, "yaw": YAW, "scale": SCALE, "coverage178": COVERAGE, "age": AGE}


def table_of(root: Path) -> Path | None:
    """A folder's `faces.csv`, or a CSV of the folder's name, with a column file; None without."""
    if not (root / IMAGES).is_dir():
        return None
    tables = (root / "faces.csv", root / f"{root.resolve().name}.csv")
    return next((path for path in tables if path.is_file() and "file" in _columns(path)), None)


def open_table(root: Path) -> FaceSource:
    """Opens the faces that a folder's table names, in its order. Without a person each is another one.

    Raises:
        SourceError: a table that cannot be understood, or a picture that it names is missing.
    """
    table = table_of(root)
    if table is None:
        raise SourceError(f"{root} needs {IMAGES}/ and faces.csv with a column file")
    rows = _rows(table)
    name = root.resolve().name
    records = [_record(table, line, row, name) for line, row in enumerate(rows, 2)]
    names = [record.name for record in records]
    if len(set(names)) < len(names):
        twice = next(each for each in names if names.count(each) > 1)
        raise SourceError(f"{table} names {twice} twice")
    there = {path.name for path in (root / IMAGES).iterdir()}
    if missing := [each for each in names if each not in there]:
        raise SourceError(f"{root / IMAGES} has no {missing[0]} ({len(missing)} pictures missing)")
    newest = max(path.stat().st_mtime_ns for path in (table, root / IMAGES))
    return FaceSource(name, records, _Reader(root / IMAGES), fingerprint_of("table", newest, *names))


def _columns(table: Path) -> list[str]:
    with _opened(table) as file:
        return next(csv.reader(file), [])


def _rows(table: Path) -> list[Mapping[str, str]]:
    with _opened(table) as file:
        rows: list[Mapping[str, str]] = list(csv.DictReader(file))
    if not rows:
        raise SourceError(f"{table} names no picture")
    return rows


@contextmanager
def _opened(table: Path) -> Iterator[TextIO]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            yield file
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{table} cannot be read: {error}") from error


def _record(table: Path, line: int, row: Mapping[str, str], source: str) -> FaceRecord:
    try:
        traits = {ours: float(row[theirs]) for theirs, ours in _TRAITS.items() if row.get(theirs)}
        landmarks = _landmarks(row)
    except ValueError as error:
        raise SourceError(f"{table}, line {line}: {error}") from error
    if not all(np.isfinite(value) for value in traits.values()):
        raise SourceError(f"{table}, line {line}: a value is no number")
    file = row["file"]
    person = row.get("person") or file
    return FaceRecord(file, f"{source}:{person}", landmarks, traits=traits, use=row.get("use") or None)


def _landmarks(row: Mapping[str, str]) -> Points | None:
    """The five points of a row; None if the table has none for it. Raises ValueError for a part of them."""
    texts = [row.get(name) or "" for name in _LANDMARKS]
    return points_of(" ".join(texts).split()) if any(texts) else None


class _Reader:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, name: str) -> Image:
        return read_image(self._folder / name)

"""Splits by person: train, val and test.

A random split of CelebA's images puts over 80% of the test people into training, which inflates every
score. A split here is therefore made of people, and checked.
"""

import csv
from dataclasses import replace
from enum import StrEnum
from importlib.resources import files
from pathlib import Path

from facemend.datasets.celeba import PARTITION, read_partition
from facemend.datasets.faces import MEASURE, FaceRecord, FaceSource, known_identities, parse_table
from facemend.errors import LeakError, SourceError
from facemend.files import read_named, seed_of


class Split(StrEnum):
    """The three parts of a dataset."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"


def take_split(source: FaceSource, split: Split, split_file: Path | None = None) -> FaceSource:
    """The part of a source that belongs to one split.

    By default CelebA is split by the lists of val and test pictures that facemend carries: `train` is
    every picture whose person is in neither. Any other source is split by a hash of its people,
    90 : 5 : 5. If a source marks pictures as `measure`, they are `test`, and the rest is split into `train`
    and `val`. A split file overrides both.

    Args:
        split_file: CSV with the columns file, split and, if the source does not know it, identity; or
            CelebA's own `list_eval_partition.txt`.

    Raises:
        SourceError: the part is empty, or people are unknown, so that leaks cannot be excluded.
        LeakError: a person of the split file is in two parts.
    """
    if split_file is not None:
        source, table = _read_split_file(source, split_file)
    elif source.name == "CelebA":
        table = _celeba_table(source)
    else:
        known_identities(source)
        measured = {record.identity for record in source.records if record.use == MEASURE}
        table = {
            record.name: Split.TEST if record.identity in measured else _split_by_hash(record)
            for record in source.records
        }
    part = source.where(lambda record: table.get(record.name) == split)
    if not part.records:
        raise SourceError(f"no picture of {source.name} belongs to the {split} split")
    return part


def check_no_leak(train_people: frozenset[str], other_people: frozenset[str], what: str) -> None:
    """Makes sure that no person is in both sets. Identities may be hashed, if both are hashed the same way.

    Raises:
        LeakError: some are.
    """
    shared = train_people & other_people
    if shared:
        raise LeakError(
            f"{len(shared)} of {len(other_people)} people of the {what} set are among the training "
            "people: every score would be too high; use a split by identity"
        )


def _celeba_table(source: FaceSource) -> dict[str, Split]:
    held_out = {
        row["file"]: Split(row["split"])
        for row in csv.DictReader(
            files("facemend.datasets").joinpath("celeba_split.csv").read_text("utf-8").splitlines()
        )
    }
    known_identities(source)
    held_out_people = {r.identity for r in source.records if r.name in held_out}
    return {
        record.name: held_out.get(record.name, Split.TRAIN)
        for record in source.records
        if record.name in held_out or record.identity not in held_out_people
    }


def _split_by_hash(record: FaceRecord) -> Split:
    percent = seed_of("split", record.identity or record.name) % 100
    if percent < 5:
        return Split.TEST if record.use is None else Split.TRAIN
    return Split.VAL if percent < 10 else Split.TRAIN


def _read_split_file(source: FaceSource, path: Path) -> tuple[FaceSource, dict[str, Split]]:
    """The source's pictures in a split file, with the file's identities, and each picture's part."""
    rows = _split_rows(path)
    try:
        table = {row["file"]: Split(row["split"]) for row in rows}
    except ValueError as error:
        raise SourceError(f"{path}: {error}; a split is train, val or test") from error
    identities = {row["file"]: row["identity"] for row in rows if row.get("identity")}
    records = [
        replace(record, identity=record.identity or identities.get(record.name))
        for record in source.records
        if record.name in table
    ]
    named = FaceSource(source.name, records, source.read, source.fingerprint)
    known_identities(named)
    seen: dict[str | None, Split] = {}
    for record in records:
        part = seen.setdefault(record.identity, table[record.name])
        if part != table[record.name]:
            raise LeakError(
                f"{path} puts the person {record.identity} into {part} and {table[record.name]}"
            )
    return named, table


def _split_rows(path: Path) -> list[dict[str, str]]:
    if path.stem == Path(PARTITION).stem:
        return [{"file": name, "split": split} for name, split in read_partition(path).items()]
    try:
        data = read_named(path)
    except OSError as error:
        raise SourceError(f"cannot read the split file {path}: {error.strerror or error}") from error
    return parse_table(data, str(path), ("file", "split"))

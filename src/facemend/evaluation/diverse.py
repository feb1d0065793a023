"""The protocol `diverse`: v1's kinds of occlusion on people whom CelebA hardly shows, by group.

The faces lie in a folder with `images/` and a table `faces.csv`: all rows whose `use` is `measure`, and of
the others the people of the val split, since training gives none to a test split and never learns from
those. People of CelebA's own pictures are left out: models train on them.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facemend.datasets import FaceRecord, FaceSource, Split, take_split
from facemend.datasets.faces import fingerprint_of, points_of
from facemend.errors import SourceError, UsageError
from facemend.evaluation.protocol import Protocol, occlude_crop, protocol_kinds, read_crop
from facemend.frame import Points
from facemend.images import Image
from facemend.photos import read_image

NAME = "diverse"
TABLE, IMAGES = "faces.csv", "images"
MEASURE_ONLY = "measure"
DARK_BELOW_ITA, LIGHT_ABOVE_ITA = -10.0, 28.0
"""Degrees of the individual typology angle: dark or in shadow below the first, light above the second."""
FRONTAL_BELOW_YAW, TURNED_ABOVE_YAW = 0.1, 0.25
"""The nose's offset from the middle of the eyes, over their distance."""

_AGES = ((13, "under 13"), (20, "13 to 19"), (40, "20 to 39"), (60, "40 to 59"), (200, "60 and older"))
_OF_CELEBA = frozenset({"celebw"})
_LANDMARKS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")


@dataclass(frozen=True)
class DescribedFace(FaceRecord):
    """One picture of one person of whom more is known.

    Attributes:
        measure_only: whether it must never be trained on.
        groups: of people that the person belongs to, as in `results.Group`: "skin: dark".
    """

    measure_only: bool = False
    groups: tuple[str, ...] = ()


def diverse() -> Protocol:
    """The protocol."""
    return Protocol(NAME, protocol_kinds(), _open_one, read_crop, occlude_crop, groups_of=groups_of)


def groups_of(record: FaceRecord) -> tuple[str, ...]:
    """The groups that the table puts a person into; none where there is no table."""
    return record.groups if isinstance(record, DescribedFace) else ()


def _open_one(sources: Sequence[str], split: Split, split_file: Path | None) -> FaceSource:
    if len(sources) > 1 or split is not Split.TEST or split_file is not None:
        raise UsageError(f"--protocol {NAME} knows its held-out faces: give one --data, and no split")
    return open_held_out(Path(sources[0]))


def open_held_out(folder: Path) -> FaceSource:
    """The faces of a folder with `images/` and `faces.csv` that no model may be trained on.

    They stand in an order drawn by a fixed seed, so that the first ones are a sample of all.

    Raises:
        SourceError: no such table, or a line that cannot be understood.
    """
    table = folder / TABLE
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row.get("source") not in _OF_CELEBA]
        records = [_record(folder.resolve().name, row) for row in rows]
    except OSError as error:
        raise SourceError(f"{table} cannot be read; {NAME} needs a folder with {IMAGES} and it") from error
    except (KeyError, TypeError, ValueError) as error:
        raise SourceError(f"{table} has a line that cannot be understood: {error!r}") from error
    fingerprint = fingerprint_of(table.stat().st_mtime_ns, len(records))
    everything = FaceSource(folder.resolve().name, records, _Reader(folder / IMAGES), fingerprint)
    held_out = {record.name for record in records if record.measure_only}
    rest = everything.where(lambda record: record.name not in held_out)
    if rest.records:
        held_out |= {record.name for record in take_split(rest, Split.VAL).records}
    chosen = [record for record in records if record.name in held_out]
    order = np.random.default_rng(0).permutation(len(chosen))
    return FaceSource(everything.name, [chosen[place] for place in order], everything.read, fingerprint)


def _record(source: str, row: Mapping[str, str]) -> DescribedFace:
    return DescribedFace(
        row["file"],
        f"{source}:{row['person'] or row['file']}",
        _landmarks(row),
        measure_only=row["use"] == MEASURE_ONLY,
        groups=tuple(f"{trait}: {value}" for trait, value in _describe(row).items() if value),
    )


def _landmarks(row: Mapping[str, str]) -> Points | None:
    texts = [row.get(name) or "" for name in _LANDMARKS]
    return points_of(" ".join(texts).split()) if all(texts) else None


def _describe(row: Mapping[str, str]) -> Mapping[str, str]:
    """A person's group by trait; empty where the table does not say."""
    return {
        "age": _age(row.get("age") or ""),
        "sex": row.get("sex") or "",
        "skin": _skin(row.get("ITA") or ""),
        "yaw": _yaw(row.get("yaw") or ""),
        "source": row.get("source") or "",
    }


def _age(text: str) -> str:
    return next(name for below, name in _AGES if float(text) < below) if text else ""


def _skin(text: str) -> str:
    if not text:
        return ""
    ita = float(text)
    return "dark" if ita < DARK_BELOW_ITA else "light" if ita > LIGHT_ABOVE_ITA else "medium"


def _yaw(text: str) -> str:
    if not text:
        return ""
    yaw = abs(float(text))
    return "frontal" if yaw < FRONTAL_BELOW_YAW else "turned" if yaw > TURNED_ABOVE_YAW else "half turned"


class _Reader:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, name: str) -> Image:
        return read_image(self._folder / name)

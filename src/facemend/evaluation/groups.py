"""Protocols of groups of people: diverse faces, and real masks that no training drew."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from facemend.alignment import FRAME_LANDMARKS_PX, Points, frame_to_crop
from facemend.datasets import FaceRecord, FaceSource, Split, open_source, take_split
from facemend.datasets.faces import points_of
from facemend.errors import SourceError, UsageError
from facemend.evaluation.protocol import Protocol, occlude_crop, protocol_kinds, read_crop
from facemend.files import fingerprint_of
from facemend.images import Image
from facemend.io import read_image
from facemend.occlusion import Kind, OccludedFace, occlude, seed_of
from facemend.occlusion.real_masks import real_mask_kind

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


NAME_real_cutouts = "real-cutouts"
KIND = "real_mask"
_DARK, _TURNED = "skin: dark", "yaw: turned"


def real_cutouts(folder: Path) -> Protocol:
    """The protocol, with the held-out cut-outs of a folder.

    Raises:
        SourceError: as `occlusion.real_masks.real_mask_kind` does.
    """
    kind = real_mask_kind(folder, part="measure")
    return Protocol(
        NAME_real_cutouts, (KIND,), _open_all, read_crop, partial(_put_mask_on, kind), groups_of=_groups_of
    )


def _put_mask_on(mask: Kind, crop: Image, record: FaceRecord, kind: str) -> OccludedFace:
    """A crop under one of the masks, by the face's own landmarks where the source knows them."""
    landmarks_px = record.frame_landmarks_px
    placed = frame_to_crop(FRAME_LANDMARKS_PX if landmarks_px is None else landmarks_px, crop.shape[0])
    return occlude(crop, placed, kind, seed_of(NAME_real_cutouts, record.name, kind), {kind: mask})


def _groups_of(record: FaceRecord) -> tuple[str, ...]:
    """The sets that a face belongs to; one face can be in several."""
    if not isinstance(record, DescribedFace):
        return ("set: CelebA",)
    sets = {
        "dark skin": _DARK in record.groups,
        "turned heads": _TURNED in record.groups,
        "measure-only photographs": record.measure_only,
    }
    return (*(f"set: {name}" for name, member in sets.items() if member), *groups_of(record))


def _open_all(sources: Sequence[str], split: Split, split_file: Path | None) -> FaceSource:
    """The held-out faces of all sources, in an order drawn by a fixed seed."""
    if split is not Split.TEST or split_file is not None:
        raise UsageError(f"--protocol {NAME_real_cutouts} knows its held-out faces; leave the split out")
    parts = [
        open_held_out(Path(source))
        if (Path(source) / TABLE).is_file()
        else take_split(open_source(source), Split.TEST)
        for source in sources
    ]
    return parts[0] if len(parts) == 1 else join_sources(parts)


def join_sources(parts: Sequence[FaceSource]) -> FaceSource:
    """Several sources as one, in an order drawn by a fixed seed, so that the first faces are of all.

    Raises:
        UsageError: two of them have a picture of one name.
    """
    records = [record for part in parts for record in part.records]
    if len({record.name for record in records}) < len(records):
        raise UsageError("two sources have a picture of one name; measure them one by one")
    order = np.random.default_rng(0).permutation(len(records))
    return FaceSource(
        " + ".join(part.name for part in parts),
        [records[place] for place in order],
        _Reader_real_cutouts(tuple(parts)),
        fingerprint_of(*(part.fingerprint for part in parts)),
    )


class _Reader_real_cutouts:
    """Reads a picture from the source that has it."""

    def __init__(self, parts: Sequence[FaceSource]) -> None:
        self._reads = {record.name: part.read for part in parts for record in part.records}

    def __call__(self, name: str) -> Image:
        return self._reads[name](name)

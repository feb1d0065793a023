"""Protocols by groups of people: diverse faces, and real masks that training never draws."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from facemend.alignment import FRAME_LANDMARKS_PX, frame_to_crop
from facemend.datasets import FaceRecord, FaceSource, Split, open_source, take_split
from facemend.datasets.faces import AGE, DARK_BELOW_ITA, ITA, MEASURE, SEX, SOURCE, TURNED_ABOVE_YAW, YAW
from facemend.datasets.folder import open_table, table_of
from facemend.errors import SourceError, UsageError
from facemend.evaluation.protocol import Protocol, occlude_crop, protocol_kinds, read_crop
from facemend.files import fingerprint_of, seed_of
from facemend.images import Image
from facemend.occlusion import Kind, OccludedFace, occlude
from facemend.occlusion.real_masks import real_mask_kind

DIVERSE, REAL_CUTOUTS = "diverse", "real-cutouts"
KIND = "real_mask"
LIGHT_ABOVE_ITA, FRONTAL_BELOW_YAW = 28.0, 0.1
"""The other ends are `DARK_BELOW_ITA` and `TURNED_ABOVE_YAW`."""

_AGES = ((13, "under 13"), (20, "13 to 19"), (40, "20 to 39"), (60, "40 to 59"), (200, "60 and older"))
_CELEBA_SOURCES = frozenset({"celebw"})
"""Their pictures show people of CelebA, whom a model may have been trained on."""


def diverse() -> Protocol:
    """The protocol `diverse`: the kinds of v1 on people whom CelebA hardly shows."""
    return Protocol(DIVERSE, protocol_kinds(), _open_one, read_crop, occlude_crop, groups_of=groups_of)


def _open_one(sources: Sequence[str], split: Split, split_file: Path | None) -> FaceSource:
    if len(sources) > 1 or split is not Split.TEST or split_file is not None:
        raise UsageError(f"--protocol {DIVERSE} knows its held-out faces: give one --data, and no split")
    return open_held_out(Path(sources[0]))


def open_held_out(folder: Path) -> FaceSource:
    """The faces of a folder with a table (see `datasets.folder`) that no model may be trained on.

    They are shuffled by a fixed seed, so that the first ones are a sample of all.

    Raises:
        SourceError: no such table, a line that cannot be parsed, or a picture without a `use`.
    """
    table = open_table(folder)
    faces = table.where(lambda record: record.labels.get(SOURCE) not in _CELEBA_SOURCES)
    if without := [record.name for record in faces.records if record.use is None]:
        raise SourceError(f"{folder} does not say what {without[0]} is for; add a column use to its table")
    held_out = {record.name for record in faces.records if record.use == MEASURE}
    rest = faces.where(lambda record: record.name not in held_out)
    if rest.records:
        held_out |= {record.name for record in take_split(rest, Split.VAL).records}
    return _shuffled(faces.where(lambda record: record.name in held_out))


def _shuffled(source: FaceSource) -> FaceSource:
    """The same source in an order drawn by a fixed seed."""
    order = np.random.default_rng(0).permutation(len(source))
    return FaceSource(source.name, [source.records[i] for i in order], source.read, source.fingerprint)


def groups_of(record: FaceRecord) -> tuple[str, ...]:
    """The groups of people that a person belongs to; none where nothing is known of the person."""
    groups = {
        "age": _age(record.traits.get(AGE)),
        "sex": record.labels.get(SEX),
        "skin": _skin(record.traits.get(ITA)),
        "yaw": _yaw(record.traits.get(YAW)),
        "source": record.labels.get(SOURCE),
    }
    return tuple(f"{trait}: {value}" for trait, value in groups.items() if value)


def _age(years: float | None) -> str | None:
    return None if years is None else next(name for below, name in _AGES if years < below)


def _skin(ita: float | None) -> str | None:
    if ita is None:
        return None
    return "dark" if ita < DARK_BELOW_ITA else "light" if ita > LIGHT_ABOVE_ITA else "medium"


def _yaw(yaw: float | None) -> str | None:
    if yaw is None:
        return None
    if abs(yaw) < FRONTAL_BELOW_YAW:
        return "frontal"
    return "turned" if abs(yaw) > TURNED_ABOVE_YAW else "half turned"


def real_cutouts(folder: Path) -> Protocol:
    """The protocol `real-cutouts`, with the held-out cut-outs of a folder.

    Raises:
        SourceError: as `occlusion.real_masks.real_mask_kind` does.
    """
    mask = real_mask_kind(folder, part="measure")
    return Protocol(
        REAL_CUTOUTS, (KIND,), _open_all, read_crop, partial(_put_mask_on, mask), groups_of=_sets_of
    )


def _put_mask_on(mask: Kind, crop: Image, record: FaceRecord, kind: str) -> OccludedFace:
    """A crop under one of the masks, at the face's own landmarks if the source knows them."""
    landmarks_px = record.frame_landmarks_px
    in_crop_px = frame_to_crop(FRAME_LANDMARKS_PX if landmarks_px is None else landmarks_px, crop.shape[0])
    return occlude(crop, in_crop_px, kind, seed_of(REAL_CUTOUTS, record.name, kind), {kind: mask})


def _sets_of(record: FaceRecord) -> tuple[str, ...]:
    """The report's sets that a face belongs to, then its groups; one face can be in several sets."""
    if record.use is None:
        return ("set: CelebA",)
    groups = groups_of(record)
    sets = {
        "dark skin": "skin: dark" in groups,
        "turned heads": "yaw: turned" in groups,
        "measure-only photographs": record.use == MEASURE,
    }
    return (*(f"set: {name}" for name, member in sets.items() if member), *groups)


def _open_all(sources: Sequence[str], split: Split, split_file: Path | None) -> FaceSource:
    """The held-out faces of all sources, shuffled by a fixed seed."""
    if split is not Split.TEST or split_file is not None:
        raise UsageError(f"--protocol {REAL_CUTOUTS} knows its held-out faces; leave the split out")
    parts = [
        open_held_out(Path(source))
        if table_of(Path(source)) is not None
        else take_split(open_source(source), Split.TEST)
        for source in sources
    ]
    return parts[0] if len(parts) == 1 else join_sources(parts)


def join_sources(parts: Sequence[FaceSource]) -> FaceSource:
    """Several sources as one, shuffled by a fixed seed, so that the first faces are a sample of all.

    Raises:
        UsageError: two of them have a picture with one name.
    """
    records = [record for part in parts for record in part.records]
    if len({record.name for record in records}) < len(records):
        raise UsageError("two sources have a picture of one name; measure them one by one")
    name = " + ".join(part.name for part in parts)
    fingerprint = fingerprint_of(*(part.fingerprint for part in parts))
    return _shuffled(FaceSource(name, records, _JoinedReader(tuple(parts)), fingerprint))


class _JoinedReader:
    """Reads a picture from the source that has it."""

    def __init__(self, parts: Sequence[FaceSource]) -> None:
        self._reads = {record.name: part.read for part in parts for record in part.records}

    def __call__(self, name: str) -> Image:
        return self._reads[name](name)

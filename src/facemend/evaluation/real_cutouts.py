"""The protocol `real-cutouts`: masks cut out of photographs, one a face, that no model was trained with.

Faces of several sources are measured together, so that their groups can be compared: CelebA's test people
and the held-out faces of `diverse`.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from facemend.datasets import FaceRecord, FaceSource, Split, open_source, take_split
from facemend.datasets.faces import fingerprint_of
from facemend.errors import UsageError
from facemend.evaluation.diverse import TABLE, DescribedFace, groups_of, open_held_out
from facemend.evaluation.protocol import Protocol, read_crop
from facemend.frame import FRAME_LANDMARKS_PX, frame_to_crop
from facemend.images import Image
from facemend.occlusion import Kind, OccludedFace, occlude, seed_of
from facemend.occlusion.real_masks import real_mask_kind

NAME = "real-cutouts"
KIND = "real_mask"
_DARK, _TURNED = "skin: dark", "yaw: turned"


def real_cutouts(folder: Path) -> Protocol:
    """The protocol, with the held-out cut-outs of a folder.

    Raises:
        SourceError: as `occlusion.real_masks.real_mask_kind` does.
    """
    kind = real_mask_kind(folder, part="measure")
    return Protocol(NAME, (KIND,), _open_all, read_crop, partial(_put_mask_on, kind), groups_of=_groups_of)


def _put_mask_on(mask: Kind, crop: Image, record: FaceRecord, kind: str) -> OccludedFace:
    """A crop under one of the masks, by the face's own landmarks where the source knows them."""
    landmarks_px = record.frame_landmarks_px
    placed = frame_to_crop(FRAME_LANDMARKS_PX if landmarks_px is None else landmarks_px, crop.shape[0])
    return occlude(crop, placed, kind, seed_of(NAME, record.name, kind), {kind: mask})


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
        raise UsageError(f"--protocol {NAME} knows its held-out faces; leave the split out")
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
        _Reader(tuple(parts)),
        fingerprint_of(*(part.fingerprint for part in parts)),
    )


class _Reader:
    """Reads a picture from the source that has it."""

    def __init__(self, parts: Sequence[FaceSource]) -> None:
        self._reads = {record.name: part.read for part in parts for record in part.records}

    def __call__(self, name: str) -> Image:
        return self._reads[name](name)

"""Faces of one source: records, pictures, and what is known of each face."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from facemend.alignment import CROP_SIZE_PX, Points, crop_from_aligned
from facemend.errors import SourceError
from facemend.files import parse_csv, sha256_of_parts
from facemend.images import Image

MEASURE = "measure"
"""`FaceRecord.use` of pictures that are never trained on."""


@dataclass(frozen=True)
class FaceRecord:
    """One picture of one person.

    Attributes:
        name: its path inside the source, which identifies it.
        identity: the person, unique over sources ("celeba:2880"), or None if unknown.
        frame_landmarks_px: float64 (5, 2) in the 178×218 frame, or None if there are none.
        attributes: CelebA's attributes, True or False by name, or empty if there are none.
        traits: numbers about the face, by the names below (ITA, YAW …), as far as known.
        use: what the source intends the picture for: "train" or "measure", or None if it says nothing.
        labels: texts about the face, by the names below (SEX, SOURCE), as far as known.
    """

    name: str
    identity: str | None
    frame_landmarks_px: Points | None = None
    attributes: Mapping[str, bool] = field(default_factory=dict)
    traits: Mapping[str, float] = field(default_factory=dict)
    use: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


class ReadPicture(Protocol):
    """Reads the pictures of a source."""

    def __call__(self, name: str) -> Image:
        """The picture of that name: (H, W, 3) uint8 RGB. Raises PictureError when it cannot be read."""


@dataclass(frozen=True)
class FaceSource:
    """Faces of one origin, in a fixed order.

    Attributes:
        name: "CelebA", or the folder's name.
        records: every picture.
        read: reads one. It is safe in forked workers.
        fingerprint: changes when the files behind it change.
    """

    name: str
    records: Sequence[FaceRecord]
    read: ReadPicture
    fingerprint: str

    def __len__(self) -> int:
        return len(self.records)

    def crop(self, record: FaceRecord, size_px: int = CROP_SIZE_PX, *, tall: bool = False) -> Image:
        """The canonical crop of one record: uint8 RGB (size, size, 3), or (tall_height(size), size, 3)."""
        return crop_from_aligned(self.read(record.name), size_px, tall=tall, name=record.name)

    def where(self, keep: Callable[[FaceRecord], bool]) -> "FaceSource":
        """The same source, cut to the records that `keep` accepts."""
        return FaceSource(self.name, [r for r in self.records if keep(r)], self.read, self.fingerprint)

    def first(self, count: int | None) -> "FaceSource":
        """The same source, cut to its first `count` records (None: all)."""
        return FaceSource(self.name, self.records[:count], self.read, self.fingerprint)


def hash_identity(identity: str) -> str:
    """12 hexadecimal digits that identify a person in a model file without the person's name."""
    return sha256_of_parts(f"facemend identity {identity}")[:12]


def known_identities(source: FaceSource) -> frozenset[str]:
    """The people of a source.

    Raises:
        SourceError: the people of some pictures are unknown, so that leaks cannot be excluded.
    """
    unknown = sum(record.identity is None for record in source.records)
    if unknown:
        raise SourceError(
            f"{unknown} of {len(source)} pictures of {source.name} have no identity; put "
            "identity_CelebA.txt beside the pictures, or pass --split-file FILE with an identity column"
        )
    return frozenset(record.identity for record in source.records if record.identity is not None)


def points_of(values: Sequence[str]) -> Points:
    """Ten numbers as (5, 2) float64. Raises ValueError when they are not ten numbers."""
    return np.array([float(value) for value in values], dtype=np.float64).reshape(5, 2)


ITA, YAW, SCALE, COVERAGE, AGE = "ita", "yaw", "scale", "coverage", "age"
"""Names of `FaceRecord.traits`.

ITA is the individual typology angle of the skin in degrees (Chardon et al. 1991), yaw the nose's offset
over the distance of the eyes, scale below 1 for a picture that was shrunk, coverage the share of the
canonical square that is real picture, age in years.
"""

SEX, SOURCE = "sex", "source"
"""Names of `FaceRecord.labels`: as the source says, and where the picture comes from."""

DARK_BELOW_ITA, TURNED_ABOVE_YAW = -10.0, 0.25


def yaw_of(landmarks_px: Points) -> float:
    """The nose's offset from the middle of the eyes, over their distance, 0 in a frontal face.

    Args:
        landmarks_px: (5, 2), in any unit.
    """
    left, right, nose = landmarks_px[:3]
    across = right - left
    distance = max(float(np.hypot(*across)), 1e-6)
    return float((nose - (left + right) / 2) @ across) / distance**2


def has_dark_skin(record: FaceRecord) -> bool:
    """Whether the skin is known to be dark, or in shadow; False if unknown."""
    ita = record.traits.get(ITA)
    return ita is not None and ita < DARK_BELOW_ITA


def is_turned(record: FaceRecord) -> bool:
    """Whether the head is turned, by the source's yaw or else by the landmarks."""
    yaw = record.traits.get(YAW)
    if yaw is None and record.frame_landmarks_px is not None:
        yaw = yaw_of(record.frame_landmarks_px)
    return yaw is not None and abs(yaw) > TURNED_ABOVE_YAW


GROUPS: Mapping[str, Callable[[FaceRecord], bool]] = {"dark_skin": has_dark_skin, "turned": is_turned}
"""Every group by its name in `oversample`."""


def parse_table(data: bytes, name: str, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV file by column. A missing value of a required column is an empty text.

    Args:
        name: the file's name for errors.
        columns: required columns. Others are allowed.

    Raises:
        SourceError: the file is not CSV in UTF-8, lacks a column, or has no rows.
    """
    try:
        names, rows = parse_csv(data)
    except ValueError as error:
        raise SourceError(f"{name} is not CSV in UTF-8: {error}") from error
    if not rows or not set(columns) <= set(names):
        raise SourceError(f"{name} needs the columns {' and '.join(columns)}")
    empty = dict.fromkeys(columns, "")
    return [empty | row for row in rows]

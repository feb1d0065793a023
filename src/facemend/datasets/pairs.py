"""One pair of a dataset: a face, occluded and as it is, drawn by a recipe."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from facemend.datasets.faces import FaceSource
from facemend.errors import UsageError
from facemend.frame import CROP_SIZE_PX, frame_to_crop
from facemend.images import Image
from facemend.occlusion import SEED_SET, Occlusion, choose_kind, occlude, seed_of

_SMALLEST_PX, _LARGEST_PX = 16, 2048


@dataclass(frozen=True)
class Recipe:
    """What is made of a source of faces.

    Attributes:
        count: number of pairs, at least 1; above the number of pictures, faces repeat with new draws.
        shares: how often each kind of occlusion is drawn; they need not add up to 1 (default: the seed
            set in equal shares).
        size_px: side of the pictures, 16 to 2048.
        seed: another seed, other draws.
    """

    count: int
    shares: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(SEED_SET, 1.0))
    size_px: int = CROP_SIZE_PX
    seed: int = 0

    def __post_init__(self) -> None:
        if self.count < 1:
            raise UsageError(f"a dataset of {self.count} pairs cannot be made; ask for 1 or more")
        if not _SMALLEST_PX <= self.size_px <= _LARGEST_PX:
            raise UsageError(f"size {self.size_px} is not in {_SMALLEST_PX} to {_LARGEST_PX} pixels")
        choose_kind(self.shares, np.random.default_rng(0))


@dataclass(frozen=True)
class Pair:
    """One face, occluded and as it is.

    Attributes:
        occluded: uint8 (size, size, 3) RGB; equal to `target` wherever the occlusion's alpha is 0.
        target: uint8 (size, size, 3) RGB.
        occlusion: what lies between the two.
        name: the picture's name in its source.
        identity: who it shows; None if nobody knows.
    """

    occluded: Image
    target: Image
    occlusion: Occlusion
    name: str
    identity: str | None


def parse_shares(text: str) -> dict[str, float]:
    """Reads shares of kinds: "nose_mask=0.4,blur=0.3", or "nose_mask,blur" for equal shares.

    Raises:
        UsageError: not of this form.
    """
    shares = {}
    for item in text.split(","):
        kind, _, share = item.partition("=")
        try:
            shares[kind.strip()] = float(share or 1)
        except ValueError as error:
            raise UsageError(f"{item.strip()!r} is no share of a kind; write kind=0.5") from error
    return shares


def make_pair(source: FaceSource, index: int, recipe: Recipe) -> Pair:
    """Makes one pair of a dataset.

    The faces come in the source's order, again from the first after the last. The draw depends on the
    recipe's seed, the picture's name and the round.

    Args:
        index: 0 to recipe.count - 1.

    Raises:
        PictureError: the picture cannot be read.
    """
    record = source.records[index % len(source)]
    draw = (recipe.seed, record.name, index // len(source))
    kind = choose_kind(recipe.shares, np.random.default_rng(seed_of("kind", *draw)))
    landmarks_px = record.frame_landmarks_px
    if landmarks_px is not None:
        landmarks_px = frame_to_crop(landmarks_px, recipe.size_px)
    crop = source.crop(record, recipe.size_px)
    face = occlude(crop, landmarks_px, kind, seed_of("pair", *draw))
    return Pair(face.image, face.target, face.occlusion, record.name, record.identity)

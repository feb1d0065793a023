"""Pairs: a face with and without an occlusion, drawn by a recipe, and the files of it on disk."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facemend.alignment import CROP_SIZE_PX, Points, canonical_landmarks, frame_to_crop
from facemend.datasets.faces import FaceRecord, FaceSource
from facemend.detection import Detector
from facemend.errors import SourceError, UsageError
from facemend.files import seed_of
from facemend.images import Image
from facemend.io import read_image
from facemend.io.lossy import encode_webp
from facemend.io.png import encode_png_quickly
from facemend.occlusion import (
    CUTOUTS,
    FOLDER_KINDS,
    SEED_SET,
    Kind,
    Occlusion,
    allowed_kinds,
    choose_kind,
    kinds_with,
    occlude,
)

_SMALLEST_PX, _LARGEST_PX = 16, 2048
_FARTHEST_PX = 1e4
_MOST_APART_PX = 0.15 * CROP_SIZE_PX


def equal_shares(cutouts: Path | None = None) -> dict[str, float]:
    """The default shares: the seed set and the cut-outs, if any, in equal shares."""
    return dict.fromkeys(SEED_SET if cutouts is None else (*SEED_SET, CUTOUTS), 1.0)


@dataclass(frozen=True)
class Recipe:
    """How pairs are made from a source of faces.

    Attributes:
        count: number of pairs, at least 1. Above the number of pictures, faces repeat with new draws.
        shares: share of each kind of occlusion. They need not add up to 1 (default: the seed set in equal
            shares).
        size_px: side of the pictures, 16 to 2048.
        seed: of all draws.
        cutouts: a folder of RGBA pictures. It requires a share of one of FOLDER_KINDS.
    """

    count: int
    shares: Mapping[str, float] = field(default_factory=equal_shares)
    size_px: int = CROP_SIZE_PX
    seed: int = 0
    cutouts: Path | None = None

    def __post_init__(self) -> None:
        if self.count < 1:
            raise UsageError(f"a dataset of {self.count} pairs cannot be made; choose 1 or more")
        if not _SMALLEST_PX <= self.size_px <= _LARGEST_PX:
            raise UsageError(f"size {self.size_px} is not in {_SMALLEST_PX} to {_LARGEST_PX} pixels")
        drawn_from_folder = [kind for kind in FOLDER_KINDS if kind in self.shares]
        if bool(drawn_from_folder) != (self.cutouts is not None):
            kind = drawn_from_folder[0] if drawn_from_folder else CUTOUTS
            raise UsageError(
                f"the kind {kind} and --cutouts FOLDER need each other; for example "
                f"--cutouts FOLDER --kinds blur=0.5,{kind}=0.5"
            )
        choose_kind(self.shares, np.random.default_rng(0), self.kinds)

    @cached_property
    def kinds(self) -> Mapping[str, Kind]:
        """All kinds that can be drawn.

        Raises:
            SourceError, PictureError: the folder of cut-outs cannot be used.
        """
        return kinds_with(self.shares, self.cutouts)


class Landmarks(StrEnum):
    """The source of a face's landmarks.

    ANNOTATED: the source.
    DETECTED: the detector, since the source has no landmarks or impossible ones.
    PROFILE: the source, and the nose is not between the eyes. The occlusion bends as far as it can.
    CANONICAL: neither. The occlusion is at the landmarks of the canonical crop.
    """

    ANNOTATED = "annotated"
    DETECTED = "detected"
    PROFILE = "profile"
    CANONICAL = "canonical"


@dataclass(frozen=True)
class Pair:
    """One face with and without an occlusion.

    Attributes:
        occluded: uint8 (size, size, 3) RGB, equal to `target` wherever the occlusion's alpha is 0.
        target: uint8 (size, size, 3) RGB.
        occlusion: the difference of the two.
        name: the picture's name in its source.
        identity: the person, or None if unknown.
        landmarks: the source of the landmarks.
    """

    occluded: Image
    target: Image
    occlusion: Occlusion
    name: str
    identity: str | None
    landmarks: Landmarks


def parse_shares(text: str) -> dict[str, float]:
    """Reads shares of kinds: "nose_mask=0.4,blur=0.3", or "nose_mask,blur" for equal shares.

    Raises:
        UsageError: it has another form, or names a kind twice.
    """
    shares: dict[str, float] = {}
    for item in text.split(","):
        kind, _, share = (word.strip() for word in item.partition("="))
        if kind in shares:
            raise UsageError(f"{kind} has two shares; name every kind once")
        try:
            shares[kind] = float(share or 1)
        except ValueError as error:
            raise UsageError(f"{item.strip()!r} is not a share of a kind; write kind=0.5") from error
    return shares


def faces_for(source: FaceSource, recipe: Recipe) -> FaceSource:
    """The faces that can take a kind of the recipe, in the source's order. The others are skipped.

    Raises:
        SourceError: no face can.
    """
    faces = source.where(lambda record: any(allowed_kinds(recipe.shares, record.attributes).values()))
    if not faces.records:
        raise SourceError(
            f"no face of {source.name} can take {', '.join(recipe.shares)} (who wears glasses takes no "
            "sunglasses); draw other kinds"
        )
    return faces


def make_pair(faces: FaceSource, index: int, recipe: Recipe) -> Pair:
    """Makes one pair of a dataset.

    The faces are used in their order, and again from the first one after the last. The draw depends on the
    recipe's seed, the picture's name and the round.

    Args:
        faces: each can take a kind of the recipe, as `faces_for` makes sure.
        index: 0 to recipe.count - 1.

    Raises:
        PictureError: the picture cannot be read.
    """
    record = faces.records[index % len(faces)]
    draw = (recipe.seed, record.name, index // len(faces))
    shares = allowed_kinds(recipe.shares, record.attributes)
    kind = choose_kind(shares, np.random.default_rng(seed_of("kind", *draw)), recipe.kinds)
    crop = faces.crop(record, recipe.size_px)
    landmarks, landmarks_px = _landmarks(faces, record, recipe.size_px)
    face = occlude(crop, landmarks_px, kind, seed_of("pair", *draw), recipe.kinds)
    return Pair(face.image, face.target, face.occlusion, record.name, record.identity, landmarks)


def _landmarks(faces: FaceSource, record: FaceRecord, size_px: int) -> tuple[Landmarks, Points | None]:
    """The source of a face's landmarks, and the landmarks in the crop. None for the canonical ones."""
    points_px = record.frame_landmarks_px
    if points_px is None or not (np.abs(points_px) < _FARTHEST_PX).all():  # neither is nan
        found_px = _detect(faces.crop(record))
        if found_px is None:
            return Landmarks.CANONICAL, None
        return Landmarks.DETECTED, (found_px + 0.5) * (size_px / CROP_SIZE_PX) - 0.5
    left, right, nose = points_px[:3]
    across = right - left
    along = float((nose - left) @ across)  # 0 at the left eye
    is_between = 0 <= along <= float(across @ across)
    landmarks = Landmarks.ANNOTATED if is_between else Landmarks.PROFILE
    return landmarks, frame_to_crop(points_px, size_px)


def _detect(crop: Image) -> Points | None:
    """The landmarks of the face of a canonical crop (256, 256, 3), or None if none is found.

    A face far from the canonical location is a person in the background, or not a face.
    """
    canonical_px = canonical_landmarks()

    def apart_px(found_px: Points) -> float:
        return float(np.linalg.norm(found_px - canonical_px, axis=1).mean())

    nearest_px = min((face.landmarks_px for face in _detector()(crop)), key=apart_px, default=None)
    if nearest_px is None or apart_px(nearest_px) > _MOST_APART_PX:
        return None
    rounded: Points = nearest_px.round(1)  # so that a pixel does not depend on the last bit of a float
    return rounded


@cache
def _detector() -> Detector:
    return Detector(threads=1)  # workers share the cores among them


class PictureFormat(StrEnum):
    """Lossless picture formats."""

    PNG = "png"
    WEBP = "webp"


def encode(picture: npt.NDArray[np.uint8], picture_format: PictureFormat) -> bytes:
    """The file of a uint8 picture, (H, W, 3) RGB or (H, W) gray. WebP has no gray: it becomes RGB."""
    if picture_format is PictureFormat.PNG:
        return encode_png_quickly(picture)
    return encode_webp(picture, lossless=True, method=0, quality=0)


FOLDERS = ("occluded", "target", "alpha")


class Layout(StrEnum):
    """The layout of the pairs on disk.

    FOLDERS: occluded/, target/ and alpha/.
    IMAGEFOLDER: the same, and a metadata.jsonl for Hugging Face's `load_dataset("imagefolder")`.
    PIX2PIX: occluded and target picture side by side in one, for pytorch-CycleGAN-and-pix2pix.
    """

    FOLDERS = "folders"
    IMAGEFOLDER = "imagefolder"
    PIX2PIX = "pix2pix"

    def home(self, out: Path, split: str) -> Path:
        """The dataset's folder: OUT itself, or the subfolder where other programs look for a split."""
        return out if self is Layout.FOLDERS else out / ("train" if split == "all" else split)


@dataclass(frozen=True)
class Files:
    """The files of a pair.

    Attributes:
        layout: their layout.
        picture_format: of every picture. pix2pix reads PNG only.
    """

    layout: Layout = Layout.FOLDERS
    picture_format: PictureFormat = PictureFormat.PNG

    def __post_init__(self) -> None:
        if self.layout is Layout.PIX2PIX and self.picture_format is not PictureFormat.PNG:
            raise UsageError(
                "pytorch-CycleGAN-and-pix2pix cannot read WebP; use --format png with this layout"
            )

    def name(self, index: int) -> str:
        """The name of all files of a pair."""
        return f"{index + 1:06d}.{self.picture_format}"

    def paths(self, home: Path, name: str) -> dict[str, Path]:
        """The paths of a pair's files by content, such as "occluded"."""
        if self.layout is Layout.PIX2PIX:
            return {"side_by_side": home / name}
        return {folder: home / folder / name for folder in FOLDERS}

    def pictures(self, pair: Pair) -> Iterator[npt.NDArray[np.uint8]]:
        """The pictures of a pair, in the order of its paths: uint8 (H, W, 3) RGB, or (H, W) for alpha."""
        if self.layout is Layout.PIX2PIX:
            yield np.concatenate([pair.occluded, pair.target], axis=1)
        else:
            yield from (pair.occluded, pair.target)
            yield np.rint(pair.occlusion.alpha * 255).astype(np.uint8)

    def read(self, home: Path, name: str) -> tuple[Image, Image]:
        """The occluded and the target picture of a pair on disk, both uint8 (size, size, 3) RGB.

        Raises:
            PictureError: one cannot be read.
        """
        occluded, *rest = (read_image(path) for path in self.paths(home, name).values())
        if rest:
            return occluded, rest[0]
        middle = occluded.shape[1] // 2
        return occluded[:, :middle], occluded[:, middle:]

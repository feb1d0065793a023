"""What may be asked of a reconstruction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

import numpy as np
from PIL import Image as PillowImage

from facemend.detection.detector import MIN_CONFIDENCE
from facemend.errors import UsageError
from facemend.images import Mask, digest_of

THRESHOLD = 0.5
"""An alpha above it is an occlusion."""


class Device(StrEnum):
    """Where a model computes; `auto` takes CUDA where ONNX Runtime has it, else the CPU."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class Remove(StrEnum):
    """What to reconstruct: covers (masks, blur), accessories (glasses, hands), or all that hides a face."""

    COVERS = "covers"
    ACCESSORIES = "accessories"
    ALL = "all"


Box: TypeAlias = tuple[float, float, float, float]
"""x, y, width, height in pixels of the photo as displayed; its top left pixel alone is 0, 0, 1, 1."""
Keep: TypeAlias = Sequence[Box] | Mask
"""Regions that never change: some, or a mask."""
_SAME_SHAPE = 0.01  # how far the sides' ratio of a mask may lie from the photo's


@dataclass(frozen=True, eq=False)
class Request:
    """What is asked of a reconstruction.

    Attributes:
        aligned: the picture is a ready crop.
        mask: bool (h, w), True exactly where to reconstruct; None lets the model find it.
        remove: which class of occlusion to reconstruct, where there is no mask.
        faces: covered faces beside those that count as covered by themselves.
        keep: regions that are never touched.
        keep_mask: bool (h, w), True where nothing is touched, too.
        occlusion_threshold: 0-1, an occlusion found with more is one.
        min_confidence: 0-1, what a face must reach to be one.
        strip: leave out EXIF with its place, XMP, IPTC and comments.
        primary_only: of a JPEG that holds further layers, the primary picture alone is written.
    """

    aligned: bool = False
    mask: Mask | None = None
    remove: Remove = Remove.COVERS
    faces: tuple[Box, ...] = ()
    keep: tuple[Box, ...] = ()
    keep_mask: Mask | None = None
    occlusion_threshold: float = THRESHOLD
    min_confidence: float = MIN_CONFIDENCE
    strip: bool = False
    primary_only: bool = False

    def __post_init__(self) -> None:
        for name, value in (("threshold", self.occlusion_threshold), ("confidence", self.min_confidence)):
            if not 0 <= value <= 1:
                raise UsageError(f"a {name} of {value} cannot be; use 0 to 1")
        for box in (*self.faces, *self.keep):
            if not (len(box) == 4 and np.isfinite(box).all() and min(box[2:]) > 0):
                raise UsageError(f"{_words(box)} is no region; give x,y,width,height in pixels")
        if self.aligned and self.faces:
            raise UsageError("a ready crop shows one face alone; leave the faces out")

    def mask_for(self, width_px: int, height_px: int, name: str) -> Mask | None:
        """The mask, bool (height, width). Raises UsageError: it has another shape than the picture."""
        return None if self.mask is None else _fitted(self.mask, width_px, height_px, name)

    def kept(self, width_px: int, height_px: int, name: str) -> Mask | None:
        """What must not change, bool (height, width); None where nothing is said.

        Raises:
            UsageError: a mask of another shape than the picture.
        """
        if self.keep_mask is None and not self.keep:
            return None
        kept = np.zeros((height_px, width_px), dtype=np.bool_)
        if self.keep_mask is not None:
            kept |= _fitted(self.keep_mask, width_px, height_px, name)
        for x, y, width, height in self.keep:
            # A pixel that a region touches at all is in it.
            low, high = np.floor((x, y)), np.ceil((x + width, y + height))
            (x1, y1), (x2, y2) = low.clip(0).astype(int), high.clip(0).astype(int)
            kept[y1:y2, x1:x2] = True
        return kept

    def texts(self) -> Mapping[str, str]:
        """What decides about the result, for a provenance; what stands at its default is left out."""
        said = {"input": "aligned" if self.aligned else "photo"}
        if self.mask is None:
            said["remove"] = str(self.remove)
        else:
            said["mask_sha256"] = digest_of(self.mask)
        if self.faces:
            said["faces"] = " ".join(map(_words, self.faces))
        if self.keep:
            said["keep"] = " ".join(map(_words, self.keep))
        if self.keep_mask is not None:
            said["keep_sha256"] = digest_of(self.keep_mask)
        if self.occlusion_threshold != THRESHOLD:
            said["occlusion_threshold"] = f"{self.occlusion_threshold:g}"
        if self.min_confidence != MIN_CONFIDENCE:
            said["min_confidence"] = f"{self.min_confidence:g}"
        if self.strip:
            said["strip"] = "yes"
        if self.primary_only:
            said["primary_only"] = "yes"
        return said


def make_request(
    aligned: bool = False,
    mask: Mask | None = None,
    remove: Remove | str = Remove.COVERS,
    faces: Sequence[Box] = (),
    keep: Keep = (),
    occlusion_threshold: float = THRESHOLD,
    min_confidence: float = MIN_CONFIDENCE,
    strip: bool = False,
    primary_only: bool = False,
) -> Request:
    """The arguments of `Reconstructor.__call__` as one value. Raises UsageError as that does."""
    if remove not in list(Remove):
        raise UsageError(f"unknown class {remove!r}; remove one of {', '.join(Remove)}")
    is_mask = isinstance(keep, np.ndarray) and keep.dtype == np.bool_
    return Request(
        aligned=aligned,
        mask=mask,
        remove=Remove(remove),
        faces=tuple(_box(*box) for box in faces),
        keep=() if is_mask else tuple(_box(*box) for box in keep),
        keep_mask=keep if isinstance(keep, np.ndarray) and is_mask else None,
        occlusion_threshold=occlusion_threshold,
        min_confidence=min_confidence,
        strip=strip,
        primary_only=primary_only,
    )


def _box(x: float, y: float, width: float, height: float) -> Box:
    return float(x), float(y), float(width), float(height)


def _fitted(mask: Mask, width_px: int, height_px: int, name: str) -> Mask:
    """A mask at a picture's size; one of another size must have its shape."""
    if mask.dtype == np.bool_ and mask.shape == (height_px, width_px):
        return mask
    fits = mask.dtype == np.bool_ and mask.ndim == 2 and mask.size > 0
    if not fits or abs(mask.shape[1] * height_px / (mask.shape[0] * width_px) - 1) > _SAME_SHAPE:
        raise UsageError(
            f"the mask is {mask.dtype} {mask.shape}; {name} needs bool ({height_px}, {width_px}), or "
            "that shape at another size"
        )
    picture = PillowImage.fromarray(mask).resize((width_px, height_px), PillowImage.Resampling.NEAREST)
    return np.asarray(picture, dtype=np.bool_)


def _words(box: Box) -> str:
    return ",".join(f"{value:g}" for value in box)

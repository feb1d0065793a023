"""What may be asked of a reconstruction. Light to import, for the command line's help."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from enum import StrEnum
from numbers import Real
from typing import TYPE_CHECKING, Any, TypeAlias

from facemend.errors import UsageError
from facemend.thresholds import THRESHOLDS

if TYPE_CHECKING:
    from facemend.images import Mask

THRESHOLD = THRESHOLDS.occlusion
"""An alpha above it is an occlusion."""


class Device(StrEnum):
    """Where a model computes; `auto` takes CUDA where ONNX Runtime has it, else the CPU."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    OPENVINO = "openvino"
    COREML = "coreml"
    DIRECTML = "directml"
    ROCM = "rocm"


class Remove(StrEnum):
    """What to reconstruct: covers (masks, blur), accessories (glasses, hands), or all that hides a face."""

    COVERS = "covers"
    ACCESSORIES = "accessories"
    ALL = "all"


Box: TypeAlias = tuple[float, float, float, float]
"""x, y, width, height in pixels of the photo as displayed. Its top left pixel alone is 0, 0, 1, 1."""
FACE_WIDTH_PX = 132
"""Width of a face in pixels of a 256×256 crop, where every face is about as large as any other."""
_MOST_EDGE_PX = 64
_LENGTH = re.compile(r"([-+]?\d{1,6}(?:\.\d{1,3})?)\s*(%|px)?", re.ASCII)
_FARTHEST_PX = 1e9  # beyond any photo
_SAME_SHAPE = 0.01  # how far the ratio of a mask's sides may be from the photo's


@dataclass(frozen=True)
class Length:
    """Pixels, or percent of something.

    Attributes:
        value: how many.
        percent: whether it is percent.
    """

    value: float
    percent: bool = False

    def px(self, whole_px: float) -> float:
        """In pixels, where all of it is `whole_px`."""
        return self.value * whole_px / 100 if self.percent else self.value

    def __str__(self) -> str:
        return f"{self.value:g}{'%' if self.percent else ''}"


def length_of(value: Any) -> Length:
    """A length of a number of pixels, or of a text such as `8`, `-8` or `5%`.

    Raises:
        UsageError: it is neither.
    """
    if isinstance(value, Length):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return Length(float(value))
    found = _LENGTH.fullmatch(value.strip()) if isinstance(value, str) else None
    if not found:
        raise UsageError(
            f"{str(value)[:40]!r} is not a length; give pixels such as 8, or percent such as 5%"
        )
    return Length(float(found[1]), found[2] == "%")


@dataclass(frozen=True, eq=False)
class Options:
    """What may be asked of a reconstruction.

    The command line, the library and the server are built from these fields: a new option is a field here,
    and its use. The text of each is in its metadata, as `help`.

    Raises:
        UsageError: a value that is out of range, or options that contradict each other.
    """

    aligned: bool = field(
        default=False,
        metadata={"help": "The picture is a ready crop of one face, 178×218 (CelebA) or square."},
    )
    mask: Mask | None = field(
        default=None,
        metadata={"help": "Reconstruct exactly where this mask is white. For one photo only."},
    )
    """bool (h, w), True where to reconstruct: the picture's shape, at any size. None lets the model find
    it."""
    faces: tuple[Box, ...] = field(
        default=(),
        metadata={
            "help": "A covered face that is not found, or left alone, in pixels from the top left. For one "
            "photo only; may be repeated."
        },
    )
    """x, y, width, height of each. Lists are taken as well."""
    keep: tuple[Box | Mask, ...] = field(
        default=(),
        metadata={
            "help": "A region that never changes, or a picture that is white there. May be repeated."
        },
    )
    """x, y, width, height of each region, or one mask: bool (h, w), True where nothing changes. A mask
    alone is taken as well."""
    remove: Remove = field(
        default=Remove.COVERS,
        metadata={
            "help": "What to reconstruct where there is no mask: covers (masks, blur), accessories "
            "(glasses, hands) or all."
        },
    )
    """Its name as text is taken as well."""
    grow: Length = field(
        default=Length(0),
        metadata={
            "help": "Reconstruct so much more around the occlusion or the mask: pixels of the 256-pixel "
            "crop, or percent of the face's width (5%). A negative value shrinks it."
        },
    )
    """A number of pixels, or its text, is taken as well."""
    feather: Length | None = field(
        default=None,
        metadata={
            "help": "Width of the edge where the reconstruction fades out, measured as for grow. Left "
            "out, it is 2 pixels, and 0 for a mask."
        },
    )
    """A number of pixels, or its text, is taken as well."""
    only: tuple[int, ...] = field(
        default=(),
        metadata={"help": "The faces to work on, by the numbers that the JSON shows. For one photo only."},
    )
    """None named is all of them. One number alone is taken as well."""
    largest: int | None = field(default=None, metadata={"help": "Work on so many faces only, the largest."})
    min_face: Length | None = field(
        default=None,
        metadata={
            "help": "Leave smaller faces alone: width in pixels, or percent of the photo's width (5%)."
        },
    )
    """A number of pixels, or its text, is taken as well. A marked face is never too small or too large."""
    max_face: Length | None = field(
        default=None, metadata={"help": "Leave larger faces alone, in the same units."}
    )
    """A number of pixels, or its text, is taken as well."""
    occlusion_threshold: float = field(
        default=THRESHOLDS.occlusion,
        metadata={"help": "Minimum occlusion score (0-1). Raise it to change fewer pixels."},
    )
    min_confidence: float = field(
        default=THRESHOLDS.min_confidence,
        metadata={"help": "Minimum confidence of the face detector (0-1). Raise it for fewer faces."},
    )
    strip: bool = field(
        default=False, metadata={"help": "Leave out EXIF with its location, XMP, IPTC and comments."}
    )
    primary_only: bool = field(
        default=False,
        metadata={
            "help": "Write an MPO or Ultra HDR JPEG without its further layers, which would not fit the "
            "picture."
        },
    )

    def __post_init__(self) -> None:
        if self.remove not in list(Remove):
            raise UsageError(f"unknown class {self.remove!r}; remove one of {', '.join(Remove)}")
        keep: Any = (self.keep,) if _is_mask(self.keep) else self.keep
        regions = [_region(region) for region in _listed(keep)]
        object.__setattr__(self, "remove", Remove(self.remove))
        object.__setattr__(self, "faces", tuple(_box(box) for box in _listed(self.faces)))
        object.__setattr__(self, "keep", tuple(regions))
        for name in ("grow", "feather", "min_face", "max_face"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, length_of(getattr(self, name)))
        only: Any = self.only
        only = tuple(only) if isinstance(only, list | tuple) else (only,)
        object.__setattr__(self, "only", only)
        self._check_edge()
        self._check_choice()
        for name, value in (("threshold", self.occlusion_threshold), ("confidence", self.min_confidence)):
            number: object = value  # ComfyUI may hand over anything
            if not isinstance(number, Real) or not 0 <= value <= 1:
                raise UsageError(f"a {name} of {value} cannot be; use 0 to 1")
        if sum(map(_is_mask, regions)) > 1:
            raise UsageError("only one mask can be kept; put the regions together into one")
        if self.aligned and (self.faces or self.chooses):
            raise UsageError("a ready crop shows one face alone; leave out which faces")

    def _check_edge(self) -> None:
        for name, least in (("grow", -_MOST_EDGE_PX), ("feather", 0)):
            length = getattr(self, name)
            if length is not None and not least <= length.px(FACE_WIDTH_PX) <= _MOST_EDGE_PX:
                raise UsageError(
                    f"{name} {length} cannot be; use {least} to {_MOST_EDGE_PX} pixels of the crop"
                )

    def _check_choice(self) -> None:
        if not all(isinstance(each, int) and each >= 1 for each in self.only):
            raise UsageError("faces are numbered from 1; name those to work on, such as 1,3")
        largest: Any = self.largest  # ComfyUI may hand over anything
        if largest is not None and not (isinstance(largest, int) and largest >= 1):
            raise UsageError(f"the {self.largest} largest faces cannot be; use 1 or more")
        low, high = self.min_face, self.max_face
        if any(each is not None and each.value <= 0 for each in (low, high)):
            raise UsageError("a face's width is more than 0; give pixels such as 80, or percent such as 5%")
        if low and high and low.percent == high.percent and low.value > high.value:
            raise UsageError(f"no face is wider than {low} and narrower than {high}; swap them")

    @property
    def chooses(self) -> bool:
        """Whether some of a photo's faces may be left alone by number or size."""
        return bool(self.only or self.largest or self.min_face or self.max_face)

    @property
    def grow_px(self) -> float:
        """Pixels of a 256×256 crop."""
        return self.grow.px(FACE_WIDTH_PX)

    @property
    def feather_px(self) -> float | None:
        """The whole width of the edge in pixels of a 256×256 crop. None is the default."""
        return None if self.feather is None else self.feather.px(FACE_WIDTH_PX)

    def mask_of(self, width_px: int, height_px: int, name: str) -> Mask | None:
        """The mask, bool (height, width).

        Raises:
            UsageError: it has another shape than the picture, or marks nothing.
        """
        if self.mask is None:
            return None
        mask = _fitted(self.mask, width_px, height_px, name)
        if not mask.any():
            raise UsageError("the mask marks nothing; paint white what is to be reconstructed")
        return mask

    def free_of(self, width_px: int, height_px: int, name: str) -> Mask:
        """What may change, bool (height, width).

        Raises:
            UsageError: a mask of another shape than the picture.
        """
        import numpy as np

        free: Mask = np.ones((height_px, width_px), dtype=np.bool_)
        for region in self.keep:
            if not isinstance(region, tuple):
                free &= ~_fitted(region, width_px, height_px, name)
                continue
            # A pixel that a region touches at all is in it.
            x, y, width, height = region
            x1, y1 = max(0, math.floor(x)), max(0, math.floor(y))
            x2, y2 = max(0, math.ceil(x + width)), max(0, math.ceil(y + height))
            free[y1:y2, x1:x2] = False
        return free

    def to_texts(self) -> Mapping[str, str]:
        """What decides about the result, for a provenance. What has its default is left out."""
        texts = {"input": "aligned" if self.aligned else "photo"}
        if self.mask is None:
            texts["remove"] = str(self.remove)
        else:
            texts["mask_sha256"] = _sha256(self.mask)
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name in ("aligned", "mask", "remove") or value == each.default:
                continue
            if each.name == "only":
                texts[each.name] = ",".join(map(str, value))
                continue
            if not isinstance(value, tuple):
                shown = value if isinstance(value, Length) else f"{value:g}"
                texts[each.name] = "yes" if value is True else str(shown)
                continue
            boxes = [_text_of(region) for region in value if isinstance(region, tuple)]
            masks = [region for region in value if not isinstance(region, tuple)]
            texts |= {each.name: " ".join(boxes)} if boxes else {}
            texts |= {f"{each.name}_sha256": _sha256(masks[0])} if masks else {}
        return texts


CHOICE_OPTIONS = ("only", "largest", "min_face", "max_face")
"""The fields of `Options` that decide which of the faces found are worked on."""
FIND_OPTIONS = ("aligned", "faces", *CHOICE_OPTIONS, "occlusion_threshold", "min_confidence")
"""The fields of `Options` that decide about what is found. The others are about the reconstruction."""


def find_options_of(options: Options | None, changes: Mapping[str, Any]) -> Options:
    """Options for finding occlusions alone.

    Raises:
        UsageError: as `options_of` does, or an option is about the reconstruction.
    """
    chosen = options_of(options, changes)
    for each in fields(Options):
        value = getattr(chosen, each.name)
        if each.name not in FIND_OPTIONS and (_is_mask(value) or value != each.default):
            raise UsageError(
                f"{each.name} is about the reconstruction; finding takes {', '.join(FIND_OPTIONS)}"
            )
    return chosen


def options_of(options: Options | None, changes: Mapping[str, Any]) -> Options:
    """Options with other values in some of their fields.

    Args:
        options: None is all at their defaults.
        changes: values by the names of the fields.

    Raises:
        UsageError: no field has such a name, or as `Options` does.
    """
    known = [each.name for each in fields(Options)]
    for name in changes:
        if name not in known:
            near = get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"use one of {', '.join(known)}"
            raise UsageError(f"unknown option {name}; {hint}")
    return replace(options or Options(), **changes)


def help_of(name: str) -> str:
    """The text of a field of `Options`."""
    text: str = next(each.metadata["help"] for each in fields(Options) if each.name == name)
    return text


def default_of(name: str) -> Any:
    """The default of a field of `Options`."""
    return getattr(Options, name)


def _is_mask(region: object) -> bool:
    return getattr(region, "dtype", None) == "bool"


def _region(region: Any) -> Box | Mask:
    return region if _is_mask(region) else _box(region)


def _listed(regions: Any) -> Sequence[Any]:
    if isinstance(regions, str) or not hasattr(regions, "__iter__"):
        raise UsageError(f"{regions!r} is not a list of regions; give [(x, y, width, height), ...]")
    return tuple(regions)


def _box(values: Sequence[float]) -> Box:
    try:
        box = tuple(map(float, values))
    except (TypeError, ValueError) as error:
        raise UsageError(f"{values!r} is not a region; give (x, y, width, height) in pixels") from error
    if not (len(box) == 4 and all(abs(value) <= _FARTHEST_PX for value in box) and min(box[2:]) > 0):
        raise UsageError(f"{_text_of(box)} is not a region; give x,y,width,height in pixels")
    return box


def _fitted(mask: Mask, width_px: int, height_px: int, name: str) -> Mask:
    """A mask at a picture's size; one of another size must have its shape."""
    import numpy as np
    from PIL import Image as PillowImage

    if not isinstance(mask, np.ndarray):
        raise UsageError(
            f"the mask is of type {type(mask).__name__}; pass a bool array (height, width), as "
            "facemend.io.read_mask reads it"
        )
    if mask.dtype != np.bool_ or mask.ndim != 2 or not mask.size:
        raise UsageError(f"the mask is {mask.dtype} {mask.shape}; pass bool (height, width)")
    if mask.shape == (height_px, width_px):
        return mask
    if abs(mask.shape[1] * height_px / (mask.shape[0] * width_px) - 1) > _SAME_SHAPE:
        raise UsageError(
            f"the mask is {mask.shape[1]}×{mask.shape[0]} pixels and {name} is {width_px}×{height_px}; a "
            "mask has the photo's shape, at any size"
        )
    picture = PillowImage.fromarray(mask).resize((width_px, height_px), PillowImage.Resampling.NEAREST)
    return np.asarray(picture, dtype=np.bool_)


def _sha256(mask: Mask) -> str:
    return hashlib.sha256(mask.tobytes()).hexdigest()


def _text_of(box: Sequence[float]) -> str:
    return ",".join(f"{value:g}" for value in box)

"""Putting a reconstruction into its picture: feathered edges, composite, grain, a heat map of doubt."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage
from PIL import ImageFilter

from facemend.alignment import CROP_SIZE_PX
from facemend.images import Alpha, Image, Mask, resize
from facemend.reconstruction.options import THRESHOLD, Options


def dilate(mask: Mask, radius_px: int) -> Mask:
    """A mask (H, W) and all pixels within `radius_px` of it in x and in y. A negative radius shrinks it."""
    if radius_px < 0:
        return ~dilate(~mask, -radius_px)
    return _box_sum(mask, radius_px, "constant") > 0


def feather(mask: Mask, dilation_px: int, feather_px: int) -> Alpha:
    """float32 (H, W): 1 in a mask and `dilation_px` around it, falling to 0 in `2 * feather_px` more.

    A negative dilation shrinks the mask, except where the picture's border cuts it off.
    """
    if not mask.any():
        return np.zeros(mask.shape, dtype=np.float32)
    # The mean over a window is 1 where the window is full: as far as the mask was grown beyond its half.
    window = 2 * feather_px + 1
    total = _box_sum(dilate(mask, dilation_px + feather_px), feather_px, "edge")
    return (total / np.float32(window * window)).astype(np.float32)


def _box_sum(mask: Mask, radius_px: int, border: Literal["constant", "edge"]) -> npt.NDArray[np.int32]:
    """How many pixels are set within `radius_px` in x and in y.

    Beyond the border lie unset pixels ("constant") or those of the border itself ("edge").
    """
    total = mask.astype(np.int32)
    window = 2 * radius_px + 1
    for _ in range(2):
        padded = np.pad(total, ((radius_px + 1, radius_px), (0, 0)), mode=border)
        running = padded.cumsum(axis=0, dtype=np.int32)
        total = (running[window:] - running[:-window]).T
    return total


DILATION_PX, FEATHER_PX = 2, 1
"""In pixels of a 256×256 crop. Larger and smaller pictures scale them."""


def edge_px(options: Options, scale: float, *, exact: bool = False) -> tuple[int, int]:
    """Dilation and feather, as `feather` takes them, in pixels of a picture.

    Args:
        scale: the picture's pixels to a pixel of a 256×256 crop.
        exact: of a mask that the user draws, which has no edge unless the options say so.
    """
    dilation_px, feather_px = (0, 0) if exact else (_scaled(DILATION_PX, scale), _scaled(FEATHER_PX, scale))
    if options.feather_px is not None:
        feather_px = _scaled(options.feather_px / 2, scale)
    return dilation_px + round(options.grow_px * scale), feather_px


def _scaled(length_px: float, scale: float) -> int:
    """A length in a picture that is larger by `scale`. At least a pixel, unless it is 0."""
    return max(1, round(length_px * scale)) if length_px else 0


@dataclass(frozen=True)
class Composite:
    """A delivered picture.

    Attributes:
        image: uint8 (H, W, 3) RGB; where `weight` is 0 it is the input, bit for bit.
        weight: float32 (H, W), the reconstruction's share of each pixel, 0-1.
    """

    image: Image
    weight: Alpha


def composite(
    image: Image,
    raw: Image,
    alpha: Alpha,
    options: Options | None = None,
    *,
    exact: bool = False,
    threshold: float = THRESHOLD,
) -> Composite:
    """Puts the reconstruction where the occlusion is.

    The weight is 1 in the occlusion and `dilation_px` around it, so that no rim in its colour stays,
    then falls to 0 within `2 * feather_px`. A reconstruction of another size is brought to the picture's.

    Args:
        image: uint8 (H, W, 3) RGB, the occluded picture.
        raw: uint8 (h, w, 3) RGB, the model's picture of the same view.
        alpha: float32 (h, w), 0-1, the occlusion to remove (see `wanted_alpha`).
        options: whose `grow` and `feather` count (None: the defaults).
        exact: the alpha is the user's mask, see `edge_px`.
        threshold: an alpha above it is occluded.
    """
    height_px, width_px = image.shape[:2]
    found = resize_alpha(alpha, width_px, height_px) > threshold
    weight = feather(found, *edge_px(options or Options(), width_px / CROP_SIZE_PX, exact=exact))
    return Composite(blend(image, resize(raw, width_px, height_px), weight), weight)


def blend(below: Image, above: Image, weight: Alpha) -> Image:
    """`above` over `below` by weight (H, W), 0-1. Where the weight is 0, `below` keeps its bytes."""
    touched = weight > 0
    share = weight[touched][:, None]
    seen = below[touched].astype(np.float32)
    result = below.copy()
    result[touched] = np.rint(seen + share * (above[touched].astype(np.float32) - seen)).astype(np.uint8)
    return result


HOTTEST_LEVELS = 100
"""The interval that has the last colour of a heat map, and all that are larger."""
_HEAT = np.array([(24, 16, 72), (104, 24, 128), (208, 56, 88), (250, 152, 48), (255, 250, 160)])
_DIMMED = 0.55  # of the photo around it


def heat_map(image: Image, interval: Alpha, weight: Alpha) -> Image:
    """How far off a reconstruction may be, in colours from dark blue (0) to pale yellow (`HOTTEST_LEVELS`).

    Args:
        image: uint8 (H, W, 3) RGB, which is shown gray and darker where nothing was reconstructed.
        interval: float32 (H, W), in levels of 255.
        weight: float32 (H, W), the reconstruction's share of each pixel.
    """
    gray = np.rint(image.astype(np.float32) @ _LUMA * np.float32(_DIMMED)).astype(np.uint8)
    result = np.repeat(gray[:, :, None], 3, axis=2)
    changed = weight > 0
    steps = np.linspace(0, HOTTEST_LEVELS, len(_HEAT))
    bands = [np.interp(interval[changed], steps, _HEAT[:, band]) for band in range(3)]
    result[changed] = np.rint(np.stack(bands, axis=1)).astype(np.uint8)
    return result


def resize_alpha(alpha: Alpha, width_px: int, height_px: int) -> Alpha:
    """Resizes float32 (H, W) in 0-1 with the filter of `images.resize`, and keeps it in 0-1."""
    if alpha.shape == (height_px, width_px):
        return alpha
    resized = PillowImage.fromarray(alpha).resize((width_px, height_px), PillowImage.Resampling.BICUBIC)
    return np.asarray(resized, dtype=np.float32).clip(0, 1)


_TONE_PX, _TONE_STEPS, _FEWEST_CELLS = 48, 24, 96
_TONED_LEVELS, _TONED_SHARE = 2.5, 0.18
"""How far, in levels or as a share of their colour, three in four visible places may lie from the tone.
Sepia, green and blue tones after JPEG lie within (98, 91 and 100 of 100). Of 46 colour photos the nearest
has 3.5 levels and a share of 0.21."""
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def keep_tone(before: Image, after: Image, weight: Alpha) -> Image:
    """A reconstruction without colours that its photo does not have.

    Black-and-white, sepia and night-vision photos have one colour for each lightness. If what is visible of
    a photo has, the reconstruction gets those colours and keeps its lightness.

    Args:
        before: uint8 (H, W, 3) RGB, the photo.
        after: uint8 (H, W, 3) RGB, the photo reconstructed.
        weight: (H, W), the reconstruction's share of each pixel.
    """
    tone = _tone_of(before, weight)
    if tone is None:
        return after
    made = weight > 0
    lightness = np.rint(after[made].astype(np.float32) @ _LUMA)
    steps, colours = tone
    shifts = np.stack([np.interp(lightness, steps, colours[:, channel]) for channel in range(3)], axis=1)
    result = after.copy()
    result[made] = np.rint(lightness[:, None] + shifts).clip(0, 255).astype(np.uint8)
    return result


_Floats = npt.NDArray[np.float32]


def _tone_of(image: Image, weight: Alpha) -> tuple[_Floats, _Floats] | None:
    """The colour of each lightness, (N,), as its difference from gray, (N, 3). None if there are more."""
    factor = max(1, min(image.shape[:2]) // _TONE_PX)
    seen = PillowImage.fromarray((weight == 0).astype(np.uint8) * 255).reduce(factor)
    # Means over cells: JPEG keeps the colours of two by two pixels.
    cells = np.asarray(PillowImage.fromarray(image).reduce(factor), dtype=np.float32)[
        np.asarray(seen) == 255
    ]
    if len(cells) < _FEWEST_CELLS:
        return None
    lightness = cells @ _LUMA
    order = np.array_split(np.argsort(lightness), _TONE_STEPS)
    away = cells - lightness[:, None]
    steps = np.array([np.median(lightness[part]) for part in order])
    colours = np.array([np.median(away[part], axis=0) for part in order])
    fitted = np.stack([np.interp(lightness, steps, colours[:, channel]) for channel in range(3)], axis=1)
    apart = float(np.quantile(np.abs(away - fitted).max(axis=1), 0.75))
    if apart > max(_TONED_LEVELS, _TONED_SHARE * float(np.abs(away).max(axis=1).mean())):
        return None
    return steps, colours if np.abs(colours).max() >= 0.5 else np.zeros_like(colours)


RING_PX = 10
"""How far from the hole the visible pixels tell of the grain, in pixels of a 256×256 crop."""


def match_grain(image: Image, raw: Image, hole: Mask, scale: float, rng: np.random.Generator) -> Image:
    """Adds the noise that the visible picture has beside the hole and a reconstruction lacks.

    Args:
        image: (H, W, 3), the photo.
        raw: (H, W, 3), the network's picture of the same view, enlarged to the photo's pixels.
        hole: (H, W), the pixels to be replaced.
        scale: photo pixels to a pixel of the network; at 1 or less the network drew the grain itself.

    Returns:
        (H, W, 3): `raw` with grain, alike in all channels.
    """
    missing = missing_grain(image, raw, hole, scale)
    if not missing:
        return raw
    noise = rng.standard_normal(hole.shape, dtype=np.float32) * np.float32(missing)
    return add_grain(raw, noise)


def missing_grain(image: Image, raw: Image, hole: Mask, scale: float) -> float:
    """The standard deviation, in levels, of the noise that `match_grain` adds; it has its arguments."""
    beside = dilate(hole, round(RING_PX * scale)) & ~hole
    if scale <= 1 or not beside.any():
        return 0.0
    visible, drawn = _roughness(image)[beside], _roughness(raw)[hole]
    return float(max(_spread(visible) ** 2 - _spread(drawn) ** 2, 0.0) ** 0.5)


def add_grain(raw: Image, noise: npt.NDArray[np.float32]) -> Image:
    """A picture (H, W, 3) with noise (H, W), in levels, alike in all channels."""
    grainy: Image = np.rint(raw + noise[:, :, None]).clip(0, 255).astype(np.uint8)
    return grainy


def _roughness(image: Image) -> npt.NDArray[np.float32]:
    """What a small blur takes away from the lightness, (H, W)."""
    gray = PillowImage.fromarray(image).convert("L")
    soft = gray.filter(ImageFilter.GaussianBlur(1.5))
    return np.asarray(gray, dtype=np.float32) - np.asarray(soft, dtype=np.float32)


def _spread(values: npt.NDArray[np.float32]) -> float:
    """The standard deviation of the bulk of the values: edges among them count for little."""
    return 1.4826 * float(np.median(np.abs(values)))

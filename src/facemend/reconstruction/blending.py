"""Putting a reconstruction into its picture: regions, feathered edges, composite, grain."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage
from PIL import ImageFilter

from facemend.alignment import CROP_SIZE_PX
from facemend.images import Alpha, Image, Mask, resize
from facemend.reconstruction.options import THRESHOLD, Remove
from facemend.thresholds import THRESHOLDS


def dilate(mask: Mask, radius_px: int) -> Mask:
    """A mask (H, W) and all pixels within `radius_px` of it in x and in y."""
    return _box_sum(mask, radius_px, "constant") > 0


def feather(mask: Mask, dilation_px: int, feather_px: int) -> Alpha:
    """float32 (H, W): 1 in a mask and `dilation_px` around it, falling to 0 in `2 * feather_px` more."""
    if not mask.any():
        return np.zeros(mask.shape, dtype=np.float32)
    # The mean over a window is 1 where the window is full: as far as the mask was grown beyond its half.
    window = 2 * feather_px + 1
    total = _box_sum(dilate(mask, dilation_px + feather_px), feather_px, "edge")
    return (total / np.float32(window * window)).astype(np.float32)


def large_regions(mask: Mask, smallest_px: int) -> Mask:
    """Those pixels of a mask (H, W) whose connected region takes at least `smallest_px` pixels.

    Connected is what touches by a side.
    """
    rows, starts, ends, sizes, _ = _runs(mask)
    return _mask_of_runs(mask, rows, starts, ends, sizes >= smallest_px)


def largest_region(mask: Mask) -> Mask:
    """The largest connected region of a mask (H, W), the first of several."""
    rows, starts, ends, sizes, roots = _runs(mask)
    return _mask_of_runs(
        mask, rows, starts, ends, roots == roots[sizes.argmax()] if len(roots) else roots > 0
    )


_Runs = npt.NDArray[np.intp]


def _runs(mask: Mask) -> tuple[_Runs, _Runs, _Runs, _Runs, _Runs]:
    """All runs of set pixels in rows: row, start and end, and the size and the name of their region.

    Runs of a row are joined with those of the row above.
    """
    edges = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    (rows, starts), ends = np.argwhere(edges == 1).T, np.argwhere(edges == -1).T[1]
    parents = np.arange(len(rows))
    above = 0
    for run, (row, start, end) in enumerate(zip(rows, starts, ends, strict=True)):
        while rows[above] < row - 1 or (rows[above] == row - 1 and ends[above] <= start):
            above += 1
        touching = above
        while rows[touching] == row - 1 and starts[touching] < end:
            parents[_root(parents, run)] = _root(parents, touching)
            touching += 1
    roots = np.array([_root(parents, run) for run in range(len(rows))], dtype=np.intp)
    sizes = np.bincount(roots, weights=ends - starts, minlength=len(rows))
    return rows, starts, ends, sizes[roots].astype(np.intp), roots


def _mask_of_runs(mask: Mask, rows: _Runs, starts: _Runs, ends: _Runs, chosen: Mask) -> Mask:
    """A mask of the same size with the chosen runs."""
    drawn = np.zeros_like(mask)
    for row, start, end in zip(rows[chosen], starts[chosen], ends[chosen], strict=True):
        drawn[row, start:end] = True
    return drawn


def _root(parents: npt.NDArray[np.intp], run: int) -> int:
    while parents[run] != run:
        parents[run] = parents[parents[run]]
        run = int(parents[run])
    return run


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
_CHANNELS = {Remove.COVERS: [0], Remove.ACCESSORIES: [1], Remove.ALL: [0, 1]}


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
    *,
    dilation_px: int = DILATION_PX,
    feather_px: int = FEATHER_PX,
    threshold: float = THRESHOLD,
) -> Composite:
    """Puts the reconstruction where the occlusion is.

    The weight is 1 in the occlusion and `dilation_px` around it, so that no rim in its colour stays,
    then falls to 0 within `2 * feather_px`. A reconstruction of another size is brought to the picture's.

    Args:
        image: uint8 (H, W, 3) RGB, the occluded picture.
        raw: uint8 (h, w, 3) RGB, the model's picture of the same view.
        alpha: float32 (h, w), 0-1, the occlusion to remove (see `wanted_alpha`).
        dilation_px, feather_px: in pixels of a 256×256 crop; 0 is none.
        threshold: an alpha above it is occluded.
    """
    height_px, width_px = image.shape[:2]
    found = resize_alpha(alpha, width_px, height_px) > threshold
    weight = feather(found, _scaled(dilation_px, width_px), _scaled(feather_px, width_px))
    return Composite(blend(image, resize(raw, width_px, height_px), weight), weight)


def blend(below: Image, above: Image, weight: Alpha) -> Image:
    """`above` over `below` by weight (H, W), 0-1. Where the weight is 0, `below` keeps its bytes."""
    touched = weight > 0
    share = weight[touched][:, None]
    seen = below[touched].astype(np.float32)
    result = below.copy()
    result[touched] = np.rint(seen + share * (above[touched].astype(np.float32) - seen)).astype(np.uint8)
    return result


def wanted_alpha(alpha: npt.NDArray[np.float32], remove: Remove, threshold: float = THRESHOLD) -> Alpha:
    """The alpha to remove, (H, W), out of a model's alpha by class, (2, H, W). It is 0 without a core."""
    wanted = alpha_of(alpha, remove)
    return wanted if has_core(wanted, threshold) else np.zeros_like(wanted)


def alpha_of(alpha: npt.NDArray[np.float32], remove: Remove) -> Alpha:
    """The alpha of the classes to remove, (H, W), out of a model's alpha by class, (2, H, W)."""
    of_classes: Alpha = alpha[_CHANNELS[remove]].max(axis=0)
    return of_classes


def has_core(alpha: Alpha, threshold: float) -> bool:
    """Whether a connected region of a crop's alpha is large enough, and sure enough, to be an occlusion.

    Args:
        threshold: an alpha above it is occluded.
    """
    certain = alpha > threshold + THRESHOLDS.sure * (1 - threshold)
    return bool(large_regions(certain, round(THRESHOLDS.smallest_region * alpha.size)).any())


def resize_alpha(alpha: Alpha, width_px: int, height_px: int) -> Alpha:
    """Resizes float32 (H, W) in 0-1 with the filter of `images.resize`, and keeps it in 0-1."""
    if alpha.shape == (height_px, width_px):
        return alpha
    resized = PillowImage.fromarray(alpha).resize((width_px, height_px), PillowImage.Resampling.BICUBIC)
    return np.asarray(resized, dtype=np.float32).clip(0, 1)


def _scaled(length_px: int, width_px: int) -> int:
    return max(1, round(length_px * width_px / CROP_SIZE_PX)) if length_px else 0


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
    """The standard deviation, in levels, of the noise that `match_grain` adds. Its arguments are that one's."""
    beside = dilate(hole, round(RING_PX * scale)) & ~hole
    if scale <= 1 or not beside.any():
        return 0.0
    visible, drawn = _roughness(image)[beside], _roughness(raw)[hole]
    return float(max(_spread(visible) ** 2 - _spread(drawn) ** 2, 0.0) ** 0.5)


def add_grain(raw: Image, noise: npt.NDArray[np.float32]) -> Image:
    """A picture (H, W, 3) with noise (H, W), in levels, alike in all channels."""
    return np.rint(raw + noise[:, :, None]).clip(0, 255).astype(np.uint8)


def _roughness(image: Image) -> npt.NDArray[np.float32]:
    """What a small blur takes away from the lightness, (H, W)."""
    gray = PillowImage.fromarray(image).convert("L")
    soft = gray.filter(ImageFilter.GaussianBlur(1.5))
    return np.asarray(gray, dtype=np.float32) - np.asarray(soft, dtype=np.float32)


def _spread(values: npt.NDArray[np.float32]) -> float:
    """The standard deviation of the bulk of the values: edges among them count for little."""
    return 1.4826 * float(np.median(np.abs(values)))

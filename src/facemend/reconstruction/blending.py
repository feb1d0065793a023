"""Makes a reconstruction meet its surroundings: the same tone along the hole's edge, the same grain."""

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage
from PIL import ImageFilter

from facemend.images import Alpha, Image, Mask
from facemend.reconstruction.regions import grown

_SMALLEST_PX = 4
"""Side at which the pyramid of `extend_into` ends."""
_RING_PX = 10
"""How far from the hole the visible pixels tell of its tone and grain, in pixels of a 256×256 crop."""


def match_tone(image: Image, raw: Image, hole: Mask) -> Image:
    """Moves the colours of a reconstruction so that they go over into the visible ones at the hole's edge.

    What differs between both pictures beside the hole is carried into it smoothly, a membrane as in Pérez,
    Gangnet, Blake, "Poisson Image Editing", SIGGRAPH 2003, here by a pyramid (pull and push).

    Args:
        image: (H, W, 3), the occluded picture.
        raw: (H, W, 3), the network's picture of the same view.
        hole: (H, W), the pixels to be replaced, with what surrounds the occlusion and is not to be trusted.

    Returns:
        (H, W, 3): `raw`, moved.
    """
    known = (grown(hole, _RING_PX * len(hole) // 256 + 1) & ~hole).astype(np.float32)
    if not known.any():
        return raw
    difference = (image.astype(np.float32) - raw) * known[:, :, None]
    moved: Image = np.rint(raw + extend_into(difference, known)).clip(0, 255).astype(np.uint8)
    return moved


def extend_into(weighted: npt.NDArray[np.float32], weight: Alpha) -> npt.NDArray[np.float32]:
    """Fills in unknown values smoothly from the known ones around them.

    Gortler, Grzeszczuk, Szeliski, Cohen, "The Lumigraph", SIGGRAPH 1996, section 3.4 (pull and push).

    Args:
        weighted: (H, W, C), values times their weight.
        weight: (H, W), 0 = unknown, 1 = known.

    Returns:
        (H, W, C): the values where they are known, and smooth ones in between.
    """
    height, width = weight.shape
    if min(height, width) <= _SMALLEST_PX:
        mean = weighted.sum(axis=(0, 1)) / np.maximum(weight.sum(), np.float32(1e-6))
        return np.broadcast_to(mean, weighted.shape).astype(np.float32)
    even = ((0, height % 2), (0, width % 2))
    padded, weights = np.pad(weighted, (*even, (0, 0))), np.pad(weight, even)
    coarse_weight = _quarters(weights[:, :, None])[:, :, 0]
    known = np.minimum(coarse_weight, np.float32(1))
    share: Alpha = np.divide(known, np.maximum(coarse_weight, np.float32(1e-6)), dtype=np.float32)
    coarse = extend_into(_quarters(padded) * share[:, :, None], known)
    smooth = np.stack([_enlarged(coarse[:, :, c], width, height) for c in range(coarse.shape[2])], axis=2)
    filled: npt.NDArray[np.float32] = weighted + (1 - weight)[:, :, None] * smooth
    return filled


def _quarters(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Sums of 2×2 values: (H, W, C) to half."""
    return values[::2, ::2] + values[1::2, ::2] + values[::2, 1::2] + values[1::2, 1::2]


def _enlarged(values: npt.NDArray[np.float32], width: int, height: int) -> npt.NDArray[np.float32]:
    """A plane twice as large, cut to a size."""
    picture = PillowImage.fromarray(np.ascontiguousarray(values))
    double = picture.resize((2 * picture.width, 2 * picture.height), PillowImage.Resampling.BILINEAR)
    return np.asarray(double, dtype=np.float32)[:height, :width]


def match_grain(image: Image, raw: Image, hole: Mask, scale: float, rng: np.random.Generator) -> Image:
    """Adds the noise that the visible picture has beside the hole and a reconstruction lacks.

    Args:
        image, raw, hole: as for `match_tone`, but `raw` enlarged to the photo's pixels.
        scale: photo pixels to a pixel of the network; at 1 or less the network drew the grain itself.

    Returns:
        (H, W, 3): `raw` with grain, alike in all channels.
    """
    beside = grown(hole, round(_RING_PX * scale)) & ~hole
    if scale <= 1 or not beside.any():
        return raw
    visible, drawn = _roughness(image)[beside], _roughness(raw)[hole]
    missing = max(_spread(visible) ** 2 - _spread(drawn) ** 2, 0.0) ** 0.5
    noise = rng.standard_normal(hole.shape, dtype=np.float32) * np.float32(missing)
    return np.rint(raw + noise[:, :, None]).clip(0, 255).astype(np.uint8)


def _roughness(image: Image) -> npt.NDArray[np.float32]:
    """What a small blur takes away from the lightness, (H, W)."""
    gray = PillowImage.fromarray(image).convert("L")
    soft = gray.filter(ImageFilter.GaussianBlur(1.5))
    return np.asarray(gray, dtype=np.float32) - np.asarray(soft, dtype=np.float32)


def _spread(values: npt.NDArray[np.float32]) -> float:
    """The standard deviation of the bulk of the values: edges among them count for little."""
    return 1.4826 * float(np.median(np.abs(values)))

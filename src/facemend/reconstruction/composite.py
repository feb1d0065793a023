"""The delivered picture: the reconstruction inside the occlusion found, the input everywhere else.

The product and the evaluation both call `composite`, so that what is measured is what is delivered.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage

from facemend.frame import CROP_SIZE_PX
from facemend.images import Alpha, Image, resize
from facemend.reconstruction.options import THRESHOLD, Remove
from facemend.reconstruction.regions import feathered, large_regions

DILATION_PX, FEATHER_PX = 2, 1
"""In pixels of a 256×256 crop; larger and smaller pictures scale them."""
SMALLEST_CORE = 0.005
"""Share of the crop that a connected region must take, of which the model is sure, for a face to count as
occluded; docs/experiments.md says what it costs and what it spares faces that nothing hides."""
SURE = 0.6
"""How far above the threshold, on the way to 1, the model is sure: an alpha of 0.8 at 0.5."""
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
    weight = feathered(found, _scaled(dilation_px, width_px), _scaled(feather_px, width_px))
    return Composite(blend(image, resize(raw, width_px, height_px), weight), weight)


def blend(below: Image, above: Image, weight: Alpha) -> Image:
    """`above` over `below` by weight (H, W), 0-1; where that is 0, `below` keeps its bytes."""
    touched = weight > 0
    share = weight[touched][:, None]
    seen = below[touched].astype(np.float32)
    result = below.copy()
    result[touched] = np.rint(seen + share * (above[touched].astype(np.float32) - seen)).astype(np.uint8)
    return result


def wanted_alpha(alpha: npt.NDArray[np.float32], remove: Remove, threshold: float = THRESHOLD) -> Alpha:
    """The alpha to remove, (H, W), out of a model's alpha by class, (2, H, W); 0 if it has no core."""
    wanted = alpha_of(alpha, remove)
    return wanted if has_core(wanted, threshold, SMALLEST_CORE) else np.zeros_like(wanted)


def alpha_of(alpha: npt.NDArray[np.float32], remove: Remove) -> Alpha:
    """The alpha of the classes to remove, (H, W), out of a model's alpha by class, (2, H, W)."""
    of_classes: Alpha = alpha[_CHANNELS[remove]].max(axis=0)
    return of_classes


def has_core(alpha: Alpha, threshold: float, share: float, sure: float = SURE) -> bool:
    """Whether a connected region of a crop's alpha is sure to be occluded, and takes such a share of it.

    Args:
        threshold: an alpha above it is occluded.
        sure: where that begins, see `SURE`.
    """
    certain = alpha > threshold + sure * (1 - threshold)
    return bool(large_regions(certain, round(share * alpha.size)).any())


def resize_alpha(alpha: Alpha, width_px: int, height_px: int) -> Alpha:
    """Resizes float32 (H, W) in 0-1 with the filter of `images.resize`, and keeps it in 0-1."""
    if alpha.shape == (height_px, width_px):
        return alpha
    resized = PillowImage.fromarray(alpha).resize((width_px, height_px), PillowImage.Resampling.BICUBIC)
    return np.asarray(resized, dtype=np.float32).clip(0, 1)


def _scaled(length_px: int, width_px: int) -> int:
    return max(1, round(length_px * width_px / CROP_SIZE_PX)) if length_px else 0

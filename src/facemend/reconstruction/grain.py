"""Gives an enlarged reconstruction the grain of the photo around it, so that it does not look pasted in."""

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage
from PIL import ImageFilter

from facemend.images import Image, Mask
from facemend.reconstruction.regions import grown

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
    if scale <= 1:
        return raw
    beside = grown(hole, round(RING_PX * scale)) & ~hole
    if not beside.any():
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

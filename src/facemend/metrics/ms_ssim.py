"""Structural similarity at five scales."""

import numpy as np
import numpy.typing as npt

from facemend.images import Image
from facemend.metrics.pair import check_pair
from facemend.metrics.ssim import similarity

_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_SMALLEST_PX = 11 * 2 ** (len(_WEIGHTS) - 1)


def ms_ssim(image: Image, truth: Image) -> float:
    """MS-SSIM of one picture, mean over channels; 1 means equal.

    Wang, Simoncelli, Bovik, "Multiscale structural similarity for image quality assessment", Asilomar
    2003: five scales, each half as large by the mean of 2×2 pixels, with their weights; windows and
    constants are those of `ssim`. A negative mean of contrast and structure, which has no root, counts as
    0. The same number as `tf.image.ssim_multiscale(..., max_val=255)`, where every side halves evenly.

    Args:
        image, truth: uint8 (H, W, 3), 0-255, at least 176×176.

    Raises:
        ValueError: other shapes or types.
    """
    check_pair(image, truth)
    height, width = truth.shape[:2]
    if min(height, width) < _SMALLEST_PX:
        raise ValueError(f"MS-SSIM needs at least {_SMALLEST_PX}×{_SMALLEST_PX}, not {width}×{height}")
    x, y = image.astype(np.float64), truth.astype(np.float64)
    score = np.ones(3)
    for scale, weight in enumerate(_WEIGHTS):
        if scale:
            x, y = _halve(x), _halve(y)
        luminance, structure = similarity(x, y)
        # Luminance counts at the last scale alone.
        index = luminance * structure if scale == len(_WEIGHTS) - 1 else structure
        score *= index.mean(axis=(0, 1)).clip(0) ** weight
    return float(score.mean())


def _halve(planes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(H, W, C) to the means of 2×2 pixels; an odd last row or column is left out."""
    height, width, channels = planes.shape
    even = planes[: height // 2 * 2, : width // 2 * 2]
    means: npt.NDArray[np.float64] = even.reshape(height // 2, 2, width // 2, 2, channels).mean(axis=(1, 3))
    return means

"""How much fine detail a reconstruction has, compared with the truth."""

import numpy as np
import numpy.typing as npt

from facemend.images import Image, Mask
from facemend.metrics.opencv import cv2
from facemend.metrics.pair import check_pair, check_region

_INSET_PX = 3
_LUMA = np.array([0.299, 0.587, 0.114])


def sharpness(image: Image, truth: Image, hole: Mask) -> float | None:
    """Mean gradient magnitude inside the hole, as a share of the truth's: 0.7 to 1.1 is good.

    The gradient is the central difference of the luma (ITU-R BT.601), taken inside the hole eroded by
    3 px, so that the hole's edge does not count as detail.

    Args:
        image, truth: uint8 (H, W, 3), 0-255.
        hole: bool (H, W), True = occluded.

    Returns:
        0 or more, 1 = as sharp as the truth; None where the eroded hole is empty or the truth is flat.

    Raises:
        ValueError: other shapes or types.
    """
    check_pair(image, truth)
    check_region(hole, truth)
    square = np.ones((2 * _INSET_PX + 1, 2 * _INSET_PX + 1), dtype=np.uint8)
    inside = cv2.erode(hole.astype(np.uint8), square).astype(bool)
    of_truth = float(_gradient(truth)[inside].sum())
    return float(_gradient(image)[inside].sum()) / of_truth if of_truth else None


def _gradient(image: Image) -> npt.NDArray[np.float64]:
    """Gradient magnitude of the luma in levels a pixel, float64 (H, W)."""
    down, across = np.gradient(image @ _LUMA)
    magnitude: npt.NDArray[np.float64] = np.sqrt(down**2 + across**2)
    return magnitude

"""How well a system finds the occlusion, and how well its interval is calibrated."""

import numpy as np

from facemend.images import Alpha, Image, Mask
from facemend.metrics.opencv import cv2
from facemend.metrics.psnr import check_pair, check_region

_BAND_PX = 2
_THRESHOLD = 0.5


def occlusion_iou(predicted: Alpha, truth: Alpha) -> float | None:
    """Intersection over union of two alphas at 0.5, without the pixels at the true edge.

    Pixels within 2 px of the true edge, on either side, are not counted, since a soft edge has no exact
    end.

    Args:
        predicted, truth: float32 (H, W), 0 = visible, 1 = occluded.

    Returns:
        0-1, or None where nothing is found and nothing is occluded outside the band.

    Raises:
        ValueError: the sizes differ.
    """
    if predicted.ndim != 2 or predicted.shape != truth.shape:
        raise ValueError(f"an alpha of {predicted.shape} cannot be compared with one of {truth.shape}")
    found, hidden = predicted >= _THRESHOLD, truth >= _THRESHOLD
    square = np.ones((2 * _BAND_PX + 1, 2 * _BAND_PX + 1), dtype=np.uint8)
    counted = cv2.dilate(hidden.astype(np.uint8), square) == cv2.erode(hidden.astype(np.uint8), square)
    union = np.count_nonzero((found | hidden) & counted)
    return np.count_nonzero(found & hidden & counted) / union if union else None


def interval_coverage(generated: Image, truth: Image, interval: Alpha, hole: Mask) -> float | None:
    """Share of the hole's colour values whose truth is within ± `interval` of the generated picture.

    A calibrated 90% interval covers 0.9. Less is overconfident, more is too cautious.

    Args:
        generated, truth: uint8 (H, W, 3), 0-255.
        interval: float32 (H, W), in levels of 255. Half a level is allowed for rounding.
        hole: bool (H, W), True = occluded.

    Returns:
        0-1, or None if the hole is empty.

    Raises:
        ValueError: other shapes or types.
    """
    check_pair(generated, truth)
    check_region(hole, truth)
    if interval.shape != hole.shape:
        raise ValueError(f"the interval is {interval.shape}, not {hole.shape}")
    if not hole.any():
        return None
    off = np.abs(generated[hole].astype(np.float32) - truth[hole].astype(np.float32))
    return float((off <= interval[hole][:, None] + 0.5).mean())

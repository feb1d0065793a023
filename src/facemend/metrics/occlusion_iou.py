"""How well an occlusion was found."""

import numpy as np

from facemend.images import Alpha
from facemend.metrics.opencv import cv2

_BAND_PX = 2
_THRESHOLD = 0.5


def occlusion_iou(predicted: Alpha, truth: Alpha) -> float | None:
    """Intersection over union of two alphas at 0.5, without the pixels beside the true edge.

    Pixels within 2 px of the true edge, on either side, are not judged: where exactly a soft edge ends
    is a matter of taste.

    Args:
        predicted, truth: float32 (H, W), 0 = visible, 1 = occluded.

    Returns:
        0-1, or None where nothing is left to judge: nothing found, nothing hidden beyond the band.

    Raises:
        ValueError: the sizes differ.
    """
    if predicted.ndim != 2 or predicted.shape != truth.shape:
        raise ValueError(f"an alpha of {predicted.shape} cannot be compared with one of {truth.shape}")
    found, hidden = predicted >= _THRESHOLD, truth >= _THRESHOLD
    square = np.ones((2 * _BAND_PX + 1, 2 * _BAND_PX + 1), dtype=np.uint8)
    judged = cv2.dilate(hidden.astype(np.uint8), square) == cv2.erode(hidden.astype(np.uint8), square)
    union = np.count_nonzero((found | hidden) & judged)
    return np.count_nonzero(found & hidden & judged) / union if union else None

"""Whether a system knows how far off it may be."""

import numpy as np

from facemend.images import Alpha, Image, Mask
from facemend.metrics.pair import check_pair, check_region


def interval_coverage(drawn: Image, truth: Image, interval: Alpha, hole: Mask) -> float | None:
    """Share of the hole's colour values whose truth lies within ± `interval` of what was drawn.

    A calibrated 90% interval covers 0.9: less is overconfident, more says less than it could.

    Args:
        drawn, truth: uint8 (H, W, 3), 0-255.
        interval: float32 (H, W), in levels of 255; half a level is allowed for the rounding of `drawn`.
        hole: bool (H, W), True = occluded.

    Returns:
        0-1; None where the hole is empty.

    Raises:
        ValueError: other shapes or types.
    """
    check_pair(drawn, truth)
    check_region(hole, truth)
    if interval.shape != hole.shape:
        raise ValueError(f"the interval is {interval.shape}, not {hole.shape}")
    if not hole.any():
        return None
    off = np.abs(drawn[hole].astype(np.float32) - truth[hole].astype(np.float32))
    return float((off <= interval[hole][:, None] + 0.5).mean())

"""Peak signal-to-noise ratio."""

import numpy as np

from facemend.images import Image, Mask
from facemend.metrics.pair import check_pair, check_region

_PEAK = 255.0


def psnr(image: Image, truth: Image, region: Mask | None = None) -> float | None:
    """PSNR in dB of one picture over all three channels: 10·log10(255² / mean squared error).

    Args:
        image, truth: uint8 (H, W, 3), 0-255.
        region: bool (H, W), where to measure; None measures everywhere.

    Returns:
        dB, or None for a perfect picture: without any error the ratio has no value. Count such
        pictures apart; never average them.

    Raises:
        ValueError: other shapes or types, or an empty region.
    """
    check_pair(image, truth)
    if region is not None:
        check_region(region, truth)
        if not region.any():
            raise ValueError("the region is empty: there is nothing to measure")
        image, truth = image[region], truth[region]
    difference = image.astype(np.int32) - truth
    squared_error = float(np.mean(difference * difference))
    return float(10 * np.log10(_PEAK**2 / squared_error)) if squared_error else None

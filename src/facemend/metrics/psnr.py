"""PSNR, and what every metric takes: uint8 pictures of one size."""

import numpy as np

from facemend.images import Image, Mask


def check_pair(image: Image, truth: Image) -> None:
    """Makes sure that both are uint8 (H, W, 3) of one size, so that no other range or shape is measured.

    Raises:
        ValueError: they are not.
    """
    for picture in (image, truth):
        if picture.dtype != "uint8" or picture.ndim != 3 or picture.shape[2] != 3:
            raise ValueError(f"a metric takes uint8 (H, W, 3), not {picture.dtype} {picture.shape}")
    if image.shape != truth.shape:
        raise ValueError(f"a picture of {image.shape} cannot be compared with one of {truth.shape}")


def check_region(region: Mask, truth: Image) -> None:
    """Makes sure that a region is bool (H, W) of the picture's size.

    Raises:
        ValueError: it is not.
    """
    if region.dtype != "bool" or region.shape != truth.shape[:2]:
        raise ValueError(f"a region is bool {truth.shape[:2]}, not {region.dtype} {region.shape}")


_PEAK = 255.0


def psnr(image: Image, truth: Image, region: Mask | None = None) -> float | None:
    """PSNR in dB of one picture over all three channels: 10·log10(255² / mean squared error).

    Args:
        image, truth: uint8 (H, W, 3), 0-255.
        region: bool (H, W), where to measure. None measures everywhere.

    Returns:
        dB, or None for a perfect picture: without any error the ratio has no value. Count such
        pictures apart and never average them.

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

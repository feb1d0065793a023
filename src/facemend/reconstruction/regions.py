"""Regions of a picture: grown, and given a soft edge; exact, and as fast at any radius."""

from typing import Literal

import numpy as np
import numpy.typing as npt

from facemend.images import Alpha, Mask


def grown(mask: Mask, radius_px: int) -> Mask:
    """A mask (H, W) and all pixels within `radius_px` of it in x and in y."""
    return _box_sum(mask, radius_px, "constant") > 0


def feathered(mask: Mask, dilation_px: int, feather_px: int) -> Alpha:
    """float32 (H, W): 1 in a mask and `dilation_px` around it, falling to 0 in `2 * feather_px` more."""
    if not mask.any():
        return np.zeros(mask.shape, dtype=np.float32)
    # The mean over a window is 1 where the window is full: as far as the mask was grown beyond its half.
    window = 2 * feather_px + 1
    total = _box_sum(grown(mask, dilation_px + feather_px), feather_px, "edge")
    return (total / np.float32(window * window)).astype(np.float32)


def _box_sum(mask: Mask, radius_px: int, border: Literal["constant", "edge"]) -> npt.NDArray[np.int32]:
    """How many pixels are set within `radius_px` in x and in y.

    Beyond the border lie unset pixels ("constant") or those of the border itself ("edge").
    """
    total = mask.astype(np.int32)
    window = 2 * radius_px + 1
    for _ in range(2):
        padded = np.pad(total, ((radius_px + 1, radius_px), (0, 0)), mode=border)
        running = padded.cumsum(axis=0, dtype=np.int32)
        total = (running[window:] - running[:-window]).T
    return total

"""Structural similarity, the definition that the original project used."""

import numpy as np
import numpy.typing as npt

from facemend.images import Image
from facemend.metrics.opencv import cv2
from facemend.metrics.pair import check_pair

_WINDOW_PX = 11
_REACH_PX = _WINDOW_PX // 2
_SIGMA_PX = 1.5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2

_KERNEL = cv2.getGaussianKernel(_WINDOW_PX, _SIGMA_PX, cv2.CV_64F)
_Planes = npt.NDArray[np.float64]


def ssim(image: Image, truth: Image) -> float:
    """SSIM of one picture, mean over channels and valid windows; 1 means equal.

    Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from error visibility to structural
    similarity", IEEE TIP 13(4), 2004: 11×11 Gaussian window of sigma 1.5, K1 = 0.01, K2 = 0.03,
    range 255. The same number as `tf.image.ssim(..., max_val=255)`.

    Args:
        image, truth: uint8 (H, W, 3), 0-255, at least 11×11.

    Raises:
        ValueError: other shapes or types.
    """
    check_pair(image, truth)
    height, width = truth.shape[:2]
    if min(height, width) < _WINDOW_PX:
        raise ValueError(f"SSIM needs at least {_WINDOW_PX}×{_WINDOW_PX} pixels, not {width}×{height}")
    differs = image != truth
    if not differs.any():
        return 1.0
    # A window over equal pixels has the index 1 exactly, so only those that meet a difference are computed.
    box = _reached(differs.any(axis=(1, 2))), _reached(differs.any(axis=0).any(axis=1))
    luminance, structure = similarity(image[box].astype(np.float64), truth[box].astype(np.float64))
    windows: int = (height - 2 * _REACH_PX) * (width - 2 * _REACH_PX) * 3
    return 1.0 - float(np.sum(1 - luminance * structure)) / windows


def _reached(differs: npt.NDArray[np.bool_]) -> slice:
    """Along one axis: the pixels of all windows that hold a difference."""
    places = np.flatnonzero(differs)
    return slice(max(int(places[0]) - 2 * _REACH_PX, 0), int(places[-1]) + 2 * _REACH_PX + 1)


def similarity(x: _Planes, y: _Planes) -> tuple[_Planes, _Planes]:
    """The two factors of the SSIM index of every valid window: luminance, and contrast with structure.

    Args:
        x, y: float64 (H, W, C), 0-255, at least 11×11.

    Returns:
        Two times float64 (H - 10, W - 10, C).
    """
    mean_x, mean_y = _window_means(x), _window_means(y)
    product, energy = mean_x * mean_y, mean_x**2 + mean_y**2
    covariance = _window_means(x * y) - product
    variances = _window_means(x * x + y * y) - energy
    return (2 * product + _C1) / (energy + _C1), (2 * covariance + _C2) / (variances + _C2)


def _window_means(planes: _Planes) -> _Planes:
    """Gaussian-weighted means of all windows that lie inside the picture."""
    means = np.asarray(cv2.sepFilter2D(planes, cv2.CV_64F, _KERNEL, _KERNEL), dtype=np.float64)
    return means[_REACH_PX:-_REACH_PX, _REACH_PX:-_REACH_PX]

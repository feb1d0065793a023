"""How alike two pictures are, and how sharp: SSIM, MS-SSIM and sharpness. They need OpenCV."""

import numpy as np
import numpy.typing as npt

from facemend.images import Image, Mask
from facemend.metrics.opencv import cv2
from facemend.metrics.psnr import check_pair, check_region

_WINDOW_PX = 11
_REACH_PX = _WINDOW_PX // 2
_SIGMA_PX = 1.5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2

_KERNEL = cv2.getGaussianKernel(_WINDOW_PX, _SIGMA_PX, cv2.CV_64F)
_Planes = npt.NDArray[np.float64]


def ssim(image: Image, truth: Image) -> float:
    """SSIM of one picture, mean over channels and valid windows. 1 means equal.

    Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from error visibility to structural
    similarity", IEEE TIP 13(4), 2004: 11×11 Gaussian window of sigma 1.5, K1 = 0.01, K2 = 0.03,
    range 255. It equals `tf.image.ssim(..., max_val=255)`.

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
    # A window over equal pixels has an index of exactly 1, so only those with a difference are computed.
    box = _reached(differs.any(axis=(1, 2))), _reached(differs.any(axis=0).any(axis=1))
    luminance, structure = similarity(image[box].astype(np.float64), truth[box].astype(np.float64))
    windows: int = (height - 2 * _REACH_PX) * (width - 2 * _REACH_PX) * 3
    return 1.0 - float(np.sum(1 - luminance * structure)) / windows


def _reached(differs: npt.NDArray[np.bool_]) -> slice:
    """Along one axis: the pixels of all windows that hold a difference."""
    indices = np.flatnonzero(differs)
    return slice(max(int(indices[0]) - 2 * _REACH_PX, 0), int(indices[-1]) + 2 * _REACH_PX + 1)


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


_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_SMALLEST_PX = 11 * 2 ** (len(_WEIGHTS) - 1)


def ms_ssim(image: Image, truth: Image) -> float:
    """MS-SSIM of one picture, mean over channels. 1 means equal.

    Wang, Simoncelli, Bovik, "Multiscale structural similarity for image quality assessment", Asilomar
    2003: five scales, each half as large by the mean of 2×2 pixels, with their weights. Windows and
    constants are those of `ssim`. A negative mean of contrast and structure, which has no root, counts as
    0. It equals `tf.image.ssim_multiscale(..., max_val=255)`, where every side halves evenly.

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
    """(H, W, C) to the means of 2×2 pixels, without an odd last row or column."""
    height, width, channels = planes.shape
    even = planes[: height // 2 * 2, : width // 2 * 2]
    means: npt.NDArray[np.float64] = even.reshape(height // 2, 2, width // 2, 2, channels).mean(axis=(1, 3))
    return means


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
        0 or more, 1 = as sharp as the truth, or None if the eroded hole is empty or the truth is flat.

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

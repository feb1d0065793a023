"""SSIM, MS-SSIM, sharpness, seam, IoU of the occlusion, coverage of the interval. They need OpenCV."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from facemend.errors import FacemendError
from facemend.images import Alpha, Image, Mask
from facemend.metrics.psnr import check_pair, check_region

try:
    import cv2
except ImportError as error:
    raise FacemendError('measuring needs OpenCV: pip install "facemend[evaluate]"') from error

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


RING_PX = 8
"""Width of the ring for SSIM, on each side of the edge."""
_STEPS_PX = (-1.5, -0.5, 0.5, 1.5)  # from the edge: the middles of two pixels on each side

_Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Edge:
    """The edge of an occlusion in one picture.

    Attributes:
        distance_px: float64 (H, W), from the edge, positive inside the occlusion. Pixels that touch the
            edge have 0.5 and -0.5.
        normal: float64 (2, H, W), the unit vector across the edge, (y, x), 0 where there is none.
    """

    distance_px: _Values
    normal: _Values


def find_edge(alpha: Alpha) -> Edge | None:
    """The edge of an occlusion, at an alpha of 0.5.

    The picture's own border is not an edge.

    Args:
        alpha: float32 (H, W), 0 = visible, 1 = occluded.

    Returns:
        None where everything or nothing is occluded.
    """
    occluded = alpha > _THRESHOLD
    if occluded.all() or not occluded.any():
        return None
    inside, outside = (
        cv2.distanceTransform(part.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE).astype(np.float64)
        for part in (occluded, ~occluded)
    )
    distance_px = np.where(occluded, inside - 0.5, 0.5 - outside)
    normal = np.stack(np.gradient(cv2.GaussianBlur(distance_px, (0, 0), 1.0)))
    length = np.hypot(*normal)
    return Edge(distance_px, np.divide(normal, length, out=np.zeros_like(normal), where=length > 0))


def seam_gradient(image: Image, truth: Image, edge: Edge) -> float | None:
    """Gradient of a picture across the occlusion's edge, as a share of the truth's: 0.8 to 1.3 is good.

    From every pixel at the edge the luma (ITU-R BT.601) is read along the edge's normal at four points,
    1 px apart, two on each side. The gradient is the mean size of the three steps between them. More than
    the truth's is a frame or a fringe. Less is a blurred edge.

    Args:
        image, truth: uint8 (H, W, 3), 0-255, the delivered picture and the truth.
        edge: of the true occlusion (see `find_edge`).

    Returns:
        0 or more, 1 = as steep as the truth, or None if the truth is flat.

    Raises:
        ValueError: other shapes or types.
    """
    check_pair(image, truth)
    points = _points_across(edge)
    of_image, of_truth = (_steepness(picture, points) for picture in (image, truth))
    return of_image / of_truth if of_truth else None


def _points_across(edge: Edge) -> npt.NDArray[np.float32]:
    """The points where the luma is read: float32 (2, 4, N), x and y, along the normals of N edge pixels."""
    y, x = np.nonzero(np.abs(edge.distance_px) < 1)
    steps = np.array(_STEPS_PX)[:, None] - edge.distance_px[y, x]
    points = np.stack([x + steps * edge.normal[1, y, x], y + steps * edge.normal[0, y, x]])
    return points.astype(np.float32)


def _steepness(picture: Image, points: npt.NDArray[np.float32]) -> float:
    luma = (picture @ _LUMA).astype(np.float32)
    x, y = points
    seen = cv2.remap(luma, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return float(np.abs(np.diff(seen, axis=0)).sum())


def seam_ssim(image: Image, truth: Image, edge: Edge) -> float | None:
    """SSIM in a ring around the occlusion's edge, 8 px wide on both sides. 1 means equal.

    It is the mean of the index (see `image.ssim`) over the channels and the valid windows whose middle
    lies in the ring.

    Args:
        image, truth: uint8 (H, W, 3), 0-255, at least 11×11.
        edge: of the true occlusion (see `find_edge`).

    Returns:
        None where no valid window lies in the ring.

    Raises:
        ValueError: other shapes or types.
    """
    check_pair(image, truth)
    ring = np.abs(edge.distance_px) < RING_PX
    ring = ring[_REACH_PX : ring.shape[0] - _REACH_PX, _REACH_PX : ring.shape[1] - _REACH_PX]
    if not ring.any():
        return None
    rows, columns = (np.flatnonzero(ring.any(axis=axis)) for axis in (1, 0))
    box = tuple(slice(int(seen[0]), int(seen[-1]) + 1) for seen in (rows, columns))
    windows = tuple(slice(part.start, part.stop + 2 * _REACH_PX) for part in box)
    luminance, structure = similarity(image[windows].astype(np.float64), truth[windows].astype(np.float64))
    return float((luminance * structure)[ring[box]].mean())


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

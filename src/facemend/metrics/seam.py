"""How well a reconstruction blends into its surroundings at the occlusion's edge."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from facemend.images import Alpha, Image
from facemend.metrics.image import similarity
from facemend.metrics.opencv import cv2
from facemend.metrics.psnr import check_pair

RING_PX = 8
"""Width of the ring for SSIM, on each side of the edge."""
_STEPS_PX = (-1.5, -0.5, 0.5, 1.5)  # from the edge: the middles of two pixels on each side
_THRESHOLD = 0.5
_REACH_PX = 5  # of SSIM's window, on each side of its middle
_LUMA = np.array([0.299, 0.587, 0.114])

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

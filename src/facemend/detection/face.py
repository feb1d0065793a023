"""A face found in a picture, and its landmarks."""

from dataclasses import dataclass

import numpy as np

from facemend.alignment import FRAME_LANDMARKS_PX, Points, similarity
from facemend.errors import UsageError
from facemend.images import Image


@dataclass(frozen=True)
class Face:
    """Where a face is.

    Attributes:
        corners_px: x1, y1, x2, y2 of its box, in pixels of the photo. It may leave the photo.
        landmarks_px: float64 (5, 2), x and y in the order of `alignment.LANDMARK_NAMES`, left and right
            as the viewer sees them.
        confidence: 0-1, how sure the detector is. It is 1 where the user says that there is a face.
        marked: whether the user says that there is a covered face.
    """

    corners_px: tuple[float, float, float, float]
    landmarks_px: Points
    confidence: float
    marked: bool = False

    @property
    def box_px(self) -> tuple[float, float, float, float]:
        """x, y, width and height, as `Options.faces` takes it: the top left pixel is 0, 0, 1, 1."""
        x1, y1, x2, y2 = self.corners_px
        return x1 + 0.5, y1 + 0.5, x2 - x1, y2 - y1

    def __post_init__(self) -> None:
        x1, y1, x2, y2 = self.corners_px
        if not (np.isfinite(self.corners_px).all() and x1 < x2 and y1 < y2):
            raise ValueError(f"{self.corners_px} are no corners x1, y1, x2, y2")
        if self.landmarks_px.shape != (5, 2) or self.landmarks_px.dtype != np.float64:
            raise ValueError(
                f"landmarks are {self.landmarks_px.dtype} {self.landmarks_px.shape}, not float64 (5, 2)"
            )
        if not np.isfinite(self.landmarks_px).all():
            raise ValueError("landmarks are not finite")
        if not 0 <= self.confidence <= 1:
            raise ValueError(f"confidence {self.confidence} leaves 0-1")


def check_search(image: Image, min_confidence: float, min_size_px: float) -> None:
    """What every detector demands of what it is asked.

    Raises:
        ValueError: the photo is not uint8 (H, W, 3).
        UsageError: a confidence that is not 0 to 1, or a size that is not above 0.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"the photo is {image.dtype} {image.shape}, not uint8 (H, W, 3)")
    if not 0 <= min_confidence <= 1:
        raise UsageError(f"a confidence of {min_confidence} cannot be; use 0 to 1")
    if not min_size_px > 0:
        raise UsageError(f"faces of {min_size_px} px cannot be; use more than 0")


_MOST = 0.15
_TURNED = 1.3


def trust_eyes(landmarks_px: Points, most: float = _MOST) -> Points:
    """Holds nose and mouth near the location that the eyes give them. The eyes stay as they are.

    The location is where CelebA's canonical face has the point, turned, scaled and shifted onto the eyes.
    Use it only for a face whose lower half is covered. There it brings the crop 1 to 3% nearer to the true
    one. A visible lower half it takes 5% away from it (benchmarks/detection.py). A face turned aside has
    its eyes closer together than its other points tell. It is left alone, because its eyes say nothing
    about its size.

    Args:
        landmarks_px: (5, 2) in the order of `alignment.LANDMARK_NAMES`.
        most: how far a point may lie from its location, in distances between the eyes.

    Returns:
        float64 (5, 2).
    """
    by_eyes = similarity(FRAME_LANDMARKS_PX[:2], landmarks_px[:2])
    scale, scale_of_all = _scale(by_eyes), _scale(similarity(FRAME_LANDMARKS_PX, landmarks_px))
    if scale_of_all > _TURNED * scale:
        return landmarks_px.copy()
    places = FRAME_LANDMARKS_PX @ by_eyes[:, :2].T + by_eyes[:, 2]
    away = landmarks_px - places
    distance = np.hypot(*away.T)[:, None]
    allowed = most * float(np.hypot(*(landmarks_px[1] - landmarks_px[0])))
    trusted: Points = places + away * np.minimum(1, allowed / np.maximum(distance, 1e-9))
    return trusted


def _scale(transform: Points) -> float:
    return float(np.hypot(*transform[:, 0]))

"""Landmarks under a mask: the eyes are seen, nose and mouth are guessed."""

import numpy as np

from facemend.frame import FRAME_LANDMARKS_PX, Points, similarity

_MOST = 0.15
_TURNED = 1.3


def trust_eyes(landmarks_px: Points, most: float = _MOST) -> Points:
    """Holds nose and mouth near the place that the eyes give them; the eyes stay as they are.

    The place is that of CelebA's canonical face, turned, scaled and shifted onto the eyes. Only for a
    face whose lower half is covered: there it brings the crop nearer to the true one, by 1 to 3%, and
    takes one that shows away from it, by 5% (benchmarks/detection.py). A face turned aside, whose eyes
    are closer together than the other points have it, says nothing about its size by its eyes and is
    left alone.

    Args:
        landmarks_px: (5, 2) in the order of `frame.LANDMARK_NAMES`.
        most: how far a point may lie from its place, in distances between the eyes.

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

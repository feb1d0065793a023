"""Groups of faces by what is measured of them: dark skin, turned heads. Training oversamples by them."""

from collections.abc import Callable, Mapping

import numpy as np

from facemend.datasets.faces import FaceRecord
from facemend.frame import Points

ITA, YAW, SCALE, COVERAGE, AGE = "ita", "yaw", "scale", "coverage", "age"
"""Names of `FaceRecord.traits`.

ITA is the individual typology angle of the skin in degrees (Chardon et al. 1991), yaw the nose's offset
over the distance of the eyes, scale below 1 for a picture that was shrunk, coverage the share of the
canonical square that is real picture, age in years.
"""

_DARK_BELOW_ITA, _TURNED_ABOVE_YAW = -10.0, 0.25


def yaw_of(landmarks_px: Points) -> float:
    """How far the nose lies beside the middle of the eyes, over their distance; 0 in a frontal face.

    Args:
        landmarks_px: (5, 2), in any unit.
    """
    left, right, nose = landmarks_px[:3]
    across = right - left
    distance = max(float(np.hypot(*across)), 1e-6)
    return float((nose - (left + right) / 2) @ across) / distance**2


def has_dark_skin(record: FaceRecord) -> bool:
    """Whether the skin is known to be dark, or in shadow; False where nothing is known of it."""
    ita = record.traits.get(ITA)
    return ita is not None and ita < _DARK_BELOW_ITA


def is_turned(record: FaceRecord) -> bool:
    """Whether the head is turned, by the yaw that the source tells, or else by the landmarks."""
    yaw = record.traits.get(YAW)
    if yaw is None and record.frame_landmarks_px is not None:
        yaw = yaw_of(record.frame_landmarks_px)
    return yaw is not None and abs(yaw) > _TURNED_ABOVE_YAW


GROUPS: Mapping[str, Callable[[FaceRecord], bool]] = {"dark_skin": has_dark_skin, "turned": is_turned}
"""Every group by its name in `oversample`."""

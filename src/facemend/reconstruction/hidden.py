"""Where a face lies that is hidden whole: its cover says more than the detector can see."""

import numpy as np

from facemend.frame import Points, canonical_landmarks
from facemend.images import Mask
from facemend.reconstruction.regions import large_regions

_COVER = np.array([(62.0, 104.0), (191.0, 234.0)]) / 256
"""Where a cover from brows to chin begins and ends in a canonical crop, x and y as shares of its side."""
_AREA, _SOLID, _HEIGHT = 0.21, 0.68, 0.745
"""Shares: a cover takes so much of the crop, and so much of the upright rectangle around it, unless both
eyes are under it; and is no higher. A mask is smaller, a balaclava higher and open at the eyes."""
_EYE_RADIUS = 0.03  # of the crop's side
_LARGEST_STEP = 1.3  # that the face's size is corrected by


def whole_cover(found: Mask) -> Mask | None:
    """The one region (S, S) in a canonical crop that hides a face from brows to chin; None if none does."""
    region = large_regions(found, int(found.sum()) // 2 + 1)
    if not region.any():
        return None
    low, high = _ends(region)
    width, height = high - low + 1
    solid = region.sum() >= _SOLID * width * height and region.mean() >= _AREA
    return region if height <= _HEIGHT * len(region) and (solid or _hides_eyes(region)) else None


def landmarks_under(cover: Mask, crop_to_photo: Points) -> Points:
    """The landmarks (5, 2) in the photo of a face that lies in the middle of its cover.

    Of a cover that the crop cuts off that is the middle of what is seen: the crop that these landmarks give
    shows more of it.

    Args:
        cover: bool (S, S), in a canonical crop, not empty.
        crop_to_photo: (2, 3), see `frame.Crop`.
    """
    side = len(cover)
    low, high = _ends(cover)
    usual_low, usual_high = _COVER * side
    scale = float(np.sqrt((high - low + 1).prod() / (usual_high - usual_low).prod()))
    scale = min(max(scale, 1 / _LARGEST_STEP), _LARGEST_STEP)
    in_crop = (low + high) / 2 + scale * (canonical_landmarks(side) - (usual_low + usual_high) / 2)
    in_photo: Points = in_crop @ crop_to_photo[:, :2].T + crop_to_photo[:, 2]
    return in_photo


def _ends(region: Mask) -> tuple[Points, Points]:
    """The first and the last pixel of a region that is not empty, each x and y."""
    y, x = (np.flatnonzero(region.any(axis=axis)) for axis in (1, 0))
    return np.array([x[0], y[0]], dtype=np.float64), np.array([x[-1], y[-1]], dtype=np.float64)


def _hides_eyes(region: Mask) -> bool:
    """Whether nothing is seen of either eye."""
    side = len(region)
    radius = _EYE_RADIUS * side
    for place in canonical_landmarks(side)[:2]:
        x, y = (slice(round(at - radius), round(at + radius) + 1) for at in place.tolist())
        if not region[y, x].all():
            return False
    return True

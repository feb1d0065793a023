"""Whether the face of a ready crop lies where CelebA's crops have it, and where it lies otherwise."""

import numpy as np
from PIL import Image as PillowImage

from facemend.faces import Detector, Face, trust_eyes
from facemend.frame import Points, similarity
from facemend.images import Image

SURE = 0.46
"""The confidence of a face whose place is believed. It is what photos ask for by default."""
_SCAN_PX = 89  # width of the small copy for the first scan: half a CelebA frame
_SCAN_CONFIDENCE, _SUREST = 0.2, 6  # which finds of that scan count: among all, one is near by chance
_LOOK_PX = 256  # width of the largest copy that the whole detector looks at: the face fills it
_SMALLEST_PX = 12.0  # width of a face in it
_NEAR, _CANONICAL, _DOUBTFUL = 0.18, 0.3, 0.7
"""How far a face may lie from its canonical place, see `distance`: by the scan of the small copy, by the
whole detector, and by the scan if that is sure of no face. CelebA's own crops lie within them, and a
crop that lies beyond them gains by being re-aligned (docs/photos.md)."""


def find_face(image: Image, canonical: Face, detector: Detector) -> Face | None:
    """The face of a ready crop.

    Most crops are what they should be, and a scan of a small copy says so. Only the others are shown to the
    whole detector.

    Args:
        image: (H, W, 3).
        canonical: a face where CelebA's crops have it.

    Returns:
        `canonical` itself if the face lies there, maybe under a cover that hides it; else the surest face
        elsewhere; None if no face is found.

    Raises:
        ModelError: a network of the detector cannot be run.
    """
    small, shrink = _copy(image, _SCAN_PX)
    usual_px = _scaled(canonical, 1 / shrink).landmarks_px
    scanned = detector.scan(small, min_confidence=_SCAN_CONFIDENCE)[:_SUREST]
    scan_off = min((distance(points, usual_px) for points in scanned), default=np.inf)
    if scan_off <= _NEAR:
        return canonical
    copy, shrink = _copy(image, _LOOK_PX)
    usual_px = _scaled(canonical, 1 / shrink).landmarks_px
    faces = detector(copy, min_confidence=0.0, min_size_px=_SMALLEST_PX)
    if any(distance(face.landmarks_px, usual_px) <= _CANONICAL for face in faces):
        return canonical
    sure = [face for face in faces if face.confidence >= SURE]
    if sure:
        return _scaled(max(sure, key=lambda face: face.confidence), shrink)
    return canonical if scan_off <= _DOUBTFUL else None


def distance(landmarks_px: Points, canonical_px: Points) -> float:
    """How differently a face is framed from a canonical one.

    The similarity between both moves the canonical landmarks by their root mean square distance. It is
    given in distances between the canonical eyes, and divided by the root of the scale, so that twice as
    large is as far as half as large.

    Args:
        landmarks_px, canonical_px: (5, 2). Nose and mouth count as far as the eyes allow.
    """
    framing = similarity(canonical_px, trust_eyes(landmarks_px))
    moved = canonical_px @ framing[:, :2].T + framing[:, 2] - canonical_px
    eyes_px = float(np.hypot(*(canonical_px[1] - canonical_px[0])))
    scale = max(float(np.hypot(*framing[:, 0])), 1e-9)
    return float(np.sqrt((moved**2).sum(axis=1).mean())) / eyes_px / float(np.sqrt(scale))


def _copy(image: Image, width_px: int) -> tuple[Image, float]:
    """A picture at most so wide, and how much smaller it is."""
    height, width = image.shape[:2]
    if width <= width_px:
        return image, 1.0
    size = width_px, max(1, round(height * width_px / width))
    picture = PillowImage.fromarray(image).resize(size, PillowImage.Resampling.BOX)
    return np.asarray(picture, dtype=np.uint8), width / width_px


def _scaled(face: Face, factor: float) -> Face:
    """A face in a picture that is so much larger."""
    x1, y1, x2, y2 = ((np.array(face.box_px) + 0.5) * factor - 0.5).tolist()
    return Face((x1, y1, x2, y2), (face.landmarks_px + 0.5) * factor - 0.5, face.confidence)

"""Covered faces that the user points at: where their eyes are is asked of the detector, in a close view."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from facemend.errors import UsageError
from facemend.faces import Face
from facemend.frame import FRAME_LANDMARKS_PX, Points
from facemend.images import Image
from facemend.reconstruction.request import Box

Detect = Callable[..., tuple[Face, ...]]
"""(image, min_confidence=…, min_size_px=…) → faces."""
_DOUBTFUL = 0.05  # the confidence that is enough where the user says that there is a face
_SAME = 0.35  # intersection over union of two boxes of one face
_MARGIN = 0.5  # of the close view, in widths and heights of the face
_TYPICAL_PX = np.array([43.0, 70.0, 135.0, 191.0])
"""The detector's box of an upright face in CelebA's frame, which a box drawn by hand is taken for."""


def with_given(
    photo: Image, found: Sequence[Face], boxes: Sequence[Box], detect: Detect, name: str
) -> tuple[Face, ...]:
    """The faces found and those given; one that is both is there once.

    Args:
        photo: (H, W, 3).
        name: what an error calls the photo.

    Raises:
        UsageError: a box lies outside the photo.
    """
    faces = list(found)
    for x, y, width, height in boxes:
        box = np.array([x - 0.5, y - 0.5, x + width - 0.5, y + height - 0.5])
        if (box[2:] <= 0).any() or (box[:2] >= photo.shape[1::-1]).any():
            raise UsageError(f"the face {x:g},{y:g},{width:g},{height:g} lies outside {name}")
        same = [face for face in faces if _overlap(box, face) > _SAME]
        faces = [face for face in faces if _overlap(box, face) <= _SAME]
        faces.append(
            replace(same[0], confidence=1.0, given=True) if same else _looked_for(photo, box, detect)
        )
    return tuple(faces)


def _looked_for(photo: Image, box: Points, detect: Detect) -> Face:
    """The face in a box, by the landmarks that the detector sees there, or by those of a typical face."""
    size = box[2:] - box[:2]
    low = np.floor(box[:2] - _MARGIN * size).clip(0).astype(int)
    high = np.ceil(box[2:] + _MARGIN * size).astype(int)
    close = np.ascontiguousarray(photo[low[1] : high[1], low[0] : high[0]])
    faces = [
        _shifted(face, low)
        for face in detect(close, min_confidence=_DOUBTFUL, min_size_px=max(12.0, float(size.min()) / 2))
    ]
    best = max(faces, key=lambda face: _overlap(box, face), default=None)
    if best is not None and _overlap(box, best) > _SAME:
        return replace(best, confidence=1.0, given=True)
    scale = size / (_TYPICAL_PX[2:] - _TYPICAL_PX[:2])
    # One scale for x and y: a wide box is a face with its ears, not a broad one.
    landmarks = (box[:2] + box[2:]) / 2 + (
        FRAME_LANDMARKS_PX - (_TYPICAL_PX[:2] + _TYPICAL_PX[2:]) / 2
    ) * float(np.sqrt(scale.prod()))
    x1, y1, x2, y2 = box.tolist()
    return Face((x1, y1, x2, y2), landmarks, 1.0, given=True)


def _shifted(face: Face, by: Points) -> Face:
    x1, y1, x2, y2 = (np.array(face.box_px) + np.tile(by, 2)).tolist()
    return Face((x1, y1, x2, y2), face.landmarks_px + by, face.confidence)


def _overlap(box: Points, face: Face) -> float:
    other = np.array(face.box_px)
    sides = (np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2])).clip(0)
    common = float(sides.prod())
    areas = float((box[2:] - box[:2]).prod() + (other[2:] - other[:2]).prod())
    return common / (areas - common)

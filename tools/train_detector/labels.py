"""Where the faces of CelebA's pictures are: boxes as YuNet draws them, eyes held near CelebA's alignment.

CelebA has no boxes for its aligned pictures. YuNet labels them, once, on the uncovered picture.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from facemend.alignment import FRAME_HEIGHT_PX, FRAME_LANDMARKS_PX, FRAME_WIDTH_PX, Points
from facemend.datasets import FaceSource
from facemend.images import Image

_BORDER_PX = 40  # YuNet misses faces that fill the picture
_SURE, _SEEN = 0.8, 0.3
# CelebA was aligned by its landmarks, so that the eyes lie near one place; YuNet's spread by 2 to 3 px.
_EYES_OF_YUNET = 0.5


@dataclass(frozen=True)
class LabelledFace:
    """A picture of CelebA and the one face in it.

    Attributes:
        name: of the picture.
        box_px: float64 (4,), x1, y1, x2, y2 in the 178×218 frame.
        landmarks_px: float64 (5, 2), in the order of `frame.LANDMARK_NAMES`.
    """

    name: str
    box_px: Points
    landmarks_px: Points


def read_labels(source: FaceSource, yunet: Path, cache: Path) -> list[LabelledFace]:
    """The labels of the pictures that show one sure face and no other; found once, then kept in `cache`."""
    if cache.is_file():
        with np.load(cache) as kept:
            return [
                LabelledFace(str(name), box, points)
                for name, box, points in zip(kept["names"], kept["boxes"], kept["landmarks"], strict=True)
            ]
    network = cv2.FaceDetectorYN.create(
        str(yunet), "", (FRAME_WIDTH_PX + 2 * _BORDER_PX, FRAME_HEIGHT_PX + 2 * _BORDER_PX), _SEEN
    )
    labels = []
    for record in source.records:
        found = _label(network, record.name, source.read(record.name))
        if found is not None:
            labels.append(found)
    cache.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        cache,
        names=np.array([label.name for label in labels]),
        boxes=np.array([label.box_px for label in labels]),
        landmarks=np.array([label.landmarks_px for label in labels]),
    )
    return labels


def _label(network: cv2.FaceDetectorYN, name: str, frame: Image) -> LabelledFace | None:
    if frame.shape != (FRAME_HEIGHT_PX, FRAME_WIDTH_PX, 3):
        return None
    padded = cv2.copyMakeBorder(
        frame[..., ::-1], _BORDER_PX, _BORDER_PX, _BORDER_PX, _BORDER_PX, cv2.BORDER_REPLICATE
    )
    rows = network.detect(np.ascontiguousarray(padded))[1]
    if rows is None or len(rows) != 1 or rows[0, 14] < _SURE:
        return None
    x, y, width, height = rows[0, :4].astype(np.float64) - (_BORDER_PX, _BORDER_PX, 0, 0)
    landmarks = rows[0, 4:14].astype(np.float64).reshape(5, 2) - _BORDER_PX
    landmarks[:2] += (1 - _EYES_OF_YUNET) * (FRAME_LANDMARKS_PX[:2] - landmarks[:2])
    return LabelledFace(name, np.array([x, y, x + width, y + height]), landmarks)

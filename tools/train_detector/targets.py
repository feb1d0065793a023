"""What the network should say at every cell of its three grids, for the faces of a scene.

A cell says, in units of its stride and from its own middle: where the middle of the face's box is, the
logarithm of the box's width and height, and where the five landmarks are.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from facemend.alignment import Points
from facemend.detection.detector import STRIDES_PX, cells_of

# The faces that each grid finds, by the root of the box's area; a face may be two grids' business.
_SIZES_PX = ((0.0, 56.0), (40.0, 120.0), (84.0, np.inf))
_MIDDLE, _AROUND = 0.22, 0.42  # of a face's box: cells that find it, cells that may do what they like
_LEAST_PX = 10.0
_MIRRORED = [1, 0, 2, 4, 3]  # the landmarks' order in a mirror
_NEAR = 1.6  # a grid may find a face that much beyond its sizes, or not; much larger ones it must not

Targets = npt.NDArray[np.float32]


@dataclass(frozen=True)
class SceneFace:
    """A face in a scene.

    Attributes:
        box_px: (4,), x1, y1, x2, y2 of its edges.
        landmarks_px: (5, 2).
        counts: whether it is to be found; False where too little of it shows: found or not, both are right.
    """

    box_px: Points
    landmarks_px: Points
    counts: bool


def targets_of(faces: list[SceneFace], height_px: int, width_px: int) -> Targets:
    """What all cells should say: (cells, 16) of face or not, box, points, and whether the score counts."""
    middles, sides = cells_of(height_px, width_px)
    strides = sides[:, 0]
    wanted = np.zeros((len(middles), 16), dtype=np.float32)
    wanted[:, 15] = 1
    nearest = np.full(len(middles), np.inf)
    for face in faces:
        size = face.box_px[2:] - face.box_px[:2]
        middle = (face.box_px[:2] + face.box_px[2:]) / 2
        distance = (np.abs(middles - middle) / size).max(axis=1)
        root = float(np.sqrt(size.prod()))
        for stride, (low, high) in zip(STRIDES_PX, _SIZES_PX, strict=True):
            if low / _NEAR <= root < high * _NEAR:
                wanted[(strides == stride) & (distance < _AROUND) & (nearest == np.inf), 15] = 0
        if not face.counts or root < _LEAST_PX:
            continue
        for stride, (low, high) in zip(STRIDES_PX, _SIZES_PX, strict=True):
            if not low <= root < high:
                continue
            on_grid = strides == stride
            # A small face may have no cell within its middle: then the cell that holds the middle.
            mine = on_grid & ((distance < _MIDDLE) | (np.abs(middles - middle).max(axis=1) <= stride / 2))
            mine &= distance < nearest
            nearest[mine] = distance[mine]
            wanted[mine, 0] = 1
            wanted[mine, 15] = 1
            wanted[mine, 1:3] = (middle - middles[mine]) / stride
            wanted[mine, 3:5] = np.log(size / stride)
            points = face.landmarks_px[None] + 0.5 - middles[mine][:, None]
            wanted[mine, 5:15] = (points / stride).reshape(-1, 10)
    return wanted


def mirrored(wanted: Targets, height_px: int, width_px: int) -> Targets:
    """The targets (N, cells, 16) of mirrored scenes."""
    result, start = np.empty_like(wanted), 0
    for stride in STRIDES_PX:
        rows, columns = height_px // stride, width_px // stride
        end = start + rows * columns
        grid = wanted[:, start:end].reshape(-1, rows, columns, 16)[:, :, ::-1]
        result[:, start:end] = grid.reshape(-1, rows * columns, 16)
        start = end
    points = result[..., 5:15].reshape(*result.shape[:2], 5, 2)[..., _MIRRORED, :]
    result[..., 5:15] = (points * np.array([-1, 1], dtype=np.float32)).reshape(*result.shape[:2], 10)
    result[..., 1] *= -1
    return result

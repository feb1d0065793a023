"""The first network of the detector: one pass over a whole picture, and the decoding of its grids.

Its outputs are three grids with cells 8, 16 and 32 px apart. Each cell scores a face whose middle is near.
It also gives the box and the landmarks of that face, from the middle of the cell and in units of its side.
`tools/train_detector` trains the network.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facemend.alignment import Points
from facemend.images import Image, to_network
from facemend.onnx_model import OnnxModel

STRIDES_PX = (8, 16, 32)
INPUT = "image"
UNFIT = "is not this network of the face detector; install facemend again"
"""What both networks of the detector take, and what is said of a file that is another."""
_OUTPUTS = ("confidence", "boxes", "landmarks")
_GRAY = 127
_LARGEST_LOG = 5.0  # of a box's side in cells: 150 of them


@dataclass(frozen=True)
class Candidates:
    """What may be faces, in any order. One face is usually several of them.

    Attributes:
        confidence: float64 (N,), 0-1.
        boxes: float64 (N, 4), x1, y1, x2, y2 of their edges.
        landmarks_px: float64 (N, 5, 2), in the order of `alignment.LANDMARK_NAMES`.
    """

    confidence: Points
    boxes: Points
    landmarks_px: Points

    def __getitem__(self, which: npt.NDArray[np.intp] | list[int]) -> "Candidates":
        return Candidates(self.confidence[which], self.boxes[which], self.landmarks_px[which])

    def scaled(self, factors: Points) -> "Candidates":
        """The same in a picture that is larger by factors (2,) in x and y."""
        landmarks = (self.landmarks_px + 0.5) * factors - 0.5
        return Candidates(self.confidence, self.boxes * np.tile(factors, 2), landmarks)


def concatenate(many: list[Candidates]) -> Candidates:
    """The candidates of several scans of one picture."""
    return Candidates(
        np.concatenate([each.confidence for each in many]),
        np.concatenate([each.boxes for each in many]),
        np.concatenate([each.landmarks_px for each in many]),
    )


class Scanner:
    """The network, ready to be called, from several threads if need be."""

    def __init__(self, path: Path, *, threads: int | None = None) -> None:
        """Opens its file.

        Args:
            threads: how many threads one call may use. None for all cores.

        Raises:
            ModelError: the file is missing, damaged or of another network.
            UsageError: less than one thread.
        """
        self._model = OnnxModel(path, _OUTPUTS, inputs=[INPUT], unfit=UNFIT, threads=threads)

    def __call__(self, picture: Image, least: float) -> Candidates:
        """All cells of a picture (H, W, 3) that are surer than `least`.

        Raises:
            ModelError: the network cannot be run.
        """
        height, width = (-(-side // STRIDES_PX[-1]) * STRIDES_PX[-1] for side in picture.shape[:2])
        padded = np.full((1, height, width, 3), _GRAY, dtype=np.uint8)
        padded[0, : picture.shape[0], : picture.shape[1]] = picture
        outputs = self._model.run({INPUT: to_network(padded)})
        confidence, boxes, landmarks = (output[0].astype(np.float64) for output in outputs.values())
        sure = np.flatnonzero(confidence > least)
        middles, strides = (each[sure] for each in cells_of(height, width))
        centres = middles + boxes[sure, :2] * strides
        half = np.exp(boxes[sure, 2:].clip(max=_LARGEST_LOG)) * strides / 2
        points = landmarks[sure].reshape(-1, 5, 2) * strides[:, None] + middles[:, None] - 0.5
        return Candidates(
            confidence[sure], np.concatenate([centres - half, centres + half], axis=1), points
        )


def cells_of(height_px: int, width_px: int) -> tuple[Points, Points]:
    """The middles (cells, 2) of all cells of a picture, in edges, and their strides (cells, 1).

    Finest grid first, row by row.

    Args:
        height_px, width_px: multiples of 32.
    """
    middles, strides = [], []
    for stride in STRIDES_PX:
        y, x = np.mgrid[0 : height_px // stride, 0 : width_px // stride].reshape(2, -1)
        middles.append((np.stack([x, y], axis=1) + 0.5) * stride)
        strides.append(np.full((len(x), 1), stride, dtype=np.float64))
    return np.concatenate(middles), np.concatenate(strides)

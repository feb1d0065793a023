"""The network that takes a second look, in ONNX Runtime: squares in, what they show out.

Zhang, Zhang, Li, Qiao, "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional
Networks", IEEE Signal Processing Letters 23(10), 2016, the last of the three. `tools/convert_mtcnn.py`
makes it.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facemend.errors import ModelError
from facemend.frame import Points
from facemend.images import to_network
from facemend.sessions import first_line, open_session

_OUTPUTS = ("confidence", "offsets", "landmarks")


@dataclass(frozen=True)
class Judgement:
    """What a network says about N squares.

    Attributes:
        confidence: float64 (N,), 0-1, that a square shows a face.
        offsets: float64 (N, 4), from the square to the face's box, as `boxes.shift` takes them.
        landmarks: float64 (N, 5, 2), x and y as shares of the square's side, in the order of
            `frame.LANDMARK_NAMES`.
    """

    confidence: Points
    offsets: Points
    landmarks: Points


class Network:
    """The network, ready to be called, from several threads if need be."""

    def __init__(self, path: Path, *, threads: int | None = None) -> None:
        """Opens its file.

        Args:
            threads: how many threads one call may use; None leaves it to ONNX Runtime.

        Raises:
            ModelError: the file is missing, damaged or of another network.
            UsageError: less than one thread.
        """
        self._path = path
        self._session = open_session(path, threads)
        if {node.name for node in self._session.get_outputs()} != set(_OUTPUTS):
            raise ModelError(f"{path} is not this network of the face detector; install facemend again")

    def __call__(self, images: npt.NDArray[np.uint8]) -> Judgement:
        """Judges squares.

        Args:
            images: uint8 (N, 48, 48, 3) RGB.

        Raises:
            ModelError: the network cannot be run.
        """
        try:
            outputs = self._session.run(_OUTPUTS, {"image": to_network(images)})
        except Exception as error:
            raise ModelError(f"{self._path} cannot be run: {first_line(error)}") from error
        confidence, offsets, landmarks = (
            output.reshape(len(images), -1).astype(np.float64) for output in outputs
        )
        return Judgement(confidence[:, 0], offsets, landmarks.reshape(-1, 2, 5).transpose(0, 2, 1))

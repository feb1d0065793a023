"""A network of the detector, in ONNX Runtime: uint8 pictures in, faces out.

Zhang, Zhang, Li, Qiao, "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional
Networks", IEEE Signal Processing Letters 23(10), 2016. `tools/convert_mtcnn.py` makes the files.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from facemend.errors import ModelError, UsageError
from facemend.frame import Points
from facemend.images import to_network

_OUTPUTS = ("confidence", "offsets", "landmarks")


@dataclass(frozen=True)
class Judgement:
    """What a network says about N squares.

    Attributes:
        confidence: float64 (N,), 0-1, that a square shows a face.
        offsets: float64 (N, 4), from the square to the face's box, as `boxes.shift` takes them.
        landmarks: float64 (N, 5, 2), x and y as shares of the square's side, in the order of
            `frame.LANDMARK_NAMES`; (N, 0, 2) from a network that finds none.
    """

    confidence: Points
    offsets: Points
    landmarks: Points


class Network:
    """One network, ready to be called, from several threads if need be."""

    def __init__(self, path: Path, *, finds_landmarks: bool = False, threads: int | None = None) -> None:
        """Opens a file.

        Args:
            threads: how many threads one call may use; None leaves it to ONNX Runtime.

        Raises:
            ModelError: the file is missing, damaged or of another network.
            UsageError: less than one thread.
        """
        self._path = path
        self._session = open_session(path, threads)
        self._names = _OUTPUTS if finds_landmarks else _OUTPUTS[:2]
        if {node.name for node in self._session.get_outputs()} != set(self._names):
            raise ModelError(f"{path} is not this network of the face detector; install facemend again")

    def __call__(self, images: npt.NDArray[np.uint8]) -> Judgement:
        """Judges pictures.

        Args:
            images: uint8 (N, H, W, 3) RGB of the network's own side; or one larger picture for the
                network that takes any: then the squares of 12 px, 2 px apart, row by row.

        Raises:
            ModelError: the network cannot be run.
        """
        try:
            outputs = self._session.run(self._names, {"image": to_network(images)})
        except Exception as error:
            raise ModelError(f"{self._path} cannot be run: {first_line(error)}") from error
        # One row a picture, or a square of the larger picture.
        rows = [output.transpose(0, 2, 3, 1).astype(np.float64) for output in outputs]
        confidence, offsets, *landmarks = (row.reshape(-1, row.shape[3]) for row in rows)
        points = landmarks[0].reshape(-1, 2, 5) if landmarks else np.empty((len(offsets), 2, 0))
        return Judgement(confidence[:, 0], offsets, points.transpose(0, 2, 1))


def open_session(path: Path, threads: int | None) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors alone: its warnings are about the graph, not for a user
    if threads is not None:
        if threads < 1:
            raise UsageError(f"{threads} threads cannot compute; use 1 or more")
        options.intra_op_num_threads = threads
    if not path.is_file():
        raise ModelError(f"the face detector's file {path} does not exist; install facemend again")
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ModelError(f"{path} is not a model that can be read: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    """What ONNX Runtime says, in one line; its errors have no base class but Exception."""
    return (str(error).splitlines() or [repr(error)])[0]

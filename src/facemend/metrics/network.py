"""Networks that a user brings along as ONNX files: for LPIPS and FID, and to be measured themselves."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facemend.errors import ModelError
from facemend.files import sha256_of
from facemend.images import Image, resize, to_network
from facemend.onnx_model import first_line, open_session

Tensor = npt.NDArray[np.float32]


class Network:
    """An ONNX file in ONNX Runtime, on the processor.

    Attributes:
        path: the file.
        sha256: of it, hexadecimal.
        inputs: shape by name, in the file's order; a length that is free is None.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        """Opens a file.

        Args:
            threads: how many one call may use; None leaves it to ONNX Runtime.

        Raises:
            ModelError: it is missing or cannot be read.
        """
        self._session = open_session(path, threads)
        try:
            self.sha256 = sha256_of(path)
        except OSError as error:
            raise ModelError(f"{path} cannot be read: {error.strerror or error}") from error
        self.path = path
        self.inputs: Mapping[str, tuple[int | None, ...]] = {
            node.name: tuple(length if isinstance(length, int) else None for length in node.shape)
            for node in self._session.get_inputs()
        }

    def run(self, feeds: Mapping[str, Tensor], output: str | None = None) -> Tensor:
        """One output, float32: the named one, or the first.

        Raises:
            ModelError: the network fails, has no such output, or computes what is no number.
        """
        try:
            found = self._session.run(None if output is None else [output], dict(feeds))[0]
        except Exception as error:
            raise ModelError(f"{self.path} cannot be run: {first_line(error)}") from error
        result = np.asarray(found, dtype=np.float32)
        if not np.isfinite(result).all():
            raise ModelError(f"{self.path} computes values that are no numbers")
        return result


class PairNetwork:
    """Two pictures in, their distance out: LPIPS.

    Zhang et al., "The unreasonable effectiveness of deep features as a perceptual metric", CVPR 2018.
    The file takes two inputs, float32 (1, 3, H, W) RGB in [-1, 1], and gives one number.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        """Opens a file. Raises ModelError: it cannot be read, or has not two inputs."""
        self.network = Network(path, threads)
        if len(self.network.inputs) != 2:
            raise ModelError(f"{path} takes {len(self.network.inputs)} inputs; LPIPS compares two pictures")

    def __call__(self, image: Image, truth: Image) -> float:
        """The distance of two pictures, uint8 (H, W, 3). Raises ModelError: it is not one number."""
        pictures = zip(self.network.inputs.items(), (image, truth), strict=True)
        found = self.network.run({name: _tensor(picture, shape) for (name, shape), picture in pictures})
        if found.size != 1:
            raise ModelError(f"{self.network.path} gives {found.shape}; LPIPS is one number")
        return float(found.item())


class FeatureNetwork:
    """A picture in, its features out: for FID.

    The file takes one input, float32 (1, 3, H, W) RGB in [-1, 1], and gives D features.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        """Opens a file. Raises ModelError: it cannot be read, or has not one input."""
        self.network = Network(path, threads)
        if len(self.network.inputs) != 1:
            raise ModelError(
                f"{path} takes {len(self.network.inputs)} inputs; FID needs one picture's features"
            )

    def __call__(self, image: Image) -> npt.NDArray[np.float32]:
        """The features of a picture, uint8 (H, W, 3): float32 (D,). Raises ModelError: it fails."""
        ((name, shape),) = self.network.inputs.items()
        return self.network.run({name: _tensor(image, shape)}).reshape(-1)


def _tensor(image: Image, shape: tuple[int | None, ...]) -> Tensor:
    """A picture as (1, 3, H, W) in [-1, 1], resized where the network asks for one size."""
    height_px, width_px = (length or own for length, own in zip(shape[-2:], image.shape[:2], strict=True))
    return to_network(resize(image, width_px, height_px)[None])

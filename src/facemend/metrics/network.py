"""Networks that a user brings along as ONNX files: for LPIPS and FID."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from facemend.errors import ModelError
from facemend.images import Image, resize, to_network
from facemend.onnx_model import OnnxModel, Tensor, TensorInfo


class PairNetwork:
    """Two pictures in, their distance out: LPIPS.

    Zhang et al., "The unreasonable effectiveness of deep features as a perceptual metric", CVPR 2018.
    The file takes two inputs, float32 (1, 3, H, W) RGB in [-1, 1], and gives one number.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        """Opens a file. Raises ModelError: it cannot be read, or has not two inputs."""
        self.network = OnnxModel(path, threads=threads)
        if len(self.network.inputs) != 2:
            raise ModelError(f"{path} takes {len(self.network.inputs)} inputs; LPIPS compares two pictures")

    def __call__(self, image: Image, truth: Image) -> float:
        """The distance of two pictures, uint8 (H, W, 3). Raises ModelError: it is not one number."""
        pictures = zip(self.network.inputs.items(), (image, truth), strict=True)
        feeds = {name: _tensor(picture, info) for (name, info), picture in pictures}
        (found,) = self.network.run(feeds).values()
        if found.size != 1:
            raise ModelError(f"{self.network.path} gives {found.shape}; LPIPS is one number")
        return float(found.item())


class FeatureNetwork:
    """A picture in, its features out: for FID.

    The file takes one input, float32 (1, 3, H, W) RGB in [-1, 1], and gives D features.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        """Opens a file. Raises ModelError: it cannot be read, or has not one input."""
        self.network = OnnxModel(path, threads=threads)
        if len(self.network.inputs) != 1:
            raise ModelError(
                f"{path} takes {len(self.network.inputs)} inputs; FID needs one picture's features"
            )

    def __call__(self, image: Image) -> npt.NDArray[np.float32]:
        """The features of a picture, uint8 (H, W, 3): float32 (D,). Raises ModelError: it fails."""
        ((name, info),) = self.network.inputs.items()
        (found,) = self.network.run({name: _tensor(image, info)}).values()
        return found.reshape(-1)


def _tensor(image: Image, info: TensorInfo) -> Tensor:
    """A picture as (1, 3, H, W) in [-1, 1], resized where the network asks for one size."""
    sides = zip(info.shape[-2:], image.shape[:2], strict=True)
    height_px, width_px = (length or own for length, own in sides)
    return to_network(resize(image, width_px, height_px)[None])

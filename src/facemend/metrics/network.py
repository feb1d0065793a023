"""Metrics that a network computes: identity, its Fréchet distance, LPIPS and FID."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from facemend.alignment import canonical_landmarks
from facemend.errors import FacemendError, ModelError
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


try:
    import dlib
    import face_recognition_models as models
except ImportError as error:
    raise FacemendError('the identity distance needs dlib: pip install "facemend[identity]"') from error


class IdentityNetwork:
    """dlib's 128-d face descriptor, of the face that its 5-point aligner finds in the truth.

    King, "Dlib-ml: a machine learning toolkit", JMLR 10, 2009. The network is dlib_face_recognition_
    resnet_model_v1. Both pictures are aligned by the truth, so that the score ignores how well it aligns.
    """

    def __init__(self) -> None:
        self._aligner = dlib.shape_predictor(models.pose_predictor_five_point_model_location())
        self._recogniser = dlib.face_recognition_model_v1(models.face_recognition_model_location())

    def describe(self, image: Image, truth: Image) -> npt.NDArray[np.float32]:
        """The descriptor of a canonical crop, (128,). Two pictures of one person are mostly within 0.6.

        Args:
            image, truth: uint8 (S, S, 3).
        """
        landmarks = self._aligner(truth, _face_box(truth.shape[0]))
        return np.array(self._recogniser.compute_face_descriptor(image, landmarks), dtype=np.float32)


def _face_box(side_px: int) -> dlib.rectangle:
    """The box that dlib's own detector finds in most canonical crops: brows to chin."""
    landmarks_px = canonical_landmarks(side_px)
    eyes, mouth = landmarks_px[:2].mean(axis=0), landmarks_px[3:].mean(axis=0)
    centre, half = eyes + 0.64 * (mouth - eyes), 1.05 * float(mouth[1] - eyes[1])
    return dlib.rectangle(*(round(float(v)) for v in (*(centre - half), *(centre + half))))


Features = npt.NDArray[np.float32]
"""(N, D), a row for each picture."""


def frechet_distance(features: Features, truth: Features) -> float:
    """|m1 - m2|² + tr(C1 + C2 - 2 (C1 C2)^½) of two Gaussians fitted to the sets. 0 means alike.

    Dowson, Landau, "The Fréchet distance between multivariate normal distributions", J. of Multivariate
    Analysis 12(3), 1982. Over Inception features it is the FID of Heusel et al., "GANs trained by a two
    time-scale update rule converge to a local Nash equilibrium", NeurIPS 2017. It is biased upwards
    for few pictures: compare it over equal numbers only.

    Args:
        features, truth: float (N, D), at least two pictures each.

    Raises:
        ValueError: other shapes.
    """
    if features.ndim != 2 or features.shape[1:] != truth.shape[1:] or min(len(features), len(truth)) < 2:
        raise ValueError(f"features of {features.shape} and {truth.shape} are not two sets (N, D)")
    means = [part.mean(axis=0, dtype=np.float64) for part in (features, truth)]
    first, second = (
        np.atleast_2d(np.cov(part.astype(np.float64), rowvar=False)) for part in (features, truth)
    )
    # C1 C2 has the eigenvalues of the symmetric C1^½ C2 C1^½.
    values, sides = np.linalg.eigh(first)
    root = sides * np.sqrt(values.clip(0)) @ sides.T
    shared = np.sqrt(np.linalg.eigvalsh(root @ second @ root).clip(0)).sum()
    apart = float(((means[0] - means[1]) ** 2).sum())
    # Rounding can leave equal sets slightly below 0.
    return max(0.0, apart + float(np.trace(first) + np.trace(second) - 2 * shared))

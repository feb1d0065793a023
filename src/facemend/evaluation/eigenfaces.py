"""What the training faces alone say about a hole: their mean, and their principal components.

Turk, Pentland, "Eigenfaces for recognition", Journal of Cognitive Neuroscience 3(1), 1991. The hole is
predicted from the visible pixels by ridge regression of the coefficients, whose weight is that of
probabilistic PCA (Tipping, Bishop, JRSS B 61(3), 1999): each coefficient is held back by its variance.
"""

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from facemend.datasets import FaceRecord, FaceSource
from facemend.errors import FacemendError
from facemend.evaluation.store import read_arrays
from facemend.files import open_own, written_whole
from facemend.images import Image, Mask, resize
from facemend.metrics.opencv import cv2
from facemend.occlusion import seed_of

SIDE_PX = 64
"""Components are taken at this size: finer detail is beyond them."""
_COMPONENTS = 256
_MOST_FACES = 4000
_MOST_BYTES = 64 << 20
_ALIKE = 100
"""What stays unexplained is alike in as many neighbouring values, which so count as one (found on val)."""

_Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class FaceStatistics:
    """What was learnt from N training faces, as (64, 64, 3) RGB vectors of D values in 0-255.

    Attributes:
        mean: float32 (D,).
        components: float32 (D, K), orthonormal columns, the largest variance first.
        variances: float32 (K,), of the coefficients.
        noise: mean variance of a pixel value that the components leave unexplained.
    """

    mean: _Floats
    components: _Floats
    variances: _Floats
    noise: float

    @property
    def sha256(self) -> str:
        """Over all values, hexadecimal."""
        parts = self.mean, self.components, self.variances, np.float32(self.noise)
        return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()

    def fill_mean_face(self, image: Image, mask: Mask) -> Image:
        """The hole out of the mean training face. uint8 (S, S, 3), bool (S, S)."""
        return _fill(image, mask, self.mean)

    def fill_eigenfaces(self, image: Image, mask: Mask) -> Image:
        """The hole as the components continue the visible pixels. uint8 (S, S, 3), bool (S, S)."""
        visible = np.repeat(_shrink_visible(mask).ravel(), 3)
        seen = self.components[visible]
        offset = resize(image, SIDE_PX, SIDE_PX).reshape(-1)[visible] - self.mean[visible]
        weight = np.diag(_ALIKE * self.noise / self.variances)
        coefficients = np.linalg.solve(seen.T @ seen + weight, seen.T @ offset)
        return _fill(image, mask, self.mean + self.components @ coefficients)


def learn_faces(faces: FaceSource, cache: Path, *, progress: bool = False) -> FaceStatistics:
    """The statistics of a source's faces, up to 4000 of them, drawn by a fixed seed.

    What was learnt stays in the folder `cache` and is found there again for the same faces.

    Args:
        faces: of the train split, at least two.
        progress: whether to show a progress bar on a terminal.

    Raises:
        FacemendError: one face alone, which has no variance.
        PictureError, OutputError: a face cannot be read, or the cache not written.
    """
    if len(faces) < 2:
        raise FacemendError(f"{len(faces)} training faces have no variance; eigenfaces need two")
    path = cache / f"eigenfaces-{_key(faces)}.npz"
    if path.exists():
        return _read(path)
    rng = np.random.default_rng(seed_of("eigenfaces"))
    drawn = rng.permutation(len(faces))[:_MOST_FACES]
    records = [faces.records[place] for place in sorted(drawn.tolist())]
    shown = tqdm(records, desc="eigenfaces", unit="face", disable=None if progress else True)
    statistics = _principal_components(np.stack([_vector(faces, record) for record in shown]))
    with written_whole(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            mean=statistics.mean,
            components=statistics.components,
            variances=statistics.variances,
            noise=statistics.noise,
        )
    return statistics


def _key(faces: FaceSource) -> str:
    """Names the faces that are learnt from, and how."""
    parts = [faces.fingerprint, SIDE_PX, _COMPONENTS, _MOST_FACES, *(r.name for r in faces.records)]
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:16]


def _read(path: Path) -> FaceStatistics:
    try:
        open_own(path).close()
        arrays = read_arrays(path, _MOST_BYTES)
        mean, components, variances = arrays["mean"], arrays["components"], arrays["variances"]
        size, count = 3 * SIDE_PX**2, len(variances)
        shapes = [(mean, (size,)), (components, (size, count)), (variances, (count,))]
        if any(part.dtype != np.float32 or part.shape != shape for part, shape in shapes):
            raise ValueError("its arrays are others")
        return FaceStatistics(mean, components, variances, float(arrays["noise"]))
    except (OSError, EOFError, ValueError, TypeError, KeyError, zipfile.BadZipFile) as error:
        raise FacemendError(f"{path} cannot be read ({error}); delete it") from error


def _vector(faces: FaceSource, record: FaceRecord) -> npt.NDArray[np.uint8]:
    return faces.crop(record, SIDE_PX).reshape(-1)


def _principal_components(vectors: npt.NDArray[np.uint8]) -> FaceStatistics:
    """From the faces (N, D). With fewer faces than values, N×N products say the same as D×D."""
    mean = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    centred = vectors - mean
    scatter, sides = np.linalg.eigh((centred @ centred.T).astype(np.float64))
    # eigh ascends. One direction of centred faces has no scatter, and faces that are alike add more.
    count = min(_COMPONENTS, int(np.sum(scatter > 1e-6 * scatter[-1])))
    kept = slice(-1, -count - 1, -1)
    variances = scatter[kept] / len(vectors)
    components = centred.T @ (sides[:, kept] / np.sqrt(scatter[kept])).astype(np.float32)
    unexplained = (scatter.sum() / len(vectors) - variances.sum()) / centred.shape[1]
    # At least rounding to whole levels stays unexplained.
    return FaceStatistics(mean, components, variances.astype(np.float32), max(float(unexplained), 1 / 12))


def _shrink_visible(mask: Mask) -> Mask:
    """bool (64, 64): pixels into which no hidden one goes when `images.resize` shrinks the picture."""
    reach = 2 * max(1, round(mask.shape[0] / SIDE_PX)) - 1
    near = cv2.dilate(mask.astype(np.uint8), np.ones((2 * reach + 1, 2 * reach + 1), dtype=np.uint8))
    small = cv2.resize(near, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_NEAREST)
    return np.asarray(small == 0)


def _fill(image: Image, mask: Mask, vector: _Floats) -> Image:
    face = np.rint(vector).clip(0, 255).astype(np.uint8).reshape(SIDE_PX, SIDE_PX, 3)
    filled = image.copy()
    filled[mask] = resize(face, image.shape[1], image.shape[0])[mask]
    return filled

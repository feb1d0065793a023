"""Systems to measure: the models, and the baselines from copying the input to eigenfaces.

Each takes occluded faces and delivers reconstructed ones.
"""

import hashlib
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from facemend.alignment import crop_from_aligned
from facemend.datasets import FaceRecord, FaceSource, hash_identity, known_identities
from facemend.errors import FacemendError, ModelError, UsageError
from facemend.evaluation.results import read_arrays
from facemend.files import fingerprint_of, open_own, seed_of, written_whole
from facemend.images import Image, Mask, resize
from facemend.occlusion import OccludedFace
from facemend.reconstruction.acceptance import wanted_alpha
from facemend.reconstruction.blending import composite, resize_alpha
from facemend.reconstruction.deblur import deblur
from facemend.reconstruction.model import Model
from facemend.reconstruction.options import THRESHOLD, Remove
from facemend.terminal import progress as show_progress

Images = npt.NDArray[np.uint8]
"""(N, S, S, 3) RGB, 0-255."""
Masks = npt.NDArray[np.bool_]
"""(N, S, S), True = occluded."""
Alphas = npt.NDArray[np.float32]
"""(N, S, S), 0 = visible, 1 = occluded."""


FIRST_PICTURES = 100
"""Number of pictures on which the slow metrics and conditions are measured: the first of a split."""


@dataclass(frozen=True)
class Delivery:
    """The output of a system for N occluded faces.

    Attributes:
        raw: uint8 (N, S, S, 3), the system's own picture of the whole crop.
        composite: uint8 (N, S, S, 3), the picture that a user gets. It equals `raw` for a system
            that does not composite.
        alpha: float32 (N, S, S), 0-1, the occlusion found, or None if the system does not look for one.
        interval: float32 (N, S, S), how far `raw` may be off in the occlusion, in levels of 255 (nine
            in ten true values are within it), or None if unknown.
    """

    raw: Images
    composite: Images
    alpha: Alphas | None
    interval: Alphas | None = None


@dataclass(frozen=True)
class System:
    """Something that reconstructs faces.

    Attributes:
        name: what the report calls it.
        blind: whether it finds the occlusion by itself. Otherwise it gets the true mask, and the report
            says so.
        deliver: occluded faces and, unless it is blind, their true masks -> its output.
        repair: faces without occlusion -> what a user gets with the default options. None if the system
            does not look for occlusions.
        sha256: of the model file, if there is one.
        training_people: hashes of the people it was trained on (`datasets.hash_identity`), empty for a
            system that learnt nothing, or None if unknown.
        fingerprint: changes whenever its pictures could, so that it is part of the cache key. None if its
            scores are never cached.
        first: number of pictures it is measured on, the first ones. None measures it on all.
        fixed_inputs: whether it can reconstruct the protocol's own inputs only.
        file: the file it was opened from, if there is one.
    """

    name: str
    blind: bool
    deliver: Callable[[Images, Masks | None], Delivery]
    repair: Callable[[Images], Images] | None = None
    sha256: str | None = None
    training_people: frozenset[str] | None = frozenset()
    fingerprint: str | None = None
    first: int | None = None
    fixed_inputs: bool = False
    file: Path | None = None

    def run(self, faces: Sequence[OccludedFace]) -> Delivery:
        """Reconstructs faces of one size. A blind system does not get the masks.

        Raises:
            ModelError: the output has another shape, type or range.
        """
        images = np.stack([face.image for face in faces])
        masks = None if self.blind else np.stack([face.occlusion.mask for face in faces])
        delivery = self.deliver(images, masks)
        for picture in (delivery.raw, delivery.composite):
            if picture.dtype != np.uint8 or picture.shape != images.shape:
                raise ModelError(
                    f"{self.name} delivers {picture.dtype} {picture.shape}, not uint8 {images.shape}"
                )
        alpha = delivery.alpha
        if alpha is not None and not (alpha.shape == images.shape[:3] and _within_0_and_1(alpha)):
            raise ModelError(f"{self.name} delivers an alpha that is not {images.shape[:3]} in 0-1")
        return delivery


def _within_0_and_1(alpha: Alphas) -> bool:
    # Written so that a NaN fails.
    return bool((alpha >= 0).all() and (alpha <= 1).all())


OpenModel = Callable[[Path, int | None], System]
"""A facemend model file and its number of threads (None: all) -> a system."""

_VERSION = 4  # of how the output is made from what the network computes; part of the cache key


def open_model(path: Path, threads: int | None = None) -> System:
    """A facemend model file as a blind system. A model without alpha delivers its raw picture.

    Args:
        threads: of the processor. None for all cores.

    Raises:
        ModelError: not a facemend model.
    """
    model = Model(path, threads=threads)
    people = model.description.training_people

    def deliver(images: Images, masks: Masks | None) -> Delivery:
        return _reconstruct(model, images, Remove.ALL)

    def repair(images: Images) -> Images:
        return _reconstruct(model, images, Remove.COVERS).composite

    return System(
        model.description.name,
        blind=True,
        deliver=deliver,
        repair=repair,
        sha256=model.sha256,
        # A model file without people does not say whom it was trained on.
        training_people=frozenset(people) if people else None,
        fingerprint=f"{model.sha256} {_VERSION}",
        file=path,
    )


def _reconstruct(model: Model, images: Images, remove: Remove) -> Delivery:
    side, model_side, tall = images.shape[1], model.description.size_px, model.description.tall
    crops = np.stack([crop_from_aligned(image, model_side, tall=tall) for image in images])
    output = model(crops).first_rows(model_side)
    if output.alpha is None:
        raw = np.stack([resize(picture, side, side) for picture in output.raw])
        return Delivery(raw, raw, None)
    wanted = [wanted_alpha(alpha, remove) for alpha in output.alpha]
    faces = [
        deblur(crop[:model_side], one, alpha > THRESHOLD)
        for crop, one, alpha in zip(crops, output.each(), wanted, strict=True)
    ]
    raw = np.stack([resize(face.raw[0], side, side) for face in faces])
    delivered = [composite(*parts).image for parts in zip(images, raw, wanted, strict=True)]
    alphas = np.stack([resize_alpha(alpha, side, side) for alpha in wanted])
    # Pictures of another size than the model's are resized, and no interval is known for the result.
    intervals = [face.interval for face in faces if face.interval is not None and side == model_side]
    return Delivery(raw, np.stack(delivered), alphas, np.concatenate(intervals) if intervals else None)


SIDE_PX = 64
"""Components are taken at this size: finer detail is beyond them."""
_COMPONENTS = 256
_MOST_FACES = 4000
_MOST_BYTES = 64 << 20
_ALIKE = 100
"""As many neighbouring values have the same residual, so that they count as one (chosen on val)."""

_Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class FaceStatistics:
    """Principal components of N training faces, as (64, 64, 3) RGB vectors of D values in 0-255.

    Attributes:
        mean: float32 (D,).
        components: float32 (D, K), orthonormal columns, the largest variance first.
        variances: float32 (K,), of the coefficients.
        noise: mean variance of a pixel value that the components do not explain.
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
        """Fills the hole with the mean training face. uint8 (S, S, 3), bool (S, S)."""
        return _fill(image, mask, self.mean)

    def fill_eigenfaces(self, image: Image, mask: Mask) -> Image:
        """Fills the hole as the components predict it from visible pixels. uint8 (S, S, 3), bool (S, S)."""
        visible = np.repeat(_shrink_visible(mask).ravel(), 3)
        seen = self.components[visible]
        offset = resize(image, SIDE_PX, SIDE_PX).reshape(-1)[visible] - self.mean[visible]
        weight = np.diag(_ALIKE * self.noise / self.variances)
        coefficients = np.linalg.solve(seen.T @ seen + weight, seen.T @ offset)
        return _fill(image, mask, self.mean + self.components @ coefficients)


def learn_faces(faces: FaceSource, cache: Path, *, progress: bool = False) -> FaceStatistics:
    """The statistics of a source's faces, up to 4000 of them, drawn by a fixed seed.

    The folder `cache` keeps the result for the next call with the same faces.

    Args:
        faces: of the train split, at least two.
        progress: whether to show a progress bar on a terminal.

    Raises:
        FacemendError: fewer than two faces, which have no variance.
        PictureError, OutputError: a face cannot be read, or the cache not written.
    """
    if len(faces) < 2:
        raise FacemendError(f"{len(faces)} training faces have no variance; eigenfaces need two")
    path = cache / f"eigenfaces-{_key(faces)}.npz"
    if path.exists():
        return _read(path)
    rng = np.random.default_rng(seed_of("eigenfaces"))
    drawn = rng.permutation(len(faces))[:_MOST_FACES]
    records = [faces.records[index] for index in sorted(drawn.tolist())]
    shown = show_progress(records, desc="eigenfaces: ", unit="face", quiet=not progress)
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
    """Identifies the faces and the parameters."""
    parts = [faces.fingerprint, SIDE_PX, _COMPONENTS, _MOST_FACES, *(r.name for r in faces.records)]
    return fingerprint_of(*parts)


def _read(path: Path) -> FaceStatistics:
    try:
        open_own(path).close()
        arrays = read_arrays(path, _MOST_BYTES)
        mean, components, variances = arrays["mean"], arrays["components"], arrays["variances"]
        size, count = 3 * SIDE_PX**2, len(variances)
        shapes = [(mean, (size,)), (components, (size, count)), (variances, (count,))]
        if any(part.dtype != np.float32 or part.shape != shape for part, shape in shapes):
            raise ValueError("its arrays have other shapes")
        return FaceStatistics(mean, components, variances, float(arrays["noise"]))
    except (OSError, EOFError, ValueError, TypeError, KeyError, zipfile.BadZipFile) as error:
        raise FacemendError(f"{path} cannot be read ({error}); delete it") from error


def _vector(faces: FaceSource, record: FaceRecord) -> npt.NDArray[np.uint8]:
    return faces.crop(record, SIDE_PX).reshape(-1)


def _principal_components(vectors: npt.NDArray[np.uint8]) -> FaceStatistics:
    """Of the faces (N, D). As N < D, N×N products replace the larger D×D products."""
    mean = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    centred = vectors - mean
    scatter, sides = np.linalg.eigh((centred @ centred.T).astype(np.float64))
    # eigh ascends. Centred faces have a direction without scatter, and equal faces add more.
    count = min(_COMPONENTS, int(np.sum(scatter > 1e-6 * scatter[-1])))
    kept = slice(-1, -count - 1, -1)
    variances = scatter[kept] / len(vectors)
    components = centred.T @ (sides[:, kept] / np.sqrt(scatter[kept])).astype(np.float32)
    unexplained = (scatter.sum() / len(vectors) - variances.sum()) / centred.shape[1]
    # Rounding to whole levels is never explained.
    return FaceStatistics(mean, components, variances.astype(np.float32), max(float(unexplained), 1 / 12))


def _shrink_visible(mask: Mask) -> Mask:
    """bool (64, 64): pixels that depend on no hidden pixel when `images.resize` shrinks the picture."""
    reach = 2 * max(1, round(mask.shape[0] / SIDE_PX)) - 1
    near = cv2.dilate(mask.astype(np.uint8), np.ones((2 * reach + 1, 2 * reach + 1), dtype=np.uint8))
    small = cv2.resize(near, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_NEAREST)
    return np.asarray(small == 0)


def _fill(image: Image, mask: Mask, vector: _Floats) -> Image:
    face = np.rint(vector).clip(0, 255).astype(np.uint8).reshape(SIDE_PX, SIDE_PX, 3)
    filled = image.copy()
    filled[mask] = resize(face, image.shape[1], image.shape[0])[mask]
    return filled


_INPAINT_RADIUS_PX = 3.0


@dataclass(frozen=True)
class Learnt:
    """What the learning baselines are fitted to.

    Attributes:
        statistics: of the training faces.
        people: hashes of the people on them (`datasets.hash_identity`).
    """

    statistics: FaceStatistics
    people: frozenset[str]


def copy_input(images: Images, masks: Masks | None) -> Delivery:
    """The unchanged input: every score has to beat it. A blur flatters it."""
    return Delivery(images, images, None)


def fill_mean_colour(image: Image, mask: Mask) -> Image:
    """Fills the hole with the mean colour of the visible pixels. uint8 (H, W, 3), bool (H, W)."""
    filled = image.copy()
    filled[mask] = np.rint(image[~mask].mean(axis=0)).astype(np.uint8)
    return filled


def inpaint_telea(image: Image, mask: Mask) -> Image:
    """Fills the hole by fast marching. uint8 (H, W, 3), bool (H, W).

    Telea, "An image inpainting technique based on the fast marching method", JGT 9(1), 2004.
    """
    return _inpaint(image, mask, cv2.INPAINT_TELEA)


def inpaint_navier_stokes(image: Image, mask: Mask) -> Image:
    """Fills the hole by fluid dynamics. uint8 (H, W, 3), bool (H, W).

    Bertalmio, Bertozzi, Sapiro, "Navier-Stokes, fluid dynamics, and image and video inpainting",
    CVPR 2001.
    """
    return _inpaint(image, mask, cv2.INPAINT_NS)


def _inpaint(image: Image, mask: Mask, method: int) -> Image:
    filled = cv2.inpaint(image, mask.astype(np.uint8), _INPAINT_RADIUS_PX, method)
    return np.asarray(filled, dtype=np.uint8)


def fill_biharmonic(image: Image, mask: Mask) -> Image:
    """Fills the hole with the smoothest surface that meets its border, as scikit-image solves it.

    Damelin, Hoang, "On surface completion and image inpainting by biharmonic functions: numerical
    aspects", Int. J. of Mathematics and Mathematical Sciences, 2018.

    Args:
        image: uint8 (H, W, 3).
        mask: bool (H, W).

    Raises:
        FacemendError: scikit-image is missing.
    """
    try:
        from skimage.restoration import inpaint_biharmonic
    except ImportError as error:
        raise FacemendError('biharmonic needs scikit-image: pip install "facemend[evaluate]"') from error
    filled = inpaint_biharmonic(image.astype(np.float64), mask, channel_axis=2)
    return np.asarray(np.rint(filled).clip(0, 255), dtype=np.uint8)


def _with_true_mask(name: str, fill: Callable[[Image, Mask], Image]) -> System:
    def deliver(images: Images, masks: Masks | None) -> Delivery:
        if masks is None:
            raise ValueError(f"{name} needs the true mask")
        filled = np.stack([fill(image, mask) for image, mask in zip(images, masks, strict=True)])
        return Delivery(filled, filled, None)

    return System(name, blind=False, deliver=deliver, fingerprint=name)


BASELINES: Mapping[str, System] = {
    system.name: system
    for system in (
        System("copy", blind=True, deliver=copy_input, fingerprint="copy"),
        _with_true_mask("mean-colour", fill_mean_colour),
        _with_true_mask("telea", inpaint_telea),
        _with_true_mask("navier-stokes", inpaint_navier_stokes),
        replace(_with_true_mask("biharmonic", fill_biharmonic), first=FIRST_PICTURES),
    )
}
"""Every baseline that does not learn, by name."""

LEARNT: Mapping[str, Callable[[FaceStatistics], Callable[[Image, Mask], Image]]] = {
    "mean-face": lambda statistics: statistics.fill_mean_face,
    "eigenfaces": lambda statistics: statistics.fill_eigenfaces,
}
"""Every baseline that learns from the training faces, by name: statistics -> function that fills a hole."""


def learn(faces: FaceSource, cache: Path, *, progress: bool = False) -> Learnt:
    """Fits the learning baselines to training faces (see `learn_faces`).

    Raises:
        SourceError: the people of some pictures are unknown, so that leaks cannot be excluded.
    """
    people = frozenset(map(hash_identity, known_identities(faces)))
    return Learnt(learn_faces(faces, cache, progress=progress), people)


def choose_baselines(words: str, learn: Callable[[], Learnt]) -> list[System]:
    """The baselines of a list such as "copy,telea". "none" stands for none, "all" for every one.

    Args:
        learn: fits the learning baselines. It is called once, and only if a chosen baseline needs it.

    Raises:
        UsageError: an unknown baseline.
    """
    known = [*BASELINES, *LEARNT]
    names = {"none": [], "all": known}.get(words, list(dict.fromkeys(words.split(","))))
    for name in names:
        if name not in known:
            raise UsageError(f"unknown baseline {name!r}; choose from {', '.join(known)}, all or none")
    learnt = learn() if set(names) & LEARNT.keys() else None
    return [
        BASELINES[name] if learnt is None or name in BASELINES else _trained(name, learnt) for name in names
    ]


def _trained(name: str, learnt: Learnt) -> System:
    return replace(
        _with_true_mask(name, LEARNT[name](learnt.statistics)),
        sha256=learnt.statistics.sha256,
        training_people=learnt.people,
        fingerprint=f"{name} {learnt.statistics.sha256}",
    )

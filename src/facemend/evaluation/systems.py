"""Systems to evaluate: each takes occluded faces and delivers reconstructed ones."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facemend.alignment import crop_from_aligned
from facemend.errors import ModelError
from facemend.images import resize
from facemend.occlusion import OccludedFace
from facemend.reconstruction.acceptance import wanted_alpha
from facemend.reconstruction.blending import composite, resize_alpha
from facemend.reconstruction.deblur import deblur
from facemend.reconstruction.model import Model
from facemend.reconstruction.options import THRESHOLD, Remove

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

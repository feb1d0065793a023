"""Systems to beat: what anybody gets without a model.

A new baseline is one function and one line in BASELINES; one that learns from the training faces, a line
in LEARNT.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from facemend.datasets import FaceSource, hash_identity, known_identities
from facemend.errors import FacemendError, UsageError
from facemend.evaluation.eigenfaces import FaceStatistics, learn_faces
from facemend.evaluation.systems import FIRST, Delivery, Images, Masks, System
from facemend.images import Image, Mask
from facemend.metrics.opencv import cv2

_INPAINT_RADIUS_PX = 3.0


@dataclass(frozen=True)
class Learnt:
    """What the learning baselines know.

    Attributes:
        statistics: of the training faces.
        people: hashes of the people on them (`datasets.hash_identity`).
    """

    statistics: FaceStatistics
    people: frozenset[str]


def copy_input(images: Images, masks: Masks | None) -> Delivery:
    """The input, unchanged: what every figure has to beat, and what a blur flatters."""
    return Delivery(images, images, None)


def fill_mean_colour(image: Image, mask: Mask) -> Image:
    """The hole in the mean colour of the visible pixels. uint8 (H, W, 3), bool (H, W)."""
    filled = image.copy()
    filled[mask] = np.rint(image[~mask].mean(axis=0)).astype(np.uint8)
    return filled


def inpaint_telea(image: Image, mask: Mask) -> Image:
    """The hole by fast marching. uint8 (H, W, 3), bool (H, W).

    Telea, "An image inpainting technique based on the fast marching method", JGT 9(1), 2004.
    """
    return _inpaint(image, mask, cv2.INPAINT_TELEA)


def inpaint_navier_stokes(image: Image, mask: Mask) -> Image:
    """The hole by fluid dynamics. uint8 (H, W, 3), bool (H, W).

    Bertalmio, Bertozzi, Sapiro, "Navier-Stokes, fluid dynamics, and image and video inpainting",
    CVPR 2001.
    """
    return _inpaint(image, mask, cv2.INPAINT_NS)


def _inpaint(image: Image, mask: Mask, method: int) -> Image:
    filled = cv2.inpaint(image, mask.astype(np.uint8), _INPAINT_RADIUS_PX, method)
    return np.asarray(filled, dtype=np.uint8)


def fill_biharmonic(image: Image, mask: Mask) -> Image:
    """The hole by the smoothest surface that meets its border, as scikit-image solves it.

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


def _given_the_mask(name: str, fill: Callable[[Image, Mask], Image]) -> System:
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
        _given_the_mask("mean-colour", fill_mean_colour),
        _given_the_mask("telea", inpaint_telea),
        _given_the_mask("navier-stokes", inpaint_navier_stokes),
        replace(_given_the_mask("biharmonic", fill_biharmonic), first=FIRST),
    )
}
"""Every baseline that learns nothing, by its name."""

LEARNT: Mapping[str, Callable[[FaceStatistics], Callable[[Image, Mask], Image]]] = {
    "mean-face": lambda statistics: statistics.fill_mean_face,
    "eigenfaces": lambda statistics: statistics.fill_eigenfaces,
}
"""Every baseline that learns from the training faces, by its name: what was learnt -> what fills a hole."""


def learn(faces: FaceSource, cache: Path, *, progress: bool = False) -> Learnt:
    """What the learning baselines take from training faces (see `eigenfaces.learn_faces`).

    Raises:
        SourceError: pictures whose people nobody knows, so that leaks cannot be excluded.
    """
    people = frozenset(map(hash_identity, known_identities(faces)))
    return Learnt(learn_faces(faces, cache, progress=progress), people)


def choose_baselines(words: str, learn: Callable[[], Learnt]) -> list[System]:
    """The baselines that a list such as "copy,telea" names; "none" names none, "all" every one.

    Args:
        learn: learns from the training faces; called once, and only if a chosen baseline needs it.

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
        _given_the_mask(name, LEARNT[name](learnt.statistics)),
        sha256=learnt.statistics.sha256,
        training_people=learnt.people,
        fingerprint=f"{name} {learnt.statistics.sha256}",
    )

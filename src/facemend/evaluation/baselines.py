"""Systems to beat: what anybody gets without a model.

A new baseline is one function and one line in BASELINES.
"""

from collections.abc import Callable, Mapping

import numpy as np

from facemend.errors import UsageError
from facemend.evaluation.systems import Delivery, Images, Masks, System
from facemend.images import Image, Mask
from facemend.metrics.opencv import cv2

_INPAINT_RADIUS_PX = 3.0


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


def _given_the_mask(name: str, fill: Callable[[Image, Mask], Image]) -> System:
    def deliver(images: Images, masks: Masks | None) -> Delivery:
        if masks is None:
            raise ValueError(f"{name} needs the true mask")
        filled = np.stack([fill(image, mask) for image, mask in zip(images, masks, strict=True)])
        return Delivery(filled, filled, None)

    return System(name, blind=False, deliver=deliver)


BASELINES: Mapping[str, System] = {
    system.name: system
    for system in (
        System("copy", blind=True, deliver=copy_input),
        _given_the_mask("mean-colour", fill_mean_colour),
        _given_the_mask("telea", inpaint_telea),
        _given_the_mask("navier-stokes", inpaint_navier_stokes),
    )
}
"""Every baseline by its name."""


def choose_baselines(words: str) -> list[System]:
    """The baselines that a list such as "copy,telea" names; "none" names none.

    Raises:
        UsageError: an unknown baseline.
    """
    names = [] if words == "none" else list(dict.fromkeys(words.split(",")))
    for name in names:
        if name not in BASELINES:
            raise UsageError(f"unknown baseline {name!r}; choose from {', '.join(BASELINES)}, or none")
    return [BASELINES[name] for name in names]

"""A model of any pairs (image-to-image translation) over whole pictures, without a look for faces."""

import math
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from facemend.errors import ModelError
from facemend.images import Image, resize
from facemend.reconstruction.model import Model

_STEP = 0.5
"""Distance of two tiles, in sides of a tile."""


class Fit(StrEnum):
    """How a picture of any size goes through a network of one size.

    RESIZE: as a whole, brought to the network's square and back, as in training.
    TILES: in overlapping tiles at its own size. It keeps detail, and a tile knows nothing of the others.
    """

    RESIZE = "resize"
    TILES = "tiles"


def apply_model(model: Model, image: Image, fit: Fit = Fit.RESIZE) -> Image:
    """What a model makes of a picture, all of it.

    Args:
        image: uint8 (H, W, 3) RGB.

    Returns:
        uint8 (H, W, 3) RGB.

    Raises:
        ModelError: the model is one of tall crops of faces, or fails.
    """
    side = model.description.size_px
    if model.description.tall:
        raise ModelError(f"{model.description.name} works on crops of faces; use reconstruct")
    height_px, width_px = image.shape[:2]
    if fit is Fit.RESIZE:
        return resize(model(resize(image, side, side)[None]).raw[0], width_px, height_px)
    whole = np.pad(
        image, ((0, max(0, side - height_px)), (0, max(0, side - width_px)), (0, 0)), mode="edge"
    )
    share = _window(side)
    total = np.zeros(whole.shape, dtype=np.float32)
    weight = np.zeros((*whole.shape[:2], 1), dtype=np.float32)
    for y in _starts(whole.shape[0], side):
        for x in _starts(whole.shape[1], side):
            part = slice(y, y + side), slice(x, x + side)
            total[part] += share * model(np.ascontiguousarray(whole[part])[None]).raw[0]
            weight[part] += share
    return np.rint(total / weight).astype(np.uint8)[:height_px, :width_px]


def _starts(length_px: int, side_px: int) -> list[int]:
    """Where tiles begin that cover a length, evenly spaced."""
    count = math.ceil((length_px - side_px) / (_STEP * side_px)) + 1
    return [round(start) for start in np.linspace(0, length_px - side_px, count)]


def _window(side_px: int) -> npt.NDArray[np.float32]:
    """The share of a tile in each of its pixels, (side, side, 1): it falls to its edges, and is never 0."""
    ramp = 1 - np.abs(np.linspace(-1, 1, side_px + 2, dtype=np.float32)[1:-1])
    window: npt.NDArray[np.float32] = (ramp[:, None] * ramp)[:, :, None]
    return window

"""Mosaic over the eyes, the lower or the whole face."""

import numpy as np
from PIL import Image as PillowImage

from facemend.images import Image
from facemend.occlusion.geometry import Box, FaceGeometry
from facemend.occlusion.masks import full_face_box, lower_face_box
from facemend.occlusion.raster import Field, pick
from facemend.occlusion.types import Extent, Layer

_BLOCK = (8.0, 24.0)
"""Range of a block's side in canonical pixels."""


def pixelate(image: Image, face: FaceGeometry, rng: np.random.Generator) -> Layer:
    """Upright square blocks of one colour each, in a box or an ellipse, 7-32% of a canonical crop."""
    place = pick(rng, {"lower": 4.0, "eyes": 2.0, "full": 4.0})
    box = {"lower": lower_face_box, "eyes": _eyes_box, "full": full_face_box}[place](rng)
    round_, averaged = bool(rng.random() < 0.25 and place != "eyes"), bool(rng.random() < 0.85)
    block = rng.uniform(*_BLOCK)
    columns, rows = round((box[2] - box[0]) / block), round((box[3] - box[1]) / block)
    extent = Extent.FULL if place == "full" else Extent.PARTIAL
    height_px, width_px = image.shape[:2]
    x1, y1, x2, y2 = face.rigid.upright_box(box, width_px, height_px)
    alpha = np.zeros((height_px, width_px), dtype=np.float32)
    paint = image
    if x2 > x1 and y2 > y1:
        paint = image.copy()
        size_px = (x2 - x1, y2 - y1)
        shrink = PillowImage.Resampling.BOX if averaged else PillowImage.Resampling.NEAREST
        small = PillowImage.fromarray(image[y1:y2, x1:x2]).resize((columns, rows), shrink)
        paint[y1:y2, x1:x2] = np.asarray(small.resize(size_px, PillowImage.Resampling.NEAREST))
        cells = PillowImage.fromarray(_cells(rows, columns, round_=round_))
        alpha[y1:y2, x1:x2] = np.asarray(cells.resize(size_px, PillowImage.Resampling.NEAREST))
    return Layer(
        alpha,
        paint,
        extent,
        {"place": place, "block": block, "round": int(round_), "averaged": int(averaged)},
    )


def _cells(rows: int, columns: int, *, round_: bool) -> Field:
    """Which blocks are drawn, float32 (rows, columns): all, or those in the ellipse that fills the grid."""
    if not round_:
        return np.ones((rows, columns), dtype=np.float32)
    down = (np.arange(rows) + 0.5) / rows * 2 - 1
    across = (np.arange(columns) + 0.5) / columns * 2 - 1
    return (down[:, None] ** 2 + across[None, :] ** 2 <= 1.05).astype(np.float32)


def _eyes_box(rng: np.random.Generator) -> Box:
    """A band over both eyes."""
    middle, half = 127 + rng.uniform(-4, 4), rng.uniform(54, 68)
    top, height = rng.uniform(98, 112), rng.uniform(40, 56)
    return middle - half, top, middle + half, top + height

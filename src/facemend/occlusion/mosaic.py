"""Mosaic over the eyes, the lower or the whole face."""

import numpy as np
from PIL import Image as PillowImage

from facemend.images import Image
from facemend.occlusion.geometry import Box, FaceGeometry
from facemend.occlusion.masks import full_face_box, lower_face_box
from facemend.occlusion.raster import pick
from facemend.occlusion.types import Extent, Layer

_BLOCK_PX = (8.0, 24.0)
"""Range of a block's side in canonical pixels."""


def pixelate(image: Image, face: FaceGeometry, rng: np.random.Generator) -> Layer:
    """Upright square blocks of one colour each, in a box or an ellipse, 7-32% of a canonical crop."""
    place = pick(rng, {"lower": 4.0, "eyes": 2.0, "full": 4.0})
    box = {"lower": lower_face_box, "eyes": _eyes_box, "full": full_face_box}[place](rng)
    round_, averaged = bool(rng.random() < 0.25 and place != "eyes"), bool(rng.random() < 0.85)
    block, shift = rng.uniform(*_BLOCK_PX), rng.random(2)
    extent = Extent.FULL if place == "full" else Extent.PARTIAL
    height_px, width_px = image.shape[:2]
    x1, y1, x2, y2 = face.upright_box(box, width_px, height_px)
    block_px = int(np.clip(round(block * face.unit_px), 2, max(height_px, width_px)))
    alpha = np.zeros((height_px, width_px), dtype=np.float32)
    paint = image
    if x2 > x1 and y2 > y1:
        paint = image.copy()
        # Whole blocks from a random corner, cut at the picture's edge.
        left, top = (max(0, low - int(s * block_px)) for low, s in zip((x1, y1), shift, strict=True))
        columns, rows = -(-(x2 - left) // block_px), -(-(y2 - top) // block_px)
        region = np.s_[top : top + rows * block_px, left : left + columns * block_px]
        paint[region] = _blocks(image[region], block_px, averaged=averaged)
        cells = _ellipse_cells(rows, columns) if round_ else np.ones((rows, columns), dtype=np.float32)
        whole = cells.repeat(block_px, axis=0).repeat(block_px, axis=1)
        alpha[region] = whole[: alpha[region].shape[0], : alpha[region].shape[1]]
    return Layer(
        alpha,
        paint,
        extent,
        {"place": place, "block_px": block_px, "round": int(round_), "averaged": int(averaged)},
    )


def _blocks(patch: Image, block_px: int, *, averaged: bool) -> Image:
    """The patch in blocks: their mean colours, or the colour of the pixel in their middle."""
    height, width = patch.shape[:2]
    if averaged:
        small = np.asarray(PillowImage.fromarray(patch).reduce(block_px))
    else:
        half = min(block_px // 2, height - 1, width - 1)
        rows = np.minimum(np.arange(half, height + half, block_px), height - 1)
        columns = np.minimum(np.arange(half, width + half, block_px), width - 1)
        small = patch[rows[:, None], columns[None, :]]
    large: Image = small.repeat(block_px, axis=0).repeat(block_px, axis=1)
    return large[:height, :width]


def _ellipse_cells(rows: int, columns: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """1 where a block's middle lies in the ellipse that fills the grid, else 0."""
    down = (np.arange(rows) + 0.5) / rows * 2 - 1
    across = (np.arange(columns) + 0.5) / columns * 2 - 1
    return (down[:, None] ** 2 + across[None, :] ** 2 <= 1.05).astype(np.float32)


def _eyes_box(rng: np.random.Generator) -> Box:
    """A band over both eyes."""
    middle, half = 127 + rng.uniform(-4, 4), rng.uniform(54, 68)
    top, height = rng.uniform(98, 112), rng.uniform(40, 56)
    return middle - half, top, middle + half, top + height

"""Flat-coloured covers: the original project's nose mask, and a patch over the whole face."""

import numpy as np

from facemend.frame import Points
from facemend.images import Image
from facemend.occlusion.geometry import Box, FaceGeometry, fill_polygon, smooth_outline
from facemend.occlusion.types import Extent, Layer

MASK_COLOURS: dict[str, tuple[int, int, int]] = {
    "sky blue": (135, 206, 235),
    "black": (16, 16, 18),
    "white": (245, 245, 245),
    "gray": (128, 128, 132),
    "navy": (28, 42, 92),
    "red": (190, 30, 45),
    "green": (60, 140, 85),
    "pink": (240, 160, 185),
    "beige": (222, 200, 170),
    "yellow": (240, 205, 60),
}

# Right half of the outline on the canonical face, from the bridge of the nose to the chin.
_NOSE_MASK_HALF: Points = np.array(
    [(0, 147), (20, 152), (40, 161), (55, 166), (54, 185), (47, 206), (32, 226), (14, 237)],
    dtype=np.float64,
)
_MIDDLE_X = 127.0


def draw_colour(rng: np.random.Generator) -> tuple[tuple[int, int, int], str]:
    """A colour and its name: one of MASK_COLOURS in two cases of three, else any colour."""
    names = list(MASK_COLOURS)
    name = names[int(rng.integers(len(names)))]
    random = tuple(int(v) for v in rng.integers(0, 256, 3))
    if rng.random() < 2 / 3:
        return MASK_COLOURS[name], name
    return (random[0], random[1], random[2]), "random"


def nose_mask(image: Image, face: FaceGeometry, rng: np.random.Generator) -> Layer:
    """A flat-coloured mask over nose, mouth and jaw, 9-18% of a canonical crop."""
    half = _NOSE_MASK_HALF.copy()
    width, top, bottom = rng.uniform(0.94, 1.24), rng.uniform(-6, 9), rng.uniform(-4, 9)
    sides = []
    for side in (-1, 1):
        points = half + rng.normal(0, 1.5, half.shape)
        points[:, 1] += np.interp(half[:, 1], (147, 237), (top, bottom))
        points[:, 0] = _MIDDLE_X + side * points[:, 0].clip(0) * width
        sides.append(points)
    outline = np.concatenate([sides[1], sides[0][:0:-1]])
    height_px, width_px = image.shape[:2]
    alpha = fill_polygon(face.place(smooth_outline(outline)), width_px, height_px)
    colour, name = draw_colour(rng)
    return Layer(
        alpha, np.array(colour, dtype=np.uint8), Extent.PARTIAL, {"colour": colour, "colour_name": name}
    )


def mask_full(image: Image, face: FaceGeometry, rng: np.random.Generator) -> Layer:
    """A flat-coloured rectangle over the whole face, brows to chin, 18-32% of a canonical crop."""
    height_px, width_px = image.shape[:2]
    x1, y1, x2, y2 = face.upright_box(full_face_box(rng), width_px, height_px)
    alpha = np.zeros((height_px, width_px), dtype=np.float32)
    alpha[y1:y2, x1:x2] = 1
    colour, name = draw_colour(rng)
    return Layer(
        alpha, np.array(colour, dtype=np.uint8), Extent.FULL, {"colour": colour, "colour_name": name}
    )


def lower_face_box(rng: np.random.Generator) -> Box:
    """A random box (x1, y1, x2, y2) over nose and mouth in canonical pixels, 7-16% of the crop."""
    middle, half = _MIDDLE_X + rng.uniform(-6, 6), rng.uniform(44, 58)
    top, height = rng.uniform(142, 156), rng.uniform(58, 86)
    return middle - half, top, middle + half, top + height


def full_face_box(rng: np.random.Generator) -> Box:
    """A random box (x1, y1, x2, y2) from the brows to the chin in canonical pixels, 18-32%."""
    middle, half = _MIDDLE_X + rng.uniform(-5, 5), rng.uniform(56, 71)
    top, bottom = rng.uniform(100, 112), rng.uniform(222, 243)
    return middle - half, top, middle + half, bottom

"""Flat covers: the original project's nose mask, patches, censor bars and eye patches."""

import numpy as np

from facemend.alignment import Points
from facemend.images import Image
from facemend.occlusion.canvas import (
    Canvas,
    Colour,
    Part,
    Sketch,
    coverage_of,
    look_up,
    noise_table,
    nothing,
    pick,
    region_around,
)
from facemend.occlusion.geometry import (
    Box,
    FaceGeometry,
    curve,
    ellipse,
    fill_polygon,
    line,
    rounded_box,
    smooth_outline,
    turned,
)
from facemend.occlusion.light import cloth_colour
from facemend.occlusion.textures import PATTERNS, WORDS
from facemend.occlusion.types import Extent, Layer, Parameter

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
    alpha = fill_polygon(face.to_pixels(smooth_outline(outline)), width_px, height_px)
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


_EYES, _EYE_X = (127.0, 131.0), 27.0
"""The place between the eyes of a canonical crop, and how far from it each eye is."""


def patch_full(image: Image, face: FaceGeometry, rng: np.random.Generator) -> Layer:
    """A flat patch from the brows to the chin that no light falls on, 18-36% of a canonical crop."""
    face = face.rigid
    style = pick(rng, {"pattern": 5.0, "disc face": 3.0, "text": 2.0, "static": 1.5, "frosted": 1.0})
    x1, y1, x2, y2 = full_face_box(rng)
    middle, wide, tall = ((x1 + x2) / 2, (y1 + y2) / 2), (x2 - x1) / 2, (y2 - y1) / 2
    if style == "disc face":
        wide = tall = max(wide, tall) * 0.98
    if style == "disc face" or rng.random() < 0.35:
        outline = ellipse(*middle, wide * 1.08, tall * 1.08, 48)
    else:
        outline = rounded_box(x1, y1, x2, y2, float(rng.choice([0, 0, 6, 20])))
    degrees = rng.normal(0, 4)
    outline = turned(outline, middle, degrees)
    ground, name = cloth_colour(rng)
    parameters: dict[str, Parameter] = {"style": style, "colour": ground, "colour_name": name}
    region = region_around(face, outline, image)
    if region is None:
        return nothing(image, Extent.FULL, parameters)
    canvas = Canvas(region)
    coverage = coverage_of(region, outline)
    if style == "pattern":
        texture = pick(rng, PATTERNS)(rng)
        parameters["pattern"] = texture.name
        u, v = region.x - np.float32(middle[0] - 70), region.y - np.float32(middle[1] - 70)
        canvas.lay(coverage, texture.colours(u, v, face.unit_px))
    elif style == "static":
        table = noise_table(256)
        size = np.float32(1 / rng.uniform(0.8, 6))
        bands = [
            look_up(table, region.x * size + shift, region.y * size + 600) for shift in (600, 640, 680)
        ]
        if rng.random() < 0.5:
            bands = bands[:1] * 3
        canvas.lay(coverage, np.stack(bands) * 127 + 128)
    elif style == "frosted":
        below = region.planes(image)
        share = np.float32(rng.uniform(0.82, 0.95))
        veil = np.array(ground, dtype=np.float32)[:, None, None]
        canvas.lay(coverage, below + (veil - below) * share)
    else:
        canvas.lay(coverage, ground if style == "text" else (252, 204, 64))
    if style == "text":
        sketch = Sketch(region)
        _write(sketch, middle, 2 * wide, ground, rng)
        canvas.lay_sketch(sketch)
    elif style == "disc face":
        canvas.lay_parts(_disc_face(middle, wide, rng))
    return canvas.finish(image, Extent.FULL, parameters, softness=float(rng.choice([0.0, 0.4, 0.7])))


def eye_bar(image: Image, face: FaceGeometry, rng: np.random.Generator) -> Layer:
    """A censor bar over both eyes in one colour, most often black, 3-9% of a canonical crop."""
    face = face.rigid
    middle = _EYES[0] + rng.normal(0, 3), _EYES[1] + rng.normal(0, 2)
    wide, tall = rng.uniform(46, 76), rng.uniform(10, 22)
    outline = rounded_box(middle[0] - wide, middle[1] - tall, middle[0] + wide, middle[1] + tall, 0)
    outline = turned(outline, middle, rng.normal(0, 5))
    colour = _flat_colour(rng)
    parameters: dict[str, Parameter] = {"colour": colour}
    region = region_around(face, outline, image)
    if region is None:
        return nothing(image, Extent.PARTIAL, parameters)
    canvas = Canvas(region)
    canvas.lay(coverage_of(region, outline), colour)
    return canvas.finish(image, Extent.PARTIAL, parameters, softness=float(rng.choice([0.0, 0.4, 0.7])))


def eye_patch(image: Image, face: FaceGeometry, rng: np.random.Generator) -> Layer:
    """A patch over one eye on a strap around the head, 2-7% of a canonical crop."""
    face = face.rigid
    side = 1 if rng.random() < 0.5 else -1
    x, y = _EYES[0] + side * _EYE_X + rng.normal(0, 2), _EYES[1] + rng.normal(2, 2)
    patch = ellipse(x, y, rng.uniform(19, 28), rng.uniform(17, 25), int(rng.choice([5, 8, 28])))
    patch = turned(patch, (x, y), rng.uniform(-25, 25))
    colour = _flat_colour(rng)
    parameters: dict[str, Parameter] = {"colour": colour, "side": side}
    # The strap runs from above the covered eye across the forehead, and from below it to the ear.
    thick, rise = rng.uniform(3, 7), rng.uniform(45, 85)
    straps = [
        line(curve((x, y), (x - side * 50, y - 0.6 * rise), (x - side * 120, y - rise)), thick),
        line(curve((x, y), (x + side * 25, y + 4), (x + side * 48, y + rng.uniform(-10, 18))), thick),
    ]
    if rng.random() < 0.3:  # an adhesive one
        straps = []
    region = region_around(face, np.concatenate([patch, *straps]), image)
    if region is None:
        return nothing(image, Extent.PARTIAL, parameters)
    canvas = Canvas(region)
    canvas.lay_parts([(outline, colour) for outline in (*straps, patch)])
    return canvas.finish(image, Extent.PARTIAL, parameters, softness=float(rng.choice([0.3, 0.6])))


def _flat_colour(rng: np.random.Generator) -> Colour:
    """Black in two cases of three, else white or any colour of cloth."""
    if rng.random() < 2 / 3:
        level = int(rng.integers(0, 30))
        return (level, level, level)
    return (255, 255, 255) if rng.random() < 0.3 else cloth_colour(rng)[0]


def _write(
    sketch: Sketch, middle: tuple[float, float], width: float, ground: Colour, rng: np.random.Generator
) -> None:
    ink = (245, 245, 245) if sum(ground) < 360 else (24, 24, 28)
    rows = int(rng.integers(1, 5))
    for row in range(rows):
        word = WORDS[int(rng.integers(len(WORDS)))]
        size = min(width / (0.62 * len(word) + 0.5), 34.0)
        y = middle[1] + (row - (rows - 1) / 2) * 38
        sketch.text((middle[0], y), word, size, ink)


def _disc_face(middle: tuple[float, float], radius: float, rng: np.random.Generator) -> list[Part]:
    """Eyes and a mouth as on a chat program's yellow disc."""
    x, y = middle
    ink = (92, 56, 22)
    parts: list[Part] = []
    for side in (-1, 1):
        eye_x, eye_y = x + side * radius * 0.36, y - radius * 0.22
        if rng.random() < 0.75:
            parts.append((ellipse(eye_x, eye_y, radius * 0.1, radius * 0.15), ink))
        else:
            parts.append((ellipse(eye_x, eye_y, radius * 0.2, radius * 0.18, 6), (222, 44, 58)))
    bend, wide, lip = rng.uniform(-0.3, 0.7), radius * 0.5, y + radius * 0.3
    mouth = curve((x - wide, lip), (x, lip + radius * bend), (x + wide, lip), 16)
    open_ = rng.random() < 0.4 and bend > 0.2
    parts.append((mouth if open_ else line(mouth, radius * 0.09), ink))
    return parts

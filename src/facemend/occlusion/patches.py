"""Patches over the whole face (patterns, gradients, text, faces as in chat programs) and over the eyes."""

import numpy as np

from facemend.images import Image
from facemend.occlusion.colours import cloth_colour
from facemend.occlusion.geometry import FaceGeometry
from facemend.occlusion.masks import full_face_box
from facemend.occlusion.patterns import PATTERNS
from facemend.occlusion.prints import WORDS
from facemend.occlusion.raster import (
    Canvas,
    Colour,
    Part,
    Sketch,
    cover_of,
    look_up,
    noise_table,
    nothing,
    pick,
    region_around,
)
from facemend.occlusion.strokes import curve, ellipse, line, rounded_box, turned
from facemend.occlusion.types import Extent, Layer, Parameter

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
    cover = cover_of(region, outline)
    if style == "pattern":
        texture = pick(rng, PATTERNS)(rng)
        parameters["pattern"] = texture.name
        u, v = region.x - np.float32(middle[0] - 70), region.y - np.float32(middle[1] - 70)
        canvas.lay(cover, texture.colours(u, v, face.unit_px))
    elif style == "static":
        table = noise_table(256)
        size = np.float32(1 / rng.uniform(0.8, 6))
        bands = [
            look_up(table, region.x * size + shift, region.y * size + 600) for shift in (600, 640, 680)
        ]
        if rng.random() < 0.5:
            bands = bands[:1] * 3
        canvas.lay(cover, np.stack(bands) * 127 + 128)
    elif style == "frosted":
        below = region.planes(image)
        share = np.float32(rng.uniform(0.82, 0.95))
        veil = np.array(ground, dtype=np.float32)[:, None, None]
        canvas.lay(cover, below + (veil - below) * share)
    else:
        canvas.lay(cover, ground if style == "text" else (252, 204, 64))
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
    canvas.lay(cover_of(region, outline), colour)
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

"""Hands and hair."""

import numpy as np

from facemend.alignment import Points
from facemend.images import Image
from facemend.occlusion.canvas import Colour, Field, Part, Region, blurred, pick
from facemend.occlusion.geometry import FaceGeometry, curve, ellipse, line, smooth_outline, turned
from facemend.occlusion.light import HAIR, SKIN, cloth_colour, hair_of, scaled, shifted, skin_of


def hand(image: Image, face: FaceGeometry, rng: np.random.Generator) -> list[Part]:
    """A hand with a forearm, from below or from a side: over mouth, cheek, chin or an eye."""
    skin = skin_of(image, face)
    if rng.random() < 0.2:
        skin = shifted(SKIN[int(rng.integers(len(SKIN)))], rng, 10)
    skin = shifted(skin, rng, 10)
    size = rng.uniform(0.85, 1.25)
    side = float(rng.choice([-1, 1]))
    goal = pick(
        rng,
        {(0.0, 192.0): 4.0, (38.0, 178.0): 3.0, (22.0, 222.0): 2.0, (28.0, 132.0): 1.5, (0.0, 110.0): 0.7},
    )
    # The palm's middle in canonical pixels, and which way the fingers point: 0 is up.
    palm_x, palm_y = 127 + side * goal[0] + rng.normal(0, 5), goal[1] + rng.normal(0, 6)
    degrees = -side * rng.uniform(5, 85)
    if goal[0] == 0 and rng.random() < 0.6:
        degrees = -side * rng.uniform(50, 100)
    spread = rng.uniform(0.2, 3.5)
    bent = rng.uniform(0.55, 1.0)
    parts: list[Part] = []
    wrist = np.array([(-13, 20), (13, 20), (18, 150), (-18, 150)], dtype=np.float64) * size
    parts.append((wrist, scaled(skin, 0.72)))
    parts.append((wrist * (0.8, 1), scaled(skin, 0.9)))
    if rng.random() < 0.55:
        sleeve, _ = cloth_colour(rng)
        cuff = np.array([(-20, 62), (20, 62), (26, 150), (-26, 150)], dtype=np.float64) * size
        parts += [(cuff, scaled(sleeve, 0.8)), (cuff * (0.75, 1), sleeve)]
    palm = smooth_outline(
        np.array(
            [(-19, -16), (0, -20), (19, -15), (21, 6), (14, 27), (-13, 27), (-21, 5)], dtype=np.float64
        ),
        5,
    )
    for share, factor in ((1.0, 0.66), (0.93, 0.86), (0.75, 0.97), (0.45, 1.03)):
        parts.append((palm * share * size, scaled(skin, factor)))
    lengths = np.array([30, 37, 34, 26]) * bent * size
    for number, (length, x) in enumerate(zip(lengths, (-14.5, -5, 5, 14), strict=True)):
        lean = (number - 1.5) * spread + rng.normal(0, 1.2)
        path = curve(
            (x * size, -10 * size),
            (x * size + lean, -10 * size - 0.5 * length),
            (x * size + 2.2 * lean, -12 * size - length),
            13,
        )
        parts += _finger(path, 10.2 * size * rng.uniform(0.94, 1.04), skin, rng)
    thumb_x = -1.0
    path = curve(
        (thumb_x * 12 * size, 14 * size),
        (thumb_x * 26 * size, 4 * size),
        (thumb_x * rng.uniform(20, 34) * size, -18 * size),
        13,
    )
    parts += _finger(path, 11.5 * size, skin, rng)
    moved = []
    for points, colour in parts:
        placed = points * (side, 1)
        placed = turned(placed, (0.0, 0.0), degrees) + (palm_x, palm_y)
        moved.append((placed, colour))
    return moved


def draw_grip(
    image: Image, face: FaceGeometry, x: float, y: float, side: float, rng: np.random.Generator
) -> list[Part]:
    """Four fingers that reach from one side (-1 left, 1 right) around something at (x, y)."""
    skin = shifted(skin_of(image, face), rng, 8)
    parts: list[Part] = [(ellipse(x + side * 16, y + 14, 20, 27), scaled(skin, 0.8))]
    for finger in range(4):
        top = y - 10 + finger * 11.5
        path = curve((x + side * 26, top + 6), (x, top - 3), (x - side * rng.uniform(12, 17), top + 3), 13)
        parts += _finger(path, 11.0, skin, rng)
    return parts


def _finger(path: Points, width: float, skin: Colour, rng: np.random.Generator) -> list[Part]:
    """A finger along a path that ends at its tip: dark sides, a lit back, now and then a nail."""
    places = (0, 0.5, 0.8, 0.92, 1)
    profile = np.interp(np.linspace(0, 1, len(path)), places, (1.05, 1.0, 0.92, 0.66, 0.2)) * width
    tip, along = path[-1], path[-1] - path[-3]
    along = along / max(float(np.hypot(*along)), 1e-6)
    shades = ((1.0, 0.62), (0.86, 0.84), (0.6, 0.98), (0.28, 1.06))
    layers: list[Part] = [(line(path, profile * share), scaled(skin, factor)) for share, factor in shades]
    if rng.random() < 0.5:
        nail = shifted((214, 150, 140) if rng.random() < 0.6 else (170, 30, 50), rng, 20)
        at = tip - along * 0.34 * width
        layers.append((ellipse(at[0], at[1], 0.24 * width, 0.28 * width, 12), nail))
    return layers


def hair_colour(image: Image, face: FaceGeometry, rng: np.random.Generator) -> Colour:
    """This face's own, in nine cases of ten, if it is not lighter than skin, else any."""
    own, other = hair_of(image, face), shifted(HAIR[int(rng.integers(len(HAIR)))], rng, 12)
    return own if rng.random() < 0.9 and sum(own) < sum(skin_of(image, face)) else other


def draw_strands(
    colour: Colour, start: tuple[float, float], end: tuple[float, float], rng: np.random.Generator,
    count: int, spread: float, width: float,
) -> list[Part]:  # fmt: skip
    """Strands from about `start` to about `end` in shades of one colour.

    Args:
        spread: how far they run apart, canonical pixels.
        width: of one strand in the middle, canonical pixels.
    """
    sway = rng.normal(0, (0.8 * spread + 6, 0.3 * spread + 2))
    chance = rng.normal(0, 1, (count, 1, 8))
    a, c = np.array(start) + chance[..., :2] * spread / 2, np.array(end) + chance[..., 2:4] * spread
    b = (np.array(start) + np.array(end)) / 2 + sway + chance[..., 4:6] * (spread / 3, spread / 8)
    t = np.linspace(0, 1, _STEPS)[None, :, None]
    paths = (1 - t) ** 2 * a + 2 * t * (1 - t) * b + t**2 * c
    along = 2 * (1 - t) * (b - a) + 2 * t * (c - b)
    thick = width * (1 + 0.3 * chance[..., 6:7]).clip(0.4, 1.5) * _TAPER / 2
    reach = thick / np.maximum(np.hypot(along[..., :1], along[..., 1:]), 1e-6)
    aside = np.concatenate([-along[..., 1:], along[..., :1]], axis=2) * reach
    outlines = np.concatenate([paths + aside, (paths - aside)[:, ::-1]], axis=1)
    shades = (1 + 0.22 * chance[:, 0, 7]).clip(0.6, 1.4)
    return [
        (outline, scaled(colour, shade)) for outline, shade in zip(outlines, shades.tolist(), strict=True)
    ]


_STEPS = 9
_TAPER = np.interp(np.linspace(0, 1, _STEPS), (0, 0.5, 1), (0.7, 1.0, 0.15))[None, :, None]


def own_hair(image: Image, region: Region) -> Field | None:
    """Where this face's own hair hangs beside the cheeks, as far as its colour tells: (h, w), 0-1.

    Only what reaches in from the side counts, so that brows, lips and shadows do not.

    Returns:
        None where hair is not much darker than skin.
    """
    skin = np.array(skin_of(image, region.face), dtype=np.float32)
    hair = np.array(hair_of(image, region.face), dtype=np.float32)
    axis = hair - skin
    distance = float((axis * axis).sum())
    if distance < 3 * 60**2 or hair.sum() > skin.sum():
        return None
    pixels = region.planes(image)
    along = sum((pixels[band] - skin[band]) * (axis[band] / np.float32(distance)) for band in range(3))
    aside = np.abs(region.x - np.float32(127))
    beyond = aside > 66
    alike = ((along - np.float32(0.66)) * 5).clip(0, 1)
    hanging = np.maximum(alike * ((aside - 30) * np.float32(0.1)).clip(0, 1), beyond)
    middle = int(np.abs(region.x[region.height_px // 2] - 127).argmin())
    # Before the cheeks, what is hair must be hair all the way to the side.
    np.minimum.accumulate(hanging[:, :middle], axis=1, out=hanging[:, :middle])
    outwards = hanging[:, middle:][:, ::-1]
    np.minimum.accumulate(outwards, axis=1, out=outwards)
    return blurred(np.where(beyond, alike, hanging), 0.7 * min(region.face.unit_px, 4.0))

"""Caps, hoods, scarves and collars, often in the colour of the mask, and not part of it.

They train the model not to find occlusions by colour alone.
"""

import numpy as np

from facemend.alignment import Points
from facemend.images import Image
from facemend.occlusion.canvas import (
    Canvas,
    Colour,
    Field,
    Region,
    blurred,
    coverage_of,
    grain,
    look_up,
    noise_table,
    pick,
    region_around,
)
from facemend.occlusion.geometry import FaceGeometry, smooth_outline
from facemend.occlusion.light import Light, scaled
from facemend.occlusion.mask_shapes import MIDDLE, project
from facemend.occlusion.types import Extent, Layer

_HALVES: dict[str, tuple[tuple[float, float], ...]] = {
    "cap": ((0, 14), (34, 20), (56, 40), (66, 68), (68, 96), (34, 92), (0, 90)),
    "surgical cap": ((0, 2), (46, 10), (72, 42), (78, 80), (72, 116), (58, 98), (30, 84), (0, 80)),
    "headband": ((0, 56), (34, 60), (62, 74), (68, 96), (52, 90), (28, 78), (0, 75)),
    "hood": ((0, 4), (48, 12), (80, 56), (90, 120), (92, 190), (98, 250), (112, 330), (0, 330)),
    "scarf": ((0, 252), (26, 248), (48, 238), (66, 232), (76, 262), (104, 330), (0, 330)),
    "collar": ((0, 284), (22, 262), (42, 244), (56, 240), (70, 252), (140, 276), (150, 330), (0, 330)),
}
_OPENING = ((0, 70), (34, 80), (53, 118), (56, 160), (50, 204), (32, 236), (0, 247))
_WEIGHTS = {"cap": 2.0, "surgical cap": 2.4, "headband": 1.0, "hood": 1.6, "scarf": 1.6, "collar": 2.0}


def draw_headwear(
    image: Image, face: FaceGeometry, turn: float, colour: Colour, light: Light, rng: np.random.Generator
) -> tuple[str, Layer | None]:
    """One of them in a colour, as a layer for the occluded picture and the target.

    Args:
        turn: the tangent of the head's yaw.
        colour: of its cloth before light.

    Returns:
        Its name, and None where it lies outside the picture.
    """
    name = pick(rng, _WEIGHTS)
    rigid = face.rigid
    outline = _outline(_HALVES[name], turn, rng)
    region = region_around(rigid, outline, image, 6)
    if region is None:
        return name, None
    coverage = coverage_of(region, outline)
    if name == "hood":
        coverage *= 1 - coverage_of(region, _outline(_OPENING, turn * 0.4, rng))
    canvas = Canvas(region)
    unit_px = min(face.unit_px, 16.0)
    below = np.zeros_like(coverage)
    rows = min(max(1, round(3 * unit_px)), region.height_px - 1)
    below[rows:] = blurred(coverage, 2.5 * unit_px)[:-rows]
    canvas.lay_shadow(image, np.float32(rng.uniform(0.1, 0.45)) * below)
    canvas.lay(coverage, _cloth(region, coverage, colour, light, rng))
    if name == "cap":
        brim = _outline(((0, 84), (40, 88), (64, 98), (50, 103), (0, 106 + rng.uniform(-3, 4))), turn, rng)
        canvas.lay_parts([(brim, scaled(colour, 0.75 * light.exposure))])
    noise = grain(region, rng, rng.uniform(0, 4))
    softness = rng.uniform(0.5, 1.1)
    return name, canvas.finish(image, Extent.PARTIAL, {}, softness=softness, noise=noise)


def _outline(half: tuple[tuple[float, float], ...], turn: float, rng: np.random.Generator) -> Points:
    """Both sides of an outline around the head, somewhat behind the face."""
    points = np.array(half, dtype=np.float64) * (rng.uniform(0.94, 1.1), 1)
    closed = np.concatenate([points, points[-2:0:-1] * (-1, 1)]) + (MIDDLE[0], 0)
    closed = closed + rng.normal(0, 1.2, closed.shape)
    depths = np.interp(closed[:, 1], (60, 120, 240, 280), (-58, -40, -20, -30))
    return smooth_outline(project(np.column_stack([closed, depths]), turn), 5)


def _cloth(
    region: Region, coverage: Field, colour: Colour, light: Light, rng: np.random.Generator
) -> Field:
    """Cloth with folds, lit from one side: (3, h, w)."""
    shift = rng.integers(256, 512, 2).astype(np.float32)
    stretch = rng.uniform(0.3, 1.2, 2).astype(np.float32)
    u, v = region.x * stretch[0] + shift[0], region.y * stretch[1] + shift[1]
    # Folds are lit from above: what rises downwards lies in the dark.
    folds = look_up(noise_table(16), u, v + 3) - look_up(noise_table(16), u, v)
    finer = look_up(noise_table(32), u, v + 2) - look_up(noise_table(32), u, v)
    across = ((region.x - np.float32(MIDDLE[0])) * np.float32(light.right / 90)).clip(-1, 1)
    shade = 1 + np.float32(0.18) * folds + np.float32(0.1) * finer + np.float32(0.15) * across
    shade *= np.float32(0.75) + np.float32(0.25) * blurred(coverage, 6 * min(region.face.unit_px, 8.0))
    thread = look_up(noise_table(128), region.x + 300, region.y * np.float32(1.6) + 300)
    dye = np.array(colour, dtype=np.float32)[:, None, None] + thread * np.float32(rng.uniform(1, 6))
    colours: Field = dye * (shade * np.float32(light.exposure)) * light.tint[:, None, None]
    return colours

"""The benchmark's masks and balaclavas, and what lies over a mask.

A mask is a cut (its outline), a texture (its pattern) and a relief. The light on the face under it lights
the relief's slopes.
"""

from collections.abc import Mapping

import numpy as np

from facemend.alignment import Points
from facemend.images import Image
from facemend.occlusion.canvas import (
    Canvas,
    Colour,
    Field,
    Part,
    blurred,
    coverage_of,
    grain,
    nothing,
    pick,
    region_around,
)
from facemend.occlusion.cloth import RESPIRATORS, Cloth, choose_cloth, lit_dome
from facemend.occlusion.geometry import FaceGeometry, curve, ellipse, line, rounded_box
from facemend.occlusion.light import Light, light_of, scaled, shifted
from facemend.occlusion.mask_shapes import MIDDLE, STYLES, Cut, draw_cut, foreshortening
from facemend.occlusion.objects import draw_grip, draw_strands, hair_colour, own_hair
from facemend.occlusion.textures import BENCHMARK_PATTERNS, PATTERNS, Pattern
from facemend.occlusion.types import Extent, Layer, Parameter

STYLE_WEIGHTS: Mapping[str, float] = {
    "surgical": 30, "cup": 8, "folded": 12, "duckbill": 4, "cloth": 24, "fitted": 12, "gaiter": 6,
    "bandana": 4,
}  # fmt: skip

_OVER = {"nothing": 11.0, "own hair": 5.0, "strands": 1.6, "glasses": 1.2, "fingers": 0.5}


def benchmark_mask(image: Image, face: FaceGeometry, rng: np.random.Generator) -> Layer:
    """A mask in one of the STYLES and BENCHMARK_PATTERNS, 9-20% of a canonical crop. The benchmark's inputs
    are frozen, and so is this drawing. Training draws `worn_masks.textured_mask`."""
    return _draw_mask(image, face, rng, BENCHMARK_PATTERNS)


def balaclava(image: Image, face: FaceGeometry, rng: np.random.Generator) -> Layer:
    """A knitted hood over the whole head with an opening for the eyes, or three holes."""
    cut = draw_cut("balaclava", face, rng)
    cloth = choose_cloth("balaclava", rng, PATTERNS)
    holes = _holes(rng)
    parameters: dict[str, Parameter] = {
        "style": "balaclava",
        "pattern": cloth.texture.name,
        "colour": cloth.texture.mean_colour,
        "holes": len(holes),
    }
    region = region_around(face, cut.outline, image, 6)
    if region is None:
        return nothing(image, Extent.FULL, parameters)
    light = light_of(image, region, rng)
    coverage = coverage_of(region, cut.outline)
    for hole in holes:
        coverage *= 1 - coverage_of(region, hole)
    rim = blurred(coverage, 3.5 * min(face.unit_px, 16.0))
    canvas = Canvas(region)
    parameters["shadow"] = _cast_shadow(canvas, image, rim, light, rng)
    canvas.lay(coverage, lit_dome(region, cut, cloth, light, rim, rng))
    noise = grain(region, rng, rng.uniform(0, 5))
    return canvas.finish(image, Extent.FULL, parameters, softness=rng.uniform(0.35, 0.95), noise=noise)


def _holes(rng: np.random.Generator) -> list[Points]:
    """One slit for both eyes, or a hole for each and one for the mouth."""
    tall, y = rng.uniform(13, 24), 131 + rng.uniform(-3, 6)
    if rng.random() < 0.7:
        return [rounded_box(127 - rng.uniform(46, 54), y - tall, 127 + rng.uniform(46, 54), y + tall, tall)]
    eyes = [ellipse(127 + side * 27, y, rng.uniform(17, 22), tall * 0.8) for side in (-1, 1)]
    return [*eyes, ellipse(127, 192, rng.uniform(20, 30), rng.uniform(9, 14))]


def _draw_mask(
    image: Image, face: FaceGeometry, rng: np.random.Generator, patterns: Mapping[Pattern, float]
) -> Layer:
    style = pick(rng, STYLE_WEIGHTS)
    cut = draw_cut(style, face, rng)
    cloth = choose_cloth(style, rng, patterns)
    straps = _straps(cut, face.nose_shift, rng) if rng.random() < STYLES[style].strapped else []
    parameters: dict[str, Parameter] = {
        "style": style,
        "pattern": cloth.texture.name,
        "colour": cloth.texture.mean_colour,
        "worn": cut.worn,
        "tilt_degrees": round(cut.tilt_degrees, 2),
        "straps": len(straps),
    }
    region = region_around(face, np.concatenate([cut.outline, *straps]), image, 12)
    if region is None:
        return nothing(image, Extent.PARTIAL, parameters)
    light = light_of(image, region, rng)
    coverage = coverage_of(region, cut.outline)
    rim = blurred(coverage, 3.5 * face.unit_px)
    canvas = Canvas(region)
    parameters["shadow"] = _cast_shadow(canvas, image, rim, light, rng)
    if straps:
        _lay_straps(canvas, straps, light, rng)
    canvas.lay(coverage, lit_dome(region, cut, cloth, light, rim, rng))
    _add_parts(canvas, cut, cloth, light, rng, parameters)
    overlay = draw_overlay(canvas, image, face, cut, rng, parameters)
    return canvas.finish(
        image,
        Extent.PARTIAL,
        parameters,
        softness=rng.uniform(0.35, 0.95),
        noise=grain(region, rng, rng.uniform(0, 5)),
        overlay=overlay,
    )


def _cast_shadow(canvas: Canvas, image: Image, rim: Field, light: Light, rng: np.random.Generator) -> float:
    """Darkens the skin along the edge, most on the side away from the light. Returns how much."""
    strength = rng.uniform(0.15, 0.65)
    unit_px = min(canvas.region.face.unit_px, 16.0)
    columns, rows = round(-2.5 * light.right * unit_px), round(rng.uniform(0.5, 3.0) * unit_px)
    shadow = moved(rim, columns, rows)
    canvas.lay_shadow(image, np.float32(strength) * shadow)
    return round(strength, 3)


def moved(field: Field, columns: int, rows: int) -> Field:
    """The field (h, w), moved right and down. What comes in is 0."""
    height, width = field.shape
    result = np.zeros_like(field)
    columns, rows = max(-width, min(width, columns)), max(-height, min(height, rows))
    result[max(rows, 0) : height + min(rows, 0), max(columns, 0) : width + min(columns, 0)] = field[
        max(-rows, 0) : height - max(rows, 0), max(-columns, 0) : width - max(columns, 0)
    ]
    return result


def _straps(cut: Cut, turn: float, rng: np.random.Generator) -> list[Points]:
    """The straps of both sides as polygons: loops around the ears, or bands around the head."""
    around_head = cut.style in RESPIRATORS and rng.random() < 0.4
    width = rng.uniform(1.4, 3.4) if cut.style != "fitted" else rng.uniform(3, 6)
    lifts = rng.uniform(-26, -8), rng.uniform(-34, -4)
    parts = []
    for side, (upper, lower) in zip((-1, 1), cut.corners, strict=True):
        if side * turn > 6:
            continue  # behind the cheek that is turned away
        ear_x = MIDDLE[0] + side * (rng.uniform(66, 76) - 0.4 * side * turn)
        for corner, lift in ((upper, lifts[0]), (lower, lifts[1])):
            end_y = 158 + lift * 0.4 if not around_head else corner[1] + lift
            bend = ((corner[0] + ear_x) / 2, (corner[1] + end_y) / 2 + rng.uniform(-1, 4))
            inner = corner + (np.array(MIDDLE) - corner) * 0.04
            path = curve((inner[0], inner[1]), bend, (ear_x, end_y), 8)
            parts.append(line(path, width))
    return parts


def _lay_straps(canvas: Canvas, straps: list[Points], light: Light, rng: np.random.Generator) -> None:
    colour = pick(rng, {(236, 236, 234): 6.0, (30, 30, 34): 2.0, (176, 204, 226): 1.0, (220, 190, 70): 0.4})
    shade = light.field * np.float32(0.92 * light.exposure)
    canvas.lay_parts([(strap, colour) for strap in straps], shade)


def _add_parts(
    canvas: Canvas,
    cut: Cut,
    cloth: Cloth,
    light: Light,
    rng: np.random.Generator,
    parameters: dict[str, Parameter],
) -> None:
    """Draws what is fixed to a mask: seam, nose clip, stitches, valve, a label."""
    parts: list[Part] = []
    ground = cloth.texture.mean_colour
    dark, bright = scaled(ground, 0.72), scaled(ground, 1.25)
    valve = rng.random() < {"cup": 0.45, "folded": 0.35, "fitted": 0.2, "cloth": 0.06}.get(cut.style, 0.0)
    parameters["valve"] = int(valve)
    if cut.style in ("folded", "fitted") and rng.random() < 0.7:
        path = curve((127, cut.top + 2), (127 + rng.uniform(-1, 1), 190), (127, cut.bottom - 1))
        parts.append((line(path, rng.uniform(0.8, 1.8)), dark))
    if cut.style in ("cup", "folded") and rng.random() < 0.4:
        clip_y = cut.top + rng.uniform(5, 9)
        path = curve((127 - 24, clip_y + 12), (127, clip_y - 10), (127 + 24, clip_y + 12))
        parts.append((line(path, rng.uniform(2.5, 4.5)), (168, 170, 174) if rng.random() < 0.5 else dark))
    if cut.style == "surgical" and rng.random() < 0.5:
        path = cut.outline[np.r_[-14:0, 0:14]] + (0, rng.uniform(4, 7))
        parts.append((line(path, rng.uniform(0.8, 1.6)), scaled(ground, 0.85)))
    if valve:
        parts += draw_valve(ground, rng)
    if rng.random() < 0.12 and cut.style not in ("gaiter", "bandana"):
        x, y = 127 + rng.choice([-1, 1]) * rng.uniform(30, 42), rng.uniform(196, 212)
        parts.append((rounded_box(x - 6, y - 4, x + 6, y + 4, 1), dark if rng.random() < 0.5 else bright))
    canvas.lay_parts(parts, light.field * np.float32(light.exposure))


def draw_valve(ground: Colour, rng: np.random.Generator) -> list[Part]:
    """A round or square exhale valve, in the middle or at a cheek."""
    side = pick(rng, {0: 1.0, -1: 1.5, 1: 1.5})
    x, y, radius = 127 + side * rng.uniform(20, 30), rng.uniform(198, 210), rng.uniform(8, 12.5)
    colours = {scaled(ground, 0.95): 3.0, (236, 236, 234): 3.0, (44, 44, 48): 2.0, (150, 152, 156): 1.0}
    colour = pick(rng, colours)
    square = rng.random() < 0.3
    wide = radius if side == 0 else radius * 0.88
    parts: list[Part] = []
    rings = (
        (1.12, 1.0, scaled(ground, 0.62)),
        (1.0, 0.0, scaled(colour, 0.86)),
        (0.92, -0.6, scaled(colour, 1.1)),
    )
    for share, shift, paint in (*rings, (0.68, 0.0, scaled(colour, 0.78)), (0.6, 0.4, colour)):
        rx, ry, cx, cy = wide * share, radius * share, x + shift, y + shift
        if square:
            parts.append((rounded_box(cx - rx, cy - ry, cx + rx, cy + ry, 2.5), paint))
        else:
            parts.append((ellipse(cx, cy, rx, ry), paint))
    for slot in range(int(rng.integers(0, 4))):
        middle = y + (slot - 1) * radius * 0.36
        outline = rounded_box(x - wide * 0.42, middle - 0.8, x + wide * 0.42, middle + 0.8, 0.8)
        parts.append((outline, scaled(colour, 0.5)))
    return parts


def draw_overlay(
    canvas: Canvas,
    image: Image,
    face: FaceGeometry,
    cut: Cut,
    rng: np.random.Generator,
    parameters: dict[str, Parameter],
    weights: Mapping[str, float] = _OVER,
    rim_colour: Colour | None = None,
) -> Layer | None:
    """What lies over the mask. Its own hair takes from the mask. Anything new is an overlay.

    Args:
        weights: how often each of it lies there.
        rim_colour: what half of the glasses are of. None leaves them black and brown.
    """
    over = pick(rng, weights)
    parameters["over"] = over
    if over == "nothing":
        return None
    if over == "own hair":
        hair = own_hair(image, canvas.region)
        if hair is not None:
            canvas.hide(hair)
        return None
    draw = {"strands": draw_strands_over, "glasses": draw_rims, "fingers": draw_fingers}[over]
    parts = draw(image, face, cut, rng)
    if over == "glasses" and rim_colour is not None and rng.random() < 0.5:
        parts = [(points, rim_colour) for points, _ in parts]
    region = region_around(face, np.concatenate([points for points, _ in parts]), image)
    if region is None:
        return None
    top = Canvas(region)
    top.lay_parts(parts)
    return top.finish(image, Extent.PARTIAL, {}, softness=rng.uniform(0.35, 0.8))


def draw_strands_over(image: Image, face: FaceGeometry, cut: Cut, rng: np.random.Generator) -> list[Part]:
    """Hair that falls over one edge."""
    side = float(rng.choice([-1, 1]))
    start = (127 + side * rng.uniform(50, 68), cut.top - rng.uniform(20, 70))
    end = (127 + side * rng.uniform(34, 66), rng.uniform(185, 250))
    count, spread, width = int(rng.integers(4, 22)), rng.uniform(3, 10), rng.uniform(0.7, 1.7)
    return draw_strands(hair_colour(image, face, rng), start, end, rng, count, spread, width)


def draw_rims(image: Image, face: FaceGeometry, cut: Cut, rng: np.random.Generator) -> list[Part]:
    """The frame of worn glasses, whose lower rims lie on the mask."""
    colour = shifted((40, 36, 36) if rng.random() < 0.7 else (150, 130, 90), rng, 16)
    width, radius_x, radius_y = rng.uniform(1.2, 3.2), rng.uniform(19, 23), rng.uniform(14, 19)
    round_ = rng.random() < 0.4
    parts = [(line(curve((120, 132), (127, 128), (134, 132), 6), width), colour)]
    for side in (-1, 1):
        x, y = 127 + side * 28 * foreshortening(side, face.nose_shift), 134 + rng.uniform(0, 1)
        if round_:
            rim = ellipse(x, y, radius_x, radius_y, 32)
        else:
            rim = rounded_box(x - radius_x, y - radius_y, x + radius_x, y + radius_y, 8)
        parts.append((line(np.concatenate([rim, rim[:1]]), width), colour))
        arm = np.array([(x + side * radius_x, y - 6), (127 + side * 70, y - 8)])
        parts.append((line(arm, width), colour))
    return parts


def draw_fingers(image: Image, face: FaceGeometry, cut: Cut, rng: np.random.Generator) -> list[Part]:
    """A hand that holds the mask's edge."""
    side = float(rng.choice([-1, 1]))
    x = MIDDLE[0] + side * (
        cut.half_width * foreshortening(int(side), face.nose_shift) - rng.uniform(2, 14)
    )
    return draw_grip(image, face, x, rng.uniform(180, 225), side, rng)

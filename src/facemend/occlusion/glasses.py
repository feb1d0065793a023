"""Sunglasses: dark, graded and mirrored lenses in frames of many shapes."""

from collections.abc import Mapping

import numpy as np

from facemend.alignment import Points
from facemend.images import Image
from facemend.occlusion.canvas import (
    Canvas,
    Colour,
    Field,
    Part,
    Region,
    blurred,
    coverage_of,
    grain,
    nothing,
    pick,
    region_around,
)
from facemend.occlusion.geometry import FaceGeometry, curve, line, smooth_outline
from facemend.occlusion.light import light_of, scaled, shifted
from facemend.occlusion.mask_shapes import foreshortening
from facemend.occlusion.types import Extent, Layer, Parameter

_BRIDGE = (127.0, 133.0)

# The right lens around its middle, half width and half height 1, from the upper inner corner clockwise.
_LENSES: Mapping[str, Points] = {
    name: np.array(points, dtype=np.float64)
    for name, points in {
        "aviator": [(-0.9, -0.8), (0.0, -0.95), (0.9, -0.8), (1.0, -0.1), (0.7, 0.75), (0.1, 1.05),
        (-0.6, 0.7), (-0.98, -0.1)],
        "wayfarer": [(-0.95, -0.75), (0.0, -0.9), (1.08, -0.95), (0.98, 0.0), (0.75, 0.8), (0.0, 0.95),
        (-0.7, 0.75), (-0.95, 0.0)],
        "round": [(-0.7, -0.7), (0.0, -1.0), (0.7, -0.7), (1.0, 0.0), (0.7, 0.7), (0.0, 1.0),
        (-0.7, 0.7), (-1.0, 0.0)],
        "rectangle": [(-0.96, -0.8), (0.0, -0.85), (0.96, -0.8), (1.02, 0.0), (0.94, 0.78),
        (0.0, 0.85), (-0.94, 0.78), (-1.0, 0.0)],
        "cat eye": [(-0.9, -0.6), (0.1, -0.8), (1.2, -1.1), (1.05, -0.1), (0.7, 0.7), (0.0, 0.9),
        (-0.7, 0.7), (-0.98, 0.0)],
    }.items()
}  # fmt: skip
_TINTS: Mapping[Colour, float] = {
    (14, 14, 16): 8, (30, 26, 24): 4, (54, 36, 24): 4, (30, 44, 36): 2, (26, 32, 52): 2, (70, 30, 50): 1,
}  # fmt: skip
_MIRRORS: Mapping[Colour, float] = {
    (70, 130, 210): 3, (230, 140, 50): 2, (190, 200, 210): 3, (90, 180, 140): 1.5, (200, 80, 140): 1,
    (220, 190, 90): 1.5,
}  # fmt: skip
_FRAMES: Mapping[Colour, float] = {
    (18, 18, 20): 9, (64, 42, 28): 4, (190, 160, 90): 3, (176, 178, 182): 3, (236, 236, 232): 1.2,
    (170, 30, 40): 1,
    (120, 84, 50): 2, (40, 60, 120): 0.8,
}  # fmt: skip


def sunglasses(image: Image, face: FaceGeometry, rng: np.random.Generator) -> Layer:
    """Sunglasses over both eyes, 3-9% of a canonical crop.

    Lenses that let the eyes through count as occluded as a whole: alpha is what has to be replaced,
    and the paint holds what is seen through them.
    """
    turn, face = face.nose_shift, face.rigid
    shape = pick(
        rng,
        {"aviator": 5.0, "wayfarer": 6.0, "round": 3.0, "rectangle": 4.0, "cat eye": 2.0, "shield": 2.0},
    )
    lens = pick(rng, {"dark": 5.0, "graded": 3.0, "mirrored": 2.5})
    tint = shifted(pick(rng, _MIRRORS if lens == "mirrored" else _TINTS), rng, 10)
    frame = shifted(pick(rng, _FRAMES), rng, 8)
    clear = float(rng.uniform(0.03, 0.4)) if rng.random() < 0.45 else 0.0
    thick = float(rng.choice([0.0, rng.uniform(1.0, 2.2), rng.uniform(2.2, 5.5)], p=[0.12, 0.4, 0.48]))
    parameters: dict[str, Parameter] = {
        "shape": shape, "lens": lens, "colour": tint, "frame": frame, "frame_width": thick, "clear": clear,
    }  # fmt: skip
    lenses = _lens_outlines(shape, turn, rng)
    arms = _arms(lenses, turn, rng, max(thick, 1.6))
    region = region_around(face, np.concatenate([*lenses, *arms]), image, 8)
    if region is None:
        return nothing(image, Extent.PARTIAL, parameters)
    light = light_of(image, region, rng)
    coverage = coverage_of(region, lenses[0])
    if len(lenses) > 1:
        coverage = np.maximum(coverage, coverage_of(region, lenses[1]))
    canvas = Canvas(region)
    _lay_shadow(canvas, image, coverage, rng)
    parts: list[Part] = [(arm, scaled(frame, 0.8)) for arm in arms]
    if thick:
        parts += [(_widened(outline, thick), frame) for outline in lenses]
    canvas.lay_parts(parts, light.field * np.float32(0.5 + 0.5 * light.exposure))
    canvas.lay(coverage, _glass(image, region, lenses, lens, tint, clear, rng))
    canvas.lay_parts(_glints(lenses, frame, thick, rng))
    return canvas.finish(
        image,
        Extent.PARTIAL,
        parameters,
        softness=rng.uniform(0.35, 0.9),
        noise=grain(region, rng, rng.uniform(0, 4)),
    )


def _lens_outlines(shape: str, turn: float, rng: np.random.Generator) -> list[Points]:
    """The lenses as canonical outlines: two, or one of a shield."""
    half_x, half_y = rng.uniform(20, 27.5), rng.uniform(14, 20.5)
    gap, drop = rng.uniform(4, 9), rng.uniform(-2, 6)
    if shape == "rectangle":
        half_y *= 0.8
    if shape == "round":
        half_x = half_y = rng.uniform(16, 22)
        gap = 27 - half_x + rng.uniform(0, 4)
    x, y = _BRIDGE[0], _BRIDGE[1] + drop
    sides = []
    for side in (-1, 1):
        wide = foreshortening(side, turn)
        if shape == "shield":
            right = [
                (0, -0.75),
                (0.5, -0.85),
                (1.0, -0.7),
                (1.1, 0.0),
                (0.85, 0.7),
                (0.45, 0.85),
                (0.12, 0.35),
            ]
            points = np.array(right) * (side * wide * (2 * half_x + gap) * 0.98, half_y) + (x, y)
        else:
            points = _LENSES[shape] * (half_x, half_y) + (gap + half_x, 0)
            points = points * (side * wide, 1) + (x, y)
        sides.append(points)
    if shape == "shield":
        return [smooth_outline(np.concatenate([sides[1], sides[0][:0:-1]]), 5)]
    return [smooth_outline(points, 5) for points in sides]


def _arms(lenses: list[Points], turn: float, rng: np.random.Generator, width: float) -> list[Points]:
    """Bridge and temples as polygons."""
    points = np.concatenate(lenses)
    parts = []
    if len(lenses) > 1:
        left, right = lenses[0][:, 0].max(), lenses[1][:, 0].min()
        y = points[:, 1].min() + rng.uniform(3, 9)
        bridge = curve(
            (left - 3, y + 2), ((left + right) / 2, y - rng.uniform(1, 6)), (right + 3, y + 2), 8
        )
        parts.append(line(bridge, width * rng.uniform(0.8, 1.3)))
    y = points[:, 1].min() + rng.uniform(4, 10)
    for side in (-1, 1):
        if side * turn > 6:
            continue  # behind the turned-away cheek
        start = points[:, 0].max() - 3 if side > 0 else points[:, 0].min() + 3
        end = 127 + side * rng.uniform(66, 76)
        if side * (end - start) > 2:
            parts.append(
                line(
                    curve((start, y), ((start + end) / 2, y), (end, y + rng.uniform(-3, 3)), 6), width * 1.1
                )
            )
    return parts


def _lay_shadow(canvas: Canvas, image: Image, coverage: Field, rng: np.random.Generator) -> None:
    """A faint shadow of the glasses on the cheeks."""
    unit_px = min(canvas.region.face.unit_px, 16.0)
    rows = max(1, round(rng.uniform(1, 4) * unit_px))
    shadow = np.zeros_like(coverage)
    shadow[rows:] = blurred(coverage, 2 * unit_px)[:-rows]
    canvas.lay_shadow(image, np.float32(rng.uniform(0.1, 0.45)) * shadow)


def _glass(
    image: Image,
    region: Region,
    lenses: list[Points],
    lens: str,
    tint: Colour,
    clear: float,
    rng: np.random.Generator,
) -> Field:
    """The colours of the lenses, (3, h, w): tint, reflections, and what shines through."""
    points = np.concatenate(lenses)
    top, bottom = float(points[:, 1].min()), float(points[:, 1].max())
    height = ((region.y - np.float32(top)) * np.float32(1 / max(bottom - top, 1.0))).clip(0, 1)
    glass: Field = np.array(tint, dtype=np.float32)[:, None, None] * np.ones_like(height)
    through: Field = np.full_like(height, clear)
    if lens == "graded":
        through += np.float32(rng.uniform(0.25, 0.65)) * height
        glass *= 1 + np.float32(0.6) * height
    elif lens == "mirrored":
        # A bright sky, a horizon and dark ground, wherever they lie.
        horizon = np.float32(rng.uniform(0.35, 0.75))
        tilt = (region.x - np.float32(127)) * np.float32(rng.normal(0, 0.002))
        edge = (height + tilt - horizon) * np.float32(rng.uniform(4, 14))
        sky: Field = 1 - (edge + np.float32(0.5)).clip(0, 1)
        glass *= np.float32(0.35) + sky * (np.float32(0.4) + np.float32(0.5) * height)
    else:
        glass += np.float32(rng.uniform(0, 50)) * (1 - height) * (1 - height)
    below = region.planes(image)
    mixed: Field = glass + (below * (glass + 90) * np.float32(1.9 / 345) - glass) * through
    return mixed


def _widened(outline: Points, width: float) -> Points:
    """An outline, `width` canonical pixels larger on every side."""
    middle = outline.mean(axis=0)
    larger: Points = middle + (outline - middle) * (1 + width / np.abs(outline - middle).max(axis=0))
    return larger


def _glints(lenses: list[Points], frame: Colour, thick: float, rng: np.random.Generator) -> list[Part]:
    """Light on the rims and, now and then, on the glass."""
    parts: list[Part] = []
    bright = scaled(frame, 1.35) if sum(frame) > 120 else (66, 66, 70)
    if thick > 1.5:
        for outline in lenses:
            upper = outline[np.argsort(outline[:, 1])[:8]]
            upper = upper[np.argsort(upper[:, 0])] - (0, 0.6 * thick)
            parts.append((line(upper, 0.25 * thick), bright))
    if rng.random() < 0.15:
        x, width, length = rng.uniform(-12, 12), rng.uniform(0.8, 3.5), rng.uniform(4, 9)
        shine = scaled((206, 210, 216), rng.uniform(0.5, 1.1))
        for outline in lenses:
            start = outline.mean(axis=0) + (x, -length)
            path = curve(
                (start[0] + 5, start[1]), (start[0], start[1] + 4), (start[0] - 3, start[1] + length), 6
            )
            parts.append((line(path, width), shine))
    return parts

"""Straps of masks and what is fixed to them: loops, bands, valves, wires, seams, letters."""

from dataclasses import dataclass

import numpy as np

from facemend.alignment import Points
from facemend.images import Image
from facemend.occlusion.canvas import Colour, Part, Sketch, pick
from facemend.occlusion.cloth import RESPIRATORS
from facemend.occlusion.geometry import FaceGeometry, curve, ellipse, line, rounded_box
from facemend.occlusion.light import cloth_colour, scaled, shifted, skin_of
from facemend.occlusion.mask_shapes import MIDDLE, STYLES, Cut, Surface, project
from facemend.occlusion.masks import draw_valve
from facemend.occlusion.textures import WORDS


@dataclass(frozen=True)
class Straps:
    """The straps of a mask.

    Attributes:
        how: "loops" around the ears, "bands" around the head, or "ties".
        paths: middle lines, canonical points as seen (N, 2) each.
        width: canonical pixels.
        kind: "flat", "thin", "twisted", "double" or "clear".
    """

    how: str
    paths: list[Points]
    width: float
    kind: str


def draw_straps(surface: Surface, cut: Cut, rng: np.random.Generator) -> Straps:
    """Draws the straps of both sides, as far as the turned head shows them."""
    around = {"cup": 0.7, "folded": 0.3, "duckbill": 0.7, "surgical": 0.12, "cloth": 0.1}.get(
        cut.style, 0.0
    )
    how = "loops" if rng.random() >= around else ("bands" if cut.style in RESPIRATORS else "ties")
    chance = STYLES[cut.style].strapped
    if rng.random() >= chance + 0.25 * (chance > 0):
        return Straps("none", [], 0.0, "flat")
    kind = pick(rng, {"flat": 4, "thin": 5, "twisted": 1.2, "double": 0.6, "clear": 0.7})
    width = {"flat": rng.uniform(2.4, 5.5), "twisted": rng.uniform(2.2, 4)}.get(kind, rng.uniform(1.3, 2.6))
    if cut.style == "fitted" and how == "loops":
        kind, width = "flat", rng.uniform(5, 12)
    ear_x, ear_z = rng.uniform(60, 71), -rng.uniform(66, 86)
    ends = {
        "loops": ((ear_x, rng.uniform(124, 140), ear_z), (ear_x - 2, rng.uniform(156, 172), ear_z)),
        "bands": ((ear_x + 4, rng.uniform(96, 122), -100), (ear_x - 4, rng.uniform(172, 200), -100)),
        "ties": ((ear_x + 4, rng.uniform(84, 116), -100), (ear_x - 4, rng.uniform(180, 212), -100)),
    }[how]
    if cut.style == "fitted" and how == "loops":
        ends = ((ear_x, rng.uniform(138, 150), ear_z), (ear_x - 1, rng.uniform(158, 168), ear_z))
    sag = rng.uniform(-2, 5)
    paths = []
    for side, corners in zip((-1, 1), cut.corners, strict=True):
        starts = surface.project(MIDDLE + (corners - MIDDLE) * 0.95)
        for (x, y, z), start in zip(ends, starts, strict=True):
            jitter = rng.normal(0, 2, 3)
            end = project(np.array([(MIDDLE[0] + side * x, y, z)]) + jitter, surface.turn)[0]
            if side * (end[0] - start[0]) < 3:
                continue  # behind the far cheek
            # Over the cheek's curve a strap bows away from the middle.
            bend = start + (end - start) * 0.55 + (side * 2.0, sag + 0.02 * abs(end[0] - start[0]))
            paths.append(curve((start[0], start[1]), (bend[0], bend[1]), (end[0], end[1]), 10))
    return Straps(how, paths, width, kind)


def strap_colour(cut: Cut, ground: Colour, rng: np.random.Generator) -> Colour:
    """The colour of straps before light. `ground` is the cloth's."""
    if cut.style == "fitted":  # cut out of one piece
        return scaled(ground, 0.94)
    colours = {
        "white": 6.0, "black": 3.0, "own": 3.5, "yellow": 0.5, "blue": 0.7, "any": 0.5,
    }  # fmt: skip
    name = pick(rng, colours)
    if name == "own":
        return shifted(scaled(ground, rng.uniform(0.85, 1.1)), rng, 8)
    if name == "any":
        return cloth_colour(rng)[0]
    fixed = {
        "white": (238, 238, 236),
        "black": (26, 26, 30),
        "yellow": (222, 186, 60),
        "blue": (170, 204, 228),
    }
    return shifted(fixed[name], rng, 8)


def draw_strap_parts(straps: Straps, dye: Colour, side: int, rng: np.random.Generator) -> list[Part]:
    """The straps of one side (0 left, -1 right) as polygons, with dark edges, turns, knots, adjusters."""
    parts: list[Part] = []
    dark, bright = scaled(dye, 0.72), scaled(dye, 1.06)
    for path in straps.paths:
        if (path[-1, 0] > path[0, 0]) != (side == -1):
            continue
        width: float | Points = straps.width
        if straps.kind == "twisted":
            turns = rng.uniform(0, 1) + np.linspace(0, rng.uniform(1, 3), len(path))
            width = straps.width * (0.35 + 0.65 * np.abs(2 * (turns % 1) - 1))
        if straps.kind == "double":
            apart = np.linspace(0, rng.uniform(-4, 4), len(path))[:, None] * (0, 1)
            parts.append((line(path + apart, straps.width * 0.8), scaled(dye, 0.94)))
        parts.append((line(path, width), dark if straps.width > 2.2 else bright))
        if straps.width > 2.2:
            parts.append((line(path + (0, -0.15 * straps.width), np.asarray(width) * 0.68), bright))
        if rng.random() < 0.12:
            x, y = path[int(rng.integers(2, 7))].tolist()
            size = min(straps.width, 2.6) * rng.uniform(0.8, 1.4)
            if rng.random() < 0.5:
                parts.append((ellipse(x, y, size, size, 12), scaled(dye, 0.9)))
            else:
                parts.append((rounded_box(x - size, y - 1.2 * size, x + size, y + 1.2 * size, 1), dark))
    return parts


def draw_gap(surface: Surface, cut: Cut, ground: Colour, rng: np.random.Generator) -> list[Part]:
    """A dark opening between a side edge and the cheek, where a loose mask stands off it."""
    parts: list[Part] = []
    inside = scaled(ground, rng.uniform(0.25, 0.6))
    for side, corners in zip((-1, 1), cut.corners, strict=True):
        if side * surface.turn > 0.25 or rng.random() < 0.4:
            continue
        upper, lower = surface.project(MIDDLE + (corners - MIDDLE) * 0.97)
        bulge = (upper + lower) / 2 + (side * rng.uniform(3, 12), 0)
        path = curve((upper[0], upper[1]), (bulge[0], bulge[1]), (lower[0], lower[1]), 9)
        inner = (upper + lower) / 2 - (side * 6, 0)
        parts.append((np.concatenate([path, inner[None]]), inside))
    return parts


def draw_fixtures(
    surface: Surface, cut: Cut, ground: Colour, pleats: list[float], rng: np.random.Generator
) -> tuple[list[Part], bool]:
    """Seam, wire, welded bands, stitches, valve and label as seen, and whether there is a valve."""
    parts: list[Part] = []
    dark, bright = scaled(ground, rng.uniform(0.68, 0.86)), scaled(ground, 1.18)
    has_valve = rng.random() < {"cup": 0.4, "folded": 0.35, "fitted": 0.35, "cloth": 0.12}.get(
        cut.style, 0.0
    )
    if cut.style in ("folded", "fitted", "cloth") and rng.random() < 0.7:
        path = curve((127, cut.top + 2), (127 + rng.uniform(-1, 1), 190), (127, cut.bottom - 1))
        parts.append((line(path, rng.uniform(0.7, 1.6)), dark))
        if rng.random() < 0.4:
            parts.append((line(path + (rng.uniform(1.5, 3), 0), 0.7), bright))
    if cut.style in ("cup", "folded", "surgical", "duckbill") and rng.random() < 0.45:
        y, wide = cut.top + rng.uniform(4, 8), rng.uniform(16, 27)
        drop = rng.uniform(5, 11)
        path = curve((127 - wide, y + drop), (127, y - drop), (127 + wide, y + drop))
        metal = (172, 174, 178) if rng.random() < 0.4 and cut.style != "surgical" else dark
        parts.append((line(path, rng.uniform(2.2, 4.5)), metal))
        parts.append((line(path - (0, 0.8), 0.9), scaled(metal, 1.25)))
    if pleats and rng.random() < 0.7:
        parts += _pleat_lines(cut, pleats, ground, rng)
    if rng.random() < 0.55:
        parts += _stitches(cut, scaled(ground, rng.uniform(0.72, 0.92)), rng)
    if has_valve:
        parts += draw_valve(ground, rng)
        if rng.random() < 0.25 and cut.style in ("fitted", "cloth"):
            parts += [(points * (-1, 1) + (2 * MIDDLE[0], 0), colour) for points, colour in parts[-7:]]
    if rng.random() < 0.12 and cut.style not in ("gaiter", "bandana"):
        x, y = 127 + rng.choice([-1, 1]) * rng.uniform(30, 46), rng.uniform(186, 212)
        label = rounded_box(x - 6, y - 4, x + 6, y + 4, 1)
        parts.append((label, dark if rng.random() < 0.5 else bright))
    return _all_seen(surface, parts), has_valve


def _all_seen(surface: Surface, parts: list[Part]) -> list[Part]:
    """Parts on the frontal mask as the camera sees them."""
    if not parts:
        return []
    placed = surface.project(np.concatenate([points for points, _ in parts]))
    ends = np.cumsum([len(points) for points, _ in parts])
    return [
        (outline, colour) for outline, (_, colour) in zip(np.split(placed, ends[:-1]), parts, strict=True)
    ]


def _pleat_lines(cut: Cut, pleats: list[float], ground: Colour, rng: np.random.Generator) -> list[Part]:
    """Thin dark lines where pleats fall, each with a light one above it. Now and then broken off."""
    parts: list[Part] = []
    factor = rng.uniform(0.76, 0.93)
    for height in pleats:
        left, right = (side * cut.half_width * rng.uniform(0.75, 0.97) for side in (-1, 1))
        if rng.random() < 0.2:
            left, right = (
                (left, right * rng.uniform(-0.2, 0.5)) if rng.random() < 0.5 else (left * 0.1, right)
            )
        ends = rng.normal(0, 1.6, 3)
        path = curve(
            (127 + left, height + ends[0]), (127, height + 2 * ends[1]), (127 + right, height + ends[2]), 9
        )
        width = np.interp(np.linspace(0, 1, 9), (0, 0.5, 1), rng.uniform(0.5, 2.0, 3))
        parts.append((line(path + (0, -1.2), width * 0.8), scaled(ground, 1.06)))
        parts.append((line(path + (0, 0.4), width), scaled(ground, factor)))
    return parts


def _stitches(cut: Cut, colour: Colour, rng: np.random.Generator) -> list[Part]:
    """A line that runs inside the whole edge or only along the top: sewn in dashes, or welded."""
    inset = cut.outline + (np.array([127.0, (cut.top + cut.bottom) / 2]) - cut.outline) * rng.uniform(
        0.06, 0.13
    )
    if cut.style == "surgical" or rng.random() < 0.4:
        inset = inset[np.r_[-16:0, 0:16]]
    width = rng.uniform(0.6, 1.3)
    if rng.random() < 0.6:
        return [(line(inset, width), colour)]
    across = (inset[1::2] - inset[: len(inset) // 2 * 2 : 2])[:, ::-1] * (-1, 1)
    length = np.maximum(np.hypot(across[:, :1], across[:, 1:]), 1e-6)
    aside = across / length * (width / 2)
    starts, ends = inset[: len(inset) // 2 * 2 : 2], inset[1::2]
    corners = np.stack([starts + aside, ends + aside, ends - aside, starts - aside], axis=1)
    return [(dash, colour) for dash in corners]


_MARKS = ("N95", "KN95", "FFP2", "3M", "NIOSH", "CE 2797", "GB2626", "KF94", "MED", "PRO")


def write_marks(
    sketch: Sketch, surface: Surface, cut: Cut, ground: Colour, rng: np.random.Generator
) -> str:
    """Prints a brand, a block of small letters or a word onto the cloth. Returns the first of them."""
    chance = {"folded": 0.35, "cup": 0.45, "duckbill": 0.3, "fitted": 0.3, "cloth": 0.12}.get(
        cut.style, 0.04
    )
    if rng.random() >= chance:
        return ""
    ink = scaled(ground, 0.45) if sum(ground) > 330 else shifted((215, 215, 215), rng, 25)
    if rng.random() < 0.25:
        ink = shifted(pick(rng, {(190, 40, 50): 1, (40, 70, 160): 2, (235, 190, 60): 1}), rng, 20)
    sewn = cut.style in ("cloth", "fitted")
    lines, size = (1, rng.uniform(7, 16)) if sewn else (int(rng.integers(1, 5)), rng.uniform(5, 8.5))
    near = -1.0 if surface.turn > 0 else 1.0
    x = MIDDLE[0] + (near if rng.random() < 0.8 else -near) * rng.uniform(10, 32)
    y = rng.uniform(182, 206)
    names = WORDS if sewn else _MARKS
    words = [names[int(rng.integers(len(names)))] for _ in range(lines)]
    places = surface.project(np.array([(x, y + number * size * 1.05) for number in range(lines)]))
    for text, at in zip(words, places.tolist(), strict=True):
        sketch.text((at[0], at[1]), text, size, ink)
    return words[0]


def clear_colour(image: Image, face: FaceGeometry) -> Colour:
    """Elastic that lets the skin through: a little lighter than it."""
    r, g, b = skin_of(image, face)
    return (r + 230) // 2, (g + 230) // 2, (b + 232) // 2

"""The cloth of masks: materials, relief and light.

The benchmark's masks and balaclavas are a dome that is seen from the front (`lit_dome`). Masks for training
lie on a `Surface` around the head (`lit_surface`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from facemend.images import Image
from facemend.occlusion.canvas import Colour, Field, Region, look_up, noise_table, pick
from facemend.occlusion.geometry import FaceGeometry
from facemend.occlusion.light import Light, average_colour, cloth_colour, light_of, shifted, skin_of
from facemend.occlusion.mask_shapes import MIDDLE, Cut, Surface
from facemend.occlusion.textures import BENCHMARK_PATTERNS, Pattern, Texture, one_colour

_SURGICAL_COLOURS: Mapping[Colour, float] = {
    (168, 206, 230): 9, (140, 192, 222): 6, (196, 222, 236): 5, (240, 241, 242): 7, (150, 208, 204): 3,
    (90, 174, 150): 2, (42, 142, 120): 1, (238, 178, 198): 1.5, (36, 36, 40): 4, (186, 174, 218): 1.5,
}  # fmt: skip
_RESPIRATOR_COLOURS: Mapping[Colour, float] = {
    (242, 242, 240): 12, (228, 224, 214): 4, (208, 212, 216): 3, (150, 152, 156): 1.5, (46, 46, 50): 2.5,
    (170, 202, 226): 1.5, (214, 190, 158): 1, (240, 200, 212): 0.7,
}  # fmt: skip
RESPIRATORS = ("cup", "folded", "duckbill")
_RELIEF_STEP = 3.0
"""Canonical pixels between the points that a relief is made of. It is smooth."""


@dataclass(frozen=True)
class Cloth:
    """What a mask is made of.

    Attributes:
        edge: colour of a sewn or welded edge. None for no edge.
        pleats: horizontal folds.
        weave: strength of the threads' grain, levels.
        folds: strength of the creases.
    """

    texture: Texture
    edge: Colour | None
    pleats: int
    weave: float
    folds: float


def choose_cloth(style: str, rng: np.random.Generator, patterns: Mapping[Pattern, float]) -> Cloth:
    """Draws what a mask of a style is made of. paper, felt and cloth differ.

    Args:
        style: a key of STYLES.
        patterns: what cloth is printed with, by weight.
    """
    # Paper masks are of one colour, but for a few printed ones (in the benchmark every mask is).
    printed = rng.random() < (1.0 if patterns is BENCHMARK_PATTERNS else 0.08)
    if style == "surgical":
        colour = shifted(pick(rng, _SURGICAL_COLOURS), rng, 12)
        texture = pick(rng, patterns)(rng) if printed else one_colour(colour)
        edge = (240, 240, 238) if rng.random() < 0.35 else None
        return Cloth(texture, edge, int(rng.integers(2, 5)), rng.uniform(0, 5), rng.uniform(0.3, 1.0))
    if style in RESPIRATORS:
        colour = shifted(pick(rng, _RESPIRATOR_COLOURS), rng, 8)
        texture = pick(rng, patterns)(rng) if printed else one_colour(colour)
        return Cloth(texture, None, 0, rng.uniform(1, 6), rng.uniform(0.1, 0.5))
    texture = pick(rng, patterns)(rng)
    edge = cloth_colour(rng)[0] if rng.random() < 0.2 else None
    pleats = int(rng.integers(2, 4)) if style == "cloth" and rng.random() < 0.3 else 0
    heavy = 1.0 if style in ("gaiter", "bandana", "balaclava") else 0.4
    return Cloth(texture, edge, pleats, rng.uniform(2, 10), rng.uniform(heavy, heavy + 0.7))


def lit_dome(
    region: Region, cut: Cut, cloth: Cloth, light: Light, rim: Field, rng: np.random.Generator
) -> Field:
    """The colours of a dome-shaped mask, (3, h, w)."""
    step = max(1, round(_RELIEF_STEP * min(region.face.unit_px, 8.0)))
    coarse = region.coarse(step)
    relief = _dome_relief(coarse, cut, cloth, rng)
    if min(relief.shape) < 2:
        slope_y = slope_x = np.zeros_like(relief)
    else:
        spacing = step / region.face.unit_px
        slope_y, slope_x = (slope.clip(-3, 3) for slope in np.gradient(relief, spacing))
    gain = np.float32(rng.uniform(0.3, 0.6))
    lit = 1 - gain * (slope_x * np.float32(light.right) + slope_y * np.float32(light.below))
    # A slope of any direction sees less of the sky.
    lit -= np.float32(0.1) * (slope_x * slope_x + slope_y * slope_y)
    shade = region.stretch(lit.clip(0.4, 1.45).astype(np.float32)) * light.field
    shade *= 1 - np.float32(rng.uniform(0.1, 0.35)) * (1 - rim).clip(0, 0.5) * 2
    across = ((region.x - np.float32(MIDDLE[0])) * np.float32(1 / 66)).clip(-1.2, 1.2)
    # The cloth lies around the cheeks: seen from the front its pattern narrows there (arcsin, in short).
    u = 66 * across * (1 + across * across * np.float32(0.18))
    v = region.y - np.float32(MIDDLE[1])
    if cloth.texture.tile.size > 3:
        u = u + region.stretch(slope_x.astype(np.float32)) * np.float32(1.6)
        v = v + region.stretch(slope_y.astype(np.float32)) * np.float32(1.6)
        centred = cloth.texture.name in ("logo", "mouth")
        shift_u, shift_v = (70.0, 70.0) if centred else rng.uniform(0, 64, 2) + 256
        colours = cloth.texture.colours(
            u + np.float32(shift_u), v + np.float32(shift_v), region.face.unit_px
        )
    else:
        colours = _planes(cloth.texture.mean_colour) * np.ones_like(u)
    if cloth.edge is not None:
        colours += (_planes(cloth.edge) - colours) * ((np.float32(0.72) - rim) * 8).clip(0, 1)
    thread = look_up(noise_table(128), u * np.float32(0.8) + 300, v * np.float32(1.6) + 300)
    colours += thread * np.float32(cloth.weave)
    colours *= shade * np.float32(light.exposure)
    colours *= light.tint[:, None, None]
    return colours


def _planes(colour: Colour) -> Field:
    """One colour as (3, 1, 1)."""
    return np.array(colour, dtype=np.float32)[:, None, None]


def _dome_relief(region: Region, cut: Cut, cloth: Cloth, rng: np.random.Generator) -> Field:
    """How far a dome of cloth stands out, canonical pixels, over a coarse region (h, w)."""
    dx, dy = region.x - np.float32(MIDDLE[0]), region.y - np.float32(MIDDLE[1])
    nx, ny = dx * np.float32(1 / cut.half_width), dy * np.float32(1 / 54)
    dome = {"cup": 26.0, "folded": 16.0, "duckbill": 12.0}.get(cut.style, 15.0) * rng.uniform(0.8, 1.3)
    relief: Field = np.float32(dome) * (1 - nx * nx) * (1 - np.float32(0.6) * ny * ny)
    # The nose: a ridge from the bridge that ends under its tip.
    ridge = 1 / (1 + (dx * np.float32(1 / 10)) ** 2)
    relief += np.float32(rng.uniform(4, 9)) * ridge * ((176 - region.y) * np.float32(1 / 28)).clip(0, 1)
    if cut.style in ("folded", "fitted") or (cut.style == "cloth" and rng.random() < 0.35):
        relief -= np.float32(rng.uniform(0.12, 0.35)) * np.abs(dx).clip(0, 30)
    if cut.style == "duckbill":
        relief -= np.float32(rng.uniform(0.3, 0.6)) * np.abs(dy - np.float32(rng.uniform(-4, 8)))
    if cut.style in ("gaiter", "bandana"):
        # Cloth that hangs from nose and chin falls in long folds.
        sag = np.float32(rng.uniform(0.0016, 0.004)) * dx * dx
        wave = look_up(
            noise_table(32), np.full_like(dx, rng.integers(256)), (dy + sag) * np.float32(1.1) + 512
        )
        relief += (
            np.float32(rng.uniform(1.5, 4.0)) * wave * ((region.y - 165) * np.float32(1 / 30)).clip(0, 1)
        )
    for number in range(cloth.pleats):
        height = cut.top + (cut.bottom - cut.top) * (number + 1 + rng.uniform(-0.15, 0.15)) / (
            cloth.pleats + 1.4
        )
        bow = np.float32(rng.uniform(0.001, 0.004))
        below = region.y - np.float32(height) - 8 + bow * dx * dx
        # A pleat swells slowly and falls at once: a lit lip with a dark line under it.
        swell = (1 + below * np.float32(1 / 16)).clip(0, 1) * (1 - below * np.float32(1 / 3.5)).clip(0, 1)
        relief += np.float32(rng.uniform(1.4, 3.0)) * swell
    relief += _dome_creases(region, cut, cloth.folds, rng)
    return relief


def _dome_creases(region: Region, cut: Cut, strength: float, rng: np.random.Generator) -> Field:
    """Folds that run out from where the straps pull, and dents all over."""
    table = noise_table(64)
    total: Field = np.zeros_like(region.x)
    for side in (0, 1):
        corner = cut.corners[side].mean(axis=0)
        away = np.abs(region.x - np.float32(corner[0]))
        slope = (region.y - np.float32(corner[1])) / (away + 14)
        row = np.full_like(slope, rng.integers(256)) + away * np.float32(0.06)
        wave = look_up(table, slope.clip(-6, 6) * 34 + 512, row + 256)
        near = (1 - away * np.float32(1 / rng.uniform(40, 75))).clip(0, 1)
        total += np.float32(1.7 * strength) * wave * near * (away * np.float32(1 / 12)).clip(0, 1)
    u, v = (int(x) for x in rng.integers(256, 512, 2))
    stretch_x, stretch_y = rng.uniform(0.5, 1.3, 2)
    dents = look_up(
        noise_table(8), region.x * np.float32(stretch_x) + u, region.y * np.float32(stretch_y) + v
    )
    finer = look_up(
        noise_table(32), region.x * np.float32(stretch_y) + v, region.y * np.float32(stretch_x) + u
    )
    total += np.float32(strength) * (np.float32(1.8) * dents + np.float32(0.5) * finer)
    return total


_NEAR_SKIN: dict[Colour, float] = {
    (222, 184, 150): 3, (232, 170, 140): 2, (240, 190, 190): 2, (150, 104, 76): 2, (196, 150, 120): 2,
    (128, 120, 116): 2, (92, 64, 50): 1.5, (178, 160, 150): 1, (236, 214, 196): 1.5,
}  # fmt: skip
_REDS: dict[Colour, float] = {
    (226, 60, 110): 2, (236, 100, 140): 2, (204, 40, 44): 2, (190, 70, 60): 1.5, (240, 130, 110): 1.5,
    (150, 40, 50): 1,
}  # fmt: skip
_HUES = {
    "usual": 10, "skin": 0.9, "near skin": 1.6, "red": 1.1, "clothes": 1.1, "head": 0.6, "background": 0.9,
}  # fmt: skip
_CLOTHES = np.array([(30, 250), (222, 250), (70, 252), (186, 252)], dtype=np.float64)
_HEAD = np.array([(127, 40), (100, 34), (154, 34)], dtype=np.float64)
_BACKGROUND = np.array([(10, 70), (246, 70), (12, 170), (244, 170)], dtype=np.float64)


def choose_hue(
    image: Image, face: FaceGeometry, light: Light, rng: np.random.Generator
) -> tuple[str, Colour | None]:
    """A colour that is hard to tell from what lies beside the mask; most often None.

    Returns:
        Where the colour comes from, and the dye that looks like it in this light.
    """
    source = pick(rng, _HUES)
    if source == "usual":
        return source, None
    if source == "near skin":
        return source, shifted(pick(rng, _NEAR_SKIN), rng, 14)
    if source == "red":
        return source, shifted(pick(rng, _REDS), rng, 16)
    if source == "skin":
        found: Colour | None = skin_of(image, face)
    else:
        places = {"clothes": _CLOTHES, "head": _HEAD, "background": _BACKGROUND}[source]
        place = places[int(rng.integers(len(places)))][None]
        found = average_colour(image, face, place, 3)
    if found is None:
        return source, shifted(pick(rng, _NEAR_SKIN), rng, 14)
    return source, shifted(unlit(found, light), rng, 14)


def unlit(colour: Colour, light: Light) -> Colour:
    """The dye that has this colour in the picture's light."""
    gains = [light.exposure * float(tint) for tint in light.tint]
    r, g, b = (min(255, round(value / gain)) for value, gain in zip(colour, gains, strict=True))
    return r, g, b


def dyed(cloth: Cloth, colour: Colour) -> Cloth:
    """The same cloth in one colour."""
    return replace(cloth, texture=one_colour(colour))


def worn_light(image: Image, region: Region, rng: np.random.Generator) -> Light:
    """The light on a mask over a region.

    A dark face in a bright photo does not mean little light: the brightest things in it also count. Skin in
    a colour that skin never has shows the colour of the light.
    """
    light = light_of(image, region, rng)
    bright = np.sort(image[::16, ::16, 1], axis=None)
    brightest = float(bright[int(0.97 * (len(bright) - 1))]) / 255
    exposure = light.exposure + rng.uniform(0.2, 1.0) * max(0.0, 0.95 * brightest - light.exposure)
    # Not `skin_of`: it takes skin in blue light for something else.
    skin = average_colour(image, region.face, _CHEEKS, 4) or (200, 160, 130)
    red, blue = (max(skin[band], 8) / max(skin[1], 8) for band in (0, 2))
    cast = np.array([red / min(max(red, 1.05), 1.6), 1.0, blue / min(max(blue, 0.5), 0.95)])
    cast = (1 + (cast - 1) * rng.uniform(0.5, 1.0)).clip(0.4, 2.5)
    tint = light.tint * (cast / cast.max()).astype(np.float32)
    return replace(light, exposure=exposure, tint=tint)


_CHEEKS = np.array([(127, 112), (104, 150), (150, 150)], dtype=np.float64)


def lit_surface(
    region: Region,
    surface: Surface,
    cut: Cut,
    cloth: Cloth,
    pleats: list[float],
    light: Light,
    rim: Field,
    rng: np.random.Generator,
) -> tuple[Field, Field]:
    """The colours of the mask, (3, h, w), and how its relief and the light change a dye, (3, h, w).

    Args:
        pleats: heights of level folds, canonical pixels.
        rim: the mask's coverage, blurred: about a half at its edge.
    """
    step = max(1, round(_RELIEF_STEP * min(region.face.unit_px, 8.0)))
    coarse = region.coarse(step)
    along, near = surface.unrolled(coarse.x, coarse.y)
    relief = near + _surface_relief(along, coarse.y, cut, cloth, pleats, rng)
    if min(relief.shape) < 2:
        slope_y = slope_x = np.zeros_like(relief)
    else:
        spacing = step / region.face.unit_px
        slope_y, slope_x = (slope.clip(-2.5, 2.5) for slope in np.gradient(relief, spacing))
    gain = np.float32(rng.uniform(0.12, 0.5))
    lit = 1 - gain * (slope_x * np.float32(light.right) + slope_y * np.float32(light.below))
    lit -= np.float32(rng.uniform(0.02, 0.08)) * (slope_x * slope_x + slope_y * slope_y)
    shade = region.stretch(lit.clip(0.42, 1.35).astype(np.float32)) * light.field
    shade *= 1 - np.float32(rng.uniform(0, 0.22)) * (1 - rim).clip(0, 0.5) * 2
    shade *= np.float32(light.exposure)
    lit_dye = shade * light.tint[:, None, None]
    v = region.y - np.float32(MIDDLE[1])
    if cloth.texture.tile.size <= 3:
        u, colours = region.x, _planes(cloth.texture.mean_colour)
    else:
        u = region.stretch(along)
        shifted_v = v + region.stretch(slope_y.astype(np.float32)) * np.float32(1.6)
        colours = _printed(region, cloth, u, shifted_v, rng)
    if cloth.edge is not None:
        edge = ((np.float32(0.72) - rim) * 8).clip(0, 1)
        colours = colours + (_planes(cloth.edge) - colours) * edge
    thread = look_up(noise_table(128), u * np.float32(0.8) + 300, v * np.float32(1.6) + 300)
    return (colours + thread * np.float32(0.8 * cloth.weave)) * lit_dye, lit_dye


def _printed(region: Region, cloth: Cloth, u: Field, v: Field, rng: np.random.Generator) -> Field:
    """The pattern at cloth coordinates, (3, h, w)."""
    centred = cloth.texture.name in ("logo", "mouth")
    shift_u, shift_v = (70.0, 70.0) if centred else rng.uniform(0, 64, 2) + 256
    return cloth.texture.colours(u + np.float32(shift_u), v + np.float32(shift_v), region.face.unit_px)


def _surface_relief(
    u: Field, y: Field, cut: Cut, cloth: Cloth, pleats: list[float], rng: np.random.Generator
) -> Field:
    """How far the cloth stands out of its smooth surface, canonical pixels, at (u, y): (h, w)."""
    # The nose: a ridge from the bridge that ends under its tip.
    ridge = 1 / (1 + (u * np.float32(1 / 11)) ** 2)
    relief: Field = np.float32(rng.uniform(3, 8)) * ridge * ((180 - y) * np.float32(1 / 30)).clip(0, 1)
    if cut.style in ("folded", "fitted") or (cut.style == "cloth" and rng.random() < 0.35):
        # A seam along the middle line, soft at its edge.
        relief -= np.float32(rng.uniform(0.04, 0.22)) * np.sqrt(u * u + 12).clip(0, 30)
    if cut.style == "duckbill":
        relief -= np.float32(rng.uniform(0.25, 0.5)) * np.abs(
            y - np.float32(MIDDLE[1] + rng.uniform(-4, 8))
        )
    if cut.style in ("gaiter", "bandana"):
        sag = np.float32(rng.uniform(0.0016, 0.004)) * u * u
        column = np.full_like(u, rng.integers(256))
        wave = look_up(noise_table(32), column, (y - MIDDLE[1] + sag) * np.float32(1.1) + 512)
        hanging = ((y - 165) * np.float32(1 / 30)).clip(0, 1)
        relief += np.float32(rng.uniform(1.5, 4.0)) * wave * hanging
    relief += _pleats(u, y, pleats, rng)
    relief += _surface_creases(u, y, cut, cloth.folds, rng)
    return relief


def draw_pleats(cut: Cut, count: int, rng: np.random.Generator) -> list[float]:
    """Heights of level folds at the middle line, canonical pixels."""
    shares = (np.arange(count) + 0.9 + rng.uniform(-0.15, 0.15, count)) / (count + 1.0)
    heights: list[float] = (cut.top + (cut.bottom - cut.top) * shares).tolist()
    return heights


def _pleats(u: Field, y: Field, heights: list[float], rng: np.random.Generator) -> Field:
    """Level folds: each swells slowly and falls at once. They open towards the middle."""
    total = np.zeros_like(u)
    open_ = 1 - np.float32(rng.uniform(0, 0.6)) / (1 + (u * np.float32(1 / 26)) ** 2)
    for height in heights:
        below = y - np.float32(height)
        swell = (1 + below * np.float32(1 / 14)).clip(0, 1) * (1 - below * np.float32(1 / 3.2)).clip(0, 1)
        total += np.float32(rng.uniform(1.0, 3.2)) * swell * open_
    return total


def _surface_creases(u: Field, y: Field, cut: Cut, strength: float, rng: np.random.Generator) -> Field:
    """Folds that run out from where the straps pull, sharp wrinkles, and dents all over."""
    table = noise_table(64)
    total: Field = np.zeros_like(u)
    half = cut.half_width + 14
    for side in (-1, 1):
        away = np.abs(u - np.float32(side * half))
        slope = (y - np.float32(cut.corners[(side + 1) // 2, :, 1].mean())) / (away + 14)
        row = np.full_like(slope, rng.integers(256)) + away * np.float32(0.06)
        wave = look_up(table, slope.clip(-6, 6) * 34 + 512, row + 256)
        near = (1 - away * np.float32(1 / rng.uniform(40, 85))).clip(0, 1)
        total += np.float32(1.9 * strength) * wave * near * (away * np.float32(1 / 12)).clip(0, 1)
    shifts = rng.integers(256, 512, 6).astype(np.float32)
    lean, stretch = np.float32(rng.normal(0, 0.5)), np.float32(rng.uniform(0.5, 1.3))
    dents = look_up(noise_table(8), u * stretch + shifts[0], y + shifts[1])
    finer = look_up(noise_table(32), u + shifts[2], y * stretch + shifts[3])
    # A wrinkle is sharp: where smooth noise changes its sign.
    turned = look_up(
        noise_table(16), u * np.float32(0.5) + lean * y + shifts[4], y * np.float32(1.1) + shifts[5]
    )
    wrinkles = (1 - np.abs(turned) * np.float32(4)).clip(0, 1)
    wrinkled = np.float32(max(0.0, rng.normal(1.0, 1.1)))
    total += np.float32(strength) * (
        np.float32(1.8) * dents + np.float32(0.6) * finer + wrinkled * wrinkles
    )
    return total

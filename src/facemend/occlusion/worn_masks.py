"""Masks as they are worn in photos, for training: off the cheek, crooked, low, with straps and shadows.

`masks.py` draws the benchmark's masks, whose inputs are frozen. These may still change.
"""

from dataclasses import replace

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageFilter

from facemend.alignment import Points
from facemend.images import Image
from facemend.occlusion.canvas import (
    Canvas,
    Colour,
    Field,
    Region,
    Sketch,
    blend,
    blurred,
    coverage_of,
    grain,
    look_up,
    noise_table,
    nothing,
    pick,
    region_around,
)
from facemend.occlusion.cloth import (
    Cloth,
    choose_cloth,
    choose_hue,
    draw_pleats,
    dyed,
    lit_surface,
    worn_light,
)
from facemend.occlusion.geometry import FaceGeometry, smooth_outline
from facemend.occlusion.light import Light, scaled, skin_of
from facemend.occlusion.mask_shapes import (
    MIDDLE,
    Cut,
    Surface,
    draw_worn_cut,
    project,
    skin_near,
    surface_of,
)
from facemend.occlusion.masks import STYLE_WEIGHTS, draw_overlay, moved
from facemend.occlusion.objects import own_hair
from facemend.occlusion.straps import (
    Straps,
    clear_colour,
    draw_fixtures,
    draw_gap,
    draw_strap_parts,
    draw_straps,
    strap_colour,
    write_marks,
)
from facemend.occlusion.textures import PATTERNS
from facemend.occlusion.types import Extent, Layer, Parameter

_BESIDE = 0.1
_OVER = {"nothing": 12.0, "own hair": 3.0, "strands": 1.4, "glasses": 1.6, "fingers": 0.4}
_DARK_SKIN = 360
_FAINT_CAST, _FIRM_CAST = 0.02, 8


def textured_mask(image: Image, face: FaceGeometry, rng: np.random.Generator) -> Layer:
    """A mask in one of the STYLES and PATTERNS as it is worn, 5-30% of a canonical crop.

    The picture may be of any shape. Below a canonical square the mask goes on.
    """
    style = pick(rng, STYLE_WEIGHTS)
    cut = draw_worn_cut(style, face, rng)
    surface = surface_of(cut, face, rng)
    cloth = choose_cloth(style, rng, PATTERNS)
    outline = surface.project(cut.outline)
    parameters: dict[str, Parameter] = {
        "style": style,
        "worn": cut.worn,
        "tilt_degrees": round(cut.tilt_degrees, 2),
        "turn": round(surface.turn, 3),
    }
    straps = draw_straps(surface, cut, rng)
    parameters["strap"], parameters["straps"] = straps.how, len(straps.paths)
    whole = region_around(face.rigid, np.concatenate([outline, *straps.paths]), image, 12)
    region = None if whole is None else whole.around(outline, 12)
    if whole is None or region is None:
        return nothing(image, Extent.PARTIAL, parameters)
    light = worn_light(image, region, rng)
    cloth = _in_hue(image, face, cloth, light, rng, parameters)
    underlay, base = None, image
    if rng.random() < _BESIDE:
        colour = cloth.texture.mean_colour
        parameters["beside"], underlay = draw_headwear(image, face, surface.turn, colour, light, rng)
        base = image if underlay is None else blend(image, underlay)
    canvas = Canvas(whole)
    _lay_mask(canvas, base, surface, cut, cloth, straps, region, light, rng, parameters)
    dye = scaled(cloth.texture.mean_colour, light.exposure)
    # Dark skin in shadow, as on a cheek that is turned away, has the colour of dark hair.
    doubtful = sum(skin_of(image, face)) < _DARK_SKIN or abs(surface.turn) > 0.35
    over = {**_OVER, "own hair": 0.0} if doubtful else _OVER
    overlay = draw_overlay(canvas.part(region), base, face, cut, rng, parameters, over, dye)
    # The softer a thin strap is, the fainter it gets, and yet it is to be replaced at its full width.
    softness, noise = _capture_of(base, canvas.region, rng)
    layer = canvas.finish(
        base,
        Extent.PARTIAL,
        parameters,
        softness=softness,
        noise=grain(canvas.region, rng, noise),
        overlay=overlay,
        underlay=underlay,
        firmness=1.5 + 1.5 * softness,
    )
    return _greyed(layer) if _is_grey(image) else layer


def _lay_mask(
    canvas: Canvas,
    image: Image,
    surface: Surface,
    cut: Cut,
    cloth: Cloth,
    straps: Straps,
    region: Region,
    light: Light,
    rng: np.random.Generator,
    parameters: dict[str, Parameter],
) -> None:
    """Paints what the mask casts, its straps, its cloth, and what is fixed to it.

    Args:
        canvas: of the mask and its straps.
        region: of the mask alone.
    """
    part, ground = canvas.part(region), cloth.texture.mean_colour
    coverage = coverage_of(region, surface.project(cut.outline))
    rim = _widely_blurred(coverage, 3.5 * min(region.face.unit_px, 16.0))
    cast = _lay_casts(part, image, surface, coverage, rim, cloth, light, rng)
    parameters["shadow"], parameters["reflection"] = cast
    lit = light.field * (light.tint[:, None, None] * np.float32(light.exposure))
    _lay_straps(canvas, image, straps, strap_colour(cut, ground, rng), light, rng)
    if cut.style in ("surgical", "cloth", "duckbill") and rng.random() < 0.4:
        part.lay_parts(draw_gap(surface, cut, ground, rng), lit)
    pleats = draw_pleats(cut, cloth.pleats, rng)
    colours, shade = lit_surface(region, surface, cut, cloth, pleats, light, rim, rng)
    part.lay(coverage, colours)
    parts, has_valve = draw_fixtures(surface, cut, ground, pleats, rng)
    parameters["valve"] = int(has_valve)
    sketch = Sketch(region)
    sketch.polygons(parts)
    parameters["text"] = write_marks(sketch, surface, cut, ground, rng)
    part.lay_sketch(sketch, shade, coverage)


def _in_hue(
    image: Image,
    face: FaceGeometry,
    cloth: Cloth,
    light: Light,
    rng: np.random.Generator,
    parameters: dict[str, Parameter],
) -> Cloth:
    """Now and then the cloth in a colour that lies near to skin or to what is beside it."""
    source, colour = choose_hue(image, face, light, rng)
    parameters["hue"] = source
    if colour is not None:
        cloth = dyed(cloth, colour)
    if cloth.edge is not None and (rng.random() < 0.5 or sum(cloth.texture.mean_colour) < 240):
        cloth = replace(cloth, edge=None)
    parameters["pattern"] = cloth.texture.name
    parameters["colour"] = cloth.texture.mean_colour
    return cloth


def _lay_casts(
    canvas: Canvas,
    image: Image,
    surface: Surface,
    coverage: Field,
    rim: Field,
    cloth: Cloth,
    light: Light,
    rng: np.random.Generator,
) -> tuple[float, float]:
    """The mask's shadow and its colour on the skin around it. Returns how strong each of them is.

    Nothing falls on the background: what stands off the jaw has no skin behind it.
    """
    region = canvas.region
    unit_px = min(region.face.unit_px, 16.0)
    shadow, reflection = rng.uniform(0.05, 0.6), rng.uniform(0.0, 0.15) * (rng.random() < 0.7)
    skin = region.stretch(skin_near(region.coarse(max(1, round(3 * unit_px))), surface.turn))
    columns = round(rng.uniform(-3.0, 0.5) * light.right * unit_px)
    dark: Field = np.float32(shadow) * moved(rim, columns, round(rng.uniform(0.0, 3.0) * unit_px)) * skin
    reach_px = rng.uniform(5, 9) * unit_px
    glow: Field = (
        skin * 0 if reflection == 0 else np.float32(reflection) * skin * _widely_blurred(coverage, reach_px)
    )
    strength: Field = (dark + glow - np.float32(_FAINT_CAST)).clip(0, 1)
    kept: Field = strength / np.maximum(dark + glow, np.float32(1e-4))
    # Light that the cloth throws back takes on its colour, and is the brighter the lighter the cloth.
    dye = np.array(cloth.texture.mean_colour, dtype=np.float32) * np.float32(light.exposure)
    canvas.lay_cast(image, (_FIRM_CAST * strength).clip(0, 1), dark * kept, glow * kept, dye)
    return round(shadow, 3), round(reflection, 3)


def _widely_blurred(field: Field, sigma_px: float) -> Field:
    """A field of 0-1 (h, w), blurred by several pixels, roughly."""
    levels = PillowImage.fromarray((field * 255).astype(np.uint8))
    shrink = max(1, min(8, int(sigma_px / 1.2)))
    soft = levels.reduce(shrink).filter(ImageFilter.BoxBlur(1.6 * sigma_px / shrink))
    enlarged = soft.resize(levels.size, PillowImage.Resampling.BILINEAR)
    return np.asarray(enlarged, dtype=np.float32) * np.float32(1 / 255)


def _lay_straps(
    canvas: Canvas, image: Image, straps: Straps, dye: Colour, light: Light, rng: np.random.Generator
) -> None:
    """The straps over cheek, ear, hair and neck, each with a shadow beside it, one side at a time."""
    face = canvas.region.face
    shadow = np.float32(rng.uniform(0.1, 0.5))
    columns, rows = (round(lag * min(face.unit_px, 16.0)) for lag in rng.uniform((-1.5, 0.5), (1.5, 2.5)))
    hidden = straps.width < 4 and rng.random() < 0.4
    for side in (0, -1):
        parts = draw_strap_parts(straps, dye, side, rng)
        if not parts:
            continue
        region = canvas.region.around(np.concatenate([points for points, _ in parts]), 6)
        if region is None:
            continue
        part = canvas.part(region)
        colour = clear_colour(image, face) if straps.kind == "clear" else None
        sketch = Sketch(region)
        sketch.polygons(parts if colour is None else [(points, colour) for points, _ in parts])
        at, planes = sketch.finish()
        if planes.size:
            dark = np.zeros_like(region.x)
            dark[at] = planes[3] * np.float32(1 / 255)
            dark = _widely_blurred(moved(dark, columns, rows), 1.1 * min(face.unit_px, 16.0))
            part.lay_shadow(image, shadow * dark)
        lit = light.tint * (light.exposure * light.field[len(light.field) // 2, side])
        shade = None if colour else np.broadcast_to(lit[:, None, None], (3, *region.x.shape))
        part.lay_sketch(sketch, shade)
        hair = own_hair(image, region) if hidden else None
        if hair is not None:
            part.hide(hair)


def _is_grey(image: Image) -> bool:
    """Whether the photo has no colours."""
    some = image[::5, ::5].astype(np.int32)
    return bool(np.abs(some[..., 0] - some[..., 2]).mean() < 3)


def _greyed(layer: Layer) -> Layer:
    """The same layer without colours, and all that goes with it."""
    red, green, blue = (layer.paint[..., band].astype(np.uint32) for band in range(3))
    grey = ((2 * red + 5 * green + blue) // 8).astype(np.uint8)
    return replace(
        layer,
        paint=np.repeat(grey[..., None], 3, axis=-1),
        overlay=None if layer.overlay is None else _greyed(layer.overlay),
        underlay=None if layer.underlay is None else _greyed(layer.underlay),
    )


def _capture_of(image: Image, region: Region, rng: np.random.Generator) -> tuple[float, float]:
    """How soft (canonical pixels) and how noisy (levels) the photo is around the eyes."""
    face = region.face
    height_px, width_px = image.shape[:2]
    left, top, right, bottom = face.upright_box((62, 92, 192, 150), width_px, height_px)
    if right - left < 12 or bottom - top < 12:
        return rng.uniform(0.35, 0.95), rng.uniform(0, 4)
    green = image[top:bottom:2, left:right, 1].astype(np.int32)
    near = int(np.abs(green[:, 1:] - green[:, :-1]).sum())
    far = int(np.abs(green[:, 4:] - green[:, :-4]).sum())
    if far < green.size:  # nothing to see in it
        return rng.uniform(0.35, 0.95), rng.uniform(0, 4)
    sigma_px = float(np.interp(near / far, _RATIOS, _SIGMAS))
    bends = np.abs(2 * green[:, 1:-1] - green[:, 2:] - green[:, :-2])
    noise = float(np.partition(bends, bends.size // 3, axis=None)[bends.size // 3])
    softness = sigma_px / face.unit_px * rng.uniform(0.75, 1.15)
    return max(softness, 0.3), min(noise * rng.uniform(0.5, 1.6), 12.0)


_RATIOS: tuple[float, ...] = (0.262, 0.271, 0.283, 0.317, 0.379, 0.441)
_SIGMAS: tuple[float, ...] = (2.8, 1.8, 1.2, 0.8, 0.5, 0.3)
"""Measured on 40 sharp faces of 256 px, blurred by so many pixels."""


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

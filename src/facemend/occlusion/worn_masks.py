"""Masks as they are worn in photos, for training: off the cheek, crooked, low, with straps and casts.

`cloth.py` draws the benchmark's masks, whose inputs are frozen; what is drawn here may get better.
"""

from dataclasses import replace

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageFilter

from facemend.images import Image
from facemend.occlusion.beside import draw_beside
from facemend.occlusion.cloth import STYLE_WEIGHTS, draw_over, moved
from facemend.occlusion.colours import Light
from facemend.occlusion.fabric import Cloth, choose_cloth
from facemend.occlusion.geometry import FaceGeometry
from facemend.occlusion.hair import own_hair
from facemend.occlusion.mask_shapes import STYLES
from facemend.occlusion.patterns import PATTERNS
from facemend.occlusion.raster import (
    Canvas,
    Field,
    Region,
    Sketch,
    blend,
    blurred,
    cover_of,
    grain,
    nothing,
    region_around,
)
from facemend.occlusion.types import Extent, Layer, Parameter
from facemend.occlusion.worn_cloth import choose_hue, dyed, lit_surface, worn_light
from facemend.occlusion.worn_shapes import Surface, draw_worn_cut, skin_near, surface_of
from facemend.occlusion.worn_straps import (
    Straps,
    clear_colour,
    draw_straps,
    fixtures,
    gap_parts,
    strap_parts,
    write_marks,
)

_BESIDE = 0.12
_FIRMNESS = 1.8
"""How much sooner than it covers a strap or an edge counts as occluded."""
_FAINT_CAST, _FIRM_CAST = 0.02, 8
_NO_STRAPS = Straps("none", [], 0.0, (0, 0, 0), "flat")


def textured_mask(image: Image, face: FaceGeometry, rng: np.random.Generator) -> Layer:
    """A mask in one of the STYLES and PATTERNS as it is worn, 5-30% of a canonical crop.

    The picture may be of any shape; below a canonical square the mask goes on.
    """
    style = _pick_style(rng)
    cut = draw_worn_cut(style, face, rng)
    surface = surface_of(cut, face, rng)
    cloth = choose_cloth(style, rng, PATTERNS)
    outline = surface.seen(cut.outline)
    straps = _NO_STRAPS
    if rng.random() < STYLES[style].strapped + 0.25 * (STYLES[style].strapped > 0):
        straps = draw_straps(image, surface, cut, cloth.texture.mean_colour, rng)
    parameters: dict[str, Parameter] = {
        "style": style,
        "worn": cut.worn,
        "tilt_degrees": round(cut.tilt_degrees, 2),
        "turn": round(surface.turn, 3),
        "straps": len(straps.paths),
        "strap": straps.how if straps.paths else "none",
    }
    rigid = face.rigid
    inner = region_around(rigid, outline, image, 12)
    region = region_around(rigid, np.concatenate([outline, *straps.paths]), image, 12)
    if region is None or inner is None:
        return nothing(image, Extent.PARTIAL, parameters)
    light = worn_light(image, region, inner, rng)
    cloth = _in_hue(image, face, cloth, light, rng, parameters)
    beside, base = None, image
    if rng.random() < _BESIDE:
        colour = cloth.texture.mean_colour
        parameters["beside"], beside = draw_beside(image, face, surface.turn, colour, light, rng)
        base = image if beside is None else blend(image, beside)
    canvas = Canvas(region)
    cover = cover_of(region, outline)
    rim = blurred(cover, 3.5 * face.unit_px)
    cast = _lay_casts(canvas, base, surface, cover, rim, cloth, light, rng)
    parameters["shadow"], parameters["reflection"] = cast
    _lay_straps(canvas, base, surface, straps, light, rng)
    if style in ("surgical", "cloth", "duckbill") and rng.random() < 0.4:
        canvas.lay_parts(gap_parts(surface, cut, cloth.texture.mean_colour, rng), _shade(light))
    canvas.lay(cover, lit_surface(region, surface, cut, cloth, light, rim, rng))
    parts, has_valve = fixtures(surface, cut, cloth.texture.mean_colour, rng)
    parameters["valve"] = int(has_valve)
    sketch = Sketch(region)
    sketch.polygons(parts)
    parameters["text"] = write_marks(sketch, surface, cut, cloth.texture.mean_colour, rng)
    canvas.lay_sketch(sketch, _shade(light), cover)
    overlay = draw_over(canvas, base, face, cut, rng, parameters)
    softness, noise = _capture_of(base, region, rng)
    return canvas.finish(
        base,
        Extent.PARTIAL,
        parameters,
        softness=softness,
        noise=grain(region, rng, noise),
        overlay=overlay,
        beside=beside,
        firmness=_FIRMNESS,
    )


def _pick_style(rng: np.random.Generator) -> str:
    names = list(STYLE_WEIGHTS)
    weights = np.cumsum([STYLE_WEIGHTS[name] for name in names])
    return names[int(np.searchsorted(weights, rng.random() * weights[-1], side="right"))]


def _shade(light: Light) -> Field:
    shade: Field = light.field * np.float32(light.exposure)
    return shade


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
    cover: Field,
    rim: Field,
    cloth: Cloth,
    light: Light,
    rng: np.random.Generator,
) -> tuple[float, float]:
    """The mask's shadow and its colour on the skin around it; returns how strong each of them is.

    Nothing falls on the background: what stands off the jaw has no skin behind it.
    """
    region = canvas.region
    unit_px = min(region.face.unit_px, 16.0)
    shadow, reflection = rng.uniform(0.05, 0.6), rng.uniform(0.0, 0.15) * (rng.random() < 0.7)
    skin = region.stretch(skin_near(region.coarse(max(1, round(3 * unit_px))), surface.turn))
    columns = round(rng.uniform(-3.0, 0.5) * light.right * unit_px)
    dark = np.float32(shadow) * moved(rim, columns, round(rng.uniform(0.0, 3.0) * unit_px)) * skin
    glow = np.float32(reflection) * _widely_blurred(cover, rng.uniform(5, 9) * unit_px) * skin
    planes = region.planes(image)
    dye = np.array(cloth.texture.mean_colour, dtype=np.float32)[:, None, None]
    # Light that the cloth throws back takes on its colour, and is the brighter the lighter the cloth.
    changed = (planes + (dye * np.float32(light.exposure) - planes) * glow) * (1 - dark)
    strength = (dark + glow - np.float32(_FAINT_CAST)).clip(0, 1)
    alpha = (_FIRM_CAST * strength).clip(0, 1)
    kept = strength / np.maximum(dark + glow, np.float32(1e-4))
    canvas.lay(alpha, planes + (changed - planes) * (kept / np.maximum(alpha, np.float32(1e-3))))
    return round(shadow, 3), round(reflection, 3)


def _widely_blurred(field: Field, sigma_px: float) -> Field:
    """A field of 0-1 (h, w), blurred by several pixels, roughly."""
    levels = PillowImage.fromarray((field * 255).astype(np.uint8))
    shrink = max(1, min(8, int(sigma_px / 1.2)))
    soft = levels.reduce(shrink).filter(ImageFilter.BoxBlur(1.6 * sigma_px / shrink))
    enlarged = soft.resize(levels.size, PillowImage.Resampling.BILINEAR)
    return np.asarray(enlarged, dtype=np.float32) * np.float32(1 / 255)


def _lay_straps(
    canvas: Canvas, image: Image, surface: Surface, straps: Straps, light: Light, rng: np.random.Generator
) -> None:
    """The straps over cheek, ear, hair and neck, each with a shadow beside it."""
    if not straps.paths:
        return
    parts = strap_parts(straps, rng)
    region = canvas.region
    shift = np.array([rng.uniform(-1.5, 1.5), rng.uniform(0.5, 2.5)])
    sketch = Sketch(region)
    sketch.polygons([(points + shift, (0, 0, 0)) for points, _ in parts])
    at, planes = sketch.finish()
    if planes.size:
        shadow = np.zeros_like(region.x)
        shadow[at] = planes[3] * np.float32(1 / 255)
        strength = np.float32(rng.uniform(0.1, 0.5))
        canvas.lay_shadow(image, strength * blurred(shadow, 0.9 * min(region.face.unit_px, 16.0)))
    if straps.kind == "clear":
        colour = clear_colour(image, surface, canvas)
        canvas.lay_parts([(points, colour) for points, _ in parts])
    else:
        canvas.lay_parts(parts, _shade(light) * np.float32(0.96))
    hair = own_hair(image, region) if rng.random() < 0.5 else None
    if hair is not None:
        canvas.hide(hair)


def _capture_of(image: Image, region: Region, rng: np.random.Generator) -> tuple[float, float]:
    """How soft (canonical pixels) and how noisy (levels) the photo is around the eyes."""
    face = region.face
    height_px, width_px = image.shape[:2]
    left, top, right, bottom = face.upright_box((62, 92, 192, 150), width_px, height_px)
    if right - left < 12 or bottom - top < 12:
        return rng.uniform(0.35, 0.95), rng.uniform(0, 4)
    green = image[top:bottom, left:right, 1].astype(np.int32)
    near = int(np.abs(green[:, 1:] - green[:, :-1]).sum())
    far = int(np.abs(green[:, 4:] - green[:, :-4]).sum())
    ratio = near / max(far, 1)
    sigma_px = float(np.interp(ratio, _RATIOS, _SIGMAS))
    bends = np.abs(2 * green[:, 1:-1] - green[:, 2:] - green[:, :-2])
    noise = float(np.partition(bends, bends.size // 3, axis=None)[bends.size // 3])
    softness = sigma_px / face.unit_px * rng.uniform(0.75, 1.15)
    return max(softness, 0.3), min(noise * rng.uniform(0.5, 1.6), 12.0)


_RATIOS: tuple[float, ...] = (0.262, 0.271, 0.283, 0.317, 0.379, 0.441)
_SIGMAS: tuple[float, ...] = (2.8, 1.8, 1.2, 0.8, 0.5, 0.3)
"""Measured on 40 sharp faces of 256 px, blurred by so many pixels."""

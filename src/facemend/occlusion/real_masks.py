"""Masks cut out of photographs, fitted to another face, with new colours, light and straps."""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from facemend.alignment import CROP_SIZE_PX, FRAME_WIDTH_PX, Points, canonical_landmarks
from facemend.images import Image
from facemend.occlusion.canvas import (
    Canvas,
    Field,
    Part,
    Region,
    Sketch,
    blurred,
    grain,
    nothing,
    pick,
    region_around,
)
from facemend.occlusion.cutouts import CutMask, MaskFile, find_masks, read_mask, sharpness_of
from facemend.occlusion.geometry import FaceGeometry, curve, line
from facemend.occlusion.hands_hair import own_hair
from facemend.occlusion.light import Light, light_of, scaled, shifted
from facemend.occlusion.mask_fit import Fit, Tone, cut_of, draw_fit, dyed, lit_mask, tone_of
from facemend.occlusion.mask_shapes import MIDDLE, Cut
from facemend.occlusion.masks import draw_overlay
from facemend.occlusion.types import Extent, Kind, Layer, OcclusionClass, Parameter

_EYES = canonical_landmarks()[:2].mean(axis=0)
_EYE_DISTANCE = float(np.ptp(canonical_landmarks()[:2, 0]))
_FARTHEST_SHIFT = 30.0
_YAW_SPREAD = 0.07
_SLOPE_SPREAD = 0.25
_BLUR_SPREAD = 0.4
_HIDDEN_SIDE = 8.0
_EAR_SHIFT = 1.9
_TO_CROP = CROP_SIZE_PX / FRAME_WIDTH_PX


def real_mask_kind(folder: Path, part: str | None = None) -> Kind:
    """A kind that puts one of a folder's cut-out masks onto the face, see `cutouts.find_masks`.

    Args:
        folder: masks cut out of photographs, RGBA, 178×218 pixels, each at its own location in CelebA's
            frame.
        part: `train` or `measure`: one photograph in ten is held out for measuring, by the hash of its
            name. None draws all of them.

    Raises:
        SourceError: no such folder, no such cut-outs in it or in the part, or a bad table beside it.
        PictureError: a picture cannot be read, has no transparency, or nothing but transparency.
    """
    masks = find_masks(folder, part)
    cuts = [read_mask(mask.path) for mask in masks]
    most = _FARTHEST_SHIFT / _EYE_DISTANCE
    yaw = np.array([mask.yaw for mask in masks]).clip(-most, most)
    slope, blur = np.array([cut.slope for cut in cuts]), np.array([_blur_of(cut) for cut in cuts])
    return Kind(_RealMasks(masks, yaw, slope, blur), OcclusionClass.COVERS)


@dataclass(frozen=True)
class _RealMasks:
    """Draws one of the masks. Travels to other processes as a list of files, each read when it is drawn.

    Attributes:
        masks: the files.
        yaw, slope, blur: (N,) of each: where it looks, its light from the side, how blurred it is.
    """

    masks: tuple[MaskFile, ...]
    yaw: Points
    slope: Points
    blur: Points

    def __call__(self, image: Image, face: FaceGeometry, rng: np.random.Generator) -> Layer:
        blur = _face_blur(image, face)
        mask, mirrored = self._choose(image, face, blur, rng)
        shift = float(np.clip(mask.yaw * _EYE_DISTANCE, -_FARTHEST_SHIFT, _FARTHEST_SHIFT))
        cut = read_mask(mask.path)
        fit = draw_fit(cut, mirrored, -shift if mirrored else shift, rng)
        softness = math.sqrt(max(blur**2 - min(_blur_of(cut), 0.8) ** 2, 0.0))
        return _draw(mask, fit, image, _evened(face), softness, rng)

    def _choose(
        self, image: Image, face: FaceGeometry, blur: float, rng: np.random.Generator
    ) -> tuple[MaskFile, bool]:
        """A mask whose yaw and light are like the face's, or whose mirror image's are, and as sharp."""
        both = np.array([[1.0], [-1.0]])
        away = np.abs(both * self.yaw - face.nose_shift / _EYE_DISTANCE)
        light = both * self.slope - _side_light(image, face)
        dull = (self.blur - blur - 0.3).clip(0)
        distance = (
            ((away - away.min()) / _YAW_SPREAD) ** 2
            + (light / _SLOPE_SPREAD) ** 2
            + (dull / _BLUR_SPREAD) ** 2
        )
        weights = np.exp(-0.5 * (distance - distance.min())).ravel().cumsum()
        chosen = int(np.searchsorted(weights[:-1], rng.random() * weights[-1], side="right"))
        return self.masks[chosen % len(self.masks)], chosen >= len(self.masks)


def _blur_of(cut: CutMask) -> float:
    """How blurred a cut-out is, canonical pixels. Its sharpness was measured in the coarser frame."""
    return float(np.interp(0.68 * cut.sharpness - 0.01, _SHARPNESS, _BLURS_PX))


def _face_blur(image: Image, face: FaceGeometry) -> float:
    """How blurred a face is about its eyes, canonical pixels."""
    height_px, width_px = image.shape[:2]
    left, top, right, bottom = face.upright_box((78, 104, 176, 150), width_px, height_px)
    if right - left < 8 or bottom - top < 6:
        return 0.5
    patch = np.ascontiguousarray(image[top:bottom, left:right])
    sharpness = sharpness_of(patch, np.ones(patch.shape[:2], dtype=bool))
    blur_px = float(np.interp(sharpness, _SHARPNESS, _BLURS_PX))
    return float(np.clip(blur_px / face.unit_px, 0.0, 6.0))


# Measured on 98 faces of CelebA at 256 px, blurred by known amounts.
_SHARPNESS = (0.01, 0.025, 0.073, 0.128, 0.175, 0.213, 0.235, 0.27)
_BLURS_PX = (4.0, 3.0, 2.0, 1.2, 0.8, 0.5, 0.25, 0.0)


def _evened(face: FaceGeometry) -> FaceGeometry:
    """The face with half of its stretch: a mask is cut for heads, not for where a mouth happens to be."""
    along, below = float(np.hypot(*face.right)), float(np.hypot(*face.down))
    even = np.sqrt(along * below)
    return replace(face, right=face.right * np.sqrt(even / along), down=face.down * np.sqrt(even / below))


def _side_light(image: Image, face: FaceGeometry) -> float:
    """How much lighter the right cheek is than the left one, as a share of their mean's half."""
    height_px, width_px = image.shape[:2]
    means = []
    for x in (98.0, 156.0):
        left, top, right, bottom = face.upright_box((x - 12, 142, x + 12, 166), width_px, height_px)
        patch = image[top:bottom, left:right]
        means.append(float(patch.mean()) if patch.size else 0.0)
    total = sum(means)
    return float(np.clip((means[1] - means[0]) / total, -0.5, 0.5)) if min(means) > 0 else 0.0


def _draw(
    mask: MaskFile, fit: Fit, image: Image, face: FaceGeometry, softness: float, rng: np.random.Generator
) -> Layer:
    cut = cut_of(fit)
    straps, width = _straps(cut, fit, face.nose_shift, rng)
    parameters: dict[str, Parameter] = {
        "file": mask.path.name,
        "mirrored": int(fit.mirrored),
        "worn": fit.worn,
        "degrees": round(fit.degrees, 2),
        "scale": round(fit.scale, 3),
        "straps": len(straps),
        "softness": round(softness, 2),
    }
    region = region_around(face, np.concatenate([cut.outline, *straps]), image, 12)
    near = region_around(face, cut.outline, image, 4)
    if region is None or near is None:
        return nothing(image, Extent.PARTIAL, parameters)
    tone = tone_of(image)
    cloth = _cloth_of(fit, image, near, tone, rng, parameters)
    canvas = Canvas(region)
    _lay_rim(canvas, image, cloth, rng, parameters)
    if straps:
        _lay_straps(canvas, image, straps, width, cloth, tone, rng)
        hair = own_hair(image, region) if rng.random() < 0.8 else None
        if hair is not None:
            canvas.hide(hair)
    canvas.lay(_spread(cloth.coverage, near, region), _spread(cloth.colours, near, region))
    overlay = draw_overlay(canvas, image, face, cut, rng, parameters)
    if parameters["over"] == "strands" and abs(face.nose_shift) > _HIDDEN_SIDE:
        overlay, parameters["over"] = None, "nothing"  # they would hang beside the head
    layer = canvas.finish(
        image,
        Extent.PARTIAL,
        parameters,
        softness=softness,
        noise=grain(region, rng, _grain_of(image, face)),
        overlay=overlay,
    )
    return tone.apply(layer)


@dataclass(frozen=True)
class _Cloth:
    """The mask as it is laid: over its own region.

    Attributes:
        region: its pixels.
        coverage: float32 (h, w), 0-1.
        colours: float32 (3, h, w), 0-255.
        light: on that region.
    """

    region: Region
    coverage: Field
    colours: Field
    light: Light

    @cached_property
    def mean(self) -> Field:
        """Its mean colour, (3,)."""
        total = np.float32(float(self.coverage.sum()) + 1e-3)
        mean: Field = (self.colours * self.coverage).sum(axis=(1, 2)) / total
        return mean


def _cloth_of(
    fit: Fit, image: Image, near: Region, tone: Tone, rng: np.random.Generator,
    parameters: dict[str, Parameter],
) -> _Cloth:  # fmt: skip
    light = light_of(image, near, rng)
    stack = fit.sample(near)
    colours = stack[:3] * (255 / np.maximum(stack[3], 1))
    colours = dyed(colours, fit.mask.colour, image, near, rng, parameters)
    colours = lit_mask(colours, fit, near, light, tone, rng)
    return _Cloth(near, stack[3] * np.float32(1 / 255), colours, light)


def _spread(values: Field, near: Region, region: Region) -> Field:
    """Fields (..., h, w) of one region in a larger one, empty beyond."""
    top, left = near.top - region.top, near.left - region.left
    spread = np.zeros((*values.shape[:-2], region.height_px, region.width_px), dtype=np.float32)
    spread[..., top : top + near.height_px, left : left + near.width_px] = values
    return spread


def _lay_rim(
    canvas: Canvas, image: Image, cloth: _Cloth, rng: np.random.Generator, parameters: dict[str, Parameter]
) -> None:
    """The mask's shadow on what lies behind it, and its colour's reflection, together with their alpha."""
    unit_px = min(canvas.region.face.unit_px, 16.0)
    width = rng.uniform(1.6, 4.5)
    strength = rng.uniform(0.1, 0.6)
    reflection = rng.uniform(0.0, 0.35) if rng.random() < 0.6 else 0.0
    parameters["shadow"], parameters["reflection"] = round(strength, 3), round(reflection, 3)
    rim = blurred(_spread(cloth.coverage, cloth.region, canvas.region), width * unit_px)
    columns, rows = round(-1.8 * cloth.light.right * unit_px), round(rng.uniform(0.3, 2.5) * unit_px)
    dark = np.float32(strength) * _moved(rim, columns, rows)
    glow = np.float32(reflection) * rim
    seen = (8 * (np.maximum(dark, glow) - np.float32(0.04))).clip(0, 1)
    below = canvas.region.planes(image)
    mean = cloth.mean
    tint = (mean / max(float(mean.mean()), 8.0)).clip(0.5, 1.6)
    level = np.float32(1 + 0.25 * (float(mean.mean()) / 255 - 0.5))
    factor = 1 + glow * (tint[:, None, None] * level - 1)
    canvas.lay(seen, (below * (1 - dark) * factor).clip(0, 255))


def _moved(field: Field, columns: int, rows: int) -> Field:
    """The field (h, w), moved right and down by whole pixels. Its border is repeated."""
    height, width = field.shape
    at_row = (np.arange(height) - rows).clip(0, height - 1)
    at_column = (np.arange(width) - columns).clip(0, width - 1)
    moved: Field = field[at_row[:, None], at_column[None, :]]
    return moved


def _straps(cut: Cut, fit: Fit, turn: float, rng: np.random.Generator) -> tuple[list[Points], float]:
    """The middle lines of the straps of both sides, and their width. None on what is tied behind."""
    width = rng.uniform(1.3, 3.2) if rng.random() < 0.85 else rng.uniform(3.2, 5.0)
    tall = cut.bottom - cut.top > 125
    if fit.mask.is_open or tall or rng.random() < 0.12:
        return [], width
    around_head = fit.worn == "well" and rng.random() < 0.06
    paths = []
    ear_y, ear_height = 150 + rng.uniform(-8, 6), rng.uniform(10, 20)
    sag = rng.uniform(-2, 5)
    for side, (upper, lower) in zip((-1, 1), cut.corners, strict=True):
        if side * turn > _HIDDEN_SIDE:
            continue  # behind the cheek that is turned away
        # Ears lie farther behind the eyes than the nose lies before them.
        ear_x = MIDDLE[0] + side * rng.uniform(58, 67) - _EAR_SHIFT * turn
        ear_x = side * max(side * ear_x, side * upper[0] + rng.uniform(3, 9))
        if around_head:
            far = MIDDLE[0] + side * rng.uniform(74, 84) - _EAR_SHIFT * turn
            ends = ((far, upper[1] - rng.uniform(16, 44)), (far, lower[1] - rng.uniform(0, 16)))
        else:
            ends = ((ear_x, ear_y - ear_height), (ear_x - side * rng.uniform(1, 5), ear_y + ear_height))
        for corner, end in zip((upper, lower), ends, strict=True):
            inner = corner + (np.array(MIDDLE) - corner) * 0.08
            # Loops bulge towards the ear: away from each other.
            bend = corner * 0.45 + np.array(end) * 0.55 + (0, sag if corner is lower else -0.3 * sag)
            paths.append(curve((inner[0], inner[1]), (bend[0], bend[1]), end, 9))
    return paths, width


def _lay_straps(
    canvas: Canvas, image: Image, straps: list[Points], width: float, cloth: _Cloth, tone: Tone,
    rng: np.random.Generator,
) -> None:  # fmt: skip
    """Straps with a rounded shade and a thin shadow below."""
    own = cloth.mean.tolist()
    is_dark = sum(own) < 240
    choice = pick(rng, {"white": 2.0 if is_dark else 7.0, "black": 6.0 if is_dark else 0.7, "own": 2.0})
    exposure = tone.white * rng.uniform(0.85, 1.0)
    if choice == "own":
        base = (round(own[0]), round(own[1]), round(own[2]))
    else:
        base = scaled((234, 234, 232) if choice == "white" else (30, 30, 33), exposure)
    base = shifted(base, rng, 6)
    parts: list[Part] = []
    for path in straps:
        # Narrower towards the ear, as what turns away; its lower half lies in its own shade.
        widths = width * np.linspace(1.0, rng.uniform(0.55, 1.0), len(path))
        parts.append((line(path, widths), scaled(base, 0.74)))
        parts.append((line(path - (0, width * 0.14), widths * 0.6), base))
    # A strap lies on the skin: its shadow is as thin as it is.
    shadows: list[Part] = [(line(path + (0, width * 0.6), width * 0.8), (255, 255, 255)) for path in straps]
    sketch = Sketch(canvas.region)
    sketch.polygons(shadows)
    box, drawn = sketch.finish()
    dark = np.zeros_like(canvas.region.x)
    dark[box] = drawn[3] * np.float32(rng.uniform(0.15, 0.5) / 255)
    canvas.lay_shadow(image, dark)
    canvas.lay_parts(parts)


def _grain_of(image: Image, face: FaceGeometry) -> float:
    """How strong this picture's grain is, in levels."""
    height_px, width_px = image.shape[:2]
    left, top, right, bottom = face.upright_box((90, 84, 164, 172), width_px, height_px)
    if right - left < 12 or bottom - top < 12:
        return 1.0
    patch = image[top:bottom, left:right, 1].astype(np.float32)
    rough = patch[1:-1, 1:-1] * 2 - patch[1:-1, :-2] - patch[1:-1, 2:]
    quiet = float(np.percentile(np.abs(rough), 30))
    return float(np.clip(quiet * 1.8, 0.6, 24.0))

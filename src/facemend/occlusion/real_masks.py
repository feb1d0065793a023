"""Real masks: cut out of photographs, fitted to another face, dyed, lit and strapped anew."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageFilter

from facemend.frame import CROP_SIZE_PX, FRAME_WIDTH_PX, Points, canonical_landmarks, frame_to_crop
from facemend.images import Image
from facemend.occlusion.cloth import draw_over
from facemend.occlusion.colours import Light, cloth_colour, light_of, scaled, shifted, skin_of
from facemend.occlusion.geometry import FaceGeometry
from facemend.occlusion.hair import own_hair
from facemend.occlusion.mask_files import CutMask, MaskFile, Part, find_masks, read_mask
from facemend.occlusion.mask_shapes import MIDDLE, Cut
from facemend.occlusion.raster import (
    Canvas,
    Colour,
    Field,
    Region,
    blurred,
    grain,
    nothing,
    pick,
    region_around,
)
from facemend.occlusion.strokes import curve, line, turned
from facemend.occlusion.types import Extent, Kind, Layer, OcclusionClass, Parameter

_EYES = canonical_landmarks()[:2].mean(axis=0)
_EYE_DISTANCE = float(np.ptp(canonical_landmarks()[:2, 0]))
_FARTHEST_SHIFT = 30.0
_YAW_SPREAD = 0.07
_SLOPE_SPREAD = 0.25
_TO_CROP = CROP_SIZE_PX / FRAME_WIDTH_PX


def real_mask_kind(folder: Path, part: Part | None = None) -> Kind:
    """A kind that puts one of a folder's cut-out masks onto the face, see `mask_files.find_masks`.

    Args:
        folder: masks cut out of photographs, RGBA, 178×218 pixels, each at its own place in CelebA's frame.
        part: `train` or `measure`: one photograph in ten is held out for measuring, by the hash of its
            name. None draws all of them.

    Raises:
        SourceError: no such folder, no such cut-outs in it or in the part, or a bad table beside it.
        PictureError: a picture cannot be read, has no transparency, or nothing but transparency.
    """
    masks = find_masks(folder, part)
    for mask in masks:
        read_mask(mask.path)
    return Kind(_RealMasks(masks), OcclusionClass.COVERS)


@dataclass(frozen=True)
class _RealMasks:
    """Draws one of the masks; travels to other processes as a list of files."""

    masks: tuple[MaskFile, ...]

    def __call__(self, image: Image, face: FaceGeometry, rng: np.random.Generator) -> Layer:
        mask, mirrored = self._choose(image, face, rng)
        shift = float(np.clip(mask.yaw * _EYE_DISTANCE, -_FARTHEST_SHIFT, _FARTHEST_SHIFT))
        fit = _draw_fit(read_mask(mask.path), mirrored, -shift if mirrored else shift, rng)
        return _draw(mask, fit, image, _evened(face), rng)

    def _choose(
        self, image: Image, face: FaceGeometry, rng: np.random.Generator
    ) -> tuple[MaskFile, bool]:
        """A mask whose yaw and light are like the face's, or whose mirror image's are."""
        side = _side_light(image, face)
        yaw, slope = self._traits
        away = np.abs(yaw - face.nose_shift / _EYE_DISTANCE)
        distance = ((away - away.min()) / _YAW_SPREAD) ** 2 + ((slope - side) / _SLOPE_SPREAD) ** 2
        weights = np.exp(-0.5 * (distance - distance.min())).cumsum()
        chosen = int(np.searchsorted(weights, rng.random() * weights[-1]))
        chosen = min(chosen, len(yaw) - 1)
        return self.masks[chosen % len(self.masks)], chosen >= len(self.masks)

    @cached_property
    def _traits(self) -> tuple[Points, Points]:
        """Yaw and slope of the light of every mask, then of every mirror image."""
        most = _FARTHEST_SHIFT / _EYE_DISTANCE
        yaw = np.array([mask.yaw for mask in self.masks]).clip(-most, most)
        slope = np.array([read_mask(mask.path).slope for mask in self.masks])
        return np.concatenate([yaw, -yaw]), np.concatenate([slope, -slope])

    def __getstate__(self) -> dict[str, object]:
        return {"masks": self.masks}


def _evened(face: FaceGeometry) -> FaceGeometry:
    """The face with half of its stretch: a mask is cut for heads, not for where a mouth happens to be."""
    along, below = float(np.hypot(*face.right)), float(np.hypot(*face.down))
    even = np.sqrt(along * below)
    return replace(
        face, right=face.right * np.sqrt(even / along), down=face.down * np.sqrt(even / below)
    )


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


@dataclass(frozen=True)
class _Fit:
    """How a mask sits: from the frame of its photograph to the canonical face, and back.

    Attributes:
        mask: the cut-out.
        mirrored: whether left and right are exchanged.
        nose_shift: of the face that it was cut from, canonical pixels, after mirroring.
        scale, degrees, shift: how it is off its place, about the mouth.
        waves: (2, 4, 4) canonical pixels: how it is bent beside that, on a coarse grid.
        worn: "well", "low" or "crooked".
    """

    mask: CutMask
    mirrored: bool
    nose_shift: float
    scale: float
    degrees: float
    shift: Points
    waves: Field
    worn: str

    @cached_property
    def _source(self) -> FaceGeometry:
        return FaceGeometry(_EYES, np.array([1.0, 0.0]), np.array([0.0, 1.0]), self.nose_shift)

    def to_face(self, frame_px: Points) -> Points:
        """Points (N, 2) of the cut-out's frame on the canonical face (N, 2), without the waves."""
        points = frame_to_crop(frame_px)
        if self.mirrored:
            points = points * (-1, 1) + (CROP_SIZE_PX - 1, 0)
        x, y = self._source.locate(points[:, 0], points[:, 1])
        points = turned(np.column_stack([x, y]), MIDDLE, self.degrees)
        return (points - MIDDLE) * self.scale + MIDDLE + self.shift

    def sample(self, region: Region) -> Field:
        """What of the mask lies at a region's pixels: (4, h, w), colours times alpha and alpha, 0-255."""
        moved = [region.stretch(wave) for wave in self.waves]
        points = np.stack([region.x + moved[0], region.y + moved[1]], axis=-1).reshape(-1, 2)
        points = (points - MIDDLE - self.shift) / self.scale + MIDDLE
        points = self._source.place(turned(points, MIDDLE, -self.degrees))
        u = (points[:, 0] + 0.5) / _TO_CROP - 0.5
        v = (points[:, 1] + 0.5) / _TO_CROP + 19.5
        if self.mirrored:
            u = FRAME_WIDTH_PX - 1 - u
        # The cut-out is twice as fine, and averaged down where the picture is coarser.
        shrink = max(1, min(8, int(2 / max(_TO_CROP * region.face.unit_px * self.scale, 0.25))))
        levels = self.mask.levels
        if shrink > 1:
            levels = np.asarray(PillowImage.fromarray(levels, "RGBX").reduce(shrink))
        u = ((u - self.mask.left + 0.5) * 2 / shrink - 0.5).astype(np.float32)
        v = ((v - self.mask.top + 0.5) * 2 / shrink - 0.5).astype(np.float32)
        sampled = _bilinear(levels, u, v)
        return np.ascontiguousarray(sampled.T).reshape(4, region.height_px, region.width_px)


def _bilinear(levels: Image, u: Field, v: Field) -> Field:
    """The values (N, 4) at columns u and rows v (N,); outside it is empty."""
    height, width = levels.shape[:2]
    u, v = u.clip(-1, width), v.clip(-1, height)
    padded = np.zeros((height + 3, width + 3, 4), dtype=np.float32)
    padded[1:-2, 1:-2] = levels
    column, row = np.floor(u).astype(np.int32), np.floor(v).astype(np.int32)
    right, below = (u - column)[:, None], (v - row)[:, None]
    flat, at = padded.reshape(-1, 4), (row + 1) * (width + 3) + column + 1
    upper = flat[at]
    upper += (flat[at + 1] - upper) * right
    lower = flat[at + width + 3]
    lower += (flat[at + width + 4] - lower) * right
    upper += (lower - upper) * below
    return upper


def _draw_fit(mask: CutMask, mirrored: bool, nose_shift: float, rng: np.random.Generator) -> _Fit:
    """A place for the mask: as in its photograph, or a little off, low or crooked."""
    worn = pick(rng, {"well": 8.0, "low": 0.7, "crooked": 1.0})
    shift = rng.normal(0, (1.5, 2.0))
    degrees, scale = rng.normal(0, 1.5), float(np.exp(rng.normal(0, 0.035)))
    if worn == "low":
        # So far that the nose is free; what is high comes down further.
        top = float(frame_to_crop(mask.outline)[:, 1].min())
        shift[1] += max(0.0, 176 + rng.uniform(-6, 5) - top)
    elif worn == "crooked":
        degrees += float(rng.choice([-1.0, 1.0])) * rng.uniform(3, 9)
    waves = rng.normal(0, 1.1, (2, 4, 4)).astype(np.float32)
    return _Fit(mask, mirrored, nose_shift, scale, degrees, shift, waves, worn)


def _draw(
    mask: MaskFile, fit: _Fit, image: Image, face: FaceGeometry, rng: np.random.Generator
) -> Layer:
    cut = _cut_of(fit)
    straps, strap_width = _straps(cut, fit, face.nose_shift, rng)
    parameters: dict[str, Parameter] = {
        "file": mask.path.name,
        "mirrored": int(fit.mirrored),
        "worn": fit.worn,
        "degrees": round(fit.degrees, 2),
        "scale": round(fit.scale, 3),
        "straps": len(straps),
    }
    region = region_around(face, np.concatenate([cut.outline, *straps]), image, 12)
    if region is None:
        return nothing(image, Extent.PARTIAL, parameters)
    light = light_of(image, region, rng)
    stack = fit.sample(region)
    cover = stack[3] * np.float32(1 / 255)
    colours = stack[:3] * (255 / np.maximum(stack[3], 1))
    tone = _tone_of(image)
    colours = _dyed(colours, fit.mask.colour, image, region, rng, parameters)
    colours = _lit(colours, fit, region, light, tone, rng)
    canvas = Canvas(region)
    _lay_rim(canvas, image, cover, colours, light, rng, parameters)
    hair = own_hair(image, region) if rng.random() < 0.8 else None
    if straps:
        _lay_straps(canvas, straps, strap_width, colours, cover, light, tone, rng)
        if hair is not None:
            canvas.hide(hair)
    canvas.lay(cover, colours)
    overlay = draw_over(canvas, image, cut, rng, parameters)
    softness = _softness_of(image, face)
    parameters["softness"] = round(softness, 2)
    layer = canvas.finish(
        image,
        Extent.PARTIAL,
        parameters,
        softness=softness,
        noise=grain(region, rng, _grain_of(image, face)),
        overlay=overlay,
    )
    return tone.apply(layer)


def _cut_of(fit: _Fit) -> Cut:
    """The mask's outline and corners on the canonical face, as for drawn masks."""
    outline = fit.to_face(fit.mask.outline)
    corners = fit.to_face(fit.mask.corners.reshape(-1, 2)).reshape(2, 2, 2)
    if fit.mirrored:
        corners = corners[::-1]
    half_width = float(np.ptp(outline[:, 0])) / 2
    top, bottom = float(outline[:, 1].min()), float(outline[:, 1].max())
    return Cut("real", outline, corners, top, bottom, half_width, fit.worn, fit.degrees)


def _dyed(
    colours: Field, mean: Field, image: Image, region: Region, rng: np.random.Generator,
    parameters: dict[str, Parameter],
) -> Field:  # fmt: skip
    """The mask's colours as they are, turned in hue, or in another colour with the same folds."""
    way = pick(rng, {"as it is": 5.0, "hue": 1.5, "cloth": 2.0, "skin": 1.5})
    parameters["dye"] = way
    red, green, blue = mean.tolist()
    lightness = max(0.3 * red + 0.59 * green + 0.11 * blue, 4.0)
    grey = 0.3 * colours[0] + 0.59 * colours[1] + 0.11 * colours[2]
    if way in ("as it is", "hue"):
        degrees = rng.normal(0, 5) if way == "as it is" else rng.uniform(-180, 180)
        strength = rng.uniform(0.75, 1.2) if way == "as it is" else rng.uniform(0.5, 1.2)
        return _turned_hue(colours, grey, float(np.radians(degrees)), strength)
    if way == "cloth":
        target, name = cloth_colour(rng)
    else:
        skin = skin_of(image, region.face)
        target, name = shifted(scaled(skin, rng.uniform(0.7, 1.25)), rng, 16), "skin"
    parameters["colour"], parameters["colour_name"] = target, name
    wanted = 0.3 * target[0] + 0.59 * target[1] + 0.11 * target[2]
    # Folds are as deep in the new colour; what is black has noise that must not grow with it.
    depth = float(np.clip(wanted / lightness, 0.45, 1.5))
    shade = (wanted + (grey - np.float32(lightness)) * np.float32(depth)) / np.float32(max(wanted, 4.0))
    print_kept = np.float32(rng.choice([0.0, rng.uniform(0.3, 1.0)]))
    parts = []
    for band in range(3):
        print_ = (colours[band] - grey) - np.float32(mean[band] - lightness)
        parts.append(np.float32(target[band]) * shade + print_ * print_kept)
    return np.stack(parts).clip(0, 255)


def _turned_hue(colours: Field, grey: Field, radians: float, strength: float) -> Field:
    """Colours with their hue turned and their saturation multiplied; lightness stays."""
    blueness, redness = (colours[2] - grey) * np.float32(0.564), (colours[0] - grey) * np.float32(0.713)
    cos, sin = np.float32(np.cos(radians) * strength), np.float32(np.sin(radians) * strength)
    blueness, redness = cos * blueness - sin * redness, sin * blueness + cos * redness
    red = grey + redness * np.float32(1.403)
    blue = grey + blueness * np.float32(1.773)
    green = (grey - np.float32(0.3) * red - np.float32(0.11) * blue) * np.float32(1 / 0.59)
    return np.stack([red, green, blue]).clip(0, 255)


@dataclass(frozen=True)
class _Tone:
    """How a picture was taken, as far as it tells.

    Attributes:
        white: how bright its brightest parts are, 1 for 255.
        black: the level of its darkest parts.
        single: (2,) its redness and blueness where it has but one hue (grey or sepia), else None.
    """

    white: float
    black: float
    single: tuple[float, float] | None

    def apply(self, layer: Layer) -> Layer:
        """The layer in the picture's one hue, where it has one."""
        if self.single is None:
            return layer
        paint = layer.paint.astype(np.float32)
        grey = paint @ np.array([0.3, 0.59, 0.11], dtype=np.float32)
        redness, blueness = self.single
        greenness = -(0.3 * redness + 0.11 * blueness) / 0.59
        whole = np.stack([grey + v for v in (redness, greenness, blueness)], axis=-1)
        toned = replace(layer, paint=(whole + 0.5).clip(0, 255).astype(np.uint8))
        return toned if layer.overlay is None else replace(toned, overlay=self.apply(layer.overlay))


def _tone_of(image: Image) -> _Tone:
    step = max(1, min(image.shape[:2]) // 48)
    few = image[::step, ::step].reshape(-1, 3).astype(np.float32)
    grey = few @ np.array([0.3, 0.59, 0.11], dtype=np.float32)
    black, white = np.percentile(grey, (1, 96)).tolist()
    redness, blueness = few[:, 0] - grey, few[:, 2] - grey
    single = None
    if float(redness.std()) < 3.5 and float(blueness.std()) < 4.5:
        single = (float(redness.mean()), float(blueness.mean()))
    return _Tone(float(np.clip(white / 232, 0.3, 1.05)), black, single)


def _lit(
    colours: Field, fit: _Fit, region: Region, light: Light, tone: _Tone, rng: np.random.Generator
) -> Field:
    """The mask in this picture's light: its side, its brightness, its tint and its haze."""
    slope = -fit.mask.slope if fit.mirrored else fit.mask.slope
    outline_x = fit.to_face(fit.mask.outline)[:, 0]
    half = max(float(np.ptp(outline_x)) / 2, 8.0)
    across = (region.x - np.float32(outline_x.mean())) * np.float32(1 / half)
    # Its own light goes in part; what is steep is most often a print or a fold.
    own = 1 + np.float32(0.5 * np.clip(slope, -0.3, 0.3)) * across.clip(-1.2, 1.2)
    follow = np.float32(rng.uniform(0.3, 0.75))
    field = (1 + (light.field - 1) * follow) / own
    exposure = tone.white**0.9 * rng.uniform(0.86, 1.06)
    tint = 1 + (light.tint - 1) * np.float32(0.8)
    haze = np.float32(max(0.0, tone.black - 6) * 0.8)
    lit = colours * (field * np.float32(exposure)) * tint[:, None, None]
    return haze + lit.clip(0, 255) * (1 - haze / 255)


def _lay_rim(
    canvas: Canvas, image: Image, cover: Field, colours: Field, light: Light, rng: np.random.Generator,
    parameters: dict[str, Parameter],
) -> None:  # fmt: skip
    """The mask's shadow on what lies behind it, and its colour's reflection, together with their alpha."""
    unit_px = min(canvas.region.face.unit_px, 16.0)
    width = rng.uniform(1.6, 4.5)
    strength = rng.uniform(0.1, 0.6)
    reflection = rng.uniform(0.0, 0.35) if rng.random() < 0.6 else 0.0
    parameters["shadow"], parameters["reflection"] = round(strength, 3), round(reflection, 3)
    rim = blurred(cover, width * unit_px)
    columns, rows = round(-1.8 * light.right * unit_px), round(rng.uniform(0.3, 2.5) * unit_px)
    dark = np.float32(strength) * _moved(rim, columns, rows)
    glow = np.float32(reflection) * rim
    seen = (8 * (np.maximum(dark, glow) - np.float32(0.04))).clip(0, 1)
    below = canvas.region.planes(image)
    weight = float(cover.sum()) + 1e-3
    mean = (colours * cover).sum(axis=(1, 2)) / np.float32(weight)
    tint = (mean / max(float(mean.mean()), 8.0)).clip(0.5, 1.6)
    level = np.float32(1 + 0.25 * (float(mean.mean()) / 255 - 0.5))
    factor = 1 + glow * (tint[:, None, None] * level - 1)
    canvas.lay(seen, (below * (1 - dark) * factor).clip(0, 255))


def _moved(field: Field, columns: int, rows: int) -> Field:
    """The field (h, w), moved right and down by whole pixels; its border is repeated."""
    height, width = field.shape
    at_row = (np.arange(height) - rows).clip(0, height - 1)
    at_column = (np.arange(width) - columns).clip(0, width - 1)
    return field[at_row[:, None], at_column[None, :]]


def _straps(
    cut: Cut, fit: _Fit, turn: float, rng: np.random.Generator
) -> tuple[list[Points], float]:
    """The middle lines of the straps of both sides, and their width; none on what is tied behind."""
    width = rng.uniform(1.3, 3.2) if rng.random() < 0.85 else rng.uniform(3.2, 5.0)
    tall = cut.bottom - cut.top > 125
    if fit.mask.is_open or tall or rng.random() < 0.12:
        return [], width
    around_head = rng.random() < 0.15
    crossed = rng.random() < 0.06
    paths = []
    ear_y, ear_height = 150 + rng.uniform(-8, 6), rng.uniform(10, 20)
    sag = rng.uniform(-2, 5)
    for side, (upper, lower) in zip((-1, 1), cut.corners, strict=True):
        # An ear lies three times as far behind the eyes as the nose lies before them.
        ear_x = MIDDLE[0] + side * rng.uniform(62, 72) - 1.7 * turn
        if side * (ear_x - upper[0]) < 3:
            continue  # behind the cheek that is turned away
        if around_head:
            far = MIDDLE[0] + side * rng.uniform(74, 84) - 1.7 * turn
            ends = ((far, upper[1] - rng.uniform(16, 44)), (far, lower[1] - rng.uniform(0, 16)))
        else:
            ends = ((ear_x, ear_y - ear_height), (ear_x - side * rng.uniform(0, 3), ear_y + ear_height))
        if crossed:
            ends = ends[::-1]
        for corner, end in zip((upper, lower), ends, strict=True):
            inner = corner + (np.array(MIDDLE) - corner) * 0.08
            bend = (corner * 0.5 + np.array(end) * 0.5) + (0, sag)
            paths.append(curve((inner[0], inner[1]), (bend[0], bend[1]), end, 9))
    return paths, width


def _lay_straps(
    canvas: Canvas, straps: list[Points], width: float, colours: Field, cover: Field, light: Light,
    tone: _Tone, rng: np.random.Generator,
) -> None:  # fmt: skip
    """Straps with a rounded shade and a thin shadow below."""
    total = float(cover.sum()) + 1e-3
    own = ((colours * cover).sum(axis=(1, 2)) / np.float32(total)).tolist()
    dark = sum(own) < 240
    choice = pick(rng, {"white": 2.0 if dark else 7.0, "black": 6.0 if dark else 0.7, "own": 2.0})
    exposure = tone.white * rng.uniform(0.85, 1.0)
    if choice == "own":
        base = (round(own[0]), round(own[1]), round(own[2]))
    else:
        base = scaled((234, 234, 232) if choice == "white" else (30, 30, 33), exposure)
    base = shifted(base, rng, 6)
    parts: list[tuple[Points, Colour]] = []
    for path in straps:
        parts.append((line(path, width), scaled(base, 0.78)))
        parts.append((line(path - (0, width * 0.12), width * 0.62), base))
    shade = 1 + (light.field - 1) * np.float32(0.6)
    # A strap lies on the skin: its shadow is as thin as it is.
    canvas.lay_parts([(line(path + (0, width * 0.55), width * 0.9), (26, 18, 16)) for path in straps[:0]])
    canvas.lay_parts(parts, shade)


def _softness_of(image: Image, face: FaceGeometry) -> float:
    """By how much the drawing is to be blurred to be as sharp as the face, in canonical pixels."""
    height_px, width_px = image.shape[:2]
    left, top, right, bottom = face.upright_box((78, 104, 176, 150), width_px, height_px)
    if right - left < 12 or bottom - top < 8:
        return 0.4
    patch = PillowImage.fromarray(image[top:bottom, left:right]).convert("L")
    levels = np.asarray(patch, dtype=np.float32)
    fine = np.abs(levels - np.asarray(patch.filter(ImageFilter.GaussianBlur(1.0)), dtype=np.float32))
    broad = np.abs(levels - np.asarray(patch.filter(ImageFilter.GaussianBlur(4.0)), dtype=np.float32))
    ratio = float(fine.mean()) / max(float(broad.mean()), 1e-3)
    sigma_px = float(np.interp(ratio, _RATIOS, _SIGMAS_PX))
    return float(np.clip(sigma_px / face.unit_px, 0.3, 6.0))


_RATIOS = (0.05, 0.10, 0.15, 0.20, 0.25, 0.30)
_SIGMAS_PX = (4.0, 2.2, 1.4, 0.9, 0.55, 0.3)


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

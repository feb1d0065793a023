"""Masks cut out of photographs, fitted to another face, with new colours, light and straps."""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from facemend.alignment import CROP_SIZE_PX, FRAME_WIDTH_PX, Points, canonical_landmarks, frame_to_crop
from facemend.images import Image
from facemend.occlusion.canvas import (
    Canvas,
    Colour,
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
from facemend.occlusion.geometry import FaceGeometry, curve, line, turned
from facemend.occlusion.light import Light, average_colour, cloth_colour, light_of, scaled, shifted, skin_of
from facemend.occlusion.mask_shapes import MIDDLE, Cut
from facemend.occlusion.masks import draw_overlay
from facemend.occlusion.objects import own_hair
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


@dataclass(frozen=True)
class Fit:
    """How a mask sits: from the frame of its photograph to the canonical face, and back.

    Attributes:
        mask: the cut-out.
        mirrored: whether left and right are exchanged.
        nose_shift: of the face that it was cut from, canonical pixels, after mirroring.
        scale, degrees, shift: how far it is off its location, about the mouth.
        waves: (2, 4, 4) canonical pixels: how it is also bent, on a coarse grid.
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
        x, y = self._source.to_canonical(points[:, 0], points[:, 1])
        points = turned(np.column_stack([x, y]), MIDDLE, self.degrees)
        return (points - MIDDLE) * self.scale + MIDDLE + self.shift

    def sample(self, region: Region) -> Field:
        """What of the mask lies at a region's pixels: (4, h, w), colours times alpha and alpha, 0-255."""
        x = region.x + region.stretch(self.waves[0]) - np.float32(MIDDLE[0] + self.shift[0])
        y = region.y + region.stretch(self.waves[1]) - np.float32(MIDDLE[1] + self.shift[1])
        cos, sin = (
            np.float32(turn(math.radians(-self.degrees)) / self.scale) for turn in (math.cos, math.sin)
        )
        u, v = self._source.bend(
            cos * x - sin * y + np.float32(MIDDLE[0]), sin * x + cos * y + np.float32(MIDDLE[1])
        )
        if self.mirrored:
            u = CROP_SIZE_PX - 1 - u
        levels, zoom = self._scaled(_TO_CROP * region.face.unit_px * self.scale)
        # Corners of pixels are what scales: of the crop, of the frame 20 rows higher, of the cut-out.
        left, top = self.mask.corner + (0.0, -20.0)
        u = (u + np.float32(0.5)) * np.float32(zoom / _TO_CROP) - np.float32(left * zoom + 0.5)
        v = (v + np.float32(0.5)) * np.float32(zoom / _TO_CROP) - np.float32(top * zoom + 0.5)
        sampled = _bilinear(levels, u.ravel(), v.ravel())
        return np.ascontiguousarray(sampled.T).reshape(4, region.height_px, region.width_px)

    def _scaled(self, wanted: float) -> tuple[Image, float]:
        """The cut-out at least as fine as is wanted, image pixels for one of its own, and its zoom.

        Bilinear values of twice as many pixels are as sharp as bicubic ones.
        """
        picture = PillowImage.fromarray(self.mask.levels, "RGBX")
        if wanted > 0.75:
            doubled = picture.resize(
                (picture.width * 2, picture.height * 2), PillowImage.Resampling.BICUBIC
            )
            return np.asarray(doubled), 2.0
        shrink = max(1, min(8, round(1 / max(wanted, 0.1))))
        return np.asarray(picture.reduce(shrink)), 1 / shrink


def _bilinear(levels: Image, u: Field, v: Field) -> Field:
    """The values (N, 4) at columns u and rows v (N,). Outside it is empty."""
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
    found: Field = upper + (lower - upper) * below
    return found


def draw_fit(mask: CutMask, mirrored: bool, nose_shift: float, rng: np.random.Generator) -> Fit:
    """Where the mask sits: as in its photograph, or a little off, low or crooked."""
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
    return Fit(mask, mirrored, nose_shift, scale, degrees, shift, waves, worn)


def cut_of(fit: Fit) -> Cut:
    """The mask's outline and corners on the canonical face, as for drawn masks."""
    outline = fit.to_face(fit.mask.outline)
    corners = fit.to_face(fit.mask.corners.reshape(-1, 2)).reshape(2, 2, 2)
    if fit.mirrored:
        corners = corners[::-1]
    half_width = float(np.ptp(outline[:, 0])) / 2
    top, bottom = float(outline[:, 1].min()), float(outline[:, 1].max())
    return Cut("real", outline, corners, top, bottom, half_width, fit.worn, fit.degrees)


_SHOULDER = np.float32(205)


def dyed(
    colours: Field, mean: Field, image: Image, region: Region, rng: np.random.Generator,
    parameters: dict[str, Parameter],
) -> Field:  # fmt: skip
    """The mask's colours as they are, turned in hue, or in another colour with the same folds."""
    way = pick(rng, {"as it is": 5.0, "hue": 1.4, "cloth": 1.8, "skin": 1.5, "beside": 0.6})
    parameters["dye"] = way
    red, green, blue = mean.tolist()
    lightness = max(0.3 * red + 0.59 * green + 0.11 * blue, 4.0)
    grey = 0.3 * colours[0] + 0.59 * colours[1] + 0.11 * colours[2]
    if way in ("as it is", "hue"):
        degrees = rng.normal(0, 5) if way == "as it is" else rng.uniform(-180, 180)
        strength = rng.uniform(0.75, 1.2) if way == "as it is" else rng.uniform(0.5, 1.2)
        return _turned_hue(colours, grey, float(np.radians(degrees)), strength)
    target, name = _new_colour(way, image, region.face, rng)
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


def _new_colour(way: str, image: Image, face: FaceGeometry, rng: np.random.Generator) -> tuple[Colour, str]:
    """A colour for cloth and its name: any, next to this face's skin, or of its cap, scarf or clothes."""
    if way == "cloth":
        return cloth_colour(rng)
    skin = skin_of(image, face)
    if way == "beside":
        place = _BESIDE[int(rng.integers(len(_BESIDE)))]
        return shifted(average_colour(image, face, place[None], 5) or skin, rng, 10), "beside"
    near = scaled(skin, rng.uniform(0.7, 1.25))
    if rng.random() < 0.25:
        level = round(sum(near) / 3)
        return shifted((level, level, level), rng, 10), "grey"
    return shifted(near, rng, 16), "skin"


_BESIDE: Points = np.array([(127, 40), (127, 262), (70, 250), (184, 250), (60, 90)], dtype=np.float64)


def _turned_hue(colours: Field, grey: Field, radians: float, strength: float) -> Field:
    """Colours with their hue turned and their saturation multiplied. Lightness stays."""
    blueness, redness = (colours[2] - grey) * np.float32(0.564), (colours[0] - grey) * np.float32(0.713)
    cos, sin = np.float32(np.cos(radians) * strength), np.float32(np.sin(radians) * strength)
    blueness, redness = cos * blueness - sin * redness, sin * blueness + cos * redness
    red = grey + redness * np.float32(1.403)
    blue = grey + blueness * np.float32(1.773)
    green = (grey - np.float32(0.3) * red - np.float32(0.11) * blue) * np.float32(1 / 0.59)
    return np.stack([red, green, blue]).clip(0, 255)


@dataclass(frozen=True)
class Tone:
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


def tone_of(image: Image) -> Tone:
    """How a picture (H, W, 3) was taken."""
    step = max(1, min(image.shape[:2]) // 48)
    few = image[::step, ::step].reshape(-1, 3).astype(np.float32)
    grey = few @ np.array([0.3, 0.59, 0.11], dtype=np.float32)
    black, white = np.percentile(grey, (1, 96)).tolist()
    redness, blueness = few[:, 0] - grey, few[:, 2] - grey
    single = None
    if float(redness.std()) < 3.5 and float(blueness.std()) < 4.5:
        single = (float(redness.mean()), float(blueness.mean()))
    return Tone(float(np.clip(white / 232, 0.3, 1.05)), black, single)


def lit_mask(
    colours: Field, fit: Fit, region: Region, light: Light, tone: Tone, rng: np.random.Generator
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
    # White cloth keeps its folds: what is brighter than a shoulder is compressed.
    lit -= (lit - _SHOULDER).clip(0) * np.float32(0.55)
    hazy: Field = haze + lit.clip(0, 255) * (1 - haze / 255)
    return hazy


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

"""How a mask cut out of a photograph sits on another face, and its colours there."""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from PIL import Image as PillowImage

from facemend.alignment import CROP_SIZE_PX, FRAME_WIDTH_PX, Points, canonical_landmarks, frame_to_crop
from facemend.images import Image
from facemend.occlusion.canvas import Colour, Field, Region, pick
from facemend.occlusion.cutouts import CutMask
from facemend.occlusion.geometry import FaceGeometry, turned
from facemend.occlusion.light import Light, average_colour, cloth_colour, scaled, shifted, skin_of
from facemend.occlusion.mask_shapes import MIDDLE, Cut
from facemend.occlusion.types import Layer, Parameter

_EYES = canonical_landmarks()[:2].mean(axis=0)
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

"""Painting on a region of a picture: anti-aliased shapes, lines, grain, layers."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFilter, ImageFont

from facemend.alignment import Points
from facemend.images import Image
from facemend.occlusion.geometry import FaceGeometry
from facemend.occlusion.types import Extent, Layer, Parameter

Field: TypeAlias = npt.NDArray[np.float32]
"""(h, w) over a region's pixels. Colours are (3, h, w), since numpy is quick along whole planes."""
Colour: TypeAlias = tuple[int, int, int]
"""RGB, 0-255."""

Part: TypeAlias = tuple[Points, Colour]
"""A polygon in canonical pixels and its colour. Of several, later ones lie over earlier ones."""

T = TypeVar("T")

_SUPERSAMPLED_PX = 1100
"""Longest side of a supersampled drawing."""
_TABLE_PX = 256
_FAINT, _FIRM = 0.04, 8
_VISIBLE = 4
_MOST_PASSES = 4


def pick(rng: np.random.Generator, weights: Mapping[T, float]) -> T:
    """One of the keys, drawn by weight. Their order matters, the weights' sum does not."""
    keys = list(weights)
    place = rng.random() * sum(weights.values())
    for key in keys:
        place -= weights[key]
        if place < 0:
            return key
    return keys[-1]


@dataclass(frozen=True)
class Region:
    """A box of pixels with the canonical coordinates of each.

    Attributes:
        face: the geometry that the coordinates belong to.
        left, top: the box's first column and row in the picture.
        x, y: float32 (h, w), canonical coordinates of the pixel centres.
    """

    face: FaceGeometry
    left: int
    top: int
    x: Field
    y: Field

    @property
    def height_px(self) -> int:
        """Rows of the box."""
        return int(self.x.shape[0])

    @property
    def width_px(self) -> int:
        """Columns of the box."""
        return int(self.x.shape[1])

    @property
    def box(self) -> tuple[slice, slice]:
        """Indexes the picture's pixels."""
        return np.s_[self.top : self.top + self.height_px, self.left : self.left + self.width_px]

    def planes(self, image: Image) -> Field:
        """The picture's colours in the box: float32 (3, h, w), 0-255."""
        return np.ascontiguousarray(image[self.box].transpose(2, 0, 1), dtype=np.float32)

    def coarse(self, step_px: int) -> "Region":
        """The same box with every step-th pixel, for what is smooth. Enlarge with `stretch`."""
        return Region(
            self.face, self.left, self.top, self.x[::step_px, ::step_px], self.y[::step_px, ::step_px]
        )

    def around(self, points: Points, margin: float) -> "Region | None":
        """The part of this region around canonical points (N, 2), or None where there is none.

        Args:
            margin: canonical pixels added on every side.
        """
        placed = self.to_pixels(points)
        edge, limit = margin * self.face.unit_px, (self.width_px, self.height_px)
        left, top = np.floor(placed.min(axis=0) - edge).clip(0, limit).astype(int).tolist()
        right, bottom = np.ceil(placed.max(axis=0) + edge + 1).clip(0, limit).astype(int).tolist()
        if right - left < 2 or bottom - top < 2:
            return None
        x, y = self.x[top:bottom, left:right], self.y[top:bottom, left:right]
        return Region(self.face, self.left + left, self.top + top, x, y)

    def stretch(self, values: Field) -> Field:
        """Enlarges a coarse field (any h, w) smoothly to the whole box."""
        if values.shape == self.x.shape:
            return values
        picture = PillowImage.fromarray(values)
        enlarged = picture.resize((self.width_px, self.height_px), PillowImage.Resampling.BILINEAR)
        return np.asarray(enlarged, dtype=np.float32)

    def to_pixels(self, points: Points) -> Points:
        """Canonical points (N, 2) to pixels of the box. Points far away are brought near."""
        reach = 4.0 * max(self.width_px, self.height_px)
        nearby: Points = (self.face.to_pixels(points) - (self.left, self.top)).clip(-reach, reach)
        return nearby


def region_around(face: FaceGeometry, points: Points, image: Image, margin: float = 4.0) -> Region | None:
    """The region of the picture around canonical points (N, 2), or None where it lies outside.

    Args:
        margin: canonical pixels added on every side.
    """
    height_px, width_px = image.shape[:2]
    placed = face.to_pixels(points)
    if not np.isfinite(placed).all():
        return None
    edge = margin * face.unit_px
    limit = (width_px, height_px)
    low = np.floor(placed.min(axis=0) - edge).clip(0, limit).astype(int)
    high = np.ceil(placed.max(axis=0) + edge + 1).clip(0, limit).astype(int)
    (left, top), (right, bottom) = low.tolist(), high.tolist()
    if right - left < 2 or bottom - top < 2:
        return None
    columns = np.arange(left, right, dtype=np.float64)
    rows = np.arange(top, bottom, dtype=np.float64)
    x, y = face.to_canonical(columns[None, :], rows[:, None])
    return Region(face, left, top, x.astype(np.float32), y.astype(np.float32))


class Sketch:
    """Shapes in canonical coordinates, drawn one over the other with antialiased edges."""

    def __init__(self, region: Region) -> None:
        self._region = region
        self._n = _fineness(region)
        # Four plain bands: Pillow would divide an RGBA picture's colours by alpha when it shrinks it.
        canvas_px = (region.width_px * self._n, region.height_px * self._n)
        self._picture = PillowImage.new("RGBX", canvas_px)
        self._draw = ImageDraw.Draw(self._picture)
        self._low, self._high = [region.width_px, region.height_px], [0, 0]

    def polygons(self, parts: Sequence[Part]) -> None:
        """Fills polygons, canonical points (N, 2) each, one over the other."""
        if not parts:
            return
        corners = self._region.to_pixels(np.concatenate([points for points, _ in parts]))
        low_x, low_y = corners.min(axis=0).tolist()
        high_x, high_y = corners.max(axis=0).tolist()
        self._note((low_x, low_y), (high_x, high_y))
        numbers = ((corners + 0.5) * self._n - 0.5).round().ravel().tolist()
        start = 0
        for points, colour in parts:
            end = start + 2 * len(points)
            self._draw.polygon(numbers[start:end], fill=(*colour, 255))
            start = end

    def text(self, middle: tuple[float, float], words: str, size: float, colour: Colour) -> None:
        """Writes level letters of `size` canonical pixels around a canonical point."""
        size_px = min(size * self._region.face.unit_px, float(self._region.height_px)) * self._n
        if size_px < 4:
            return
        x, y = ((self._region.to_pixels(np.array([middle])) + 0.5) * self._n)[0].tolist()
        font = _font(size_px)
        self._draw.text((x, y), words, fill=(*colour, 255), font=font, anchor="mm")
        left, top, right, bottom = self._draw.textbbox((x, y), words, font=font, anchor="mm")
        self._note((left / self._n, top / self._n), (right / self._n, bottom / self._n))

    def _note(self, low: tuple[float, float], high: tuple[float, float]) -> None:
        """Remembers that something was drawn between two pixels of the region."""
        limits = (self._region.width_px, self._region.height_px)
        for axis in (0, 1):
            self._low[axis] = min(self._low[axis], max(0, math.floor(low[axis]) - 1))
            self._high[axis] = max(self._high[axis], min(limits[axis], math.ceil(high[axis]) + 2))

    def finish(self) -> tuple[tuple[slice, slice], Field]:
        """The part of the region that is drawn on, and what is there: (4, h, w), 0-255.

        The colours are already multiplied by the coverage, the fourth band: the empty canvas is black.
        """
        (left, top), (right, bottom), n = self._low, self._high, self._n
        if right <= left or bottom <= top:
            return np.s_[0:0, 0:0], np.zeros((4, 0, 0), dtype=np.float32)
        reduced = self._picture.reduce(n, (left * n, top * n, right * n, bottom * n))
        planes = np.ascontiguousarray(np.asarray(reduced).transpose(2, 0, 1), dtype=np.float32)
        return np.s_[top:bottom, left:right], planes


@lru_cache(maxsize=4)
def _font(size_px: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font. Loading it takes longer than writing a word."""
    return ImageFont.load_default(size=size_px)


def _fineness(region: Region) -> int:
    """How many times finer than the picture shapes are drawn: three times in a 256 px crop.

    Pillow's polygons are a little too wide, by their last pixels. The same fineness on the face makes
    that the same at every size.
    """
    wanted = min(6, max(2, round(3 / region.face.unit_px)))
    return max(1, min(wanted, _SUPERSAMPLED_PX // max(region.width_px, region.height_px)))


def coverage_of(region: Region, outline: Points) -> Field:
    """The coverage of one closed outline, canonical points (N, 2): float32 (h, w), 0-1."""
    n = _fineness(region)
    canvas = PillowImage.new("L", (region.width_px * n, region.height_px * n))
    corners = ((region.to_pixels(outline) + 0.5) * n - 0.5).round()
    ImageDraw.Draw(canvas).polygon(corners.ravel().tolist(), fill=255)
    return np.asarray(canvas.reduce(n), dtype=np.float32) * np.float32(1 / 255)


class Canvas:
    """What is painted over a region, layer by layer, and where."""

    def __init__(self, region: Region) -> None:
        self.region = region
        # Three planes of colours times alpha, and alpha times 255.
        self._stack: Field = np.zeros((4, *region.x.shape), dtype=np.float32)

    def part(self, region: Region) -> "Canvas":
        """The part of this canvas over a smaller region inside its own. Both share what is painted."""
        part = Canvas.__new__(Canvas)
        part.region = region
        top, left = region.top - self.region.top, region.left - self.region.left
        part._stack = self._stack[:, top : top + region.height_px, left : left + region.width_px]
        return part

    def lay(self, coverage: Field, paint: Field | Colour) -> None:
        """Paints over what is there: coverage (h, w) 0-1, paint one colour or (3, h, w) 0-255."""
        if isinstance(paint, tuple):
            paint = np.array(paint, dtype=np.float32)[:, None, None]
        self._stack[:3] += (paint - self._stack[:3]) * coverage
        self._stack[3] += (255 - self._stack[3]) * coverage

    def lay_sketch(self, sketch: Sketch, shade: Field | None = None, within: Field | None = None) -> None:
        """Paints a sketch over what is there, its colours multiplied by `shade`.

        Args:
            shade: (h, w), or (3, h, w).
            within: (h, w), 0-1: nothing is painted where it is 0.
        """
        box, top = sketch.finish()
        if within is not None:
            top *= within[box]
        stack = self._stack[:, *box]
        stack *= 1 - top[3] * np.float32(1 / 255)
        if shade is not None:
            top[:3] *= shade[..., *box]
        stack += top

    def lay_parts(
        self, parts: Sequence[Part], shade: Field | None = None, within: Field | None = None
    ) -> None:
        """Paints polygons as `lay_sketch` does."""
        sketch = Sketch(self.region)
        sketch.polygons(parts)
        self.lay_sketch(sketch, shade, within)

    def lay_shadow(self, image: Image, dark: Field) -> None:
        """Darkens the picture by a share, dark (h, w) 0-1, and counts that as occluded.

        Alpha is whole where the shadow can be seen: what lies in it is to be replaced, not mixed with
        what the shadow leaves of it. Only its last faint end fades out.
        """
        dark = (dark - np.float32(_FAINT)).clip(0, 1)
        alpha = (_FIRM * dark).clip(0, 1)
        self.lay(alpha, self.region.planes(image) * (1 - dark / np.maximum(alpha, np.float32(1e-3))))

    def lay_cast(self, image: Image, alpha: Field, dark: Field, glow: Field, dye: Field) -> None:
        """Darkens the picture and mixes a colour into it, and counts that as occluded.

        Args:
            alpha: (h, w): how far the picture counts as occluded there.
            dark: (h, w), 0-1: what share of the light is taken away.
            glow: (h, w), 0-1: what share of the colour is mixed in before.
            dye: (3,), that colour, 0-255.
        """
        glow = glow * (1 - dark)
        self._stack *= 1 - alpha
        self._stack[:3] += self.region.planes(image) * (alpha - dark - glow) + dye[:, None, None] * glow
        self._stack[3] += 255 * alpha

    def hide(self, coverage: Field) -> None:
        """Takes away what something else hides: coverage (h, w), 0-1."""
        self._stack *= 1 - coverage

    def finish(
        self,
        image: Image,
        extent: Extent,
        parameters: Mapping[str, Parameter],
        *,
        softness: float = 0.0,
        noise: Field | None = None,
        overlay: Layer | None = None,
        underlay: Layer | None = None,
        firmness: float = 1.0,
    ) -> Layer:
        """The layer for the whole picture.

        Args:
            softness: standard deviation of a last blur in canonical pixels: photos are never as sharp
                as what is drawn.
            noise: (h, w), added to the colours in the end.
            firmness: above 1, alpha is multiplied by it wherever it is below 1, and the paint holds
                what is seen there: thin straps and soft edges are then to be replaced whole.
        """
        stack = _softened(self._stack, min(softness * self.region.face.unit_px, 16.0))
        alpha = np.rint(stack[3])
        # What nobody can see is not part of the hole.
        alpha *= alpha >= _VISIBLE
        if firmness > 1:
            firm = np.rint(stack[3] * np.float32(firmness)).clip(0, 255) * (alpha > 0)
            below = self.region.planes(image) * ((firm - stack[3]).clip(0) * np.float32(1 / 255))
            colours = (stack[:3] + below) * (255 / np.maximum(firm, 1))
            alpha = firm
        else:
            colours = stack[:3] * (255 / np.maximum(stack[3], 1))
        if noise is not None:
            colours += noise
        colours += np.float32(0.5)
        whole_alpha = np.zeros(image.shape[:2], dtype=np.float32)
        whole_alpha[self.region.box] = alpha * np.float32(1 / 255)
        paint = np.zeros_like(image)
        levels = colours.clip(0, 255).astype(np.uint8)
        for band in range(3):  # three times quicker than one transposed copy
            paint[self.region.box][..., band] = levels[band]
        return Layer(whole_alpha, paint, extent, parameters, overlay, underlay)


def blend(image: Image, layer: Layer) -> Image:
    """Paints a layer onto a picture. Where alpha is 0 the picture keeps its bytes."""
    result = image.copy()
    rows, columns = (np.flatnonzero(layer.alpha.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return result
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    below = image[box].astype(np.float32)
    paint = layer.paint if layer.paint.ndim == 1 else layer.paint[box]
    weight = layer.alpha[box].repeat(3, axis=1).reshape(below.shape)  # quicker than broadcasting
    mixed = below + weight * (paint.astype(np.float32) - below)
    result[box] = np.rint(mixed).astype(np.uint8)
    return result


def _softened(planes: Field, sigma_px: float) -> Field:
    """Planes (n, h, w) of 0-255 after a Gaussian-like blur."""
    if sigma_px < 0.2:
        return planes
    passes = math.ceil(sigma_px**2 / 0.66)
    if passes > _MOST_PASSES:
        radius = (math.sqrt(12 * sigma_px**2 + 1) - 1) / 2
        levels = (planes + np.float32(0.5)).clip(0, 255).astype(np.uint8)
        pictures = (PillowImage.fromarray(plane).filter(ImageFilter.BoxBlur(radius)) for plane in levels)
        return np.stack([np.asarray(picture, dtype=np.float32) for picture in pictures])
    # Neighbours exchange a share of their difference, first down, then across: the weights w, 1 - 2w, w.
    share = np.float32(sigma_px**2 / (2 * passes))
    soft = planes.copy()
    for _ in range(passes):
        flow = (soft[:, 1:] - soft[:, :-1]) * share
        soft[:, :-1] += flow
        soft[:, 1:] -= flow
        flow = (soft[:, :, 1:] - soft[:, :, :-1]) * share
        soft[:, :, :-1] += flow
        soft[:, :, 1:] -= flow
    return soft


def nothing(image: Image, extent: Extent, parameters: Mapping[str, Parameter]) -> Layer:
    """The layer of a drawing that lies outside the picture."""
    return Layer(np.zeros(image.shape[:2], dtype=np.float32), image, extent, parameters)


def blurred(field: Field, sigma_px: float) -> Field:
    """A field of 0-1 (h, w), blurred (in 256 levels)."""
    levels = PillowImage.fromarray((field * 255 + np.float32(0.5)).astype(np.uint8))
    shrink = 2 if sigma_px > 2 else 1
    soft = levels.reduce(shrink).filter(ImageFilter.GaussianBlur(min(sigma_px, 64.0) / shrink))
    if shrink > 1:
        soft = soft.resize(levels.size, PillowImage.Resampling.BILINEAR)
    return np.asarray(soft, dtype=np.float32) * np.float32(1 / 255)


@lru_cache(maxsize=8)
def noise_table(cells: int) -> Field:
    """Seamless smooth noise, float32 (256, 256), about -1 to 1: `cells` bumps a side (a power of two)."""
    rng = np.random.default_rng(cells)
    grid = rng.integers(0, 256, (cells, cells), dtype=np.uint8)
    if cells < _TABLE_PX:
        side = 3 * _TABLE_PX
        tiled = PillowImage.fromarray(np.tile(grid, (3, 3))).convert("F")
        smooth = np.asarray(tiled.resize((side, side), PillowImage.Resampling.BICUBIC))
        table = smooth[_TABLE_PX : 2 * _TABLE_PX, _TABLE_PX : 2 * _TABLE_PX]
    else:
        table = grid.astype(np.float32)
    return np.ascontiguousarray(table / 127.5 - 1, dtype=np.float32)


def look_up(table: Field, u: Field, v: Field) -> Field:
    """The values of a seamless table at (u, v), in its own pixels, around and around."""
    height, width = table.shape[:2]
    found: Field = table[v.astype(np.int32) & (height - 1), u.astype(np.int32) & (width - 1)]
    return found


def grain(region: Region, rng: np.random.Generator, strength: float) -> Field:
    """Noise of single pixels over a region (h, w), about -strength to strength."""
    table = noise_table(_TABLE_PX)
    row, column = (int(v) for v in rng.integers(0, _TABLE_PX, 2))
    rows = (np.arange(region.height_px) + row) & (_TABLE_PX - 1)
    columns = (np.arange(region.width_px) + column) & (_TABLE_PX - 1)
    noise: Field = table[rows[:, None], columns[None, :]] * np.float32(strength)
    return noise

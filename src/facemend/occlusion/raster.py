"""Painting on a part of a picture: canonical coordinates of its pixels, supersampled shapes, layers.

Everything here works on the bounding box of what is drawn. Only sums, products and square roots touch
pixels, so that every machine computes the same bytes; sines and the like are for single numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFilter

from facemend.frame import Points
from facemend.images import Image
from facemend.occlusion.geometry import FaceGeometry
from facemend.occlusion.types import Extent, Layer, Parameter

Field: TypeAlias = npt.NDArray[np.float32]
"""(h, w) or (h, w, 3) over a region's pixels."""
Colour: TypeAlias = tuple[int, int, int]
"""RGB, 0-255."""

T = TypeVar("T")

_SUPERSAMPLED_PX = 1100
"""Longest side of a supersampled drawing."""
_TABLE_PX = 256


def pick(rng: np.random.Generator, weights: Mapping[T, float]) -> T:
    """One of the keys, drawn by weight; their order matters, the weights' sum does not."""
    total = sum(weights.values())
    place = rng.random() * total
    for key, weight in weights.items():
        place -= weight
        if place < 0:
            return key
    return next(reversed(weights))


def lerp(a: Field, b: Field | float, share: Field | float) -> Field:
    """a where share is 0, b where it is 1."""
    result: Field = a + (b - a) * share
    return result


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

    def coarse(self, step_px: int) -> "Region":
        """The same box with every step-th pixel, for what is smooth; enlarge with `stretch`."""
        return Region(
            self.face, self.left, self.top, self.x[::step_px, ::step_px], self.y[::step_px, ::step_px]
        )

    def stretch(self, values: Field) -> Field:
        """Enlarges a coarse field (any h, w) smoothly to the whole box."""
        if values.shape == self.x.shape:
            return values
        picture = PillowImage.fromarray(values)
        enlarged = picture.resize((self.width_px, self.height_px), PillowImage.Resampling.BILINEAR)
        return np.asarray(enlarged, dtype=np.float32)

    def to_pixels(self, points: Points) -> Points:
        """Canonical points (N, 2) to pixels of the box; far away ones are brought near."""
        placed = self.face.place(points) - (self.left, self.top)
        reach = 4.0 * max(self.width_px, self.height_px)
        nearby: Points = np.nan_to_num(placed, nan=-reach).clip(-reach, reach)
        return nearby


def region_around(face: FaceGeometry, points: Points, image: Image, margin: float = 4.0) -> Region | None:
    """The region of the picture around canonical points (N, 2), or None where it lies outside.

    Args:
        margin: canonical pixels added on every side.
    """
    height_px, width_px = image.shape[:2]
    placed = face.place(points)
    edge = margin * face.unit_px
    limit = (width_px, height_px)
    low = np.nan_to_num(np.floor(placed.min(axis=0) - edge)).clip(0, limit).astype(int)
    high = np.nan_to_num(np.ceil(placed.max(axis=0) + edge + 1)).clip(0, limit).astype(int)
    (left, top), (right, bottom) = low.tolist(), high.tolist()
    if right - left < 2 or bottom - top < 2:
        return None
    columns = np.arange(left, right, dtype=np.float64)
    rows = np.arange(top, bottom, dtype=np.float64)
    x, y = face.locate(columns[None, :], rows[:, None])
    return Region(face, left, top, x.astype(np.float32), y.astype(np.float32))


class Sketch:
    """Shapes in canonical coordinates, drawn one over the other with antialiased edges."""

    def __init__(self, region: Region, fineness: int = 3) -> None:
        self._region = region
        longest = max(region.width_px, region.height_px)
        self._n = max(1, min(fineness, _SUPERSAMPLED_PX // longest))
        self._size_px = (region.width_px, region.height_px)
        canvas_px = (region.width_px * self._n, region.height_px * self._n)
        self._picture = PillowImage.new("RGBA", canvas_px)
        self._draw = ImageDraw.Draw(self._picture)

    def polygon(self, points: Points, colour: Colour) -> None:
        """Fills a polygon, canonical points (N, 2)."""
        corners = (self._region.to_pixels(points) + 0.5) * self._n - 0.5
        self._draw.polygon([(float(x), float(y)) for x, y in corners.round()], fill=(*colour, 255))

    def polygons(self, many: list[Points], colour: Colour) -> None:
        """Fills several polygons with one colour."""
        for points in many:
            self.polygon(points, colour)

    def finish(self) -> tuple[Field, Field]:
        """The colours, float32 (h, w, 3) 0-255 times coverage, and the coverage (h, w) 0-1."""
        reduced = np.asarray(self._picture.reduce(self._n), dtype=np.float32)
        # Averaging with the empty canvas (0, 0, 0, 0) has multiplied the colours by the coverage.
        return reduced[..., :3], reduced[..., 3] * np.float32(1 / 255)


def cover_of(region: Region, outline: Points, fineness: int = 3) -> Field:
    """The coverage of one closed outline, canonical points (N, 2): float32 (h, w), 0-1."""
    n = max(1, min(fineness, _SUPERSAMPLED_PX // max(region.width_px, region.height_px)))
    canvas = PillowImage.new("L", (region.width_px * n, region.height_px * n))
    corners = (region.to_pixels(outline) + 0.5) * n - 0.5
    ImageDraw.Draw(canvas).polygon([(float(x), float(y)) for x, y in corners.round()], fill=255)
    return np.asarray(canvas.reduce(n), dtype=np.float32) * np.float32(1 / 255)


class Canvas:
    """What is painted over a region, layer by layer, and where: colours already times alpha."""

    def __init__(self, region: Region) -> None:
        self.region = region
        self.alpha: Field = np.zeros(region.x.shape, dtype=np.float32)
        self._painted: Field = np.zeros((*region.x.shape, 3), dtype=np.float32)

    def lay(self, cover: Field, paint: Field | Colour) -> None:
        """Paints over what is there: cover (h, w) 0-1, paint one colour or (h, w, 3) 0-255."""
        colours = np.asarray(paint, dtype=np.float32)
        self._painted += (colours - self._painted) * cover[..., None]
        self.alpha += (1 - self.alpha) * cover

    def lay_sketch(self, sketch: Sketch, shade: Field | None = None) -> None:
        """Paints a sketch over what is there, its colours multiplied by `shade` (h, w)."""
        colours, cover = sketch.finish()
        if shade is not None:
            colours = colours * shade[..., None]
        self._painted += colours - self._painted * cover[..., None]
        self.alpha += (1 - self.alpha) * cover

    def hide(self, cover: Field) -> None:
        """Takes away what something else hides: cover (h, w), 0-1."""
        self._painted *= (1 - cover)[..., None]
        self.alpha *= 1 - cover

    def finish(
        self,
        image: Image,
        extent: Extent,
        parameters: Mapping[str, Parameter],
        *,
        softness: float = 0.0,
        noise: Field | None = None,
        overlay: Layer | None = None,
    ) -> Layer:
        """The layer for the whole picture.

        Args:
            softness: standard deviation of a last blur in canonical pixels: photos are never as sharp
                as what is drawn.
            noise: (h, w), added to the colours in the end.
        """
        painted, alpha = self._painted, self.alpha
        sigma_px = min(softness * self.region.face.unit_px, 16.0)
        stack = np.empty((*alpha.shape, 4), dtype=np.float32)
        stack[..., :3], stack[..., 3] = painted, alpha * 255
        levels = (stack + np.float32(0.5)).clip(0, 255).astype(np.uint8)
        if sigma_px > 0.2:
            blurred = PillowImage.fromarray(levels, "RGBA").filter(ImageFilter.GaussianBlur(sigma_px))
            levels = np.asarray(blurred)
        stack = levels.astype(np.float32)
        colours = stack[..., :3] * (255 / np.maximum(stack[..., 3:], 1))
        if noise is not None:
            colours += noise[..., None]
        height_px, width_px = image.shape[:2]
        whole_alpha = np.zeros((height_px, width_px), dtype=np.float32)
        whole_alpha[self.region.box] = stack[..., 3] * np.float32(1 / 255)
        paint = np.zeros_like(image)
        paint[self.region.box] = (colours + np.float32(0.5)).clip(0, 255).astype(np.uint8)
        return Layer(whole_alpha, paint, extent, parameters, overlay)


def nothing(image: Image, extent: Extent, parameters: Mapping[str, Parameter]) -> Layer:
    """The layer of a drawing that lies outside the picture."""
    return Layer(np.zeros(image.shape[:2], dtype=np.float32), image, extent, parameters)


def blurred(field: Field, sigma_px: float) -> Field:
    """A field of 0-1 (h, w), blurred (in 256 levels)."""
    levels = PillowImage.fromarray((field * 255 + np.float32(0.5)).astype(np.uint8))
    soft = levels.filter(ImageFilter.GaussianBlur(min(sigma_px, 64.0)))
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

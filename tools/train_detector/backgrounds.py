"""What lies behind and beside the faces of a scene: pictures without a face, made of what is at hand.

CelebA's own margins, the photographs and textures that scikit-image carries, our cloth patterns, noise,
shapes and writing.
"""

import string
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import skimage.data
from PIL import Image as PillowImage

from facemend.images import Image
from facemend.occlusion import textures
from facemend.occlusion.textures import animal, camouflage, confetti, heather, print_, tie_dye

_PHOTOGRAPHS = (
    "brick.png", "cell.png", "chelsea.png", "coffee.png", "coins.png", "color.png", "clock_motion.png",
    "grass.png", "gravel.png", "hubble_deep_field.jpg", "ihc.png", "moon.png", "motorcycle_left.png",
    "page.png", "retina.jpg", "rocket.jpg", "text.png",
)  # fmt: skip
_PATTERNS = (
    textures.stripes, textures.pinstripes, textures.gingham, textures.tartan, textures.checkerboard,
    textures.dots,
    textures.houndstooth, textures.argyle, textures.scales, animal, camouflage, confetti, heather, print_,
    tie_dye,
)  # fmt: skip
_LETTERS = string.ascii_letters + string.digits + " !.&"
# Of the 178×218 frame: left and right of the head, above it, and the shoulders.
_MARGINS = (np.s_[:, :40], np.s_[:, 138:], np.s_[:42, :], np.s_[176:, :50], np.s_[176:, 128:])

Draw = Callable[[np.random.Generator, int], Image]


class Backgrounds:
    """Draws backgrounds (side, side, 3) of any size."""

    def __init__(self, frame: Callable[[np.random.Generator], Image]) -> None:
        """frame: a random picture of CelebA, (218, 178, 3)."""
        self._frame = frame
        folder = Path(skimage.data.__file__).parent
        self._photographs = [read_rgb(folder / name) for name in _PHOTOGRAPHS]

    def __call__(self, rng: np.random.Generator, side_px: int) -> Image:
        """A scene without a face."""
        draw = _pick(
            rng,
            (self._photograph, self._margin, _noise, _plain, self._mosaic),
            (0.3, 0.24, 0.1, 0.12, 0.24),
        )
        picture = np.ascontiguousarray(draw(rng, side_px))
        for _ in range(rng.integers(0, 7)):
            self._put_something(rng, picture)
        return picture

    def _photograph(self, rng: np.random.Generator, side_px: int) -> Image:
        """A part of a photograph of no person, turned, mirrored and tinted."""
        photo = self._photographs[rng.integers(len(self._photographs))]
        part = _part(rng, photo, float(rng.uniform(0.25, 1)))
        picture = _resized(part, side_px, cv2.INTER_AREA)
        picture = np.rot90(picture, rng.choice((0, 0, 1, 2, 3)))[:, :: rng.choice((-1, 1))]
        gains = rng.uniform(0.6, 1.3, 3) if rng.random() < 0.6 else np.full(3, rng.uniform(0.5, 1.2))
        return (picture * gains).clip(0, 255).astype(np.uint8)

    def _margin(self, rng: np.random.Generator, side_px: int) -> Image:
        """What stands beside a head in CelebA: rooms, crowds out of focus, hair, shoulders."""
        margin = self._frame(rng)[_MARGINS[rng.integers(len(_MARGINS))]]
        part = _part(rng, margin, float(rng.uniform(0.6, 1)))
        return _resized(part, side_px, cv2.INTER_CUBIC)

    def _mosaic(self, rng: np.random.Generator, side_px: int) -> Image:
        """Rectangles of everything, side by side."""
        picture = np.empty((side_px, side_px, 3), dtype=np.uint8)
        edges = [_edges(rng, side_px) for _ in "xy"]
        for top, bottom in pairwise(edges[0]):
            for left, right in pairwise(edges[1]):
                size = max(bottom - top, right - left)
                draw = _pick(
                    rng, (self._photograph, self._margin, _noise, _pattern), (0.3, 0.4, 0.15, 0.15)
                )
                picture[top:bottom, left:right] = draw(rng, size)[: bottom - top, : right - left]
        return picture

    def _put_something(self, rng: np.random.Generator, picture: Image) -> None:
        """A shape, a piece of something or writing, somewhere on the picture."""
        side_px = len(picture)
        size = int(side_px * np.exp(rng.uniform(np.log(0.04), np.log(0.5))))
        x, y = (int(v) for v in rng.integers(-size // 2, side_px, 2))
        kind = rng.random()
        if kind < 0.2:
            text = "".join(rng.choice(list(_LETTERS), rng.integers(2, 12)))
            font, scale = int(rng.integers(0, 8)), float(rng.uniform(0.3, 2.0))
            cv2.putText(
                picture,
                text,
                (x, y + size),
                font,
                scale,
                _colour(rng),
                int(rng.integers(1, 4)),
                cv2.LINE_AA,
            )
        elif kind < 0.6:
            height = max(4, int(size * rng.uniform(0.4, 1.8)))
            draw = _pick(rng, (_pattern, self._margin, _plain, self._photograph), (0.25, 0.25, 0.25, 0.25))
            paint = draw(rng, max(size, height, 4))[:height, : max(size, 4)]
            mask = np.zeros(paint.shape[:2], dtype=np.float32)
            _fill_shape(rng, mask)
            _blend(picture, paint, mask, x, y)
        else:
            # Skin and hair without a face: hands, arms, heads from behind.
            height, width = max(size, 4), max(int(size * rng.uniform(0.3, 1)), 4)
            mask = np.zeros((height, width), dtype=np.float32)
            _fill_shape(rng, mask)
            skin = np.array(_skin(rng) if rng.random() < 0.6 else _hair(rng))
            shade = np.linspace(rng.uniform(0.6, 1.1), rng.uniform(0.6, 1.1), width)
            lit = np.tile(skin * shade[:, None], (height, 1, 1))
            _blend(picture, lit.clip(0, 255).astype(np.uint8), mask, x, y)


def read_rgb(path: Path) -> Image:
    """A picture of scikit-image's, whatever its mode."""
    with PillowImage.open(path) as picture:
        colours = picture.convert("RGB")
        colours.thumbnail((700, 700))
        return np.asarray(colours, dtype=np.uint8)


def _resized(picture: Image, side_px: int, filter_: int) -> Image:
    return np.asarray(cv2.resize(picture, (side_px, side_px), interpolation=filter_), dtype=np.uint8)


def _part(rng: np.random.Generator, picture: Image, share: float) -> Image:
    height, width = (max(2, int(length * share)) for length in picture.shape[:2])
    side = min(height, width) if rng.random() < 0.7 else None
    height, width = (side, side) if side else (height, width)
    top = int(rng.integers(0, picture.shape[0] - height + 1))
    left = int(rng.integers(0, picture.shape[1] - width + 1))
    return picture[top : top + height, left : left + width]


def _plain(rng: np.random.Generator, side_px: int) -> Image:
    """A studio's background: white, black, gray or a colour, even or from light to dark."""
    colours = np.array([_colour(rng), _colour(rng)], dtype=np.float64)
    kind = rng.random()
    if kind < 0.4:
        colours[:] = rng.uniform(235, 256)
    elif kind < 0.5:
        colours[:] = rng.uniform(0, 40)
    elif kind < 0.75:
        colours[1] = colours[0] * rng.uniform(0.5, 1)
    ramp = np.linspace(0, 1, side_px)
    grid = (
        ramp[:, None] if rng.random() < 0.5 else np.hypot(ramp[:, None] - rng.random(), ramp - rng.random())
    )
    mixed = colours[0] + np.broadcast_to(grid, (side_px, side_px))[..., None].clip(0, 1) * (
        colours[1] - colours[0]
    )
    picture: Image = mixed.clip(0, 255).astype(np.uint8)
    return picture


def _noise(rng: np.random.Generator, side_px: int) -> Image:
    """Clouds of several sizes."""
    total = np.zeros((side_px, side_px, 3), dtype=np.float32)
    for cells in (3, 7, 17, 45):
        field = rng.standard_normal((cells, cells, 3), dtype=np.float32)
        if rng.random() < 0.7:
            field[:] = field.mean(axis=2, keepdims=True) * 1.7
        total += cv2.resize(field, (side_px, side_px), interpolation=cv2.INTER_CUBIC) * rng.uniform(0, 45)
    clouds: Image = (total + _colour(rng)).clip(0, 255).astype(np.uint8)
    return clouds


def _pattern(rng: np.random.Generator, side_px: int) -> Image:
    """One of our cloth patterns, flat."""
    tile = _PATTERNS[rng.integers(len(_PATTERNS))](rng).tile
    scale = float(rng.uniform(0.3, 1.5))
    repeats = [int(np.ceil(side_px / scale / length)) for length in tile.shape[:2]]
    if max(repeats) > 60:
        return _resized(tile, side_px, cv2.INTER_NEAREST)
    sheet = np.tile(tile, (*repeats, 1))[: int(side_px / scale) + 1, : int(side_px / scale) + 1]
    return _resized(sheet, side_px, cv2.INTER_AREA)


def _fill_shape(rng: np.random.Generator, mask: npt.NDArray[np.float32]) -> None:
    height, width = mask.shape
    kind = rng.random()
    if kind < 0.45:
        middle, axes = (width // 2, height // 2), (max(1, width // 2 - 1), max(1, height // 2 - 1))
        cv2.ellipse(mask, middle, axes, 0, 0, 360, 1.0, -1, cv2.LINE_AA)
    elif kind < 0.75:
        mask[:] = 1
    else:
        corners = (rng.random((int(rng.integers(3, 7)), 2)) * (width, height)).astype(np.int32)
        cv2.fillPoly(mask, [cv2.convexHull(corners)], 1.0, cv2.LINE_AA)


def _blend(picture: Image, paint: Image, mask: npt.NDArray[np.float32], x: int, y: int) -> None:
    """Paints (h, w, 3) onto the picture at x, y, which may leave it."""
    left, top = max(0, -x), max(0, -y)
    right, bottom = min(paint.shape[1], picture.shape[1] - x), min(paint.shape[0], picture.shape[0] - y)
    if right <= left or bottom <= top:
        return
    weight = mask[top:bottom, left:right, None]
    below = picture[y + top : y + bottom, x + left : x + right]
    below[:] = below + weight * (paint[top:bottom, left:right].astype(np.float32) - below)


def _edges(rng: np.random.Generator, side_px: int) -> list[int]:
    inner = rng.integers(8, side_px - 8, int(rng.integers(1, 4)))
    return sorted({0, side_px, *map(int, inner)})


def _colour(rng: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = rng.integers(0, 256, 3).tolist()
    return red, green, blue


def _skin(rng: np.random.Generator) -> tuple[float, ...]:
    light = rng.uniform(0.25, 1.0)
    return tuple((np.array([235, 190, 165]) * light + rng.normal(0, 8, 3)).clip(0, 255))


def _hair(rng: np.random.Generator) -> tuple[float, ...]:
    return tuple((np.array([130, 95, 65]) * rng.uniform(0.1, 1.5) + rng.normal(0, 6, 3)).clip(0, 255))


def _pick(rng: np.random.Generator, choices: Sequence[Draw], shares: Sequence[float]) -> Draw:
    return choices[int(rng.choice(len(choices), p=shares))]

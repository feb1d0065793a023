"""Patterns that repeat: stripes, checks, dots, gradients."""

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw

from facemend.occlusion.colours import palette
from facemend.occlusion.raster import Colour, pick
from facemend.occlusion.textures import Texture, Tile

_SIDE = 64


def _bands(rng: np.random.Generator, colours: list[Colour], count: int) -> Tile:
    """(64, 3): bands of random widths in the given colours, seen across."""
    ends = np.sort(rng.choice(np.arange(4, _SIDE - 3), size=count - 1, replace=False))
    profile = np.zeros((_SIDE, 3), dtype=np.uint8)
    for number, part in enumerate(np.split(np.arange(_SIDE), ends)):
        profile[part] = colours[number % len(colours)]
    return profile


def stripes(rng: np.random.Generator) -> Texture:
    """Stripes of two to four colours, in any direction, most often level or upright."""
    colours = palette(rng, int(rng.integers(2, 5)))
    profile = _bands(rng, colours, int(rng.integers(2, 8)))
    tile = np.repeat(profile[:, None], 4, axis=1)
    degrees = float(pick(rng, {0: 4, 90: 3, 45: 1, -45: 1})) + rng.normal(0, 3)
    return Texture("stripes", tile, _SIDE / rng.uniform(7, 60), degrees)


def pinstripes(rng: np.random.Generator) -> Texture:
    """Thin lines far apart."""
    ground, line = palette(rng, 2)
    tile = np.full((_SIDE, 4, 3), ground, dtype=np.uint8)
    tile[: int(rng.integers(4, 14))] = line
    return Texture(
        "pinstripes", tile, _SIDE / rng.uniform(5, 18), rng.choice([0.0, 90.0]) + rng.normal(0, 3)
    )


def gingham(rng: np.random.Generator) -> Texture:
    """Checks of two colours and the one between them."""
    a, b = (np.array(c, dtype=np.uint16) for c in palette(rng, 2))
    half = np.arange(_SIDE) < _SIDE // 2
    rows, columns = np.where(half[:, None], a, b), np.where(half[:, None], a, b)
    tile = ((rows[:, None] + columns[None]) // 2).astype(np.uint8)
    return Texture(
        "gingham", tile, _SIDE / rng.uniform(6, 34), float(rng.choice([0.0, 45.0])) + rng.normal(0, 3)
    )


def tartan(rng: np.random.Generator) -> Texture:
    """Bands of several colours that cross."""
    colours = palette(rng, int(rng.integers(3, 5)))
    profile = _bands(rng, colours, int(rng.integers(4, 9))).astype(np.uint16)
    tile = ((profile[:, None] + profile[None]) // 2).astype(np.uint8)
    return Texture(
        "tartan", tile, _SIDE / rng.uniform(18, 70), float(rng.choice([0.0, 45.0])) + rng.normal(0, 4)
    )


def windowpane(rng: np.random.Generator) -> Texture:
    """A grid of thin lines."""
    ground, line = palette(rng, 2)
    tile = np.full((_SIDE, _SIDE, 3), ground, dtype=np.uint8)
    width = int(rng.integers(3, 12))
    tile[:width], tile[:, :width] = line, line
    return Texture(
        "windowpane", tile, _SIDE / rng.uniform(6, 26), float(rng.choice([0.0, 45.0])) + rng.normal(0, 3)
    )


def checkerboard(rng: np.random.Generator) -> Texture:
    """Squares of two colours."""
    a, b = palette(rng, 2)
    half = np.arange(_SIDE) < _SIDE // 2
    tile = np.where((half[:, None] ^ half[None])[..., None], a, b).astype(np.uint8)
    return Texture(
        "checkerboard", tile, _SIDE / rng.uniform(6, 36), float(rng.choice([0.0, 45.0])) + rng.normal(0, 3)
    )


def zigzag(rng: np.random.Generator) -> Texture:
    """Chevrons."""
    colours = palette(rng, int(rng.integers(2, 4)))
    profile = _bands(rng, colours, 2 * int(rng.integers(1, 3)))
    ramp = np.abs(np.arange(_SIDE) - _SIDE // 2)
    tile = profile[(np.arange(_SIDE)[:, None] + ramp[None]) & (_SIDE - 1)]
    return Texture(
        "zigzag", tile, _SIDE / rng.uniform(10, 36), float(rng.choice([0.0, 90.0])) + rng.normal(0, 4)
    )


def dots(rng: np.random.Generator) -> Texture:
    """Dots in a grid or offset rows."""
    ground, dot, other = palette(rng, 3)
    side = 2 * _SIDE
    picture = PillowImage.new("RGB", (side, side), ground)
    draw = ImageDraw.Draw(picture)
    radius = rng.uniform(0.08, 0.21) * side
    centres = [(side / 2, side / 2), (0, 0), (side, 0), (0, side), (side, side)]
    second = other if rng.random() < 0.25 else dot
    for number, (x, y) in enumerate(centres):
        draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=second if number else dot)
    tile = np.asarray(picture.reduce(2))
    return Texture(
        "dots", tile, _SIDE / rng.uniform(6, 34), float(rng.choice([0.0, 45.0])) + rng.normal(0, 5)
    )


def gradient(rng: np.random.Generator) -> Texture:
    """Two or three colours that turn into each other once over the whole mask."""
    colours = np.array(palette(rng, int(rng.integers(2, 4))), dtype=np.float64)
    place = np.linspace(0, len(colours) - 1, _SIDE)
    half = np.stack([np.interp(place, np.arange(len(colours)), colours[:, c]) for c in range(3)], axis=1)
    tile = np.concatenate([half, half[::-1]]).astype(np.uint8)[:, None]
    return Texture(
        "gradient", tile, 2 * _SIDE / rng.uniform(200, 300), float(rng.choice([0.0, 90.0, 45.0, -45.0]))
    )


def houndstooth(rng: np.random.Generator) -> Texture:
    """Broken checks: two colours woven four and four in twill."""
    a, b = palette(rng, 2)
    n = np.arange(_SIDE) * 8 // _SIDE
    warp, weft = (n < 4)[None, :], (n < 4)[:, None]
    over = (n[None, :] + n[:, None]) % 4 < 2
    tile = np.where(np.where(over, warp, weft)[..., None], a, b).astype(np.uint8)
    return Texture("houndstooth", tile, _SIDE / rng.uniform(7, 30), rng.normal(0, 4))


def argyle(rng: np.random.Generator) -> Texture:
    """Diamonds with a thin grid across."""
    ground, diamond, line = palette(rng, 3)
    n = np.abs(np.arange(_SIDE) - _SIDE // 2)
    spread = n[:, None] + n[None, :]
    tile = np.where((spread < _SIDE // 2)[..., None], diamond, ground)
    rolled = np.roll(spread, _SIDE // 2, axis=1)
    tile = np.where((np.abs(rolled - _SIDE // 2) < 2)[..., None], line, tile).astype(np.uint8)
    return Texture("argyle", tile, _SIDE / rng.uniform(14, 50), rng.normal(0, 4))


def scales(rng: np.random.Generator) -> Texture:
    """Overlapping arcs, row by row."""
    ground, line, other = palette(rng, 3)
    side = 2 * _SIDE
    picture = PillowImage.new("RGB", (side, side), ground)
    draw = ImageDraw.Draw(picture)
    radius = side / 2
    for row in range(4, -3, -1):
        for column in range(-1, 3):
            x, y = (column + 0.5 * (row % 2)) * side, row * side / 2
            for part, colour in ((1.0, line), (0.86, ground), (0.6, line), (0.46, other)):
                r = radius * part
                draw.ellipse([x - r, y - r, x + r, y + r], fill=colour)
    return Texture("scales", np.asarray(picture.reduce(2)), _SIDE / rng.uniform(12, 44), rng.normal(0, 4))

"""Textures of cloth: weaves, prints and patterns."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from facemend.alignment import Points
from facemend.occlusion.canvas import Colour, Field, noise_table, pick
from facemend.occlusion.geometry import ellipse, turned
from facemend.occlusion.light import cloth_colour, palette, scaled, shifted

Tile = npt.NDArray[np.uint8]
"""(h, w, 3) RGB. H and w are powers of two. The edges fit."""


@dataclass(frozen=True)
class Texture:
    """A pattern and how it lies on the cloth.

    Attributes:
        name: the pattern's function.
        tile: the pattern.
        scale: tile pixels to a canonical pixel.
        degrees: how far it is turned.
    """

    name: str
    tile: Tile
    scale: float
    degrees: float

    def colours(self, u: Field, v: Field, unit_px: float) -> Field:
        """The colours at cloth coordinates (canonical pixels): float32 (3, h, w), 0-255.

        Args:
            unit_px: picture pixels to a canonical pixel. A tile too fine for them is shrunk first.
        """
        tile, scale = self.tile, self.scale
        while scale > 2.4 * unit_px and min(tile.shape[:2]) > 1:
            tile = np.asarray(PillowImage.fromarray(tile).reduce(2))
            scale /= 2
        cos = np.float32(math.cos(math.radians(self.degrees)) * scale)
        sin = np.float32(math.sin(math.radians(self.degrees)) * scale)
        height, width = tile.shape[:2]
        rows = np.floor(sin * u + cos * v).astype(np.int32) & (height - 1)
        columns = np.floor(cos * u - sin * v).astype(np.int32) & (width - 1)
        planes = np.ascontiguousarray(tile.reshape(-1, 3).T)
        found: Field = planes.take(rows * width + columns, axis=1).astype(np.float32)
        return found

    @cached_property
    def mean_colour(self) -> Colour:
        """The mean colour of some of the tile's pixels."""
        pixels = self.tile.reshape(-1, 3)[::5]
        red, green, blue = (pixels.sum(axis=0, dtype=np.int64) // len(pixels)).tolist()
        return red, green, blue


Pattern = Callable[[np.random.Generator], Texture]
"""Draws a pattern in random colours and sizes."""


def one_colour(colour: Colour) -> Texture:
    """Cloth of one colour."""
    return Texture("plain", np.full((1, 1, 3), colour, dtype=np.uint8), 1.0, 0.0)


def plain(rng: np.random.Generator) -> Texture:
    """Cloth of one random colour."""
    return one_colour(cloth_colour(rng)[0])


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


_PRINT = 128


_CAMOUFLAGE: Mapping[str, tuple[Colour, ...]] = {
    "woodland": ((88, 92, 56), (54, 64, 38), (104, 80, 54), (34, 32, 28)),
    "desert": ((198, 174, 132), (166, 136, 98), (220, 204, 170), (122, 98, 72)),
    "urban": ((150, 152, 156), (92, 94, 98), (204, 206, 208), (48, 48, 52)),
    "navy": ((62, 82, 116), (36, 48, 78), (110, 128, 152), (24, 28, 42)),
    "pink": ((232, 160, 186), (204, 110, 146), (244, 206, 220), (128, 70, 96)),
}


def camouflage(rng: np.random.Generator) -> Texture:
    """Patches of four colours, round or in squares."""
    colours = list(_CAMOUFLAGE[pick(rng, {"woodland": 4, "desert": 2, "urban": 3, "navy": 2, "pink": 1})])
    tile = np.full((_PRINT, _PRINT, 3), shifted(colours[0], rng, 10), dtype=np.uint8)
    for colour in colours[1:]:
        tile[_noise(rng, (8, 16)) > rng.uniform(0.05, 0.35)] = shifted(colour, rng, 10)
    if rng.random() < 0.3:
        tile = np.repeat(np.repeat(tile[::4, ::4], 4, axis=0), 4, axis=1)
    return Texture("camouflage", tile, _PRINT / rng.uniform(50, 150), rng.uniform(-30, 30))


def _noise(rng: np.random.Generator, cells: tuple[int, ...]) -> Field:
    """A seamless (128, 128) piece of smooth noise, about -1 to 1: tables of so many bumps, mixed."""
    total = np.zeros((_PRINT, _PRINT), dtype=np.float32)
    for number, count in enumerate(cells):
        # Every second pixel of the 256 px table: as seamless as the table itself.
        table = noise_table(count)[::2, ::2]
        if rng.random() < 0.5:
            table = table.T
        shift = tuple(int(v) for v in rng.integers(0, _PRINT, 2))
        total += np.roll(table, shift, axis=(0, 1)) * np.float32(0.55**number)
    return total


def tie_dye(rng: np.random.Generator) -> Texture:
    """Clouds of two or three colours that run into each other, as in marble or galaxies."""
    a, b, c = (np.array(colour, dtype=np.float32) for colour in palette(rng, 3))
    first = (_noise(rng, (4, 8, 16)) * rng.uniform(0.8, 2.5) + 0.5).clip(0, 1)[..., None]
    second = (_noise(rng, (8, 16)) * rng.uniform(0.8, 2.5)).clip(0, 1)[..., None]
    tile = (a + (b - a) * first) * (1 - second) + c * second
    return Texture("tie_dye", tile.astype(np.uint8), _PRINT / rng.uniform(80, 220), rng.uniform(0, 360))


def _disc(x: float, y: float, size: float) -> list[Points]:
    return [ellipse(x, y, size, size, 14)]


def _flower(x: float, y: float, size: float) -> list[Points]:
    around = np.linspace(0, 2 * math.pi, 6)[:-1]
    return [
        ellipse(x + 0.6 * size * math.cos(a), y + 0.6 * size * math.sin(a), 0.45 * size, 0.45 * size, 10)
        for a in around
    ]


def _star(x: float, y: float, size: float) -> list[Points]:
    angle = np.linspace(0, 2 * math.pi, 11)[:-1]
    reach = np.where(np.arange(10) % 2, 0.45, 1.0) * size
    return [np.column_stack([x + reach * np.sin(angle), y - reach * np.cos(angle)])]


def _heart(x: float, y: float, size: float) -> list[Points]:
    a = np.linspace(0, 2 * math.pi, 20)
    across = np.sin(a) ** 3
    down = -(13 * np.cos(a) - 5 * np.cos(2 * a) - 2 * np.cos(3 * a) - np.cos(4 * a)) / 16
    return [np.column_stack([x + size * across, y + size * down])]


def _leaf(x: float, y: float, size: float) -> list[Points]:
    t = np.linspace(-1, 1, 9)
    bulge = 0.42 * (1 - t**2)
    top = np.column_stack([x + size * t, y - size * bulge])
    return [np.concatenate([top, np.column_stack([x + size * t, y + size * bulge])[::-1]])]


def _cross(x: float, y: float, size: float) -> list[Points]:
    thin = 0.3 * size
    return [ellipse(x, y, size, thin, 4), ellipse(x, y, thin, size, 4)]


def _paw(x: float, y: float, size: float) -> list[Points]:
    toes = [(-0.8, -0.4), (-0.3, -0.9), (0.3, -0.9), (0.8, -0.4)]
    return [ellipse(x, y + 0.3 * size, 0.6 * size, 0.5 * size, 10)] + [
        ellipse(x + dx * size, y + dy * size, 0.24 * size, 0.3 * size, 8) for dx, dy in toes
    ]


_SHAPES: Mapping[str, Callable[[float, float, float], list[Points]]] = {
    "disc": _disc, "flower": _flower, "star": _star, "heart": _heart, "leaf": _leaf, "cross": _cross,
    "paw": _paw,
}  # fmt: skip


def print_(rng: np.random.Generator) -> Texture:
    """Scattered flowers, hearts, leaves, stars or paws in several colours."""
    colours = np.array(palette(rng, int(rng.integers(2, 6))), dtype=np.uint8)
    shape = pick(rng, {"flower": 5, "leaf": 4, "disc": 3, "heart": 2, "star": 3, "cross": 2, "paw": 1})
    stencil = _scattered(shape, int(rng.integers(_STENCILS)))
    # The stencil knows five inks; fewer colours serve several of them. Ink 0 is the ground.
    inks = np.concatenate([[0], 1 + np.arange(4) % (len(colours) - 1)])
    return Texture("print", colours[inks][stencil], _PRINT / rng.uniform(34, 120), rng.uniform(0, 360))


_STENCILS = 8


@lru_cache(maxsize=256)
def _scattered(shape: str, number: int) -> npt.NDArray[np.uint8]:
    """A seamless (128, 128) arrangement of one shape, in inks 1 to 4 on ground 0."""
    rng = np.random.default_rng([number, len(shape)])
    picture = PillowImage.new("L", (_PRINT, _PRINT))
    draw = ImageDraw.Draw(picture)
    rows = 3 + number % 3
    cell = _PRINT / rows
    for index in range(rows * rows):
        size = cell * rng.uniform(0.25, 0.55)
        shift_x, shift_y = rng.uniform(-0.3, 0.3, 2) * cell
        x, y = (index % rows + 0.5) * cell + shift_x, (index // rows + 0.5) * cell + shift_y
        ink, degrees = int(rng.integers(1, 5)), rng.uniform(0, 360)
        for outline in _SHAPES[shape](x, y, size):
            _draw_around(draw, turned(outline, (x, y), degrees), ink)
        if shape == "flower":
            _draw_around(draw, ellipse(x, y, 0.28 * size, 0.28 * size, 8), ink % 4 + 1)
    return np.asarray(picture)


def _draw_around(draw: ImageDraw.ImageDraw, points: Points, ink: int) -> None:
    """A polygon on a tile. What leaves it comes in again on the other side."""
    low, high = points.min(axis=0), points.max(axis=0)
    across, down = (
        {0, _PRINT if low[axis] < 0 else -_PRINT if high[axis] > _PRINT else 0} for axis in (0, 1)
    )
    for dx in sorted(across):
        for dy in sorted(down):
            draw.polygon((points + (dx, dy)).ravel().tolist(), fill=ink)


def animal(rng: np.random.Generator) -> Texture:
    """Leopard spots, or zebra-like waves."""
    if rng.random() < 0.5:
        ground, ring = shifted((204, 160, 106), rng, 20), shifted((50, 34, 24), rng, 12)
        noise, other = _noise(rng, (16,)), _noise(rng, (32, 16))
        tile = np.full((_PRINT, _PRINT, 3), ground, dtype=np.uint8)
        tile[noise > 0.1] = ring
        tile[noise > 0.42] = scaled(ground, 0.8)
        tile[other > 0.85] = ring
    else:
        ground, ring = palette(rng, 2)
        phase = (np.arange(_PRINT) * (6 / _PRINT))[:, None] + 0.9 * _noise(rng, (4, 8))
        tile = np.where((phase - np.floor(phase) < 0.5)[..., None], ground, ring).astype(np.uint8)
    return Texture("animal", tile, _PRINT / rng.uniform(50, 130), rng.uniform(-20, 20))


def heather(rng: np.random.Generator) -> Texture:
    """Knit or woven cloth whose threads differ: flecks of two near colours."""
    colour, _ = cloth_colour(rng)
    other = shifted(colour, rng, 50)
    share = (0.5 + 0.5 * _noise(rng, (256, 64))).clip(0, 1)[..., None]
    a, b = np.array(colour, dtype=np.float32), np.array(other, dtype=np.float32)
    tile = (a + (b - a) * share).astype(np.uint8)
    return Texture("heather", tile, rng.uniform(0.8, 1.6), float(rng.choice([0.0, 45.0])))


WORDS = (
    "LOVE", "STAY SAFE", "HELLO", "NO", "SMILE", "CITY", "TEAM", "2020",
    "WOW", "ABC", "FC", "THANKS", "X", "KISS", "UP",
)  # fmt: skip
_SHEET_PX = 256
_SHEET_SPAN = 140.0


def logo(rng: np.random.Generator) -> Texture:
    """Plain cloth with a word or a badge at the cheek or over the mouth."""
    ground, ink = palette(rng, 2)
    picture = PillowImage.new("RGB", (_SHEET_PX, _SHEET_PX), ground)
    draw = ImageDraw.Draw(picture)
    middle = _SHEET_PX / 2
    if rng.random() < 0.4:
        x, y = middle + rng.uniform(-30, 30), middle + rng.uniform(-10, 30)
        size = rng.uniform(20, 50)
    else:
        x, y = middle + rng.choice([-1, 1]) * rng.uniform(40, 75), middle + rng.uniform(-5, 40)
        size = rng.uniform(9, 20)
    if rng.random() < 0.6:
        font = ImageFont.load_default(size=size)
        draw.text((x, y), WORDS[int(rng.integers(len(WORDS)))], fill=ink, font=font, anchor="mm")
    else:
        shape = _SHAPES[pick(rng, dict.fromkeys(_SHAPES, 1.0))]
        for outline in shape(x, y, size):
            draw.polygon([(float(px), float(py)) for px, py in outline], fill=ink)
    return _sheet("logo", picture)


def mouth(rng: np.random.Generator) -> Texture:
    """Plain cloth with a painted mouth: a smile, teeth, a beard, a snout."""
    ground, ink = palette(rng, 2)
    picture = PillowImage.new("RGB", (_SHEET_PX, _SHEET_PX), ground)
    draw = ImageDraw.Draw(picture)
    x, y = _SHEET_PX / 2, _SHEET_PX / 2 + rng.uniform(0, 25)
    wide, tall = rng.uniform(35, 70), rng.uniform(14, 34)
    style = pick(rng, {"smile": 3, "teeth": 3, "lips": 2, "snout": 2})
    if style == "smile":
        draw.arc([x - wide, y - tall, x + wide, y + tall], 10, 170, fill=ink, width=int(rng.integers(4, 9)))
    elif style == "teeth":
        draw.rounded_rectangle(
            [x - wide, y - tall / 2, x + wide, y + tall / 2], tall / 3, fill=(240, 238, 228)
        )
        step = rng.uniform(9, 16)
        for tooth in np.arange(x - wide + step, x + wide - 2, step):
            draw.line([tooth, y - tall / 2, tooth, y + tall / 2], fill=ink, width=3)
        draw.line([x - wide, y, x + wide, y], fill=ink, width=3)
    elif style == "lips":
        red = shifted((186, 40, 60), rng, 24)
        draw.ellipse([x - wide * 0.7, y - tall * 0.6, x + wide * 0.7, y + tall * 0.6], fill=red)
        draw.line([x - wide * 0.65, y, x + wide * 0.65, y], fill=scaled(red, 0.6), width=3)
    else:
        draw.ellipse([x - tall, y - 50, x + tall, y - 20], fill=ink)
        draw.line([x, y - 22, x, y + 8], fill=ink, width=4)
        for side in (-1, 1):
            draw.arc([x + side * 18 - 18, y - 14, x + side * 18 + 18, y + 14], 0, 180, fill=ink, width=4)
            for lift in (-10, 2, 14):
                draw.line(
                    [x + side * 34, y + lift / 2 - 12, x + side * 84, y + 2 * lift - 12], fill=ink, width=3
                )
    return _sheet("mouth", picture)


def _sheet(name: str, picture: PillowImage.Image) -> Texture:
    """A picture that covers the whole mask once. Its middle belongs onto the mask's middle."""
    return Texture(name, np.asarray(picture), _SHEET_PX / _SHEET_SPAN, 0.0)


def confetti(rng: np.random.Generator) -> Texture:
    """Short strokes of several colours at all angles."""
    colours = np.array(palette(rng, 5), dtype=np.uint8)
    tile = colours[_strokes(int(rng.integers(_STENCILS)))]
    return Texture("confetti", tile, _PRINT / rng.uniform(50, 120), rng.uniform(0, 360))


@lru_cache(maxsize=_STENCILS)
def _strokes(number: int) -> npt.NDArray[np.uint8]:
    """A seamless (128, 128) arrangement of strokes, in inks 1 to 4 on ground 0."""
    rng = np.random.default_rng([number, 1000])
    picture = PillowImage.new("L", (_PRINT, _PRINT))
    draw = ImageDraw.Draw(picture)
    for x, y in rng.uniform(0, _PRINT, (40 + 8 * number, 2)):
        stroke = turned(ellipse(x, y, rng.uniform(5, 11), 2.4, 6), (x, y), rng.uniform(0, 180))
        _draw_around(draw, stroke, int(rng.integers(1, 5)))
    return np.asarray(picture)


PATTERNS: Mapping[Pattern, float] = {
    plain: 38, heather: 8, stripes: 7, pinstripes: 3, gingham: 5,
    tartan: 5, windowpane: 3, checkerboard: 3, zigzag: 3, dots: 6,
    gradient: 4, print_: 12, camouflage: 6, animal: 4, tie_dye: 5,
    logo: 9, mouth: 5,
}  # fmt: skip
"""A new one is a function and a line here."""

BENCHMARK_PATTERNS: Mapping[Pattern, float] = {
    houndstooth: 1, argyle: 1, scales: 1, confetti: 1,
}  # fmt: skip
"""Patterns that the benchmark alone draws, so that no model has been shown them."""

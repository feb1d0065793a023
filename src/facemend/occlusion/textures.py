"""How a pattern lies on cloth: a seamless tile that is looked up pixel by pixel.

A tile's sides are powers of two, so that looking up a pixel is cheap. How large it is on the face is
drawn apart from the pattern itself.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage

from facemend.occlusion.colours import cloth_colour
from facemend.occlusion.raster import Colour, Field

Tile = npt.NDArray[np.uint8]
"""(h, w, 3) RGB; h and w are powers of two; the edges fit."""


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
            unit_px: picture pixels to a canonical pixel; a tile too fine for them is shrunk first.
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

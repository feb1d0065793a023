"""Colours that occur: of cloth, of skin in this picture, of the light that falls on it."""

from dataclasses import dataclass

import numpy as np
from PIL import Image as PillowImage

from facemend.alignment import Points
from facemend.images import Image
from facemend.occlusion.canvas import Colour, Field, Region, pick
from facemend.occlusion.geometry import FaceGeometry

_CLOTH: dict[str, tuple[float, Colour]] = {
    "black": (28, (20, 20, 23)),
    "charcoal": (8, (58, 58, 64)),
    "white": (16, (238, 238, 236)),
    "ivory": (4, (228, 219, 200)),
    "gray": (9, (142, 143, 148)),
    "navy": (8, (30, 40, 82)),
    "blue": (6, (58, 100, 172)),
    "light blue": (5, (160, 196, 226)),
    "burgundy": (4, (112, 24, 40)),
    "red": (6, (186, 34, 44)),
    "pink": (5, (233, 158, 182)),
    "olive": (4, (96, 98, 60)),
    "green": (4, (42, 112, 76)),
    "teal": (3, (36, 130, 134)),
    "beige": (5, (198, 172, 138)),
    "brown": (3, (98, 66, 48)),
    "lavender": (3, (180, 164, 214)),
    "yellow": (3, (232, 196, 70)),
    "orange": (2, (226, 120, 44)),
}
SKIN: tuple[Colour, ...] = (
    (242, 208, 184), (230, 188, 158), (214, 166, 132), (188, 136, 100), (148, 100, 70), (104, 68, 48),
    (72, 46, 34),
)  # fmt: skip
HAIR: tuple[Colour, ...] = (
    (24, 20, 20), (44, 32, 26), (74, 50, 36), (112, 78, 50), (168, 130, 84), (206, 176, 128),
    (120, 52, 30), (150, 148, 148),
)  # fmt: skip


def shifted(colour: Colour, rng: np.random.Generator, amount: float) -> Colour:
    """A colour with its lightness and its channels changed by up to about `amount` levels."""
    lighter = rng.uniform(-amount, amount)
    r, g, b = (float(v) + lighter + rng.uniform(-amount, amount) / 2 for v in colour)
    return _levels(r), _levels(g), _levels(b)


def scaled(colour: Colour, factor: float) -> Colour:
    """A colour, lighter (factor above 1) or darker."""
    return _levels(colour[0] * factor), _levels(colour[1] * factor), _levels(colour[2] * factor)


def _levels(value: float) -> int:
    return min(255, max(0, round(value)))


def cloth_colour(rng: np.random.Generator) -> tuple[Colour, str]:
    """A colour that cloth is often dyed in, and its name. In one case of ten any colour."""
    name = pick(rng, {name: weight for name, (weight, _) in _CLOTH.items()})
    any_colour = [int(v) for v in rng.integers(8, 248, 3)]
    if rng.random() < 0.1:
        return (any_colour[0], any_colour[1], any_colour[2]), "random"
    return shifted(_CLOTH[name][1], rng, 14), name


def palette(rng: np.random.Generator, count: int) -> list[Colour]:
    """`count` cloth colours. The second stands out from the first by at least 50 levels."""
    colours = [cloth_colour(rng)[0] for _ in range(count)]
    if count > 1 and sum(abs(a - b) for a, b in zip(colours[0], colours[1], strict=True)) < 150:
        colours[1] = (235, 235, 232) if sum(colours[0]) < 380 else shifted((34, 36, 46), rng, 16)
    return colours


def average_colour(image: Image, face: FaceGeometry, points: Points, radius: float) -> Colour | None:
    """The middle one (by lightness) of small patches around canonical points (N, 2).

    Returns:
        None where all of them lie outside the picture.
    """
    height_px, width_px = image.shape[:2]
    reach = max(1, round(radius * face.unit_px)) if face.unit_px < width_px + height_px else 1
    found: list[Colour] = []
    for x, y in face.to_pixels(points):
        if not (0 <= x < width_px and 0 <= y < height_px):
            continue
        column, row = int(x), int(y)
        patch = image[max(row - reach, 0) : row + reach + 1, max(column - reach, 0) : column + reach + 1]
        r, g, b = (patch.reshape(-1, 3).sum(axis=0, dtype=np.uint32) // (patch.size // 3)).tolist()
        found.append((r, g, b))
    return sorted(found, key=sum)[len(found) // 2] if found else None


_SKIN_AT: Points = np.array([(127, 112), (104, 160), (150, 160)], dtype=np.float64)
_HAIR_AT: Points = np.array([(127, 42), (68, 82), (186, 82)], dtype=np.float64)


def skin_of(image: Image, face: FaceGeometry) -> Colour:
    """The colour of this face's forehead and cheeks, as far as they are in the picture and can be skin."""
    skin = average_colour(image, face, _SKIN_AT, 4)
    return SKIN[2] if skin is None or skin[2] > skin[0] + 16 else skin


def hair_of(image: Image, face: FaceGeometry) -> Colour:
    """The colour above and beside the forehead, most often hair."""
    return average_colour(image, face, _HAIR_AT, 4) or HAIR[1]


@dataclass(frozen=True)
class Light:
    """The light on a region, as far as the picture under it tells.

    Attributes:
        field: float32 (h, w), about 1 on average: where it is lighter and darker.
        exposure: how bright a white thing looks in this picture, 1 for 255.
        tint: (3,) factors of red, green and blue, about 1.
        right, below: direction that it comes from, -1 to 1 each.
    """

    field: Field
    exposure: float
    tint: Field
    right: float
    below: float


_GRID = 5


def light_of(image: Image, region: Region, rng: np.random.Generator) -> Light:
    """Estimates the light on a region from the picture under it, roughly, so that no feature shines
    through, and with random doubt.
    """
    patch = PillowImage.fromarray(image[region.box]).convert("L")
    levels = np.asarray(patch.resize((_GRID, _GRID), PillowImage.Resampling.BOX)).astype(np.int32)
    # The rim of the box is background: it counts as what lies next to it towards the middle.
    levels[:, 0] = (levels[:, 0] + 2 * levels[:, 1]) // 3
    levels[:, -1] = (levels[:, -1] + 2 * levels[:, -2]) // 3
    levels[-1] = (levels[-1] + 2 * levels[-2]) // 3
    mean = max(float(levels.sum(dtype=np.int64)) / levels.size, 1.0)
    left_mean = float(levels[:, :2].sum(dtype=np.int64)) / (2 * _GRID)
    right_mean = float(levels[:, -2:].sum(dtype=np.int64)) / (2 * _GRID)
    follow = rng.uniform(0.35, 0.9)
    ratio = (levels.astype(np.float32) / np.float32(mean)).clip(0.55, 1.4)
    field = region.stretch(1 + (ratio - 1) * np.float32(follow))
    skin = skin_of(image, region.face)
    lightness = (2 * skin[0] + 5 * skin[1] + skin[2]) / 8
    exposure = float(np.clip((lightness / 165) ** 0.6, 0.5, 1.0)) * rng.uniform(0.78, 1.0)
    warm = rng.normal(0, 0.03) + 0.15 * np.clip((skin[0] - skin[2]) / 255 - 0.27, -0.3, 0.3)
    tint = np.array([1 + warm, 1 + rng.normal(0, 0.01), 1 - warm], dtype=np.float32)
    side = float(np.clip(2.2 * (right_mean - left_mean) / mean + rng.normal(0, 0.3), -1, 1))
    return Light(field, exposure, tint, side, -rng.uniform(0.3, 0.9))

"""Hair: strands that fall over a face or a mask, and this face's own hair in front of a mask."""

import numpy as np

from facemend.images import Image
from facemend.occlusion.colours import HAIR, hair_of, scaled, shifted, skin_of
from facemend.occlusion.geometry import FaceGeometry
from facemend.occlusion.raster import Colour, Field, Part, Region, blurred


def hair_colour(image: Image, face: FaceGeometry, rng: np.random.Generator) -> Colour:
    """This face's own, in nine cases of ten, if it is no lighter than skin; else any."""
    own, other = hair_of(image, face), shifted(HAIR[int(rng.integers(len(HAIR)))], rng, 12)
    return own if rng.random() < 0.9 and sum(own) < sum(skin_of(image, face)) else other


def strands(
    colour: Colour, start: tuple[float, float], end: tuple[float, float], rng: np.random.Generator,
    count: int, spread: float, width: float,
) -> list[Part]:  # fmt: skip
    """Strands from about `start` to about `end` in shades of one colour.

    Args:
        spread: how far they run apart, canonical pixels.
        width: of one strand in the middle, canonical pixels.
    """
    sway = rng.normal(0, (0.8 * spread + 6, 0.3 * spread + 2))
    chance = rng.normal(0, 1, (count, 1, 8))
    a, c = np.array(start) + chance[..., :2] * spread / 2, np.array(end) + chance[..., 2:4] * spread
    b = (np.array(start) + np.array(end)) / 2 + sway + chance[..., 4:6] * (spread / 3, spread / 8)
    t = np.linspace(0, 1, _STEPS)[None, :, None]
    paths = (1 - t) ** 2 * a + 2 * t * (1 - t) * b + t**2 * c
    along = 2 * (1 - t) * (b - a) + 2 * t * (c - b)
    thick = width * (1 + 0.3 * chance[..., 6:7]).clip(0.4, 1.5) * _TAPER / 2
    reach = thick / np.maximum(np.hypot(along[..., :1], along[..., 1:]), 1e-6)
    aside = np.concatenate([-along[..., 1:], along[..., :1]], axis=2) * reach
    outlines = np.concatenate([paths + aside, (paths - aside)[:, ::-1]], axis=1)
    shades = (1 + 0.22 * chance[:, 0, 7]).clip(0.6, 1.4)
    return [
        (outline, scaled(colour, shade)) for outline, shade in zip(outlines, shades.tolist(), strict=True)
    ]


_STEPS = 9
_TAPER = np.interp(np.linspace(0, 1, _STEPS), (0, 0.5, 1), (0.7, 1.0, 0.15))[None, :, None]


def own_hair(image: Image, region: Region) -> Field | None:
    """Where this face's own hair hangs beside the cheeks, as far as its colour tells: (h, w), 0-1.

    Only what reaches in from the side counts, so that brows, lips and shadows do not.

    Returns:
        None where hair is not much darker than skin.
    """
    skin = np.array(skin_of(image, region.face), dtype=np.float32)
    hair = np.array(hair_of(image, region.face), dtype=np.float32)
    axis = hair - skin
    distance = float((axis * axis).sum())
    if distance < 3 * 60**2 or hair.sum() > skin.sum():
        return None
    pixels = region.planes(image)
    along = sum((pixels[band] - skin[band]) * (axis[band] / np.float32(distance)) for band in range(3))
    aside = np.abs(region.x - np.float32(127))
    beyond = aside > 66
    alike = ((along - np.float32(0.66)) * 5).clip(0, 1)
    hanging = np.maximum(alike * ((aside - 30) * np.float32(0.1)).clip(0, 1), beyond)
    middle = int(np.abs(region.x[region.height_px // 2] - 127).argmin())
    # Before the cheeks, what is hair must be hair all the way to the side.
    np.minimum.accumulate(hanging[:, :middle], axis=1, out=hanging[:, :middle])
    outwards = hanging[:, middle:][:, ::-1]
    np.minimum.accumulate(outwards, axis=1, out=outwards)
    return blurred(np.where(beyond, alike, hanging), 0.7 * min(region.face.unit_px, 4.0))

"""Hair: strands that fall over a face or a mask, and this face's own hair in front of a mask."""

import numpy as np

from facemend.images import Image
from facemend.occlusion.colours import HAIR, hair_of, scaled, shifted, skin_of
from facemend.occlusion.geometry import FaceGeometry
from facemend.occlusion.raster import Colour, Field, Region, Sketch, blurred
from facemend.occlusion.strokes import curve, line


def hair_colour(image: Image, face: FaceGeometry, rng: np.random.Generator) -> Colour:
    """This face's own, in three cases of four, if it is no lighter than skin; else any."""
    own = hair_of(image, face)
    if rng.random() < 0.75 and sum(own) < sum(skin_of(image, face)):
        return own
    return shifted(HAIR[int(rng.integers(len(HAIR)))], rng, 12)


def draw_strands(
    sketch: Sketch, colour: Colour, start: tuple[float, float], end: tuple[float, float], rng: np.random.Generator,
    count: int, spread: float, width: float,
) -> None:  # fmt: skip
    """Draws strands from about `start` to about `end`, in shades of one colour.

    Args:
        spread: how far they run apart, canonical pixels.
        width: of one strand in the middle, canonical pixels.
    """
    sway = rng.normal(0, 0.8 * spread + 6, 2)
    taper = np.interp(np.linspace(0, 1, 12), (0, 0.5, 1), (0.7, 1.0, 0.15))
    for _ in range(count):
        a, b = rng.normal(0, 0.5 * spread, 2), rng.normal(0, spread, 2)
        middle = (
            (start[0] + end[0]) / 2 + sway[0] + rng.normal(0, 0.3 * spread),
            (start[1] + end[1]) / 2 + sway[1] * 0.3,
        )
        path = curve((start[0] + a[0], start[1] + a[1]), middle, (end[0] + b[0], end[1] + b[1]))
        shade = scaled(colour, rng.uniform(0.65, 1.35))
        sketch.polygon(line(path, taper * width * rng.uniform(0.5, 1.4)), shade)


def own_hair(image: Image, region: Region) -> Field | None:
    """Where this face's own hair hangs beside the cheeks, as far as its colour tells: (h, w), 0-1.

    Only what reaches in from the side counts, so that brows, lips and shadows do not.

    Returns:
        None where hair and skin are too alike.
    """
    skin = np.array(skin_of(image, region.face), dtype=np.float32)
    hair = np.array(hair_of(image, region.face), dtype=np.float32)
    axis = hair - skin
    distance = float((axis * axis).sum())
    if distance < 3 * 45**2:
        return None
    pixels = image[region.box].astype(np.float32) - skin
    along = (pixels[..., 0] * axis[0] + pixels[..., 1] * axis[1] + pixels[..., 2] * axis[2]) / np.float32(
        distance
    )
    aside = np.abs(region.x - np.float32(127))
    likeness = ((along - np.float32(0.55)) * 4).clip(0, 1)
    beyond = aside > 66
    likeness = np.where(beyond, 1, likeness * ((aside - 30) * np.float32(0.1)).clip(0, 1))
    middle = int(np.abs(region.x[region.height_px // 2] - 127).argmin())
    result = np.empty_like(likeness)
    result[:, :middle] = np.minimum.accumulate(likeness[:, :middle], axis=1)
    result[:, middle:] = np.minimum.accumulate(likeness[:, : middle - 1 if middle else None : -1], axis=1)[
        :, ::-1
    ]
    return blurred(np.where(beyond, likeness * 0 + result, result), 0.7 * min(region.face.unit_px, 4.0))

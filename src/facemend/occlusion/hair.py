"""Hair: strands that fall over a face or a mask, and this face's own hair in front of a mask."""

import numpy as np

from facemend.frame import Points
from facemend.images import Image
from facemend.occlusion.colours import HAIR, hair_of, scaled, shifted, skin_of
from facemend.occlusion.geometry import FaceGeometry
from facemend.occlusion.raster import Colour, Field, Region, blurred
from facemend.occlusion.strokes import curve, line


def hair_colour(image: Image, face: FaceGeometry, rng: np.random.Generator) -> Colour:
    """This face's own, in three cases of four, if it is no lighter than skin; else any."""
    own = hair_of(image, face)
    if rng.random() < 0.75 and sum(own) < sum(skin_of(image, face)):
        return own
    return shifted(HAIR[int(rng.integers(len(HAIR)))], rng, 12)


def strands(
    colour: Colour, start: tuple[float, float], end: tuple[float, float], rng: np.random.Generator,
    count: int, spread: float, width: float,
) -> list[tuple[Points, Colour]]:  # fmt: skip
    """Strands from about `start` to about `end`, as polygons in shades of one colour.

    Args:
        spread: how far they run apart, canonical pixels.
        width: of one strand in the middle, canonical pixels.
    """
    sway = rng.normal(0, 0.8 * spread + 6), rng.normal(0, 0.3 * spread + 2)
    taper = np.interp(np.linspace(0, 1, 10), (0, 0.5, 1), (0.7, 1.0, 0.15))
    drawn = []
    for ax, ay, bx, by, mx, wide, shade in rng.normal(0, 1, (count, 7)):
        path = curve(
            (start[0] + ax * spread / 2, start[1] + ay * spread / 2),
            ((start[0] + end[0]) / 2 + sway[0] + mx * spread / 3, (start[1] + end[1]) / 2 + sway[1]),
            (end[0] + bx * spread, end[1] + by * spread),
            10,
        )
        thick = width * min(1.5, max(0.4, 1 + 0.3 * wide))
        drawn.append((line(path, taper * thick), scaled(colour, min(1.4, max(0.6, 1 + 0.22 * shade)))))
    return drawn


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
    pixels = region.planes(image)
    along = sum((pixels[band] - skin[band]) * (axis[band] / np.float32(distance)) for band in range(3))
    aside = np.abs(region.x - np.float32(127))
    beyond = aside > 66
    likeness = ((along - np.float32(0.55)) * 4).clip(0, 1) * ((aside - 30) * np.float32(0.1)).clip(0, 1)
    likeness = np.maximum(likeness, beyond)
    middle = int(np.abs(region.x[region.height_px // 2] - 127).argmin())
    # What is hair must be hair all the way to the side.
    np.minimum.accumulate(likeness[:, :middle], axis=1, out=likeness[:, :middle])
    outwards = likeness[:, middle:][:, ::-1]
    np.minimum.accumulate(outwards, axis=1, out=outwards)
    # Beside the face nothing is known of the hair: straps stay as they are.
    return blurred(likeness * ~beyond, 0.7 * min(region.face.unit_px, 4.0))

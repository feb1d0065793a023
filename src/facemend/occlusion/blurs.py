"""Blurs and mosaics: Gaussian in a box, soft-edged, motion, lens, and blocks."""

import math

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageFilter

from facemend.images import Image
from facemend.occlusion.canvas import (
    Canvas,
    Field,
    Region,
    blurred,
    coverage_of,
    nothing,
    pick,
    region_around,
)
from facemend.occlusion.flat import full_face_box, lower_face_box
from facemend.occlusion.geometry import Box, FaceGeometry, ellipse, rounded_box, turned
from facemend.occlusion.types import Extent, Layer, Parameter

_SIGMA_PX = (8.0, 20.0)
"""Range of the blur's sigma in canonical pixels (of the 256×256 crop)."""


def blur(image: Image, face: FaceGeometry, rng: np.random.Generator) -> Layer:
    """An upright rectangle over nose and mouth, Gaussian-blurred with sigma 8-20 canonical pixels."""
    return _blurred_box(image, face, lower_face_box(rng), Extent.PARTIAL, rng)


def blur_full(image: Image, face: FaceGeometry, rng: np.random.Generator) -> Layer:
    """An upright rectangle from the brows to the chin, Gaussian-blurred like `blur`."""
    return _blurred_box(image, face, full_face_box(rng), Extent.FULL, rng)


def _blurred_box(
    image: Image,
    face: FaceGeometry,
    box: Box,
    extent: Extent,
    rng: np.random.Generator,
) -> Layer:
    sigma = rng.uniform(*_SIGMA_PX)
    # Half of all tools blur the cut-out alone, half let its surroundings bleed in.
    bleed = bool(rng.random() < 0.5)
    height_px, width_px = image.shape[:2]
    x1, y1, x2, y2 = face.upright_box(box, width_px, height_px)
    alpha = np.zeros((height_px, width_px), dtype=np.float32)
    paint = image
    if x2 > x1 and y2 > y1:
        alpha[y1:y2, x1:x2] = 1
        paint = image.copy()
        sigma_px = sigma * face.unit_px
        margin = round(3 * sigma_px) if bleed else 0
        left, top = max(x1 - margin, 0), max(y1 - margin, 0)
        region = image[top : y2 + margin, left : x2 + margin]
        blurred = PillowImage.fromarray(region).filter(ImageFilter.GaussianBlur(sigma_px))
        paint[y1:y2, x1:x2] = np.asarray(blurred)[y1 - top : y2 - top, x1 - left : x2 - left]
    return Layer(alpha, paint, extent, {"sigma_px": sigma, "bleed": int(bleed)})


_SIGMA = (6.0, 16.0)
"""Range of the blur's standard deviation in canonical pixels."""
_SAMPLES = 24


def blur_soft(image: Image, face: FaceGeometry, rng: np.random.Generator) -> Layer:
    """Gaussian, motion or lens blur in an ellipse or a turned box, its edge hard or feathered."""
    face = face.rigid
    full = bool(rng.random() < 0.5)
    extent = Extent.FULL if full else Extent.PARTIAL
    x1, y1, x2, y2 = full_face_box(rng) if full else lower_face_box(rng)
    method = pick(rng, {"gaussian": 4.0, "motion": 3.0, "lens": 3.0})
    shape = pick(rng, {"ellipse": 6.0, "box": 4.0})
    middle, wide, tall = ((x1 + x2) / 2, (y1 + y2) / 2), (x2 - x1) / 2, (y2 - y1) / 2
    if shape == "ellipse":
        outline = ellipse(*middle, wide * 1.1, tall * 1.1, 48)
    else:
        outline = rounded_box(x1, y1, x2, y2, rng.uniform(0, 24))
    outline = turned(outline, middle, rng.normal(0, 6))
    feather = float(rng.uniform(1, 9)) if rng.random() < 0.7 else 0.0
    sigma, degrees = rng.uniform(*_SIGMA), rng.uniform(0, 180)
    parameters: dict[str, Parameter] = {
        "method": method, "shape": shape, "sigma": sigma, "feather": feather, "degrees": degrees,
    }  # fmt: skip
    region = region_around(face, outline, image, 2.5 * feather + 2)
    if region is None:
        return nothing(image, extent, parameters)
    weight = coverage_of(region, outline)
    if feather:
        # The feather's last faint end is cut off, so that the hole is no larger than what is seen.
        weight = (
            blurred(weight, feather * min(face.unit_px, 8.0)) * np.float32(1.08) - np.float32(0.04)
        ).clip(0, 1)
    below = region.planes(image)
    hidden = _blur(image, region, method, sigma, degrees)
    # Where little is left to see the occlusion counts as whole, so that alpha is a firm edge.
    alpha = (3 * weight).clip(0, 1)
    canvas = Canvas(region)
    canvas.lay(alpha, below + (hidden - below) * (weight / np.maximum(alpha, np.float32(1e-3))))
    return canvas.finish(image, extent, parameters)


def _blur(image: Image, region: Region, method: str, sigma: float, degrees: float) -> Field:
    """The blurred colours of the region, (3, h, w). Its surroundings bleed in."""
    rows, columns = region.box
    sigma_px = sigma * min(region.face.unit_px, 8.0)
    margin = math.ceil(2 * sigma_px) + 1
    top, left = max(rows.start - margin, 0), max(columns.start - margin, 0)
    patch = PillowImage.fromarray(image[top : rows.stop + margin, left : columns.stop + margin])
    inside = np.s_[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    if method == "gaussian":
        soft = np.asarray(patch.filter(ImageFilter.GaussianBlur(sigma_px)))
    elif method == "motion":
        reach = 1.7 * sigma_px
        turn = math.radians(degrees)
        steps = [(t * math.cos(turn), t * math.sin(turn)) for t in np.linspace(-reach, reach, _SAMPLES)]
        soft = _average(patch, steps, reach / _SAMPLES)
    else:
        # Points spread evenly over a disc (Vogel's spiral).
        radii = [1.6 * sigma_px * math.sqrt((i + 0.5) / _SAMPLES) for i in range(_SAMPLES)]
        steps = [(r * math.cos(2.39996 * i), r * math.sin(2.39996 * i)) for i, r in enumerate(radii)]
        soft = _average(patch, steps, 0.2 * sigma_px)
    return np.ascontiguousarray(soft[inside].transpose(2, 0, 1), dtype=np.float32)


def _average(patch: PillowImage.Image, steps: list[tuple[float, float]], smooth_px: float) -> Image:
    """The mean of the patch, moved by each step (x, y). Smoothed first to bridge the gaps."""
    pixels = np.asarray(patch.filter(ImageFilter.BoxBlur(smooth_px)))
    height, width = pixels.shape[:2]
    reach = min(max(math.ceil(max(abs(v) for v in step)) for step in steps), 4 * max(height, width))
    padded = np.pad(pixels, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    total = np.zeros(pixels.shape, dtype=np.uint16)
    for x, y in steps:
        column, row = reach + round(x), reach + round(y)
        total += padded[row : row + height, column : column + width]
    return (total // len(steps)).astype(np.uint8)


_BLOCK = (8.0, 24.0)
"""Range of a block's side in canonical pixels."""


def pixelate(image: Image, face: FaceGeometry, rng: np.random.Generator) -> Layer:
    """Upright square blocks of one colour each, in a box or an ellipse, 7-32% of a canonical crop."""
    place = pick(rng, {"lower": 4.0, "eyes": 2.0, "full": 4.0})
    box = {"lower": lower_face_box, "eyes": _eyes_box, "full": full_face_box}[place](rng)
    round_, averaged = bool(rng.random() < 0.25 and place != "eyes"), bool(rng.random() < 0.85)
    block = rng.uniform(*_BLOCK)
    columns, rows = round((box[2] - box[0]) / block), round((box[3] - box[1]) / block)
    extent = Extent.FULL if place == "full" else Extent.PARTIAL
    height_px, width_px = image.shape[:2]
    x1, y1, x2, y2 = face.rigid.upright_box(box, width_px, height_px)
    alpha = np.zeros((height_px, width_px), dtype=np.float32)
    paint = image
    if x2 > x1 and y2 > y1:
        paint = image.copy()
        size_px = (x2 - x1, y2 - y1)
        shrink = PillowImage.Resampling.BOX if averaged else PillowImage.Resampling.NEAREST
        small = PillowImage.fromarray(image[y1:y2, x1:x2]).resize((columns, rows), shrink)
        paint[y1:y2, x1:x2] = np.asarray(small.resize(size_px, PillowImage.Resampling.NEAREST))
        cells = PillowImage.fromarray(_cells(rows, columns, round_=round_))
        alpha[y1:y2, x1:x2] = np.asarray(cells.resize(size_px, PillowImage.Resampling.NEAREST))
    return Layer(
        alpha,
        paint,
        extent,
        {"place": place, "block": block, "round": int(round_), "averaged": int(averaged)},
    )


def _cells(rows: int, columns: int, *, round_: bool) -> Field:
    """Which blocks are drawn, float32 (rows, columns): all, or those in the ellipse that fills the grid."""
    if not round_:
        return np.ones((rows, columns), dtype=np.float32)
    down = (np.arange(rows) + 0.5) / rows * 2 - 1
    across = (np.arange(columns) + 0.5) / columns * 2 - 1
    return (down[:, None] ** 2 + across[None, :] ** 2 <= 1.05).astype(np.float32)


def _eyes_box(rng: np.random.Generator) -> Box:
    """A band over both eyes."""
    middle, half = 127 + rng.uniform(-4, 4), rng.uniform(54, 68)
    top, height = rng.uniform(98, 112), rng.uniform(40, 56)
    return middle - half, top, middle + half, top + height

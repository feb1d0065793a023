"""Gaussian blur over the lower or the whole face, the original project's second occlusion."""

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageFilter

from facemend.images import Image
from facemend.occlusion.geometry import Box, FaceGeometry
from facemend.occlusion.masks import full_face_box, lower_face_box
from facemend.occlusion.types import Extent, Layer

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

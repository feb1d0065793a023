"""How a mask cut out of a photograph sits on another face."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image as PillowImage

from facemend.frame import CROP_SIZE_PX, FRAME_WIDTH_PX, Points, canonical_landmarks, frame_to_crop
from facemend.images import Image
from facemend.occlusion.geometry import FaceGeometry
from facemend.occlusion.mask_files import CutMask
from facemend.occlusion.mask_shapes import MIDDLE, Cut
from facemend.occlusion.raster import Field, Region, pick
from facemend.occlusion.strokes import turned

_EYES = canonical_landmarks()[:2].mean(axis=0)
_TO_CROP = CROP_SIZE_PX / FRAME_WIDTH_PX


@dataclass(frozen=True)
class Fit:
    """How a mask sits: from the frame of its photograph to the canonical face, and back.

    Attributes:
        mask: the cut-out.
        mirrored: whether left and right are exchanged.
        nose_shift: of the face that it was cut from, canonical pixels, after mirroring.
        scale, degrees, shift: how it is off its place, about the mouth.
        waves: (2, 4, 4) canonical pixels: how it is bent beside that, on a coarse grid.
        worn: "well", "low" or "crooked".
    """

    mask: CutMask
    mirrored: bool
    nose_shift: float
    scale: float
    degrees: float
    shift: Points
    waves: Field
    worn: str

    @cached_property
    def _source(self) -> FaceGeometry:
        return FaceGeometry(_EYES, np.array([1.0, 0.0]), np.array([0.0, 1.0]), self.nose_shift)

    def to_face(self, frame_px: Points) -> Points:
        """Points (N, 2) of the cut-out's frame on the canonical face (N, 2), without the waves."""
        points = frame_to_crop(frame_px)
        if self.mirrored:
            points = points * (-1, 1) + (CROP_SIZE_PX - 1, 0)
        x, y = self._source.locate(points[:, 0], points[:, 1])
        points = turned(np.column_stack([x, y]), MIDDLE, self.degrees)
        return (points - MIDDLE) * self.scale + MIDDLE + self.shift

    def sample(self, region: Region) -> Field:
        """What of the mask lies at a region's pixels: (4, h, w), colours times alpha and alpha, 0-255."""
        x = region.x + region.stretch(self.waves[0]) - np.float32(MIDDLE[0] + self.shift[0])
        y = region.y + region.stretch(self.waves[1]) - np.float32(MIDDLE[1] + self.shift[1])
        cos, sin = (
            np.float32(turn(math.radians(-self.degrees)) / self.scale) for turn in (math.cos, math.sin)
        )
        u, v = self._source.bend(
            cos * x - sin * y + np.float32(MIDDLE[0]), sin * x + cos * y + np.float32(MIDDLE[1])
        )
        if self.mirrored:
            u = CROP_SIZE_PX - 1 - u
        levels, zoom = self._scaled(_TO_CROP * region.face.unit_px * self.scale)
        # Corners of pixels are what scales: of the crop, of the frame 20 rows higher, of the cut-out.
        left, top = self.mask.corner + (0.0, -20.0)
        u = (u + np.float32(0.5)) * np.float32(zoom / _TO_CROP) - np.float32(left * zoom + 0.5)
        v = (v + np.float32(0.5)) * np.float32(zoom / _TO_CROP) - np.float32(top * zoom + 0.5)
        sampled = _bilinear(levels, u.ravel(), v.ravel())
        return np.ascontiguousarray(sampled.T).reshape(4, region.height_px, region.width_px)

    def _scaled(self, wanted: float) -> tuple[Image, float]:
        """The cut-out at least as fine as is wanted, image pixels for one of its own, and its zoom.

        Bilinear values of twice as many pixels are as sharp as bicubic ones.
        """
        picture = PillowImage.fromarray(self.mask.levels, "RGBX")
        if wanted > 0.75:
            doubled = picture.resize(
                (picture.width * 2, picture.height * 2), PillowImage.Resampling.BICUBIC
            )
            return np.asarray(doubled), 2.0
        shrink = max(1, min(8, round(1 / max(wanted, 0.1))))
        return np.asarray(picture.reduce(shrink)), 1 / shrink


def _bilinear(levels: Image, u: Field, v: Field) -> Field:
    """The values (N, 4) at columns u and rows v (N,); outside it is empty."""
    height, width = levels.shape[:2]
    u, v = u.clip(-1, width), v.clip(-1, height)
    padded = np.zeros((height + 3, width + 3, 4), dtype=np.float32)
    padded[1:-2, 1:-2] = levels
    column, row = np.floor(u).astype(np.int32), np.floor(v).astype(np.int32)
    right, below = (u - column)[:, None], (v - row)[:, None]
    flat, at = padded.reshape(-1, 4), (row + 1) * (width + 3) + column + 1
    upper = flat[at]
    upper += (flat[at + 1] - upper) * right
    lower = flat[at + width + 3]
    lower += (flat[at + width + 4] - lower) * right
    found: Field = upper + (lower - upper) * below
    return found


def draw_fit(mask: CutMask, mirrored: bool, nose_shift: float, rng: np.random.Generator) -> Fit:
    """A place for the mask: as in its photograph, or a little off, low or crooked."""
    worn = pick(rng, {"well": 8.0, "low": 0.7, "crooked": 1.0})
    shift = rng.normal(0, (1.5, 2.0))
    degrees, scale = rng.normal(0, 1.5), float(np.exp(rng.normal(0, 0.035)))
    if worn == "low":
        # So far that the nose is free; what is high comes down further.
        top = float(frame_to_crop(mask.outline)[:, 1].min())
        shift[1] += max(0.0, 176 + rng.uniform(-6, 5) - top)
    elif worn == "crooked":
        degrees += float(rng.choice([-1.0, 1.0])) * rng.uniform(3, 9)
    waves = rng.normal(0, 1.1, (2, 4, 4)).astype(np.float32)
    return Fit(mask, mirrored, nose_shift, scale, degrees, shift, waves, worn)


def cut_of(fit: Fit) -> Cut:
    """The mask's outline and corners on the canonical face, as for drawn masks."""
    outline = fit.to_face(fit.mask.outline)
    corners = fit.to_face(fit.mask.corners.reshape(-1, 2)).reshape(2, 2, 2)
    if fit.mirrored:
        corners = corners[::-1]
    half_width = float(np.ptp(outline[:, 0])) / 2
    top, bottom = float(outline[:, 1].min()), float(outline[:, 1].max())
    return Cut("real", outline, corners, top, bottom, half_width, fit.worn, fit.degrees)

"""A coordinate system on the face, so that what is drawn follows rotation, scale and yaw."""

import math
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage
from PIL import ImageDraw

from facemend.alignment import CROP_SIZE_PX, Points, canonical_landmarks
from facemend.images import Alpha

Box = tuple[float, float, float, float]
"""x1, y1, x2, y2."""

_Field = npt.NDArray[np.float32]
_SUPERSAMPLING = 4
_FARTHEST_PX = 1e7


@dataclass(frozen=True)
class FaceGeometry:
    """Maps canonical crop coordinates (the 256×256 view) onto one face.

    Shapes are written once, for the canonical face. A point keeps its height between eyes and mouth.
    Its centre line bends towards this face's nose, so that shapes follow a turned head.

    Attributes:
        eyes: (2,) middle of the eyes in image pixels.
        right, down: (2,) image pixels for one canonical pixel along and across the eye axis.
        nose_shift: how far the nose lies beside the middle line, in canonical pixels.
    """

    eyes: Points
    right: Points
    down: Points
    nose_shift: float

    @cached_property
    def unit_px(self) -> float:
        """Image pixels a canonical pixel, for lengths without a direction."""
        return float(np.sqrt(np.hypot(*self.right) * np.hypot(*self.down)))

    @property
    def rigid(self) -> "FaceGeometry":
        """The same without the bend, for what is stiff or lies before the face."""
        return replace(self, nose_shift=0.0)

    def to_pixels(self, points: Points) -> Points:
        """Maps canonical points (N, 2) to image pixels."""
        middle = _CANONICAL.mean_eyes
        across, below = points[:, 0] - middle[0], points[:, 1] - middle[1]
        # The nose line bends away and back: nothing at the eyes, all at the nose, half at the chin.
        bend = np.interp(below, _BEND_AT, _BEND) * self.nose_shift if self.nose_shift else 0.0
        placed: Points = self.eyes + (across + bend)[:, None] * self.right + below[:, None] * self.down
        return placed

    def bend(self, x: _Field, y: _Field) -> tuple[_Field, _Field]:
        """Canonical coordinates of any shape, bent towards this face's nose, still canonical."""
        if not self.nose_shift:
            return x, y
        moved = np.interp(y - _CANONICAL.mean_eyes[1], _BEND_AT, _BEND) * self.nose_shift
        return x + moved.astype(np.float32), y

    def to_canonical(self, x_px: Points, y_px: Points) -> tuple[Points, Points]:
        """Canonical coordinates of image pixels, the way back of `to_pixels`. x_px and y_px broadcast."""
        dx, dy = x_px - self.eyes[0], y_px - self.eyes[1]
        spread = float(self.right[0] * self.down[1] - self.right[1] * self.down[0])
        # Axes on one line have no way back; the nearest ones that have give finite coordinates.
        least = 0.05 * self.unit_px**2
        if abs(spread) < least:
            spread = math.copysign(least, spread)
        below = (self.right[0] / spread) * dy - (self.right[1] / spread) * dx
        across = (self.down[1] / spread) * dx - (self.down[0] / spread) * dy
        bend = np.interp(below, _BEND_AT, _BEND) * self.nose_shift if self.nose_shift else 0.0
        middle = _CANONICAL.mean_eyes
        return across - bend + middle[0], below + middle[1]

    def upright_box(self, box: Box, width_px: int, height_px: int) -> tuple[int, int, int, int]:
        """The upright box of image pixels around a canonical box, cut to the image. May be empty."""
        x1, y1, x2, y2 = box
        corners = self.to_pixels(np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)]))
        low = np.rint(corners.min(axis=0)).astype(int).clip(0, (width_px, height_px))
        high = np.rint(corners.max(axis=0)).astype(int).clip(0, (width_px, height_px))
        return int(low[0]), int(low[1]), int(high[0]), int(high[1])


@dataclass(frozen=True)
class _Canonical:
    mean_eyes: Points
    eye_distance: float
    eyes_to_mouth: float
    nose_height: float


def _measure(landmarks_px: Points) -> tuple[Points, Points, Points]:
    """Middle of the eyes, eye axis, and eyes-to-mouth axis."""
    left, right, _, mouth_left, mouth_right = landmarks_px
    eyes = (left + right) / 2
    return eyes, right - left, (mouth_left + mouth_right) / 2 - eyes


def _canonical() -> _Canonical:
    landmarks = canonical_landmarks()
    eyes, along, below = _measure(landmarks)
    return _Canonical(
        eyes, float(np.hypot(*along)), float(np.hypot(*below)), float(landmarks[2, 1] - eyes[1])
    )


_CANONICAL = _canonical()
_BEND_AT = (-60.0, 0.0, _CANONICAL.nose_height, _CANONICAL.eyes_to_mouth, 110.0)
_BEND = (0.0, 0.0, 1.0, 0.6, 0.4)


def face_geometry(landmarks_px: Points | None, width_px: int, height_px: int) -> FaceGeometry:
    """The geometry of one face.

    Args:
        landmarks_px: (5, 2) in image pixels, in the order of `frame.LANDMARK_NAMES`. None places the
            canonical ones into the largest centred square. Landmarks that no face can have (eyes in
            one point, mouth above the eyes) are taken as far as they make sense.
        width_px, height_px: the image's size.
    """
    # Neither nan nor what is too far away to reckon with is a landmark.
    if landmarks_px is None or not (np.abs(landmarks_px) < _FARTHEST_PX).all():
        side = min(width_px, height_px)
        landmarks_px = canonical_landmarks(side) + ((width_px - side) / 2, (height_px - side) / 2)
    eyes, along, below = _measure(landmarks_px.astype(np.float64))
    smallest = 8 * min(width_px, height_px) / CROP_SIZE_PX
    length_along, length_below = float(np.hypot(*along)), float(np.hypot(*below))
    if length_along < 1e-6 and length_below < 1e-6:
        along, length_along = np.array([smallest, 0.0]), smallest
    if length_below < 1e-6:
        below, length_below = np.array([-along[1], along[0]]), length_along
    if length_along < 1e-6:
        along, length_along = np.array([below[1], -below[0]]), length_below
    # A profile has its eyes close together: no axis is let shrink below 55% of what the other implies.
    scale_along = length_along / _CANONICAL.eye_distance
    scale_below = length_below / _CANONICAL.eyes_to_mouth
    floor = max(0.55 * max(scale_along, scale_below), smallest / _CANONICAL.eye_distance)
    right = along / length_along * max(scale_along, floor)
    down = below / length_below * max(scale_below, floor)
    offset = landmarks_px[2] - eyes
    shift = float(offset @ right) / float(right @ right) - float(down @ right) / float(
        right @ right
    ) * float(offset @ down) / float(down @ down)
    return FaceGeometry(eyes, right, down, float(np.clip(shift, -30, 30)))


def fill_polygon(points_px: Points, width_px: int, height_px: int) -> Alpha:
    """The exact coverage of a polygon, antialiased: float32 (H, W), 0-1.

    Args:
        points_px: (N, 2) corners in image pixels, in order. May leave the image.
    """
    alpha = np.zeros((height_px, width_px), dtype=np.float32)
    low = np.floor(points_px.min(axis=0)).astype(int).clip(0, (width_px, height_px))
    high = np.ceil(points_px.max(axis=0) + 1).astype(int).clip(0, (width_px, height_px))
    (x1, y1), (x2, y2) = low, high
    if x2 <= x1 or y2 <= y1:
        return alpha
    n = _SUPERSAMPLING
    canvas = PillowImage.new("L", (int(x2 - x1) * n, int(y2 - y1) * n))
    corners = ((points_px - low + 0.5) * n - 0.5).round().astype(int)
    ImageDraw.Draw(canvas).polygon([(int(x), int(y)) for x, y in corners], fill=255)
    alpha[y1:y2, x1:x2] = np.asarray(canvas.reduce(n), dtype=np.float32) / 255
    return alpha


def smooth_outline(points: Points, samples: int = 8) -> Points:
    """A closed Catmull-Rom curve through the points (N, 2): (N·samples, 2)."""
    before, after, beyond = (np.roll(points, shift, axis=0) for shift in (1, -1, -2))
    t = np.linspace(0, 1, samples, endpoint=False)[None, :, None]
    p0, p1, p2, p3 = (p[:, None, :] for p in (before, points, after, beyond))
    curve: Points = 0.5 * (
        2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3
    )
    return curve.reshape(-1, 2)


def ellipse(x: float, y: float, radius_x: float, radius_y: float, corners: int = 28) -> Points:
    """An ellipse as a polygon (corners, 2)."""
    turn = np.linspace(0, 2 * math.pi, corners, endpoint=False)
    return np.column_stack([x + radius_x * np.cos(turn), y + radius_y * np.sin(turn)])


def box(x1: float, y1: float, x2: float, y2: float) -> Points:
    """A rectangle as a polygon (4, 2)."""
    return np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)], dtype=np.float64)


def rounded_box(x1: float, y1: float, x2: float, y2: float, radius: float) -> Points:
    """A rectangle with round corners (20, 2)."""
    radius = min(radius, (x2 - x1) / 2, (y2 - y1) / 2)
    turn = np.linspace(0, math.pi / 2, 5)
    parts = []
    for quarter, (x, y) in enumerate(
        [
            (x2 - radius, y2 - radius),
            (x1 + radius, y2 - radius),
            (x1 + radius, y1 + radius),
            (x2 - radius, y1 + radius),
        ]
    ):
        angle = turn + quarter * math.pi / 2
        parts.append(np.column_stack([x + radius * np.cos(angle), y + radius * np.sin(angle)]))
    return np.concatenate(parts)


def line(points: Points, width: float | Points) -> Points:
    """A line through the points (N, 2) as a polygon (2N, 2). The width is one number or (N,)."""
    along = np.empty_like(points)
    along[1:-1] = points[2:] - points[:-2]
    along[0], along[-1] = points[1] - points[0], points[-1] - points[-2]
    length = np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-6)
    reach = np.asarray(width, dtype=np.float64) / (2 * length)
    aside = np.empty_like(points)
    aside[:, 0], aside[:, 1] = -along[:, 1] * reach, along[:, 0] * reach
    return np.concatenate([points + aside, (points - aside)[::-1]])


def curve(
    start: tuple[float, float], bend: tuple[float, float], end: tuple[float, float], n: int = 12
) -> Points:
    """A quadratic Bézier curve, (n, 2)."""
    t = _steps(n)
    a, b, c = (np.array(p, dtype=np.float64) for p in (start, bend, end))
    path: Points = (1 - t) ** 2 * a + 2 * t * (1 - t) * b + t**2 * c
    return path


@lru_cache(maxsize=32)
def _steps(n: int) -> Points:
    """0 to 1 in n steps, (n, 1). Only to be read."""
    return np.linspace(0, 1, n)[:, None]


def turned(points: Points, centre: tuple[float, float], degrees: float) -> Points:
    """Points (N, 2) turned about a centre, clockwise as the viewer sees it."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x, y = points[:, 0] - centre[0], points[:, 1] - centre[1]
    return np.column_stack([centre[0] + cos * x - sin * y, centre[1] + sin * x + cos * y])

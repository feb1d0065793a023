"""Shapes of masks: how each style is cut, and how it lies around a turned head."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from facemend.alignment import Points
from facemend.occlusion.canvas import Field, Region, pick
from facemend.occlusion.geometry import FaceGeometry, smooth_outline, turned

MIDDLE = (127.0, 190.0)
"""The mouth of the canonical face, about which masks lie."""


@dataclass(frozen=True)
class Style:
    """A way to cut a mask.

    Attributes:
        half: right half of the outline: (distance from the middle line, height), top to bottom.
        corners: rows of `half` that straps hold on to, upper and lower.
        strapped: chance that straps are seen.
    """

    half: tuple[tuple[float, float], ...]
    corners: tuple[int, int]
    strapped: float


STYLES: Mapping[str, Style] = {
    "surgical": Style(
        ((0, 145), (13, 147), (28, 153), (46, 158), (61, 162), (62, 182), (57, 206), (46, 227),
         (30, 239), (0, 243)),
        (4, 6), 0.6,
    ),
    "cup": Style(
        ((0, 141), (11, 144), (22, 153), (40, 164), (53, 178), (55, 197), (49, 217), (34, 232),
         (17, 240), (0, 243)),
        (3, 5), 0.7,
    ),
    "folded": Style(
        ((0, 139), (10, 143), (23, 154), (42, 160), (62, 166), (62, 182), (52, 206), (37, 228),
         (18, 242), (0, 247)),
        (4, 5), 0.6,
    ),
    "duckbill": Style(
        ((0, 144), (18, 149), (40, 159), (60, 172), (60, 186), (54, 206), (46, 226), (28, 237), (0, 240)),
        (3, 5), 0.6,
    ),
    "cloth": Style(
        ((0, 144), (13, 147), (27, 154), (44, 159), (62, 163), (64, 180), (59, 202), (49, 222),
         (31, 238), (0, 244)),
        (4, 6), 0.5,
    ),
    "fitted": Style(
        ((0, 142), (12, 147), (28, 157), (48, 160), (71, 159), (73, 168), (64, 186), (57, 207),
         (43, 229), (21, 242), (0, 245)),
        (4, 5), 0.4,
    ),
    "gaiter": Style(
        ((0, 150), (20, 152), (42, 157), (60, 160), (61, 180), (57, 206),
         (53, 228), (53, 246), (58, 268), (0, 270)),
        (3, 4), 0.0,
    ),
    "bandana": Style(
        ((0, 148), (26, 151), (46, 155), (64, 158), (64, 180), (54, 206), (42, 228), (22, 250), (0, 264)),
        (3, 4), 0.0,
    ),
    "balaclava": Style(
        ((0, 22), (34, 29), (58, 54), (69, 96), (70, 140), (66, 180), (60, 212), (58, 238), (66, 268),
         (0, 272)),
        (4, 6), 0.0,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Cut:
    """A mask of one style, as it sits on a face.

    Attributes:
        style: a key of STYLES.
        outline: closed smooth curve, canonical points (N, 2).
        corners: canonical (2, 2, 2): left and right side, upper and lower strap.
        top, bottom: heights of the outline at the middle.
        half_width: of the widest place.
        worn: how: "well", "low" (below the nose) or "crooked".
        tilt_degrees: how far it is turned.
    """

    style: str
    outline: Points
    corners: Points
    top: float
    bottom: float
    half_width: float
    worn: str
    tilt_degrees: float


def draw_cut(style: str, face: FaceGeometry, rng: np.random.Generator) -> Cut:
    """Cuts a mask to a face: tight, loose or large, worn well, low or crooked."""
    half = np.array(STYLES[style].half, dtype=np.float64)
    worn = (
        "well"
        if style in ("balaclava", "gaiter", "bandana")
        else pick(rng, {"well": 8, "low": 0.8, "crooked": 1.2})
    )
    width, top, bottom = rng.uniform(0.87, 1.08), rng.uniform(-5, 9), rng.uniform(-10, 4)
    if style in ("gaiter", "bandana"):
        width *= 0.93
    if worn == "low":
        # Below the nose there is no bridge to climb: the whole upper part comes down.
        top, bottom = 176 + rng.uniform(-5, 4) - half[0, 1], rng.uniform(-2, 8)
        width = min(width, 1.0)
    heights = (half[0, 1], half[-1, 1])
    half[:, 1] += np.interp(half[:, 1], heights, (top, bottom))
    # Wide and square at the jaw, or narrow.
    half[:, 0] *= np.interp(half[:, 1], (185, 228), (1, rng.uniform(0.88, 1.16)))
    if rng.random() < 0.3:
        # A stiff upper edge without a bend at the bridge.
        rises = half[:3, 1]
        half[:3, 1] = rises + (half[2, 1] - rises) * rng.uniform(0.2, 0.7)
    sides = []
    for side in (-1, 1):
        points = half + rng.normal(0, 0.9, half.shape)
        points[0], points[-1] = half[0], half[-1]
        points[:, 0] = MIDDLE[0] + side * points[:, 0].clip(0) * width * foreshortening(
            side, face.nose_shift
        )
        sides.append(points)
    tilt = rng.normal(0, 1.5) + (rng.choice([-1.0, 1.0]) * rng.uniform(4, 10) if worn == "crooked" else 0.0)
    outline = turned(np.concatenate([sides[1], sides[0][-2:0:-1]]), MIDDLE, tilt)
    rows = list(STYLES[style].corners)
    corners = np.stack([turned(points[rows], MIDDLE, tilt) for points in sides])
    return Cut(
        style,
        smooth_outline(outline, 6),
        corners,
        float(half[0, 1]),
        float(half[-1, 1]),
        float(half[:, 0].max()) * width,
        worn,
        float(tilt),
    )


def foreshortening(side: int, nose_shift: float) -> float:
    """How wide a side of the face looks: a head that turns hides one cheek and shows the other."""
    towards = side * nose_shift
    return max(0.45, 1 - 0.024 * towards) if towards > 0 else 1 - 0.006 * towards


_EYES_Y = 131.0
_NOSE_DEPTH, _MOUTH_DEPTH = 24.0, 12.0
"""How far nose tip and mouth lie before the eyes, canonical pixels (anthropometric means)."""
_STEEPEST_TURN = 1.2
_SINES = np.linspace(-1, 1, 257)
# One number at a time: numpy's own arcsine differs in its last digit from processor to processor.
_ANGLES = np.array([math.asin(sine) for sine in _SINES.tolist()])
_FAN = np.array([math.sin(step / 10) for step in range(-15, 16)])
"""Sines of angles from one ear over the front to the other."""

_HEIGHTS = np.array((120, 140, 152, 166, 180, 196, 215, 232, 246, 262, 290), dtype=np.float64)
_PROFILE = np.array((6, 8, 14, 26, 26, 24, 19, 13, 2, -16, -26), dtype=np.float64)
"""A mask's middle line: from the bridge of the nose over its tip and the mouth under the chin."""
_JAW = np.array((1, 1, 1, 1, 1, 0.99, 0.95, 0.88, 0.78, 0.68, 0.66), dtype=np.float64)
"""Half width of the head by height, as a share of the cheeks'."""
_BEAKS: Mapping[str, tuple[float, float, float]] = {
    "cup": (6, 12, 0), "folded": (6, 14, 9), "duckbill": (8, 20, 0), "surgical": (2, 9, 0),
    "cloth": (1, 7, 3), "fitted": (1, 6, 5), "gaiter": (0, 4, 0), "bandana": (1, 8, 0),
}  # fmt: skip
"""By style: least and most distance from the mouth, and the height of a fold along the middle."""

_CHEEK_DEPTH = -8.0
_FACE_HALF: Points = np.array(
    [(61, 118), (61, 150), (60, 172), (56, 192), (49, 212), (40, 226), (38, 250), (44, 290)],
    dtype=np.float64,
)


def turn_of(face: FaceGeometry) -> float:
    """The tangent of the head's yaw, positive to the right, from where the nose lies."""
    lever = _NOSE_DEPTH - _MOUTH_DEPTH * 34 / 59
    return float(np.clip(face.nose_shift / lever, -_STEEPEST_TURN, _STEEPEST_TURN))


def project(points: Points, turn: float) -> Points:
    """Points before the frontal face (N, 3) as the camera sees them, canonical (N, 2)."""
    # The canonical axis from eyes to mouth already follows the mouth.
    depth = points[:, 2] - _MOUTH_DEPTH / 59 * (points[:, 1] - _EYES_Y)
    return np.column_stack([points[:, 0] + depth * turn, points[:, 1]])


def skin_near(region: Region, turn: float) -> Field:
    """Where the skin of cheeks, jaw and neck can take a shadow, roughly: (h, w), 0-1, soft."""
    half = np.interp(region.y, _FACE_HALF[:, 1], _FACE_HALF[:, 0])
    middle = MIDDLE[0] + (_CHEEK_DEPTH - _MOUTH_DEPTH / 59 * (region.y - _EYES_Y)) * turn
    inside: Field = ((half - np.abs(region.x - middle)) / 6 + 0.5).clip(0, 1).astype(np.float32)
    return inside


@dataclass(frozen=True)
class Surface:
    """The cloth's surface: at each height an ellipse around the head.

    Attributes:
        turn: tangent of the head's yaw.
        depth: how far the ears' side lies behind the front, canonical pixels.
        half_width: of the ellipse at the cheeks.
        fronts: distance before the eyes at _HEIGHTS.
        ridge: height of a fold along the middle line.
    """

    turn: float
    depth: float
    half_width: float
    fronts: Points
    ridge: float

    def project(self, points: Points) -> Points:
        """Points on the mask of a frontal face (N, 2) as the camera sees them, canonical (N, 2).

        What lies behind the far cheek comes to lie on the silhouette.
        """
        half, front = self._at(points[:, 1])
        sine = ((points[:, 0] - MIDDLE[0]) / half).clip(-0.998, 0.998)
        placed = project(np.column_stack([points, self._depth(front, sine)]), self.turn)
        if abs(self.turn) < 0.02:
            return placed
        far, silhouette = self._silhouette
        side = 1 if self.turn > 0 else -1
        hidden = side * sine > side * np.interp(points[:, 1], _HEIGHTS, far)
        placed[:, 0] = np.where(hidden, np.interp(points[:, 1], _HEIGHTS, silhouette), placed[:, 0])
        return placed

    @cached_property
    def _silhouette(self) -> tuple[Points, Points]:
        """At _HEIGHTS, where the far side ends: the sine of its angle, and x as seen."""
        half = self.half_width * _JAW
        fan = half[:, None] * _FAN + self._depth(self.fronts[:, None], _FAN) * self.turn
        far = fan.argmax(axis=1) if self.turn > 0 else fan.argmin(axis=1)
        sheared = _MOUTH_DEPTH / 59 * (_HEIGHTS - _EYES_Y) * self.turn
        return _FAN[far], MIDDLE[0] + fan[np.arange(len(far)), far] - sheared

    def unrolled(self, x: Field, y: Field) -> tuple[Field, Field]:
        """Where picture points lie on the cloth, and how near they are to the viewer.

        Args:
            x, y: canonical coordinates as seen, (h, w).

        Returns:
            Canonical pixels along the cloth from the middle line, (h, w), and the distance towards the
            viewer, (h, w).
        """
        half, front = self._at(y)
        half = half.astype(np.float32)
        front = front.astype(np.float32)
        turn = np.float32(self.turn)
        wide = np.sqrt(half * half + np.float32((self.depth * self.turn) ** 2))
        across = (
            x
            - np.float32(MIDDLE[0])
            + np.float32(_MOUTH_DEPTH / 59 * self.turn) * (y - np.float32(_EYES_Y))
        )
        sine = ((across - (front - np.float32(self.depth)) * turn) / wide).clip(-0.996, 0.996)
        angle = np.interp(sine, _SINES, _ANGLES)
        angle -= np.interp(np.float32(self.depth * self.turn) / wide, _SINES, _ANGLES)
        # Seen along the axis of view: a share of the cosine of what is left of the front.
        cosine = np.sqrt(1 - sine * sine)
        share = np.float32(1 / math.sqrt(1 + self.turn**2))
        near = (front + wide * np.float32(self.depth / self.half_width) * (cosine - 1)) * share
        return (angle * self.half_width).astype(np.float32), near.astype(np.float32)

    def _at(self, y: Points | Field) -> tuple[Points, Points]:
        """Half width and front at heights."""
        return self.half_width * np.interp(y, _HEIGHTS, _JAW), np.interp(y, _HEIGHTS, self.fronts)

    def _depth(self, front: Points, sine: Points) -> Points:
        """Distance before the eyes, from the sine of the angle to the middle line."""
        ridge = self.ridge * (1 - np.abs(sine) / 0.65).clip(0, 1)
        depth: Points = front - self.depth * (1 - np.sqrt(1 - sine * sine)) + ridge
        return depth


def surface_of(cut: Cut, face: FaceGeometry, rng: np.random.Generator) -> Surface:
    """The surface that a cut lies on: near to the face, or standing off it."""
    least, most, fold = _BEAKS[cut.style]
    fronts = _PROFILE + rng.uniform(least, most) * np.interp(
        _HEIGHTS, (150, 172, 205, 240), (0.2, 1, 1, 0.4)
    )
    half_width = max(cut.half_width, 54.0) / math.sin(rng.uniform(1.08, 1.28))
    return Surface(turn_of(face), rng.uniform(72, 92), half_width, fronts, fold * rng.uniform(0.5, 1.1))


_FITS: Mapping[str, float] = {"usual": 10, "large": 3, "small": 1.6}
_PLACES: Mapping[str, float] = {"usual": 10, "under the lip": 0.5, "chin": 0.5}


def draw_worn_cut(style: str, face: FaceGeometry, rng: np.random.Generator) -> Cut:
    """Cuts a mask to a frontal face as `draw_cut` does, and then too large, too small, long or low.

    Returns:
        Its `worn` is also "under the lip" or "chin" where the mouth shows.
    """
    cut = draw_cut(style, face.rigid, rng)
    fit, place = pick(rng, _FITS), pick(rng, _PLACES) if cut.worn == "well" else "usual"
    wide, tall = rng.uniform(1.0, 1.15), rng.uniform(1.0, 1.18)
    if fit == "large":
        wide, tall = rng.uniform(1.14, 1.3), rng.uniform(1.12, 1.36)
    elif fit == "small":
        wide, tall = rng.uniform(0.76, 0.9), rng.uniform(0.86, 1.0)
    if style in ("gaiter", "bandana"):
        tall = rng.uniform(0.9, 1.6)
    most = rng.uniform(66, 78) if fit == "large" else rng.uniform(58, 68)
    low = {"under the lip": 208.0, "chin": 216.0}.get(place)
    if low is not None:
        most *= 0.88
    wide = min(wide, most / cut.half_width)
    # Off the jaw: the lower corners stand out, or hang in.
    flare = rng.normal(0.02, 0.08)
    shift = rng.normal(0, 2.5)

    def moved(points: Points) -> Points:
        x, y = points[..., 0] - MIDDLE[0], points[..., 1]
        below = ((y - 178) / 60).clip(0, 1.3)
        new_y = np.where(y > 178, 178 + (y - 178) * tall, y)
        if low is not None:
            # Around chin and jaw the sides go up.
            new_y = low + (new_y - cut.top) * 0.62 - 0.009 * x * x
        return np.stack([MIDDLE[0] + shift + x * wide * (1 + flare * below), new_y], axis=-1)

    heights = moved(np.array([(MIDDLE[0], cut.top), (MIDDLE[0], cut.bottom)]))[:, 1].tolist()
    return replace(
        cut,
        outline=moved(cut.outline),
        corners=moved(cut.corners),
        top=heights[0],
        bottom=heights[1],
        half_width=cut.half_width * wide,
        worn=cut.worn if low is None else place,
    )

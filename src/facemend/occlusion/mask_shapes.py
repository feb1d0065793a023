"""How real masks are cut and worn: outlines on the canonical face, by style."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from facemend.frame import Points
from facemend.occlusion.geometry import FaceGeometry, smooth_outline
from facemend.occlusion.raster import pick
from facemend.occlusion.strokes import turned

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

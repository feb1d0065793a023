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
        ((0, 145), (13, 148), (28, 155), (45, 159), (58, 162), (60, 180), (55, 202), (44, 224), (26, 238), (0, 242)),
        (4, 6), 0.75,
    ),
    "cup": Style(
        ((0, 141), (11, 144), (22, 154), (39, 165), (50, 178), (52, 197), (46, 217), (32, 232), (16, 239), (0, 242)),
        (3, 5), 0.8,
    ),
    "folded": Style(
        ((0, 139), (10, 143), (23, 154), (41, 161), (60, 167), (60, 181), (50, 205), (35, 228), (17, 242), (0, 246)),
        (4, 5), 0.75,
    ),
    "duckbill": Style(
        ((0, 144), (18, 150), (40, 161), (57, 172), (57, 186), (50, 206), (39, 224), (22, 236), (0, 240)),
        (3, 5), 0.7,
    ),
    "cloth": Style(
        ((0, 144), (13, 147), (27, 155), (44, 160), (60, 163), (62, 178), (57, 200), (46, 221), (28, 237), (0, 243)),
        (4, 6), 0.6,
    ),
    "fitted": Style(
        ((0, 142), (12, 147), (28, 158), (48, 161), (72, 158), (74, 167), (62, 184), (55, 206), (41, 228), (20, 241), (0, 244)),
        (4, 5), 0.5,
    ),
    "gaiter": Style(
        ((0, 148), (20, 151), (42, 157), (62, 160), (64, 180), (60, 206), (56, 228), (58, 246), (64, 268), (0, 270)),
        (3, 4), 0.0,
    ),
    "bandana": Style(
        ((0, 148), (26, 151), (46, 155), (64, 158), (64, 180), (54, 206), (42, 228), (22, 250), (0, 264)),
        (3, 4), 0.0,
    ),
    "balaclava": Style(
        ((0, 22), (34, 29), (58, 54), (69, 96), (70, 140), (66, 180), (60, 212), (58, 238), (66, 268), (0, 272)),
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
    worn = pick(rng, {"well": 8, "low": 0.8, "crooked": 1.2})
    width, top, bottom = rng.uniform(0.84, 1.06), rng.uniform(-5, 9), rng.uniform(-9, 5)
    if worn == "low":
        top = 176 + rng.uniform(-4, 5) - half[0, 1]
    heights = (half[0, 1], half[-1, 1])
    half[:, 1] += np.interp(half[:, 1], heights, (top, bottom))
    if worn == "low":
        # Below the nose there is no bridge to climb: the upper edge runs level.
        half[:, 1] = np.maximum(half[:, 1], half[0, 1] - 6)
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

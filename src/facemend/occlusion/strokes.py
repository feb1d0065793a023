"""Outlines that many families share: ellipses, boxes, and lines with a width."""

import math
from functools import lru_cache

import numpy as np

from facemend.frame import Points


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
    """A line through the points (N, 2) as a polygon (2N, 2); the width is one number or (N,)."""
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
    """0 to 1 in n steps, (n, 1); only to be read."""
    return np.linspace(0, 1, n)[:, None]


def turned(points: Points, centre: tuple[float, float], degrees: float) -> Points:
    """Points (N, 2) turned about a centre, clockwise as the viewer sees it."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x, y = points[:, 0] - centre[0], points[:, 1] - centre[1]
    return np.column_stack([centre[0] + cos * x - sin * y, centre[1] + sin * x + cos * y])

"""Plots of a report as SVG, in the page's own colours: one a cut, a dot and an interval a system."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, floor

from facemend.evaluation.protocol import HOLE_BINS
from facemend.evaluation.results import EvaluationReport, Group, Measure, Row

_WIDTH, _HEIGHT = 640, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 12, 12, 40
_TICKS = 8
_COLOURS = 10
"""The page has as many classes c0, c1 …; further systems begin again."""


@dataclass(frozen=True)
class Point:
    """A system's mean in a group, in units of the plot."""

    x: float
    y: float
    low: float
    high: float
    says: str


@dataclass(frozen=True)
class Series:
    """A system's points."""

    system: str
    colour: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Plot:
    """Everything that the template draws.

    Attributes:
        title: what is plotted.
        unit: of the vertical axis.
        labels: text and x of every group.
        ticks: text and y of the vertical axis.
        series: a system each.
    """

    title: str
    unit: str
    labels: tuple[tuple[str, float], ...]
    ticks: tuple[tuple[str, float], ...]
    series: tuple[Series, ...]
    width: int = _WIDTH
    height: int = _HEIGHT
    left: int = _LEFT
    right: int = _WIDTH - _RIGHT
    bottom: int = _HEIGHT - _BOTTOM


def draw_plots(report: EvaluationReport) -> list[Plot]:
    """The hole's PSNR by its size and by kind; without a cut that has nothing to show."""
    hole: Measure = ("hole", "psnr")
    cuts = {
        "Quality by hole size": {size: Group(hole_bin=size) for size in HOLE_BINS},
        "Quality by kind of occlusion": {kind: Group(kind=kind) for kind in report.kinds},
    }
    plots = (_draw(report, title, hole, groups) for title, groups in cuts.items())
    return [plot for plot in plots if plot]


def _draw(
    report: EvaluationReport, title: str, measure: Measure, groups: Mapping[str, Group]
) -> Plot | None:
    rows: dict[tuple[str, str], Row] = {}
    for system in report.systems:
        for label, group in groups.items():
            row = report.find(system.name, measure, group)
            if row is not None and row.mean is not None:
                rows[system.name, label] = row
    if not rows:
        return None
    labels = [label for label in groups if any(label == known for _, known in rows)]
    ends = [end for row in rows.values() for end in (row.mean, row.low, row.high) if end is not None]
    low, high = floor(min(ends)), floor(max(ends)) + 1
    step = (_WIDTH - _LEFT - _RIGHT) / len(labels)
    series = []
    for place, system in enumerate(report.systems):
        beside = 0.15 + 0.7 * (place + 0.5) / len(report.systems)
        points = [
            _point(rows[system.name, label], _LEFT + step * (number + beside), low, high)
            for number, label in enumerate(labels)
            if (system.name, label) in rows
        ]
        series.append(Series(system.name, f"c{place % _COLOURS}", tuple(points)))
    middles = [(label, round(_LEFT + step * (number + 0.5), 1)) for number, label in enumerate(labels)]
    every = max(1, ceil((high - low) / _TICKS))
    ticks = [(str(value), _height(value, low, high)) for value in range(low, high + 1, every)]
    return Plot(title, "PSNR in the hole, dB", tuple(middles), tuple(ticks), tuple(series))


def _point(row: Row, x: float, low: float, high: float) -> Point:
    mean = row.mean or 0.0
    ends = (mean if row.low is None else row.low), (mean if row.high is None else row.high)
    says = f"{mean:.2f} dB" + ("" if row.low is None else f", {ends[0]:.2f} to {ends[1]:.2f}")
    y, y_low, y_high = (_height(value, low, high) for value in (mean, *ends))
    return Point(round(x, 1), y, y_low, y_high, says)


def _height(value: float, low: float, high: float) -> float:
    share = (value - low) / (high - low)
    return round(_HEIGHT - _BOTTOM - share * (_HEIGHT - _BOTTOM - _TOP), 1)

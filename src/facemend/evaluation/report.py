"""The report: JSON, Markdown, and one HTML page with plots and examples."""

import os
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from math import ceil, floor
from pathlib import Path

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from facemend.datasets import FaceSource
from facemend.errors import OutputError
from facemend.evaluation.protocol import HOLE_BINS, PROTOCOL, V1, Protocol, kinds_for
from facemend.evaluation.results import (
    AS_DRAWN,
    Evaluation,
    EvaluationReport,
    Group,
    Measure,
    Measurement,
    Row,
)
from facemend.evaluation.systems import Delivery, System
from facemend.evaluation.tables import EXPLANATION, details, head, summary, to_markdown
from facemend.files import seed_of, write_text
from facemend.images import Alpha, Image, resize
from facemend.io import write_png
from facemend.io.lossy import encode_webp
from facemend.occlusion import OccludedFace

_WIDTH, _HEIGHT = 640, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 12, 12, 40
_TICKS = 8
_COLOURS = 10
"""Number of classes c0, c1 … in the page. Further systems start again."""


@dataclass(frozen=True)
class Point:
    """A system's mean in a group, in units of the plot."""

    x: float
    y: float
    low: float
    high: float
    label: str


@dataclass(frozen=True)
class Series:
    """A system's points."""

    system: str
    colour: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Plot:
    """A plot for the template.

    Attributes:
        title: what is plotted.
        unit: of the vertical axis.
        labels: text and x of every group.
        ticks: text and y of the vertical axis.
        series: one for each system.
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
    """Plots of the hole's PSNR by its size and by kind, without empty ones."""
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
    for index, system in enumerate(report.systems):
        offset = 0.15 + 0.7 * (index + 0.5) / len(report.systems)
        points = [
            _point(rows[system.name, label], _LEFT + step * (number + offset), low, high)
            for number, label in enumerate(labels)
            if (system.name, label) in rows
        ]
        series.append(Series(system.name, f"c{index % _COLOURS}", tuple(points)))
    middles = [(label, round(_LEFT + step * (number + 0.5), 1)) for number, label in enumerate(labels)]
    every = max(1, ceil((high - low) / _TICKS))
    ticks = [(str(value), _height(value, low, high)) for value in range(low, high + 1, every)]
    return Plot(title, "PSNR in the hole, dB", tuple(middles), tuple(ticks), tuple(series))


def _point(row: Row, x: float, low: float, high: float) -> Point:
    mean = row.mean or 0.0
    ends = (mean if row.low is None else row.low), (mean if row.high is None else row.high)
    label = f"{mean:.2f} dB" + ("" if row.low is None else f", {ends[0]:.2f} to {ends[1]:.2f}")
    y, y_low, y_high = (_height(value, low, high) for value in (mean, *ends))
    return Point(round(x, 1), y, y_low, y_high, label)


def _height(value: float, low: float, high: float) -> float:
    share = (value - low) / (high - low)
    return round(_HEIGHT - _BOTTOM - share * (_HEIGHT - _BOTTOM - _TOP), 1)


DRAWN = "drawn by seed"
_FACES_A_KIND = 2
_LABEL_PX = 22
_GAP_PX = 4
_TEXT_PX = 13
_BACKGROUND, _TEXT = (255, 255, 255), (20, 20, 20)


@dataclass(frozen=True)
class Example:
    """One input and its reconstructions.

    Attributes:
        name: of the picture.
        why: the reason for showing it.
        face: the input, its truth and its occlusion.
        deliveries: by system.
        holes: PSNR in the hole in dB by system, or None for a perfect one.
    """

    name: str
    why: str
    face: OccludedFace
    deliveries: Mapping[str, Delivery]
    holes: Mapping[str, float | None]


def take_examples(
    evaluation: Evaluation, systems: Sequence[System], source: FaceSource, protocol: Protocol = V1
) -> tuple[Example, ...]:
    """Two faces for each kind, drawn by a fixed seed, then the worst, median and best of the first system.

    Args:
        evaluation: of these systems on this source. Systems that were measured on the first pictures only
            are not shown.
        source: the evaluated faces.
        protocol: of the evaluation.
    """
    records = {record.name: record for record in source.records}
    holes = {
        (m.system, m.name, m.kind): m.values["hole", "psnr"] for m in _occluded(evaluation.measurements)
    }
    shown = [system for system in systems if system.first is None] or systems
    examples = []
    for name, kind, why in _choose(evaluation, source):
        record = records[name]
        face = protocol.occlude(protocol.read_picture(source, record), record, kind)
        deliveries = {s.name: s.run([face]) for s in shown if (s.name, name, kind) in holes}
        found = {system: holes[system, name, kind] for system in deliveries}
        examples.append(Example(name, why, face, deliveries, found))
    return tuple(examples)


def _choose(evaluation: Evaluation, source: FaceSource) -> list[tuple[str, str, str]]:
    """Names, kinds, and the reasons for choosing them."""
    rng = np.random.default_rng(seed_of(PROTOCOL, "grid"))
    count = min(_FACES_A_KIND, len(source))
    indices = sorted(rng.choice(len(source), count, replace=False).tolist())
    drawn = [
        (source.records[index].name, kind, DRAWN)
        for kind in evaluation.report.kinds
        for index in indices
        if kinds_for(source.records[index].attributes, [kind])
    ]
    first = evaluation.report.systems[0].name
    ranked = sorted((m for m in _occluded(evaluation.measurements) if m.system == first), key=_hole)
    ends = {"worst": 0, "median": len(ranked) // 2, "best": -1}
    return drawn + [
        (ranked[index].name, ranked[index].kind, f"{word} of {first}") for word, index in ends.items()
    ]


def _occluded(measurements: Sequence[Measurement]) -> list[Measurement]:
    return [m for m in measurements if m.coverage and m.condition == AS_DRAWN]


def _hole(measurement: Measurement) -> float:
    hole = measurement.values["hole", "psnr"]
    return float("inf") if hole is None else hole


def caption_of(example: Example, system: str) -> str:
    """The hole's PSNR of a system as text."""
    hole = example.holes[system]
    return "perfect" if hole is None else f"{hole:.1f} dB"


def draw_grid(examples: Sequence[Example]) -> Image:
    """Input | truth | the picture of each system, with the PSNR in the hole. Each example has a line.

    Returns:
        uint8 (H, W, 3) RGB.
    """
    lines = []
    for example in examples:
        face = example.face
        tiles = [
            _tile(face.image, f"input, {face.occlusion.kind}: {example.why}"),
            _tile(face.target, f"truth, {example.name}"),
            *(
                _tile(delivery.composite[0], f"{system}: {caption_of(example, system)}")
                for system, delivery in example.deliveries.items()
            ),
        ]
        lines.append(np.concatenate(tiles, axis=1))
    return np.concatenate(lines, axis=0)


def _tile(picture: Image, caption: str) -> Image:
    height, width = picture.shape[:2]
    tile = PillowImage.new("RGB", (width + _GAP_PX, height + _LABEL_PX + _GAP_PX), _BACKGROUND)
    font = ImageFont.load_default(_TEXT_PX)
    ImageDraw.Draw(tile).text((2, _LABEL_PX / 2), caption, fill=_TEXT, font=font, anchor="lm")
    tile.paste(PillowImage.fromarray(picture), (0, _LABEL_PX))
    return np.asarray(tile, dtype=np.uint8)


_QUALITY = 85
_SMALL_PX = 160
"""Side of the maps below the pictures."""
_LARGEST_ERROR = 64.0
"""Mean error of the channels, in levels, that a heat map draws in its last colour."""
_HEAT = np.array([(12, 8, 38), (120, 28, 109), (237, 105, 37), (252, 255, 164)], dtype=np.float64)
"""From no error to the largest: four colours of the map "inferno" of Smith and van der Walt."""
_FOUND = np.array((255, 0, 180), dtype=np.float64)


@dataclass(frozen=True)
class _ExampleView:
    """One example for the page, with pictures as data URLs."""

    title: str
    caption: str
    input: str
    truth: str
    delivered: str
    error: str
    found: str | None
    drawn: bool


def to_html(report: EvaluationReport, examples: Sequence[Example]) -> str:
    """The page: summary, plots, examples of the first system under sliders, all tables, hashes, command.

    Args:
        examples: of that report (see `take_examples`).
    """
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(
        files("facemend.evaluation").joinpath("page.html").read_text("utf-8")
    )
    first = report.systems[0].name
    shown = [_show(example, first) for example in examples]
    return template.render(
        report=report,
        head=head(report),
        first=first,
        summary=summary(report),
        plots=draw_plots(report),
        chosen=[example for example in shown if not example.drawn],
        drawn=[example for example in shown if example.drawn],
        explanation=[_emphasised(line) for line in EXPLANATION],
        details=details(report),
        largest_error=round(_LARGEST_ERROR),
    )


def _show(example: Example, system: str) -> _ExampleView:
    face, delivery = example.face, example.deliveries[system]
    drawn = example.why == DRAWN
    kind = face.occlusion.kind
    return _ExampleView(
        title=kind if drawn else f"{example.why.partition(' ')[0].capitalize()}: {kind}",
        caption=f"{example.name}: {caption_of(example, system)} in the hole",
        input=_url(face.image),
        truth=_url(face.target),
        delivered=_url(delivery.composite[0]),
        error=_url(_small(draw_error(delivery.composite[0], face.target))),
        found=_found(delivery, face.image),
        drawn=drawn,
    )


def _found(delivery: Delivery, image: Image) -> str | None:
    return None if delivery.alpha is None else _url(_small(draw_found(image, delivery.alpha[0])))


def _small(image: Image) -> Image:
    return resize(image, _SMALL_PX, _SMALL_PX)


def draw_error(delivered: Image, truth: Image) -> Image:
    """A heat map of the mean error of the channels, from dark (none) to light (64 levels).

    Args:
        delivered, truth: uint8 (H, W, 3).

    Returns:
        uint8 (H, W, 3).
    """
    error = np.abs(delivered.astype(np.float64) - truth).mean(axis=2) / _LARGEST_ERROR
    steps = np.linspace(0, 1, len(_HEAT))
    channels = [np.interp(error, steps, _HEAT[:, channel]) for channel in range(3)]
    return np.asarray(np.rint(np.stack(channels, axis=2)), dtype=np.uint8)


def draw_found(image: Image, alpha: Alpha) -> Image:
    """An input with the occlusion that a system found in pink.

    Args:
        image: uint8 (H, W, 3).
        alpha: float32 (H, W), 0-1.
    """
    share = 0.6 * alpha[..., None].astype(np.float64)
    return np.asarray(np.rint(image + share * (_FOUND - image)), dtype=np.uint8)


def _url(image: Image) -> str:
    return f"data:image/webp;base64,{b64encode(encode_webp(image, quality=_QUALITY)).decode()}"


def _emphasised(line: str) -> Markup:
    """*Emphasis* and `code` of Markdown as HTML."""
    escaped = re.sub(r"\*([^*]+)\*", r"<em>\1</em>", str(escape(line)))
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", escaped))


JSON_NAME, MARKDOWN_NAME, GRID_NAME, PAGE_NAME = "report.json", "report.md", "grid.png", "report.html"
CACHE_NAME = "cache"
"""Folder of a run's scores. If nothing else is in the report's folder, the run was stopped."""


def check_folder(folder: Path, *, force: bool) -> None:
    """Makes sure that a report can be written to a folder, before the work begins.

    Raises:
        OutputError: it is not empty and `force` is not set, or it is not a writable folder.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file; a report needs a folder")
    if folder.exists() and not force and {path.name for path in folder.iterdir()} - {CACHE_NAME}:
        raise OutputError(f"{folder} is not empty; choose another folder or add --force")
    home = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not os.access(home, os.W_OK):
        raise OutputError(f"cannot write to {home}; choose another folder")


def write_report(
    folder: Path,
    evaluation: Evaluation,
    systems: Sequence[System],
    source: FaceSource,
    *,
    protocol: Protocol = V1,
    force: bool = False,
) -> None:
    """Writes the scores as JSON and Markdown, then the page and the grid, each atomically.

    Args:
        evaluation: of these systems on this source.
        protocol: of the evaluation.
        force: whether to overwrite an earlier report.

    Raises:
        OutputError: a file exists and `force` is not set, or it cannot be written.
    """
    write_text(folder / JSON_NAME, evaluation.report.to_json(), force=force)
    write_text(folder / MARKDOWN_NAME, to_markdown(evaluation.report), force=force)
    examples = take_examples(evaluation, systems, source, protocol)
    write_text(folder / PAGE_NAME, to_html(evaluation.report, examples), force=force)
    write_png(folder / GRID_NAME, draw_grid(examples), force=force)

"""The report as one HTML page that needs nothing else: no network, no other file."""

import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from io import BytesIO

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape
from PIL import Image as PillowImage

from facemend.evaluation.examples import DRAWN, Example, caption_of
from facemend.evaluation.plots import draw_plots
from facemend.evaluation.results import EvaluationReport
from facemend.evaluation.systems import Delivery
from facemend.evaluation.tables import EXPLANATION, details, head, summary
from facemend.images import Alpha, Image, resize

_QUALITY = 85
_SMALL_PX = 160
"""Side of the maps below the pictures."""
_LOUDEST_ERROR = 64.0
"""Levels of error, mean of the channels, that a heat map draws in its last colour."""
_HEAT = np.array([(12, 8, 38), (120, 28, 109), (237, 105, 37), (252, 255, 164)], dtype=np.float64)
"""From no error to the loudest: four colours of the map "inferno" of Smith and van der Walt."""
_FOUND = np.array((255, 0, 180), dtype=np.float64)


@dataclass(frozen=True)
class _Shown:
    """One example, as the page shows it; pictures as data URLs."""

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
        examples: of that report (see `examples.take_examples`).
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
        explanation=[_marked(line) for line in EXPLANATION],
        details=details(report),
        loudest=round(_LOUDEST_ERROR),
    )


def _show(example: Example, system: str) -> _Shown:
    face, delivery = example.face, example.deliveries[system]
    drawn = example.why == DRAWN
    kind = face.occlusion.kind
    return _Shown(
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
    """Where a picture is wrong: the mean error of the channels from dark (none) to light (64 levels).

    Args:
        delivered, truth: uint8 (H, W, 3).

    Returns:
        uint8 (H, W, 3).
    """
    error = np.abs(delivered.astype(np.float64) - truth).mean(axis=2) / _LOUDEST_ERROR
    steps = np.linspace(0, 1, len(_HEAT))
    channels = [np.interp(error, steps, _HEAT[:, channel]) for channel in range(3)]
    return np.asarray(np.rint(np.stack(channels, axis=2)), dtype=np.uint8)


def draw_found(image: Image, alpha: Alpha) -> Image:
    """The occlusion that a system found, in pink over its input.

    Args:
        image: uint8 (H, W, 3).
        alpha: float32 (H, W), 0-1.
    """
    share = 0.6 * alpha[..., None].astype(np.float64)
    return np.asarray(np.rint(image + share * (_FOUND - image)), dtype=np.uint8)


def _url(image: Image) -> str:
    file = BytesIO()
    PillowImage.fromarray(image).save(file, format="WEBP", quality=_QUALITY)
    return f"data:image/webp;base64,{b64encode(file.getvalue()).decode()}"


def _marked(line: str) -> Markup:
    """*Emphasis* and `code` of Markdown as HTML."""
    escaped = re.sub(r"\*([^*]+)\*", r"<em>\1</em>", str(escape(line)))
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", escaped))

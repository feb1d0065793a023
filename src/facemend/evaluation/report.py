"""Writes an evaluation into a folder: report.json, report.md, report.html and grid.png."""

import os
from collections.abc import Sequence
from pathlib import Path

from facemend.datasets import FaceSource
from facemend.errors import OutputError
from facemend.evaluation.evaluate import Evaluation
from facemend.evaluation.examples import draw_grid, take_examples
from facemend.evaluation.page import to_html
from facemend.evaluation.protocol import V1, Protocol
from facemend.evaluation.systems import System
from facemend.evaluation.tables import to_markdown
from facemend.files import write_text
from facemend.images import write_png

JSON_NAME, MARKDOWN_NAME, GRID_NAME, PAGE_NAME = "report.json", "report.md", "grid.png", "report.html"
CACHE_NAME = "cache"
"""Where a run keeps its figures; alone in a folder, it is a run that was stopped."""


def check_folder(folder: Path, *, force: bool) -> None:
    """Makes sure that a report can go into a folder, before the work begins.

    Raises:
        OutputError: it holds something and `force` is not set, is no folder, or may not be written to.
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
    """Writes the figures as JSON and Markdown, then the page and the grid, each whole or not at all.

    Args:
        evaluation: of these systems on this source.
        protocol: that it was measured by.
        force: whether to write over an earlier report.

    Raises:
        OutputError: a file exists and `force` is not set, or the disk refuses.
    """
    write_text(folder / JSON_NAME, evaluation.report.to_json(), force=force)
    write_text(folder / MARKDOWN_NAME, to_markdown(evaluation.report), force=force)
    examples = take_examples(evaluation, systems, source, protocol)
    write_text(folder / PAGE_NAME, to_html(evaluation.report, examples), force=force)
    write_png(folder / GRID_NAME, draw_grid(examples), force=force)

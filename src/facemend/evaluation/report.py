"""Writes an evaluation into a folder: report.json, report.md and grid.png."""

import os
from collections.abc import Sequence
from pathlib import Path

from facemend.datasets import FaceSource
from facemend.errors import OutputError
from facemend.evaluation.evaluate import Evaluation
from facemend.evaluation.pictures import draw_grid
from facemend.evaluation.systems import System
from facemend.evaluation.tables import to_markdown
from facemend.files import write_text
from facemend.images import write_png

JSON_NAME, MARKDOWN_NAME, GRID_NAME = "report.json", "report.md", "grid.png"


def check_folder(folder: Path, *, force: bool) -> None:
    """Makes sure that a report can go into a folder, before the work begins.

    Raises:
        OutputError: it holds something and `force` is not set, is no folder, or may not be written to.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file; a report needs a folder")
    if folder.exists() and any(folder.iterdir()) and not force:
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
    force: bool = False,
) -> None:
    """Writes the figures as JSON and Markdown, then the picture grid, each whole or not at all.

    Args:
        evaluation: of these systems on this source.
        force: whether to write over an earlier report.

    Raises:
        OutputError: a file exists and `force` is not set, or the disk refuses.
    """
    write_text(folder / JSON_NAME, evaluation.report.to_json(), force=force)
    write_text(folder / MARKDOWN_NAME, to_markdown(evaluation.report), force=force)
    write_png(folder / GRID_NAME, draw_grid(evaluation, systems, source), force=force)

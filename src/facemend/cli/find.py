"""facemend find: where faces are and what hides them, as masks and JSON."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from facemend.cli.options import (
    PATH,
    detector_option,
    device_option,
    find_options,
    model_option,
    quiet_option,
    say,
)
from facemend.errors import UsageError
from facemend.reconstruction.options import options_of
from facemend.terminal import printable, printable_json

if TYPE_CHECKING:
    from facemend.reconstruction.batch import FindResult


@click.command()
@click.argument("photos", nargs=-1, required=True, metavar="PHOTO...", type=PATH)
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    type=PATH,
    help="The folder for NAME_covers.png, NAME_accessories.png and NAME.json.  [default: write nothing]",
)
@find_options
@model_option
@detector_option
@device_option
@click.option("--recursive", is_flag=True, help="Search the subfolders of folders as well.")
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    help="Number of processes that share the photos.  [default: one per core]",
)
@click.option("--json", "as_json", is_flag=True, help="Print what was found as one JSON document.")
@click.option("--force", is_flag=True, help="Overwrite existing files.")
@quiet_option
def find(
    photos: tuple[Path, ...],
    output: Path | None,
    model: Path | None,
    detector: Path | None,
    device: str,
    recursive: bool,
    jobs: int | None,
    as_json: bool,
    force: bool,
    quiet: bool,
    **values: Any,
) -> None:
    """Find what hides the faces of photos, and reconstruct nothing.

    Covers are masks, blur, mosaics and patches. Accessories are glasses, hands and objects. A mask has the
    photo's size, and its levels are the score of each pixel from 0 to 255. A photo that fails is
    reported and skipped, and so is one that was finished before.
    """
    from facemend.reconstruction.batch import ReconstructorSetup, run_find_tasks
    from facemend.reconstruction.outputs import plan_tasks

    options = options_of(None, values)
    if output is not None and output.suffix and not output.is_dir():
        raise UsageError(f"find writes several files; make the folder {output}, or name another")
    folder = Path("found") if output is None else output  # nothing is written there without -o
    tasks = plan_tasks(photos, folder, aligned=options.aligned, save_occlusion=False, recursive=recursive)
    if len(tasks) > 1 and (options.faces or options.only):
        option = "--face" if options.faces else "--only"
        raise UsageError(f"{option} is for one photo, and here are {len(tasks)}")
    setup = ReconstructorSetup(model, detector, device)
    running = run_find_tasks(setup, tasks, options, write=output is not None, force=force, jobs=jobs)
    done = []
    for one in running:
        done.append(one)
        if one.error:
            say(f"facemend: {printable(one.error)}", error=True)
        elif not (quiet or as_json):
            say("\n".join(lines_of(one)))
    if as_json:
        say(printable_json({"pictures": [_document(one) for one in done]}, indent=2))
    elif not quiet and len(done) > 1:
        say(_summary(done))
    if any(one.error for one in done):
        click.get_current_context().exit(1)


def lines_of(one: "FindResult") -> list[str]:
    """A line for each face of a photo."""
    assert one.document is not None
    lines = []
    for face in one.document["faces"]:
        box = ",".join(f"{value:g}" for value in face["box_px"])
        found = ", ".join(_said(name, found) for name, found in face["occlusions"].items()) or "left alone"
        lines.append(f"{printable(one.source)}: face {face['face']} at {box}: {found}")
    return lines or [f"{printable(one.source)}: no face"]


def _said(name: str, found: dict[str, Any]) -> str:
    probability = "" if found["probability"] is None else f" ({found['probability']:.2f})"
    return f"{name if found['found'] else f'no {name}'}{probability}"


def _document(one: "FindResult") -> dict[str, object]:
    if one.document is None:
        return {"input": str(one.source), "error": one.error}
    return {"input": str(one.source), "outputs": [str(path) for path in one.outputs], **one.document}


def _summary(done: list["FindResult"]) -> str:
    """How many photos have an occlusion of each class."""
    counts: Counter[str] = Counter()
    for one in done:
        faces = one.document["faces"] if one.document else []
        counts.update(
            {name for face in faces for name, found in face["occlusions"].items() if found["found"]}
        )
    failed = sum(one.error is not None for one in done)
    found = ", ".join(f"{counts[name]} with {name}" for name in ("covers", "accessories"))
    return f"{len(done)} photos: {found}" + (f", {failed} failed" if failed else "")

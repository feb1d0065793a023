"""facemend reconstruct: pictures of occluded faces in, whole faces out."""

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from facemend.cli.options import (
    REGION,
    device_option,
    engine_option,
    model_option,
    quiet_option,
    ray_address_option,
    reconstruction_options,
    say,
)
from facemend.errors import UsageError
from facemend.escaping import printable, printable_json
from facemend.reconstruction.options import Options, options_of

if TYPE_CHECKING:
    from facemend.reconstruction.batch import FaceSummary, ReconstructorSetup, TaskResult
    from facemend.reconstruction.reconstructor import Reconstruction

_STREAM = (Path("-"),)


@click.command()
@click.argument("photos", nargs=-1, required=True, metavar="PHOTO...", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    type=click.Path(path_type=Path),
    help="A file (its suffix names the format), or a folder for several photos.  "
    "[default: PHOTO_reconstructed beside PHOTO; a ready crop becomes PNG]",
)
@reconstruction_options
@model_option
@click.option(
    "--detector",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Find faces with this YuNet (ONNX).  [default: the detector that comes with facemend]",
)
@device_option
@click.option("--recursive", is_flag=True, help="Search the subfolders of folders as well.")
@click.option("--in-place", is_flag=True, help="Replace each photo by its reconstruction.")
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    help="Number of processes that share the photos.  [default: one per core]",
)
@engine_option
@ray_address_option
@click.option(
    "--save-occlusion",
    is_flag=True,
    help="Also write NAME_occlusion.png, white where it was reconstructed.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what was done as one JSON document.")
@click.option("--force", is_flag=True, help="Overwrite existing files.")
@click.option("-v", "--verbose", is_flag=True, help="Say why a face was left alone.")
@quiet_option
def reconstruct(
    photos: tuple[Path, ...],
    output: Path | None,
    model: Path | None,
    detector: Path | None,
    device: str,
    recursive: bool,
    in_place: bool,
    jobs: int | None,
    engine: str,
    ray_address: str | None,
    save_occlusion: bool,
    as_json: bool,
    force: bool,
    verbose: bool,
    quiet: bool,
    **values: Any,
) -> None:
    """Reconstruct what hides the faces of photos, in files, folders or patterns such as "*.jpg".

    Pixels outside the occlusions stay as they are, and so does the file's metadata. A photo without a face
    or an occlusion comes back unchanged. Several photos share the cores. A photo that fails is reported and
    skipped, and so is one that was finished before.

    PHOTO - reads one picture from stdin and writes it to stdout as PNG.
    """
    from facemend.parallel import EngineName, open_engine
    from facemend.reconstruction.batch import ReconstructorSetup, run_tasks
    from facemend.reconstruction.outputs import plan_tasks

    options = _read_options(values)
    setup = ReconstructorSetup(model, detector, device, verbose=verbose)
    if photos == _STREAM:
        if as_json or save_occlusion or in_place:
            raise UsageError(
                "a picture from stdin has no --json, --save-occlusion or --in-place; pass a file"
            )
        _write_stream(setup()(sys.stdin.buffer, options), output, force)
        return
    tasks = plan_tasks(
        photos,
        output,
        aligned=options.aligned,
        save_occlusion=save_occlusion,
        recursive=recursive,
        in_place=in_place,
    )
    if len(tasks) > 1 and (values["mask"] or options.faces):
        raise UsageError(
            f"{'--mask' if values['mask'] else '--face'} is for one photo, and here are {len(tasks)}"
        )
    chosen = open_engine(EngineName(engine), workers=jobs, address=ray_address)
    # `run_tasks` knows how many processes a few photos on this machine are worth.
    work = None if engine == EngineName.LOCAL else chosen
    running = run_tasks(setup, tasks, options, force=force, jobs=jobs, engine=work)
    done = _shown(running, len(tasks), quiet)
    failed = any(one.error for one in done)
    if as_json:
        say(printable_json(_document(setup, done), indent=2))
    elif not quiet and not (failed and len(done) == 1):
        say(_summary(done))
    if failed:
        click.get_current_context().exit(1)


def _read_options(values: dict[str, Any]) -> Options:
    """The options of the command line, their masks read."""
    from facemend.io import read_mask

    regions, masks = [], []
    for value in values["keep"]:
        try:
            regions.append(REGION.convert(value, None, None))
        except click.UsageError:
            masks.append(Path(value))
    if len(masks) > 1:
        raise UsageError("--keep takes one picture; put the regions together into one")
    mask = read_mask(values["mask"]) if values["mask"] else None
    return options_of(None, values | {"mask": mask, "keep": (*regions, *map(read_mask, masks))})


def _shown(running: "Iterator[TaskResult]", count: int, quiet: bool) -> "list[TaskResult]":
    """The finished tasks, their progress shown on a terminal and their errors on stderr."""
    from tqdm import tqdm

    done = []
    # None: a bar with the time left on a terminal, silence in a pipe.
    for one in tqdm(running, total=count, unit="photo", leave=False, disable=True if quiet else None):
        done.append(one)
        if one.error:
            tqdm.write(f"facemend: {printable(one.error)}", file=sys.stderr)
    return done


def _write_stream(result: "Reconstruction", output: Path | None, force: bool) -> None:
    from facemend.io import Format, encode_photo

    if output is not None:
        result.save(output, force=force)
        return
    note = result.provenance.to_note()
    sys.stdout.buffer.write(encode_photo(result.photo, Format.PNG, note=note))


def _document(setup: "ReconstructorSetup", done: list["TaskResult"]) -> dict[str, object]:
    model = setup().model
    pictures = []
    for one in done:
        regions = one.provenance.regions if one.provenance else ()
        picture: dict[str, object] = {"input": str(one.task.source), "outcome": one.outcome}
        if one.error:
            picture["error"] = one.error
        else:
            picture["outputs"] = [str(path) for path in one.task.outputs]
            picture["regions"] = [{"box_px": r.box_px, "coverage": r.coverage} for r in regions]
            picture["faces"] = [_describe(face) for face in one.faces]
        pictures.append(picture)
    return {"model": {"name": model.description.name, "sha256": model.sha256}, "pictures": pictures}


def _describe(done: "FaceSummary") -> dict[str, object]:
    return {
        "box_px": [round(value, 1) for value in done.face.box_px],
        "landmarks_px": done.face.landmarks_px.round(1).tolist(),
        "confidence": round(done.face.confidence, 3),
        "coverage": done.coverage,
        "reconstructed": done.coverage > 0,
        "interval_levels": None if done.interval_levels is None else round(done.interval_levels, 1),
    }


def _summary(done: list["TaskResult"]) -> str:
    counts = Counter(one.outcome.value for one in done)
    words = {
        "reconstructed": "reconstructed",
        "unchanged": "without an occlusion, written unchanged",
        "no face": "without a face, written unchanged",
        "skipped": "finished before, skipped",
        "failed": "failed",
    }
    text = ", ".join(f"{counts[key]} {said}" for key, said in words.items() if counts[key])
    return f"{text}: {printable(done[0].task.output)}" if len(done) == 1 else text

"""facemend reconstruct: pictures of occluded faces in, whole faces out."""

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from facemend.cli.options import (
    REGION,
    device_option,
    engine_option,
    model_option,
    quiet_option,
    ray_address_option,
    say,
)
from facemend.errors import UsageError
from facemend.escaping import printable, printable_json
from facemend.reconstruction.options import Remove

if TYPE_CHECKING:
    from facemend.reconstruction.batch import Done, DoneFace, Opening
    from facemend.reconstruction.options import Box, Request
    from facemend.reconstruction.results import PillowPicture, Reconstruction

_STREAM = (Path("-"),)


@click.command()
@click.argument("photos", nargs=-1, required=True, metavar="PHOTO...", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    type=click.Path(path_type=Path),
    help="A file (its suffix names the format), or a folder for several photos.  "
    "[default: PHOTO_reconstructed beside PHOTO]",
)
@click.option(
    "--aligned",
    is_flag=True,
    help="The photos are ready crops of one face, 178×218 (CelebA) or square, and become PNG.",
)
@click.option(
    "--mask",
    "mask_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Reconstruct exactly where this picture is white (one photo only).",
)
@click.option(
    "--face",
    "faces",
    multiple=True,
    metavar="X,Y,W,H",
    type=REGION,
    help="A covered face that is not found or left alone, in pixels from the top left (one photo only; "
    "repeatable).",
)
@click.option(
    "--keep",
    multiple=True,
    metavar="X,Y,W,H|FILE",
    help="A region that never changes, or a picture that is white there (repeatable).",
)
@click.option(
    "--remove",
    type=click.Choice([remove.value for remove in Remove]),
    default=Remove.COVERS.value,
    show_default=True,
    help="What to reconstruct: covers (masks, blur), accessories (glasses, hands) or both.",
)
@click.option(
    "--occlusion-threshold",
    type=click.FloatRange(0, 1),
    help="What the model finds with more is an occlusion; higher leaves more as it is.  [default: 0.5]",
)
@click.option(
    "--min-confidence",
    type=click.FloatRange(0, 1),
    help="How sure the detector must be of a face.  [default: 0.6]",
)
@model_option
@click.option(
    "--detector",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Find faces with this YuNet (ONNX), not with the detector that comes with facemend.",
)
@device_option
@click.option("--recursive", is_flag=True, help="Search the subfolders of folders, too.")
@click.option("--in-place", is_flag=True, help="Replace each photo by its reconstruction.")
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    help="Processes that share several photos.  [default: one a core]",
)
@engine_option
@ray_address_option
@click.option(
    "--strip",
    is_flag=True,
    help="Leave EXIF with its place, XMP, IPTC and comments out of what is written.",
)
@click.option(
    "--primary-only",
    is_flag=True,
    help="Write the picture of an MPO or Ultra HDR JPEG without its layers, which would not fit it.",
)
@click.option(
    "--save-occlusion", is_flag=True, help="Also write NAME_occlusion.png: white was reconstructed."
)
@click.option("--json", "as_json", is_flag=True, help="Print what was done as one JSON document.")
@click.option("--force", is_flag=True, help="Overwrite existing files.")
@quiet_option
def reconstruct(
    photos: tuple[Path, ...],
    output: Path | None,
    aligned: bool,
    mask_file: Path | None,
    faces: "tuple[Box, ...]",
    keep: tuple[str, ...],
    remove: str,
    occlusion_threshold: float | None,
    min_confidence: float | None,
    model: Path | None,
    detector: Path | None,
    device: str,
    recursive: bool,
    in_place: bool,
    jobs: int | None,
    engine: str,
    ray_address: str | None,
    strip: bool,
    primary_only: bool,
    save_occlusion: bool,
    as_json: bool,
    force: bool,
    quiet: bool,
) -> None:
    """Reconstruct what hides the faces of photos, in files, folders or patterns such as "*.jpg".

    Finds the faces and what hides them. Pixels outside the occlusions stay as they are, and so does what
    the file says beside its pixels; a photo without a face or an occlusion comes back unchanged. Several
    photos share the cores; a bad one is reported and skipped; what was finished before is skipped.
    PHOTO - reads one picture from stdin and writes it to stdout as PNG.
    """
    from facemend.parallel import EngineName, open_engine
    from facemend.reconstruction.batch import Opening, run_tasks
    from facemend.reconstruction.outputs import plan_tasks

    request = _request(
        aligned, mask_file, remove, faces, keep, occlusion_threshold, min_confidence, strip, primary_only
    )
    opening = Opening(model, detector, device)
    if photos == _STREAM:
        if as_json or save_occlusion or in_place:
            raise UsageError(
                "a picture from stdin has no --json, --save-occlusion or --in-place; pass a file"
            )
        _write_stream(opening().answer(sys.stdin.buffer, request), output, force)
        return
    tasks = plan_tasks(
        photos,
        output,
        aligned=aligned,
        save_occlusion=save_occlusion,
        recursive=recursive,
        in_place=in_place,
    )
    if len(tasks) > 1 and (mask_file or faces):
        raise UsageError(
            f"{'--mask' if mask_file else '--face'} is for one photo, and here are {len(tasks)}"
        )
    chosen = open_engine(EngineName(engine), workers=jobs, address=ray_address)
    # Here, `run_tasks` knows how many processes so few photos are worth.
    work = None if engine == EngineName.LOCAL else chosen
    running = run_tasks(opening, tasks, request, force=force, jobs=jobs, engine=work)
    done = _shown(running, len(tasks), quiet)
    failed = any(one.error for one in done)
    if as_json:
        say(printable_json(_document(opening, done), indent=2))
    elif not quiet and not (failed and len(done) == 1):
        say(_summary(done))
    if failed:
        click.get_current_context().exit(1)


def _request(
    aligned: bool,
    mask_file: Path | None,
    remove: str,
    faces: "tuple[Box, ...]",
    keep: tuple[str, ...],
    occlusion_threshold: float | None,
    min_confidence: float | None,
    strip: bool,
    primary_only: bool,
) -> "Request":
    """What is asked; an option that was not given takes the library's default."""
    from facemend.io import read_mask
    from facemend.reconstruction.options import Request

    kept, masks = [], []
    for value in keep:
        try:
            kept.append(REGION.convert(value, None, None))
        except click.UsageError:
            masks.append(Path(value))
    if len(masks) > 1:
        raise UsageError("--keep takes one picture; put the regions together into one")
    wanted = Request(
        aligned=aligned,
        mask=read_mask(mask_file) if mask_file else None,
        remove=Remove(remove),
        faces=faces,
        keep=tuple(kept),
        keep_mask=read_mask(masks[0]) if masks else None,
        strip=strip,
        primary_only=primary_only,
    )
    if occlusion_threshold is not None:
        wanted = replace(wanted, occlusion_threshold=occlusion_threshold)
    return wanted if min_confidence is None else replace(wanted, min_confidence=min_confidence)


def _shown(running: "Iterator[Done]", count: int, quiet: bool) -> "list[Done]":
    """The finished tasks, their progress shown on a terminal and their errors on stderr."""
    from tqdm import tqdm

    done = []
    # None: a bar with the time left on a terminal, silence in a pipe.
    for one in tqdm(running, total=count, unit="photo", leave=False, disable=True if quiet else None):
        done.append(one)
        if one.error:
            tqdm.write(f"facemend: {printable(one.error)}", file=sys.stderr)
    return done


def _write_stream(result: "Reconstruction[PillowPicture]", output: Path | None, force: bool) -> None:
    from facemend.io import Format, encode_photo

    if output is not None:
        result.save(output, force=force)
        return
    note = result.provenance.to_note()
    sys.stdout.buffer.write(encode_photo(result.photo, Format.PNG, note=note))


def _document(opening: "Opening", done: list["Done"]) -> dict[str, object]:
    model = opening().model
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


def _describe(done: "DoneFace") -> dict[str, object]:
    return {
        "box_px": [round(value, 1) for value in done.face.box_px],
        "landmarks_px": done.face.landmarks_px.round(1).tolist(),
        "confidence": round(done.face.confidence, 3),
        "coverage": done.coverage,
        "reconstructed": done.coverage > 0,
        "interval_levels": None if done.interval_levels is None else round(done.interval_levels, 1),
    }


def _summary(done: list["Done"]) -> str:
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

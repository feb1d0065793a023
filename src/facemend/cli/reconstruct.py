"""facemend reconstruct: pictures of occluded faces in, whole faces out."""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from facemend.cli.options import device_option, model_option, quiet_option
from facemend.errors import UsageError
from facemend.reconstruction.options import Remove

if TYPE_CHECKING:
    from facemend.reconstruction.batch import Done
    from facemend.reconstruction.reconstructor import Reconstructor
    from facemend.reconstruction.results import FaceReconstruction, PillowPicture, Reconstruction

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
    help="The photos are ready crops, 178×218 (CelebA) or square, and become PNG; no face is looked for.",
)
@click.option(
    "--mask",
    "mask_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Reconstruct exactly where this picture is white (one photo only).",
)
@click.option(
    "--remove",
    type=click.Choice([remove.value for remove in Remove]),
    default=Remove.COVERS.value,
    show_default=True,
    help="What to reconstruct: covers (masks, blur), accessories (glasses, hands) or both.",
)
@model_option
@device_option
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
    remove: str,
    model: Path | None,
    device: str,
    save_occlusion: bool,
    as_json: bool,
    force: bool,
    quiet: bool,
) -> None:
    """Reconstruct what hides the faces of photos, in files or folders.

    Finds the faces and what hides them. Pixels outside the occlusions stay as they are, and so does what
    the file says beside its pixels; a photo without a face or an occlusion comes back unchanged. What was
    finished before is skipped. PHOTO - reads one picture from stdin and writes it to stdout as PNG.
    """
    from tqdm import tqdm

    from facemend.reconstruction.batch import Outcome, plan_tasks, run_tasks
    from facemend.reconstruction.reconstructor import Reconstructor, read_mask

    mask = read_mask(mask_file) if mask_file else None
    if photos == _STREAM:
        if as_json or save_occlusion:
            raise UsageError("a picture from stdin has no --json and no --save-occlusion; pass a file")
        result = Reconstructor(model, device=device)(
            sys.stdin.buffer, aligned=aligned, mask=mask, remove=remove
        )
        _write_stream(result, output, force)
        return
    tasks = plan_tasks(photos, output, aligned=aligned, save_occlusion=save_occlusion)
    if mask is not None and len(tasks) > 1:
        raise UsageError(f"--mask is for one photo, and here are {len(tasks)}")
    reconstructor = Reconstructor(model, device=device)
    done = []
    running = run_tasks(reconstructor, tasks, aligned=aligned, mask=mask, remove=remove, force=force)
    # None: a bar on a terminal, silence in a pipe.
    for one in tqdm(running, total=len(tasks), unit="photo", leave=False, disable=True if quiet else None):
        done.append(one)
        if one.error:
            tqdm.write(f"facemend: {one.error}", file=sys.stderr)
    failed = any(one.outcome == Outcome.FAILED for one in done)
    if as_json:
        click.echo(json.dumps(_document(reconstructor, done), indent=2, ensure_ascii=False))
    elif not quiet and not (failed and len(done) == 1):
        click.echo(_summary(done))
    if failed:
        click.get_current_context().exit(1)


def _write_stream(result: "Reconstruction[PillowPicture]", output: Path | None, force: bool) -> None:
    from facemend.photos import Format, encode_photo

    if output is not None:
        result.save(output, force=force)
        return
    note = result.provenance.to_note()
    sys.stdout.buffer.write(encode_photo(result.photo, Format.PNG, note=note))


def _document(reconstructor: "Reconstructor", done: list["Done"]) -> dict[str, object]:
    model = reconstructor.model
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


def _describe(done: "FaceReconstruction") -> dict[str, object]:
    return {
        "box_px": [round(value, 1) for value in done.face.box_px],
        "landmarks_px": done.face.landmarks_px.round(1).tolist(),
        "confidence": round(done.face.confidence, 3),
        "coverage": done.coverage,
        "reconstructed": done.changed,
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
    return f"{text}: {done[0].task.output}" if len(done) == 1 else text

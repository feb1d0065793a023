"""facemend reconstruct: pictures of occluded faces in, whole faces out."""

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from facemend.cli.options import (
    PATH,
    advised,
    certificate_option,
    detector_option,
    device_option,
    engine_option,
    key_option,
    model_option,
    quiet_option,
    ray_address_option,
    read_options,
    read_signing,
    reconstruction_options,
    say,
)
from facemend.errors import UsageError
from facemend.terminal import printable, printable_json

if TYPE_CHECKING:
    from tqdm import tqdm

    from facemend.reconstruction.batch import FaceSummary, ReconstructorSetup, TaskResult
    from facemend.reconstruction.model import Model
    from facemend.reconstruction.options import Options
    from facemend.video.outputs import VideoReconstruction

_STREAM = (Path("-"),)


@click.command()
@click.argument("photos", nargs=-1, required=True, metavar="PHOTO...", type=PATH)
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    type=PATH,
    help="A file (its suffix names the format), or a folder for several photos.  "
    "[default: PHOTO_reconstructed beside PHOTO; a ready crop becomes PNG]",
)
@reconstruction_options
@model_option
@detector_option
@device_option
@certificate_option
@key_option
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
    "--codec",
    type=click.Choice(["h264", "h265", "vp9", "av1", "ffv1"]),
    help="Of a clip.  [default: h264, and vp9 in WebM]",
)
@click.option("--lossless", is_flag=True, help="Encode a clip without loss.")
@click.option(
    "--save-occlusion",
    is_flag=True,
    help="Also write NAME_occlusion.png, white where it was reconstructed.",
)
@click.option(
    "--save-doubt",
    is_flag=True,
    help="Also write NAME_doubt.png, brighter where the reconstruction may be farther off.",
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
    certificate: Path | None,
    key: Path | None,
    recursive: bool,
    in_place: bool,
    jobs: int | None,
    engine: str,
    ray_address: str | None,
    codec: str | None,
    lossless: bool,
    save_occlusion: bool,
    save_doubt: bool,
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

    PHOTO - reads one picture from stdin and writes it to stdout as PNG, and so does -o - with a file.

    A clip (MP4, MOV, MKV, WebM and others) is followed from frame to frame. A folder without photos may
    hold clips.
    """
    from facemend.parallel import EngineName, open_engine
    from facemend.reconstruction.batch import ReconstructorSetup, run_tasks
    from facemend.reconstruction.outputs import plan_tasks

    options = read_options(values)
    setup = ReconstructorSetup(
        model, detector, device, verbose=verbose, credentials=read_signing(certificate, key)
    )
    if photos == _STREAM or (output,) == _STREAM:
        if save_occlusion or save_doubt or in_place:
            raise UsageError(
                "a picture in a stream has no --save-occlusion, --save-doubt or --in-place; pass a file"
            )
        if len(photos) > 1 or photos[0].is_dir():
            raise UsageError("stdout takes one picture; name a folder to write several into")
        _reconstruct_stream(setup, options, photos[0], output, as_json=as_json, force=force, quiet=quiet)
        return
    if _are_clips(photos, recursive):
        if save_occlusion or save_doubt or in_place or engine != EngineName.LOCAL:
            raise UsageError(
                "a clip has no --save-occlusion, --save-doubt, --in-place or --engine ray; leave them out"
            )
        _reconstruct_clips(
            setup, _plan_clips(photos, output, recursive), options, codec, lossless, force, as_json, quiet
        )
        return
    if codec or lossless:
        raise UsageError("--codec and --lossless are for clips; leave them out")
    tasks = plan_tasks(
        photos,
        output,
        aligned=options.aligned,
        save_occlusion=save_occlusion,
        save_doubt=save_doubt,
        recursive=recursive,
        in_place=in_place,
    )
    given = {"--mask": values["mask"], "--face": options.faces, "--only": options.only}
    for option in (name for name, value in given.items() if value and len(tasks) > 1):
        raise UsageError(f"{option} is for one photo, and here are {len(tasks)}")
    chosen = open_engine(EngineName(engine), workers=jobs, address=ray_address)
    # `run_tasks` knows how many processes a few photos on this machine are worth.
    work = None if engine == EngineName.LOCAL else chosen
    running = run_tasks(setup, tasks, options, force=force, jobs=jobs, engine=work)
    done: list[TaskResult] = []
    try:
        done.extend(_shown(running, len(tasks), quiet))
    finally:  # a full disk ends the run, and what was done is said all the same
        if as_json:
            say(printable_json(_document(setup().model, done), indent=2))
        elif done and not quiet and not (done[0].error and len(done) == 1):
            say(_summary(done))
    if any(one.error for one in done):
        click.get_current_context().exit(1)


def _shown(running: "Iterator[TaskResult]", count: int, quiet: bool) -> "Iterator[TaskResult]":
    """The finished tasks, their progress and their errors shown on stderr."""
    from tqdm import tqdm

    from facemend.terminal import progress

    for one in progress(running, total=count, unit="photos", quiet=quiet):
        yield one
        if one.error and sys.stderr is not None:
            tqdm.write(f"facemend: {printable(advised(one.error))}", file=sys.stderr)


def _reconstruct_stream(
    setup: "ReconstructorSetup",
    options: "Options",
    photo: Path,
    output: Path | None,
    *,
    as_json: bool,
    force: bool,
    quiet: bool,
) -> None:
    """The picture goes to stdout, unless it has a name. What is said then goes to stderr.

    Args:
        photo, output: a path, or `-` for stdin and stdout. No output is stdout as well.
    """
    from facemend.io import Format
    from facemend.reconstruction.batch import TaskResult, outcome_of, summaries_of
    from facemend.reconstruction.outputs import Task

    to_stdout = output is None or output == _STREAM[0]
    if sys.stdout is None and to_stdout:
        raise UsageError("stdout is closed; name an output with -o")
    reconstructor = setup()
    result = reconstructor(sys.stdin.buffer if photo == _STREAM[0] else photo, options)
    if output is None or to_stdout:
        sys.stdout.buffer.write(result.encode(Format.PNG))
        sys.stdout.buffer.flush()
    else:
        result.save(output, force=force)
    task = Task(photo, output or _STREAM[0], None)
    done = [TaskResult(task, outcome_of(result), result.provenance, faces=summaries_of(result))]
    if as_json:
        say(printable_json(_document(reconstructor.model, done), indent=2), error=to_stdout)
    elif not quiet:
        say(_summary(done), error=to_stdout)


def _document(model: "Model", done: list["TaskResult"]) -> dict[str, object]:
    pictures = []
    for one in done:
        regions = one.provenance.regions if one.provenance else ()
        picture: dict[str, object] = {"input": str(one.task.source), "outcome": one.outcome}
        if one.error:
            picture["error"] = advised(one.error)
        else:
            picture["outputs"] = [str(path) for path in one.task.outputs]
            picture["regions"] = [{"box_px": r.box, "coverage": r.coverage} for r in regions]
            picture["faces"] = [_describe(face) for face in one.faces]
        pictures.append(picture)
    return {"model": {"name": model.description.name, "sha256": model.sha256}, "pictures": pictures}


def _describe(done: "FaceSummary") -> dict[str, object]:
    return {
        "face": done.number,
        "chosen": done.chosen,
        "box_px": [round(value, 1) for value in done.face.box],
        "landmarks_px": done.face.landmarks_px.round(1).tolist(),
        "confidence": round(done.face.confidence, 3),
        "coverage": done.coverage,
        "reconstructed": done.coverage > 0,
        "stays": list(done.stays),
        "interval_levels": None if done.interval_levels is None else round(done.interval_levels, 1),
        "doubt": done.doubt,
    }


_OUTCOMES = {
    "reconstructed": "reconstructed",
    "unchanged": "without a cover, written unchanged",
    "no face": "without a face, written unchanged",
    "skipped": "finished before, skipped",
    "failed": "failed",
}


def _summary(done: list["TaskResult"]) -> str:
    counts = Counter(one.outcome.value for one in done)
    faces = sum(face.coverage > 0 for one in done for face in one.faces)
    parts = []
    for key, said in _OUTCOMES.items():
        if counts[key]:
            of_faces = f" ({_counted(faces, 'face')})" if key == "reconstructed" else ""
            parts.append(f"{_counted(counts[key], 'photo')} {said}{of_faces}")
    text = ", ".join(parts)
    if len(done) == 1 and done[0].task.output not in _STREAM:
        text += f": {printable(done[0].task.output)}"
    staying = sum(bool(face.stays) for one in done for face in one.faces)
    if staying:
        text += (
            f"\n{_counted(staying, 'face')} with glasses, a hand or the like, which "
            f"{'stay' if staying > 1 else 'stays'} by default; --remove all takes it away"
        )
    return text


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _are_clips(paths: tuple[Path, ...], recursive: bool) -> bool:
    """Whether clips are meant: all that is named is one, or folders hold clips and no photos."""
    from facemend.io import find_pictures, is_clip

    folders = [path for path in paths if path.is_dir()]
    clips = [path for path in paths if is_clip(path) and not path.is_dir()]
    if len(clips) + len(folders) < len(paths):
        if clips:
            raise UsageError(
                "photos and clips do not go together; reconstruct the clips in a run of their own"
            )
        return False
    if not folders:
        return bool(clips)
    from facemend.video.outputs import find_clips

    return bool(clips) or any(
        find_clips(folder, recursive=recursive) and not find_pictures(folder, recursive=recursive)
        for folder in folders
    )


def _plan_clips(paths: tuple[Path, ...], output: Path | None, recursive: bool) -> list[tuple[Path, Path]]:
    from facemend.video.outputs import plan_clips

    return plan_clips(paths, output, recursive=recursive)


def _reconstruct_clips(
    setup: "ReconstructorSetup",
    pairs: list[tuple[Path, Path]],
    options: "Options",
    codec: str | None,
    lossless: bool,
    force: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Reconstructs clips, one after the other. One that fails is reported, and the others go on."""
    from facemend.errors import FacemendError, ModelError
    from facemend.reconstruction.batch import Outcome
    from facemend.terminal import progress
    from facemend.video.outputs import VideoReconstruction, describe, reconstruct_video
    from facemend.video.reconstructor import threads_for_clips

    threads = setup.threads or threads_for_clips()
    reconstructor, done = replace(setup, threads=threads)(), []
    for source, output in pairs:
        with progress(unit="frames", desc=f"{printable(source.name)}: ", quiet=quiet) as bar:

            def advance(frames: int, expected: int | None, bar: "tqdm[Any]" = bar) -> None:
                bar.total = expected
                bar.update(frames - bar.n)

            try:
                result = reconstruct_video(
                    source, output, options, reconstructor=reconstructor, codec=codec, lossless=lossless,
                    force=force, progress=advance,
                )  # fmt: skip
            except FacemendError as error:
                if len(pairs) == 1 or isinstance(error, UsageError | ModelError):
                    raise
                result = VideoReconstruction(source, output, Outcome.FAILED, error=str(error))
        done.append(result)
        for line in ([result.error] if result.error else []) + list(result.notes):
            say(f"facemend: {printable(line)}", error=True)
        if not as_json and not quiet and result.error is None:
            say(_clip_summary(result))
    if as_json:
        say(printable_json({"clips": [describe(one) for one in done]}, indent=2))
    if any(one.error for one in done):
        click.get_current_context().exit(1)


def _clip_summary(result: "VideoReconstruction") -> str:
    said = {
        "reconstructed": f"reconstructed in {result.changed_frames} of {result.frames} frames",
        "unchanged": "without an occlusion, written unchanged",
        "no face": "without a face, written unchanged",
        "skipped": "finished before, skipped",
    }
    return f"{said[result.outcome.value]}: {printable(result.output)}"

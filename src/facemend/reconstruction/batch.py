"""Files and folders of pictures: what is written where, what is finished already, what failed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np

from facemend.errors import NoFaceFound, OutputError, PictureError, UsageError
from facemend.files import sha256_of
from facemend.images import PICTURE_SUFFIXES, Mask, write_png
from facemend.photos import SUFFIXES, format_named
from facemend.reconstruction.options import Remove
from facemend.reconstruction.provenance import Provenance, read_provenance
from facemend.reconstruction.reconstructor import Reconstructor
from facemend.reconstruction.results import FaceReconstruction, PillowPicture, Reconstruction

_ENDING = "_reconstructed"
"""What the name of an output beside its input ends with."""


@dataclass(frozen=True)
class Task:
    """One picture to reconstruct.

    Attributes:
        source: the input.
        output: the picture to write, in the format that its suffix names.
        occlusion_output: where to write the occlusion that was reconstructed; None for nowhere.
    """

    source: Path
    output: Path
    occlusion_output: Path | None

    @property
    def outputs(self) -> list[Path]:
        """All files that the task writes."""
        return [self.output] if self.occlusion_output is None else [self.output, self.occlusion_output]


class Outcome(StrEnum):
    """What became of a picture; `unchanged` has no occlusion, `skipped` was finished before."""

    RECONSTRUCTED = "reconstructed"
    UNCHANGED = "unchanged"
    NO_FACE = "no face"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True)
class Done:
    """A finished task.

    Attributes:
        task: which.
        outcome: what became of it.
        provenance: what the output says about itself; None if it failed.
        error: why it failed, in one line; None if it did not.
        faces: what was done to each; empty if it was skipped or failed.
    """

    task: Task
    outcome: Outcome
    provenance: Provenance | None
    error: str | None = None
    faces: tuple[FaceReconstruction, ...] = ()


def plan_tasks(
    inputs: Sequence[Path], output: Path | None, *, aligned: bool, save_occlusion: bool
) -> list[Task]:
    """Decides what is written where, before anything is.

    Args:
        inputs: pictures, and folders that are searched with their subfolders; pictures that facemend
            wrote itself are left out of folders.
        output: a file for a single picture, in the format of its suffix; else a folder that takes each
            input's name and subfolder; None writes PHOTO_reconstructed beside each input.
        aligned: ready crops become PNG; photos keep their format, if facemend writes it.
        save_occlusion: also write NAME_occlusion.png beside each output.

    Raises:
        PictureError: a folder without pictures.
        OutputError: an output would overwrite an input.
        UsageError: two inputs with one output, or an output that is neither a folder nor of a format
            that facemend writes.
    """
    found = [(source, name) for path in inputs for source, name in _pictures(path)]
    into_folder = output is not None and (
        len(inputs) > 1 or inputs[0].is_dir() or output.is_dir() or not output.suffix
    )
    if output is not None and not into_folder:
        format_named(output)
    tasks = []
    for source, name in found:
        suffix = source.suffix if not aligned and source.suffix.lower() in SUFFIXES else ".png"
        if output is None:
            stem, target = source.stem, source.with_name(f"{source.stem}{_ENDING}{suffix}")
        else:
            target = output / name.with_suffix(suffix) if into_folder else output
            stem = target.stem
        tasks.append(
            Task(source, target, target.with_name(f"{stem}_occlusion.png") if save_occlusion else None)
        )
    _check_apart(tasks)
    return tasks


def run_tasks(
    reconstructor: Reconstructor,
    tasks: Sequence[Task],
    *,
    aligned: bool,
    mask: Mask | None = None,
    remove: Remove | str = Remove.COVERS,
    force: bool = False,
) -> Iterator[Done]:
    """Reconstructs pictures one by one. A bad picture fails alone; what is finished is skipped.

    Args:
        aligned, mask, remove: see `Reconstructor.__call__`.
        force: overwrite whatever lies at the outputs.

    Raises:
        OutputError: an output exists and is other work (before anything is written), or cannot be
            written.
        ModelError, UsageError: as `Reconstructor.__call__` does.
    """
    finished: dict[Task, Provenance] = {}
    ours: set[Path] = set()
    if not force:
        for task in tasks:
            made_of = _sha256(task.source)
            expected = reconstructor.provenance(made_of, aligned=aligned, mask=mask, remove=remove)
            there = _earlier_work(task, expected)
            ours |= there.keys()
            made = there.get(task.output)
            if made is not None and there.keys() == set(task.outputs):
                finished[task] = made
    for task in tasks:
        if task in finished:
            yield Done(task, Outcome.SKIPPED, finished[task])
            continue
        try:
            result = reconstructor(task.source, aligned=aligned, mask=mask, remove=remove)
        except (PictureError, NoFaceFound) as error:
            yield Done(task, Outcome.FAILED, None, str(error))
            continue
        if task.occlusion_output is not None:
            gray = np.rint(result.removed * 255).astype(np.uint8)
            text = result.provenance.to_text()
            path = task.occlusion_output
            write_png(path, gray, text=text, force=force or path in ours)
        result.save(task.output, force=force or task.output in ours)
        yield Done(task, _outcome(result), result.provenance, faces=result.faces)


def _outcome(result: Reconstruction[PillowPicture]) -> Outcome:
    if not result.faces:
        return Outcome.NO_FACE
    return Outcome.RECONSTRUCTED if result.changed else Outcome.UNCHANGED


def _pictures(path: Path) -> Iterator[tuple[Path, Path]]:
    """Each picture of an input, with its name below the output folder."""
    if not path.is_dir():
        yield path, Path(path.name)
        return
    found = [
        picture
        for picture in sorted(path.rglob("*"))
        if picture.suffix.lower() in PICTURE_SUFFIXES | SUFFIXES.keys()
        and not picture.name.startswith(".")
        and not read_provenance(picture)
        and not _is_copy(picture)
    ]
    if not found:
        raise PictureError(f"{path} holds no pictures to reconstruct")
    yield from ((picture, picture.relative_to(path)) for picture in found)


def _is_copy(picture: Path) -> bool:
    """Whether a picture was written unchanged beside its input: such a file says nothing of itself."""
    original = picture.with_name(picture.stem.removesuffix(_ENDING) + picture.suffix)
    there = original != picture and original.is_file()
    return there and _sha256(original) == _sha256(picture)


def _check_apart(tasks: Sequence[Task]) -> None:
    inputs = {task.source.resolve() for task in tasks}
    writers: dict[Path, Task] = {}
    for task in tasks:
        for path in task.outputs:
            if path.resolve() in inputs:
                raise OutputError(f"{path} would overwrite an input; choose another output")
            first = writers.setdefault(path.resolve(), task)
            if first is not task:
                raise UsageError(
                    f"{first.source} and {task.source} would both be written to {path}; rename one, or "
                    "reconstruct them into two folders"
                )


def _earlier_work(task: Task, expected: Provenance) -> dict[Path, Provenance | None]:
    """Those outputs of a task that are there, all of this very work.

    None stands for a copy of the input: other options may reconstruct something in it, so that it is done
    again, and nothing is lost if it is written over.

    Raises:
        OutputError: one is other work.
    """
    there: dict[Path, Provenance | None] = {}
    for path in task.outputs:
        if not _exists(path):
            continue
        if expected.input_sha256 is not None and _sha256(path) == expected.input_sha256:
            there[path] = None
            continue
        provenance = read_provenance(path)
        if provenance is None or not expected.same_work(provenance):
            raise OutputError(
                f"{path} exists already and is not this reconstruction; choose another output or add "
                "--force"
            )
        there[path] = provenance
    return there


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error


def _sha256(path: Path) -> str | None:
    try:
        return sha256_of(path)
    except OSError:
        return None  # said when its turn comes

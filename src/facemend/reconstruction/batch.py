"""Many photos over the cores, and the record of those that were finished."""

import json
import logging
import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from facemend.detection import Face
from facemend.errors import NoFaceFound, OutputError, PictureError, UsageError
from facemend.files import is_disk_unfit, open_log, parse_json, read_own, sha256_of, written_whole
from facemend.io import format_named, write_png
from facemend.io.limits import MOST_BYTES
from facemend.parallel import Engine, LocalEngine, cores
from facemend.reconstruction.options import Device, Options
from facemend.reconstruction.outputs import Task
from facemend.reconstruction.provenance import Credentials, Provenance, read_provenance
from facemend.reconstruction.reconstructor import Reconstruction, Reconstructor
from facemend.terminal import printable

RECORD_NAME = "facemend-unchanged.jsonl"


@dataclass(frozen=True)
class Copy:
    """A photo that came back unchanged.

    Attributes:
        name: of the output, in the folder of the record.
        outcome: why: "unchanged" (no occlusion) or "no face".
        input_sha256, model_sha256, options: of which photo, by what; as in a provenance.
    """

    name: str
    outcome: str
    input_sha256: str
    model_sha256: str
    options: Mapping[str, str]


class Records:
    """The records of a run's output folders. One process reads and writes them."""

    def __init__(self) -> None:
        self._known: dict[Path, dict[str, list[Copy]]] = {}

    def find(
        self, output: Path, input_sha256: str, model_sha256: str, options: Mapping[str, str]
    ) -> Copy | None:
        """The copy that this work came to earlier, or None if it is not noted."""
        wanted = (output.name, input_sha256, model_sha256, dict(options))
        for copy in self._of(output.parent).get(output.name, ()):
            if (copy.name, copy.input_sha256, copy.model_sha256, dict(copy.options)) == wanted:
                return copy
        return None

    def add(self, output: Path, copy: Copy) -> None:
        """Notes a copy, at once: a run that is killed loses none.

        Raises:
            OutputError: the record cannot be written.
        """
        known = self._of(output.parent).setdefault(copy.name, [])
        if copy in known:
            return
        known.append(copy)
        path = output.parent / RECORD_NAME
        try:
            with open_log(path) as file:
                file.write(json.dumps(asdict(copy)) + "\n")
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror or error}") from error

    def check(self, folder: Path) -> None:
        """Makes sure that notes can be kept in a folder. Raises OutputError: something else lies there."""
        self._of(folder)

    def _of(self, folder: Path) -> dict[str, list[Copy]]:
        """The copies of a folder by their names."""
        if folder not in self._known:
            self._known[folder] = _read(folder / RECORD_NAME)
        return self._known[folder]


def _read(path: Path) -> dict[str, list[Copy]]:
    """Raises OutputError: what lies there is not a file of ours, such as a link."""
    try:
        lines = read_own(path).split(b"\n")
    except (FileNotFoundError, NotADirectoryError):  # said when something is to be written
        return {}
    except OSError as error:
        raise OutputError(f"cannot read {path}: {error.strerror or error}") from error
    copies: dict[str, list[Copy]] = {}
    for line in lines:
        try:
            copy = _copy_of(parse_json(line))
            copies.setdefault(copy.name, []).append(copy)
        except (ValueError, TypeError, KeyError, AttributeError):  # half a line, of a run that was killed
            continue
    return copies


def _copy_of(fields: Any) -> Copy:
    """Raises TypeError or KeyError: the fields are not those of a copy."""
    options = fields["options"]
    texts = {key: fields[key] for key in ("name", "outcome", "input_sha256", "model_sha256")}
    if not all(isinstance(text, str) for text in (*texts.values(), *options, *options.values())):
        raise TypeError("a field is no text")
    return Copy(**texts, options=options)


_FEWEST_FOR_WORKERS = 4
"""A process takes about as long to start as two photos take: fewer are done in this one."""


class Outcome(StrEnum):
    """What became of a picture: `unchanged` has no occlusion, `skipped` was finished before."""

    RECONSTRUCTED = "reconstructed"
    UNCHANGED = "unchanged"
    NO_FACE = "no face"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True)
class FaceSummary:
    """What was done to a face, in numbers: arrays would be slow between processes.

    Attributes:
        face: where it is.
        coverage: share of the whole picture's pixels that were reconstructed, 0-1.
        interval_levels: the mean of its `interval` over what was reconstructed, or None.
        stays: the classes that hide a part of it and were not asked for.
        number, chosen, doubt: as in `FaceReconstruction`.
    """

    face: Face
    coverage: float
    interval_levels: float | None = None
    stays: tuple[str, ...] = ()
    number: int = 1
    chosen: bool = True
    doubt: str | None = None


@dataclass(frozen=True)
class TaskResult:
    """A finished task.

    Attributes:
        task: which.
        outcome: what became of it.
        provenance: what the output says about itself, or would if it were not a copy. None if it failed.
        error: why it failed, in one line, or None.
        faces: what was done to each. Empty if it was skipped or failed.
    """

    task: Task
    outcome: Outcome
    provenance: Provenance | None
    error: str | None = None
    faces: tuple[FaceSummary, ...] = ()


@dataclass(frozen=True)
class ReconstructorSetup:
    """How a worker opens its own `Reconstructor`: a value that can be sent to another process.

    Attributes:
        model, detector, device, threads, credentials: see `Reconstructor`.
        verbose: whether the worker's log, such as why a face was left alone, goes to stderr.
    """

    model: Path | None = None
    detector: Path | None = None
    device: Device | str = Device.AUTO
    threads: int | None = None
    verbose: bool = False
    credentials: Credentials | None = None

    def __call__(self) -> Reconstructor:
        """Opens it. Raises ModelError and UsageError as `Reconstructor` does."""
        if self.verbose:
            _show_log()
        return Reconstructor(
            self.model,
            detector=self.detector,
            device=self.device,
            threads=self.threads,
            credentials=self.credentials,
        )


class _LogLines(logging.Handler):
    """Writes what the library logs to stderr, a line each, above a progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(f"facemend: {printable(record.getMessage())}", file=sys.stderr)


def _show_log() -> None:
    log = logging.getLogger("facemend")
    log.setLevel(logging.INFO)
    if not any(isinstance(handler, _LogLines) for handler in log.handlers):
        log.addHandler(_LogLines())


def run_tasks(
    setup: ReconstructorSetup,
    tasks: Sequence[Task],
    options: Options,
    *,
    force: bool = False,
    jobs: int | None = None,
    engine: Engine | None = None,
) -> Iterator[TaskResult]:
    """Reconstructs pictures. What became of each comes in their order.

    A bad picture fails alone, and so does an output that cannot be written. What is finished is skipped.
    From four pictures on, processes share them.

    Args:
        options: what to do with every picture.
        force: overwrite whatever lies at the outputs.
        jobs: how many processes (None: as many as there are cores). 1 keeps to this one.
        engine: who does the work instead of such processes, for any number of pictures.

    Raises:
        OutputError: an output exists and is other work (before anything is written), no record can be kept
            in a folder, or the disk is full or read only.
        ModelError, UsageError: as `Reconstructor` does.
        FacemendError: a worker died.
    """
    reconstructor = setup()
    records = Records()
    for folder in {task.output.parent for task in tasks} if len(tasks) > 1 else ():
        records.check(folder)
    expected = reconstructor.provenance(None, options)
    finished: dict[Task, Provenance] = {}
    replaced: set[Task] = set()
    for task in () if force else tasks:
        made, there = _earlier_work(task, expected, records)
        if made is not None:
            finished[task] = made
        if there:
            replaced.add(task)
    waiting = [(task, force or task in replaced) for task in tasks if task not in finished]
    engine = engine or _processes(jobs, len(waiting))
    results: Generator[TaskResult, None, None]
    if engine is None:
        results = (
            reconstruct_task(reconstructor, task, options, overwrite=known) for task, known in waiting
        )
    else:
        # A core each: threads within a picture would only wait for one another.
        work = partial(_open_worker, replace(setup, threads=1), options, waiting)
        results = engine.run(work, len(waiting), batch=1)
    with closing(results):
        yield from _in_order(results, tasks, finished, records)


def _processes(jobs: int | None, pictures: int) -> Engine | None:
    """Processes that share so many pictures. None where this one is as fast."""
    workers = min(cores() if jobs is None else jobs, pictures)
    if workers <= 1 or pictures < _FEWEST_FOR_WORKERS:
        return None
    # Not forked: a copy of a process whose threads hold locks may wait for ever.
    return LocalEngine(workers, "spawn")


def _in_order(
    results: Iterator[TaskResult],
    tasks: Sequence[Task],
    finished: Mapping[Task, Provenance],
    records: Records,
) -> Iterator[TaskResult]:
    for task in tasks:
        if task in finished:
            yield TaskResult(task, Outcome.SKIPPED, finished[task])
            continue
        done = next(results)
        if len(tasks) > 1:
            _note(records, done)
        yield done


def reconstruct_task(
    reconstructor: Reconstructor, task: Task, options: Options, *, overwrite: bool
) -> TaskResult:
    """Reconstructs one picture and writes what the task names.

    A bad picture is reported, not raised, and so is an output that cannot be written.

    Args:
        overwrite: replace what lies at the outputs.

    Raises:
        OutputError: the disk is full or read only.
        ModelError, UsageError: as `Reconstructor` does.
    """
    try:
        result = reconstructor(task.source, options)
        data = result.encode(format_named(task.output))
    except (PictureError, NoFaceFound, OutputError) as error:
        return TaskResult(task, Outcome.FAILED, None, str(error))
    try:
        _write(task, result, data, overwrite=overwrite)
    except OutputError as error:
        if is_disk_unfit(error):
            raise
        return TaskResult(task, Outcome.FAILED, None, str(error))
    return TaskResult(task, outcome_of(result), result.provenance, faces=summaries_of(result))


def _write(task: Task, result: Reconstruction, data: bytes, *, overwrite: bool) -> None:
    mode, text = result.photo.file_mode, result.provenance.to_text()
    if task.occlusion_output is not None:
        write_png(task.occlusion_output, result.removed_levels, text=text, force=overwrite, most_mode=mode)
    if task.doubt_output is not None:
        write_png(task.doubt_output, result.doubt, text=text, force=overwrite, most_mode=mode)
    if task.in_place and data == result.photo.source:
        return
    replacing = overwrite or task.in_place
    with written_whole(task.output, force=replacing, most_mode=mode, keep_links=task.in_place) as temporary:
        temporary.write_bytes(data)


def reconstruct_new(
    reconstructor: Reconstructor, task: Task, options: Options, records: Records, *, force: bool = False
) -> TaskResult:
    """Reconstructs one picture that came alone, unless it is finished, and notes it.

    Args:
        records: of earlier copies.
        force: overwrite other work at the outputs. Otherwise that is an error of the result.

    Raises:
        OutputError: an output cannot be written.
        ModelError, UsageError: as `Reconstructor` does.
    """
    there: list[Path] = []
    try:
        made, there = _earlier_work(task, reconstructor.provenance(None, options), records)
        if made is not None:
            return TaskResult(task, Outcome.SKIPPED, made)
    except OutputError as error:
        if not force:
            return TaskResult(task, Outcome.FAILED, None, str(error))
    done = reconstruct_task(reconstructor, task, options, overwrite=force or bool(there))
    _note(records, done)
    return done


def _open_worker(
    setup: ReconstructorSetup, options: Options, waiting: Sequence[tuple[Task, bool]]
) -> Callable[[int], TaskResult]:
    """In a worker: the model, opened once, and the function over a task's place."""
    return partial(_reconstruct_at, setup(), options, waiting)


def _reconstruct_at(
    reconstructor: Reconstructor, options: Options, waiting: Sequence[tuple[Task, bool]], place: int
) -> TaskResult:
    task, overwrite = waiting[place]
    return reconstruct_task(reconstructor, task, options, overwrite=overwrite)


@dataclass(frozen=True)
class FindResult:
    """What was found in one picture.

    Attributes:
        source: the picture.
        outputs: the files that were written, or were there. Empty if nothing was to be written.
        document: what the JSON of the picture says. None if it failed.
        skipped: whether it was finished before.
        error: why it failed, in one line, or None.
    """

    source: Path
    outputs: tuple[Path, ...] = ()
    document: Mapping[str, Any] | None = None
    skipped: bool = False
    error: str | None = None


def run_find_tasks(
    setup: ReconstructorSetup,
    tasks: Sequence[Task],
    options: Options,
    *,
    write: bool = True,
    force: bool = False,
    jobs: int | None = None,
) -> Iterator[FindResult]:
    """Finds the occlusions of pictures, over the cores as `run_tasks` does. Results come in their order.

    The files of a picture lie where its task has the output, with other endings. A bad picture fails alone.

    Args:
        write: whether files are written.
        force: overwrite files of other work. Those of the same work are skipped.

    Raises:
        OutputError: an output cannot be written.
        UsageError: two pictures would be written to the same files.
        ModelError, UsageError: as `Reconstructor` does.
    """
    if write:
        _check_find_apart(tasks)
    engine = _processes(jobs, len(tasks))
    if engine is None:
        find_at = _open_finder(setup, options, tasks, write, force)
        yield from map(find_at, range(len(tasks)))
    else:
        work = partial(_open_finder, replace(setup, threads=1), options, tasks, write, force)
        yield from engine.run(work, len(tasks), batch=1)


def _check_find_apart(tasks: Sequence[Task]) -> None:
    writers: dict[Path, Path] = {}
    for task in tasks:
        first = writers.setdefault(task.output.with_suffix(""), task.source)
        if first != task.source:
            raise UsageError(
                f"{first} and {task.source} would both be written to {task.output.stem}.json; rename one"
            )


def _open_finder(
    setup: ReconstructorSetup, options: Options, tasks: Sequence[Task], write: bool, force: bool
) -> Callable[[int], FindResult]:
    return partial(_find_at, setup(), options, tasks, write, force)


def _find_at(
    reconstructor: Reconstructor,
    options: Options,
    tasks: Sequence[Task],
    write: bool,
    force: bool,
    place: int,
) -> FindResult:
    from facemend.reconstruction.find import output_paths, read_document

    source, output = tasks[place].source, tasks[place].output
    paths = output_paths(output.parent, output.stem) if write else []
    try:
        if paths and paths[-1].exists() and not force:
            expected = reconstructor.mask_provenance(_sha256(source), options)
            earlier = read_document(paths, expected)
            if earlier is not None:
                return FindResult(source, tuple(paths), earlier, skipped=True)
        found = reconstructor.find(source, options)
        if write:
            found.save(output.parent, output.stem, force=force)
    except (PictureError, OutputError) as error:
        return FindResult(source, error=str(error))
    return FindResult(source, tuple(paths), found.to_json())


def summaries_of(result: Reconstruction) -> tuple[FaceSummary, ...]:
    """What was done to each face."""
    return tuple(
        FaceSummary(f.face, f.coverage, f.interval_levels, f.stays, f.number, f.chosen, f.doubt)
        for f in result.faces
    )


def outcome_of(result: Reconstruction) -> Outcome:
    """What became of a picture."""
    if not result.faces:
        return Outcome.NO_FACE
    return Outcome.RECONSTRUCTED if any(face.coverage > 0 for face in result.faces) else Outcome.UNCHANGED


def _note(records: Records, done: TaskResult) -> None:
    """Notes a copy, which cannot say itself how it came to be."""
    made = done.provenance
    if made is None or made.input_sha256 is None or done.outcome is Outcome.RECONSTRUCTED:
        return
    if read_provenance(done.task.output) is None:
        name = done.task.output.name
        copy = Copy(name, done.outcome.value, made.input_sha256, made.model_sha256, made.options)
        records.add(done.task.output, copy)


def _earlier_work(
    task: Task, expected: Provenance, records: Records
) -> tuple[Provenance | None, list[Path]]:
    """What says that a task is finished, and its outputs that are there, all of this very work.

    A copy of the input that is not noted is done again: other options may reconstruct something in it,
    and nothing is lost if it is written over.

    Raises:
        OutputError: an output is other work.
    """
    there = [path for path in task.outputs if _is_file(path)]
    if not there:
        return None, there
    expected = replace(expected, input_sha256=_sha256(task.source))
    finished: list[Provenance] = []
    for path in there:
        made = read_provenance(path)
        if made is None and _sha256(path) == expected.input_sha256 is not None:
            copy = records.find(path, expected.input_sha256, expected.model_sha256, expected.options)
            finished += [expected] if copy else []
        elif made is not None and (
            made.same_making(expected)
            if task.in_place and path == task.output
            else made.same_work(expected)
        ):
            finished.append(made)
        else:
            raise OutputError(
                f"{path} exists already and is not this reconstruction; choose another output or add "
                "force=True"
            )
    return (finished[0] if len(finished) == len(task.outputs) else None), there


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False  # said when it is to be written


def _sha256(path: Path) -> str | None:
    try:
        return sha256_of(path, MOST_BYTES)
    except OSError:
        return None  # said when its turn comes

"""Builds a dataset of pairs on disk: faces -> occluded and target pictures, exact alpha, manifest.

A pair depends on its recipe, its picture and how often that picture came before, and on nothing else:
any number of workers, and any number of interruptions, give the same bytes.
"""

import json
import re
import signal
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facemend import __version__
from facemend.datasets.faces import FaceRecord, FaceSource, fingerprint_of
from facemend.datasets.pairs import Pair, Recipe, make_pair
from facemend.errors import FacemendError, OutputError, UsageError
from facemend.files import sha256_of, write_text
from facemend.images import write_png

OPTIONS_FILE = "dataset.json"
MANIFEST_FILE = "manifest.jsonl"
FOLDERS = ("occluded", "target", "alpha")

_LOG_FILE = f"{MANIFEST_FILE}.part"

Row = dict[str, Any]
"""A line of the manifest."""
Result = tuple[Row, bool]
"""A line of the manifest, and whether its pair was made just now."""


@dataclass(frozen=True)
class BuildReport:
    """What a build did.

    Attributes:
        made, kept: pairs made now, and pairs found finished.
        without_landmarks: pairs whose occlusion lies on the canonical landmarks for want of their own.
        kinds: pairs by kind.
    """

    made: int
    kept: int
    without_landmarks: int
    kinds: Mapping[str, int]


def build_dataset(
    source: FaceSource,
    out: Path,
    recipe: Recipe,
    *,
    workers: int = 1,
    force: bool = False,
    progress: Callable[[Iterable[Result]], Iterable[Result]] = iter,
) -> BuildReport:
    """Writes a dataset: OUT/occluded, OUT/target, OUT/alpha (NNNNNN.png) and OUT/manifest.jsonl.

    The same call again keeps every pair that is finished and undamaged (by its sha256), and makes the
    rest. The manifest appears when all pairs are there.

    Args:
        workers: processes; their number does not change a byte.
        force: start anew in a folder that holds another dataset.
        progress: wraps the results as they come (for example tqdm).

    Raises:
        UsageError: fewer than one worker.
        OutputError: the folder holds another dataset, or something else under the same names, or the
            disk refuses.
        PictureError: a picture of the source cannot be read.
    """
    if workers < 1:
        raise UsageError(f"{workers} workers cannot do anything; ask for 1 or more")
    try:
        _claim(out, _options(source, recipe), force=force)
        _sweep(out)
        task = _Task(source, recipe, out, _finished_rows(out))
        with closing(_run(task, workers)) as results:
            rows, made = _log(progress(results), out / _LOG_FILE)
        write_text(out / MANIFEST_FILE, "".join(map(_line, rows)), force=True)
        (out / _LOG_FILE).unlink()
    except OSError as error:
        raise OutputError(f"cannot write {out}: {error.strerror or error}") from error
    return BuildReport(
        made,
        len(rows) - made,
        sum(row["landmarks"] == "canonical" for row in rows),
        Counter(row["kind"] for row in rows),
    )


def _log(results: Iterable[Result], path: Path) -> tuple[list[Row], int]:
    """Collects the rows, and notes each new one at once, so that an interruption does not lose it."""
    rows, made = [], 0
    with path.open("a", encoding="utf-8") as log:
        log.write("\n")  # ends a line that an interruption tore
        for row, is_new in results:
            rows.append(row)
            if is_new:
                made += 1
                log.write(_line(row))
                log.flush()
    return rows, made


@dataclass(frozen=True)
class _Task:
    source: FaceSource
    recipe: Recipe
    out: Path
    known: Mapping[str, Row]

    def finish(self, index: int) -> Result:
        """Makes one pair, unless its files are there and whole."""
        file = f"{index + 1:06d}.png"
        known = self.known.get(file)
        if known is not None and _sums(self.out, file) == known["sha256"]:
            return known, False
        pair = make_pair(self.source, index, self.recipe)
        pictures = (pair.occluded, pair.target, _levels(pair.occlusion.alpha))
        for folder, picture in zip(FOLDERS, pictures, strict=True):
            write_png(self.out / folder / file, picture, force=True, compress_level=1)
        record = self.source.records[index % len(self.source)]
        return _describe(pair, file, record, _sums(self.out, file)), True


def _describe(pair: Pair, file: str, record: FaceRecord, sums: dict[str, str] | None) -> Row:
    occlusion = pair.occlusion
    return {
        "file": file,
        "source": pair.name,
        "identity": pair.identity,
        "kind": occlusion.kind,
        "class": occlusion.occlusion_class,
        "extent": occlusion.extent,
        "seed": occlusion.seed,
        "parameters": dict(occlusion.parameters),
        "coverage": round(occlusion.coverage, 6),
        "landmarks": "canonical" if record.frame_landmarks_px is None else "annotated",
        "sha256": sums,
    }


def _levels(alpha: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    return np.rint(alpha * 255).astype(np.uint8)


def _sums(out: Path, file: str) -> dict[str, str] | None:
    """The sha256 of a pair's files by folder; None if one is missing."""
    try:
        return {folder: sha256_of(out / folder / file) for folder in FOLDERS}
    except FileNotFoundError:
        return None


def _line(row: Row) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"


# Before the first pair: whose folder is it, and what is finished?


def _options(source: FaceSource, recipe: Recipe) -> dict[str, Any]:
    """All that decides about a dataset's bytes."""
    faces = (
        (r.name, r.identity, None if r.frame_landmarks_px is None else r.frame_landmarks_px.tolist())
        for r in source.records
    )
    return {
        "facemend": __version__,
        "source": source.name,
        "pictures": len(source),
        "fingerprint": fingerprint_of(source.fingerprint, *faces),
        **asdict(recipe),
    }


def _claim(out: Path, options: Mapping[str, Any], *, force: bool) -> None:
    """Makes the folder ours, or finds that it is.

    Raises:
        OutputError: it holds something else, and `force` is not set.
    """
    path = out / OPTIONS_FILE
    found = _read_json(path)
    if found == options:
        return
    taken = [name for name in (OPTIONS_FILE, MANIFEST_FILE, *FOLDERS) if (out / name).exists()]
    if taken and not force:
        what = f"{taken[0]} already"
        if isinstance(found, dict):
            changed = [key for key in options if options[key] != found.get(key)]
            what = f"a dataset made with another {' and '.join(changed)}"
        raise OutputError(f"{out} holds {what}; choose another folder or add --force to start anew")
    for old in _old_files(out):
        old.unlink(missing_ok=True)
    write_text(path, json.dumps(options, indent=2, ensure_ascii=False) + "\n", force=True)


def _old_files(out: Path) -> Iterator[Path]:
    """What an earlier build wrote, and nothing else. The manifest goes first: it says "complete"."""
    yield from (out / MANIFEST_FILE, out / _LOG_FILE)
    for folder in FOLDERS:
        yield from [path for path in (out / folder).glob("*.png") if re.fullmatch(r"\d{6,}", path.stem)]


def _sweep(out: Path) -> None:
    """Removes the temporary files that a killed run left."""
    for folder in FOLDERS:
        for path in (out / folder).glob(".*.png"):
            path.unlink()


def _read_json(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _finished_rows(out: Path) -> dict[str, Row]:
    """The rows that earlier runs left, by file; a line torn by an interruption does not count."""
    rows = {}
    for name in (MANIFEST_FILE, _LOG_FILE):
        with suppress(FileNotFoundError):
            for line in (out / name).read_text(encoding="utf-8", errors="replace").split("\n"):
                with suppress(ValueError, TypeError, KeyError):
                    row = json.loads(line)
                    rows[row["file"]] = row
    return rows


# The pool: a task is handed to each process once, then indices travel.

_task: _Task | None = None


def _run(task: _Task, workers: int) -> Generator[Result, None, None]:
    """The results in order, made in this process or in several."""
    indices = range(task.recipe.count)
    if workers == 1:
        yield from map(task.finish, indices)
        return
    pool = ProcessPoolExecutor(workers, initializer=_start_worker, initargs=(task,))
    try:
        yield from pool.map(_work, indices, chunksize=8)
    except BrokenProcessPool as error:
        raise FacemendError("a worker died (out of memory?); try again with fewer --workers") from error
    finally:
        _close(pool)


def _close(pool: ProcessPoolExecutor) -> None:
    """Waits for the workers' last pairs. A second Ctrl-C in between would leave them waiting for ever."""
    while True:
        with suppress(KeyboardInterrupt):
            pool.shutdown(cancel_futures=True)
            return


def _start_worker(task: _Task) -> None:
    global _task
    _task = task
    # Ctrl-C reaches every process; the parent alone answers it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _work(index: int) -> Result:
    assert _task is not None
    return _task.finish(index)

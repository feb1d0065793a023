"""Builds a dataset of pairs on disk: faces -> occluded and target pictures, exact alpha, manifest.

A pair depends on its recipe, its picture and how often that picture came before, and on nothing else:
any number of workers, and any number of interruptions, give the same bytes.
"""

import hashlib
import json
import re
import signal
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facemend.datasets.faces import FaceRecord, FaceSource, fingerprint_of
from facemend.errors import FacemendError, OutputError, UsageError
from facemend.files import write_text
from facemend.frame import CROP_SIZE_PX, frame_to_crop
from facemend.images import Image, write_png
from facemend.occlusion import Occlusion, choose_kind, occlude, seed_of

OPTIONS_FILE = "dataset.json"
MANIFEST_FILE = "manifest.jsonl"
FOLDERS = ("occluded", "target", "alpha")
SEED_SET: Mapping[str, float] = {"nose_mask": 1.0, "blur": 1.0, "blur_full": 1.0, "mask_full": 1.0}
"""The original project's occlusions, in equal shares."""

_LOG_FILE = f"{MANIFEST_FILE}.part"
_SMALLEST_PX, _LARGEST_PX = 16, 2048

Row = dict[str, Any]
"""A line of the manifest."""
Result = tuple[Row, bool]
"""A line of the manifest, and whether its pair was made just now."""


@dataclass(frozen=True)
class Recipe:
    """What is made of a source of faces.

    Attributes:
        count: number of pairs, at least 1; above the number of pictures, faces repeat with new draws.
        shares: how often each kind of occlusion is drawn; they need not add up to 1.
        size_px: side of the pictures, 16 to 2048.
        seed: another seed, other draws.
    """

    count: int
    shares: Mapping[str, float] = field(default_factory=lambda: dict(SEED_SET))
    size_px: int = CROP_SIZE_PX
    seed: int = 0

    def __post_init__(self) -> None:
        if self.count < 1:
            raise UsageError(f"a dataset of {self.count} pairs cannot be made; ask for 1 or more")
        if not _SMALLEST_PX <= self.size_px <= _LARGEST_PX:
            raise UsageError(f"size {self.size_px} is not in {_SMALLEST_PX} to {_LARGEST_PX} pixels")
        choose_kind(self.shares, np.random.default_rng(0))


@dataclass(frozen=True)
class Pair:
    """One face, occluded and as it is.

    Attributes:
        occluded: uint8 (size, size, 3) RGB; equal to `target` wherever the occlusion's alpha is 0.
        target: uint8 (size, size, 3) RGB.
        occlusion: what lies between the two.
        name: the picture's name in its source.
        identity: who it shows; None if nobody knows.
    """

    occluded: Image
    target: Image
    occlusion: Occlusion
    name: str
    identity: str | None


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


def parse_shares(text: str) -> dict[str, float]:
    """Reads shares of kinds: "nose_mask=0.4,blur=0.3", or "nose_mask,blur" for equal shares.

    Raises:
        UsageError: not of this form.
    """
    shares = {}
    for item in text.split(","):
        kind, _, share = item.partition("=")
        try:
            shares[kind.strip()] = float(share or 1)
        except ValueError as error:
            raise UsageError(f"{item.strip()!r} is no share of a kind; write kind=0.5") from error
    return shares


def make_pair(source: FaceSource, index: int, recipe: Recipe) -> Pair:
    """Makes one pair of a dataset.

    The faces come in the source's order, again from the first after the last. The draw depends on the
    recipe's seed, the picture's name and the round.

    Args:
        index: 0 to recipe.count - 1.

    Raises:
        PictureError: the picture cannot be read.
    """
    record = source.records[index % len(source)]
    draw = (recipe.seed, record.name, index // len(source))
    kind = choose_kind(recipe.shares, np.random.default_rng(seed_of("kind", *draw)))
    landmarks_px = record.frame_landmarks_px
    if landmarks_px is not None:
        landmarks_px = frame_to_crop(landmarks_px, recipe.size_px)
    target = source.crop(record, recipe.size_px)
    face = occlude(target, landmarks_px, kind, seed_of("pair", *draw))
    return Pair(face.image, target, face.occlusion, record.name, record.identity)


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
    _claim(out, _options(source, recipe), force=force)
    known = _finished_rows(out)
    task = _Task(source, recipe, out, known)
    rows: list[Row] = []
    made = 0
    try:
        with (out / _LOG_FILE).open("a", encoding="utf-8") as log, closing(_run(task, workers)) as results:
            log.write("\n")  # ends a line that an interruption tore
            for row, is_new in progress(results):
                rows.append(row)
                made += is_new
                if is_new:
                    log.write(_line(row))
                    log.flush()
    except OSError as error:
        raise OutputError(f"cannot write {out}: {error.strerror or error}") from error
    write_text(out / MANIFEST_FILE, "".join(map(_line, rows)), force=True)
    (out / _LOG_FILE).unlink()
    return BuildReport(
        made,
        len(rows) - made,
        sum(row["landmarks"] == "canonical" for row in rows),
        Counter(row["kind"] for row in rows),
    )


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
    row = {
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
    # Through JSON once, so that a row made now equals the same row read from a manifest.
    plain: Row = json.loads(json.dumps(row))
    return plain


def _levels(alpha: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    return np.rint(alpha * 255).astype(np.uint8)


def _sums(out: Path, file: str) -> dict[str, str] | None:
    """The sha256 of a pair's files by folder; None if one is missing."""
    try:
        return {
            folder: hashlib.sha256((out / folder / file).read_bytes()).hexdigest() for folder in FOLDERS
        }
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
        "facemend": version("facemend"),
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
    try:
        for old in _old_files(out):
            old.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {out}: {error.strerror or error}") from error
    write_text(path, json.dumps(options, indent=2, ensure_ascii=False) + "\n", force=True)


def _old_files(out: Path) -> Iterator[Path]:
    """What an earlier build wrote, and nothing else. The manifest goes first: it says "complete"."""
    yield from (out / MANIFEST_FILE, out / _LOG_FILE)
    for folder in FOLDERS:
        yield from [path for path in (out / folder).glob("*.png") if re.fullmatch(r"\d{6,}", path.stem)]


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
            for line in (out / name).read_text(encoding="utf-8").splitlines():
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
        pool.shutdown(cancel_futures=True)


def _start_worker(task: _Task) -> None:
    global _task
    _task = task
    # Ctrl-C reaches every process; the parent alone answers it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _work(index: int) -> Result:
    assert _task is not None
    return _task.finish(index)

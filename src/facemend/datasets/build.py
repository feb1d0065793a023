"""Builds a dataset of pairs on disk: faces -> occluded and target pictures, exact alpha, manifest.

A pair depends on its recipe, its picture and how often that picture came before, and on nothing else:
any number of workers, and any number of interruptions, give the same bytes.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from facemend.datasets.claim import claim, options_of, sweep
from facemend.datasets.encode import encode
from facemend.datasets.faces import FaceSource
from facemend.datasets.layouts import Files, Layout
from facemend.datasets.manifest import (
    LOG_FILE,
    MANIFEST_FILE,
    METADATA_FILE,
    Row,
    describe,
    finished_rows,
    to_line,
    to_metadata,
    write_rows,
)
from facemend.datasets.pairs import Recipe, faces_for, make_pair
from facemend.datasets.workers import run_all
from facemend.errors import OutputError, UsageError
from facemend.files import sha256_of, written_whole

_PNG_FOLDERS = Files()

Result = tuple[Row, bool]
"""A line of the manifest, and whether its pair was made just now."""


@dataclass(frozen=True)
class BuildReport:
    """What a build did.

    Attributes:
        made, kept: pairs made now, and pairs found finished.
        passed_over: faces that could take no kind of the recipe; the next ones took their places.
        kinds: pairs by kind.
        landmarks: pairs by what is known of where their face lies, keys as in `Landmarks`.
    """

    made: int
    kept: int
    passed_over: int
    kinds: Mapping[str, int]
    landmarks: Mapping[str, int]


def build_dataset(
    source: FaceSource,
    out: Path,
    recipe: Recipe,
    files: Files = _PNG_FOLDERS,
    *,
    workers: int = 1,
    force: bool = False,
    progress: Callable[[Iterable[Result]], Iterable[Result]] = iter,
) -> BuildReport:
    """Writes a dataset: its pictures as `files` lays them out, OUT/dataset.json and OUT/manifest.jsonl.

    The same call again keeps every pair that is finished and undamaged (by its sha256), and makes the
    rest. The manifest appears when all pairs are there.

    Args:
        workers: processes; their number does not change a byte.
        force: start anew in a folder that holds another dataset.
        progress: wraps the results as they come (for example tqdm).

    Raises:
        UsageError: fewer than one worker.
        SourceError: no face can take a kind of the recipe.
        OutputError: the folder holds another dataset, or something else under the same names, or the
            disk refuses.
        PictureError: a picture of the source cannot be read.
    """
    if workers < 1:
        raise UsageError(f"{workers} workers cannot do anything; ask for 1 or more")
    faces = faces_for(source, recipe)
    try:
        claim(out, options_of(source, recipe, files), force=force)
        task = _Task(faces, recipe, files, out, finished_rows(out))
        with closing(run_all(task.finish, recipe.count, workers)) as results:
            rows, made = _log(progress(results), out / LOG_FILE)
        _complete(out, rows, files)
    except OSError as error:
        raise OutputError(f"cannot write {out}: {error.strerror or error}") from error
    return BuildReport(
        made,
        len(rows) - made,
        _passed_over(source, faces, recipe.count),
        Counter(row["kind"] for row in rows),
        Counter(row["landmarks"] for row in rows),
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
                log.write(to_line(row))
                log.flush()
    return rows, made


def _complete(out: Path, rows: list[Row], files: Files) -> None:
    """Says that all pairs are there, and leaves nothing else behind."""
    sweep(out)
    if files.layout is Layout.IMAGEFOLDER:
        write_rows(out / METADATA_FILE, (to_metadata(row, files) for row in rows))
    write_rows(out / MANIFEST_FILE, rows)
    (out / LOG_FILE).unlink()


def _passed_over(source: FaceSource, faces: FaceSource, count: int) -> int:
    """How many faces would have had a turn, and could take nothing."""
    if count >= len(faces):
        return len(source) - len(faces)
    last = faces.records[count - 1].name
    return [record.name for record in source.records].index(last) + 1 - count


@dataclass(frozen=True)
class _Task:
    faces: FaceSource
    recipe: Recipe
    files: Files
    out: Path
    known: Mapping[str, Row]

    def finish(self, index: int) -> Result:
        """Makes one pair, unless its files are there and whole."""
        name = self.files.name(index)
        paths = self.files.paths(self.out, name)
        known = self.known.get(name)
        if known is not None and _sums(paths) == known["sha256"]:
            return known, False
        pair = make_pair(self.faces, index, self.recipe)
        sums = {}
        for (what, path), picture in zip(paths.items(), self.files.pictures(pair), strict=True):
            data = encode(picture, self.files.picture_format)
            with written_whole(path, force=True) as temporary:
                temporary.write_bytes(data)
            sums[what] = hashlib.sha256(data).hexdigest()
        return describe(pair, name, sums), True


def _sums(paths: Mapping[str, Path]) -> dict[str, str] | None:
    """The sha256 of a pair's files; None if one is missing."""
    try:
        return {what: sha256_of(path) for what, path in paths.items()}
    except FileNotFoundError:
        return None

"""Builds a dataset of pairs on disk: faces -> occluded and target pictures, exact alpha, manifest.

A pair depends on its recipe, its picture and how often that picture came before, and on nothing else:
any engine, any number of workers, and any number of interruptions, give the same bytes.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from facemend.datasets.claim import claim, options_of, sweep
from facemend.datasets.encode import encode
from facemend.datasets.faces import FaceSource
from facemend.datasets.layouts import Files, Layout
from facemend.datasets.manifest import (
    LOG_FILE,
    MANIFEST_FILE,
    METADATA_FILE,
    MISSING_FILE,
    Row,
    describe,
    finished_rows,
    read_rows,
    to_line,
    to_metadata,
    write_rows,
)
from facemend.datasets.pairs import Recipe, faces_for, make_pair
from facemend.engine import Engine, LocalEngine
from facemend.errors import OutputError, PictureError
from facemend.files import UnfitFile, open_log, sha256_of, written_whole

_PNG_FOLDERS = Files()
_THIS_PROCESS = LocalEngine(1)
_BATCH = 16


@dataclass(frozen=True)
class Finished:
    """What became of one pair.

    Attributes:
        row: its line of the manifest; None if its picture cannot be read.
        is_new: whether it was made just now.
        missing: what is said of it if it cannot be made: its file, its picture and the error.
    """

    row: Row | None
    is_new: bool
    missing: Row | None = None


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
    engine: Engine = _THIS_PROCESS,
    force: bool = False,
    progress: Callable[[Iterable[Finished]], Iterable[Finished]] = iter,
) -> BuildReport:
    """Writes a dataset: its pictures as `files` lays them out, OUT/dataset.json and OUT/manifest.jsonl.

    The same call again keeps every pair that is finished and undamaged (by its sha256), and makes the
    rest. The manifest appears when all pairs are there. A picture that cannot be read does not stop the
    others: OUT/missing.jsonl lists those pairs in the end.

    Args:
        engine: who does the work; it does not change a byte.
        force: start anew in a folder that holds another dataset.
        progress: wraps the results as they come (for example tqdm).

    Raises:
        SourceError: no face can take a kind of the recipe.
        OutputError: the folder holds another dataset, or something else under the same names, or the
            disk refuses.
        PictureError: pictures of the source cannot be read; all other pairs are there.
    """
    faces = faces_for(source, recipe)
    tally = Tally()
    try:
        claim(out, options_of(source, recipe, files.layout, files.picture_format), force=force)
        task = _Task(faces, recipe, files, out, finished_rows(out))
        with closing(engine.run(task.open, recipe.count, batch=_BATCH)) as results:
            _collect(progress(results), tally, out, files)
        sweep(out)
    except OSError as error:
        raise OutputError(f"cannot write {out}: {error.strerror or error}") from error
    return tally.report(passed_over(source, faces, recipe.count))


@dataclass
class Tally:
    """Counts what a build did while its results go by."""

    made: int = 0
    kept: int = 0
    missing: list[Row] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    landmarks: Counter[str] = field(default_factory=Counter)

    def count(self, results: Iterable[Finished]) -> Iterator[tuple[Row, bool]]:
        """Passes on the rows of pairs that are there, and whether each is new."""
        for result in results:
            if result.missing is not None:
                self.missing.append(result.missing)
            if result.row is not None:
                self.made += result.is_new
                self.kept += not result.is_new
                self.kinds[result.row["kind"]] += 1
                self.landmarks[result.row["landmarks"]] += 1
                yield result.row, result.is_new

    def report(self, passed_over: int) -> BuildReport:
        """The sum of it."""
        return BuildReport(self.made, self.kept, passed_over, self.kinds, self.landmarks)


def _collect(results: Iterable[Finished], tally: Tally, out: Path, files: Files) -> None:
    """Notes each new row at once in a log, which an interruption does not lose, and all in the manifest.

    The rows are not held in memory. The manifest appears in the end, and only if no pair is missing.
    """
    with written_whole(out / MANIFEST_FILE, force=True) as temporary:
        with open_log(out / LOG_FILE) as log, temporary.open("wb") as manifest:
            log.write("\n")  # ends a line that an interruption tore
            for row, is_new in tally.count(results):
                line = to_line(row)
                manifest.write(line.encode())
                if is_new:
                    log.write(line)
                    log.flush()
        if tally.missing:
            write_rows(out / MISSING_FILE, tally.missing)
            raise unreadable(tally.missing, tally.made + tally.kept, out / MISSING_FILE)
        if files.layout is Layout.IMAGEFOLDER:
            write_rows(out / METADATA_FILE, (to_metadata(row, files) for row in read_rows(temporary)))
    for path in (out / LOG_FILE, out / MISSING_FILE):
        path.unlink(missing_ok=True)


def unreadable(missing: Sequence[Row], there: int, listed: object) -> PictureError:
    """What is said when all pairs are made but those of pictures that cannot be read."""
    more = f", and {len(missing) - 1} more" if len(missing) > 1 else ""
    return PictureError(
        f"{missing[0]['error']}{more}: {len(missing)} of {there + len(missing)} pairs are missing, listed "
        f"in {listed}; the same command again makes only those"
    )


def passed_over(source: FaceSource, faces: FaceSource, count: int) -> int:
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

    def open(self) -> Callable[[int], Finished]:
        """The work of a build, for an engine."""
        return self._finish

    def _finish(self, index: int) -> Finished:
        """Makes one pair, unless its files are there and whole."""
        name = self.files.name(index)
        paths = self.files.paths(self.out, name)
        known = self.known.get(name)
        if known is not None and _sums(paths) == known["sha256"]:
            return Finished(known, False)
        try:
            pair = make_pair(self.faces, index, self.recipe)
        except PictureError as error:
            source = self.faces.records[index % len(self.faces)].name
            return Finished(None, False, {"file": name, "source": source, "error": str(error)})
        sums = {}
        for (what, path), picture in zip(paths.items(), self.files.pictures(pair), strict=True):
            data = encode(picture, self.files.picture_format)
            with written_whole(path, force=True) as temporary:
                temporary.write_bytes(data)
            sums[what] = hashlib.sha256(data).hexdigest()
        return Finished(describe(pair, name, sums), True)


def _sums(paths: Mapping[str, Path]) -> dict[str, str] | None:
    """The sha256 of a pair's files; None if one is missing."""
    try:
        return {what: sha256_of(path) for what, path in paths.items()}
    except (FileNotFoundError, UnfitFile):
        return None

"""Builds a dataset of occluded pairs in a folder, with its manifest."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from facemend import __version__
from facemend.datasets.faces import FaceRecord, FaceSource
from facemend.datasets.pairs import (
    FOLDERS,
    Files,
    Layout,
    Pair,
    PictureFormat,
    Recipe,
    encode,
    faces_for,
    make_pair,
)
from facemend.errors import OutputError, PictureError
from facemend.files import (
    TEMPORARY,
    UnfitFile,
    fingerprint_of,
    open_log,
    open_own,
    parse_json,
    read_own,
    sha256_of,
    write_text,
    written_whole,
)
from facemend.occlusion import KINDS, allowed_kinds
from facemend.occlusion.cutouts import table_of
from facemend.parallel import Engine, LocalEngine

MANIFEST_FILE = "manifest.jsonl"
METADATA_FILE = "metadata.jsonl"
LOG_FILE = f"{MANIFEST_FILE}.part"
"""The rows so far, in the order in which the pairs were made."""

MISSING_FILE = "missing.jsonl"
"""The pairs whose pictures cannot be read: file, source and error."""

Row = dict[str, Any]
"""A line of the manifest."""

_FILE = re.compile(r"[0-9]{6,}\.(png|webp)")
_TEXTS = ("file", "source", "kind", "class", "extent", "landmarks")
_MOST_LINE_BYTES = 1 << 20
_SAME_IN_METADATA = ("source", "kind", "class", "extent", "seed", "coverage", "landmarks")


def manifest_row(pair: Pair, name: str, sums: Mapping[str, str]) -> Row:
    """The manifest's row of a pair.

    Args:
        name: of its files.
        sums: their sha256 by content, such as "occluded".
    """
    occlusion = pair.occlusion
    return {
        "file": name,
        "source": pair.name,
        "identity": pair.identity,
        "kind": occlusion.kind,
        "class": occlusion.occlusion_class,
        "extent": occlusion.extent,
        "seed": occlusion.seed,
        "parameters": dict(occlusion.parameters),
        "coverage": round(occlusion.coverage, 6),
        "landmarks": pair.landmarks,
        "sha256": sums,
    }


def to_metadata(row: Row, files: Files) -> Row:
    """The row for Hugging Face's imagefolder, where a column has the same type in every row."""
    paths = files.paths(Path(), row["file"])
    return {
        **{f"{what}_file_name": path.as_posix() for what, path in paths.items()},
        **{key: row[key] for key in _SAME_IN_METADATA},
        "identity": row["identity"] or "",
        "parameters": json.dumps(row["parameters"], ensure_ascii=False),
    }


def to_json_line(row: Row) -> str:
    """The row as a line of JSON."""
    return json.dumps(row, ensure_ascii=False) + "\n"


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Writes rows atomically over an earlier file. Raises OutputError if they cannot be written."""
    with written_whole(path, force=True) as temporary, temporary.open("wb") as file:
        file.writelines(to_json_line(row).encode() for row in rows)


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a manifest or a log. Lines that are torn or invalid are skipped.

    Raises:
        OSError: the file is missing or cannot be read.
    """
    with open_own(path) as file:
        while line := file.readline(_MOST_LINE_BYTES):
            with suppress(ValueError):
                row = parse_json(line)
                if _is_row(row):
                    yield row


def _is_row(row: object) -> bool:
    """Whether a value has every key of `manifest_row` with its type, and names a file of a dataset."""
    if not isinstance(row, dict) or any(not isinstance(row.get(key), str) for key in _TEXTS):
        return False
    identity, coverage, seed, sums = (row.get(key) for key in ("identity", "coverage", "seed", "sha256"))
    return (
        _FILE.fullmatch(row["file"]) is not None
        and isinstance(identity, str | None)
        and isinstance(coverage, int | float)
        and 0 <= coverage <= 1
        and isinstance(seed, int)
        and isinstance(row.get("parameters"), dict)
        and isinstance(sums, dict)
        and all(isinstance(text, str) for text in sums.values())
    )


def finished_rows(folder: Path) -> dict[str, Row]:
    """The rows of earlier runs in a dataset's folder, by file."""
    rows = {}
    for name in (MANIFEST_FILE, LOG_FILE):
        with suppress(FileNotFoundError):
            rows.update({row["file"]: row for row in read_rows(folder / name)})
    return rows


OPTIONS_FILE = "dataset.json"

_PICTURE = re.compile(r"\d{6,}\.(png|webp)")


def build_options(
    source: FaceSource, recipe: Recipe, layout: str, picture_format: PictureFormat
) -> dict[str, Any]:
    """Everything that determines a dataset's bytes, in JSON's types."""
    return {
        "facemend": __version__,
        "source": source.name,
        "pictures": len(source),
        "fingerprint": fingerprint_of(source.fingerprint, *map(_traits, source.records)),
        "count": recipe.count,
        "shares": dict(recipe.shares),
        "size_px": recipe.size_px,
        "seed": recipe.seed,
        "cutouts": None if recipe.cutouts is None else _fingerprint_of_folder(recipe.cutouts),
        "layout": layout,
        "format": picture_format,
    }


def _traits(record: FaceRecord) -> tuple[object, ...]:
    """Everything of a record that a pair depends on."""
    landmarks_px = record.frame_landmarks_px
    return (
        record.name,
        record.identity,
        None if landmarks_px is None else landmarks_px.tolist(),
        *allowed_kinds(dict.fromkeys(KINDS, 1.0), record.attributes),
    )


def _fingerprint_of_folder(folder: Path) -> str:
    """Over the names and bytes of all files in a folder and the table beside it. The path is left out."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    parts = [(path.relative_to(folder).as_posix(), sha256_of(path)) for path in paths]
    table = table_of(folder)
    return fingerprint_of(*parts, *([("", sha256_of(table))] if table.is_file() else []))


def prepare_folder(folder: Path, options: Mapping[str, Any], *, force: bool) -> None:
    """Writes the dataset's options into its folder, unless an earlier run of the same build did.

    Args:
        options: what the dataset is made with.
        force: use a folder that holds another dataset, and remove that dataset's files and nothing else.

    Raises:
        OutputError: the folder holds something else, and `force` is not set.
    """
    for name in FOLDERS:
        if (folder / name).is_symlink():
            raise OutputError(f"{folder / name} is a link; remove it, or choose another folder")
    path = folder / OPTIONS_FILE
    found = _read_json(path)
    if found == options:
        return
    occupied = _name_in_use(folder)
    if occupied and not force:
        raise occupied_error(folder, occupied, found, options)
    # The manifest says that the dataset is complete, so it is removed first.
    for name in (MANIFEST_FILE, METADATA_FILE, LOG_FILE, MISSING_FILE):
        (folder / name).unlink(missing_ok=True)
    for old in _files_like(_PICTURE, folder):
        old.unlink()
    write_text(path, json.dumps(options, indent=2, ensure_ascii=False) + "\n", force=True)


def occupied_error(location: object, name: str, found: object, options: Mapping[str, Any]) -> OutputError:
    """The error for a location that holds something else.

    Args:
        name: of a file that is there.
        found: the options of the dataset that is there, if there is one.
        options: those of this dataset.
    """
    holds = f"{name} already"
    if isinstance(found, dict):
        changed = [key for key in options if options[key] != found.get(key)]
        holds = f"a dataset made with another {' and '.join(changed)}"
    return OutputError(f"{location} holds {holds}; choose another location or add --force to start anew")


def remove_temporary_files(folder: Path) -> None:
    """Removes the temporary files of a killed build."""
    for path in _files_like(TEMPORARY, folder):
        path.unlink()


def _name_in_use(folder: Path) -> str | None:
    """The first file in a folder whose name a build would use."""
    names = (OPTIONS_FILE, MANIFEST_FILE, METADATA_FILE, *FOLDERS)
    pictures = (path.name for path in _files_like(_PICTURE, folder))
    return next((name for name in names if (folder / name).exists()), next(pictures, None))


def _files_like(pattern: re.Pattern[str], folder: Path) -> Iterator[Path]:
    """The files whose names match, in a folder of any layout."""
    for home in (folder, *(folder / name for name in FOLDERS)):
        if home.is_dir():
            yield from [path for path in home.iterdir() if pattern.fullmatch(path.name)]


def _read_json(path: Path) -> object:
    try:
        return parse_json(read_own(path))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise OutputError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError:
        return None


_PNG_FOLDERS = Files()
_THIS_PROCESS = LocalEngine(1)
_BATCH = 16


@dataclass(frozen=True)
class PairResult:
    """The result for one pair.

    Attributes:
        row: its line of the manifest, or None if its picture cannot be read.
        is_new: whether this run made it.
        missing: its file, its picture and the error, if it cannot be made.
    """

    row: Row | None
    is_new: bool
    missing: Row | None = None


@dataclass(frozen=True)
class BuildReport:
    """What a build did.

    Attributes:
        made, kept: pairs made by this run, and pairs that were finished before.
        skipped: faces that can take no kind of the recipe; the next ones are used instead.
        kinds: pairs by kind.
        landmarks: pairs by the source of their landmarks, keys as in `Landmarks`.
    """

    made: int
    kept: int
    skipped: int
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
    progress: Callable[[Iterable[PairResult]], Iterable[PairResult]] = iter,
) -> BuildReport:
    """Writes a dataset: its pictures as `files` lays them out, OUT/dataset.json and OUT/manifest.jsonl.

    The same call resumes a build: it keeps every finished pair whose sha256 is right, and makes the rest.
    The manifest appears when all pairs are there. A picture that cannot be read does not stop the others:
    OUT/missing.jsonl lists its pairs at the end.

    Args:
        engine: runs the work. It does not affect the bytes.
        force: start anew in a folder that holds another dataset.
        progress: wraps the results as they come (for example tqdm).

    Raises:
        SourceError: no face can take a kind of the recipe.
        OutputError: the folder holds another dataset or files of the same names, or cannot be written.
        PictureError: pictures of the source cannot be read. All other pairs are there.
    """
    faces = faces_for(source, recipe)
    count = _Count()
    try:
        prepare_folder(out, build_options(source, recipe, files.layout, files.picture_format), force=force)
        task = _Task(faces, recipe, files, out, finished_rows(out))
        with closing(engine.run(task.open, recipe.count, batch=_BATCH)) as results:
            _collect(progress(results), count, out, files)
        remove_temporary_files(out)
    except OSError as error:
        raise OutputError(f"cannot write {out}: {error.strerror or error}") from error
    return count.report(count_skipped(source, faces, recipe.count))


@dataclass
class _Count:
    """Counts what a build did while its results pass."""

    made: int = 0
    kept: int = 0
    missing: list[Row] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    landmarks: Counter[str] = field(default_factory=Counter)

    def rows_of(self, results: Iterable[PairResult]) -> Iterator[tuple[Row, bool]]:
        """Counts results, and yields the rows of pairs that are there and whether each is new."""
        for result in results:
            if result.missing is not None:
                self.missing.append(result.missing)
            if result.row is not None:
                self.made += result.is_new
                self.kept += not result.is_new
                self.kinds[result.row["kind"]] += 1
                self.landmarks[result.row["landmarks"]] += 1
                yield result.row, result.is_new

    def report(self, skipped: int) -> BuildReport:
        """The totals."""
        return BuildReport(self.made, self.kept, skipped, self.kinds, self.landmarks)


def _collect(results: Iterable[PairResult], count: _Count, out: Path, files: Files) -> None:
    """Writes each new row to a log, which survives an interruption, and all rows to the manifest.

    The rows are not held in memory. The manifest appears at the end, and only if no pair is missing.
    """
    with written_whole(out / MANIFEST_FILE, force=True) as temporary:
        with open_log(out / LOG_FILE) as log, temporary.open("wb") as manifest:
            log.write("\n")  # ends a torn line
            for row, is_new in count.rows_of(results):
                line = to_json_line(row)
                manifest.write(line.encode())
                if is_new:
                    log.write(line)
                    log.flush()
        if count.missing:
            write_rows(out / MISSING_FILE, count.missing)
            raise unreadable_error(count.missing, count.made + count.kept, out / MISSING_FILE)
        if files.layout is Layout.IMAGEFOLDER:
            write_rows(out / METADATA_FILE, (to_metadata(row, files) for row in read_rows(temporary)))
    for path in (out / LOG_FILE, out / MISSING_FILE):
        path.unlink(missing_ok=True)


def unreadable_error(missing: Sequence[Row], there: int, listed: object) -> PictureError:
    """The error for a build in which some pictures cannot be read, and all other pairs are made."""
    more = f", and {len(missing) - 1} more" if len(missing) > 1 else ""
    return PictureError(
        f"{missing[0]['error']}{more}: {len(missing)} of {there + len(missing)} pairs are missing, listed "
        f"in {listed}; the same command again makes only those"
    )


def count_skipped(source: FaceSource, faces: FaceSource, count: int) -> int:
    """Number of faces that were skipped because they can take no kind of the recipe."""
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

    def open(self) -> Callable[[int], PairResult]:
        """Returns the work for an engine: it makes the pair of an index."""
        return self._finish

    def _finish(self, index: int) -> PairResult:
        """Makes one pair, unless its files are there and undamaged."""
        name = self.files.name(index)
        paths = self.files.paths(self.out, name)
        known = self.known.get(name)
        if known is not None and _sums(paths) == known["sha256"]:
            return PairResult(known, False)
        try:
            pair = make_pair(self.faces, index, self.recipe)
        except PictureError as error:
            source = self.faces.records[index % len(self.faces)].name
            return PairResult(None, False, {"file": name, "source": source, "error": str(error)})
        sums = {}
        for (what, path), picture in zip(paths.items(), self.files.pictures(pair), strict=True):
            data = encode(picture, self.files.picture_format)
            with written_whole(path, force=True) as temporary:
                temporary.write_bytes(data)
            sums[what] = hashlib.sha256(data).hexdigest()
        return PairResult(manifest_row(pair, name, sums), True)


def _sums(paths: Mapping[str, Path]) -> dict[str, str] | None:
    """The sha256 of a pair's files, or None if one is missing."""
    try:
        return {what: sha256_of(path) for what, path in paths.items()}
    except (FileNotFoundError, UnfitFile):
        return None

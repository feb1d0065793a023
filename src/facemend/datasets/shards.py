"""A dataset of pairs in shards of some hundred pairs each, for buckets and streaming readers.

WebDataset shards are tar files of KEY.occluded.png, KEY.target.png, KEY.alpha.png and KEY.json. Parquet
shards hold the pictures as bytes. The manifest is Parquet in either case: one part for every shard, written
after it. Any Parquet reader takes the parts as one table. OUT/complete.json appears when all shards are
there.
"""

import hashlib
import io
import json
import tarfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from facemend.datasets.build import (
    MISSING_FILE,
    OPTIONS_FILE,
    BuildReport,
    Row,
    build_options,
    count_skipped,
    manifest_row,
    occupied_error,
    to_json_line,
    unreadable_error,
)
from facemend.datasets.faces import FaceSource
from facemend.datasets.pairs import Files, PictureFormat, Recipe, encode, faces_for, make_pair
from facemend.datasets.remote import Place
from facemend.errors import OutputError, PictureError
from facemend.files import parse_json
from facemend.parallel import Engine

SHARD_PAIRS = 256
"""Pairs in a shard, except for the last one: some 40 MB at 256 px, which a worker holds in memory."""
COMPLETE_FILE = "complete.json"

_SHA256 = b"shard_sha256"


class ShardFormat(StrEnum):
    """How a shard holds its pairs."""

    WEBDATASET = "webdataset"
    PARQUET = "parquet"


@dataclass(frozen=True)
class Shard:
    """The result for one shard.

    Attributes:
        made, kept: pairs made by this run, and pairs that were finished before.
        kinds, landmarks: its pairs, as in `BuildReport`.
        missing: pairs whose pictures cannot be read. Without them the shard is not written.
    """

    made: int
    kept: int
    kinds: Mapping[str, int]
    landmarks: Mapping[str, int]
    missing: tuple[Row, ...] = ()


def build_shards(
    source: FaceSource,
    out: Place,
    recipe: Recipe,
    shard_format: ShardFormat,
    picture_format: PictureFormat,
    *,
    engine: Engine,
    force: bool = False,
    progress: Callable[[Iterable[Shard]], Iterable[Shard]] = iter,
) -> BuildReport:
    """Writes a dataset as shards. The files of a pair have the same bytes as in `build_dataset`.

    The same call resumes a build: it keeps every finished shard whose sha256 is right, and makes the rest.

    Args:
        engine, force, progress: as `build_dataset` takes them.

    Raises:
        SourceError: no face can take a kind of the recipe.
        OutputError: the location holds something else, or cannot be written.
        PictureError: pictures of the source cannot be read. All other shards are there.
    """
    faces = faces_for(source, recipe)
    task = _Task(faces, recipe, out, shard_format, picture_format)
    try:
        _prepare(out, build_options(source, recipe, shard_format, picture_format), force=force)
        with closing(engine.run(task.open, task.shards, batch=1)) as shards:
            report, missing = _add_up(progress(shards), count_skipped(source, faces, recipe.count))
        out.sweep()
        if missing:
            out.write(MISSING_FILE, "".join(map(to_json_line, missing)).encode())
            raise unreadable_error(missing, report.made + report.kept, f"{out}/{MISSING_FILE}")
        out.remove(MISSING_FILE)
        out.write(
            COMPLETE_FILE, (json.dumps({"shards": task.shards, "pairs": recipe.count}) + "\n").encode()
        )
    except OSError as error:
        raise OutputError(f"cannot write {out}: {error}") from error
    return report


def _prepare(out: Place, options: Mapping[str, Any], *, force: bool) -> None:
    """Writes the dataset's options to its location, unless an earlier run of the same build did.

    Raises:
        OutputError: the location holds something else, and `force` is not set.
    """
    options = {**options, "shard_pairs": SHARD_PAIRS}
    try:
        found = parse_json(out.read(OPTIONS_FILE))
    except (FileNotFoundError, ValueError):
        found = None
    if found == options:
        return
    there = [name for name, _, _ in out.files()]
    if there and not force:
        raise occupied_error(out, there[0], found, options)
    for name in there:
        if name in (COMPLETE_FILE, MISSING_FILE) or name.startswith(("manifest/", "shards/")):
            out.remove(name)
    out.write(OPTIONS_FILE, (json.dumps(options, indent=2, ensure_ascii=False) + "\n").encode())


def _add_up(shards: Iterable[Shard], skipped: int) -> tuple[BuildReport, list[Row]]:
    made = kept = 0
    kinds: Counter[str] = Counter()
    landmarks: Counter[str] = Counter()
    missing: list[Row] = []
    for shard in shards:
        made, kept = made + shard.made, kept + shard.kept
        kinds.update(shard.kinds)
        landmarks.update(shard.landmarks)
        missing += shard.missing
    return BuildReport(made, kept, skipped, kinds, landmarks), missing


@dataclass(frozen=True)
class _Task:
    faces: FaceSource
    recipe: Recipe
    out: Place
    shard_format: ShardFormat
    picture_format: PictureFormat

    @property
    def shards(self) -> int:
        return -(-self.recipe.count // SHARD_PAIRS)

    def open(self) -> Callable[[int], Shard]:
        """Returns the work for an engine: it makes the shard of an index."""
        return self._finish

    def _finish(self, index: int) -> Shard:
        """Makes one shard and its part of the manifest, unless both are there and undamaged."""
        suffix = "tar" if self.shard_format is ShardFormat.WEBDATASET else "parquet"
        shard, part = f"shards/{index:06d}.{suffix}", f"manifest/{index:06d}.parquet"
        if (known := self._known(shard, part)) is not None:
            return known
        rows, pictures, missing = self._make(index)
        if missing:
            return Shard(0, 0, {}, {}, tuple(missing))
        data = (
            _to_tar(rows, pictures, self.picture_format) if suffix == "tar" else _to_parquet(rows, pictures)
        )
        self.out.write(shard, data)
        sha256 = hashlib.sha256(data).hexdigest()
        self.out.write(part, _to_parquet([{**row, "shard": shard} for row in rows], None, sha256))
        return Shard(len(rows), 0, *_count(rows))

    def _make(self, index: int) -> tuple[list[Row], list[dict[str, bytes]], list[Row]]:
        """The rows and the encoded pictures of a shard, and its missing pairs."""
        files = Files(picture_format=self.picture_format)
        rows, pictures, missing = [], [], []
        start = index * SHARD_PAIRS
        for position in range(start, min(start + SHARD_PAIRS, self.recipe.count)):
            name = files.name(position)
            try:
                pair = make_pair(self.faces, position, self.recipe)
            except PictureError as error:
                record = self.faces.records[position % len(self.faces)]
                missing.append({"file": name, "source": record.name, "error": str(error)})
                continue
            encoded = [encode(picture, self.picture_format) for picture in files.pictures(pair)]
            named = dict(zip(("occluded", "target", "alpha"), encoded, strict=True))
            sums = {what: hashlib.sha256(data).hexdigest() for what, data in named.items()}
            rows.append(manifest_row(pair, name, sums))
            pictures.append(named)
        return rows, pictures, missing

    def _known(self, shard: str, part: str) -> Shard | None:
        """A shard that an earlier run finished, if its bytes are unchanged."""
        import pyarrow
        from pyarrow import parquet

        try:
            data = io.BytesIO(self.out.read(part))
            if parquet.read_metadata(data).num_rows > SHARD_PAIRS:  # it is not ours, and may be a bomb
                return None
            data.seek(0)
            table = parquet.read_table(data, columns=["kind", "landmarks"], partitioning=None)
        except (OSError, pyarrow.ArrowException):
            return None
        sha256 = (table.schema.metadata or {}).get(_SHA256, b"").decode("ascii", "replace")
        if not {"kind", "landmarks"} <= set(table.column_names) or self.out.sha256(shard) != sha256:
            return None
        rows = table.to_pylist()
        if not all(isinstance(value, str) for row in rows for value in row.values()):
            return None
        return Shard(0, len(rows), *_count(rows))


def _count(rows: Iterable[Mapping[str, Any]]) -> tuple[Counter[str], Counter[str]]:
    rows = list(rows)
    return Counter(row["kind"] for row in rows), Counter(row["landmarks"] for row in rows)


def _to_tar(rows: list[Row], pictures: list[dict[str, bytes]], picture_format: PictureFormat) -> bytes:
    """A shard as WebDataset reads it. It does not depend on the time or the user."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for row, named in zip(rows, pictures, strict=True):
            key = row["file"].partition(".")[0]
            members = {f"{key}.{what}.{picture_format}": data for what, data in named.items()}
            members[f"{key}.json"] = to_json_line(row).encode()
            for name, data in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def _to_parquet(rows: list[Row], pictures: list[dict[str, bytes]] | None, sha256: str = "") -> bytes:
    """Rows as Parquet, a column for each key, with or without pictures. Parameters and sums are JSON."""
    import pyarrow
    from pyarrow import parquet

    flat = [
        {key: json.dumps(value) if isinstance(value, dict) else value for key, value in row.items()}
        for row in rows
    ]
    types = {key: pyarrow.string() for key in flat[0]} | {
        "coverage": pyarrow.float64(),
        "seed": pyarrow.uint64(),
    }
    columns = {key: pyarrow.array([row[key] for row in flat], types[key]) for key in flat[0]}
    for what in pictures[0] if pictures else ():
        columns[what] = pyarrow.array([named[what] for named in pictures or ()], pyarrow.binary())
    table = pyarrow.table(columns)
    if sha256:
        table = table.replace_schema_metadata({_SHA256: sha256.encode()})
    buffer = io.BytesIO()
    # Pictures are already compressed.
    parquet.write_table(
        table, buffer, compression="none" if pictures else "zstd", row_group_size=SHARD_PAIRS
    )
    return buffer.getvalue()

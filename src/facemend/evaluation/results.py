"""The results of an evaluation: scores of single pictures, their cache, and the report made of them.

A killed run resumes from the cache, and a baseline is measured once.
"""

import hashlib
import json
import sqlite3
import struct
import zipfile
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import IO, Any, Self

import cv2
import numpy as np
import numpy.typing as npt

from facemend.errors import FacemendError, OutputError, UsageError, reason_of
from facemend.files import parse_json, sha256_of_parts
from facemend.terminal import printable_json

ALL = "all"
FORMAT = 2
AS_DRAWN = "as drawn"
"""The condition of the protocol's own inputs. The others are those of `protocol.CONDITIONS`."""

Measure = tuple[str, str]
"""Region and metric, a key of UNITS."""

UNITS: Mapping[Measure, str] = {
    ("hole", "psnr"): "dB",
    ("composite", "psnr"): "dB",
    ("composite", "ssim"): "0-1",
    ("raw", "psnr"): "dB",
    ("raw", "ssim"): "0-1",
    ("hole", "sharpness"): "share of the truth's",
    ("hole", "interval_coverage"): "share of colour values",
    ("seam", "gradient"): "share of the truth's",
    ("seam", "gradient_p95"): "share of the truth's",
    ("seam", "ssim"): "0-1",
    ("occlusion", "iou"): "0-1",
    ("unoccluded", "false_edits"): "share of pictures",
    ("unoccluded", "changed"): "share of photos",
    ("composite", "ms_ssim"): "0-1",
    ("composite", "identity"): "distance of descriptors",
    ("composite", "frechet_identity"): "Fréchet distance of descriptors",
    ("composite", "lpips"): "distance",
    ("composite", "fid"): "Fréchet distance of features",
}
"""Every measure and its unit."""


@dataclass(frozen=True)
class Group:
    """The pictures that a score is averaged over; "all" does not restrict them.

    A condition other than AS_DRAWN is measured on the first pictures only (`systems.FIRST_PICTURES`).
    Groups of people are named "trait: value", such as "skin: dark". Only some protocols have them.
    """

    kind: str = ALL
    extent: str = ALL
    hole_bin: str = ALL
    condition: str = AS_DRAWN
    people: str = ALL


EVERYTHING = Group()


@dataclass(frozen=True)
class Measurement:
    """The scores of one system on one picture.

    Attributes:
        system: its name.
        name, person: the picture's name in its source, and who it shows.
        kind, extent: of the occlusion, or "none" without one.
        coverage: the hole's share of the crop, 0-1.
        values: score by measure, or None if the picture is counted apart (perfect for PSNR, nothing to
            measure for other metrics).
        condition: what the input went through, "as drawn" for the protocol's own.
        people: the person's groups, as in `Group.people`.
    """

    system: str
    name: str
    person: str
    kind: str
    extent: str
    coverage: float
    values: Mapping[Measure, float | None]
    condition: str = AS_DRAWN
    people: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """One score of a report: a measure of a system, averaged over a group of pictures.

    Attributes:
        system, region, metric, unit: what is averaged.
        kind, extent, hole_bin, condition, people: the group of pictures (see Group).
        mean: mean of the pictures' scores, or None if all are counted apart.
        low, high: 95% interval of the mean, bootstrapped over people, or None if that needs more people.
        n: pictures that the mean is taken over.
        apart: pictures counted apart (see `Measurement.values`).
    """

    system: str
    kind: str
    extent: str
    hole_bin: str
    condition: str
    region: str
    metric: str
    unit: str
    mean: float | None
    low: float | None
    high: float | None
    n: int
    apart: int
    people: str = ALL

    @property
    def group(self) -> Group:
        """The pictures that it is averaged over."""
        return Group(self.kind, self.extent, self.hole_bin, self.condition, self.people)


@dataclass(frozen=True)
class Comparison:
    """Two systems on the same pixels: the mean of `system` minus `other`, picture by picture.

    Attributes:
        kind: of the pictures' occlusion, or "all".
        difference: in the measure's unit, or None if they share no picture.
        low, high: its 95% interval, bootstrapped over people, or None if that needs more people.
        n: pictures for which both have a score.
    """

    system: str
    other: str
    kind: str
    region: str
    metric: str
    difference: float | None
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Gap:
    """The mean of a system over one group of people minus its mean over the other people.

    Attributes:
        attribute: of CelebA, as annotated there.
        gap: mean with the attribute minus mean without it, in the measure's unit.
        low, high: its 95% interval, bootstrapped over people, or None if that needs more people.
        n_with, n_without: pictures in the two means.
    """

    system: str
    attribute: str
    region: str
    metric: str
    gap: float
    low: float | None
    high: float | None
    n_with: int
    n_without: int


@dataclass(frozen=True)
class Spread:
    """The gap between the groups of people for whom a system is best and worst.

    Attributes:
        trait: what the groups differ in, such as "skin".
        best, worst: two values of the trait, by the mean of the measure.
        gap: mean of the best group minus mean of the worst, in the measure's unit.
        low, high: its 95% interval for these two groups, bootstrapped over people.
        n_best, n_worst: pictures in the two means.
    """

    system: str
    trait: str
    best: str
    worst: str
    region: str
    metric: str
    gap: float
    low: float
    high: float
    n_best: int
    n_worst: int


@dataclass(frozen=True)
class Published:
    """Scores that others published under a protocol, on the whole picture.

    Attributes:
        name: of their system.
        psnr: dB.
        ssim: 0-1.
    """

    name: str
    psnr: float
    ssim: float


@dataclass(frozen=True)
class SystemEntry:
    """What the report says of a system beside its scores.

    Attributes:
        name, blind, sha256: as in `systems.System`.
        training_people: "disjoint" from the evaluated people, "none" (it learnt nothing) or "unknown".
        pictures: number of pictures it was measured on: all or the first ones.
        latency_ms: median time for a face, in batches of one face under every kind. None for pictures of
            `--export-inputs`, which facemend did not make.
        peak_memory_mb: of a process that only opens the model and reconstructs faces, one at a time. None
            for systems without a file, and if the operating system does not report it.

    Another run repeats everything exactly except for latency and memory.
    """

    name: str
    blind: bool
    sha256: str | None
    training_people: str
    pictures: int
    latency_ms: float | None
    peak_memory_mb: float | None


@dataclass(frozen=True)
class EvaluationReport:
    """The result of `facemend evaluate`, with everything that makes its scores comparable.

    Attributes:
        protocol: its name and version.
        facemend: the version of the program.
        source, split: where the faces come from.
        pictures, people: how many were evaluated.
        kinds: the occlusions, in order.
        inputs_sha256: hash over truth, occluded pictures and alphas, by kind. Reports can be compared
            where these are equal.
        systems: in the order of the command, models first.
        rows: every mean.
        comparisons: the first system against every other, and every other against copy.
        gaps: between groups of people, or empty if the source has no attributes.
        left_out: metrics that were not measured, and the reason.
        command: repeats the evaluation.
        coverage: mean share of the picture that the hole takes, by kind.
        spreads: between groups of people, or empty if the protocol has none.
        published: scores that others published under this protocol.
        format: version of this layout.
    """

    protocol: str
    facemend: str
    source: str
    split: str
    pictures: int
    people: int
    kinds: tuple[str, ...]
    inputs_sha256: Mapping[str, str]
    systems: tuple[SystemEntry, ...]
    rows: tuple[Row, ...]
    comparisons: tuple[Comparison, ...] = ()
    gaps: tuple[Gap, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
    coverage: Mapping[str, float] = field(default_factory=dict)
    spreads: tuple[Spread, ...] = ()
    published: tuple[Published, ...] = ()
    format: int = FORMAT

    def find(self, system: str, measure: Measure, group: Group = EVERYTHING) -> Row | None:
        """The row of a system, a measure and a group, or None if nothing was measured there."""
        return self._rows.get((system, measure, group))

    @cached_property
    def _rows(self) -> Mapping[tuple[str, Measure, Group], Row]:
        return {(row.system, (row.region, row.metric), row.group): row for row in self.rows}

    def compare(self, system: str, other: str, measure: Measure, kind: str = ALL) -> Comparison | None:
        """The paired comparison of two systems, or None if it was not made."""
        wanted = (system, other, measure, kind)
        return next(
            (c for c in self.comparisons if (c.system, c.other, (c.region, c.metric), c.kind) == wanted),
            None,
        )

    def joined(self, other: "EvaluationReport") -> "EvaluationReport":
        """One report with both reports' systems and rows. A system of both is taken from this one.

        Raises:
            UsageError: they were not measured on the same inputs, so that they cannot be compared.
        """
        for what in ("protocol", "split", "kinds", "inputs_sha256"):
            if getattr(self, what) != getattr(other, what):
                raise UsageError(
                    f"the reports differ in {what}: they are not of the same inputs, and cannot be compared"
                )
        known = {entry.name for entry in self.systems}
        return replace(
            self,
            systems=self.systems + tuple(entry for entry in other.systems if entry.name not in known),
            rows=self.rows + tuple(row for row in other.rows if row.system not in known),
            comparisons=self.comparisons + tuple(c for c in other.comparisons if c.system not in known),
            gaps=self.gaps + tuple(gap for gap in other.gaps if gap.system not in known),
            spreads=self.spreads + tuple(s for s in other.spreads if s.system not in known),
        )

    def to_json(self) -> str:
        """The report as JSON text."""
        return printable_json(asdict(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "EvaluationReport":
        """Reads what `to_json` wrote.

        Raises:
            FacemendError: the text is not a report, or has another format.
        """
        try:
            fields = parse_json(text)
            if fields["format"] != FORMAT:
                raise FacemendError(
                    f"the report has format {fields['format']}, not {FORMAT}; run facemend evaluate again"
                )
            fields["kinds"] = tuple(fields["kinds"])
            fields["systems"] = tuple(SystemEntry(**entry) for entry in fields["systems"])
            fields["rows"] = tuple(Row(**row) for row in fields["rows"])
            fields["comparisons"] = tuple(Comparison(**entry) for entry in fields["comparisons"])
            fields["gaps"] = tuple(Gap(**entry) for entry in fields["gaps"])
            fields["spreads"] = tuple(Spread(**entry) for entry in fields.get("spreads", ()))
            fields["published"] = tuple(Published(**entry) for entry in fields.get("published", ()))
            return cls(**fields)
        except (ValueError, TypeError, KeyError) as error:
            raise FacemendError(f"this is not an evaluation report: {error!r}") from error


@dataclass(frozen=True)
class Evaluation:
    """A report and the scores of single pictures behind it, in the order in which they were measured."""

    report: EvaluationReport
    measurements: tuple[Measurement, ...]


Vectors = npt.NDArray[np.float32]
"""(2, D): a network's features of the delivered picture, and of the truth."""

_NAME = "scores.sqlite"
_BESIDE = ("", "-wal", "-shm", "-journal")
"""What SQLite opens beside a file, by what their names end with."""
_COLUMNS = "key TEXT PRIMARY KEY, scores TEXT NOT NULL, vectors BLOB NOT NULL"
_TABLE = f"CREATE TABLE scores ({_COLUMNS}) WITHOUT ROWID"
_MOST_BYTES = 16 << 20
"""Of a row. Features of a network take some 20 kB."""
_MOST_SCORE = 1e12
"""No score is so far from 0, and no time so long."""
_WRITTEN_AT = 18  # in the header of an SQLite file
_CODE = (
    "images.py",
    "onnx_model.py",
    "alignment.py",
    "degradations.py",
    "detection",
    "metrics",
    "reconstruction",
    "evaluation/systems.py",
    "evaluation/external.py",
    "evaluation/harm.py",
    "evaluation/published_masks.py",
    "evaluation/scoring.py",
    "evaluation/systems.py",
)
"""Everything between an input and its scores: files and folders of the package."""
_LIBRARIES = ("numpy", "pillow", "onnxruntime", "scikit-image", "scipy", "dlib-bin")


@dataclass(frozen=True)
class Scores:
    """Scores of one picture.

    Attributes:
        values: score by measure (see `results.Measurement`).
        vectors: features by measure, for what is measured on many pictures together.
        milliseconds: that the system took for the face, or None if unknown.
    """

    values: Mapping[Measure, float | None]
    vectors: Mapping[Measure, Vectors] = field(default_factory=dict)
    milliseconds: float | None = None


class ScoreCache:
    """Scores in one SQLite file. What was written survives a kill.

    A key covers everything that a score depends on: the system, the input's bytes, the metrics, and the
    code that measures. If any of them changes, the score is measured again.
    """

    def __init__(self, folder: Path) -> None:
        """Keeps the file in a folder. Both are created when the first score is requested."""
        self._folder = folder

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if "_file" in self.__dict__:
            self._file.close()

    @cached_property
    def _file(self) -> sqlite3.Connection:
        path = self._folder / _NAME
        if any(Path(f"{path}{beside}").is_symlink() for beside in _BESIDE) or (
            path.exists() and not path.is_file()
        ):
            raise OutputError(f"{path} is a link or not a file; delete it")
        # A cache keeps its log in -wal. A journal may name any other file, which SQLite would delete.
        if Path(f"{path}-journal").exists():
            raise OutputError(f"{path}-journal is not of a cache of scores; delete both")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            # Every row is one transaction. A lost last one is measured again.
            file = sqlite3.connect(path, isolation_level=None)
            file.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MOST_BYTES)
            file.execute("PRAGMA trusted_schema=OFF")
            # A view or a trigger in place of the table would be a program.
            there = file.execute("SELECT sql FROM sqlite_schema").fetchall()
            if there and there != [(_TABLE,)]:
                raise OutputError(f"{path} is not a cache of scores, or is another facemend's; delete it")
            file.execute("PRAGMA journal_mode=WAL")
            file.execute("PRAGMA synchronous=NORMAL")
            if not there:
                file.execute(_TABLE.replace("TABLE", "TABLE IF NOT EXISTS", 1))
        except (OSError, sqlite3.Error) as error:
            raise OutputError(f"cannot cache scores in {self._folder}: {error}") from error
        return file

    def get(self, key: str) -> Scores | None:
        """The scores of a key, or None if there are none.

        Raises:
            OutputError: the folder refuses, or holds a file that is not such a cache.
        """
        select = "SELECT scores, vectors FROM scores WHERE key = ?"
        try:
            row = self._file.execute(select, (key,)).fetchone()
            return None if row is None else _parse_scores(*row)
        except (sqlite3.Error, OSError, ValueError, TypeError, KeyError, zipfile.BadZipFile) as error:
            raise OutputError(
                f"the scores in {self._folder / _NAME} cannot be read ({error}); delete it"
            ) from error

    def put(self, key: str, scores: Scores) -> None:
        """Writes the scores of a key.

        Raises:
            OutputError: the disk refuses.
        """
        values = [(*measure, value) for measure, value in scores.values.items()]
        text = json.dumps({"values": values, "milliseconds": scores.milliseconds})
        try:
            self._file.execute(
                "INSERT OR REPLACE INTO scores VALUES (?, ?, ?)", (key, text, _pack(scores.vectors))
            )
        except sqlite3.Error as error:
            raise OutputError(f"cannot cache scores: {error}") from error

    def __reduce__(self) -> tuple[Any, ...]:
        """Travels to other processes and machines as a copy in memory, which they only read."""
        with closing(sqlite3.connect(":memory:")) as copy:
            self._file.backup(copy)
            data = copy.serialize()
        # These bytes say how the file is written: 2 means a log beside it, which a copy does not have.
        return _open_copy, (data[:_WRITTEN_AT] + b"\1\1" + data[_WRITTEN_AT + 2 :],)


def _open_copy(data: bytes) -> "ScoreCache":
    copy = ScoreCache(Path())
    copy._file = sqlite3.connect(":memory:", check_same_thread=False)
    copy._file.deserialize(data)
    return copy


class CacheBuffer:
    """Looks scores up in a cache, and collects new ones until the process that owns the cache writes them.

    Attributes:
        new: the new scores by key.
    """

    def __init__(self, cache: ScoreCache) -> None:
        self._cache = cache
        self.new: dict[str, Scores] = {}

    def get(self, key: str) -> Scores | None:
        """What is known under a key, or None if nothing is. Raises OutputError as `ScoreCache.get` does."""
        return self.new.get(key) or self._cache.get(key)

    def put(self, key: str, scores: Scores) -> None:
        """Collects new scores."""
        self.new[key] = scores


def key_of(*parts: str) -> str:
    """The key of scores that depend on these parts and on the code that measures them."""
    return sha256_of_parts(_code_digest(), *parts)


@cache
def _code_digest() -> str:
    """Over the source of everything between an input and its scores, and the versions of the libraries."""
    versions = cv2.__version__, *map(_version, _LIBRARIES)
    digest = hashlib.sha256(" ".join(versions).encode())
    for name in _CODE:
        path = files("facemend").joinpath(name)
        sources = [path] if path.is_file() else sorted(path.iterdir(), key=lambda each: each.name)
        for source in sources:
            if source.name.endswith(".py"):
                digest.update(source.read_bytes())
    return digest.hexdigest()


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "none"


def _pack(vectors: Mapping[Measure, Vectors]) -> bytes:
    if not vectors:
        return b""
    file = BytesIO()
    np.savez(file, **{" ".join(measure): pair for measure, pair in vectors.items()})  # type: ignore[arg-type]
    return file.getvalue()


def _parse_scores(text: str, vectors: bytes) -> Scores:
    """Raises ValueError, TypeError or KeyError: this was not written by `put`."""
    found = parse_json(text)
    values = {(region, metric): value for region, metric, value in found["values"]}
    numbers = (*values.values(), found["milliseconds"])
    sane = all(n is None or (isinstance(n, int | float) and abs(n) < _MOST_SCORE) for n in numbers)
    if not values.keys() <= UNITS.keys() or not sane:
        raise ValueError("a score has an unknown measure or is not a number")
    return Scores(values, _unpack(vectors), found["milliseconds"])


def _unpack(data: bytes) -> dict[Measure, Vectors]:
    if not data:
        return {}
    arrays = read_arrays(BytesIO(data), _MOST_BYTES)
    found = {(region, metric): arrays[f"{region} {metric}"] for region, metric in map(str.split, arrays)}
    if any(pair.dtype != np.float32 or pair.ndim != 2 or len(pair) != 2 for pair in found.values()):
        raise ValueError("features are two rows of numbers")
    return found


def read_arrays(source: Path | IO[bytes], most_bytes: int) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a file that `numpy.savez` wrote.

    Raises:
        OSError, ValueError, zipfile.BadZipFile: it is not such a file, or it takes more than `most_bytes`.
    """
    try:
        with zipfile.ZipFile(source) as archive:
            # What savez writes is not compressed. A bomb is.
            members = archive.infolist()
            if any(one.compress_type != zipfile.ZIP_STORED for one in members):
                raise ValueError("it is compressed")
            if sum(one.file_size for one in members) > most_bytes:
                raise ValueError(f"it takes more than {most_bytes >> 20} MiB")
        if not isinstance(source, Path):
            source.seek(0)
        with np.load(source) as arrays:
            found = dict(arrays)
    except (EOFError, RuntimeError, SyntaxError, struct.error, MemoryError) as error:
        # Cut off, encrypted, or an array that says that it is larger than all memory.
        raise ValueError(f"it is damaged ({reason_of(error)})") from error
    if not all(isinstance(array, np.ndarray) for array in found.values()):  # numpy gives bytes of others
        raise ValueError("something in it is no array")
    return found

"""Scores of earlier runs: a killed run resumes, and a baseline is measured once."""

import hashlib
import json
import sqlite3
import struct
import zipfile
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import IO, Any, Self

import cv2
import numpy as np
import numpy.typing as npt

from facemend.errors import OutputError, reason_of
from facemend.evaluation.results import UNITS, Measure
from facemend.files import parse_json, sha256_of_parts

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
    "evaluation/baselines.py",
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

"""Figures that were taken before: a killed run goes on, and a baseline is measured once."""

import hashlib
import json
import sqlite3
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

import numpy as np
import numpy.typing as npt

from facemend.errors import OutputError
from facemend.evaluation.results import UNITS, Measure
from facemend.files import parse_json, sha256_of_parts
from facemend.metrics.opencv import cv2

Vectors = npt.NDArray[np.float32]
"""(2, D): a network's features of the delivered picture, and of the truth."""

_NAME = "figures.sqlite"
_BESIDE = ("", "-wal", "-shm", "-journal")
"""What SQLite opens beside a file, by what their names end with."""
_COLUMNS = "key TEXT PRIMARY KEY, figures TEXT NOT NULL, vectors BLOB NOT NULL"
_TABLE = f"CREATE TABLE figures ({_COLUMNS}) WITHOUT ROWID"
_MOST_BYTES = 16 << 20
"""Of a line. Features of a network take some 20 kB."""
_WRITTEN_AT = 18  # in the header of an SQLite file
_CODE = (
    "images.py",
    "capture.py",
    "faces",
    "frame.py",
    "metrics",
    "reconstruction",
    "evaluation/baselines.py",
    "evaluation/eigenfaces.py",
    "evaluation/examine.py",
    "evaluation/figures.py",
    "evaluation/foreign.py",
    "evaluation/harm.py",
    "evaluation/published_masks.py",
    "evaluation/systems.py",
)
_LIBRARIES = ("numpy", "pillow", "onnxruntime", "scikit-image", "scipy", "dlib-bin")


@dataclass(frozen=True)
class Figures:
    """What was found of one picture.

    Attributes:
        values: figure by measure (see `results.Measurement`).
        vectors: features by measure, for what is measured on many pictures together.
        milliseconds: that the system took for the face; None where that is not known.
    """

    values: Mapping[Measure, float | None]
    vectors: Mapping[Measure, Vectors] = field(default_factory=dict)
    milliseconds: float | None = None


class Store:
    """Figures by what they are of, in one SQLite file; what was put in survives a kill.

    A key holds everything that a figure depends on: the system, the input's bytes, what is measured, and
    the code that measures. Change any, and the figure is taken anew.
    """

    def __init__(self, folder: Path) -> None:
        """Keeps the file in a folder; both are made when the first figure is asked for."""
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
            raise OutputError(f"{path} is a link, or no file; delete it")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            # Every line is one transaction; a lost last one is measured again.
            file = sqlite3.connect(path, isolation_level=None)
            file.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MOST_BYTES)
            file.execute("PRAGMA trusted_schema=OFF")
            # A view or a trigger in place of the table would be a program.
            there = file.execute("SELECT sql FROM sqlite_schema").fetchall()
            if there and there != [(_TABLE,)]:
                raise OutputError(f"{path} is no cache of figures, or another facemend's; delete it")
            file.execute("PRAGMA journal_mode=WAL")
            file.execute("PRAGMA synchronous=NORMAL")
            if not there:
                file.execute(_TABLE.replace("TABLE", "TABLE IF NOT EXISTS", 1))
        except (OSError, sqlite3.Error) as error:
            raise OutputError(f"cannot keep figures in {self._folder}: {error}") from error
        return file

    def get(self, key: str) -> Figures | None:
        """What was put under a key; None if nothing was.

        Raises:
            OutputError: the folder refuses, or holds a file that is no such store.
        """
        select = "SELECT figures, vectors FROM figures WHERE key = ?"
        try:
            line = self._file.execute(select, (key,)).fetchone()
            return None if line is None else _figures_of(*line)
        except (sqlite3.Error, OSError, ValueError, TypeError, KeyError, zipfile.BadZipFile) as error:
            raise OutputError(
                f"the figures in {self._folder / _NAME} cannot be read ({error}); delete it"
            ) from error

    def put(self, key: str, figures: Figures) -> None:
        """Keeps figures under a key.

        Raises:
            OutputError: the disk refuses.
        """
        values = [(*measure, value) for measure, value in figures.values.items()]
        text = json.dumps({"values": values, "milliseconds": figures.milliseconds})
        try:
            self._file.execute(
                "INSERT OR REPLACE INTO figures VALUES (?, ?, ?)", (key, text, _pack(figures.vectors))
            )
        except sqlite3.Error as error:
            raise OutputError(f"cannot keep figures: {error}") from error

    def __reduce__(self) -> tuple[Any, ...]:
        """Travels to other processes and machines as a copy in memory, to be asked alone."""
        with closing(sqlite3.connect(":memory:")) as copy:
            self._file.backup(copy)
            data = copy.serialize()
        # The bytes that say how the file is written to: 2 for a log beside it, which a copy has not.
        return _open_copy, (data[:_WRITTEN_AT] + b"\1\1" + data[_WRITTEN_AT + 2 :],)


def _open_copy(data: bytes) -> "Store":
    copy = Store(Path())
    copy._file = sqlite3.connect(":memory:", check_same_thread=False)
    copy._file.deserialize(data)
    return copy


class Ledger:
    """Figures that are looked up in a store, and new ones that are kept until somebody puts them there.

    Attributes:
        taken: the new ones, by key.
    """

    def __init__(self, known: Store) -> None:
        self._known = known
        self.taken: dict[str, Figures] = {}

    def get(self, key: str) -> Figures | None:
        """What is known under a key; None if nothing is. Raises OutputError as `Store.get` does."""
        return self.taken.get(key) or self._known.get(key)

    def put(self, key: str, figures: Figures) -> None:
        """Keeps new figures."""
        self.taken[key] = figures


def key_of(*parts: str) -> str:
    """The key of figures that depend on these parts, and on the code that takes them."""
    return sha256_of_parts(_code_digest(), *parts)


@cache
def _code_digest() -> str:
    """Over the source of everything between an input and its figures, and its libraries' versions."""
    versions = cv2.__version__, *map(_version, _LIBRARIES)
    digest = hashlib.sha256(" ".join(versions).encode())
    for name in _CODE:
        place = files("facemend").joinpath(name)
        sources = [place] if place.is_file() else sorted(place.iterdir(), key=lambda path: path.name)
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


def _figures_of(text: str, vectors: bytes) -> Figures:
    """Raises ValueError, TypeError or KeyError: this is no line of ours."""
    found = parse_json(text)
    values = {(region, metric): value for region, metric, value in found["values"]}
    numbers = (*values.values(), found["milliseconds"])
    if not values.keys() <= UNITS.keys() or not all(isinstance(n, int | float | None) for n in numbers):
        raise ValueError("a figure is of no measure, or no number")
    return Figures(values, _unpack(vectors), found["milliseconds"])


def _unpack(data: bytes) -> dict[Measure, Vectors]:
    if not data:
        return {}
    arrays = read_arrays(BytesIO(data), _MOST_BYTES)
    found = {(region, metric): arrays[f"{region} {metric}"] for region, metric in map(str.split, arrays)}
    if any(pair.dtype != np.float32 or pair.ndim != 2 or len(pair) != 2 for pair in found.values()):
        raise ValueError("features are two rows of numbers")
    return found


def read_arrays(source: Path | IO[bytes], most_bytes: int) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a file that `numpy.savez` wrote, if they take no more than that.

    Raises:
        OSError, ValueError, zipfile.BadZipFile: it is none, or larger.
    """
    with zipfile.ZipFile(source) as archive:
        # What savez writes is not packed: a bomb is.
        members = archive.infolist()
        if any(one.compress_type != zipfile.ZIP_STORED for one in members):
            raise ValueError("it is packed")
        if sum(one.file_size for one in members) > most_bytes:
            raise ValueError(f"it takes more than {most_bytes >> 20} MiB")
    if not isinstance(source, Path):
        source.seek(0)
    with np.load(source) as arrays:
        return dict(arrays)

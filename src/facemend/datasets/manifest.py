"""The manifest of a dataset: a line of JSON for every pair."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from facemend.datasets.layouts import Files
from facemend.datasets.pairs import Pair
from facemend.files import open_own, parse_json, written_whole

MANIFEST_FILE = "manifest.jsonl"
METADATA_FILE = "metadata.jsonl"
LOG_FILE = f"{MANIFEST_FILE}.part"
"""The rows so far, in the order in which their pairs were made."""

MISSING_FILE = "missing.jsonl"
"""The pairs whose pictures could not be read: file, source and error."""

Row = dict[str, Any]
"""A line of the manifest."""

_FILE = re.compile(r"[0-9]{6,}\.(png|webp)")
_TEXTS = ("file", "source", "kind", "class", "extent", "landmarks")
_MOST_LINE_BYTES = 1 << 20
_SAME_IN_METADATA = ("source", "kind", "class", "extent", "seed", "coverage", "landmarks")


def describe(pair: Pair, name: str, sums: Mapping[str, str]) -> Row:
    """The row of a pair.

    Args:
        name: of its files.
        sums: their sha256, by what they show.
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
    """The row for Hugging Face's imagefolder, where a column has one type from the first line on."""
    paths = files.paths(Path(), row["file"])
    return {
        **{f"{what}_file_name": path.as_posix() for what, path in paths.items()},
        **{key: row[key] for key in _SAME_IN_METADATA},
        "identity": row["identity"] or "",
        "parameters": json.dumps(row["parameters"], ensure_ascii=False),
    }


def to_line(row: Row) -> str:
    """The row as a line of JSON."""
    return json.dumps(row, ensure_ascii=False) + "\n"


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Writes rows whole or not at all, over what was there. Raises OutputError when the disk refuses."""
    with written_whole(path, force=True) as temporary, temporary.open("wb") as file:
        file.writelines(to_line(row).encode() for row in rows)


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a manifest or a log; a line that an interruption tore, or that is none, does not count.

    Raises:
        OSError: the file is not there, or cannot be read.
    """
    with open_own(path) as file:
        while line := file.readline(_MOST_LINE_BYTES):
            with suppress(ValueError):
                row = parse_json(line)
                if _is_row(row):
                    yield row


def _is_row(row: object) -> bool:
    """Whether a value has all that `describe` says, each of its type, and names a file of a dataset."""
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
    """The rows that earlier runs left in a dataset's folder, by file."""
    rows = {}
    for name in (MANIFEST_FILE, LOG_FILE):
        with suppress(FileNotFoundError):
            rows.update({row["file"]: row for row in read_rows(folder / name)})
    return rows

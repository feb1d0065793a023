"""Whose folder is it? A build writes into an empty folder, or into one that it began itself."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from facemend import __version__
from facemend.datasets.encode import PictureFormat
from facemend.datasets.faces import FaceRecord, FaceSource, fingerprint_of
from facemend.datasets.layouts import FOLDERS
from facemend.datasets.manifest import LOG_FILE, MANIFEST_FILE, METADATA_FILE, MISSING_FILE
from facemend.datasets.pairs import Recipe
from facemend.errors import OutputError
from facemend.files import parse_json, read_own, sha256_of, write_text
from facemend.occlusion import KINDS, allowed_kinds
from facemend.occlusion.mask_files import table_of

OPTIONS_FILE = "dataset.json"

_PICTURE = re.compile(r"\d{6,}\.(png|webp)")
_TEMPORARY = re.compile(r"\.(\d{6,}|dataset|manifest|metadata|missing)\.\w+\.(png|webp|jsonl?)")


def options_of(
    source: FaceSource, recipe: Recipe, layout: str, picture_format: PictureFormat
) -> dict[str, Any]:
    """All that decides about a dataset's bytes, in JSON's types."""
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
    """What a pair takes from a record."""
    landmarks_px = record.frame_landmarks_px
    return (
        record.name,
        record.identity,
        None if landmarks_px is None else landmarks_px.tolist(),
        *allowed_kinds(dict.fromkeys(KINDS, 1.0), record.attributes),
    )


def _fingerprint_of_folder(folder: Path) -> str:
    """Over the names and bytes of all that lies in a folder, wherever it is, and of the table beside it."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    parts = [(path.relative_to(folder).as_posix(), sha256_of(path)) for path in paths]
    table = table_of(folder)
    return fingerprint_of(*parts, *([("", sha256_of(table))] if table.is_file() else []))


def claim(folder: Path, options: Mapping[str, Any], *, force: bool) -> None:
    """Makes the folder the dataset's own, or finds that it is.

    Args:
        options: what the dataset is made with.
        force: take the folder all the same, and remove what an earlier build wrote, and nothing else.

    Raises:
        OutputError: it holds something else, and `force` is not set.
    """
    for name in FOLDERS:
        if (folder / name).is_symlink():
            raise OutputError(f"{folder / name} is a link; remove it, or choose another folder")
    path = folder / OPTIONS_FILE
    found = _read_json(path)
    if found == options:
        return
    taken = _taken(folder)
    if taken and not force:
        what = f"{taken} already"
        if isinstance(found, dict):
            changed = [key for key in options if options[key] != found.get(key)]
            what = f"a dataset made with another {' and '.join(changed)}"
        raise OutputError(f"{folder} holds {what}; choose another folder or add --force to start anew")
    for name in (
        MANIFEST_FILE,
        METADATA_FILE,
        LOG_FILE,
        MISSING_FILE,
    ):  # the first says "complete", so it goes first
        (folder / name).unlink(missing_ok=True)
    for old in _files_like(_PICTURE, folder):
        old.unlink()
    write_text(path, json.dumps(options, indent=2, ensure_ascii=False) + "\n", force=True)


def sweep(folder: Path) -> None:
    """Removes the temporary files that a killed build left."""
    for path in _files_like(_TEMPORARY, folder):
        path.unlink()


def _taken(folder: Path) -> str | None:
    """The first name in a folder that a build would use."""
    names = (OPTIONS_FILE, MANIFEST_FILE, METADATA_FILE, *FOLDERS)
    pictures = (path.name for path in _files_like(_PICTURE, folder))
    return next((name for name in names if (folder / name).exists()), next(pictures, None))


def _files_like(pattern: re.Pattern[str], folder: Path) -> Iterator[Path]:
    """The files whose names match, in a folder of whatever layout."""
    for place in (folder, *(folder / name for name in FOLDERS)):
        if place.is_dir():
            yield from [path for path in place.iterdir() if pattern.fullmatch(path.name)]


def _read_json(path: Path) -> object:
    try:
        return parse_json(read_own(path))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise OutputError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError:
        return None

"""Which files are pictures: one rule for folders, archives and URLs, and one walk through a folder."""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path, PurePath, PurePosixPath
from typing import Final

from facemend.io.formats import SUFFIXES

PICTURE_SUFFIXES: Final = SUFFIXES.keys() | {".bmp"}
"""Of the files that `read_photo` reads, in lower case."""
_SYSTEM_FOLDERS: Final = frozenset({"__macosx", "@eadir", "thumbs"})
"""Copies and thumbnails of macOS, Synology and old viewers, in lower case."""


def is_picture(name: PurePath | str) -> bool:
    """Whether a name below a folder is one of a picture, by its suffix and the folders that it lies in.

    Files and folders that begin with a dot, such as the `._1.jpg` of macOS, hold no pictures. The same is
    true of `__MACOSX`, `@eaDir` and `Thumbs`.

    Args:
        name: relative to the folder that somebody named, with `/` between its parts where it is a text.
    """
    path = PurePosixPath(name) if isinstance(name, str) else name
    return path.suffix.lower() in PICTURE_SUFFIXES and not is_hidden(path)


def is_hidden(name: PurePath) -> bool:
    """Whether a part of a relative name begins with a dot, or is a folder of the system's own copies."""
    return any(part.startswith(".") or part.lower() in _SYSTEM_FOLDERS for part in name.parts)


def find_pictures(folder: Path, *, recursive: bool = True, leave_out: Iterable[Path] = ()) -> list[Path]:
    """The pictures of a folder, in order. Each is a regular file or a link to one (see `is_picture`).

    Subfolders that are links are not entered. Those that may not be read are passed over.

    Args:
        recursive: search the subfolders as well.
        leave_out: output folders. One that lies below `folder` is not entered.
    """
    outputs = {place.resolve() for place in leave_out} - {folder.resolve()}
    return sorted(_walk(folder, recursive, outputs))


def is_below(picture: Path, folder: Path, outputs: Iterable[Path]) -> bool:
    """Whether a picture lies in one of the output folders that are below a folder."""
    top = folder.resolve()
    below = (place for place in (each.resolve() for each in outputs) if top in place.parents)
    return any(place in picture.resolve().parents for place in below)


def _walk(top: Path, recursive: bool, outputs: set[Path]) -> Iterator[Path]:
    waiting = [top]  # no recursion: folders may be nested deeper than functions
    while waiting:
        folder = waiting.pop()
        # A path below may also be longer than the system opens.
        passed_over = PermissionError if folder == top else OSError
        with suppress(passed_over), os.scandir(folder) as entries:
            for entry in entries:
                name = PurePath(entry.name)
                path = folder / name
                if is_hidden(name):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    if recursive and not (outputs and path.resolve() in outputs):
                        waiting.append(path)
                elif is_picture(name) and entry.is_file():
                    yield path

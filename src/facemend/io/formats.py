"""The kinds of picture files: how each is known by its bytes and its name, found in folders, and opened."""

import os
import struct
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator, Set
from contextlib import suppress
from enum import StrEnum
from io import BytesIO
from mmap import mmap
from pathlib import Path, PurePath, PurePosixPath
from typing import IO, Final, cast

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)
from PIL import Image as PillowImage

from facemend.errors import UsageError
from facemend.files import real_path
from facemend.io.limits import refuse_costly, refuse_costly_exif

MAX_PIXELS: Final = 200_000_000
"""The largest photo that is read unasked: 600 MB in memory. No camera of today makes a larger one."""


class Format(StrEnum):
    """A kind of photo file, by the name that people call it."""

    PNG = "PNG"
    JPEG = "JPEG"
    WEBP = "WebP"
    TIFF = "TIFF"
    AVIF = "AVIF"
    HEIC = "HEIC"
    BMP = "BMP"


SUFFIXES = {
    ".png": Format.PNG,
    ".jpg": Format.JPEG,
    ".jpeg": Format.JPEG,
    ".jpe": Format.JPEG,
    ".jif": Format.JPEG,
    ".jfif": Format.JPEG,
    ".webp": Format.WEBP,
    ".tif": Format.TIFF,
    ".tiff": Format.TIFF,
    ".avif": Format.AVIF,
    ".heic": Format.HEIC,
    ".heif": Format.HEIC,
    ".hif": Format.HEIC,
}
"""What a file's suffix names, in lower case. BMP is not among them: it cannot say how it was made."""

START_LENGTH = 256
"""So many bytes tell what kind of file they begin."""

HEIC_PACKAGE = "one more package: pip install 'facemend[heic]'"

LOSSLESS = frozenset({Format.PNG, Format.TIFF, Format.BMP})

DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    RuntimeError,
    OverflowError,
    MemoryError,
    AssertionError,
    struct.error,
    zlib.error,
    PillowImage.DecompressionBombError,
)
"""What Pillow's plugins raise on files that are truncated, broken or made to harm."""

_STARTS = (
    (b"\x89PNG\r\n\x1a\n", Format.PNG),
    (b"\xff\xd8\xff", Format.JPEG),
    (b"II*\0", Format.TIFF),
    (b"MM\0*", Format.TIFF),
    (b"II+\0", Format.TIFF),
    (b"MM\0+", Format.TIFF),
    (b"BM", Format.BMP),
)
_EXIF_STARTS = (b"Exif\0\0", b"II", b"MM")
_OPENERS: dict[Format, Callable[[IO[bytes]], PillowImage.Image]] = {
    Format.PNG: PngImagePlugin.PngImageFile,
    Format.JPEG: JpegImagePlugin.jpeg_factory,
    Format.WEBP: WebPImagePlugin.WebPImageFile,
    Format.TIFF: TiffImagePlugin.TiffImageFile,
    Format.AVIF: AvifImagePlugin.AvifImageFile,
    Format.BMP: BmpImagePlugin.BmpImageFile,
}


def format_of(data: bytes) -> Format | None:
    """The kind of file that these bytes begin. None for every other."""
    for start, found in _STARTS:
        if data.startswith(start):
            return found
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return Format.WEBP
    if data[4:8] == b"ftyp":
        return _brand_of(data[8 : min(int.from_bytes(data[:4], "big"), START_LENGTH)])
    return None


def format_named(path: Path) -> Format:
    """The kind of file that a path's suffix names.

    Raises:
        UsageError: none that facemend writes.
    """
    found = SUFFIXES.get(path.suffix.lower())
    if found is None:
        raise UsageError(
            "facemend writes PNG, JPEG, WebP, TIFF, AVIF and HEIC; name the output "
            f"{path.with_suffix('.png')}"
        )
    return found


def open_photo(file: BytesIO | mmap, kind: Format, *, head: bool = False) -> PillowImage.Image:
    """Opens a photo file and reads what stands before its pixels, which are not decoded yet.

    Goes to the one plugin that the first bytes ask for, past Pillow's guard for all of a process:
    whoever decodes has to look at the size first. What costs more than a photo can is refused before.

    Args:
        head: nobody is going to decode the pixels.

    Raises:
        ImportError: HEIC, without the package for it.
        Exception: one of `DAMAGED`.
    """
    refuse_costly(file.getvalue() if isinstance(file, BytesIO) else file, kind, head=head)
    if kind is Format.HEIC:
        from pillow_heif import HeifImageFile

        opener: Callable[[IO[bytes]], PillowImage.Image] = HeifImageFile
    else:
        opener = _OPENERS[kind]
    if kind is Format.AVIF:
        _refuse_avif(file)
    return opener(cast(IO[bytes], file))


def _refuse_avif(file: BytesIO | mmap) -> None:
    """Pillow reads an AVIF's EXIF as it opens the file: it is counted before. Raises one of `DAMAGED`."""
    from PIL import _avif

    data = file.getvalue() if isinstance(file, BytesIO) else file[:]
    for said in _avif.AvifDecoder(data, AvifImagePlugin.DECODE_CODEC_CHOICE, 1).get_info():
        if isinstance(said, bytes) and said.startswith(_EXIF_STARTS):
            refuse_costly_exif(said)


def _brand_of(brands: bytes) -> Format | None:
    """AVIF or HEIC, by the brands (four bytes each, the second is a version) of an ISO media file."""
    found = {brands[at : at + 4] for at in range(0, len(brands), 4)}
    if found & {b"avif", b"avis"}:
        return Format.AVIF
    if found & {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"}:
        return Format.HEIC
    return None


PICTURE_SUFFIXES: Final = SUFFIXES.keys() | {".bmp"}
"""Of the files that `read_photo` reads, in lower case."""
CLIP_SUFFIXES: Final = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".webm"}
    | {".avi", ".mts", ".m2ts", ".ts", ".mpg", ".mpeg", ".3gp", ".wmv", ".flv"}
)
"""Of clips (`facemend.video`), in lower case."""
_SYSTEM_FOLDERS: Final = frozenset(
    {"__macosx", "@eadir", "thumbs"}
    | {"#recycle", "@recycle", "$recycle.bin", "#snapshot", "system volume information", "lost+found"}
)
"""Copies and thumbnails of macOS, Synology and old viewers, and what was deleted, in lower case."""


def is_picture(name: PurePath | str) -> bool:
    """Whether a name below a folder is one of a picture, by its suffix and the folders that it lies in.

    Files and folders that begin with a dot, such as the `._1.jpg` of macOS, hold no pictures. The same is
    true of `__MACOSX`, `@eaDir`, `Thumbs` and the bins of Windows, Synology and QNAP.

    Args:
        name: relative to the folder that somebody named, with `/` between its parts where it is a text.
    """
    path = PurePosixPath(name) if isinstance(name, str) else name
    return path.suffix.lower() in PICTURE_SUFFIXES and not is_hidden(path)


def is_clip(path: PurePath) -> bool:
    """Whether a file's suffix is one of a clip."""
    return path.suffix.lower() in CLIP_SUFFIXES


def is_hidden(name: PurePath) -> bool:
    """Whether a part of a relative name begins with a dot, or is a folder of the system's own copies."""
    return any(part.startswith(".") or part.lower() in _SYSTEM_FOLDERS for part in name.parts)


def find_pictures(folder: Path, *, recursive: bool = True, leave_out: Iterable[Path] = ()) -> list[Path]:
    """The pictures of a folder, in order. Each is a regular file or a link to one (see `is_picture`).

    Subfolders that are links are not entered. Those that may not be read are passed over. Links that lead
    nowhere are passed over with a warning.

    Args:
        recursive: search the subfolders as well.
        leave_out: output folders. One that lies below `folder` is not entered.
    """
    outputs = {_identity(place) for place in leave_out} - {_identity(folder), None}
    lost: list[Path] = []
    found = sorted(_walk(folder, is_picture, recursive, outputs, lost))
    if lost:
        more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
        warnings.warn(f"left out, since the link leads nowhere: {min(lost)}{more}", stacklevel=2)
    return found


def find_files(folder: Path, is_meant: Callable[[PurePath], bool], *, recursive: bool) -> list[Path]:
    """The files of a folder whose names are meant, as `find_pictures` finds pictures."""
    return sorted(_walk(folder, is_meant, recursive, set(), []))


def _identity(place: Path) -> tuple[int, int] | None:
    """What tells a file or folder from all others, by the system. None if it is not there."""
    try:
        found = place.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def is_below(picture: Path, folder: Path, outputs: Iterable[Path]) -> bool:
    """Whether a picture lies in one of the output folders that are below a folder."""
    top = real_path(folder)
    below = (place for place in (real_path(each) for each in outputs) if top in place.parents)
    return any(place in real_path(picture).parents for place in below)


def _walk(
    top: Path,
    is_meant: Callable[[PurePath], bool],
    recursive: bool,
    outputs: Set[tuple[int, int] | None],
    lost: list[Path],
) -> Iterator[Path]:
    """The files that are meant. Links that lead nowhere are put into `lost`."""
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
                    if recursive and not (outputs and _identity(path) in outputs):
                        waiting.append(path)
                elif is_meant(name) and entry.is_file():
                    yield path
                elif is_meant(name) and entry.is_symlink() and not path.exists():
                    lost.append(path)

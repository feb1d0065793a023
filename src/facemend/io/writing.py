"""Photos into files: the same kind of file as the source, or the kind that is asked for."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facemend.errors import OutputError, UsageError, reason_of
from facemend.files import written_whole
from facemend.io import jpeg, lossy, png, tiff
from facemend.io.formats import DAMAGED, HEIC_PACKAGE, Format, format_named
from facemend.io.photos import Metadata, Photo
from facemend.io.tiff import without_previews
from facemend.io.xmp import Note, XmpError, with_properties, without_thumbnails

_ENCODERS = {
    Format.PNG: png.encode,
    Format.JPEG: jpeg.encode,
    Format.WEBP: lossy.encode,
    Format.TIFF: tiff.encode,
    Format.AVIF: lossy.encode_avif,
    Format.HEIC: lossy.encode_heic,
}
_ICC_SPACE = slice(16, 20)
"""Where a profile names the colour space of the pixels (ICC.1:2022, 7.2.8)."""


def write_png(
    path: Path,
    picture: npt.NDArray[np.uint8],
    *,
    text: Mapping[str, str] | None = None,
    force: bool = False,
    most_mode: int = 0o777,
) -> None:
    """Writes (H, W, 3) RGB or (H, W) gray uint8 as PNG, whole or not at all.

    Args:
        text: keys and values for the file's iTXt chunks.
        most_mode: see `written_whole`.

    Raises:
        OutputError: the file exists and `force` is not set, or the disk refuses.
    """
    with written_whole(path, force=force, most_mode=most_mode) as temporary:
        temporary.write_bytes(png.encode_png(picture, text=text))


def encode_photo(
    photo: Photo, kind: Format | None = None, *, note: Note | None = None, strip: bool = False
) -> bytes:
    """The bytes of a file of the photo.

    A photo with the pixels of its file, in the format of its file and not stripped, is that file. It is
    the same byte for byte and without the note, because nothing in it was generated. Any other file of the
    same format keeps the source's orientation, opacity, colour profile, EXIF, XMP, IPTC, texts and
    resolution. It keeps the compression as far as Pillow can write it. A file of another format keeps what
    that can hold.

    Args:
        kind: the format. None for the source's.
        note: what the file says about its making, in XMP and in PNG's texts.
        strip: leave out EXIF with its place, XMP, IPTC and comments. The pixels are encoded anew, upright.

    Raises:
        OutputError: the photo has layers (see `Photo.without_layers`), the format cannot hold it, its XMP
            cannot be read and so not be kept, or the package for HEIC is missing.
        UsageError: a format that facemend does not write.
    """
    kind = kind or photo.format
    source = photo.own_source(kind)
    if source is not None and not (photo.changed or photo.stripped or strip):
        return source
    _refuse(photo, kind)
    if strip:
        photo = photo.without_metadata()
    photo = replace(photo, metadata=_without_old_pixels(photo.metadata))
    try:
        xmp = with_properties(photo.metadata.xmp, note.properties()) if note else photo.metadata.xmp
        data = _ENCODERS[kind](photo, xmp)
    except XmpError as error:
        raise OutputError(
            f"{photo.name} has XMP metadata that cannot be kept ({error}); strip=True leaves its metadata "
            "out"
        ) from error
    except ImportError as error:
        raise OutputError(f"writing HEIC needs {HEIC_PACKAGE}") from error
    except DAMAGED as error:
        raise OutputError(f"{photo.name} cannot be written as {kind}: {reason_of(error)}") from error
    return png.with_texts(data, note.texts()) if note and kind is Format.PNG else data


def _without_old_pixels(metadata: Metadata) -> Metadata:
    """What a file says, without thumbnails. XMP that cannot be read stays."""
    xmp = metadata.xmp
    with suppress(XmpError):
        xmp = without_thumbnails(xmp) if xmp else xmp
    return replace(metadata, xmp=xmp, exif=without_previews(metadata.exif) if metadata.exif else None)


def _refuse(photo: Photo, kind: Format) -> None:
    if photo.layered:
        raise OutputError(
            f"{photo.name} holds more than its picture (a gain map, depth, a video, layers, or data behind "
            "its end), which would not fit the changed one; primary_only=True writes the picture alone"
        )
    if kind not in _ENCODERS:
        raise UsageError(f"facemend does not write {kind}; use PNG")
    transparent = photo.opacity is not None and bool((photo.opacity < 255).any())
    if transparent and kind is Format.JPEG:
        raise OutputError(f"{photo.name} has transparent pixels, which no JPEG can hold; write PNG or WebP")
    profile = photo.metadata.icc or b""
    # WebP knows no gray, AVIF and HEIC none with opacity: Pillow makes colours of it.
    coloured = kind is Format.WEBP or (kind in (Format.AVIF, Format.HEIC) and photo.opacity is not None)
    if photo.gray and coloured and profile[_ICC_SPACE] == b"GRAY":
        raise OutputError(
            f"{photo.name} has a colour profile for gray, which no {kind} can hold; write PNG"
        )


def write_photo(
    path: Path, photo: Photo, *, note: Note | None = None, strip: bool = False, force: bool = False
) -> None:
    """Writes a photo in the format that the path's suffix names, whole or not at all, and no less private
    than the file that it came from.

    Args:
        note, strip: see `encode_photo`.

    Raises:
        OutputError: as `encode_photo` does, or the file exists and `force` is not set, or the disk refuses.
        UsageError: the suffix names no format that facemend writes.
    """
    data = encode_photo(photo, format_named(path), note=note, strip=strip)
    with written_whole(path, force=force, most_mode=photo.file_mode) as temporary:
        temporary.write_bytes(data)

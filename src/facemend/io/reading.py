"""Pictures out of files: photos, masks, faces of datasets and cut-outs are all read here.

Every picture is read as a viewer shows it: its orientation is applied, and a palette becomes its colours.
A file holds one picture of 8 bits a channel. Everything else is refused with the reason.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image as PillowImage
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile

from facemend.errors import PictureError, reason_of
from facemend.files import open_named
from facemend.images import Image, Mask
from facemend.io import jpeg, lossy, png, tiff
from facemend.io.formats import DAMAGED, HEIC_PACKAGE, MAX_PIXELS, Format, format_of, open_photo
from facemend.io.limits import MOST_BYTES, MOST_METADATA_BYTES, CostlyFile, refuse_costly_exif
from facemend.io.photos import Metadata, Opacity, Photo, turned
from facemend.io.xmp import packet_of

_MODES = frozenset({"RGB", "RGBA", "L", "LA", "P", "1"})
_GRAY_MODES = frozenset({"L", "LA", "1"})
_OPAQUE, _MIDDLE = 255, 128
_SIDEWAYS = 5
"""Orientations from this one on lie on their side in the file."""
_NO_FILE = 0o777
_LAST_ROWS_PX = 16
"""What a JPEG is coded in at a time."""
_ORIENTATION, _X_RESOLUTION = 274, 282


def read_photo(
    source: Path | IO[bytes] | bytes, *, name: str | None = None, max_pixels: int = MAX_PIXELS
) -> Photo:
    """Reads PNG, JPEG, WebP, TIFF, AVIF, HEIC and BMP, by what the file holds and not by its name.

    Of a JPEG with further layers (MPO, Ultra HDR) the primary picture is read (see `Photo.layered`). A
    palette and 1-bit pictures are read as the colours and the grays that they show.

    Args:
        source: a path, an open binary file, or a file's bytes.
        name: what an error calls it (default: the path, or the open file's name).
        max_pixels: the largest photo that is decoded.

    Raises:
        PictureError: no such file, not a photo, damaged, too large, or of a kind that would lose
            something: more than 8 bits a channel, CMYK and other colour spaces, premultiplied opacity,
            animations, pages.
    """
    name = name or _name_of(source)
    data, mode = _bytes_of(source, name)
    with _opened(data, name, max_pixels) as (picture, kind):
        return replace(_photo_of(picture, data, kind, name), file_mode=mode)


def read_image(source: Path | IO[bytes] | bytes, *, name: str | None = None) -> Image:
    """Reads a picture as (H, W, 3) uint8 RGB, upright, in a format of `read_photo`.

    Args:
        source, name: as `read_photo` takes them. An open file is read from its beginning.

    Raises:
        PictureError: as `read_photo` does, or a pixel is transparent, which RGB would lose.
    """
    return read_opaque(source, name=name).pixels


def read_opaque(source: Path | IO[bytes] | bytes, *, name: str | None = None) -> Photo:
    """Reads a photo of which no pixel is transparent. Arguments and errors as `read_image`."""
    if not isinstance(source, Path | bytes):
        source.seek(0)
    photo = read_photo(source, name=name)
    if photo.opacity is not None and (photo.opacity < _OPAQUE).any():
        raise PictureError(f"{photo.name} has transparent pixels; save it without transparency first")
    return photo


def read_mask(
    source: Path | IO[bytes] | bytes, *, name: str | None = None, max_pixels: int = MAX_PIXELS
) -> Mask:
    """Reads a mask as bool (H, W), upright. True marks pixels for reconstruction.

    White marks a pixel: the mean of its channels is 128 or more. Where the brightest level of the file is
    1, as in a mask of the values 0 and 1, that level marks it. A pixel that is more transparent than
    opaque is not marked.

    Args:
        source, name, max_pixels: as `read_photo` takes them.

    Raises:
        PictureError: as `read_photo` does.
    """
    photo = read_photo(source, name=name, max_pixels=max_pixels)
    white = 1 if photo.pixels.max() == 1 else _MIDDLE
    marked: Mask = photo.pixels.mean(axis=2) >= white
    return marked if photo.opacity is None else marked & (photo.opacity >= _MIDDLE)


def read_cutout(source: Path) -> PillowImage.Image:
    """Reads a picture with opacity as Pillow's RGBA, upright.

    Raises:
        PictureError: as `read_photo` does, or it has no opacity.
    """
    photo = read_photo(source)
    if photo.opacity is None:
        raise PictureError(f"{photo.name} has no transparency; cut its object out and save it as RGBA")
    return PillowImage.fromarray(np.dstack([photo.pixels, photo.opacity]))


def picture_size(source: Path) -> tuple[int, int]:
    """Width and height of a picture as it is displayed. No pixel is decoded.

    Raises:
        PictureError: as `read_photo` does.
    """
    name = str(source)
    with _opened(_bytes_of(source, name)[0], name, MAX_PIXELS) as (picture, kind):
        width_px, height_px = picture.size
        # Pillow gives the size of a TIFF as it is displayed.
        turns = kind is not Format.TIFF and _orientation_of(_metadata_of(picture, kind).exif) >= _SIDEWAYS
        return (height_px, width_px) if turns else (width_px, height_px)


@contextmanager
def _opened(data: bytes, name: str, max_pixels: int) -> Iterator[tuple[PillowImage.Image, Format]]:
    """A picture that is not decoded yet and is not refused. What Pillow raises becomes a PictureError."""
    kind = format_of(data)
    if kind is None:
        raise PictureError(
            f"{name} is not a picture that can be read; use PNG, JPEG, WebP, TIFF, AVIF, HEIC or BMP"
        )
    try:
        with open_photo(BytesIO(jpeg.completed(data) if kind is Format.JPEG else data), kind) as picture:
            _refuse_size(picture, name, max_pixels)
            _refuse_kind(picture, data, kind, name)
            yield picture, kind
    except ImportError as error:
        raise PictureError(f"{name} is HEIC, which needs {HEIC_PACKAGE}") from error
    except DAMAGED as error:
        raise PictureError(f"{name} cannot be read as a picture: {reason_of(error)}") from error


def photo_of_pillow(picture: PillowImage.Image, *, name: str = "the picture") -> Photo:
    """A Pillow picture as a photo that comes from no file: its pixels as they lie in memory, whatever its
    EXIF says, with opacity, gray and colour profile.

    Raises:
        PictureError: it has more than 8 bits a channel, or another colour space.
    """
    _refuse_mode(picture, name)
    pixels, opacity = _channels_of(picture)
    metadata = Metadata(icc=picture.info.get("icc_profile") or None)
    return Photo(pixels, opacity, picture.mode in _GRAY_MODES, metadata=metadata, name=name)


def _photo_of(picture: PillowImage.Image, data: bytes, kind: Format, name: str) -> Photo:
    metadata = _metadata_of(picture, kind)
    orientation = _orientation_of(metadata.exif)
    gray = picture.mode in _GRAY_MODES
    picture.load()
    if kind is Format.JPEG and jpeg.completed(data) is not data:
        _refuse_missing_rows(picture)
    # Pillow turns a TIFF upright itself.
    upright = picture if kind is Format.TIFF else turned(picture, orientation)
    pixels, opacity = _channels_of(upright)
    layered = _is_layered(picture, data, kind)
    return Photo(pixels, opacity, gray, kind, orientation, metadata, data, name, layered=layered)


def _is_layered(picture: PillowImage.Image, data: bytes, kind: Format) -> bool:
    match kind:
        case Format.JPEG:
            return jpeg.is_layered(data)
        case Format.PNG:
            return png.is_layered(data)
        case Format.WEBP | Format.AVIF | Format.HEIC:
            return lossy.is_layered(data, kind)
        case Format.TIFF:
            return isinstance(picture, TiffImageFile) and tiff.has_layers(picture)
    return False


def _channels_of(picture: PillowImage.Image) -> tuple[Image, Opacity | None]:
    if not picture.has_transparency_data:
        rgb = picture if picture.mode == "RGB" else picture.convert("RGB")
        return np.asarray(rgb, dtype=np.uint8), None
    both = np.asarray(picture.convert("RGBA"), dtype=np.uint8)
    return np.ascontiguousarray(both[..., :3]), np.ascontiguousarray(both[..., 3])


def _metadata_of(picture: PillowImage.Image, kind: Format) -> Metadata:
    """What a picture says before its pixels are decoded."""
    info = picture.info
    exif = tiff.exif_of(picture) if kind is Format.TIFF else info.get("exif")
    icc = info.get("icc_profile") or None
    if isinstance(icc, bytes) and len(icc) > MOST_METADATA_BYTES:
        raise CostlyFile(f"its colour profile takes more than {MOST_METADATA_BYTES >> 20} MiB")
    return Metadata(
        icc=icc,
        exif=exif.removeprefix(b"Exif\0\0") or None if isinstance(exif, bytes) else None,
        xmp=packet_of(xmp) if isinstance(xmp := info.get("xmp"), bytes) else None,
        dpi=_dpi_of(picture),
    )


def _dpi_of(picture: PillowImage.Image) -> tuple[float, float] | None:
    """The resolution that a file names. Pillow makes one up for a TIFF and a JPEG that name none."""
    if isinstance(picture, TiffImageFile) and _X_RESOLUTION not in picture.tag_v2:
        return None
    if isinstance(picture, JpegImageFile) and not picture.info.get("jfif_unit"):
        return None
    dpi = picture.info.get("dpi")
    return (float(dpi[0]), float(dpi[1])) if dpi and min(dpi) > 0 else None


def _orientation_of(exif: bytes | None) -> int:
    if exif is None:
        return 1
    refuse_costly_exif(exif)
    block = PillowImage.Exif()
    try:
        block.load(exif)
    except DAMAGED:  # it is carried over all the same, and no viewer turns the picture by it
        return 1
    orientation = block.get(_ORIENTATION)
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def _refuse_size(picture: PillowImage.Image, name: str, max_pixels: int) -> None:
    width_px, height_px = picture.size
    if width_px * height_px > max_pixels:
        raise PictureError(
            f"{name} is {width_px}×{height_px}, more than {max_pixels:,} pixels; make it smaller first"
        )


def _refuse_missing_rows(picture: PillowImage.Image) -> None:
    """Raises OSError: a JPEG was cut before its last rows.

    A decoder fills what is missing with one colour.
    """
    width_px, height_px = picture.size
    low = height_px - _LAST_ROWS_PX
    # Colours of half the height are smoothed over the edge of what is there.
    if low > _LAST_ROWS_PX and picture.crop((0, low - _LAST_ROWS_PX // 2, width_px, low)).getcolors(1):
        raise OSError("its lower part is missing")


def _refuse_kind(picture: PillowImage.Image, data: bytes, kind: Format, name: str) -> None:
    # Of a JPEG, the first is the photo, and `Photo.layered` tells of the others.
    if int(getattr(picture, "n_frames", 1)) > 1 and kind is not Format.JPEG:
        raise PictureError(
            f"{name} holds more than one picture (animation, pages, or a phone's extra layers); save the "
            "one that you mean as a file of its own first"
        )
    if (bits := _bits_a_channel(picture, data, kind)) > 8:
        raise PictureError(f"{name} has {bits} bits a channel; convert it to 8 first")
    _refuse_mode(picture, name)
    if isinstance(picture, TiffImageFile) and tiff.is_premultiplied(picture):
        raise PictureError(f"{name} has premultiplied opacity; save it with straight opacity first")


def _refuse_mode(picture: PillowImage.Image, name: str) -> None:
    if picture.mode not in _MODES:
        raise PictureError(
            f"{name} has the colour mode {picture.mode}; convert it to 8-bit RGB or grayscale first"
        )


def _bits_a_channel(picture: PillowImage.Image, data: bytes, kind: Format) -> int:
    """Before Pillow turned them into 8, which it does silently."""
    if isinstance(picture, TiffImageFile):
        return tiff.bits_a_channel(picture)
    match kind:
        case Format.PNG:
            return png.bits_a_channel(data)
        case Format.AVIF:
            return lossy.bits_a_channel(data)
        case Format.HEIC:
            return int(picture.info["bit_depth"])
    return 8


def _name_of(source: Path | IO[bytes] | bytes) -> str:
    return str(source) if isinstance(source, Path) else str(getattr(source, "name", "the picture"))


def _bytes_of(source: Path | IO[bytes] | bytes, name: str) -> tuple[bytes, int]:
    """A file's bytes and its permissions; those that any new file has where it is no file."""
    try:
        if isinstance(source, bytes):
            return source, _NO_FILE
        if isinstance(source, Path):
            with open_named(source) as file:
                return _bounded(file, name), _mode_of(file)
        return _bounded(source, name), _mode_of(source)
    except FileNotFoundError as error:
        raise PictureError(f"{name} does not exist") from error
    except OSError as error:
        raise PictureError(f"{name} cannot be read: {reason_of(error)}") from error


def _bounded(file: IO[bytes], name: str) -> bytes:
    data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise PictureError(f"{name} has more than {MOST_BYTES >> 20} MiB, more than any photo")
    return data


def _mode_of(file: IO[bytes]) -> int:
    try:
        found = os.fstat(file.fileno()).st_mode
    except (AttributeError, OSError):  # in memory
        return _NO_FILE
    return stat.S_IMODE(found) & _NO_FILE if stat.S_ISREG(found) else _NO_FILE

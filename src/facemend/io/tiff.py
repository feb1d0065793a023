"""TIFF: the tags that do not tell how the pixels lie are carried over, and the compression with them.

A TIFF's own tags are what other formats carry as EXIF, so that both go the same way here.
Adobe, "TIFF Revision 6.0", 1992.
"""

from collections.abc import Iterator
from io import BytesIO
from itertools import accumulate
from typing import Any

from PIL import ExifTags
from PIL import Image as PillowImage
from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile

from facemend.io.formats import Format
from facemend.io.photos import Metadata, Photo

_HEADER = b"II*\0\x08\0\0\0"
_BYTE, _SHORT, _LONG, _RATIONAL, _UNDEFINED = 1, 3, 4, 5, 7
_BITS, _STRIP_OFFSETS, _STRIP_LENGTHS, _EXTRA_SAMPLES = 258, 273, 279, 338
_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT, _INCH = 282, 283, 296, 2
_PREDICTOR, _XMP, _ICC = 317, 700, 34675
_DIRECTORIES = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)
_LAYOUT = frozenset(
    {
        *range(254, 260),
        *range(262, 267),
        273,
        *range(277, 282),
        284,
        *range(288, 294),
        301,
        *range(317, 326),
    }
    | {330, *range(332, 343), 347, *range(512, 522), *range(529, 533)}
)
"""Tags on how the pixels lie in the file, on palettes and on inks: the encoder sets its own."""
_COMPRESSIONS = frozenset(
    {"raw", "packbits", "tiff_lzw", "tiff_deflate", "tiff_adobe_deflate", "zstd", "jpeg"}
)
_DEFAULT_COMPRESSION = "tiff_lzw"
_PREDICTED = frozenset({"tiff_lzw", "tiff_deflate", "tiff_adobe_deflate", "zstd"})
_JPEG_QUALITY = 95


def encode(photo: Photo, xmp: bytes | None) -> bytes:
    """A TIFF file of the photo, with this XMP packet. Raises one of `formats.DAMAGED`."""
    file = BytesIO()
    photo.to_stored().save(file, "TIFF", **_settings(photo.own_source(Format.TIFF)))
    data = file.getvalue()
    with TiffImageFile(BytesIO(data)) as bare:
        directory = bare.tag_v2
    strips = zip(directory[_STRIP_OFFSETS], directory[_STRIP_LENGTHS], strict=True)
    pixels = [data[start : start + length] for start, length in strips]
    made = ImageFileDirectory_v2(_HEADER)
    for tag in directory:
        _set(made, tag, directory[tag], directory.tagtype[tag])
    # Counted from the end of the directory, behind which they are put.
    _set(made, _STRIP_OFFSETS, tuple(accumulate(map(len, pixels[:-1]), initial=0)), _LONG)
    _add_metadata(made, photo.metadata, xmp)
    return _HEADER + made.tobytes(len(_HEADER)) + b"".join(pixels)


def exif_of(picture: PillowImage.Image) -> bytes | None:
    """A TIFF's tags as a block of EXIF. None if it has none. Raises one of `formats.DAMAGED`."""
    exif = PillowImage.Exif()
    for tag, value in _carried(picture.getexif()):
        exif[tag] = value
    return exif.tobytes().removeprefix(b"Exif\0\0") if exif else None


def bits_a_channel(picture: TiffImageFile) -> int:
    """The largest bit depth of a TIFF's channels."""
    bits: tuple[int, ...] = picture.tag_v2.get(_BITS, (1,))
    return max(bits)


def is_premultiplied(picture: TiffImageFile) -> bool:
    """Whether a TIFF's colours are multiplied by their opacity: they cannot be had back exactly."""
    return 1 in picture.tag_v2.get(_EXTRA_SAMPLES, ())


def _settings(source: bytes | None) -> dict[str, Any]:
    """How Pillow is to encode: as the source is, if that is a TIFF."""
    if source is None:
        return {"compression": _DEFAULT_COMPRESSION}
    with TiffImageFile(BytesIO(source)) as picture:
        compression, predictor = picture.info.get("compression"), picture.tag_v2.get(_PREDICTOR)
    if compression not in _COMPRESSIONS:  # for black and white alone, or not written by Pillow
        compression = _DEFAULT_COMPRESSION
    settings: dict[str, Any] = {"compression": compression}
    if compression == "jpeg":
        settings["quality"] = _JPEG_QUALITY
    if compression in _PREDICTED and predictor:
        settings["tiffinfo"] = {_PREDICTOR: predictor}
    return settings


def _carried(exif: PillowImage.Exif) -> Iterator[tuple[int, Any]]:
    """Tags and values, directories as dictionaries."""
    for tag, value in exif.items():
        if tag in _DIRECTORIES:
            values = dict(exif.get_ifd(tag))
            if ExifTags.IFD.Interop in values:
                values[ExifTags.IFD.Interop] = dict(exif.get_ifd(ExifTags.IFD.Interop))
            yield tag, values
        elif tag not in _LAYOUT and tag not in (_XMP, _ICC):
            yield tag, value


def _add_metadata(made: ImageFileDirectory_v2, metadata: Metadata, xmp: bytes | None) -> None:
    if metadata.dpi:
        _set(made, _X_RESOLUTION, metadata.dpi[0], _RATIONAL)
        _set(made, _Y_RESOLUTION, metadata.dpi[1], _RATIONAL)
        _set(made, _RESOLUTION_UNIT, _INCH, _SHORT)
    if metadata.exif:
        exif = PillowImage.Exif()
        exif.load(metadata.exif)
        for tag, value in _carried(exif):
            made[tag] = value
    if metadata.icc:
        _set(made, _ICC, metadata.icc, _UNDEFINED)
    if xmp:
        _set(made, _XMP, xmp, _BYTE)


def _set(made: ImageFileDirectory_v2, tag: int, value: Any, kind: int) -> None:
    made.tagtype[tag] = kind
    made[tag] = value

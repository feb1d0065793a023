"""WebP, AVIF and HEIC files."""

from collections.abc import Iterator
from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage

from facemend.io.formats import LOSSLESS, Format
from facemend.io.limits import PADDING, boxes
from facemend.io.photos import Photo
from facemend.io.tiff import loaded_exif

_QUALITY = 95
_BOXES = frozenset({b"ftyp", b"meta", b"mdat", b"free", b"skip", b"wide", b"uuid"})
"""Boxes of a file with one picture. Others hold a video, or what a phone adds."""
_OPACITY = frozenset(
    {
        b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha",
        b"urn:mpeg:hevc:2015:auxid:1",
        b"urn:mpeg:avc:2015:auxid:1",
    }
)
"""Names of the one layer that is read: opacity."""


def encode(photo: Photo, xmp: bytes | None) -> bytes:
    """A WebP file of the photo, with this XMP packet. Raises one of `formats.DAMAGED`."""
    source = photo.own_source(Format.WEBP)
    file = BytesIO()
    photo.to_stored().save(
        file,
        "WEBP",
        lossless=photo.format in LOSSLESS if source is None else _is_lossless(source),
        quality=_QUALITY,
        exact=True,  # and so the colours of transparent pixels
        icc_profile=photo.metadata.icc,
        exif=photo.metadata.exif or b"",
        xmp=xmp or b"",
    )
    return file.getvalue()


def encode_webp(picture: npt.NDArray[np.uint8], **settings: int) -> bytes:
    """A WebP file of a uint8 picture, (H, W, 3) RGB or (H, W) gray, which becomes RGB.

    Args:
        settings: Pillow's, such as `quality` (0-100) and `lossless`.
    """
    file = BytesIO()
    PillowImage.fromarray(picture).save(file, "WEBP", **settings)
    return file.getvalue()


def is_layered(data: bytes, kind: Format) -> bool:
    """Whether a WebP, an AVIF or a HEIC holds more than its picture: a gain map, depth, a video, anything
    behind its end.

    The layers of AVIF and HEIC are named by a URN, but for the newest gain maps (ISO 21496-1), which are
    derived pictures. ISO/IEC 23008-12, 2022, 6.5.8; MPEG-C part 3.
    """
    if kind is Format.WEBP:
        end = 8 + int.from_bytes(data[4:8], "little")
        return bool(data[end + end % 2 :].strip(PADDING))
    end, meta = 0, b""
    for start, stop in boxes(data):
        name = data[start + 4 : start + 8]
        if name not in _BOXES:
            return bool(data[start:].strip(PADDING))
        if name == b"meta":
            meta = data[start:stop]
        end = stop
    parts = meta.split(b"auxC")
    named = {part[4 : part.find(b"\0", 4)] for part in parts[1:]}
    return bool(named - _OPACITY) or b"\0\0tmap" in meta or bool(data[end:].strip(PADDING))


def _is_lossless(data: bytes) -> bool:
    return b"VP8L" in _chunk_types(data)


def _chunk_types(data: bytes) -> Iterator[bytes]:
    at = 12
    while at + 8 <= len(data):
        yield data[at : at + 4]
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + length + length % 2


_HIGH_BITDEPTH, _TWELVE_BIT = 0x40, 0x20
_SUBSAMPLING = {0b00: "4:4:4", 0b10: "4:2:2", 0b11: "4:2:0"}


def encode_avif(photo: Photo, xmp: bytes | None) -> bytes:
    """An AVIF file of the photo, with this XMP packet. Raises one of `formats.DAMAGED`."""
    source = photo.own_source(Format.AVIF)
    fine = "4:4:4" if source is None else _SUBSAMPLING.get(_configuration(source) >> 2 & 0b11, "4:4:4")
    file = BytesIO()
    photo.to_stored().save(
        file,
        "AVIF",
        quality=_QUALITY,
        subsampling="4:0:0" if photo.gray and photo.opacity is None else fine,
        icc_profile=photo.metadata.icc,
        # Pillow reads the orientation out of it, and HEIC's and WebP's writers do not.
        exif=photo.metadata.exif if loaded_exif(photo.metadata.exif) else b"",
        xmp=xmp or b"",
    )
    return file.getvalue()


def bits_a_channel(data: bytes) -> int:
    """The bit depth of the first picture in an AVIF."""
    configuration = _configuration(data)
    if not configuration & _HIGH_BITDEPTH:
        return 8
    return 12 if configuration & _TWELVE_BIT else 10


def _configuration(data: bytes) -> int:
    """The byte of flags in the AV1 configuration (AV1-ISOBMFF 1.2.0, 2.3.3); 0 where there is none."""
    at = data.find(b"av1C")
    return data[at + 6] if 0 <= at < len(data) - 6 else 0


def encode_heic(photo: Photo, xmp: bytes | None) -> bytes:
    """A HEIC file of the photo, with this XMP packet.

    Raises:
        ImportError: pillow-heif is missing.
        Exception: one of `formats.DAMAGED`.
    """
    import pillow_heif

    file = BytesIO()
    pillow_heif.from_pillow(photo.to_stored()).save(
        file,
        quality=_QUALITY,
        chroma=444,
        icc_profile=photo.metadata.icc,
        exif=photo.metadata.exif,
        xmp=xmp,
    )
    return file.getvalue()

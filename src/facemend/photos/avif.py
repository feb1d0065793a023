"""AVIF: written at a high quality, since no file tells its own, and with the colour resolution it had."""

from io import BytesIO

from facemend.photos.formats import Format
from facemend.photos.photo import Photo

_QUALITY = 95
_HIGH_BITDEPTH, _TWELVE_BIT = 0x40, 0x20
_SUBSAMPLING = {0b00: "4:4:4", 0b10: "4:2:2", 0b11: "4:2:0"}


def encode(photo: Photo, xmp: bytes | None) -> bytes:
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
        exif=photo.metadata.exif or b"",
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

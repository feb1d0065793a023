"""WebP: lossless stays lossless; lossy is written at a high quality, since no file tells its own."""

from collections.abc import Iterator
from io import BytesIO

from facemend.photos.formats import LOSSLESS, Format
from facemend.photos.photo import Photo

_QUALITY = 95


def encode(photo: Photo, xmp: bytes | None) -> bytes:
    """A WebP file of the photo, with this XMP packet. Raises one of `formats.DAMAGED`."""
    source = photo.own_source(Format.WEBP)
    file = BytesIO()
    photo.to_stored().save(
        file,
        "WEBP",
        lossless=photo.format in LOSSLESS if source is None else _is_lossless(source),
        quality=_QUALITY,
        exact=True,  # the colours of transparent pixels, too
        icc_profile=photo.metadata.icc,
        exif=photo.metadata.exif or b"",
        xmp=xmp or b"",
    )
    return file.getvalue()


def _is_lossless(data: bytes) -> bool:
    return b"VP8L" in _chunk_types(data)


def _chunk_types(data: bytes) -> Iterator[bytes]:
    at = 12
    while at + 8 <= len(data):
        yield data[at : at + 4]
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + length + length % 2

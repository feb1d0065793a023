"""HEIC, through the package pillow-heif, which gives and takes its pixels upright."""

from io import BytesIO

from facemend.errors import OutputError
from facemend.photos.photo import Photo

_QUALITY = 95


def encode(photo: Photo, xmp: bytes | None) -> bytes:
    """A HEIC file of the photo, with this XMP packet.

    Raises:
        OutputError: pillow-heif is missing.
        Exception: one of `formats.DAMAGED`.
    """
    try:
        import pillow_heif
    except ImportError as error:
        raise OutputError("HEIC needs one more package: pip install 'facemend[heic]'") from error
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

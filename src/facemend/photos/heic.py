"""HEIC, through the package pillow-heif, which gives and takes its pixels upright."""

from io import BytesIO

from facemend.photos.photo import Photo

_QUALITY = 95


def encode(photo: Photo, xmp: bytes | None) -> bytes:
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

"""Photo files, read with everything that they hold beside pixels, and written as the same kind of file."""

from facemend.io.formats import (
    MAX_PIXELS,
    START_LENGTH,
    SUFFIXES,
    Format,
    find_pictures,
    format_named,
    format_of,
    is_below,
    is_clip,
    is_hidden,
    is_picture,
)
from facemend.io.photos import Metadata, Photo, photo_of_array, photo_of_pixels
from facemend.io.reading import (
    photo_of_pillow,
    picture_size,
    read_cutout,
    read_image,
    read_mask,
    read_photo,
)
from facemend.io.writing import encode_photo, write_photo, write_png
from facemend.io.xmp import Note, read_record

__all__ = [
    "MAX_PIXELS",
    "START_LENGTH",
    "SUFFIXES",
    "Format",
    "Metadata",
    "Note",
    "Photo",
    "encode_photo",
    "find_pictures",
    "format_named",
    "format_of",
    "is_below",
    "is_clip",
    "is_hidden",
    "is_picture",
    "photo_of_array",
    "photo_of_pillow",
    "photo_of_pixels",
    "picture_size",
    "read_cutout",
    "read_image",
    "read_mask",
    "read_photo",
    "read_record",
    "write_photo",
    "write_png",
]

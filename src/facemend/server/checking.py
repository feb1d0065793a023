"""Pictures of strangers: what is refused by its head, before a pixel is decoded."""

import re
from io import BytesIO

from facemend.errors import PictureError
from facemend.images import Mask
from facemend.photos import MAX_PIXELS, Format, format_of, read_photo
from facemend.photos.formats import DAMAGED, HEIC_PACKAGE, first_line, open_photo
from facemend.server.problems import Problem
from facemend.server.settings import Limits

_SPACE = re.compile(rb"\s+")
_SCAN = b"\xff\xda"  # inside of a JPEG's coded pixels, 0 follows every 255


class NamedBytes(BytesIO):
    """A file in memory with a name for errors."""

    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(data)
        self.name = name


def check_head(data: bytes, name: str, limits: Limits) -> tuple[int, int]:
    """Looks at what stands before the pixels: width and height in pixels, as they lie in the file.

    Raises:
        PictureError: not a picture of a format that facemend reads.
        Problem: it is larger than the limits.
    """
    kind = format_of(data)
    if kind is None:
        raise PictureError(f"{name} is not a picture; send PNG, JPEG, WebP, TIFF, AVIF, HEIC or BMP")
    try:
        with open_photo(BytesIO(data), kind) as picture:
            width_px, height_px = picture.size
            packet = picture.info.get("xmp")
    except ImportError as error:
        raise PictureError(f"{name} is HEIC, which needs {HEIC_PACKAGE}") from error
    except DAMAGED as error:
        raise PictureError(f"{name} cannot be read as a picture: {first_line(error)}") from error
    if width_px * height_px > min(limits.pixels, MAX_PIXELS):
        raise _too_large(f"{name} is {width_px}×{height_px}, more than {limits.pixels / 1e6:g} megapixels")
    if max(width_px, height_px) > limits.side_px:
        raise _too_large(f"{name} is {width_px}×{height_px}, more than {limits.side_px} pixels on a side")
    if kind is Format.JPEG and data.count(_SCAN) > limits.scans:
        raise _too_large(f"{name} draws its pixels in more than {limits.scans} passes")
    if (
        isinstance(packet, bytes)
        and max(map(len, _SPACE.findall(packet)), default=0) > limits.padding_bytes
    ):
        raise _too_large(f"{name} has XMP with more than {limits.padding_bytes} bytes of padding")
    return width_px, height_px


def read_mask(data: bytes, limits: Limits) -> Mask:
    """Reads a mask, white = reconstruct: bool (H, W), True where it is above middle gray.

    Raises:
        PictureError, Problem: as `check_head` and `read_photo` do.
    """
    check_head(data, "the mask", limits)
    mask: Mask = read_photo(data, name="the mask", max_pixels=limits.pixels).pixels.mean(axis=2) >= 128
    return mask


def _too_large(what: str) -> Problem:
    return Problem(413, "too_large", f"{what}; send a smaller one")

"""PNG files: of a photo, with the chunks beside its pixels carried over, and of an array.

W3C, "Portable Network Graphics (PNG) Specification (Third Edition)", 2025.
"""

import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage
from PIL import PngImagePlugin

from facemend.io.formats import Format
from facemend.io.limits import PADDING
from facemend.io.photos import Metadata, Photo

Chunk = tuple[bytes, bytes]
"""A type and its data."""

_COLOUR = frozenset({b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"cICP", b"mDCV", b"cLLI", b"pHYs"})
"""How pixels are to be shown; new pixels are in the same colours and sizes."""
_GAIN_MAPS = frozenset({b"gmAP", b"gdAT"})
_WRITTEN_ANEW = frozenset({b"tRNS", b"eXIf"})
_RAW_PROFILES = (b"Raw profile type exif", b"Raw profile type APP1", b"Raw profile type 8bim")
_XMP_KEY = b"XML:com.adobe.xmp"
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER_END = len(_SIGNATURE) + 12 + 13
_BITS, _GRAY, _RGB, _UP = 8, 0, 2, 2  # the specification's numbers
_QUICK_LEVEL = 1
_INCHES_PER_METRE = 1 / 0.0254


def bits_a_channel(data: bytes) -> int:
    """The bit depth in a PNG's header."""
    return data[24]


def encode(photo: Photo, xmp: bytes | None) -> bytes:
    """A PNG file of the photo, with this XMP packet. Raises one of `formats.DAMAGED`."""
    file = BytesIO()
    photo.to_stored().save(file, "PNG")
    source = photo.own_source(Format.PNG)
    chunks = _made(photo.metadata) if source is None else _carried(source, photo)
    return _with_chunks(file.getvalue(), [*chunks, *([_text(_XMP_KEY, xmp)] if xmp else [])])


def encode_png(
    picture: npt.NDArray[np.uint8], *, text: Mapping[str, str] | None = None, compress_level: int = 6
) -> bytes:
    """A PNG file of a uint8 picture, (H, W, 3) RGB or (H, W) gray.

    Args:
        text: keys and values for the file's iTXt chunks.
        compress_level: of zlib, 0-9.
    """
    chunks = PngImagePlugin.PngInfo()
    for key, value in (text or {}).items():
        chunks.add_itxt(key, value)
    file = BytesIO()
    PillowImage.fromarray(picture).save(file, "PNG", pnginfo=chunks, compress_level=compress_level)
    return file.getvalue()


def encode_png_quickly(picture: npt.NDArray[np.uint8]) -> bytes:
    """A PNG of a uint8 picture, (H, W, 3) RGB or (H, W) gray: zlib level 1, every row less the one above.

    As small as Pillow's at level 1 and twice as fast: Pillow tries five filters a row, and with
    photos almost always ends with this one or one as good. W3C, "PNG Specification (Third Edition)".
    """
    height_px, width_px = picture.shape[:2]
    levels = picture.reshape(height_px, -1)
    rows = np.empty((height_px, 1 + levels.shape[1]), dtype=np.uint8)
    rows[:, 0] = _UP
    rows[0, 1:] = levels[0]
    np.subtract(levels[1:], levels[:-1], out=rows[1:, 1:])  # modulo 256, as the filter asks
    colours = _RGB if picture.ndim == 3 else _GRAY
    header = struct.pack(">IIBBBBB", width_px, height_px, _BITS, colours, 0, 0, 0)
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(rows.data, _QUICK_LEVEL)), (b"IEND", b"")
    return _SIGNATURE + b"".join(_packed(name, data) for name, data in chunks)


def is_layered(data: bytes) -> bool:
    """Whether a PNG holds more than its picture: a gain map, or something behind its end."""
    end = len(_SIGNATURE)
    for kind, chunk in _chunks(data):
        end += 12 + len(chunk)
        if kind in _GAIN_MAPS:
            return True
    return bool(data[end:].strip(PADDING))


def with_texts(data: bytes, texts: Mapping[str, str]) -> bytes:
    """A PNG with these texts in international text chunks, each once."""
    chunks = [_text(key.encode(), value.encode()) for key, value in texts.items()]
    there = set(_chunks(data))
    return _with_chunks(data, [chunk for chunk in chunks if chunk not in there])


def _carried(source: bytes, photo: Photo) -> Iterator[Chunk]:
    if photo.metadata.exif:
        yield b"eXIf", photo.metadata.exif
    for kind, data in _chunks(source):
        # A lower case fourth letter says that the chunk stays true when the pixels change.
        safe = not photo.stripped and kind[3:4].islower()
        if kind in _WRITTEN_ANEW or data.startswith(_XMP_KEY + b"\0"):
            continue
        if kind in _COLOUR or (safe and not _shows_pixels(kind, data)):
            yield kind, data


def _shows_pixels(kind: bytes, data: bytes) -> bool:
    """Whether a chunk is a profile as ImageMagick writes it, in hexadecimal, that may hold a thumbnail."""
    return kind in (b"tEXt", b"zTXt", b"iTXt") and data.startswith(_RAW_PROFILES)


def _made(metadata: Metadata) -> Iterator[Chunk]:
    if metadata.icc:
        yield b"iCCP", b"ICC Profile\0\0" + zlib.compress(metadata.icc)
    if metadata.dpi:
        x, y = (round(dpi * _INCHES_PER_METRE) for dpi in metadata.dpi)
        yield b"pHYs", x.to_bytes(4, "big") + y.to_bytes(4, "big") + b"\1"
    if metadata.exif:
        yield b"eXIf", metadata.exif


def _text(key: bytes, value: bytes) -> Chunk:
    return b"iTXt", key + b"\0\0\0\0\0" + value


def _chunks(data: bytes) -> Iterator[Chunk]:
    at = 8
    while at + 8 <= len(data):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        yield kind, data[at + 8 : at + 8 + length]
        if kind == b"IEND":
            return
        at += 12 + length


def _with_chunks(data: bytes, chunks: Iterable[Chunk]) -> bytes:
    """Puts chunks behind the header."""
    packed = b"".join(_packed(*chunk) for chunk in chunks)
    return data[:_HEADER_END] + packed + data[_HEADER_END:]


def _packed(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(data, zlib.crc32(kind))
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

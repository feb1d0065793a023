"""PNG: the chunks beside the pixels are carried over as they are.

W3C, "Portable Network Graphics (PNG) Specification (Third Edition)", 2025.
"""

import zlib
from collections.abc import Iterable, Iterator, Mapping
from io import BytesIO

from facemend.io.formats import Format
from facemend.io.photos import Metadata, Photo

Chunk = tuple[bytes, bytes]
"""A type and its data."""

_COLOUR = frozenset({b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"cICP", b"mDCV", b"cLLI", b"pHYs"})
"""How pixels are to be shown; new pixels are in the same colours and sizes."""
_XMP_KEY = b"XML:com.adobe.xmp"
_HEADER_END = 8 + 12 + 13
_INCHES_PER_METRE = 1 / 0.0254


def bits_a_channel(data: bytes) -> int:
    """The bit depth in a PNG's header."""
    return data[24]


def encode(photo: Photo, xmp: bytes | None) -> bytes:
    """A PNG file of the photo, with this XMP packet. Raises one of `formats.DAMAGED`."""
    file = BytesIO()
    photo.to_stored().save(file, "PNG")
    source = photo.own_source(Format.PNG)
    chunks = _made(photo.metadata) if source is None else _carried(source, photo.stripped)
    return _with_chunks(file.getvalue(), [*chunks, *([_text(_XMP_KEY, xmp)] if xmp else [])])


def with_texts(data: bytes, texts: Mapping[str, str]) -> bytes:
    """A PNG with these texts in international text chunks, each once."""
    chunks = [_text(key.encode(), value.encode()) for key, value in texts.items()]
    there = set(_chunks(data))
    return _with_chunks(data, [chunk for chunk in chunks if chunk not in there])


def _carried(source: bytes, stripped: bool) -> Iterator[Chunk]:
    for kind, data in _chunks(source):
        # A lower case fourth letter says that the chunk stays true when the pixels change.
        safe = not stripped and kind[3:4].islower()
        if (kind in _COLOUR or safe) and kind != b"tRNS" and not data.startswith(_XMP_KEY + b"\0"):
            yield kind, data


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
    packed = (
        len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
        for kind, data in chunks
    )
    return data[:_HEADER_END] + b"".join(packed) + data[_HEADER_END:]

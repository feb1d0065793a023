"""JPEG: what the segments before the pixels say is carried over, and the quality with it.

A changed file shows nothing of the old pixels. What each segment holds decides: see `_stays_true`.
"""

import struct
from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Any

from PIL import JpegImagePlugin

from facemend.errors import OutputError
from facemend.io.formats import Format
from facemend.io.limits import PADDING, jpeg_end
from facemend.io.photos import Metadata, Photo
from facemend.io.tiff import without_thumbnails
from facemend.io.xmp import LAYER_SPACES, holds_pictures

Segment = tuple[int, bytes]
"""The second byte of a marker, and what follows the length."""

_APP0, _APP1, _APP2, _APP11, _APP13, _APP14, _APP15 = 0xE0, 0xE1, 0xE2, 0xEB, 0xED, 0xEE, 0xEF
_COMMENT, _SCAN = 0xFE, 0xDA
_ORDER = (
    (_APP0, b"JFIF\0"),
    (_APP14, b"Adobe"),
    (_APP1, b"Exif\0\0"),
    (_APP1, b"http://ns.adobe.com/xap/1.0/\0"),
)
"""The first segments of a file; all others keep their order behind them."""
_JFIF, _ADOBE, _EXIF, _XMP = range(4)
_EXTENDED_XMP, _EXTENDED_HEAD = b"http://ns.adobe.com/xmp/extension/\0", 75
_ICC = b"ICC_PROFILE\0"
_LAYERS = (
    (_APP2, b"MPF\0"),
    (_APP2, b"urn:iso:std:iso:ts:21496:-1\0"),
)
"""Segments that tell of further pictures (CIPA DC-007) and of a gain map (ISO 21496-1)."""
_PHOTOSHOP = b"Photoshop 3.0\0"
_SHOW_OLD_PIXELS = (
    (_APP1, b"FLIR\0"),  # what a thermal camera saw, and its photo
    (_APP2, b"FPXR\0"),  # FlashPix: a smaller picture
    (_APP11, b"JP"),  # a signature (C2PA), or a layer (JPEG XT)
    (_APP11, b"HDR_RI"),  # JPEG-HDR: a gain map
)
_PICTURE_STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"ftyp", b"II*\0", b"MM\0*")
"""In a segment of an unknown maker they are a preview, which may go on in further ones."""
_TRAILER_END, _TRAILER_INDEX = b"SEFT", b"SEFH"
_TRAILER_WORDS = frozenset({b"Image_UTC_Data", b"MCC_Data", b"Camera_Capture_Mode_Info"})
"""Parts of Samsung's trailer that are words alone: the time, the network's country, the camera's mode."""
_LARGEST, _LARGEST_EXIF, _LARGEST_ICC, _LARGEST_RESOURCES = 65_533, 65_527, 65_519, 65_519
_QUALITY, _FULL_COLOUR = 95, 0
"""Of a JPEG that comes from no JPEG, in Pillow's numbers."""


def encode(photo: Photo, xmp: bytes | None) -> bytes:
    """A JPEG file of the photo, with this XMP packet.

    Raises:
        OutputError: the photo has metadata that no JPEG can hold.
        Exception: one of `formats.DAMAGED`.
    """
    source = photo.own_source(Format.JPEG)
    file = BytesIO()
    picture = photo.to_stored().convert("L" if photo.gray else "RGB")
    picture.save(file, "JPEG", **_settings(source, photo.metadata))
    bare = file.getvalue()
    head = [segment for segment in _segments(bare) if _rank(segment) in (_JFIF, _ADOBE)]
    said = list(_made(photo.metadata) if source is None else _carried(source, photo))
    if xmp:
        said.append((_APP1, _ORDER[_XMP][1] + xmp))
    if any(len(data) > _LARGEST for _, data in said):
        raise OutputError(
            f"{photo.name} has metadata too large for a JPEG; write PNG, or leave it out with strip=True"
        )
    rest = bare[2 + sum(len(_packed(segment)) for segment in head) :]
    if any(_rank(segment) == _JFIF for segment in said):
        head = [segment for segment in head if _rank(segment) != _JFIF]
    trailer = b"" if source is None or photo.stripped else _words_behind(source)
    return b"\xff\xd8" + b"".join(map(_packed, sorted(head + said, key=_rank))) + rest + trailer


def is_layered(data: bytes) -> bool:
    """Whether a JPEG file holds more than its primary picture: by its segments, or behind its end."""
    told = any(
        _is_of_layers(segment)
        if _rank(segment) != _XMP
        else any(space in segment[1] for space in LAYER_SPACES)
        for segment in _segments(data)
    )
    return told or bool(_behind(data).strip(PADDING) and not _words_behind(data))


def completed(data: bytes) -> bytes:
    """A JPEG with an end marker, which viewers do without."""
    return data + b"\xff\xd9" if jpeg_end(data) is None else data


def _behind(data: bytes) -> bytes:
    """What lies behind the end marker."""
    end = jpeg_end(data)
    return b"" if end is None else data[end:]


def _words_behind(data: bytes) -> bytes:
    """Samsung's trailer, if it holds words alone. Empty for any other.

    Its index ends the file. It names each part by its type, its distance back from the index and its
    length. A part is two zeros, its type, its name's length, its name, and what it says.
    """
    trailer = _behind(data)
    at = trailer.rfind(_TRAILER_INDEX)
    index = trailer[at:-8]
    count = int.from_bytes(index[8:12], "little")
    if at < 0 or not trailer.endswith(_TRAILER_END) or len(index) != 12 + 12 * count:
        return b""
    total = 0
    for place in range(count):
        back, length = struct.unpack_from("<LL", index, 16 + 12 * place)
        name_length = int.from_bytes(trailer[at - back + 4 : at - back + 8], "little")
        if back > at or trailer[at - back + 8 : at - back + 8 + name_length] not in _TRAILER_WORDS:
            return b""
        total += length
    return trailer if total == at else b""


def _is_of_layers(segment: Segment) -> bool:
    return any(segment[0] == marker and segment[1].startswith(start) for marker, start in _LAYERS)


def _settings(source: bytes | None, metadata: Metadata) -> dict[str, Any]:
    """How Pillow is to encode: as the source is, if that is a JPEG, else finely."""
    if source is None:
        settings: dict[str, Any] = {"quality": _QUALITY, "subsampling": _FULL_COLOUR}
        return settings | ({"dpi": metadata.dpi} if metadata.dpi else {})
    with JpegImagePlugin.JpegImageFile(BytesIO(source)) as jpeg:
        sampling = JpegImagePlugin.get_sampling(jpeg)
        return {
            "qtables": jpeg.quantization,
            # Pillow can write three; any other becomes the finest, so that no colour is lost.
            "subsampling": max(sampling, _FULL_COLOUR),
            "progressive": "progressive" in jpeg.info,
            "keep_rgb": jpeg.layers == 3 and jpeg.info.get("adobe_transform") == 0,
        }


def _carried(source: bytes, photo: Photo) -> Iterator[Segment]:
    """What a JPEG says beside its pixels, but for its XMP, and for its layers: they are not carried."""
    segments = list(_segments(source))
    if photo.metadata.exif:
        whole = range(0, len(photo.metadata.exif), _LARGEST_EXIF)
        yield from (
            (_APP1, _ORDER[_EXIF][1] + photo.metadata.exif[at : at + _LARGEST_EXIF]) for at in whole
        )
    # The XMP that goes on in further segments may hold the layers themselves, such as depth.
    extended = b"".join(data[_EXTENDED_HEAD:] for _, data in segments if data.startswith(_EXTENDED_XMP))
    keeps_extended = not (is_layered(source) or holds_pictures(extended))
    previews = {
        marker
        for marker, data in segments
        if not _is_known((marker, data)) and any(start in data for start in _PICTURE_STARTS)
    }
    for segment in segments:
        marker, data = segment
        if _rank(segment) == _JFIF:
            yield marker, data[:12] + bytes(2)  # without its thumbnail
        elif marker == _APP2 and data.startswith(_ICC):
            yield segment
        elif photo.stripped or _is_of_layers(segment) or not _stays_true(segment):
            continue
        elif data.startswith(_EXTENDED_XMP):
            if keeps_extended:
                yield segment
        elif _is_known(segment) or marker not in previews:
            yield segment
    if not photo.stripped:
        yield from _resources(segments)


def _is_known(segment: Segment) -> bool:
    """Whether a segment is a comment, or XMP that goes on: texts."""
    return segment[0] == _COMMENT or segment[1].startswith(_EXTENDED_XMP)


def _resources(segments: Sequence[Segment]) -> Iterator[Segment]:
    """Photoshop's resources with IPTC. They are one text that several segments hold."""
    parts = (data for marker, data in segments if marker == _APP13 and data.startswith(_PHOTOSHOP))
    kept = without_thumbnails(b"".join(part[len(_PHOTOSHOP) :] for part in parts))
    for at in range(0, len(kept), _LARGEST_RESOURCES):
        yield _APP13, _PHOTOSHOP + kept[at : at + _LARGEST_RESOURCES]


def _stays_true(segment: Segment) -> bool:
    """Whether a segment is a comment, or of an application and not bound to the pixels that were.

    EXIF, XMP and Photoshop's resources are written anew.
    """
    marker, data = segment
    if any(marker == first and data.startswith(start) for first, start in _SHOW_OLD_PIXELS):
        return False
    application = marker in range(_APP0 + 1, _APP15 + 1) and marker != _APP14
    anew = _rank(segment) in (_EXIF, _XMP) or (marker == _APP13 and data.startswith(_PHOTOSHOP))
    return marker == _COMMENT or (application and not anew)


def _made(metadata: Metadata) -> Iterator[Segment]:
    if metadata.exif:
        yield _APP1, _ORDER[_EXIF][1] + metadata.exif
    if metadata.icc:
        starts = range(0, len(metadata.icc), _LARGEST_ICC)
        for number, start in enumerate(starts, 1):
            part = metadata.icc[start : start + _LARGEST_ICC]
            yield _APP2, _ICC + bytes((number, len(starts))) + part


def _rank(segment: Segment) -> int:
    marker, data = segment
    for rank, (first, start) in enumerate(_ORDER):
        if marker == first and data.startswith(start):
            return rank
    return len(_ORDER)


def _segments(data: bytes) -> Iterator[Segment]:
    """The segments before the first scan."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != _SCAN:
        if data[at + 1] == 0xFF:  # a fill byte
            at += 1
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        yield data[at + 1], data[at + 4 : at + 2 + length]
        at += 2 + length


def _packed(segment: Segment) -> bytes:
    marker, data = segment
    return bytes((0xFF, marker)) + (len(data) + 2).to_bytes(2, "big") + data

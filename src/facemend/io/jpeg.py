"""JPEG: the segments before the pixels are carried over as they are, and the quality with them."""

from collections.abc import Iterator
from io import BytesIO
from typing import Any

from PIL import JpegImagePlugin

from facemend.errors import OutputError
from facemend.io.formats import Format
from facemend.io.photos import Metadata, Photo

Segment = tuple[int, bytes]
"""The second byte of a marker, and what follows the length."""

_APP0, _APP1, _APP2, _APP11, _APP14, _APP15 = 0xE0, 0xE1, 0xE2, 0xEB, 0xEE, 0xEF
_COMMENT, _SCAN = 0xFE, 0xDA
_ORDER = (
    (_APP0, b"JFIF\0"),
    (_APP14, b"Adobe"),
    (_APP1, b"Exif\0\0"),
    (_APP1, b"http://ns.adobe.com/xap/1.0/\0"),
)
"""The first segments of a file; all others keep their order behind them."""
_JFIF, _ADOBE, _EXIF, _XMP = range(4)
_EXTENDED_XMP = b"http://ns.adobe.com/xmp/extension/\0"
_ICC, _JUMBF = b"ICC_PROFILE\0", b"JP"
_LAYERS = (
    (_APP2, b"MPF\0"),
    (_APP2, b"urn:iso:std:iso:ts:21496:-1\0"),
)
"""Segments that tell of further pictures (CIPA DC-007) and of a gain map (ISO 21496-1)."""
_LAYERS_IN_XMP = (
    b"http://ns.adobe.com/hdr-gain-map/1.0/",
    b"http://ns.google.com/photos/1.0/container/",
    b"http://ns.google.com/photos/1.0/camera/",
    b"http://ns.google.com/photos/1.0/depthmap/",
    b"http://ns.google.com/photos/1.0/image/",
    b"http://ns.apple.com/HDRGainMap/1.0/",
)
"""Namespaces of XMP that tell of them: gain maps, motion photos, depth."""
_LARGEST, _LARGEST_ICC = 65_533, 65_519
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
    said = list(_made(photo.metadata) if source is None else _carried(source, photo.stripped))
    if xmp:
        said.append((_APP1, _ORDER[_XMP][1] + xmp))
    if any(len(data) > _LARGEST for _, data in said):
        raise OutputError(f"{photo.name} has metadata too large for a JPEG; write PNG, or leave it out")
    rest = bare[2 + sum(len(_packed(segment)) for segment in head) :]
    if any(_rank(segment) == _JFIF for segment in said):
        head = [segment for segment in head if _rank(segment) != _JFIF]
    return b"\xff\xd8" + b"".join(map(_packed, sorted(head + said, key=_rank))) + rest


def is_layered(data: bytes) -> bool:
    """Whether a JPEG file holds more than its primary picture, by what it says before its pixels."""
    return any(
        _is_of_layers(segment)
        if _rank(segment) != _XMP
        else any(space in segment[1] for space in _LAYERS_IN_XMP)
        for segment in _segments(data)
    )


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


def _carried(source: bytes, stripped: bool) -> Iterator[Segment]:
    """What a JPEG says beside its pixels, but for its XMP, and for its layers: they are not carried."""
    layered = is_layered(source)
    for segment in _segments(source):
        # The XMP that goes on in further segments holds the layers themselves, such as depth.
        if layered and (_is_of_layers(segment) or segment[1].startswith(_EXTENDED_XMP)):
            continue
        if _is_colour(segment) or (not stripped and _stays_true(segment)):
            yield segment


def _is_colour(segment: Segment) -> bool:
    """Whether a segment tells how pixels are to be shown: their resolution, their colour profile."""
    return _rank(segment) == _JFIF or (segment[0] == _APP2 and segment[1].startswith(_ICC))


def _stays_true(segment: Segment) -> bool:
    """Whether a segment is a comment, or of an application and not bound to the pixels that were."""
    marker, data = segment
    if marker == _APP11 and data.startswith(_JUMBF):  # a signature (C2PA), or a layer (JPEG XT)
        return False
    application = marker in range(_APP0 + 1, _APP15 + 1) and marker != _APP14
    return marker == _COMMENT or (application and _rank(segment) != _XMP)


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

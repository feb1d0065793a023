"""TIFF, and what other formats carry of it: EXIF, which is a TIFF, and Photoshop's resources.

The tags that do not tell how the pixels lie are carried over, and the compression with them. What shows the
old pixels is not: thumbnails, previews, layers.
Adobe, "TIFF Revision 6.0", 1992. CIPA DC-008, "Exif 3.0", 2023. Adobe, "Photoshop File Formats
Specification", 2019, "Image Resources Section".
"""

import re
import struct
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from itertools import accumulate
from typing import Any, Final

from PIL import ExifTags
from PIL import Image as PillowImage
from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile

from facemend.io.formats import DAMAGED, Format
from facemend.io.limits import jpeg_end
from facemend.io.photos import Metadata, Photo

_HEADER = b"II*\0\x08\0\0\0"
_BYTE, _SHORT, _LONG, _RATIONAL, _UNDEFINED = 1, 3, 4, 5, 7
_BITS, _STRIP_OFFSETS, _STRIP_LENGTHS, _EXTRA_SAMPLES = 258, 273, 279, 338
_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT, _INCH = 282, 283, 296, 2
_PREDICTOR, _XMP, _ICC = 317, 700, 34675
_PHOTOSHOP, _LAYERS, _SIGNATURE = 34377, 37724, 52545
"""Photoshop's resources, its layers ("Adobe Photoshop TIFF Technical Notes", 2002), C2PA's signature."""
_ORIENTATION, _SUBDIRECTORIES = 274, 330
_JPEG_START: Final = re.compile(rb"\xff\xd8\xff[\xc0-\xfe]")
_PIXELS: Final = ((273, 279), (324, 325), (513, 514))
"""Tags that say where pixels lie, and how many bytes they take."""
_WHOLE: Final = {1: ("B", 1), 3: ("H", 2), 4: ("L", 4), 13: ("L", 4)}
_RESOURCES: Final = (b"8BIM", b"PHUT", b"DCSR", b"AgHg", b"MeSa")
_RESOURCES_WITH_PIXELS: Final = frozenset({1033, 1036, 1058, 1059, 1060})
"""Thumbnails of two ages, and second copies of EXIF and XMP, which may hold more."""
_RESOURCES_OF_PLUGINS: Final = range(4000, 5000)
_DIRECTORIES = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)
_LAYOUT = frozenset(
    {
        *range(254, 260),
        *range(262, 267),
        273,
        *range(277, 282),
        284,
        *range(288, 294),
        301,
        *range(317, 326),
    }
    | {330, *range(332, 343), 347, *range(512, 522), *range(529, 533)}
)
"""Tags on how the pixels lie in the file, on palettes and on inks: the encoder sets its own."""
_COMPRESSIONS = frozenset(
    {"raw", "packbits", "tiff_lzw", "tiff_deflate", "tiff_adobe_deflate", "zstd", "jpeg"}
)
_DEFAULT_COMPRESSION = "tiff_lzw"
_PREDICTED = frozenset({"tiff_lzw", "tiff_deflate", "tiff_adobe_deflate", "zstd"})
_JPEG_QUALITY = 95


def encode(photo: Photo, xmp: bytes | None) -> bytes:
    """A TIFF file of the photo, with this XMP packet. Raises one of `formats.DAMAGED`."""
    file = BytesIO()
    photo.to_stored().save(file, "TIFF", **_settings(photo.own_source(Format.TIFF)))
    data = file.getvalue()
    with TiffImageFile(BytesIO(data)) as bare:
        directory = bare.tag_v2
    strips = zip(directory[_STRIP_OFFSETS], directory[_STRIP_LENGTHS], strict=True)
    pixels = [data[start : start + length] for start, length in strips]
    made = ImageFileDirectory_v2(_HEADER)
    for tag in directory:
        _set(made, tag, directory[tag], directory.tagtype[tag])
    # Counted from the end of the directory, behind which they are put.
    _set(made, _STRIP_OFFSETS, tuple(accumulate(map(len, pixels[:-1]), initial=0)), _LONG)
    _add_metadata(made, photo.metadata, xmp)
    return _HEADER + made.tobytes(len(_HEADER)) + b"".join(pixels)


def exif_of(picture: PillowImage.Image) -> bytes | None:
    """A TIFF's tags as a block of EXIF. None if it has none. Raises one of `formats.DAMAGED`."""
    exif = PillowImage.Exif()
    for tag, value in _carried(picture.getexif()):
        exif[tag] = value
    return exif.tobytes().removeprefix(b"Exif\0\0") if exif else None


def bits_a_channel(picture: TiffImageFile) -> int:
    """The largest bit depth of a TIFF's channels."""
    bits: tuple[int, ...] = picture.tag_v2.get(_BITS, (1,))
    return max(bits)


def is_premultiplied(picture: TiffImageFile) -> bool:
    """Whether a TIFF's colours are multiplied by their opacity: they cannot be had back exactly."""
    return 1 in picture.tag_v2.get(_EXTRA_SAMPLES, ())


def has_layers(picture: TiffImageFile) -> bool:
    """Whether a TIFF holds Photoshop's layers: those of the pixels that were."""
    return _LAYERS in picture.tag_v2


def loaded_exif(block: bytes | None) -> PillowImage.Exif | None:
    """A block of EXIF as Pillow has it. None if there is none, or if it cannot be read."""
    if block is None:
        return None
    exif = PillowImage.Exif()
    try:
        exif.load(block)
        dict(_carried(exif))
        exif.tobytes()
    except DAMAGED:
        return None
    return exif if isinstance(exif.get(_ORIENTATION, 1), int) else None


def without_previews(block: bytes) -> bytes:
    """A block of EXIF that shows no pixels: no thumbnail, no preview beside it or in its maker's note.

    All else keeps its place, since the notes of makers count from the block's start. The pixels are
    blanked, or cut off where the block ends with them.
    """
    data, blanked = bytearray(block), list[tuple[int, int]]()
    with suppress(struct.error):  # of a broken one: no reader finds a thumbnail by it
        blanked += _blank_directories(data)
    for found in _JPEG_START.finditer(block):
        # One that lies in another is blanked with it.
        if data[found.start()] and (end := jpeg_end(block, found.start())):
            data[found.start() : end] = bytes(end - found.start())
    length = len(data)
    for start, end in sorted(blanked, key=lambda span: span[1], reverse=True):
        length = min(length, start) if end >= length else length
    return bytes(data[:length])


def _blank_directories(data: bytearray) -> Iterator[tuple[int, int]]:
    """Takes all directories behind the first one out, and those that it calls its own (SubIFDs).

    Yields where bytes were blanked.
    """
    order = "<" if data[:2] == b"II" else ">"
    directory = _Directory(data, order, struct.unpack_from(order + "L", data, 4)[0])
    waiting = [directory.end_here(), *directory.take_out(_SUBDIRECTORIES)]
    seen = set[int]()
    while waiting:
        at = waiting.pop()
        if not 0 < at < len(data) or at in seen:
            continue
        seen.add(at)
        preview = _Directory(data, order, at)
        waiting.append(preview.end_here())
        spans = [
            (start, start + length)
            for starts, lengths in _PIXELS
            for start, length in zip(preview.numbers(starts), preview.numbers(lengths), strict=False)
        ]
        for start, end in ((at, preview.end), *spans):
            if 0 < start < end <= len(data):
                data[start:end] = bytes(end - start)
                yield start, end


class _Directory:
    """A directory of a TIFF in memory. Raises struct.error beyond the end."""

    def __init__(self, data: bytearray, order: str, at: int) -> None:
        self._data, self._order, self._at = data, order, at
        self._count = struct.unpack_from(order + "H", data, at)[0]
        self._entries_end = at + 2 + 12 * self._count
        self.end = min(self._entries_end + 4, len(data))

    def numbers(self, tag: int) -> tuple[int, ...]:
        """The whole numbers of a tag. Empty if it is not there."""
        for place in range(self._at + 2, self._entries_end, 12):
            found, kind, count = struct.unpack_from(self._order + "HHL", self._data, place)
            if found == tag and kind in _WHOLE and count <= len(self._data):
                sign, size = _WHOLE[kind]
                start = place + 8
                if count * size > 4:
                    start = struct.unpack_from(self._order + "L", self._data, start)[0]
                return struct.unpack_from(f"{self._order}{count}{sign}", self._data, start)
        return ()

    def take_out(self, tag: int) -> tuple[int, ...]:
        """Deletes a tag, and returns its whole numbers."""
        values = self.numbers(tag)
        for place in range(self._at + 2, self._entries_end, 12):
            if struct.unpack_from(self._order + "H", self._data, place)[0] == tag:
                self._data[place : self.end] = self._data[place + 12 : self.end] + bytes(12)
                self._count -= 1
                struct.pack_into(self._order + "H", self._data, self._at, self._count)
                break
        return values

    def end_here(self) -> int:
        """Makes it the last directory, and returns where the next one was. 0 if there was none."""
        if self.end < self._entries_end + 4:
            return 0
        following = int(struct.unpack_from(self._order + "L", self._data, self._entries_end)[0])
        struct.pack_into(self._order + "L", self._data, self._entries_end, 0)
        return following


def without_thumbnails(resources: bytes) -> bytes:
    """Photoshop's resources, in which other programs keep IPTC, without those that show pixels.

    What does not begin as a resource comes back as it is.
    """
    kept, at = [], 0
    while resources[at : at + 4] in _RESOURCES:
        number = int.from_bytes(resources[at + 4 : at + 6], "big")
        name_length = 1 + int.from_bytes(resources[at + 6 : at + 7], "big")
        head_end = at + 6 + name_length + name_length % 2
        length = int.from_bytes(resources[head_end : head_end + 4], "big")
        end = head_end + 4 + length + length % 2
        if number not in _RESOURCES_WITH_PIXELS and number not in _RESOURCES_OF_PLUGINS:
            kept.append(resources[at:end])
        at = end
    return b"".join(kept) + resources[at:]


def _settings(source: bytes | None) -> dict[str, Any]:
    """How Pillow is to encode: as the source is, if that is a TIFF."""
    if source is None:
        return {"compression": _DEFAULT_COMPRESSION}
    with TiffImageFile(BytesIO(source)) as picture:
        compression, predictor = picture.info.get("compression"), picture.tag_v2.get(_PREDICTOR)
    if compression not in _COMPRESSIONS:  # for black and white alone, or not written by Pillow
        compression = _DEFAULT_COMPRESSION
    settings: dict[str, Any] = {"compression": compression}
    if compression == "jpeg":
        settings["quality"] = _JPEG_QUALITY
    if compression in _PREDICTED and predictor:
        settings["tiffinfo"] = {_PREDICTOR: predictor}
    return settings


def _carried(exif: PillowImage.Exif) -> Iterator[tuple[int, Any]]:
    """Tags and values, directories as dictionaries."""
    for tag, value in exif.items():
        if tag in _DIRECTORIES:
            values = dict(exif.get_ifd(tag))
            if ExifTags.IFD.Interop in values:
                values[ExifTags.IFD.Interop] = dict(exif.get_ifd(ExifTags.IFD.Interop))
            yield tag, values
        elif tag == _PHOTOSHOP and isinstance(value, bytes):
            yield tag, without_thumbnails(value)
        elif tag in _LAYOUT or tag in (_XMP, _ICC, _LAYERS, _SIGNATURE):
            continue
        elif not (isinstance(value, bytes) and _JPEG_START.search(value)):
            yield tag, value


def _add_metadata(made: ImageFileDirectory_v2, metadata: Metadata, xmp: bytes | None) -> None:
    if metadata.dpi:
        _set(made, _X_RESOLUTION, metadata.dpi[0], _RATIONAL)
        _set(made, _Y_RESOLUTION, metadata.dpi[1], _RATIONAL)
        _set(made, _RESOLUTION_UNIT, _INCH, _SHORT)
    if exif := loaded_exif(metadata.exif):
        for tag, value in _carried(exif):
            made[tag] = value
    if metadata.icc:
        _set(made, _ICC, metadata.icc, _UNDEFINED)
    if xmp:
        _set(made, _XMP, xmp, _BYTE)


def _set(made: ImageFileDirectory_v2, tag: int, value: Any, kind: int) -> None:
    made.tagtype[tag] = kind
    made[tag] = value

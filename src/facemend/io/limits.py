"""What a photo file would cost, counted before anything decodes it: segments, scans, directories.

A file may be small and slow all the same: millions of empty segments, hundreds of scans over one picture,
a directory whose thousands of entries each name the whole file. All steps here are linear in the file.
"""

import os
import re
import struct
from collections import Counter
from collections.abc import Iterator
from mmap import mmap
from typing import BinaryIO, Final, TypeAlias

Data: TypeAlias = bytes | mmap

MOST_BYTES: Final = 1 << 30
"""The largest photo that is read: formats.MAX_PIXELS as a TIFF without compression, and as much beside."""
MOST_METADATA_BYTES: Final = 4 << 20
"""Of a colour profile, of EXIF, and of all of a file's EXIF segments together."""
_MOST_SCANS: Final = 64
"""Of a JPEG. Encoders write about ten; each scan may cost as much as decoding the whole picture."""
_MOST_FILL: Final = 1024
"""Bytes between two segments of a JPEG. Encoders write none."""
_FEW_PIECES: Final = 10_000
"""So many segments, chunks, boxes, strips or tiles any file may have, and one more for each KiB of it."""
_MOST_DIRECTORIES: Final = 64

PADDING: Final = b"\0\xff \t\r\n"
"""What may lie behind a file's end and says nothing."""
# One byte each, no repetition: a search never looks at a byte twice.
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
_SCAN, _END, _TEMPORARY, _FILL, _RESTARTS = 0xDA, 0xD9, 0x01, 0xFF, range(0xD0, 0xD8)
_APP1, _EXIF, _APP2, _MPF = 0xE1, b"Exif\0\0", 0xE2, b"MPF\0"
_MOST_EXIF_PIECES: Final = 128
"""Of a JPEG. A reader copies all that came before to each further piece."""
_LONG_HEAD, _RUN_LENGTHS, _MOST_RUN_PIXELS = 40, (1, 2), 25_000_000
"""Of a BMP."""
_TIFF_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}
_BYTES = frozenset({1, 2, 7})
"""Types of a TIFF whose values stay bytes. A reader makes an object of each other number."""
_MOST_NUMBERS: Final = 100_000
_PIECES = frozenset({273, 279, 324, 325})
"""Tags that say where strips and tiles lie."""
_SUBDIRECTORIES = frozenset({0x8769, 0x8825, 0xA005})
"""Tags whose value is the place of a further directory: EXIF, GPS, interoperability."""


class CostlyFile(ValueError):
    """A file that would take more time or memory than a photo of its size can need."""


def refuse_costly(data: Data, kind: str, *, head: bool = False) -> None:
    """Counts what a file is made of.

    Args:
        kind: a `formats.Format`.
        head: only what stands before the pixels.

    Raises:
        CostlyFile: it has more pieces than any photo.
    """
    match kind:
        case "JPEG":
            _refuse_jpeg(data, head)
        case "PNG":
            _refuse_many(data, _png_chunks(data), "chunks")
        case "WebP":
            _refuse_many(data, _webp_chunks(data), "chunks")
        case "AVIF" | "HEIC":
            _refuse_many(data, (start for start, _ in boxes(data)), "boxes")
        case "TIFF":
            refuse_costly_tiff(data)
        case "BMP":
            _refuse_bmp(data)


def refuse_costly_exif(exif: bytes) -> None:
    """Counts an EXIF block's entries, with or without the `Exif` before it, which readers take twice.

    Raises:
        CostlyFile: as `refuse_costly` does.
    """
    if len(exif) > MOST_METADATA_BYTES:
        raise CostlyFile(f"its EXIF takes more than {MOST_METADATA_BYTES >> 20} MiB")
    refuse_costly_tiff(exif.removeprefix(_EXIF).removeprefix(_EXIF))


def _most_pieces(data: Data) -> int:
    return _FEW_PIECES + (len(data) >> 10)


def _refuse_many(data: Data, pieces: Iterator[int], what: str) -> None:
    most = _most_pieces(data)
    for count, _ in enumerate(pieces, 1):
        if count > most:
            raise CostlyFile(f"it has more than {most} {what}")


def _refuse_jpeg(data: Data, head: bool) -> None:
    segments, fill, scans, exif_bytes = 0, 0, 0, 0
    exif: list[bytes] = []
    pictures = b""  # the directory of further ones; a reader takes the last
    most = _most_pieces(data)
    for marker, start, end in _jpeg_segments(data):
        segments += marker != _FILL
        fill += marker == _FILL
        scans += marker == _SCAN
        if marker == _APP1 and data[start : start + len(_EXIF)] == _EXIF:
            exif.append(data[start + len(_EXIF) : end])
            exif_bytes += end - start
        elif marker == _APP2 and data[start : start + len(_MPF)] == _MPF:
            pictures = data[start + len(_MPF) : end]
        if segments > most or fill > _MOST_FILL:
            raise CostlyFile(f"it has more than {most} segments, or {_MOST_FILL} bytes between them")
        if scans > _MOST_SCANS:
            raise CostlyFile(f"it draws its pixels in more than {_MOST_SCANS} scans")
        if exif_bytes > MOST_METADATA_BYTES or len(exif) > _MOST_EXIF_PIECES:
            raise CostlyFile(
                f"its EXIF takes more than {MOST_METADATA_BYTES >> 20} MiB or {_MOST_EXIF_PIECES} pieces"
            )
        if head and scans:
            break
    refuse_costly_exif(b"".join(exif))
    refuse_costly_tiff(pictures)


def _jpeg_segments(data: Data) -> Iterator[tuple[int, int, int]]:
    """The segments of a JPEG: the marker's second byte, the first byte behind the length, and the first one
    behind the segment. A fill byte counts as a segment with the marker 255."""
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF or data[at + 1] in (0, _TEMPORARY, *_RESTARTS):
            # Coded pixels, or bytes that mean nothing, up to the next marker.
            found = _MARKER.search(data, at)
            if found is None:
                return
            at = found.start()
        marker = data[at + 1]
        if marker == _END:
            return
        if marker == _FILL:
            yield marker, at, at + 1
            at += 1
            continue
        length = max(int.from_bytes(data[at + 2 : at + 4], "big"), 2)
        yield marker, at + 4, at + 2 + length
        at += 2 + length


def _refuse_bmp(data: Data) -> None:
    """A run-length coded picture: two bytes make a row, and a reader draws pixel by pixel."""
    if _number("<L", data, 14) < _LONG_HEAD or _number("<L", data, 30) not in _RUN_LENGTHS:
        return
    if abs(_number("<l", data, 18) * _number("<l", data, 22)) > _MOST_RUN_PIXELS:
        largest = _MOST_RUN_PIXELS // 1_000_000
        raise CostlyFile(f"it is run-length coded with more than {largest} megapixels")


def jpeg_end(data: Data | bytearray, start: int = 0) -> int | None:
    """The first byte behind a JPEG that begins at a place: behind its end marker. None where it has none.

    A JPEG inside one of its segments, such as a thumbnail, is passed over with the segment.
    """
    at = start + 2
    while at + 2 <= len(data):
        if data[at] != 0xFF or data[at + 1] in (0, _TEMPORARY, *_RESTARTS):
            found = _MARKER.search(data, at)
            if found is None:
                return None
            at = found.start()
        marker = data[at + 1]
        if marker == _END:
            return at + 2
        at += 1 if marker == 0xFF else 2 + max(int.from_bytes(data[at + 2 : at + 4], "big"), 2)
    return None


def _png_chunks(data: Data) -> Iterator[int]:
    at = 8
    while at + 8 <= len(data):
        yield at
        at += 12 + int.from_bytes(data[at : at + 4], "big")


def _webp_chunks(data: Data) -> Iterator[int]:
    at = 12
    while at + 8 <= len(data):
        yield at
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + length + length % 2


def boxes(data: Data) -> Iterator[tuple[int, int]]:
    """The outermost boxes of an ISO media file: the first byte of each, and the first one behind."""
    at = 0
    while at + 8 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if length == 1:
            length = int.from_bytes(data[at + 8 : at + 16], "big")
        end = at + length if length >= 8 else len(data)  # 0: up to the end
        yield at, min(end, len(data))
        at = end


_FIRST_BOXES = frozenset(
    {b"ftyp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide", b"styp", b"pnot", b"sidx"}
)
"""What an ISO media file begins with."""
_INSIDE = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf"})
"""Boxes of a clip that hold boxes."""
_COUNTED = {b"stsz": 8, b"stz2": 8, b"trun": 4}
"""Boxes that list frames or pieces of sound, and where behind their head the number stands."""
_LISTED_TIMES = frozenset({b"stts", b"ctts"})
_MOST_BOX_BYTES = 64 << 20


def refuse_costly_clip(file: BinaryIO) -> None:
    """Counts the frames and pieces of sound that an ISO media file (MP4, MOV) lists.

    A reader makes an entry of each, and one number may stand for thousands of millions. ISO 14496-12, 8.7,
    8.6.1 and 8.8.8.

    Args:
        file: open, at any position. It may be of another kind.

    Raises:
        CostlyFile: it lists more than it has bytes, or has more boxes than any clip.
        OSError: it cannot be read.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if file.read(8)[4:] not in _FIRST_BOXES:
        return
    waiting, seen, most = [(0, size)], 0, _FEW_PIECES + (size >> 7)
    listed = Counter[bytes]()
    while waiting:
        at, end = waiting.pop()
        while at + 8 <= end:
            file.seek(at)
            head = file.read(16)
            length, name, start = int.from_bytes(head[:4], "big"), head[4:8], at + 8
            if length == 1:
                length, start = int.from_bytes(head[8:], "big"), at + 16
            behind = min(at + length if length >= start - at else end, end)
            seen += 1
            if name in _INSIDE:
                waiting.append((start, behind))
            else:
                listed[name] += _listed_in(file, name, start, behind)
            if seen > most or listed[name] > size:
                raise CostlyFile("it lists more frames or pieces than it has bytes")
            at = behind


def _listed_in(file: BinaryIO, name: bytes, start: int, end: int) -> int:
    """How many frames or pieces of sound a box lists."""
    if name in _COUNTED:
        file.seek(start + _COUNTED[name])
        return int.from_bytes(file.read(4), "big")
    if name in _LISTED_TIMES:
        file.seek(start + 8)
        pairs = file.read(min(max(0, end - start - 8), _MOST_BOX_BYTES))
        return sum(count for count, _ in struct.iter_unpack(">LL", pairs[: len(pairs) // 8 * 8]))
    return 0


def refuse_costly_tiff(data: Data) -> None:
    """Counts the entries of a TIFF's directories, and adds up what they name.

    A reader copies every value, and values may overlap: all of them together cannot be larger than an
    honest file. Adobe, "TIFF Revision 6.0", 1992, section 2.

    Raises:
        CostlyFile: there are too many, or they name more bytes than the file has.
    """
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    head, entry = (order + "Q", order + "HHQ8s") if big else (order + "L", order + "HHL4s")
    counted = order + ("Q" if big else "H")
    at = _number(head, data, 8 if big else 4)
    waiting, seen, total, numbers = [at], set[int](), 0, 0
    while waiting:
        at = waiting.pop()
        if not 0 < at < len(data) or at in seen:
            continue
        seen.add(at)
        if len(seen) > _MOST_DIRECTORIES:
            raise CostlyFile(f"it has more than {_MOST_DIRECTORIES} directories")
        count = _number(counted, data, at)
        if count > _most_pieces(data):
            raise CostlyFile(f"a directory of it has {count} entries")
        start, size = at + struct.calcsize(counted), struct.calcsize(entry)
        for place in range(start, min(start + count * size, len(data) - size + 1), size):
            tag, kind, values, inside = struct.unpack_from(entry, data, place)
            length = values * _TIFF_SIZES.get(kind, 0)
            # A value that lies beyond the end is not copied: reading ends there.
            total += length if length <= len(data) else 0
            if total > len(data):
                raise CostlyFile("its directories name more bytes than it has")
            if tag in _PIECES and values > _most_pieces(data):
                raise CostlyFile(f"its pixels lie in {values} pieces")
            numbers += values if kind not in _BYTES and tag not in _PIECES and length <= len(data) else 0
            if numbers > _MOST_NUMBERS:
                raise CostlyFile(f"its directories hold more than {_MOST_NUMBERS} numbers")
            if tag in _SUBDIRECTORIES:
                waiting.append(_number(head, inside, 0))
        waiting.append(_number(head, data, start + count * size))


def _number(layout: str, data: Data, at: int) -> int:
    """A number at a place; 0 beyond the end."""
    if at + struct.calcsize(layout) > len(data):
        return 0
    return int(struct.unpack_from(layout, data, at)[0])

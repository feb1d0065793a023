"""Files that are small and slow: refused by what is counted, before anything decodes them."""

import io
import struct
import zlib

import pytest
from PIL import Image

from facemend.errors import PictureError
from facemend.io import read_photo
from facemend.io.limits import CostlyFile, refuse_costly, refuse_costly_exif
from tests.tiny_celeba import gradient


def encoded(kind: str, **settings: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(gradient(64, 48)).save(file, kind, **settings)
    return file.getvalue()


def with_segments(data: bytes, segments: bytes) -> bytes:
    return data[:2] + segments + data[2:]


def with_scans(data: bytes, count: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again."""
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * count + data[-2:]


JPEG, PROGRESSIVE = encoded("JPEG"), encoded("JPEG", progressive=True)
PNG, WEBP, TIFF, AVIF = encoded("PNG"), encoded("WEBP"), encoded("TIFF"), encoded("AVIF")
EMPTY_CHUNK = struct.pack(">L", 0) + b"prVt" + struct.pack(">L", zlib.crc32(b"prVt"))


def tiff(entries: int, values: int, order: str = "<") -> bytes:
    """A TIFF with a directory whose entries all name the same bytes."""
    directory = struct.pack(order + "H", entries)
    for tag in range(entries):
        directory += struct.pack(order + "HHLL", 40_000 + tag, 1, values, 8)
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "L", 8)
    return start + directory + bytes(4 + max(0, values - 12 * entries))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (with_segments(JPEG, b"\xff\xe9\0\2" * 20_000), "segments"),
        (with_segments(JPEG, b"\xff" * 2000), "bytes between"),
        (with_scans(PROGRESSIVE, 200), "scans"),
        (with_segments(JPEG, b"\xff\xe1\xff\xffExif\0\0" + bytes(65_527)) * 1, None),
        (with_segments(JPEG, (b"\xff\xe1\xff\xffExif\0\0" + bytes(65_527)) * 70), "EXIF"),
        (PNG[:33] + EMPTY_CHUNK * 20_000 + PNG[33:], "chunks"),
        (WEBP + b"XXXX\0\0\0\0" * 20_000, "chunks"),
        (AVIF + b"\0\0\0\x08free" * 20_000, "boxes"),
        (tiff(100, 10_000), "name more bytes"),
        (tiff(100, 10_000, ">"), "name more bytes"),
    ],
)
def test_files_of_more_pieces_than_any_photo_are_refused(data: bytes, said: str | None) -> None:
    if said is None:
        read_photo(data)
    else:
        with pytest.raises(PictureError, match=said):
            read_photo(data)


def test_directories_that_go_round_end() -> None:
    data = bytearray(tiff(1, 1))
    data[22:26] = struct.pack("<L", 8)
    refuse_costly(bytes(data), "TIFF")


def test_a_chain_of_directories_is_not_followed_for_ever() -> None:
    chain = b"II*\0" + struct.pack("<L", 8)
    for number in range(1000):
        chain += struct.pack("<HL", 0, 8 + 6 * (number + 1))
    with pytest.raises(CostlyFile, match="directories"):
        refuse_costly(chain, "TIFF")


def test_an_exif_block_is_counted_as_a_tiff_is() -> None:
    with pytest.raises(CostlyFile, match="name more bytes"):
        refuse_costly_exif(tiff(4000, 48_000))
    with pytest.raises(CostlyFile, match="MiB"):
        refuse_costly_exif(bytes(5 << 20))


@pytest.mark.parametrize("data", [JPEG, PROGRESSIVE, PNG, WEBP, TIFF, AVIF], ids=range(6))
def test_usual_files_are_read_and_their_beginnings_counted(data: bytes) -> None:
    assert read_photo(data).pixels.shape == (48, 64, 3)
    for length in range(0, len(data), 7):
        refuse_costly(data[:length], read_photo(data).format)


def test_restart_markers_and_stuffed_bytes_are_pixels() -> None:
    coded = b"\xff\0" * 50_000 + b"".join(b"\xff" + bytes([0xD0 + n % 8]) for n in range(50_000))
    scan = JPEG.rindex(b"\xff\xda")
    refuse_costly(JPEG[: scan + 14] + coded + b"\xff\xd9", "JPEG")

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


def segment(marker: int, data: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(data) + 2) + data


def exif_segment(block: bytes) -> bytes:
    return segment(0xE1, b"Exif\0\0" + block)


def numbers(count: int) -> bytes:
    """A TIFF with one tag of many fractions, each of which becomes an object."""
    directory = struct.pack("<HHHLLL", 1, 60_000, 5, count, 26, 0)
    return b"II*\0" + struct.pack("<L", 8) + directory + struct.pack("<LL", 3, 7) * count


def run_lengths(width_px: int, height_px: int, compression: int) -> bytes:
    """A BMP of a hundred bytes whose rows a reader fills pixel by pixel."""
    head = struct.pack("<LllHHLLLLLL", 40, width_px, height_px, 1, 8, compression, 4, 0, 0, 0, 0)
    return b"BM" + struct.pack("<LHHL", 58, 0, 0, 54) + head + b"\1\0\0\0"


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
        (with_segments(JPEG, b"\xff\xe1\0\x0aExif\0\0xx" * 200), "EXIF takes more"),
        (with_segments(JPEG, exif_segment(tiff(400, 48_000))), "name more bytes"),
        (with_segments(JPEG, exif_segment(b"Exif\0\0" + tiff(400, 48_000))), "name more bytes"),
        (with_segments(JPEG, segment(0xE2, b"MPF\0" + tiff(400, 48_000))), "name more bytes"),
        (numbers(150_000), "100000 numbers"),
        (run_lengths(20_000, 10_000, 1), "run-length"),
        (run_lengths(20_000, 10_000, 2), "run-length"),
        (run_lengths(20_000, -10_000, 1), "run-length"),
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


def test_the_exif_of_an_avif_is_counted_before_anybody_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded("AVIF", exif=tiff(1, 4000))
    assert read_photo(data).metadata.exif
    counted: list[bytes] = []
    monkeypatch.setattr("facemend.io.formats.refuse_costly_exif", counted.append)
    read_photo(data)
    assert counted[0].removeprefix(b"Exif\0\0").startswith(b"II*")
    monkeypatch.undo()
    monkeypatch.setattr("facemend.io.limits.MOST_METADATA_BYTES", 1000)
    with pytest.raises(PictureError, match="EXIF"):
        read_photo(data)


def test_a_small_run_length_coded_bmp_and_one_with_an_old_head_are_read() -> None:
    refuse_costly(run_lengths(500, 400, 1), "BMP")
    refuse_costly(b"BM" + bytes(12) + struct.pack("<L", 12) + b"\1\0\0\0" * 8, "BMP")

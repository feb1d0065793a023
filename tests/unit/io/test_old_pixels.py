"""A marker picture in every place of a file that shows or depends on the old pixels comes out of none."""

import base64
import struct
import zlib
from collections.abc import Callable
from functools import partial
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin, TiffImagePlugin

from facemend.errors import OutputError
from facemend.io import encode_photo, read_photo
from facemend.io.xmp import packet_of
from tests.photo_files import LATITUDE, NOTE, XMP, exif, file_of, latitude, noise, plain_file_of

MARKER = plain_file_of(noise("RGB", 16, 16, seed=9), "JPEG")
CORE = MARKER[len(MARKER) // 2 : -8]
"""Bytes that no other picture holds."""
RAW = np.asarray(noise("RGB", 12, 10, seed=8)).tobytes()


def changed_file(data: bytes) -> bytes:
    photo = read_photo(data, name="it")
    return encode_photo(photo.with_pixels(255 - photo.pixels), note=NOTE)


def exif_with_thumbnail(*, compressed: bool = True) -> bytes:
    """EXIF with a place in it, and a thumbnail in its second directory (IFD1)."""
    block = bytearray(exif().removeprefix(b"Exif\0\0"))
    order = ">" if block[:2] == b"MM" else "<"
    pixels = MARKER if compressed else RAW
    first = struct.unpack_from(order + "L", block, 4)[0]
    count = struct.unpack_from(order + "H", block, first)[0]
    second = len(block)
    struct.pack_into(order + "L", block, first + 2 + 12 * count, second)
    tags = {513: second + 30, 514: len(pixels)} if compressed else {273: second + 30, 279: len(pixels)}
    entries = b"".join(struct.pack(order + "HHLL", tag, 4, 1, value) for tag, value in tags.items())
    return bytes(block) + struct.pack(order + "H", 2) + entries + bytes(4) + pixels


def exif_with_subdirectory() -> bytes:
    """EXIF whose first directory has a further one (SubIFDs) with pixels."""
    preview = (
        struct.pack("<H", 2) + struct.pack("<HHLLHHLL", 273, 4, 1, 100, 279, 4, 1, len(RAW)) + bytes(4)
    )
    make = b"A camera's maker\0"
    first = struct.pack("<H", 2) + struct.pack("<HHLLHHLL", 271, 2, len(make), 38, 330, 4, 1, 60) + bytes(4)
    return (b"II*\0\x08\0\0\0" + first + make).ljust(60, b"\0") + preview.ljust(40, b"\0") + RAW


def exif_with_makers_preview() -> bytes:
    block = Image.Exif()
    block.get_ifd(0x8825)[2] = LATITUDE
    block.get_ifd(0x8769)[0x927C] = b"maker\0" + MARKER + b"more of the note"
    return block.tobytes().removeprefix(b"Exif\0\0")


def xmp_with_thumbnail() -> bytes:
    inside = (
        b'<xmp:Thumbnails xmlns:xmp="http://ns.adobe.com/xap/1.0/"><rdf:Alt>'
        b'<rdf:li rdf:parseType="Resource">'
        b'<g:image xmlns:g="http://ns.adobe.com/xap/1.0/g/img/">' + base64.b64encode(MARKER) + b"</g:image>"
        b"</rdf:li></rdf:Alt></xmp:Thumbnails></rdf:Description>"
    )
    return XMP.replace(b'dc:format="image/any"/>', b'dc:format="image/any">' + inside)


def resource(number: int, data: bytes) -> bytes:
    return b"8BIM" + struct.pack(">HHL", number, 0, len(data)) + data + bytes(len(data) % 2)


RESOURCES = resource(1028, b"\x1c\x02\x05\0\x03abc") + resource(1036, MARKER) + resource(1033, MARKER)


def segment(marker: int, data: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(data) + 2) + data


def jpeg_with(*segments: bytes) -> bytes:
    return file_of(noise("RGB", 16, 16), "JPEG", extra=b"".join(segments))


def jfif_with_thumbnail() -> bytes:
    data = file_of(noise("RGB", 16, 16), "JPEG")
    assert data[2:4] == b"\xff\xe0"
    return data[:2] + segment(0xE0, data[6:18] + bytes((12, 10)) + RAW) + data[20:]


def extended_xmp() -> bytes:
    packet = xmp_with_thumbnail()
    head = bytes(32) + struct.pack(">LL", len(packet), 0)
    return segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + head + packet)


def png_with_profile() -> bytes:
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("Raw profile type APP1", f"\ngeneric\n {len(MARKER)}\n{MARKER.hex()}\n", zip=True)
    return file_of(noise("RGB", 16, 16), "PNG", pnginfo=chunks)


def tiff_with(tag: int, data: bytes) -> bytes:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[tag], tags.tagtype[tag] = data, 7
    return plain_file_of(noise("RGB", 16, 16), "TIFF", tiffinfo=tags)


def photo_with(kind: str, block: bytes) -> bytes:
    return file_of(noise("RGB", 16, 16), kind, exif=b"Exif\0\0" + block)


PREVIEWS: dict[str, Callable[[], bytes]] = {
    "JFIF": jfif_with_thumbnail,
    "JFXX": lambda: jpeg_with(segment(0xE0, b"JFXX\0\x10" + MARKER)),
    "Photoshop": lambda: jpeg_with(segment(0xED, b"Photoshop 3.0\0" + RESOURCES)),
    "Photoshop in two segments": lambda: jpeg_with(
        segment(0xED, b"Photoshop 3.0\0" + RESOURCES[:60]),
        segment(0xED, b"Photoshop 3.0\0" + RESOURCES[60:]),
    ),
    "FlashPix": lambda: jpeg_with(segment(0xE2, b"FPXR\0" + MARKER)),
    "thermal camera": lambda: jpeg_with(segment(0xE1, b"FLIR\0" + MARKER)),
    "a maker's segments": lambda: jpeg_with(
        segment(0xE4, MARKER[: len(MARKER) // 2]), segment(0xE4, MARKER[len(MARKER) // 2 :])
    ),
    "C2PA": lambda: jpeg_with(segment(0xEB, b"JP\0\1" + MARKER)),
    "XMP that goes on": lambda: jpeg_with(extended_xmp()),
    "ImageMagick's profile": png_with_profile,
    "Photoshop in TIFF": lambda: tiff_with(34377, RESOURCES),
    "a tag of TIFF": lambda: tiff_with(65000, MARKER),
    "C2PA in TIFF": lambda: tiff_with(52545, MARKER),
}
for _kind in ("JPEG", "PNG", "WEBP", "AVIF"):
    for _name, _block in {
        "thumbnail": exif_with_thumbnail(),
        "uncompressed thumbnail": exif_with_thumbnail(compressed=False),
        "subdirectory": exif_with_subdirectory(),
        "maker's note": exif_with_makers_preview(),
    }.items():
        if _kind == "AVIF" and "thumbnail" in _name:  # Pillow's writer leaves it out itself
            continue
        PREVIEWS[f"{_name} in {_kind}"] = partial(photo_with, _kind, _block)


def holds_marker(data: bytes) -> bool:
    forms = (CORE, RAW[40:-40], CORE.hex().encode(), base64.b64encode(CORE)[8:-8])
    texts = [data]
    if data.startswith(b"\x89PNG"):
        with Image.open(BytesIO(data)) as picture:
            texts += [str(value).encode() for value in picture.info.values()]
    # In base64 the bytes have one of three places.
    return any(form in text for form in forms for text in texts) or any(
        base64.b64encode(CORE[shift : shift + 60]) in text for shift in range(3) for text in texts
    )


@pytest.mark.parametrize("place", PREVIEWS)
def test_a_preview_of_the_old_pixels_goes(place: str) -> None:
    data = PREVIEWS[place]()
    assert holds_marker(data)
    assert encode_photo(read_photo(data), note=NOTE) == data  # an unchanged one keeps its own
    assert not holds_marker(changed_file(data))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
def test_a_preview_does_not_travel_into_another_format(kind: str) -> None:
    photo = read_photo(photo_with("JPEG", exif_with_thumbnail()))
    written = encode_photo(
        photo.with_pixels(255 - photo.pixels),
        {f.upper(): f for f in photo.format.__class__}[kind],
        note=NOTE,
    )
    assert not holds_marker(written)
    assert latitude(read_photo(written).metadata.exif) == LATITUDE


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_xmp_loses_its_thumbnails_and_nothing_else(kind: str) -> None:
    chunks = PngImagePlugin.PngInfo()
    chunks.add_itxt("XML:com.adobe.xmp", xmp_with_thumbnail().decode())
    options: dict[str, Any] = {"pnginfo": chunks} if kind == "PNG" else {"xmp": xmp_with_thumbnail()}
    data = file_of(noise("RGB", 16, 16), kind, **options)
    written = changed_file(data)
    assert holds_marker(data)
    assert not holds_marker(written)
    assert b"dc:format" in (read_photo(written).metadata.xmp or b"")


@pytest.mark.parametrize("place", [place for place in PREVIEWS if " in " in place and "TIFF" not in place])
def test_all_else_in_exif_stays(place: str) -> None:
    data = PREVIEWS[place]()
    before, after = (read_photo(each).metadata.exif for each in (data, changed_file(data)))
    if "subdirectory" in place:
        assert after is not None
        assert b"A camera's maker" in after
    else:
        assert latitude(after) == latitude(before)
    if "maker" in place:
        assert after is not None
        assert b"more of the note" in after


def test_iptc_stays_beside_thumbnails_of_photoshop() -> None:
    for place in ("Photoshop", "Photoshop in two segments", "Photoshop in TIFF"):
        assert b"\x1c\x02\x05\0\x03abc" in changed_file(PREVIEWS[place]())


def test_the_resolution_stays_beside_a_thumbnail_of_jfif() -> None:
    for strip in (False, True):
        written = encode_photo(read_photo(jfif_with_thumbnail()), note=NOTE, strip=strip)
        with Image.open(BytesIO(written)) as picture:
            assert picture.info["dpi"] == (300, 300)
        assert strip != holds_marker(written)


# What belongs to the old pixels and is no preview


def with_boxes(*boxes: bytes) -> bytes:
    return file_of(noise("RGB", 32, 32), "AVIF") + b"".join(
        struct.pack(">L", len(data) + 8) + name + data
        for name, data in zip(boxes[::2], boxes[1::2], strict=True)
    )


def avif_with_layer() -> bytes:
    """The opacity of an AVIF, said to be depth: the names have the same length."""
    data = file_of(noise("RGBA", 32, 32), "AVIF")
    name = b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha"
    assert name in data
    return data.replace(name, name.replace(b"alpha", b"depth"))


def png_with_chunk(kind: bytes) -> bytes:
    data = file_of(noise("RGB", 16, 16), "PNG")
    body = kind + MARKER
    return (
        data[:33] + struct.pack(">L", len(MARKER)) + body + struct.pack(">L", zlib.crc32(body)) + data[33:]
    )


def samsung_trailer(name: bytes, content: bytes) -> bytes:
    part = struct.pack("<HHL", 0, 0x0A01, len(name)) + name + content
    index = b"SEFH" + struct.pack("<LLHHLL", 106, 1, 0, 0x0A01, len(part), len(part))
    return part + index + struct.pack("<L", len(index)) + b"SEFT"


LAYERS: dict[str, Callable[[], bytes]] = {
    "a video behind the end": lambda: jpeg_with() + samsung_trailer(b"MotionPhoto_Data", MARKER),
    "a trailer without an index": lambda: jpeg_with() + b"Image_UTC_Data1234567890123SEFHxxxxSEFT",
    "a picture behind the end of PNG": lambda: file_of(noise("RGB", 16, 16), "PNG") + MARKER,
    "a picture behind the end of WebP": lambda: file_of(noise("RGB", 16, 16), "WEBP") + MARKER,
    "a motion photo's box": lambda: with_boxes(b"mpvd", MARKER),
    "a picture behind the boxes": lambda: with_boxes() + MARKER,
    "depth in AVIF": avif_with_layer,
    "a gain map in PNG": lambda: png_with_chunk(b"gdAT"),
    "Photoshop's layers in TIFF": lambda: tiff_with(
        37724, b"Adobe Photoshop Document Data Block\0" + MARKER
    ),
}


@pytest.mark.parametrize("place", LAYERS)
def test_what_belongs_to_the_old_pixels_is_refused_or_left_out_on_request(place: str) -> None:
    data = LAYERS[place]()
    photo = read_photo(data, name="it")
    assert encode_photo(photo, note=NOTE) == data
    pixels = photo.with_pixels(255 - photo.pixels)
    with pytest.raises(OutputError, match=r"^it holds more than its picture .* primary_only=True"):
        encode_photo(pixels, note=NOTE)
    assert not holds_marker(encode_photo(pixels.without_layers(), note=NOTE))


def test_depth_and_gain_maps_of_heic_are_layers() -> None:
    package = pytest.importorskip("pillow_heif")
    file = BytesIO()
    package.from_pillow(noise("RGBA", 64, 64)).save(file, quality=90)
    alpha = b"urn:mpeg:hevc:2015:auxid:1"
    assert alpha in file.getvalue()
    assert not read_photo(file.getvalue()).layered
    for name in (b"urn:mpeg:hevc:2015:auxid:2", b"urn:com:apple:p:20:gainmap"):
        assert read_photo(file.getvalue().replace(alpha, name)).layered


def test_samsungs_trailer_of_words_is_carried_over() -> None:
    trailer = samsung_trailer(b"Image_UTC_Data", b"1764543600000")
    data = file_of(noise("RGB", 16, 16), "JPEG") + trailer
    assert not read_photo(data).layered
    assert changed_file(data).endswith(trailer)
    assert trailer not in encode_photo(read_photo(data), strip=True)


# Metadata that no photo is refused for


_SHELL = b'<x:xmpmeta xmlns:x="adobe:ns:meta/">%s</x:xmpmeta>\0'
_EMPTY_RDF = b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"/>'


@pytest.mark.parametrize("packet", [_SHELL % b"", _SHELL % _EMPTY_RDF, b"\n" + _EMPTY_RDF])
def test_a_packet_without_descriptions_says_nothing(packet: bytes) -> None:
    assert packet_of(packet) is None


@pytest.mark.parametrize("packet", [b"\n <?xml version='1.0'?>" + XMP, b"\xef\xbb\xbf" + XMP])
def test_what_lies_before_a_packet_does_not_matter(packet: bytes) -> None:
    written = changed_file(file_of(noise("RGB", 16, 16), "JPEG", xmp=packet))
    assert b"dc:format" in (read_photo(written).metadata.xmp or b"")


@pytest.mark.parametrize(
    "packet", [b" " * 99, b"\n\0\0", XMP.decode().encode("utf-16"), XMP.decode().encode("utf-32-be")]
)
def test_a_packet_of_blanks_or_in_another_utf_is_read(packet: bytes) -> None:
    written = (
        read_photo(changed_file(file_of(noise("RGB", 16, 16), "JPEG", xmp=packet))).metadata.xmp or b""
    )
    assert b"Provenance" in written
    assert (b"dc:format" in written) == (b"d" in packet)


@pytest.mark.filterwarnings("ignore")  # Pillow warns of it and goes on
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize(
    "block",
    [
        b"no tiff",
        b"II*\0\xff\xff\xff\xff",
        # Its orientation is a text.
        b"II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x05\0\0\0\x1a\0\0\0\0\0\0\0five\0",
        exif()[:60].removeprefix(b"Exif\0\0"),
    ],
)
def test_broken_exif_goes_along_or_is_left_out(kind: str, block: bytes) -> None:
    photo = read_photo(file_of(noise("RGB", 16, 16), "JPEG", exif=b"Exif\0\0" + block))
    kinds = {each.upper(): each for each in photo.format.__class__}
    written = encode_photo(photo.with_pixels(255 - photo.pixels), kinds[kind], note=NOTE)
    assert read_photo(written).orientation == 1

import struct
import sys
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin, TiffImagePlugin

from facemend.errors import OutputError, PictureError, UsageError
from facemend.io import (
    Format,
    Photo,
    encode_photo,
    photo_of_pillow,
    photo_of_pixels,
    read_photo,
    read_record,
    write_photo,
)
from tests.photo_files import (
    ICC,
    LATITUDE,
    MODES,
    NOTE,
    XMP,
    decoded,
    exif,
    file_of,
    latitude,
    noise,
    plain_file_of,
)


def changed(photo: Photo) -> Photo:
    pixels = photo.pixels.copy()
    pixels[0, 0] ^= 255
    return photo.with_pixels(pixels)


def rewritten(data: bytes, kind: Format | None = None) -> bytes:
    """The file of the photo with one other pixel."""
    return encode_photo(changed(read_photo(data, name="a.file")), kind, note=NOTE)


def info_of(data: bytes) -> dict[str | tuple[int, int], Any]:
    with Image.open(BytesIO(data)) as picture:
        picture.load()
        return picture.info


def png_with_header(data: bytes, width_px: int, height_px: int, bits: int = 8) -> bytes:
    header = b"IHDR" + struct.pack(">II", width_px, height_px) + bytes((bits,)) + data[25:29]
    return data[:12] + header + zlib.crc32(header).to_bytes(4, "big") + data[33:]


# What is read


def test_a_photo_is_read_from_a_path_an_open_file_and_bytes(tmp_path: Path) -> None:
    data = file_of(noise("RGB", 5, 4), "PNG")
    path = tmp_path / "a.png"
    path.write_bytes(data)
    for source in (path, BytesIO(data), data):
        np.testing.assert_array_equal(read_photo(source).pixels, decoded(data))
    assert read_photo(path).name == str(path)
    assert read_photo(path, name="mine").name == "mine"


def test_the_format_is_what_the_file_holds_and_not_its_name(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(file_of(noise("RGB", 5, 4), "PNG"))
    assert read_photo(path).format is Format.PNG


def test_a_colour_key_is_read_as_opacity() -> None:
    pixels = np.zeros((2, 2, 3), dtype=np.uint8)
    pixels[0, 0] = 9
    data = plain_file_of(Image.fromarray(pixels), "PNG", transparency=(9, 9, 9))
    photo = read_photo(data)
    assert photo.opacity is not None
    assert photo.opacity.tolist() == [[0, 255], [255, 255]]
    again = read_photo(encode_photo(photo.with_pixels(pixels + 9)))
    assert again.opacity is not None
    assert again.opacity.tolist() == photo.opacity.tolist()


def test_new_pixels_of_a_gray_photo_turn_gray() -> None:
    photo = changed(read_photo(file_of(noise("L", 4, 4), "PNG")))
    colourful = photo.with_pixels(np.asarray(noise("RGB", 4, 4, seed=1)))
    assert np.ptp(colourful.pixels, axis=2).max() == 0
    np.testing.assert_array_equal(read_photo(encode_photo(colourful)).pixels, colourful.pixels)


def test_new_pixels_have_the_old_size() -> None:
    photo = photo_of_pixels(np.zeros((2, 3, 3), dtype=np.uint8))
    with pytest.raises(ValueError, match=r"uint8 \(3, 2, 3\), not uint8 \(2, 3, 3\)"):
        photo.with_pixels(np.zeros((3, 2, 3), dtype=np.uint8))


def test_a_pillow_picture_is_taken_as_it_lies_in_memory() -> None:
    with Image.open(BytesIO(file_of(noise("LA", 5, 3), "PNG", orientation=6))) as picture:
        photo = photo_of_pillow(picture)
        assert photo.to_pillow().tobytes() == picture.tobytes()
    assert (photo.gray, photo.metadata.icc, photo.source) == (True, ICC, None)
    again = read_photo(encode_photo(photo))
    assert (again.gray, again.metadata.icc, again.pixels.tolist()) == (True, ICC, photo.pixels.tolist())
    with pytest.raises(PictureError, match="it has the colour mode I;16"):
        photo_of_pillow(Image.new("I;16", (4, 4)), name="it")


# What is refused


@pytest.mark.parametrize(
    ("mode", "kind"), [("CMYK", "JPEG"), ("CMYK", "TIFF"), ("LAB", "TIFF"), ("F", "TIFF")]
)
def test_other_colour_spaces_are_refused(mode: str, kind: str) -> None:
    data = plain_file_of(Image.new(mode, (4, 4)), kind)
    with pytest.raises(PictureError, match=r"^it has (the colour mode|32 bits).*; convert it to 8"):
        read_photo(data, name="it")


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_of_gray_are_refused(kind: str) -> None:
    with pytest.raises(PictureError, match=r"^it has 16 bits a channel; convert it to 8 first$"):
        read_photo(plain_file_of(Image.new("I;16", (4, 4)), kind), name="it")


def test_sixteen_bits_of_colour_are_refused_which_pillow_would_cut() -> None:
    data = png_with_header(plain_file_of(Image.new("RGB", (2, 1)), "PNG"), 1, 1, bits=16)
    with Image.open(BytesIO(data)) as picture:
        assert picture.mode == "RGB"
    with pytest.raises(PictureError, match="16 bits a channel"):
        read_photo(data)


@pytest.mark.parametrize(("flags", "bits"), [(0x40, 10), (0x60, 12)])
def test_ten_and_twelve_bits_of_avif_are_refused(flags: int, bits: int) -> None:
    data = bytearray(plain_file_of(noise("RGB", 8, 8), "AVIF"))
    data[data.find(b"av1C") + 6] |= flags
    with pytest.raises(PictureError, match=rf"{bits} bits a channel|cannot be read as a picture"):
        read_photo(bytes(data))


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "AVIF"])
def test_several_pictures_in_one_file_are_refused(kind: str) -> None:
    frames = [noise("RGB", 8, 8, seed) for seed in range(2)]
    data = plain_file_of(frames[0], kind, save_all=True, append_images=frames[1:])
    with pytest.raises(
        PictureError, match=r"^it holds more than one picture .* save the one that you mean"
    ):
        read_photo(data, name="it")


GAIN_MAP = XMP.replace(
    b"<rdf:Description ", b'<rdf:Description xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" ', 1
)


def layered_files() -> dict[str, bytes]:
    """JPEG files with more than their primary picture: two pictures, and a gain map told in XMP alone."""
    primary, other = noise("RGB", 16, 8), noise("RGB", 16, 8, 1)
    two = file_of(primary, "MPO", save_all=True, append_images=[other])
    return {"MPO": two, "Ultra HDR": file_of(primary, "JPEG", xmp=GAIN_MAP) + plain_file_of(other, "JPEG")}


@pytest.mark.parametrize("name", ["MPO", "Ultra HDR"])
def test_layers_of_a_jpeg_are_never_dropped_unasked(name: str) -> None:
    data = layered_files()[name]
    photo = read_photo(data, name="it")
    assert photo.layered
    np.testing.assert_array_equal(photo.pixels, decoded(data))
    assert encode_photo(photo, note=NOTE) == data
    changed = photo.with_pixels(255 - photo.pixels)
    for kind in (Format.JPEG, Format.PNG):
        with pytest.raises(
            OutputError, match=r"^it holds more than its picture .* primary_only=True writes"
        ):
            encode_photo(changed, kind)
    with pytest.raises(OutputError, match="holds more than its picture"):
        encode_photo(photo, strip=True)
    alone = encode_photo(changed.without_layers(), note=NOTE)
    again = read_photo(alone)
    assert not again.layered
    assert b"hdr-gain-map" not in alone
    assert b"MPF\0" not in alone
    assert again.metadata.exif == photo.metadata.exif
    assert again.metadata.icc == photo.metadata.icc
    with Image.open(BytesIO(alone)) as picture:
        assert (picture.format, getattr(picture, "n_frames", 1)) == ("JPEG", 1)


def test_a_plain_jpeg_has_no_layers() -> None:
    photo = read_photo(file_of(noise("RGB", 16, 8), "JPEG"))
    assert not photo.layered
    assert photo.without_layers() is photo


def test_premultiplied_opacity_is_refused() -> None:
    data = plain_file_of(noise("RGBA", 4, 4), "TIFF")
    straight = struct.pack("<HHLHH", 338, 3, 1, 2, 0)
    assert data.count(straight) == 1
    with pytest.raises(PictureError, match="premultiplied opacity; save it with straight opacity"):
        read_photo(data.replace(straight, struct.pack("<HHLHH", 338, 3, 1, 1, 0)))


@pytest.mark.parametrize(
    "data", [b"", b"no picture", b"GIF89a" + bytes(99), b"\0\0\0\x18ftypisom" + bytes(99)]
)
def test_what_is_no_photo_is_refused_with_the_formats_that_are(data: bytes) -> None:
    with pytest.raises(PictureError, match=r"^it is not a picture that can be read; use PNG, JPEG, WebP"):
        read_photo(data, name="it")


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r"gone\.png does not exist"):
        read_photo(tmp_path / "gone.png")
    with pytest.raises(PictureError, match="cannot be read: Is a directory"):
        read_photo(tmp_path)


def test_a_bomb_is_refused_before_it_is_decoded_and_the_limit_can_be_raised() -> None:
    small = plain_file_of(Image.new("L", (4, 4)), "PNG")
    with pytest.raises(
        PictureError, match=r"is 50000×50000, more than 200,000,000 pixels; make it smaller first$"
    ):
        read_photo(png_with_header(small, 50_000, 50_000))
    with pytest.raises(PictureError, match="more than 15 pixels"):
        read_photo(small, max_pixels=15)
    assert read_photo(small, max_pixels=16).gray


def test_a_size_that_pillow_would_warn_of_is_read_in_silence() -> None:
    limit = Image.MAX_IMAGE_PIXELS or 0
    with pytest.raises(
        PictureError, match="cannot be read as a picture"
    ):  # no warning: that is an error here
        read_photo(
            png_with_header(plain_file_of(Image.new("L", (4, 4)), "PNG"), limit // 9_999 + 9, 10_000)
        )


@pytest.mark.parametrize("kind", MODES)
def test_a_truncated_file_is_one_line(kind: str) -> None:
    data = plain_file_of(noise("RGB", 64, 64), kind)
    with pytest.raises(PictureError, match=r"^it cannot be read as a picture: [^\n]+$"):
        read_photo(data[: len(data) // 2], name="it")


@pytest.mark.filterwarnings("ignore")  # Pillow warns of it and goes on
def test_what_only_begins_like_a_photo_is_one_line() -> None:
    gif = plain_file_of(noise("P", 8, 8), "GIF")
    for start in (
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff",
        b"RIFF\0\0\0\0WEBP",
        b"II*\0",
        b"\0\0\0\x18ftypavif",
        b"BM",
    ):
        with pytest.raises(PictureError, match=r"^it cannot be read as a picture: [^\n]+$"):
            read_photo(start + gif, name="it")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "AVIF"])
def test_what_lies_behind_a_photo_is_neither_carried_over_nor_dropped_unasked(kind: str) -> None:
    data = file_of(noise("RGB", 16, 16), kind) + b"PK\x03\x04 an archive"
    with pytest.raises(OutputError, match="holds more than its picture"):
        rewritten(data)
    alone = encode_photo(changed(read_photo(data)).without_layers(), note=NOTE)
    assert b"an archive" not in alone
    assert latitude(read_photo(alone).metadata.exif) == LATITUDE


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "AVIF"])
def test_padding_behind_a_photo_says_nothing(kind: str) -> None:
    assert not read_photo(file_of(noise("RGB", 16, 16), kind) + bytes(512) + b"\r\n").layered


@pytest.mark.filterwarnings("ignore")  # Pillow warns of it and goes on
@pytest.mark.parametrize("block", [b"Exif\0\0no tiff", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0"])
@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_broken_exif_turns_nothing_and_stays(kind: str, block: bytes) -> None:
    data = plain_file_of(noise("RGB", 8, 8), kind, exif=block)
    photo = read_photo(data)
    assert photo.orientation == 1
    assert read_photo(encode_photo(changed(photo))).metadata.exif == photo.metadata.exif


# What is written


def test_exif_larger_than_a_segment_stays_in_a_jpeg_and_is_one_line_elsewhere() -> None:
    png = file_of(noise("RGB", 8, 8), "PNG", exif=exif() + bytes(70_000))
    assert len(read_photo(rewritten(png)).metadata.exif or b"") > 70_000
    with pytest.raises(OutputError, match=r"^a\.file has metadata too large for a JPEG; write PNG"):
        rewritten(png, Format.JPEG)


def test_a_broken_profile_is_none_of_our_business() -> None:
    for kind in ("PNG", "JPEG", "TIFF", "WEBP"):
        data = file_of(noise("RGB", 8, 8), kind, icc_profile=b"no profile")
        assert read_photo(rewritten(data)).metadata.icc == b"no profile"


def test_a_large_profile_goes_into_several_segments_of_a_jpeg() -> None:
    large = bytes(range(256)) * 600
    png = file_of(noise("RGB", 8, 8), "PNG", icc_profile=large)
    assert read_photo(rewritten(png, Format.JPEG)).metadata.icc == large
    assert read_photo(rewritten(rewritten(png, Format.JPEG))).metadata.icc == large


def test_xmp_that_cannot_be_read_is_not_thrown_away_unasked() -> None:
    photo = changed(read_photo(file_of(noise("RGB", 8, 8), "JPEG", xmp=b"<broken"), name="it"))
    with pytest.raises(
        OutputError, match=r"^it has XMP metadata that cannot be kept \(.*\); strip=True leaves"
    ):
        encode_photo(photo, note=NOTE)
    assert read_photo(encode_photo(photo)).metadata.xmp == b"<broken"
    assert b"broken" not in encode_photo(photo, note=NOTE, strip=True)


def test_png_keeps_colour_texts_and_chunks_that_are_safe_to_copy() -> None:
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("Author", "somebody")
    chunks.add_itxt("Title", "Größe")
    chunks.add(b"gAMA", struct.pack(">I", 45455))
    chunks.add(b"sRGB", b"\1")
    chunks.add(b"exAm", b"safe")
    chunks.add(b"exAM", b"unsafe")
    data = rewritten(plain_file_of(noise("P", 8, 8), "PNG", pnginfo=chunks))
    info = info_of(data)
    assert (info["Author"], info["Title"]) == ("somebody", "Größe")
    assert (info["gamma"], info["srgb"]) == (0.45455, 1)
    assert b"exAm" in data
    assert b"exAM" not in data
    stripped = info_of(encode_photo(read_photo(data), strip=True))
    assert stripped.keys() == {"gamma", "srgb"}


def test_jpeg_keeps_iptc_comments_and_segments_of_others() -> None:
    iptc = b"Photoshop 3.0\08BIM\x04\x04\0\0\0\0\0\x08\x1c\x02\x05\0\x03abc"
    extra = b"\xff\xed" + struct.pack(">H", len(iptc) + 2) + iptc + b"\xff\xeb\0\x08theirs"
    source = file_of(noise("RGB", 8, 8), "JPEG", extra=extra, comment=b"a comment")
    data = rewritten(source)
    assert iptc in data
    assert b"\xff\xeb\0\x08theirs" in data
    assert info_of(data)["comment"] == b"a comment"
    assert data[2:20] == source[2:20]  # JFIF with its 300 pixels an inch
    stripped = encode_photo(read_photo(data), strip=True)
    assert not any(word in stripped for word in (b"Photoshop", b"theirs", b"comment", b"Exif"))
    assert info_of(stripped)["dpi"] == (300, 300)


def test_a_signature_of_the_old_pixels_is_not_carried_over() -> None:
    source = file_of(noise("RGB", 8, 8), "JPEG", extra=b"\xff\xeb\0\x0aJP\0\1c2pa")
    assert b"c2pa" in encode_photo(read_photo(source), note=NOTE)
    assert b"c2pa" not in rewritten(source)


def test_jpeg_of_rgb_stays_rgb() -> None:
    data = plain_file_of(noise("RGB", 16, 16), "JPEG", keep_rgb=True, quality=95)
    again = rewritten(data)
    assert info_of(again)["adobe_transform"] == 0
    assert np.abs(decoded(again).astype(int) - decoded(data))[1:].mean() < 3


@pytest.mark.parametrize(
    "compression", ["raw", "packbits", "tiff_lzw", "tiff_adobe_deflate", "zstd", "jpeg"]
)
def test_tiff_keeps_its_compression_and_predictor(compression: str) -> None:
    tags = {317: 2} if compression in ("tiff_lzw", "zstd") else {}
    data = plain_file_of(noise("RGB", 40, 30), "TIFF", compression=compression, tiffinfo=tags)
    with TiffImagePlugin.TiffImageFile(BytesIO(rewritten(data))) as again:
        assert again.info["compression"] == compression
        assert again.tag_v2.get(317) == tags.get(317)


def test_tiff_keeps_tags_that_it_does_not_know() -> None:
    tags = {
        315: "Artist",
        33723: b"\x1c\x02\x05\0\x03abc",
        34377: b"8BIM",
        65000: (1, 2, 3),
        65001: b"\0\xff",
    }
    data = plain_file_of(noise("RGB", 9, 9), "TIFF", compression="raw", tiffinfo=tags)
    with TiffImagePlugin.TiffImageFile(BytesIO(rewritten(data))) as again:
        assert {tag: again.tag_v2[tag] for tag in tags} == tags


def test_tiff_in_a_compression_for_black_and_white_alone_gets_another() -> None:
    data = plain_file_of(noise("1", 40, 30), "TIFF", compression="group4")
    assert info_of(rewritten(data))["compression"] == "tiff_lzw"


@pytest.mark.parametrize("kind", [Format.PNG, Format.JPEG, Format.TIFF])
def test_a_tiff_of_many_strips_goes_into_any_format(kind: Format) -> None:
    picture = noise("L", 300, 500)
    data = file_of(picture, "TIFF", compression="raw", strip_size=4096)
    again = read_photo(rewritten(data, kind))
    assert latitude(again.metadata.exif) == LATITUDE
    assert again.gray
    if kind is not Format.JPEG:
        assert np.array_equal(again.pixels[1:], read_photo(data).pixels[1:])


@pytest.mark.parametrize("lossless", [True, False])
def test_webp_stays_lossless_or_lossy(lossless: bool) -> None:
    data = file_of(noise("RGB", 16, 16), "WEBP", lossless=lossless)
    assert (b"VP8L" in rewritten(data)) == lossless


@pytest.mark.parametrize(("sampling", "bits"), [("4:4:4", 0b00), ("4:2:2", 0b10), ("4:2:0", 0b11)])
def test_avif_keeps_its_colour_resolution(sampling: str, bits: int) -> None:
    data = rewritten(plain_file_of(noise("RGB", 16, 16), "AVIF", subsampling=sampling))
    assert data[data.find(b"av1C") + 6] >> 2 & 0b11 == bits


def test_bmp_is_read_and_not_written() -> None:
    photo = read_photo(plain_file_of(noise("RGB", 4, 4), "BMP"))
    assert read_photo(encode_photo(photo, Format.PNG)).pixels.tolist() == photo.pixels.tolist()
    with pytest.raises(UsageError, match="does not write BMP; use PNG"):
        encode_photo(changed(photo))


def test_transparent_pixels_are_refused_by_jpeg_alone() -> None:
    with pytest.raises(
        OutputError, match=r"a\.file has transparent pixels, which no JPEG can hold; write PNG"
    ):
        rewritten(file_of(noise("RGBA", 8, 8), "PNG"), Format.JPEG)
    opaque = noise("RGBA", 8, 8)
    opaque.putalpha(255)
    assert read_photo(rewritten(file_of(opaque, "PNG"), Format.JPEG)).opacity is None


def test_a_profile_for_gray_is_refused_by_a_format_that_makes_colours_of_gray() -> None:
    gray = ICC[:16] + b"GRAY" + ICC[20:]
    data = file_of(noise("L", 8, 8), "PNG", icc_profile=gray)
    with pytest.raises(OutputError, match="has a colour profile for gray, which no WebP can hold"):
        rewritten(data, Format.WEBP)
    assert read_photo(rewritten(data, Format.AVIF)).metadata.icc == gray


def test_what_an_encoder_refuses_is_one_line() -> None:
    wide = photo_of_pixels(np.zeros((1, 17_000, 3), dtype=np.uint8), "it")
    with pytest.raises(OutputError, match=r"^it cannot be written as WebP: [^\n]+$"):
        encode_photo(wide, Format.WEBP)


# HEIC


def heic() -> tuple[Any, bytes]:
    package = pytest.importorskip("pillow_heif")
    file = BytesIO()
    picture = noise("RGB", 16, 12)
    package.from_pillow(picture).save(file, quality=90, exif=exif(6), xmp=XMP, icc_profile=ICC)
    return package, file.getvalue()


def test_heic_is_read_upright_and_written_with_what_it_says() -> None:
    _, data = heic()
    photo = read_photo(data)
    assert (photo.format, photo.orientation, photo.pixels.shape) == (Format.HEIC, 1, (16, 12, 3))
    assert encode_photo(photo) == data
    again = read_photo(rewritten(data))
    assert (again.format, again.pixels.shape, again.metadata.icc) == (Format.HEIC, (16, 12, 3), ICC)
    assert latitude(again.metadata.exif) == LATITUDE
    assert b"dc:format" in (again.metadata.xmp or b"")
    assert np.abs(again.pixels.astype(int) - changed(photo).pixels).mean() < 6


def test_heic_without_its_package_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, data = heic()
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(PictureError, match=r"^it is HEIC, which needs .*pip install 'facemend\[heic\]'"):
        read_photo(data, name="it")
    (tmp_path / "a.heic").write_bytes(data)
    assert read_record(tmp_path / "a.heic") is None
    with pytest.raises(OutputError, match=r"pip install 'facemend\[heic\]'"):
        encode_photo(photo_of_pixels(np.zeros((8, 8, 3), dtype=np.uint8)), Format.HEIC)


# Files


def test_the_suffix_names_the_format(tmp_path: Path) -> None:
    photo = photo_of_pixels(np.asarray(noise("RGB", 8, 8)))
    for name, kind in [
        ("a.png", "PNG"),
        ("a.JPG", "JPEG"),
        ("a.webp", "WEBP"),
        ("a.tif", "TIFF"),
        ("a.avif", "AVIF"),
    ]:
        write_photo(tmp_path / name, photo, note=NOTE)
        with Image.open(tmp_path / name) as picture:
            assert picture.format == kind
        assert read_record(tmp_path / name) == NOTE.record
    with pytest.raises(UsageError, match=r"name the output .*a\.png$"):
        write_photo(tmp_path / "a.gif", photo)
    with pytest.raises(OutputError, match="exists already"):
        write_photo(tmp_path / "a.png", photo)


def test_a_photo_without_a_record_has_none(tmp_path: Path) -> None:
    for kind in MODES:
        (tmp_path / "a").write_bytes(file_of(noise("RGB", 8, 8), kind))
        assert read_record(tmp_path / "a") is None
    (tmp_path / "a").write_bytes(file_of(noise("RGB", 8, 8), "JPEG", xmp=b"<broken"))
    assert read_record(tmp_path / "a") is None
    assert read_record(tmp_path / "none") is None
    assert read_record(tmp_path) is None


def test_a_palette_that_is_missing_is_an_error_of_ours() -> None:
    # Pillow asserts that it is there when it is asked for opacity; found by benchmarks/server_fuzz.py.
    picture = Image.new("P", (4, 4))
    file = BytesIO()
    picture.save(file, "PNG")
    data = file.getvalue()
    at = data.index(b"PLTE") - 4
    length = int.from_bytes(data[at : at + 4], "big") + 12
    with pytest.raises(PictureError, match="cannot be read"):
        read_photo(data[:at] + data[at + length :])

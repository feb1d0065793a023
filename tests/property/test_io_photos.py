"""Do no harm: a written photo shows and says what its source did, but for the pixels that changed."""

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from facemend.errors import FacemendError
from facemend.io import Format, Photo, encode_photo, read_photo
from tests.photo_files import ICC, LATITUDE, MODES, NOTE, XMP, decoded, exif, file_of, latitude, noise

_LOSSLESS = ("PNG", "TIFF", "WEBP")
_SOME = settings(max_examples=60)
_SIZES, _SEEDS = st.integers(1, 24), st.integers(0, 99)


@st.composite
def _files(draw: st.DrawFn, kinds: tuple[str, ...] = tuple(MODES)) -> bytes:
    kind = draw(st.sampled_from(kinds))
    mode = draw(st.sampled_from(MODES[kind]))
    picture = noise(mode, draw(_SIZES), draw(_SIZES), draw(_SEEDS))
    options = {"lossless": True} if kind == "WEBP" and kinds == _LOSSLESS else {}
    return file_of(picture, kind, orientation=draw(st.integers(1, 8)), **options)


def _changed(photo: Photo) -> Photo:
    """The photo with other colours in its top left quarter."""
    pixels = photo.pixels.copy()
    pixels[: pixels.shape[0] // 2 + 1, : pixels.shape[1] // 2 + 1] ^= 255
    return photo.with_pixels(pixels)


def _upright(data: bytes) -> Image.Image:
    with Image.open(BytesIO(data)) as picture:
        return ImageOps.exif_transpose(picture)


@_SOME
@given(_files())
def test_a_photo_is_read_as_pillow_displays_it(data: bytes) -> None:
    photo, upright = read_photo(data), _upright(data)
    np.testing.assert_array_equal(photo.pixels, upright.convert("RGB"))
    assert (photo.opacity is not None) == (upright.mode in ("RGBA", "LA"))
    if photo.opacity is not None:
        np.testing.assert_array_equal(photo.opacity, upright.getchannel("A"))
    np.testing.assert_array_equal(photo.to_pillow().convert("RGB"), photo.pixels)


@_SOME
@given(_files())
def test_an_unchanged_photo_is_its_file(data: bytes) -> None:
    photo = read_photo(data)
    assert encode_photo(photo, note=NOTE) == data
    assert encode_photo(photo.with_pixels(photo.pixels.copy())) == data


@_SOME
@given(_files(_LOSSLESS))
def test_a_lossless_file_changes_in_the_changed_pixels_alone(data: bytes) -> None:
    photo = _changed(read_photo(data))
    again = read_photo(encode_photo(photo, note=NOTE))
    np.testing.assert_array_equal(again.pixels, photo.pixels)
    assert again.format == photo.format
    if photo.opacity is not None and photo.opacity.min() < 255:
        assert again.opacity is not None
        np.testing.assert_array_equal(again.opacity, photo.opacity)


@_SOME
@given(_files())
def test_the_encoder_gets_the_source_with_the_changed_pixels(data: bytes) -> None:
    photo = read_photo(data)
    before, after = photo.to_stored(), _changed(photo).to_stored()
    with Image.open(BytesIO(data)) as picture:
        if picture.format != "TIFF":  # Pillow turns it as it loads
            np.testing.assert_array_equal(before.convert("RGBA"), picture.convert("RGBA"))
    assert (before.size, before.mode) == (after.size, after.mode)
    turned_back = photo.with_pixels(_changed(photo).pixels).with_pixels(photo.pixels)
    assert turned_back.to_stored().tobytes() == before.tobytes()


@_SOME
@given(_files())
def test_a_changed_file_says_what_its_source_said(data: bytes) -> None:
    photo = read_photo(data)
    encoded = encode_photo(_changed(photo), note=NOTE)
    again = read_photo(encoded)
    assert again.pixels.shape == photo.pixels.shape
    assert decoded(encoded).shape[:2] == decoded(data).shape[:2]
    assert (again.orientation, again.gray) == (photo.orientation, photo.gray)
    assert again.metadata.icc == photo.metadata.icc == ICC
    assert again.metadata.exif == photo.metadata.exif
    assert latitude(again.metadata.exif) == LATITUDE
    assert again.metadata.dpi == photo.metadata.dpi
    assert photo.metadata.xmp == XMP
    assert b'dc:format="image/any"' in (again.metadata.xmp or b"")


@_SOME
@given(_files())
def test_a_stripped_file_shows_the_same_and_says_nothing(data: bytes) -> None:
    photo = read_photo(data)
    encoded = encode_photo(photo, strip=True)
    again = read_photo(encoded)
    assert again.pixels.shape == photo.pixels.shape
    if photo.format in (Format.PNG, Format.TIFF):
        np.testing.assert_array_equal(again.pixels, photo.pixels)
    assert again.metadata.icc == ICC
    assert (again.orientation, again.metadata.xmp) == (1, None)
    assert latitude(again.metadata.exif) is None
    assert b"Camera" not in encoded


@_SOME
@given(_files(), st.sampled_from([Format.PNG, Format.TIFF, Format.WEBP, Format.JPEG, Format.AVIF]))
def test_a_file_of_another_format_shows_the_same_and_says_as_much(data: bytes, kind: Format) -> None:
    photo = _changed(read_photo(data))
    if kind is Format.JPEG and photo.opacity is not None:
        return
    again = read_photo(encode_photo(photo, kind, note=NOTE))
    if kind in (Format.PNG, Format.TIFF):
        np.testing.assert_array_equal(again.pixels, photo.pixels)
    assert again.orientation == photo.orientation
    assert again.metadata.icc == ICC
    assert latitude(again.metadata.exif) == LATITUDE
    assert b'dc:format="image/any"' in (again.metadata.xmp or b"")


@_SOME
@given(st.sampled_from(MODES["JPEG"]), st.integers(1, 100), st.integers(0, 2), st.booleans(), _SEEDS)
def test_a_jpeg_is_compressed_as_its_source_was(
    mode: str, quality: int, subsampling: int, progressive: bool, seed: int
) -> None:
    picture = noise(mode, 33, 17, seed)
    options = {"quality": quality, "subsampling": subsampling, "progressive": progressive}
    data = file_of(picture, "JPEG", orientation=6, **options)
    photo = read_photo(data)
    encoded = encode_photo(_changed(photo).with_pixels(photo.pixels))
    kept = BytesIO()
    with Image.open(BytesIO(data)) as source:
        source.save(kept, "JPEG", quality="keep")
    np.testing.assert_array_equal(decoded(encoded), decoded(kept.getvalue()))
    with Image.open(BytesIO(encoded)) as again:
        assert ("progressive" in again.info) == progressive


@pytest.mark.filterwarnings("ignore")  # Pillow warns of some damage and goes on
@settings(max_examples=300)
@given(_files(), st.floats(0, 1), st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=6))
def test_a_damaged_file_is_a_photo_or_one_line(
    data: bytes, share: float, flips: list[tuple[float, int]]
) -> None:
    damaged = bytearray(data[: round(len(data) * share)])
    for place, value in flips:
        if damaged:
            damaged[int(place * len(damaged))] = value
    said = "it is fine"
    try:
        encode_photo(_changed(read_photo(bytes(damaged), name="it")), note=NOTE)
    except FacemendError as error:
        said = str(error)
    assert said.startswith("it ")
    assert "\n" not in said


@_SOME
@given(st.integers(1, 8))
def test_an_orientation_is_told_by_exif_alone(orientation: int) -> None:
    photo = read_photo(file_of(noise("RGB", 3, 2), "PNG", exif=exif(orientation)))
    assert photo.orientation == orientation

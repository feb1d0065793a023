import io

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PillowImage

from facemend.datasets.pairs import PictureFormat, encode
from facemend.io.png import encode_png_quickly
from tests.tiny_celeba import gradient


def _noise(*shape: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@given(st.integers(1, 40), st.integers(1, 40), st.booleans(), st.integers(0, 9))
def test_a_png_gives_back_every_pixel(height_px: int, width_px: int, colour: bool, seed: int) -> None:
    picture = gradient(width_px, height_px, seed)
    picture = picture if colour else picture[:, :, 0].copy()
    with PillowImage.open(io.BytesIO(encode_png_quickly(picture))) as opened:
        assert (opened.format, opened.mode) == ("PNG", "RGB" if colour else "L")
        np.testing.assert_array_equal(np.asarray(opened), picture)


def test_a_png_of_noise_gives_back_every_pixel() -> None:
    picture = _noise(33, 17, 3)
    with PillowImage.open(io.BytesIO(encode_png_quickly(picture))) as opened:
        np.testing.assert_array_equal(np.asarray(opened), picture)


def test_a_png_is_whole_for_a_strict_reader() -> None:
    data = encode_png_quickly(_noise(8, 8, 3))
    with PillowImage.open(io.BytesIO(data)) as opened:
        opened.verify()  # every checksum
    damaged = data[:60] + bytes([data[60] ^ 1]) + data[61:]
    with pytest.raises((OSError, SyntaxError)), PillowImage.open(io.BytesIO(damaged)) as opened:
        opened.verify()


def test_a_part_of_a_larger_picture_is_encoded_as_it_looks() -> None:
    part = _noise(20, 20, 3)[3:15:2, 18:4:-1]
    with PillowImage.open(io.BytesIO(encode_png_quickly(part))) as opened:
        np.testing.assert_array_equal(np.asarray(opened), part)


def test_a_photo_is_as_small_as_pillow_makes_it() -> None:
    picture = gradient(256, 256)
    buffer = io.BytesIO()
    PillowImage.fromarray(picture).save(buffer, "PNG", compress_level=1)
    assert len(encode_png_quickly(picture)) < 1.1 * len(buffer.getvalue())


@pytest.mark.parametrize("picture", [_noise(9, 14, 3), gradient(30, 20), _noise(9, 14)])
def test_webp_loses_nothing(picture: npt.NDArray[np.uint8]) -> None:
    with PillowImage.open(io.BytesIO(encode(picture, PictureFormat.WEBP))) as opened:
        assert opened.format == "WEBP"
        expected = picture if picture.ndim == 3 else np.stack([picture] * 3, axis=2)
        np.testing.assert_array_equal(np.asarray(opened.convert("RGB")), expected)

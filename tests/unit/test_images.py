import errno
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from facemend.errors import OutputError, PictureError
from facemend.images import from_network, resize, to_network
from facemend.io import picture_size, read_cutout, read_image, read_mask, write_png
from facemend.server.service import read_mask as server_mask
from facemend.server.settings import Limits
from tests.tiny_celeba import gradient


def test_all_256_values_survive_the_way_to_the_network_and_back() -> None:
    levels = np.arange(256, dtype=np.uint8)
    images = np.stack([levels, levels[::-1], np.roll(levels, 7)], axis=1).reshape(1, 16, 16, 3)
    batch = to_network(images)
    assert batch.dtype == np.float32
    assert batch.shape == (1, 3, 16, 16)
    assert (batch.min(), batch.max()) == (-1, 1)
    np.testing.assert_array_equal(from_network(batch), images)


def test_the_networks_range_is_rounded_and_clipped_never_wrapped() -> None:
    step = 1 / 127.5
    batch = np.array([-1.5, -1, 0.4 * step - 1, 0.6 * step - 1, 1, 1.5], dtype=np.float32)
    assert from_network(batch.reshape(1, 1, 1, 6)).ravel().tolist() == [0, 0, 0, 1, 255, 255]


def test_channels_keep_their_order() -> None:
    red = np.zeros((1, 2, 2, 3), dtype=np.uint8)
    red[..., 0] = 255
    assert to_network(red)[0, :, 0, 0].tolist() == [1, -1, -1]


def test_a_picture_is_read_as_it_was_written(tmp_path: Path) -> None:
    image = gradient(20, 10)
    write_png(tmp_path / "a.png", image, text={"who": "Grün"})
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), image)
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.info["who"] == "Grün"


def test_a_gray_picture_becomes_rgb(tmp_path: Path) -> None:
    gray = gradient(8, 8)[:, :, 0]
    write_png(tmp_path / "a.png", gray)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.stack([gray] * 3, axis=2))


def test_a_picture_is_read_from_an_open_file() -> None:
    file = io.BytesIO()
    Image.fromarray(gradient(8, 8)).save(file, "PNG")
    np.testing.assert_array_equal(read_image(file), gradient(8, 8))


def _oriented(path: Path, picture: Image.Image, orientation: int) -> Path:
    exif = Image.Exif()
    exif[274] = orientation
    picture.save(path, exif=exif)
    return path


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_picture_is_read_as_a_viewer_shows_it(tmp_path: Path, orientation: int, suffix: str) -> None:
    lying = Image.fromarray(gradient(12, 8)).quantize(16)
    path = _oriented(tmp_path / f"a{suffix}", lying, orientation)
    with Image.open(_oriented(tmp_path / "same.png", lying, orientation)) as picture:
        upright = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
    np.testing.assert_array_equal(read_image(path), upright)
    assert picture_size(path) == upright.shape[1::-1] == ((8, 12) if orientation >= 5 else (12, 8))
    white = upright.mean(axis=2) >= 128
    assert white.any()
    np.testing.assert_array_equal(read_mask(path), white)


def test_a_cut_out_is_read_upright(tmp_path: Path) -> None:
    lying = Image.fromarray(gradient(12, 8)).convert("RGBA")
    lying.putpixel((0, 0), (255, 0, 0, 0))
    path = _oriented(tmp_path / "a.png", lying, 6)
    cutout = read_cutout(path)
    assert (cutout.size, cutout.getpixel((7, 0))) == ((8, 12), (255, 0, 0, 0))


def test_opaque_pixels_are_read_and_transparent_ones_refused(tmp_path: Path) -> None:
    image = gradient(8, 8)
    Image.fromarray(image).convert("RGBA").save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), image)
    Image.new("RGBA", (4, 4), (9, 9, 9, 254)).save(tmp_path / "a.png")
    with pytest.raises(PictureError, match=r"a\.png has transparent pixels; save it without"):
        read_image(tmp_path / "a.png")


MARKED = np.array([[False, True], [True, False]])
WHITE = Image.fromarray(MARKED.astype(np.uint8) * 255)


def _with_opacity(colour: str) -> Image.Image:
    picture = Image.new("RGB", (2, 2), colour)
    picture.putalpha(WHITE)
    return picture


@pytest.mark.parametrize(
    "picture",
    [
        WHITE,
        WHITE.convert("1"),
        WHITE.convert("RGB"),
        WHITE.convert("RGBA"),
        WHITE.convert("LA"),
        WHITE.convert("RGB").quantize(2),
        Image.fromarray(MARKED.astype(np.uint8)),
        _with_opacity("white"),
    ],
    ids=["gray", "bits", "RGB", "opaque RGBA", "opaque LA", "palette", "0 and 1", "white and clear"],
)
def test_a_mask_file_means_the_same_however_it_is_stored(tmp_path: Path, picture: Image.Image) -> None:
    picture.save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), MARKED)
    np.testing.assert_array_equal(server_mask((tmp_path / "mask.png").read_bytes(), Limits()), MARKED)


def test_black_and_transparent_pixels_of_a_mask_are_not_marked(tmp_path: Path) -> None:
    for picture in (_with_opacity("black"), Image.new("L", (2, 2))):
        picture.save(tmp_path / "mask.png")
        assert not read_mask(tmp_path / "mask.png").any()


@pytest.mark.parametrize("mode", ["CMYK", "I;16"])
def test_a_colour_mode_that_rgb_would_lose_is_refused_with_advice(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.tif"
    Image.new(mode, (4, 4)).save(path)
    what = "16 bits a channel" if mode == "I;16" else f"the colour mode {mode}"
    with pytest.raises(PictureError, match=rf"a\.tif has {what}; convert it"):
        read_image(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r"gone\.png does not exist"):
        read_image(tmp_path / "gone.png")


@pytest.mark.parametrize("data", [b"", b"no picture at all"])
def test_a_file_that_is_no_picture_is_named(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(data)
    with pytest.raises(PictureError, match=r"a\.jpg is not a picture that can be read"):
        read_image(tmp_path / "a.jpg")


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_truncated_picture_is_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(PictureError, match=rf"a\{suffix} cannot be read as a picture"):
        read_image(path)


def test_only_listed_formats_are_opened(tmp_path: Path) -> None:
    # An EPS is a program, which Pillow would give to Ghostscript; no name makes a picture of it.
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(x) print\n"
    (tmp_path / "mask.png").write_bytes(eps)
    for name in ("mask.gif", "mask.ppm", "mask.pcx", "mask.ico", "mask.tga", "mask.dds"):
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    for path in tmp_path.iterdir():
        with pytest.raises(PictureError, match="not a picture that can be read"):
            read_image(path)


def test_a_file_larger_than_any_photo_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "a.png").open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        file.truncate((1 << 30) + 1)
    with pytest.raises(PictureError, match="more than 1024 MiB"):
        read_image(tmp_path / "a.png")


def test_an_error_calls_the_picture_by_its_given_name(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    with pytest.raises(PictureError, match=r"^my face is not"):
        read_image(tmp_path / "a.jpg", name="my face")


def test_writing_does_not_replace_a_file_without_force(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", gradient(4, 4))
    with pytest.raises(OutputError, match="exists already"):
        write_png(tmp_path / "a.png", gradient(4, 4))


def test_a_full_disk_is_one_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", save)
    with pytest.raises(OutputError, match=r"cannot write .*a\.png: No space left on device"):
        write_png(tmp_path / "a.png", gradient(64, 64))
    assert not list(tmp_path.iterdir())


def test_resizing_to_the_same_size_changes_no_byte() -> None:
    image = gradient(12, 9)
    np.testing.assert_array_equal(resize(image, 12, 9), image)


def test_resizing_gives_the_size_that_was_asked_for_and_antialiases() -> None:
    checkers = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
    small = resize(np.stack([checkers] * 3, axis=2), 8, 16)
    assert small.shape == (16, 8, 3)
    assert np.abs(small.astype(int) - 127).max() < 8

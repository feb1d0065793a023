import numpy as np
import pytest

from facemend import degradations
from facemend.alignment import canonical_landmarks
from facemend.images import Image
from tests.tiny_celeba import gradient

PICTURE = gradient(96, 96)


def test_more_compression_costs_more() -> None:
    errors = [np.abs(degradations.compress(PICTURE, q).astype(int) - PICTURE).mean() for q in (95, 50, 5)]
    assert 0 < errors[0] < errors[1] < errors[2]


def test_a_coarse_picture_has_lost_its_fine_detail_and_kept_its_colour() -> None:
    checks = np.where(np.indices((64, 64)).sum(axis=0)[:, :, None] % 2, 200, 100).astype(np.uint8)
    checks = checks.repeat(3, axis=2)
    coarse = degradations.coarsen(checks, 2.0)
    assert coarse.shape == checks.shape
    assert np.abs(coarse.astype(int) - 150).max() <= 4
    np.testing.assert_array_equal(degradations.coarsen(checks, 1.0), checks)


def test_noise_has_the_strength_asked_for_and_follows_its_generator() -> None:
    gray = np.full((128, 128, 3), 128, dtype=np.uint8)
    noisy = degradations.add_noise(gray, 10, np.random.default_rng(1))
    assert noisy.astype(float).std() == pytest.approx(10, rel=0.02)
    assert noisy.astype(float).mean() == pytest.approx(128, abs=0.1)
    np.testing.assert_array_equal(noisy, degradations.add_noise(gray, 10, np.random.default_rng(1)))


def test_a_tint_scales_the_channels() -> None:
    gray = np.full((2, 2, 3), 100, dtype=np.uint8)
    tinted = degradations.tint(gray, np.array([1.1, 1.0, 3.0], dtype=np.float32))
    assert tinted[0, 0].tolist() == [110, 100, 255]


@pytest.mark.parametrize(
    ("degrees", "scale", "shift"), [(0, 1, (0, 0)), (90, 1, (0, 0)), (0, 1, (7, -3)), (12, 1.1, (2, 5))]
)
def test_landmarks_go_where_their_pixels_go(
    degrees: float, scale: float, shift: tuple[float, float]
) -> None:
    landmarks = canonical_landmarks(96).round()
    spotted = np.zeros((96, 96, 3), dtype=np.uint8)
    for x, y in landmarks.astype(int):
        spotted[y - 1 : y + 2, x - 1 : x + 2] = 255
    turned, moved = degradations.misalign(spotted, landmarks, degrees, scale, shift)
    for x, y in moved:
        near = turned[round(y) - 3 : round(y) + 4, round(x) - 3 : round(x) + 4, 0].astype(float)
        rows, columns = np.indices(near.shape)
        centre = (rows * near).sum() / near.sum() - 3, (columns * near).sum() / near.sum() - 3
        assert centre == pytest.approx((y - round(y), x - round(x)), abs=0.35)


def test_a_crop_that_is_not_moved_is_the_same() -> None:
    landmarks = canonical_landmarks(96)
    same, moved = degradations.misalign(PICTURE, landmarks, 0, 1, (0, 0))
    np.testing.assert_array_equal(same, PICTURE)
    np.testing.assert_allclose(moved, landmarks)


def test_what_comes_in_repeats_the_border() -> None:
    shifted, _ = degradations.misalign(PICTURE, canonical_landmarks(96), 0, 1, (10, 0))
    np.testing.assert_array_equal(shifted[:, :10], PICTURE[:, :1].repeat(10, axis=1))
    np.testing.assert_array_equal(shifted[:, 10:], PICTURE[:, :-10])


def _spot(side: int = 41) -> Image:
    spot = np.zeros((side, side, 3), dtype=np.uint8)
    spot[side // 2, side // 2] = 255
    return spot


def test_a_lens_out_of_focus_makes_a_disc_of_a_point_and_nothing_of_an_even_wall() -> None:
    shape = degradations.disc(5)
    spread = degradations.blur_by(_spot(), shape)[:, :, 1]
    assert set(spread[spread > 0].tolist()) == {round(255 / shape.sum())}
    np.testing.assert_array_equal(spread[15:26, 15:26] > 0, shape)
    assert (spread > 0).sum() == shape.sum()
    wall = np.full((20, 31, 3), 77, dtype=np.uint8)
    np.testing.assert_array_equal(degradations.blur_by(wall, shape), wall)


@pytest.mark.parametrize(("degrees", "sides"), [(0, (1, 9)), (90, (9, 1)), (45, (7, 7)), (135, (7, 7))])
def test_a_camera_that_moves_makes_a_line_of_a_point(degrees: float, sides: tuple[int, int]) -> None:
    shape = degradations.line(9, degrees)
    rows, columns = (np.flatnonzero(shape.any(axis=axis)) for axis in (1, 0))
    assert (len(rows), len(columns)) == pytest.approx(sides, abs=1)
    spread = degradations.blur_by(_spot(), shape)[:, :, 0]
    around = slice(20 - len(shape) // 2, 21 + len(shape) // 2)
    np.testing.assert_array_equal(spread[around, around] > 0, shape)


def test_blur_by_a_shape_is_the_mean_over_it() -> None:
    shape = degradations.line(7, 30)
    reach = len(shape) // 2
    padded = np.pad(PICTURE, ((reach, reach), (reach, reach), (0, 0)), mode="edge").astype(float)
    windows = np.lib.stride_tricks.sliding_window_view(padded, shape.shape, axis=(0, 1))
    expected = windows[..., shape].mean(axis=-1)
    assert np.abs(degradations.blur_by(PICTURE, shape) - expected).max() <= 0.5


def test_gaussian_blur_has_the_strength_asked_for() -> None:
    edge = np.where(np.arange(80) < 40, 0, 255).astype(np.uint8)[None, :, None].repeat(20, 0).repeat(3, 2)
    slope = np.diff(degradations.blur_gaussian(edge, 4)[10, :, 0].astype(float))
    middle = (np.arange(79) * slope).sum() / slope.sum()
    spread = np.sqrt(((np.arange(79) - middle) ** 2 * slope).sum() / slope.sum())
    assert spread == pytest.approx(4, rel=0.05)


def test_old_photos_have_no_colour_or_a_brown_one() -> None:
    without = degradations.grey(PICTURE)
    assert (without == without[:, :, :1]).all()
    np.testing.assert_array_equal(degradations.sepia(PICTURE, 0), without)
    red, green, blue = degradations.sepia(PICTURE, 1).reshape(-1, 3).astype(float).mean(axis=0)
    assert red > green > blue


def test_little_light_is_dark_and_noisy_and_follows_its_generator() -> None:
    gray = np.full((128, 128, 3), 160, dtype=np.uint8)
    dim = degradations.darken(gray, 0.25, 2, np.random.default_rng(1))
    assert dim.astype(float).mean() == pytest.approx(160 * 0.25 ** (1 / 2.2), abs=0.5)
    assert dim.astype(float).std() > 2
    np.testing.assert_array_equal(dim, degradations.darken(gray, 0.25, 2, np.random.default_rng(1)))
    black = np.zeros((64, 64, 3), dtype=np.uint8)
    assert not degradations.darken(black, 0.25, 0, np.random.default_rng(1)).any()


def test_grain_has_no_colour_and_spares_the_dark() -> None:
    gray = np.full((128, 128, 3), 128, dtype=np.uint8)
    grainy = degradations.add_grain(gray, 10, 2, np.random.default_rng(1)).astype(float)
    assert (grainy == grainy[:, :, :1]).all()
    assert grainy.std() == pytest.approx(10, rel=0.1)
    grain = grainy[:, :, 0] - 128
    assert (grain[:, 1:] * grain[:, :-1]).mean() > 0.3 * grain.var()  # a grain is larger than a pixel
    dark = degradations.add_grain(np.full_like(gray, 40), 10, 2, np.random.default_rng(1))
    assert dark.astype(float).std() < 0.85 * grainy.std()


def test_a_tall_crop_stays_tall_and_turns_about_the_middle_of_its_square() -> None:
    tall = gradient(64, 80)
    turned, moved = degradations.misalign(tall, np.array([(31.5, 31.5)] * 5), 10, 1.1, (0, 0))
    assert turned.shape == tall.shape
    assert moved[0].tolist() == pytest.approx([31.5, 31.5])
    middle = np.s_[38:42, 30:34]
    assert turned[middle].mean(axis=(0, 1)) == pytest.approx(tall[middle].mean(axis=(0, 1)), abs=3)

import numpy as np
import pytest

from facemend import capture
from facemend.frame import canonical_landmarks
from tests.tiny_celeba import gradient

PICTURE = gradient(96, 96)


def test_more_compression_costs_more() -> None:
    errors = [np.abs(capture.compress(PICTURE, q).astype(int) - PICTURE).mean() for q in (95, 50, 5)]
    assert 0 < errors[0] < errors[1] < errors[2]


def test_a_coarse_picture_has_lost_its_fine_detail_and_kept_its_colour() -> None:
    checks = np.where(np.indices((64, 64)).sum(axis=0)[:, :, None] % 2, 200, 100).astype(np.uint8)
    checks = checks.repeat(3, axis=2)
    coarse = capture.coarsen(checks, 2.0)
    assert coarse.shape == checks.shape
    assert np.abs(coarse.astype(int) - 150).max() <= 4
    np.testing.assert_array_equal(capture.coarsen(checks, 1.0), checks)


def test_noise_has_the_strength_asked_for_and_follows_its_generator() -> None:
    gray = np.full((128, 128, 3), 128, dtype=np.uint8)
    noisy = capture.add_noise(gray, 10, np.random.default_rng(1))
    assert noisy.astype(float).std() == pytest.approx(10, rel=0.02)
    assert noisy.astype(float).mean() == pytest.approx(128, abs=0.1)
    np.testing.assert_array_equal(noisy, capture.add_noise(gray, 10, np.random.default_rng(1)))


def test_a_tint_scales_the_channels() -> None:
    gray = np.full((2, 2, 3), 100, dtype=np.uint8)
    tinted = capture.tint(gray, np.array([1.1, 1.0, 3.0], dtype=np.float32))
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
    turned, moved = capture.misalign(spotted, landmarks, degrees, scale, shift)
    for x, y in moved:
        near = turned[round(y) - 3 : round(y) + 4, round(x) - 3 : round(x) + 4, 0].astype(float)
        rows, columns = np.indices(near.shape)
        centre = (rows * near).sum() / near.sum() - 3, (columns * near).sum() / near.sum() - 3
        assert centre == pytest.approx((y - round(y), x - round(x)), abs=0.35)


def test_a_crop_that_is_not_moved_is_the_same() -> None:
    landmarks = canonical_landmarks(96)
    same, moved = capture.misalign(PICTURE, landmarks, 0, 1, (0, 0))
    np.testing.assert_array_equal(same, PICTURE)
    np.testing.assert_allclose(moved, landmarks)


def test_what_comes_in_repeats_the_border() -> None:
    shifted, _ = capture.misalign(PICTURE, canonical_landmarks(96), 0, 1, (10, 0))
    np.testing.assert_array_equal(shifted[:, :10], PICTURE[:, :1].repeat(10, axis=1))
    np.testing.assert_array_equal(shifted[:, 10:], PICTURE[:, :-10])

import numpy as np
import pytest

from facemend.images import Image, Mask
from facemend.reconstruction.blending import extend_into, match_grain, match_tone
from tests.tiny_celeba import gradient


def _hole(side: int) -> Mask:
    y, x = np.mgrid[0:side, 0:side]
    hole: Mask = np.hypot(x - side * 0.5, y - side * 0.55) < side * 0.2
    return hole


@pytest.mark.parametrize("side", [64, 101, 256])
def test_a_reconstruction_in_another_tone_is_brought_to_that_of_its_surroundings(side: int) -> None:
    y, x = np.mgrid[0:side, 0:side]
    truth = np.rint(100 + 60 * np.stack([x, y, x], axis=2) / side).astype(np.uint8)
    drawn = np.rint(truth * 0.9 + (12, -8, 0)).astype(np.uint8)
    hole = _hole(side)
    matched = match_tone(truth, drawn, hole).astype(int)
    assert np.abs(matched - truth)[hole].max() <= 2
    assert np.abs(drawn.astype(int) - truth)[hole].max() > 10


def test_a_reconstruction_in_the_right_tone_stays_as_it_is() -> None:
    truth, hole = gradient(128, 128), _hole(128)
    drawn = truth.copy()
    drawn[50:70, 50:70] = 200  # inside the hole it differs: that is what was drawn
    np.testing.assert_array_equal(match_tone(truth, drawn, hole)[hole], drawn[hole])


@pytest.mark.parametrize("whole", [True, False])
def test_without_surroundings_or_a_hole_nothing_is_moved(whole: bool) -> None:
    drawn = gradient(64, 64, seed=2)
    hole = np.full((64, 64), whole)
    np.testing.assert_array_equal(match_tone(gradient(64, 64), drawn, hole), drawn)


@pytest.mark.parametrize("shape", [(4, 4), (37, 64), (130, 7)])
def test_values_that_are_known_everywhere_or_nowhere_are_kept(shape: tuple[int, int]) -> None:
    values = np.random.default_rng(0).normal(0, 1, (*shape, 3)).astype(np.float32)
    if min(shape) > 4:
        np.testing.assert_allclose(extend_into(values, np.ones(shape, np.float32)), values, atol=1e-6)
    nowhere = np.zeros(shape, np.float32)
    assert not extend_into(values * 0, nowhere).any()


def test_unknown_values_lie_between_the_known_ones_and_are_smooth() -> None:
    known = np.zeros((64, 64), dtype=np.float32)
    known[:, :8] = known[:, -8:] = 1
    values = np.zeros((64, 64, 1), dtype=np.float32)
    values[:, -8:] = 10
    filled = extend_into(values, known)[32, :, 0]
    assert filled.min() >= 0
    assert filled.max() <= 10
    assert np.abs(np.diff(filled)).max() < 2.5
    assert filled[32] == pytest.approx(5, abs=1.5)


def _noisy(sigma: float, side: int = 256) -> Image:
    noise = np.random.default_rng(1).normal(0, sigma, (side, side, 1))
    return np.rint(128 + noise).clip(0, 255).astype(np.uint8).repeat(3, axis=2)


def test_a_smooth_reconstruction_gets_the_grain_of_its_surroundings() -> None:
    photo, drawn, hole = _noisy(8), np.full((256, 256, 3), 120, dtype=np.uint8), _hole(256)
    grained = match_grain(photo, drawn, hole, 3.0, np.random.default_rng(0))
    assert grained[hole].astype(float).std() == pytest.approx(8, rel=0.2)
    assert grained[hole].astype(float).mean() == pytest.approx(120, abs=0.2)


def test_what_has_grain_enough_or_was_not_enlarged_gets_none() -> None:
    drawn, hole = _noisy(8), _hole(256)
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(match_grain(_noisy(0), drawn, hole, 3.0, rng), drawn)
    smooth = np.full((256, 256, 3), 120, dtype=np.uint8)
    np.testing.assert_array_equal(match_grain(_noisy(8), smooth, hole, 1.0, rng), smooth)

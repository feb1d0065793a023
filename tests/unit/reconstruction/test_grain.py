import numpy as np
import pytest

from facemend.images import Image, Mask
from facemend.reconstruction.blending import match_grain


def _hole(side: int) -> Mask:
    y, x = np.mgrid[0:side, 0:side]
    hole: Mask = np.hypot(x - side * 0.5, y - side * 0.55) < side * 0.2
    return hole


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

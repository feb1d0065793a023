import numpy as np
import pytest

from facemend.images import Image
from facemend.metrics.image import sharpness

HOLE = np.zeros((40, 40), dtype=np.bool_)
HOLE[10:30, 10:30] = True


def ramp(slope: int) -> Image:
    """Gray that rises by `slope` levels a column."""
    row = np.arange(40, dtype=np.uint8) * np.uint8(slope)
    return np.repeat(np.tile(row, (40, 1))[..., None], 3, axis=2)


def test_a_ramp_half_as_steep_is_half_as_sharp() -> None:
    assert sharpness(ramp(2), ramp(4), HOLE) == pytest.approx(0.5)
    assert sharpness(ramp(4), ramp(4), HOLE) == 1
    assert sharpness(ramp(0), ramp(4), HOLE) == 0


def test_noise_is_more_than_sharp() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    share = sharpness(noise, ramp(4), HOLE)
    assert share is not None
    assert share > 1.1


def test_gradients_down_and_across_add_up_by_pythagoras() -> None:
    both = ramp(3).astype(int) + ramp(4).transpose(1, 0, 2) - 18
    assert sharpness(both.clip(0, 255).astype(np.uint8), ramp(3), HOLE) == pytest.approx(5 / 3)


def test_the_rim_of_the_hole_and_its_surroundings_do_not_count() -> None:
    image = ramp(4)
    image[:12], image[28:], image[:, :12], image[:, 28:] = 255, 0, 255, 0
    assert sharpness(image, ramp(4), HOLE) == 1
    image[12] = 255
    share = sharpness(image, ramp(4), HOLE)
    assert share is not None
    assert share > 1


def test_a_hole_too_small_and_a_flat_truth_have_no_value() -> None:
    small = np.zeros((40, 40), dtype=np.bool_)
    small[10:16, 10:30] = True
    assert sharpness(ramp(2), ramp(4), small) is None
    assert sharpness(ramp(2), ramp(0), HOLE) is None


def test_other_ranges_and_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="uint8"):
        sharpness(ramp(2).astype(np.float32), ramp(4), HOLE)
    with pytest.raises(ValueError, match="region is bool"):
        sharpness(ramp(2), ramp(4), HOLE[:20])

import numpy as np
import pytest

from facemend.metrics.image import interval_coverage

HOLE = np.zeros((4, 4), dtype=np.bool_)
HOLE[:2] = True
TRUTH = np.full((4, 4, 3), 100, dtype=np.uint8)


def test_it_is_the_share_of_colour_values_within_the_interval() -> None:
    drawn = TRUTH.copy()
    drawn[0, :, 0] = 110  # 4 of the hole's 24 values are 10 levels off
    drawn[3] = 0  # outside the hole nothing counts
    wide, narrow = (np.full((4, 4), levels, dtype=np.float32) for levels in (10, 5))
    assert interval_coverage(drawn, TRUTH, wide, HOLE) == 1
    assert interval_coverage(drawn, TRUTH, narrow, HOLE) == pytest.approx(20 / 24)


def test_rounding_of_the_picture_is_forgiven() -> None:
    drawn = TRUTH + np.uint8(1)
    assert interval_coverage(drawn, TRUTH, np.full((4, 4), 0.5, dtype=np.float32), HOLE) == 1
    assert interval_coverage(drawn, TRUTH, np.full((4, 4), 0.4, dtype=np.float32), HOLE) == 0


def test_without_a_hole_there_is_nothing_to_cover() -> None:
    assert interval_coverage(TRUTH, TRUTH, np.zeros((4, 4), dtype=np.float32), HOLE & False) is None


def test_an_interval_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="interval"):
        interval_coverage(TRUTH, TRUTH, np.zeros((4, 3), dtype=np.float32), HOLE)

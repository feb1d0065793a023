import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facemend.images import Mask
from facemend.reconstruction.acceptance import large_regions, largest_region


def _flooded(mask: Mask, smallest_px: int) -> Mask:
    """The same, one pixel after the other."""
    large, seen = np.zeros_like(mask), np.zeros_like(mask)
    for start in zip(*np.nonzero(mask), strict=True):
        region, waiting = [], [start]
        while waiting:
            y, x = waiting.pop()
            inside = 0 <= y < mask.shape[0] and 0 <= x < mask.shape[1]
            if inside and mask[y, x] and not seen[y, x]:
                seen[y, x] = True
                region.append((y, x))
                waiting += [(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)]
        if len(region) >= smallest_px:
            large[tuple(np.transpose(region))] = True
    return large


@given(st.integers(0, 500), st.integers(1, 14), st.integers(1, 14), st.floats(0.2, 0.8), st.integers(1, 30))
def test_regions_are_those_that_a_flood_finds(
    seed: int, height: int, width: int, share: float, smallest_px: int
) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < share
    np.testing.assert_array_equal(large_regions(mask, smallest_px), _flooded(mask, smallest_px))


@pytest.mark.parametrize("value", [False, True])
def test_an_empty_and_a_full_mask_stay(value: bool) -> None:
    mask = np.full((5, 7), value)
    np.testing.assert_array_equal(large_regions(mask, 3), mask)


def test_the_largest_region_is_the_one_of_most_pixels() -> None:
    mask = np.zeros((9, 12), dtype=np.bool_)
    mask[1:3, 1:4] = mask[4:8, 6:9] = mask[0, 11] = True
    largest = largest_region(mask)
    assert largest.sum() == 12
    assert largest[4:8, 6:9].all()
    assert not largest_region(np.zeros((3, 4), dtype=np.bool_)).any()

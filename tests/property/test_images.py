import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from facemend.images import from_network, to_network

_PICTURES = hnp.arrays(
    np.uint8,
    st.tuples(st.integers(1, 3), st.integers(1, 12), st.integers(1, 12), st.sampled_from([1, 3])),
)
_BATCHES = hnp.arrays(
    np.float32, (1, 3, 4, 4), elements=st.floats(-1000, 1000, width=32, allow_subnormal=False)
)


@given(_PICTURES)
def test_pictures_survive_the_way_to_the_network_and_back(images: npt.NDArray[np.uint8]) -> None:
    batch = to_network(images)
    assert batch.dtype == np.float32
    assert batch.flags.c_contiguous
    assert np.abs(batch).max() <= 1
    np.testing.assert_array_equal(from_network(batch), images)


@given(_BATCHES)
def test_any_network_output_becomes_the_nearest_level(batch: npt.NDArray[np.float32]) -> None:
    levels = from_network(batch).transpose(0, 3, 1, 2)
    exact = (batch.astype(np.float64).clip(-1, 1) + 1) * 127.5
    assert np.abs(levels - exact).max() <= 0.5 + 1e-4

"""A short form of benchmarks/server_fuzz.py, and the properties of what it fuzzes with."""

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="needs the serve extra: pip install 'facemend[serve]'")

from benchmarks.server_fuzz import LIMITS, fuzz, seeds
from facemend.errors import FacemendError
from facemend.io import read_photo
from facemend.server.schemas import Problem
from facemend.server.service import check_head


@pytest.mark.filterwarnings("default")  # a decoder may warn of what it is given
def test_500_mutated_files_are_read_or_refused() -> None:
    outcomes, _ = fuzz(500, np.random.default_rng(7))
    assert outcomes["photo"] > 20, "some survive"
    assert outcomes["PictureError"] > 100
    assert outcomes["too_large"] > 0


def test_the_files_that_are_mutated_are_photos_or_over_the_limits() -> None:
    refused = 0
    for data in seeds():
        try:
            check_head(data, "it", LIMITS)
            read_photo(data)
        except Problem:
            refused += 1
        except FacemendError as error:
            pytest.fail(str(error))
    assert refused == 2

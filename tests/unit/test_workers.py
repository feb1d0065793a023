import os
from contextlib import closing

import pytest

from facemend.datasets.workers import run_all
from facemend.errors import FacemendError


def _square(index: int) -> int:
    return index * index


def _where(index: int) -> int:
    return os.getpid()


def _die(index: int) -> int:
    os._exit(9)


def _refuse(index: int) -> int:
    if index == 3:
        raise FacemendError("no 3")
    return index


@pytest.mark.parametrize("workers", [1, 3])
def test_results_come_in_order(workers: int) -> None:
    assert list(run_all(_square, 50, workers)) == [index * index for index in range(50)]


def test_one_worker_is_this_process_and_more_are_others() -> None:
    assert set(run_all(_where, 4, 1)) == {os.getpid()}
    assert os.getpid() not in set(run_all(_where, 40, 2))


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_the_work_ends_it(workers: int) -> None:
    with pytest.raises(FacemendError, match="no 3"):
        list(run_all(_refuse, 20, workers))


@pytest.mark.parametrize("workers", [1, 2])
def test_closing_stops_early(workers: int) -> None:
    with closing(run_all(_square, 10**4, workers)) as results:
        assert [next(results), next(results)] == [0, 1]


def test_a_worker_that_dies_ends_the_work_with_advice() -> None:
    with pytest.raises(FacemendError, match=r"a worker died .*fewer --workers"):
        list(run_all(_die, 2, 2))

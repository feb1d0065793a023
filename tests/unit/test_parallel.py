import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from itertools import islice

import pytest

from facemend.errors import FacemendError, UsageError
from facemend.parallel import EngineName, LocalEngine, open_engine

Work = Callable[[int], int]


def _open(work: Work) -> Work:
    return work


def _square(index: int) -> int:
    return index * index


def _where(index: int) -> int:
    return os.getpid()


def _sleep(index: int) -> int:
    time.sleep(0.3)
    return index


def _die(index: int) -> int:
    os._exit(9)


def _refuse(index: int) -> int:
    if index == 3:
        raise FacemendError("no 3")
    return index


def _open_counted() -> Work:
    """Work that says how often its process opened it."""
    global _opened
    _opened += 1
    return lambda index: _opened


_opened = 0


def _open_nothing() -> Work:
    raise FacemendError("no such model")


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("batch", [1, 7, 100])
def test_results_come_in_order(workers: int, batch: int) -> None:
    found = LocalEngine(workers).run(partial(_open, _square), 50, batch=batch)
    assert list(found) == [index * index for index in range(50)]


def test_one_worker_is_this_process_and_more_are_others() -> None:
    assert set(LocalEngine(1).run(partial(_open, _where), 4)) == {os.getpid()}
    assert os.getpid() not in set(LocalEngine(2).run(partial(_open, _where), 40))


def test_every_worker_opens_its_work_once() -> None:
    assert set(LocalEngine(2).run(_open_counted, 60, batch=1)) == {1}


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_the_work_ends_it(workers: int) -> None:
    with pytest.raises(FacemendError, match="no 3"):
        list(LocalEngine(workers).run(partial(_open, _refuse), 20))


@pytest.mark.parametrize("workers", [1, 2])
def test_work_that_cannot_be_opened_says_why(workers: int) -> None:
    with pytest.raises(FacemendError, match="no such model"):
        list(LocalEngine(workers).run(_open_nothing, 20))


@pytest.mark.parametrize("workers", [1, 2])
def test_closing_stops_early(workers: int) -> None:
    with closing(LocalEngine(workers).run(partial(_open, _square), 10**12)) as results:
        assert list(islice(results, 100)) == [index * index for index in range(100)]


def test_ctrl_c_pressed_twice_leaves_no_worker_behind() -> None:
    def press() -> None:
        for _ in range(2):
            time.sleep(0.1)
            os.kill(os.getpid(), signal.SIGINT)

    results = LocalEngine(2).run(partial(_open, _sleep), 100, batch=1)
    assert next(results) == 0
    impatient = threading.Thread(target=press)
    impatient.start()
    with pytest.raises(KeyboardInterrupt), closing(results):
        list(results)
    impatient.join()
    assert not multiprocessing.active_children()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_worker_that_dies_ends_the_work_with_advice() -> None:
    with pytest.raises(FacemendError, match=r"a worker died .*with fewer of them goes on"):
        list(LocalEngine(2).run(partial(_open, _die), 2))


def test_fewer_than_one_worker_is_wrong_use() -> None:
    with pytest.raises(UsageError, match="0 workers"):
        open_engine(EngineName.LOCAL, workers=0)


def test_an_address_is_for_ray_alone() -> None:
    with pytest.raises(UsageError, match="--engine ray"):
        open_engine(EngineName.LOCAL, address="ray-head:6379")

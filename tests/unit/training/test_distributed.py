"""What one process can see of several; two real ones are in tests/e2e/test_processes.py."""

from pathlib import Path

import pytest
import torch

from facemend.errors import TrainingError
from facemend.training import distributed
from facemend.training.distributed import (
    any_process,
    check_same_start,
    join_processes,
    lost_processes_named,
)


def test_a_process_alone_asks_nobody(tmp_path: Path) -> None:
    alone = join_processes(tmp_path)
    assert alone.num_processes == 1
    assert any_process(alone, asks=True)
    assert not any_process(alone, asks=False)
    check_same_start(alone, 640)


def test_processes_that_do_not_find_each_other_do_not_train_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    join_processes(tmp_path)
    monkeypatch.setenv("WORLD_SIZE", "2")  # a launcher started two, but each is alone
    with pytest.raises(TrainingError, match="2 processes cannot share"):
        join_processes(tmp_path)


def test_processes_that_start_apart_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = join_processes(tmp_path)
    monkeypatch.setattr(distributed, "mean_over_processes", lambda accelerator, values: values / 2)
    with pytest.raises(TrainingError, match="the same folder"):
        check_same_start(alone, 640)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[third_party/gloo/gloo/transport/tcp/pair.cc:537] Connection reset by peer.\nmore"),
        torch.distributed.DistNetworkError("the connection was closed"),
    ],
)
def test_a_lost_process_is_one_line(error: RuntimeError, tmp_path: Path) -> None:
    alone = join_processes(tmp_path)
    with pytest.raises(TrainingError, match="lost another process") as raised, lost_processes_named(alone):
        raise error
    assert "\n" not in str(raised.value)


def test_other_errors_stay_what_they_are(tmp_path: Path) -> None:
    alone = join_processes(tmp_path)
    with pytest.raises(RuntimeError, match="out of memory"), lost_processes_named(alone):
        raise RuntimeError("CUDA out of memory")

import sys
from pathlib import Path

import pytest

from facemend.errors import ModelError
from facemend.evaluation.memory import peak_memory_mb


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says how much memory a process took")
def test_the_peak_holds_python_and_the_model_but_nothing_of_this_process(stand_in_model: Path) -> None:
    ballast = bytearray(500_000_000)  # counted by what is asked of the parent
    ballast[::4096] = b"x" * len(range(0, len(ballast), 4096))
    peak = peak_memory_mb(stand_in_model, threads=1)
    del ballast
    assert peak is not None
    assert 50 < peak < 400


def test_a_model_that_cannot_be_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"process of its own: .*missing\.onnx does not exist"):
        peak_memory_mb(tmp_path / "missing.onnx")

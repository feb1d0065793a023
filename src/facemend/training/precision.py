"""Which numbers the networks compute in."""

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
from typing import Literal

import torch

from facemend.errors import TrainingError


def autocast(precision: Literal["auto", "fp32", "bf16"]) -> AbstractContextManager[object]:
    """A context in which convolutions run in bf16, or in fp32.

    Raises:
        TrainingError: bf16 is demanded of a processor that would only emulate it, slowly.
    """
    if precision == "bf16" and not has_fast_bf16():
        raise TrainingError('this processor does not compute in bf16; set precision = "auto"')
    if precision == "fp32" or not has_fast_bf16():
        return nullcontext()
    return torch.autocast("cpu", torch.bfloat16)


@cache
def has_fast_bf16() -> bool:
    """Whether the processor multiplies bf16 matrices itself (avx512_bf16 or amx_bf16; Linux only)."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags

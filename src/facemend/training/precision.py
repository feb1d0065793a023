"""Which numbers the networks compute in."""

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path

import torch

from facemend.errors import TrainingError
from facemend.training.config import Precision


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """A context in which convolutions run in bf16 or fp16, or everything in fp32.

    Raises:
        TrainingError: a precision is demanded of a processor that would only emulate it, slowly.
    """
    if precision == "bf16" and not has_fast_bf16(device):
        raise TrainingError('this processor does not compute in bf16; set precision = "auto"')
    if precision == "fp16":
        if device.type == "cpu":
            raise TrainingError('fp16 is for GPUs; set precision = "auto"')
        return torch.autocast(device.type, torch.float16)
    if precision == "fp32" or not has_fast_bf16(device):
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


@cache
def has_fast_bf16(device: torch.device) -> bool:
    """Whether the processor multiplies bf16 matrices itself.

    CPUs: avx512_bf16 or amx_bf16, known on Linux only. CUDA: from Ampere on; we ran an H100. MPS: no, as
    torch documents it.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags

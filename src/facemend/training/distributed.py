"""Several processes that train together, and the precision they compute in."""

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from functools import cache
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.tracking import get_available_trackers
from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs
from torch import Tensor

from facemend.errors import TrainingError
from facemend.training.config import Precision

_PATIENCE = timedelta(minutes=30)
"""How long a process waits for the others. Decoding and validating take the first one a while."""


def join_processes(run: Path, trackers: Sequence[str] = ()) -> Accelerator:
    """Joins the other processes of this run, if a launcher started any.

    Args:
        run: the run's folder, in which trackers keep their files.
        trackers: Accelerate's names of trackers beside TensorBoard and JSON lines.

    Raises:
        TrainingError: the package of a tracker is not installed, or the machine's device takes only one
            process.
    """
    for name in trackers:
        if name not in map(str, get_available_trackers()):
            raise TrainingError(f"the tracker {name} is not installed; pip install {name}")
    accelerator = Accelerator(
        cpu=not torch.accelerator.is_available(),
        mixed_precision="no",
        log_with=list(trackers) or None,
        project_dir=str(run),
        kwargs_handlers=[
            InitProcessGroupKwargs(timeout=_PATIENCE),
            # A network that grows leaves its outer levels out while pictures are small.
            DistributedDataParallelKwargs(gradient_as_bucket_view=True, find_unused_parameters=True),
        ],
    )
    if accelerator.num_processes != (launched := int(os.environ.get("WORLD_SIZE", "1"))):
        raise TrainingError(
            f"{launched} processes cannot share this {accelerator.device.type} device; start one, or set "
            "ACCELERATE_USE_CPU=true"
        )
    return accelerator


def mean_over_processes(accelerator: Accelerator, values: Tensor) -> Tensor:
    """The mean of every value over all processes, or the values themselves if there is one process."""
    if accelerator.num_processes == 1:
        return values
    mean: Tensor = accelerator.reduce(values, "mean")
    return mean


def any_process(accelerator: Accelerator, *, asks: bool) -> bool:
    """Whether any of the processes asks. All get the same result, and so stop after the same step."""
    if accelerator.num_processes == 1:
        return asks
    return bool(mean_over_processes(accelerator, torch.tensor(float(asks), device=accelerator.device)) > 0)


def check_same_start(accelerator: Accelerator, images_seen: int) -> None:
    """Checks that all processes resume from the same checkpoint.

    Raises:
        TrainingError: they do not.
    """
    mine = torch.tensor(float(images_seen), device=accelerator.device)
    if not torch.equal(mean_over_processes(accelerator, mine), mine):
        raise TrainingError(
            "the processes found different checkpoints; give all machines the same folder for the run"
        )


@contextmanager
def lost_processes_named(accelerator: Accelerator) -> Iterator[None]:
    """Turns torch.distributed's error when another process has died into one line.

    Raises:
        TrainingError: a process did not answer.
    """
    try:
        yield
    except RuntimeError as error:
        # nccl has an error of its own, gloo only its name in the words
        if not isinstance(error, torch.distributed.DistError) and "gloo" not in str(error):
            raise
        raise TrainingError(
            f"process {accelerator.process_index} lost another process of the run "
            f"({str(error).splitlines()[0]}); the same command again resumes from the last checkpoint"
        ) from error


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """A context in which convolutions run in bf16 or fp16, or everything in fp32.

    Raises:
        TrainingError: the processor would only emulate the precision, slowly.
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

"""Opens the data of a training run, makes sure that nobody leaks, and starts the loop."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import torch

from facemend.datasets import Split, check_no_leak, known_identities, open_source, take_split
from facemend.errors import UsageError
from facemend.training.config import read_config
from facemend.training.loop import Outcome, train


def start(
    config: Path,
    data: Path,
    run: Path,
    *,
    split_file: Path | None = None,
    overrides: Sequence[str] = (),
    init: Path | None = None,
    fresh: bool = False,
    cache: Path | None = None,
    threads: int | None = None,
    quiet: bool = False,
) -> Outcome:
    """Trains what `config` describes on the `train` split of `data`, watched on its `val` split.

    Args:
        fresh: delete the run in the folder first; refused where the folder is no run.

    Raises:
        FacemendError: see `read_config`, `open_source`, `take_split` and `train`.
    """
    resolved = read_config(config, overrides)
    if threads is not None:
        torch.set_num_threads(threads)
    source = open_source(data)
    parts = {split: take_split(source, split, split_file) for split in (Split.TRAIN, Split.VAL)}
    train_people = known_identities(parts[Split.TRAIN])
    check_no_leak(train_people, known_identities(parts[Split.VAL]), "val")
    if fresh and run.exists():
        if any(run.iterdir()) and not (run / "checkpoints").is_dir():
            raise UsageError(f"{run} is not a run of facemend train; --fresh will not delete it")
        shutil.rmtree(run)
    return train(
        resolved,
        parts[Split.TRAIN],
        parts[Split.VAL],
        run,
        cache=cache or run / "cache",
        init=init,
        quiet=quiet,
    )

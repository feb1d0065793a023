"""Opens the data of a training run, refuses people that leak between splits, and starts the loop."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import torch

from facemend.datasets import FaceSource, Split, check_no_leak, known_identities, open_source, take_split
from facemend.errors import UsageError
from facemend.training.config import TrainingConfig, read_config
from facemend.training.data import open_pairs, split_pairs
from facemend.training.distributed import join_processes, lost_processes_named
from facemend.training.dry_run import RunEstimate, estimate
from facemend.training.loop import Outcome, train
from facemend.training.sources import Mixture, open_mixture, refuse_measured


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
    """Trains what `config` describes on the `train` split of `data`, validated on its `val` split.

    Args:
        fresh: delete the run in the folder first. Refused where the folder does not hold a run.

    Raises:
        TrainingError: another process of the run died.
        FacemendError: see `read_config`, `open_source`, `take_split` and `train`.
    """
    resolved = read_config(config, overrides)
    cache = cache or run / "cache"
    train_faces, val_faces = open_parts(resolved, data, split_file, cache)
    team = join_processes(run, resolved.trackers)
    if threads is not None:  # after Accelerate, which has its own idea where nobody says
        torch.set_num_threads(threads)
    with lost_processes_named(team):
        if fresh and team.is_main_process:
            _delete(run)
        team.wait_for_everyone()
        return train(
            resolved,
            train_faces,
            val_faces,
            run,
            cache=cache,
            accelerator=team,
            init=init,
            quiet=quiet,
        )


def dry_run(
    config: Path,
    data: Path,
    *,
    split_file: Path | None = None,
    overrides: Sequence[str] = (),
    threads: int | None = None,
) -> RunEstimate:
    """What `start` would train, and how long it would take, measured over a few steps of every phase.

    Raises:
        FacemendError: see `read_config`, `open_source`, `take_split` and `estimate`.
    """
    resolved = read_config(config, overrides)
    if threads is not None:
        torch.set_num_threads(threads)
    return estimate(resolved, open_parts(resolved, data, split_file)[0])


def open_parts(
    config: TrainingConfig, data: Path, split_file: Path | None, cache: Path | None = None
) -> tuple[Mixture, FaceSource]:
    """The training faces of all sources, and the validation faces of `data`, without a person in both.

    Args:
        cache: see `open_mixture`.

    Raises:
        SourceError, LeakError: see `open_source`, `open_pairs`, `take_split` and `open_mixture`.
    """
    if config.data.pairs:
        train_pairs, val_pairs = split_pairs(open_pairs(data, config.data.pairs), split_file)
        return Mixture.of(train_pairs), val_pairs
    source = open_source(data)
    val_faces = take_split(source, Split.VAL, split_file)
    if config.data.sources:
        train_faces = open_mixture(config.data.sources, source, split_file, cache)
    else:
        train_faces = Mixture.of(take_split(source, Split.TRAIN, split_file))
    for part in train_faces.parts:
        refuse_measured(part.faces, "the split file puts them into train")
        check_no_leak(known_identities(part.faces), known_identities(val_faces), "val")
    return train_faces, val_faces


def _delete(run: Path) -> None:
    if not run.exists():
        return
    if any(run.iterdir()) and not (run / "checkpoints").is_dir():
        raise UsageError(f"{run} is not a run of facemend train; --fresh will not delete it")
    shutil.rmtree(run)

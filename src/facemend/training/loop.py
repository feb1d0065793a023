"""The training loop. Its clock is images seen; the same command again goes on where it stopped."""

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from accelerate import Accelerator
from torch import nn
from tqdm import tqdm

from facemend.datasets import FaceSource
from facemend.errors import TrainingError
from facemend.occlusion import seed_of
from facemend.training.batches import KEPT, PackedBatch, PairBatch, echoed
from facemend.training.checkpoint import (
    load_checkpoint,
    newest_checkpoint,
    numbered_checkpoint,
    save_best,
    save_checkpoint,
)
from facemend.training.config import PhaseConfig, TrainingConfig
from facemend.training.data import (
    Crops,
    OccludedFaces,
    PairedPictures,
    cached_crops,
    decode_pair,
    load_batches,
    mixed_crops,
)
from facemend.training.distributed import any_process, check_same_start, join_processes
from facemend.training.features import SIDE_PX as FEATURES_SIDE_PX
from facemend.training.features import known_features, open_features
from facemend.training.logging import Watch
from facemend.training.sources import Mixture
from facemend.training.trainer import Trainer
from facemend.training.validation import Validator, occluded_cases, paired_cases
from facemend.training.weights import starting_weights


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        images_seen: so far.
        finished: whether every phase is done; False after SIGTERM or Ctrl-C.
        checkpoint: the newest.
        first: whether this is the first of the processes that trained together, the one that reports.
    """

    images_seen: int
    finished: bool
    checkpoint: Path
    first: bool = True


def train(
    config: TrainingConfig,
    train_faces: FaceSource | Mixture,
    val_faces: FaceSource,
    run: Path,
    *,
    cache: Path,
    accelerator: Accelerator | None = None,
    init: Path | None = None,
    quiet: bool = False,
) -> Outcome:
    """Trains from scratch, or goes on from the newest checkpoint in `run`.

    Args:
        train_faces, val_faces: no person may be in both (the caller has checked).
        run: folder for checkpoints, logs and samples.
        cache: folder for decoded crops.
        accelerator: the processes that train together (default: those that a launcher started).
        init: start from these weights, see `starting_weights`.

    Raises:
        TrainingError: the run in the folder has another config, a loss is no number any more or has
            exploded, or a batch cannot be shared equally.
    """
    team = accelerator or join_processes(run, config.trackers)
    faces = Mixture.of(train_faces).first(config.data.images)
    trainer = Trainer(config, faces, team)
    if (checkpoint := newest_checkpoint(run)) is not None:
        trainer.restore(load_checkpoint(checkpoint))
    elif init is not None:
        trainer.start_from(starting_weights(init))
    check_same_start(team, trainer.images_seen)
    with (
        _stop_signals() as asked_to_stop,
        Watch(run, trainer.images_seen, config, team) as watch,
        _progress_line(config, trainer.images_seen, quiet=quiet or not team.is_main_process) as line,
    ):
        crops = decode(config, faces, cache, team, quiet=quiet)
        trainer.features = learn_features(config, faces, cache, team, quiet=quiet)
        validator = _validator(config, val_faces)
        for phase, start in _phases_left(config, trainer.images_seen):
            trainer.enter(phase, start)
            saved_at = time.monotonic()
            for batch in watch.wait_for(
                open_batches(config, phase, crops, start, trainer.images_seen, team)
            ):
                seen_before = trainer.images_seen
                watch.log_step(trainer.images_seen, phase.name, trainer.step(batch))
                line.update(trainer.images_seen - seen_before)
                line.set_postfix_str(f"{phase.name}, {watch.summary()}", refresh=False)
                if _passed(config.validate_images, seen_before, trainer.images_seen):
                    _validate(trainer, validator, watch, run, team)
                if any_process(team, asks=asked_to_stop()):
                    checkpoint = _save(trainer, run, team)
                    return Outcome(trainer.images_seen, False, checkpoint, team.is_main_process)
                if time.monotonic() - saved_at > 60 * config.checkpoint_minutes:
                    checkpoint = _save(trainer, run, team)
                    saved_at = time.monotonic()
            _validate(trainer, validator, watch, run, team)
            checkpoint = _save(trainer, run, team)
    assert checkpoint is not None  # there is at least one phase: it was saved now or before
    return Outcome(trainer.images_seen, True, checkpoint, team.is_main_process)


def decode(
    config: TrainingConfig, faces: Mixture, cache: Path, team: Accelerator, *, quiet: bool
) -> dict[int, Crops]:
    """Crops of every size that the phases need; the first process of each machine decodes them."""
    how = decode_pair if config.data.pairs else partial(FaceSource.crop, tall=config.data.tall)
    sizes = {phase.size_px for phase in config.phases}
    with team.local_main_process_first():
        return {size_px: mixed_crops(faces, size_px, cache, how, quiet=quiet) for size_px in sizes}


def learn_features(
    config: TrainingConfig, faces: Mixture, cache: Path, team: Accelerator, *, quiet: bool
) -> nn.Module | None:
    """The network behind `deep_features`, if a phase has it; each machine's first process teaches it.

    It learns from the first source whose faces have CelebA's attributes.
    """
    if not any(phase.losses.deep_features for phase in config.phases):
        return None
    with team.local_main_process_first():
        crops = cached_crops(faces.described, FEATURES_SIDE_PX, cache, quiet=quiet)
        path = known_features(config, faces.described, crops, cache, quiet=quiet)
    return open_features(path, team.device)


def open_batches(
    config: TrainingConfig,
    phase: PhaseConfig,
    crops: Mapping[int, Crops],
    phase_start: int,
    start: int,
    team: Accelerator,
) -> Iterator[PairBatch]:
    """This process's shares of a phase's batches, on its device, from a position to the phase's end.

    Args:
        phase_start, start: images seen at the phase's start, and by now.

    Raises:
        TrainingError: they cannot be shared equally.
    """
    parts, end = team.num_processes * phase.accumulate, phase_start + phase.images
    share = phase.batch // phase.echo
    if share % parts or (end - start) % phase.batch % parts:
        raise TrainingError(
            f"phase {phase.name}: batches of {share} pictures until {end} cannot be shared equally by "
            f"{team.num_processes} processes in {phase.accumulate} parts each"
        )
    kind = PairedPictures if config.data.pairs else OccludedFaces
    drawn = (start - phase_start) // phase.echo
    again = min(drawn // share, KEPT - 1) if phase.echo > 1 else 0
    loader = load_batches(
        kind(crops[phase.size_px], config.data, phase.size_px, config.seed),
        phase_start + drawn - again * share,
        phase_start + phase.images // phase.echo,
        share,
        config.workers,
        process=team.process_index,
        processes=team.num_processes,
        pin=team.device.type == "cuda",
    )
    fresh: Iterator[PackedBatch] = (packed.to(team.device) for packed in loader)
    if phase.echo > 1:
        fresh = echoed(
            fresh,
            phase.echo,
            first=drawn // share - again,
            skip=again,
            seed=seed_of(config.seed, team.process_index),
            mirror=config.data.flip,
        )
    return (packed.unpack() for packed in fresh)


def _validator(config: TrainingConfig, val_faces: FaceSource) -> Validator:
    faces = val_faces.first(config.validation_faces)
    if config.data.pairs:
        return Validator(partial(paired_cases, faces))
    return Validator(partial(occluded_cases, faces, config.data), tall=config.data.tall)


def _phases_left(config: TrainingConfig, images_seen: int) -> Iterator[tuple[PhaseConfig, int]]:
    """The phases that are not done, with the images seen at their start."""
    start = 0
    for phase in config.phases:
        if images_seen < start + phase.images:
            yield phase, start
        start += phase.images


def _passed(interval: int, before: int, now: int) -> bool:
    return now // interval > before // interval


def _validate(trainer: Trainer, validator: Validator, watch: Watch, run: Path, team: Accelerator) -> None:
    """In the first process, for which the others wait: figures, samples, and the phase's best checkpoint.

    Figures of two phases cannot be compared (their sizes and aims differ), so each begins anew.
    """
    if not team.is_main_process:
        return
    seen, size_px = trainer.images_seen, trainer.phase.size_px
    figures = validator.measure(trainer.shown, size_px)
    best_hole = watch.best_hole(since_images=trainer.phase_start)
    watch.log_validation(seen, figures)
    watch.save_samples(seen, validator.draw_samples(trainer.shown, size_px))
    if figures["hole"] > best_hole:
        save_best(run, trainer.checkpoint())


def _save(trainer: Trainer, run: Path, team: Accelerator) -> Path:
    """Every process holds the same state, so the first alone writes it."""
    if team.is_main_process:
        return save_checkpoint(run, trainer.checkpoint())
    return numbered_checkpoint(run, trainer.images_seen)


def _progress_line(config: TrainingConfig, images_seen: int, *, quiet: bool) -> "tqdm[None]":
    total = sum(phase.images for phase in config.phases)
    return tqdm(total=total, initial=images_seen, unit="img", disable=quiet or None, smoothing=0.05)


@contextmanager
def _stop_signals() -> Iterator[Callable[[], bool]]:
    """SIGTERM and Ctrl-C ask the run to save and leave after its step, instead of ending it at once."""
    asked: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: asked.append(number))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

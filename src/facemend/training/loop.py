"""The training loop. Its clock is images seen; the same command again goes on where it stopped."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from facemend.datasets import FaceSource
from facemend.training.checkpoint import load_checkpoint, newest_checkpoint, save_checkpoint
from facemend.training.config import PhaseConfig, TrainingConfig
from facemend.training.data import OccludedFaces, cached_crops, load_batches
from facemend.training.trainer import Trainer
from facemend.training.validate import Validator
from facemend.training.watch import Watch


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        images_seen: so far.
        finished: whether every phase is done; False after SIGTERM or Ctrl-C.
        checkpoint: the newest.
    """

    images_seen: int
    finished: bool
    checkpoint: Path


def train(
    config: TrainingConfig,
    train_faces: FaceSource,
    val_faces: FaceSource,
    run: Path,
    *,
    cache: Path,
    init: Path | None = None,
    quiet: bool = False,
) -> Outcome:
    """Trains from scratch, or goes on from the newest checkpoint in `run`.

    Args:
        train_faces, val_faces: no person may be in both (the caller has checked).
        run: folder for checkpoints, logs and samples.
        cache: folder for decoded crops.
        init: start from these weights (a checkpoint, or exported safetensors).

    Raises:
        TrainingError: the run in the folder has another config, or a loss is no number any more.
    """
    faces = train_faces.first(config.data.images)
    trainer = Trainer(config, faces)
    checkpoint = newest_checkpoint(run)
    if checkpoint is not None:
        trainer.restore(load_checkpoint(checkpoint))
    elif init is not None:
        trainer.start_from(load_checkpoint(init))
    sizes = {phase.size_px for phase in config.phases}
    crops = {size_px: cached_crops(faces, size_px, cache, quiet=quiet) for size_px in sizes}
    validator = Validator(val_faces.first(config.validation_faces), config.data.kinds)
    with (
        Watch(run, trainer.images_seen) as watch,
        _stop_signals() as stopped,
        _progress_line(config, trainer.images_seen, quiet=quiet) as line,
    ):
        for phase, start, end in _phases_left(config, trainer.images_seen):
            trainer.enter(phase, start)
            dataset = OccludedFaces(crops[phase.size_px], config.data, phase.size_px, config.seed)
            saved_at = time.monotonic()
            for batch in load_batches(dataset, trainer.images_seen, end, phase.batch, config.workers):
                seen_before = trainer.images_seen
                watch.log_step(trainer.images_seen, phase.name, trainer.step(batch))
                line.update(trainer.images_seen - seen_before)
                line.set_postfix_str(f"{phase.name}, {watch.summary()}", refresh=False)
                if _passed(config.validate_images, seen_before, trainer.images_seen):
                    _validate(trainer, validator, watch, phase)
                if stopped() or time.monotonic() - saved_at > 60 * config.checkpoint_minutes:
                    checkpoint = save_checkpoint(run, trainer.checkpoint())
                    saved_at = time.monotonic()
                    if stopped():
                        return Outcome(trainer.images_seen, finished=False, checkpoint=checkpoint)
            _validate(trainer, validator, watch, phase)
            checkpoint = save_checkpoint(run, trainer.checkpoint())
    assert checkpoint is not None  # there is at least one phase: it was saved now or before
    return Outcome(trainer.images_seen, finished=True, checkpoint=checkpoint)


def _phases_left(config: TrainingConfig, images_seen: int) -> Iterator[tuple[PhaseConfig, int, int]]:
    """The phases that are not done, with the images seen at their start and end."""
    start = 0
    for phase in config.phases:
        end = start + phase.images
        if images_seen < end:
            yield phase, start, end
        start = end


def _passed(interval: int, before: int, now: int) -> bool:
    return now // interval > before // interval


def _validate(trainer: Trainer, validator: Validator, watch: Watch, phase: PhaseConfig) -> None:
    watch.log_validation(trainer.images_seen, validator.measure(trainer.shown, phase.size_px))
    watch.save_samples(trainer.images_seen, validator.draw_samples(trainer.shown, phase.size_px))


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

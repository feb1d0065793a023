"""The training loop. Its clock is images seen, and the same command again resumes where it stopped."""

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn
from tqdm import tqdm

from facemend.alignment import canonical_landmarks, repeat_below, tall_height
from facemend.datasets import FaceSource
from facemend.errors import TrainingError
from facemend.files import refuse_links, seed_of
from facemend.images import Image, Mask, from_network, to_network
from facemend.metrics.image import ssim
from facemend.metrics.psnr import psnr
from facemend.occlusion import kinds_with, occlude
from facemend.reconstruction.acceptance import wanted_alpha
from facemend.reconstruction.blending import composite
from facemend.reconstruction.options import Remove
from facemend.terminal import progress
from facemend.training.batches import ECHO_BUFFER, PackedBatch, PairBatch, echo_batches
from facemend.training.checkpoint import (
    load_checkpoint,
    newest_checkpoint,
    numbered_checkpoint,
    save_best,
    save_checkpoint,
    starting_weights,
)
from facemend.training.config import DataConfig, PhaseConfig, TrainingConfig
from facemend.training.data import (
    Crops,
    OccludedFaces,
    PairedPictures,
    cached_crops,
    decode_pair,
    halves,
    load_batches,
    mixed_crops,
)
from facemend.training.distributed import any_process, check_same_start, join_processes
from facemend.training.logging import RunLogger
from facemend.training.losses import FEATURES_SIDE_PX, cached_features, open_features
from facemend.training.sources import Mixture
from facemend.training.trainer import Trainer, TrainingState


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        images_seen: so far.
        finished: whether every phase is done; False after SIGTERM or Ctrl-C.
        stopped_by: the number of the signal that stopped it, or None.
        checkpoint: the newest.
        first: whether this is the first of the processes that trained together, which reports.
    """

    images_seen: int
    finished: bool
    checkpoint: Path
    first: bool = True
    stopped_by: int | None = None


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
    """Trains from scratch, or resumes from the newest checkpoint in `run`.

    Args:
        train_faces, val_faces: no person may be in both (the caller has checked).
        run: folder for checkpoints, logs and samples.
        cache: folder for decoded crops.
        accelerator: the processes that train together (default: those that a launcher started).
        init: start from these weights, see `starting_weights`. A run that resumes does not need them.

    Raises:
        TrainingError: the run in the folder has another config, a loss is NaN or infinite or has diverged,
            or a batch cannot be shared equally.
    """
    for name in ("checkpoints", "samples", "tensorboard", "cache"):
        refuse_links(run, run / name)
    team = accelerator or join_processes(run, config.trackers)
    faces = Mixture.of(train_faces).first(config.data.images)
    checkpoint = newest_checkpoint(run)
    saved = None if checkpoint is None else load_checkpoint(checkpoint)
    weights = starting_weights(init) if init is not None and saved is None else None
    state = TrainingState(config, faces, team, saved or weights)
    check_same_start(team, state.images_seen)
    with (
        _stop_signals() as stop_requested,
        RunLogger(run, state.images_seen, config, team) as logger,
        _progress_line(config, state.images_seen, quiet=quiet or not team.is_main_process) as line,
    ):
        crops = decode(config, faces, cache, team, quiet=quiet)
        features = deep_features_network(config, faces, cache, team, quiet=quiet)
        validator = _validator(config, val_faces)
        for phase, start in _phases_left(config, state.images_seen):
            resumed = saved if state.images_seen > start else None
            trainer, saved = Trainer(state, phase, start, features=features, resumed=resumed), None
            saved_at = time.monotonic()
            for batch in logger.wait_for(open_batches(state, phase, start, crops)):
                seen_before = state.images_seen
                logger.log_step(state.images_seen, phase.name, trainer.step(batch))
                line.update(state.images_seen - seen_before)
                line.set_postfix_str(f"{phase.name}, {logger.summary()}", refresh=False)
                if _passed(config.validate_images, seen_before, state.images_seen):
                    _validate(trainer, validator, logger, run)
                if any_process(team, asks=stop_requested() is not None):
                    checkpoint = _save(trainer, run)
                    first, number = team.is_main_process, stop_requested() or signal.SIGTERM
                    return Outcome(state.images_seen, False, checkpoint, first, number)
                if time.monotonic() - saved_at > 60 * config.checkpoint_minutes:
                    checkpoint = _save(trainer, run)
                    saved_at = time.monotonic()
            _validate(trainer, validator, logger, run)
            checkpoint = _save(trainer, run)
    assert checkpoint is not None  # there is at least one phase: it was saved now or before
    return Outcome(state.images_seen, True, checkpoint, team.is_main_process)


def decode(
    config: TrainingConfig, faces: Mixture, cache: Path, team: Accelerator, *, quiet: bool
) -> dict[int, Crops]:
    """Crops of every size that the phases need. The first process of each machine decodes them."""
    how = decode_pair if config.data.pairs else partial(FaceSource.crop, tall=config.data.tall)
    sizes = {phase.size_px for phase in config.phases}
    with team.local_main_process_first():
        return {size_px: mixed_crops(faces, size_px, cache, how, quiet=quiet) for size_px in sizes}


def deep_features_network(
    config: TrainingConfig, faces: Mixture, cache: Path, team: Accelerator, *, quiet: bool
) -> nn.Module | None:
    """The network behind `deep_features`, if a phase has it. Each machine's first process trains it.

    It is trained on the first source whose faces have CelebA's attributes.
    """
    if not any(phase.losses.deep_features for phase in config.phases):
        return None
    with team.local_main_process_first():
        crops = cached_crops(faces.described, FEATURES_SIDE_PX, cache, quiet=quiet)
        path = cached_features(config, faces.described, crops, cache, quiet=quiet)
    return open_features(path, team.device)


def open_batches(
    state: TrainingState, phase: PhaseConfig, phase_start: int, crops: Mapping[int, Crops]
) -> Iterator[PairBatch]:
    """This process's shares of a phase's batches, on its device, from the images seen to the phase's end.

    Args:
        phase_start: images seen at the phase's start.
        crops: by size in pixels.

    Raises:
        TrainingError: they cannot be shared equally.
    """
    config, team, start = state.config, state.accelerator, state.images_seen
    parts, end = team.num_processes * phase.accumulate, phase_start + phase.images
    share = phase.batch // phase.echo
    if share % parts or (end - start) % phase.batch % parts:
        raise TrainingError(
            f"phase {phase.name}: batches of {share} pictures until {end} cannot be shared equally by "
            f"{team.num_processes} processes in {phase.accumulate} parts each"
        )
    dataset = PairedPictures if config.data.pairs else OccludedFaces
    fresh_seen = (start - phase_start) // phase.echo
    # A run that resumes makes the last batches before it once more, to fill the echo's buffer.
    refill = min(fresh_seen // share, ECHO_BUFFER - 1) if phase.echo > 1 else 0
    loader = load_batches(
        dataset(crops[phase.size_px], config.data, phase.size_px, config.seed),
        phase_start + fresh_seen - refill * share,
        phase_start + phase.images // phase.echo,
        share,
        config.workers,
        process=team.process_index,
        processes=team.num_processes,
        pin=team.device.type == "cuda",
    )
    batches: Iterator[PackedBatch] = (packed.to(team.device) for packed in loader)
    if phase.echo > 1:
        batches = echo_batches(
            batches,
            phase.echo,
            first=fresh_seen // share - refill,
            skip=refill,
            seed=seed_of(config.seed, team.process_index),
            mirror=config.data.flip,
        )
    return (packed.unpack() for packed in batches)


def _validator(config: TrainingConfig, val_faces: FaceSource) -> "Validator":
    faces = val_faces.first(config.validation_faces)
    if config.data.pairs:
        return Validator(partial(paired_cases, faces))
    return Validator(partial(occluded_cases, faces, config.data), tall=config.data.tall)


def _phases_left(config: TrainingConfig, images_seen: int) -> Iterator[tuple[PhaseConfig, int]]:
    """The phases that are not finished, with the images seen at their start."""
    start = 0
    for phase in config.phases:
        if images_seen < start + phase.images:
            yield phase, start
        start += phase.images


def _passed(interval: int, before: int, now: int) -> bool:
    return now // interval > before // interval


def _validate(trainer: Trainer, validator: "Validator", logger: RunLogger, run: Path) -> None:
    """In the first process, for which the others wait: scores, samples, and the phase's best checkpoint.

    Scores of two phases cannot be compared (their sizes and losses differ), so each starts anew.
    """
    state, size_px = trainer.state, trainer.phase.size_px
    if not state.accelerator.is_main_process:
        return
    scores = validator.measure(state.exported, size_px)
    best_hole = logger.best_hole(since_images=trainer.phase_start)
    logger.log_validation(state.images_seen, scores)
    logger.save_samples(state.images_seen, validator.sample_grid(state.exported, size_px))
    if scores["hole"] > best_hole:
        save_best(run, trainer.checkpoint())


def _save(trainer: Trainer, run: Path) -> Path:
    """Every process holds the same state, so only the first writes it."""
    if trainer.state.accelerator.is_main_process:
        return save_checkpoint(run, trainer.checkpoint())
    return numbered_checkpoint(run, trainer.state.images_seen)


def _progress_line(config: TrainingConfig, images_seen: int, *, quiet: bool) -> "tqdm[Any]":
    total = sum(phase.images for phase in config.phases)
    return progress(total=total, initial=images_seen, unit="img", quiet=quiet, smoothing=0.05)


@contextmanager
def _stop_signals() -> Iterator[Callable[[], int | None]]:
    """SIGTERM and Ctrl-C make the run save and leave after its step, instead of ending it at once.

    Yields a function that says which of them came first. None before.
    """
    received: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: received.append(number))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield lambda: received[0] if received else None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_SAMPLES = 8


@dataclass(frozen=True)
class Case:
    """One picture to reconstruct.

    Attributes:
        kind: of its occlusion, or "pair".
        image, target: uint8 (H, W, 3) RGB.
        hole: bool (H, W), the masked area.
    """

    kind: str
    image: Image
    target: Image
    hole: Mask


def occluded_cases(faces: FaceSource, data: DataConfig, size_px: int) -> list[Case]:
    """Each face under one occlusion around the canonical landmarks, the kinds in turn."""
    used = list(data.shares)
    kinds = kinds_with(data.shares, None if data.cutouts is None else Path(data.cutouts))
    cases = []
    for index, record in enumerate(faces.records):
        kind = used[index % len(used)]
        seed = seed_of("validation", record.name, kind)
        face = occlude(faces.crop(record, size_px), canonical_landmarks(size_px), kind, seed, kinds)
        cases.append(Case(kind, face.image, face.target, face.occlusion.mask))
    return cases


def paired_cases(pairs: FaceSource, size_px: int) -> list[Case]:
    """Each pair as it is. The masked area is the whole picture."""
    pictures = [halves(decode_pair(pairs, record, size_px)) for record in pairs.records]
    everywhere = np.ones((size_px, size_px), dtype=bool)
    return [Case("pair", image, target, everywhere) for image, target in pictures]


@dataclass(frozen=True)
class _Result:
    raw: Image
    composite: Image


class Validator:
    """Measures a generator on a few pictures of the val split, without a hint where the masked area is.

    Args:
        make_cases: makes them for a size in pixels.
        tall: pass each square as a tall crop that ends at the square.
    """

    def __init__(self, make_cases: Callable[[int], list[Case]], *, tall: bool = False) -> None:
        self._make_cases, self._tall = make_cases, tall
        self._made: dict[int, list[Case]] = {}

    def measure(self, generator: nn.Module, size_px: int) -> dict[str, float]:
        """PSNR in dB: hole/KIND, hole (their mean), composite, copy_hole. And ssim, of the composite."""
        cases = self._cases(size_px)
        results = self._reconstruct(generator, cases)
        both = list(zip(results, cases, strict=True))
        holes = [(c.kind, psnr(d.composite, c.target, c.hole)) for d, c in both]
        by_kind = {
            f"hole/{kind}": _mean([value for each, value in holes if each == kind])
            for kind in dict.fromkeys(case.kind for case in cases)
        }
        return {
            "hole": float(np.mean(list(by_kind.values()))),
            "copy_hole": _mean([psnr(c.image, c.target, c.hole) for c in cases]),
            "composite": _mean([psnr(d.composite, c.target) for d, c in both]),
            "ssim": _mean([ssim(d.composite, c.target) for d, c in both]),
            **by_kind,
        }

    def sample_grid(self, generator: nn.Module, size_px: int) -> Image:
        """A grid, one picture per row: occluded | target | raw | composite."""
        cases = self._cases(size_px)[:_SAMPLES]
        rows = [
            np.hstack([c.image, c.target, d.raw, d.composite])
            for c, d in zip(cases, self._reconstruct(generator, cases), strict=True)
        ]
        return np.vstack(rows)

    def _cases(self, size_px: int) -> list[Case]:
        if size_px not in self._made:
            self._made[size_px] = self._make_cases(size_px)
        return self._made[size_px]

    def _reconstruct(self, generator: nn.Module, cases: list[Case]) -> list[_Result]:
        """What a user would get: the composite if the network detects occlusions, else its raw output."""
        results = []
        device = next(generator.parameters()).device
        training = generator.training
        generator.eval()
        for case in cases:
            side_px = len(case.image)
            crop = repeat_below(case.image, tall_height(side_px)) if self._tall else case.image
            image = torch.from_numpy(to_network(crop[None])).to(device)
            with torch.inference_mode():
                raw, logits, _ = generator(image, torch.zeros_like(image[:, :1]))
            picture = from_network(raw.cpu().numpy())[0, :side_px]
            if logits is None:
                results.append(_Result(picture, picture))
                continue
            alpha = wanted_alpha(logits.sigmoid()[0, :, :side_px].cpu().numpy(), Remove.ALL)
            results.append(_Result(picture, composite(case.image, picture, alpha).image))
        generator.train(training)
        return results


def _mean(values: list[float | None]) -> float:
    """The mean without None (a perfect picture has no PSNR)."""
    return float(np.mean([value for value in values if value is not None]))

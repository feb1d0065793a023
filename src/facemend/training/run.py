"""Opens the data of a training run, refuses people that leak between splits, and starts or estimates it."""

import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from facemend.alignment import tall_height
from facemend.datasets import FaceSource, Split, check_no_leak, known_identities, open_source, take_split
from facemend.errors import UsageError
from facemend.training.config import FeaturesConfig, PhaseConfig, TrainingConfig, read_config
from facemend.training.data import Crops, open_pairs, split_pairs
from facemend.training.distributed import join_processes, lost_processes_named
from facemend.training.loop import Outcome, decode, deep_features_network, open_batches, train
from facemend.training.networks import parameter_count
from facemend.training.sources import Mixture, open_mixture, refuse_measured
from facemend.training.trainer import Trainer, TrainingState


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
) -> "RunEstimate":
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
    if run.is_symlink():
        raise UsageError(f"{run} is a link; --fresh will not delete what it leads to")
    if any(run.iterdir()) and not (run / "checkpoints").is_dir():
        raise UsageError(f"{run} is not a run of facemend train; --fresh will not delete it")
    shutil.rmtree(run)


_WARM_STEPS, _TIMED_STEPS = 3, 5


@dataclass(frozen=True)
class PhaseEstimate:
    """One phase.

    Attributes:
        name, images, size_px, batch: as in the config.
        generator_gmacs: billions of multiply-adds for reconstructing one picture.
        step_gmacs: for one picture of a step, forward and backward, both networks. R1 is left out: torch's
            counter cannot follow the gradient of a gradient.
        images_per_s: measured with the run's own data, waiting included.
        memory_gb: peak use up to the end of its steps.
    """

    name: str
    images: int
    size_px: int
    batch: int
    generator_gmacs: float
    step_gmacs: float
    images_per_s: float
    memory_gb: float

    @property
    def hours(self) -> float:
        """Expected duration, without validations and checkpoints."""
        return self.images / self.images_per_s / 3600


@dataclass(frozen=True)
class RunEstimate:
    """A whole run.

    Attributes:
        config: resolved.
        device: that would train it.
        generator_parameters, discriminator_parameters: numbers of weights.
        phases: in order.
    """

    config: TrainingConfig
    device: str
    generator_parameters: int
    discriminator_parameters: int
    phases: tuple[PhaseEstimate, ...]

    def describe(self) -> str:
        """For people: networks, phases and hours."""
        lines = [
            f"generator {self.generator_parameters / 1e6:.2f}M parameters, discriminator "
            f"{self.discriminator_parameters / 1e6:.2f}M, on {self.device}",
        ]
        lines += [
            f"{p.name}: {p.images} images of {p.size_px} px in batches of {p.batch}; "
            f"{p.generator_gmacs:.2f} GMACs per reconstruction, {p.step_gmacs:.2f} per image of a step; "
            f"{p.images_per_s:.1f} images/s, {p.memory_gb:.1f} GB, {p.hours:.2f} hours"
            for p in self.phases
        ]
        hours = sum(phase.hours for phase in self.phases)
        return "\n".join([*lines, f"in all {hours:.2f} hours, validations and checkpoints left out"])


def estimate(config: TrainingConfig, faces: FaceSource | Mixture) -> RunEstimate:
    """Makes a few steps of every phase on a few of the faces, in a folder that is deleted afterwards.

    Raises:
        FacemendError: as `loop.train` would.
    """
    with tempfile.TemporaryDirectory() as folder:
        team = join_processes(Path(folder))
        mixture = Mixture.of(faces)
        state = TrainingState(config, mixture, team)
        few = mixture.first(_TIMED_STEPS * max(phase.batch for phase in config.phases))
        crops = decode(config, few, Path(folder), team, quiet=True)
        untrained = config.model_copy(update={"features": FeaturesConfig(images=1)})
        features = deep_features_network(untrained, few, Path(folder), team, quiet=True)
        return RunEstimate(
            config,
            str(team.device),
            parameter_count(state.generator),
            parameter_count(state.discriminator),
            tuple(_estimate_phase(state, phase, crops, features) for phase in config.phases),
        )


def _estimate_phase(
    state: TrainingState, phase: PhaseConfig, crops: Mapping[int, Crops], features: nn.Module | None
) -> PhaseEstimate:
    """One step counted, a few to warm up, a few timed."""
    few = phase.model_copy(update={"images": (1 + _WARM_STEPS + _TIMED_STEPS) * phase.batch})
    start = state.images_seen
    batches = open_batches(state, few, start, crops)
    counted = Trainer(state, _without_r1(phase), start, features=features)
    with FlopCounterMode(display=False) as counter:
        counted.step(next(batches))
    trainer = Trainer(state, phase, start, features=features)
    for _ in range(_WARM_STEPS):
        trainer.step(next(batches))
    began = time.monotonic()
    for batch in batches:
        trainer.step(batch)
    seconds = time.monotonic() - began
    return PhaseEstimate(
        phase.name,
        phase.images,
        phase.size_px,
        phase.batch,
        generator_gmacs=generator_gmacs(state.generator, phase, tall=state.config.data.tall),
        step_gmacs=counter.get_total_flops() / 2 / phase.batch / 1e9,
        images_per_s=_TIMED_STEPS * phase.batch / seconds,
        memory_gb=_memory_gb(state.device),
    )


def generator_gmacs(generator: nn.Module, phase: PhaseConfig, *, tall: bool = False) -> float:
    """Billions of multiply-adds for reconstructing one picture of the phase's size."""
    height_px = tall_height(phase.size_px) if tall else phase.size_px
    image = torch.zeros(1, 3, height_px, phase.size_px, device=next(generator.parameters()).device)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        generator(image, image[:, :1])
    return float(counter.get_total_flops()) / 2 / 1e9


def _without_r1(phase: PhaseConfig) -> PhaseConfig:
    return phase.model_copy(update={"losses": phase.losses.model_copy(update={"r1": 0.0})})


def _memory_gb(device: torch.device) -> float:
    """The most that torch has held on a GPU, or that this process has had in memory."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device)) / 1e9
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes / (1e9 if sys.platform == "darwin" else 1e6)

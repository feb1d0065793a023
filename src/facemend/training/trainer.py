"""One step of generator and discriminator, and everything that has to survive between two steps."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import deepcopy

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from facemend.datasets import FaceSource, hash_identity
from facemend.errors import TrainingError
from facemend.occlusion import seed_of
from facemend.training.batches import PairBatch
from facemend.training.checkpoint import (
    Checkpoint,
    Progress,
    check_same_run,
    current_commit,
    flatten_optimizer,
    restore_optimizer,
)
from facemend.training.config import PhaseConfig, TrainingConfig
from facemend.training.distributed import autocast, mean_over_processes
from facemend.training.logging import Alarm
from facemend.training.losses import Objective
from facemend.training.networks import Drawing, make_discriminator, make_generator
from facemend.training.optim import discriminator_optimizer, generator_optimizer, rate_at, set_rate
from facemend.training.sources import Mixture
from facemend.training.weights import StartingWeights


class Trainer:
    """Generator, discriminator and their optimisers, and one step of all of them.

    Every process has a trainer, and after every step they all hold the same weights. Dropout too
    follows from the seed and the position, so that no random state has to be kept.

    Args:
        faces: what is trained on; kept in checkpoints by name and hashed people.
        accelerator: the processes that train together, see processes.py.
    """

    def __init__(
        self, config: TrainingConfig, faces: FaceSource | Mixture, accelerator: Accelerator
    ) -> None:
        torch.manual_seed(config.seed)
        torch.backends.cudnn.benchmark = True  # a phase's pictures are all of one size
        self.config, self._accelerator = config, accelerator
        self._device: torch.device = accelerator.device
        self.generator = _placed(make_generator(config.generator), self._device)
        self.discriminator = _placed(make_discriminator(config.discriminator), self._device)
        self.ema: nn.Module = deepcopy(self.generator).requires_grad_(requires_grad=False).eval()
        # The same networks; a call of these averages the gradients of its backward over all processes.
        self._joint_generator: nn.Module = accelerator.prepare_model(self.generator)
        self._joint_discriminator: nn.Module = accelerator.prepare_model(self.discriminator)
        self._scaler = torch.amp.GradScaler(self._device.type, enabled=config.precision == "fp16")
        self.images_seen, self.seconds = 0, 0.0
        identities = {record.identity for record in faces.records}
        self._people = (
            None
            if None in identities
            else tuple(sorted(hash_identity(identity) for identity in identities if identity))
        )
        self._data = f"{faces.name}, {len(faces.records)} pictures of {len(identities)} people"
        self._optimizer_state: Checkpoint | None = None
        self.features: nn.Module | None = None
        """The network behind the loss `deep_features`; it is set before a phase that has it is entered."""

    @property
    def shown(self) -> nn.Module:
        """The generator that is validated and exported."""
        return self.ema if self.config.ema else self.generator

    def enter(self, phase: PhaseConfig, start: int) -> None:
        """Makes the phase's optimisers; takes their state from a checkpoint made inside the phase.

        For the loss `anchor` it also keeps the generator as it is at the beginning.
        """
        self.phase, self.phase_start = phase, start
        self._alarm = Alarm()
        saved, self._optimizer_state = self._optimizer_state, None
        if self.images_seen == start:
            saved = None
        self._before = self._as_it_was(saved) if phase.losses.anchor else None
        self._objective = Objective(self.config, phase.losses, self._device, self.features, self._before)
        self.generator_optimizer = generator_optimizer(self.generator, phase)
        self.discriminator_optimizer = discriminator_optimizer(self.discriminator, phase)
        if saved is not None:
            restore_optimizer(self.generator_optimizer, saved.part("generator_optimizer"))
            restore_optimizer(self.discriminator_optimizer, saved.part("discriminator_optimizer"))

    def _as_it_was(self, saved: Checkpoint | None) -> nn.Module:
        """The generator at the phase's beginning: as it is now, or as a checkpoint has kept it."""
        before = deepcopy(self.shown).requires_grad_(requires_grad=False).eval()
        if saved is not None:
            before.load_state_dict(saved.part("before"))
        return before

    def step(self, batch: PairBatch) -> dict[str, float]:
        """One update of the discriminator, if the phase has one, and of the generator.

        Args:
            batch: this process's share of the batch.

        Returns:
            The losses of the whole batch, by name; `generator` is their weighted sum.

        Raises:
            TrainingError: a loss or the gradient is no number, or a loss has exploded; the weights are
                spoilt then, and the last checkpoint is from before.
        """
        began, phase = time.monotonic(), self.phase
        rate = rate_at(phase, self.images_seen - self.phase_start)
        set_rate(self.generator_optimizer, phase.learning_rate * rate)
        set_rate(self.discriminator_optimizer, phase.discriminator_learning_rate * rate)
        parts = batch.to(self._device).split(phase.accumulate)
        # What is computed at once is drawn once, for both; of several parts, one at a time is kept.
        drawing = self._draw(self._joint_generator, parts[0], 0) if len(parts) == 1 else None
        figures: dict[str, Tensor] = {}
        if phase.losses.judged:
            figures["discriminator"] = self._step_discriminator(parts, drawing)
        figures |= self._add_gradients(parts, drawing)
        means = mean_over_processes(self._accelerator, torch.stack(list(figures.values())))
        norm = self._update_generator()
        self._follow()
        # Only now: whoever asks a GPU for a number waits until it has done all that it was given.
        result = dict(zip(figures, means.tolist(), strict=True))
        self._alarm.check(result, self.images_seen)
        self._check_gradient(norm)
        self.images_seen += len(batch) * self._accelerator.num_processes
        self.seconds += time.monotonic() - began
        return result

    def _draw(self, network: nn.Module, part: PairBatch, number: int) -> Drawing:
        place = self._accelerator.process_index * self.phase.accumulate + number
        torch.manual_seed(seed_of("dropout", self.config.seed, self.images_seen, place))
        self.generator.train()
        with autocast(self.config.precision, self._device):
            raw, *others = network(part.occluded.contiguous(memory_format=torch.channels_last), part.hint)
        return Drawing(raw.float(), *(None if other is None else other.float() for other in others))

    def _step_discriminator(self, parts: Sequence[PairBatch], drawing: Drawing | None) -> Tensor:
        self.discriminator_optimizer.zero_grad(set_to_none=True)
        figures = []
        for number, part in enumerate(parts):
            with self._averaging(self._joint_discriminator, last=number == len(parts) - 1):
                if drawing is None:
                    with torch.no_grad():
                        drawn = self._draw(self.generator, part, number).raw
                else:
                    drawn = drawing.raw.detach()
                loss = self._objective.of_discriminator(self._joint_discriminator, part, drawn)
                self._scaler.scale(loss / len(parts)).backward()  # type: ignore[no-untyped-call]
            figures.append(loss.detach())
        self._scaler.step(self.discriminator_optimizer)
        return torch.stack(figures).mean()

    def _add_gradients(self, parts: Sequence[PairBatch], drawing: Drawing | None) -> dict[str, Tensor]:
        """Gradients of the generator's losses, means over the parts; returns the losses, likewise."""
        self.generator_optimizer.zero_grad(set_to_none=True)
        area, figures = self._hole_area(parts), []
        for number, part in enumerate(parts):
            with self._averaging(self._joint_generator, last=number == len(parts) - 1):
                drawn = drawing or self._draw(self._joint_generator, part, number)
                with _frozen(self.discriminator):
                    terms = self._objective.of_generator(self.discriminator, part, drawn, area)
                self._scaler.scale(terms["generator"] / len(parts)).backward()  # type: ignore[no-untyped-call]
            figures.append({name: term.detach() for name, term in terms.items()})
        return {name: torch.stack([each[name] for each in figures]).mean() for name in figures[0]}

    def _hole_area(self, parts: Sequence[PairBatch]) -> Tensor:
        """Pixels in the holes of a part: the mean over all parts of the batch, in all processes."""
        mean = torch.stack([part.hole.sum() for part in parts]).mean()
        return mean_over_processes(self._accelerator, mean)

    def _averaging(self, network: nn.Module, *, last: bool) -> AbstractContextManager[object]:
        """Gradients are averaged over the processes once a batch, with its last part."""
        if last:
            return nullcontext()
        apart: AbstractContextManager[object] = self._accelerator.no_sync(network)
        return apart

    def _update_generator(self) -> Tensor | None:
        """Returns the norm of the gradient, where it is bounded."""
        self._scaler.unscale_(self.generator_optimizer)
        norm: Tensor | None = None
        if self.phase.clip_norm:
            norm = nn.utils.clip_grad_norm_(self.generator.parameters(), self.phase.clip_norm)
        self._scaler.step(self.generator_optimizer)
        self._scaler.update()
        return norm

    def _check_gradient(self, norm: Tensor | None) -> None:
        if norm is not None and not self._scaler.is_enabled() and not math.isfinite(norm):
            raise TrainingError(
                f"the gradient is no number any more in the step after {self.images_seen} images; "
                "the last checkpoint is from before; try a lower learning_rate"
            )

    def _follow(self) -> None:
        """The running mean of the weights; early on it forgets faster, so that it starts quickly."""
        steps = self.images_seen / self.phase.batch
        decay = min(self.config.ema, (1 + steps) / (10 + steps))
        with torch.no_grad():
            mean: list[Tensor] = list(self.ema.parameters())
            now: list[Tensor] = list(self.generator.parameters())
            torch._foreach_lerp_(mean, now, 1 - decay)

    def checkpoint(self) -> Checkpoint:
        """Everything, as it is now."""
        tensors: dict[str, Tensor] = {}
        networks = {"generator": self.generator, "ema": self.ema, "discriminator": self.discriminator}
        if self._before is not None:
            networks["before"] = self._before
        for name, network in networks.items():
            tensors |= {f"{name}/{key}": value for key, value in network.state_dict().items()}
        tensors |= flatten_optimizer("generator_optimizer", self.generator_optimizer)
        tensors |= flatten_optimizer("discriminator_optimizer", self.discriminator_optimizer)
        scaler: Mapping[str, float] = self._scaler.state_dict()
        tensors |= {f"scaler/{key}": torch.tensor(value) for key, value in scaler.items()}
        return Checkpoint(
            config=self.config.model_dump(mode="json"),
            progress=Progress(self.images_seen, self.seconds),
            training_people=self._people,
            data=self._data,
            commit=current_commit(),
            tensors=tensors,
        )

    def restore(self, saved: Checkpoint) -> None:
        """Goes on from a checkpoint.

        Raises:
            TrainingError: it is of another run, see `check_same_run`.
        """
        check_same_run(saved, self.config, self._people)
        self.generator.load_state_dict(saved.part("generator"))
        self.discriminator.load_state_dict(saved.part("discriminator"))
        self.ema.load_state_dict(saved.part("ema"))
        if self._scaler.is_enabled():
            self._scaler.load_state_dict({key: value.item() for key, value in saved.part("scaler").items()})
        self.images_seen, self.seconds = saved.progress.images_seen, saved.progress.seconds
        self._optimizer_state = saved

    def start_from(self, weights: StartingWeights) -> None:
        """Takes over networks that learnt before; optimisers and clock start anew.

        Raises:
            TrainingError: they have another shape.
        """
        try:
            if weights.generator:
                self.generator.load_state_dict(weights.generator)
                self.ema.load_state_dict(weights.generator)
            if weights.discriminator:
                self.discriminator.load_state_dict(weights.discriminator)
        except RuntimeError as error:
            raise TrainingError(f"the weights to start from are of another network: {error}") from error


def _placed(network: nn.Module, device: torch.device) -> nn.Module:
    """On its device, in the layout in which convolutions run fastest on CPUs and GPUs."""
    return network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


@contextmanager
def _frozen(network: nn.Module) -> Iterator[None]:
    """What is computed through the network inside has no gradients for its weights: nobody needs them."""
    network.requires_grad_(requires_grad=False)
    try:
        yield
    finally:
        network.requires_grad_(requires_grad=True)

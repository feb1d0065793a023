"""The networks of a run, their optimisers (Adam, AdamW, Muon) and rates, and one step of a phase."""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import deepcopy

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from facemend.datasets import FaceSource, hash_identity
from facemend.errors import TrainingError
from facemend.files import seed_of
from facemend.training.batches import PairBatch
from facemend.training.checkpoint import (
    Checkpoint,
    Progress,
    StartingWeights,
    check_same_run,
    current_commit,
    fitting,
    flatten_optimizer,
    restore_optimizer,
)
from facemend.training.config import PhaseConfig, TrainingConfig
from facemend.training.distributed import autocast, has_fast_bf16, mean_over_processes
from facemend.training.logging import DivergenceCheck
from facemend.training.losses import Objective
from facemend.training.networks import GeneratorOutput, make_discriminator, make_generator
from facemend.training.sources import Mixture


class TrainingState:
    """What outlives a phase: the networks, the scale of fp16's losses, and the images seen.

    Every process has one, and after every step they all hold the same weights. No random state belongs
    to it: all randomness follows from the seed and the images seen.

    Args:
        faces: what is trained on. Checkpoints hold its name and its people, hashed.
        accelerator: the processes that train together, see distributed.py.
        start: a checkpoint of this run to resume from, weights to start from, or None.

    Raises:
        TrainingError: the checkpoint is of another run, see `check_same_run`, or the weights are of another
            network.
    """

    def __init__(
        self,
        config: TrainingConfig,
        faces: FaceSource | Mixture,
        accelerator: Accelerator,
        start: Checkpoint | StartingWeights | None = None,
    ) -> None:
        torch.manual_seed(config.seed)
        torch.backends.cudnn.benchmark = True  # a phase's pictures are all of one size
        self.config, self.accelerator, self.device = config, accelerator, accelerator.device
        self.generator = _on_device(make_generator(config.generator), self.device)
        self.discriminator = _on_device(make_discriminator(config.discriminator), self.device)
        self.ema: nn.Module = deepcopy(self.generator).requires_grad_(requires_grad=False).eval()
        # The same networks. A backward pass through these averages gradients over all processes.
        self.joint_generator: nn.Module = accelerator.prepare_model(self.generator)
        self.joint_discriminator: nn.Module = accelerator.prepare_model(self.discriminator)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=config.precision == "fp16")
        self.images_seen, self.seconds = 0, 0.0
        identities = {record.identity for record in faces.records}
        self.people = (
            None
            if None in identities
            else tuple(sorted(hash_identity(identity) for identity in identities if identity))
        )
        self.data = f"{faces.name}, {len(faces.records)} pictures of {len(identities)} people"
        if isinstance(start, Checkpoint):
            self._resume(start)
        elif start is not None:
            self._take_over(start)

    @property
    def exported(self) -> nn.Module:
        """The generator that is validated and exported."""
        return self.ema if self.config.ema else self.generator

    def _resume(self, saved: Checkpoint) -> None:
        check_same_run(saved, self.config, self.people)
        with fitting():
            self.generator.load_state_dict(saved.part("generator"))
            self.discriminator.load_state_dict(saved.part("discriminator"))
            self.ema.load_state_dict(saved.part("ema"))
            if self.scaler.is_enabled():
                scaler = {key: value.item() for key, value in saved.part("scaler").items()}
                self.scaler.load_state_dict(scaler)
        self.images_seen, self.seconds = saved.progress.images_seen, saved.progress.seconds

    def _take_over(self, weights: StartingWeights) -> None:
        try:
            if weights.generator:
                self.generator.load_state_dict(weights.generator)
                self.ema.load_state_dict(weights.generator)
            if weights.discriminator:
                self.discriminator.load_state_dict(weights.discriminator)
        except RuntimeError as error:
            raise TrainingError(f"the weights to start from are of another network: {error}") from error


class Trainer:
    """Trains the networks in one phase, with its optimisers and losses.

    Args:
        state: the networks, which every step changes.
        phase_start: images seen when the phase began.
        features: the network behind the loss `deep_features`, if the phase has it.
        resumed: the checkpoint that the run resumes from, if that lies inside this phase.
    """

    def __init__(
        self,
        state: TrainingState,
        phase: PhaseConfig,
        phase_start: int,
        *,
        features: nn.Module | None = None,
        resumed: Checkpoint | None = None,
    ) -> None:
        self.state, self.phase, self.phase_start = state, phase, phase_start
        self._objective = Objective(state.config, phase.losses, state.device, features)
        self._divergence = DivergenceCheck()
        self._generator_optimizer = generator_optimizer(state.generator, phase)
        self._discriminator_optimizer = discriminator_optimizer(state.discriminator, phase)
        if resumed is not None:
            with fitting():
                restore_optimizer(self._generator_optimizer, resumed.part("generator_optimizer"))
                restore_optimizer(self._discriminator_optimizer, resumed.part("discriminator_optimizer"))

    def step(self, batch: PairBatch) -> dict[str, float]:
        """One update of the discriminator, if the phase uses it, and of the generator.

        Args:
            batch: this process's share of the batch.

        Returns:
            The losses of the whole batch, by name. `generator` is their weighted sum.

        Raises:
            TrainingError: a loss or the gradient is NaN or infinite, or a loss has diverged. The weights
                are spoilt then, and the last checkpoint is from before.
        """
        began, state, phase = time.monotonic(), self.state, self.phase
        rate = rate_at(phase, state.images_seen - self.phase_start)
        set_rate(self._generator_optimizer, phase.learning_rate * rate)
        set_rate(self._discriminator_optimizer, phase.discriminator_learning_rate * rate)
        parts = batch.to(state.device).split(phase.accumulate)
        # A batch of one part is reconstructed once, for both networks. Of several, one at a time is kept.
        output = self._generate(state.joint_generator, parts[0], 0) if len(parts) == 1 else None
        losses: dict[str, Tensor] = {}
        if phase.losses.use_discriminator:
            losses["discriminator"] = self._step_discriminator(parts, output)
        losses |= self._add_gradients(parts, output)
        means = mean_over_processes(state.accelerator, torch.stack(list(losses.values())))
        norm = self._step_generator()
        self._update_ema()
        # Only now: reading a number from a GPU waits until the GPU has finished its queue.
        result = dict(zip(losses, means.tolist(), strict=True))
        self._divergence.check(result, state.images_seen)
        self._check_gradient(norm)
        state.images_seen += len(batch) * state.accelerator.num_processes
        state.seconds += time.monotonic() - began
        return result

    def _generate(self, network: nn.Module, part: PairBatch, number: int) -> GeneratorOutput:
        state = self.state
        location = state.accelerator.process_index * self.phase.accumulate + number
        torch.manual_seed(seed_of("dropout", state.config.seed, state.images_seen, location))
        state.generator.train()
        with autocast(state.config.precision, state.device):
            raw, *others = network(part.occluded.contiguous(memory_format=torch.channels_last), part.hint)
        return GeneratorOutput(raw.float(), *(None if each is None else each.float() for each in others))

    def _step_discriminator(self, parts: Sequence[PairBatch], output: GeneratorOutput | None) -> Tensor:
        state, losses = self.state, []
        self._discriminator_optimizer.zero_grad(set_to_none=True)
        for number, part in enumerate(parts):
            with self._averaging(state.joint_discriminator, last=number == len(parts) - 1):
                if output is None:
                    with torch.no_grad():
                        raw = self._generate(state.generator, part, number).raw
                else:
                    raw = output.raw.detach()
                loss = self._objective.d_loss(state.joint_discriminator, part, raw)
                state.scaler.scale(loss / len(parts)).backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach())
        state.scaler.step(self._discriminator_optimizer)
        return torch.stack(losses).mean()

    def _add_gradients(
        self, parts: Sequence[PairBatch], output: GeneratorOutput | None
    ) -> dict[str, Tensor]:
        """Gradients of the generator's losses, means over the parts. Returns the losses, likewise."""
        state, losses = self.state, []
        self._generator_optimizer.zero_grad(set_to_none=True)
        area = self._hole_area(parts)
        for number, part in enumerate(parts):
            with self._averaging(state.joint_generator, last=number == len(parts) - 1):
                reconstruction = output or self._generate(state.joint_generator, part, number)
                with _frozen(state.discriminator):
                    terms = self._objective.g_losses(state.discriminator, part, reconstruction, area)
                state.scaler.scale(terms["generator"] / len(parts)).backward()  # type: ignore[no-untyped-call]
            losses.append({name: term.detach() for name, term in terms.items()})
        return {name: torch.stack([each[name] for each in losses]).mean() for name in losses[0]}

    def _hole_area(self, parts: Sequence[PairBatch]) -> Tensor:
        """Pixels in the masked areas of a part: the mean over all parts of the batch, in all processes."""
        mean = torch.stack([part.hole.sum() for part in parts]).mean()
        return mean_over_processes(self.state.accelerator, mean)

    def _averaging(self, network: nn.Module, *, last: bool) -> AbstractContextManager[object]:
        """Gradients are averaged over the processes once per batch, with its last part."""
        if last:
            return nullcontext()
        apart: AbstractContextManager[object] = self.state.accelerator.no_sync(network)
        return apart

    def _step_generator(self) -> Tensor | None:
        """Returns the norm of the gradient, where it is bounded."""
        scaler, norm = self.state.scaler, None
        scaler.unscale_(self._generator_optimizer)
        if self.phase.clip_norm:
            norm = nn.utils.clip_grad_norm_(self.state.generator.parameters(), self.phase.clip_norm)
        scaler.step(self._generator_optimizer)
        scaler.update()
        return norm

    def _check_gradient(self, norm: Tensor | None) -> None:
        if norm is not None and not self.state.scaler.is_enabled() and not math.isfinite(norm):
            raise TrainingError(
                f"the gradient is no number any more in the step after {self.state.images_seen} images; "
                "the last checkpoint is from before; try a lower learning_rate"
            )

    def _update_ema(self) -> None:
        """The running mean of the weights. Early on it forgets faster, so that it starts quickly."""
        steps = self.state.images_seen / self.phase.batch
        decay = min(self.state.config.ema, (1 + steps) / (10 + steps))
        with torch.no_grad():
            mean: list[Tensor] = list(self.state.ema.parameters())
            now: list[Tensor] = list(self.state.generator.parameters())
            torch._foreach_lerp_(mean, now, 1 - decay)

    def checkpoint(self) -> Checkpoint:
        """Everything, as it is now."""
        state = self.state
        tensors: dict[str, Tensor] = {}
        networks = {"generator": state.generator, "ema": state.ema, "discriminator": state.discriminator}
        for name, network in networks.items():
            tensors |= {f"{name}/{key}": value for key, value in network.state_dict().items()}
        tensors |= flatten_optimizer("generator_optimizer", self._generator_optimizer)
        tensors |= flatten_optimizer("discriminator_optimizer", self._discriminator_optimizer)
        tensors |= {
            f"scaler/{key}": torch.tensor(value) for key, value in state.scaler.state_dict().items()
        }
        return Checkpoint(
            config=state.config.model_dump(mode="json"),
            progress=Progress(state.images_seen, state.seconds),
            training_people=state.people,
            data=state.data,
            commit=current_commit(),
            tensors=tensors,
        )


def _on_device(network: nn.Module, device: torch.device) -> nn.Module:
    """On its device, in the layout in which convolutions run fastest on CPUs and GPUs."""
    return network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


@contextmanager
def _frozen(network: nn.Module) -> Iterator[None]:
    """Inside, gradients pass through the network, and its own weights get none."""
    network.requires_grad_(requires_grad=False)
    try:
        yield
    finally:
        network.requires_grad_(requires_grad=True)


_ITERATIONS = 5
_A, _B, _C = 3.4445, -4.7750, 2.0315
_AS_ADAMW = 0.2
"""The root mean square of AdamW's usual update, so that Muon takes the learning rates of AdamW."""


class Muon(torch.optim.Optimizer):
    """Muon for weights of two and more dimensions, AdamW for the others (biases).

    A layer moves equally far in all directions, where Adam neglects the rare ones. torch's own Muon takes
    plain matrices alone. Here a convolution's weights (out, in, h, w) count as a matrix with a row for
    each output, (out, in·h·w).

    Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024 (Nesterov momentum,
    five Newton-Schulz iterations in bf16); Liu et al., "Muon is Scalable for LLM Training", 2025 (arXiv
    2502.16982), equation 4: the update's size, and decoupled weight decay.

    Args:
        parameters: to learn.
        lr: AdamW's.
        betas: AdamW's, for biases.
        weight_decay: decoupled, see above.
        momentum: of the matrices' gradients.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float,
        betas: tuple[float, float],
        weight_decay: float,
        momentum: float = 0.95,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "weight_decay": weight_decay, "momentum": momentum}
        super().__init__(parameters, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Updates all weights that have a gradient. It takes no closure."""
        for group in self.param_groups:
            learning: list[Tensor] = [weights for weights in group["params"] if weights.grad is not None]
            if not learning:
                continue
            torch._foreach_mul_(learning, 1 - group["lr"] * group["weight_decay"])
            self._step_matrices([w for w in learning if w.ndim >= 2], group["lr"], group["momentum"])
            self._step_vectors([w for w in learning if w.ndim < 2], group["lr"], *group["betas"])

    def _step_matrices(self, weights: Sequence[Tensor], lr: float, momentum: float) -> None:
        if not weights:
            return
        gradients = [_gradient(each) for each in weights]
        means = [self._running("mean", each) for each in weights]
        torch._foreach_lerp_(means, gradients, 1 - momentum)
        ahead = torch._foreach_lerp(gradients, means, momentum)
        alike: dict[torch.Size, list[int]] = defaultdict(list)
        for index, each in enumerate(weights):
            alike[each.shape].append(index)
        for indices in alike.values():
            # Columns in the order in which channels-last weights lie in memory, so that nothing is copied.
            rows = torch.stack([ahead[index].movedim(1, -1) for index in indices])
            matrices = rows.flatten(2)
            updates = orthogonalised(matrices).reshape(rows.shape).movedim(-1, 2)
            size = _AS_ADAMW * float(max(matrices.shape[1:])) ** 0.5
            torch._foreach_add_([weights[index] for index in indices], updates.unbind(), alpha=-lr * size)

    def _step_vectors(
        self, weights: Sequence[Tensor], lr: float, beta: float, beta_of_squares: float
    ) -> None:
        if not weights:
            return
        gradients = [_gradient(each) for each in weights]
        means = [self._running("mean", each) for each in weights]
        squares = [self._running("square", each) for each in weights]
        steps = [self._running("step", each) for each in weights]
        torch._foreach_add_(steps, 1)
        torch._foreach_lerp_(means, gradients, 1 - beta)
        torch._foreach_lerp_(squares, torch._foreach_mul(gradients, gradients), 1 - beta_of_squares)
        passed = [float(step) for step in steps]  # a vector that came later has made fewer
        spreads = torch._foreach_div(squares, [1 - beta_of_squares**step for step in passed])
        torch._foreach_sqrt_(spreads)
        torch._foreach_add_(spreads, 1e-8)
        sizes = [-lr / (1 - beta**step) for step in passed]
        torch._foreach_addcdiv_(list(weights), means, spreads, sizes)

    def _running(self, name: str, weights: Tensor) -> Tensor:
        state = self.state[weights]
        if name not in state:
            state[name] = torch.zeros(()) if name == "step" else torch.zeros_like(weights)
        running: Tensor = state[name]
        return running


def _gradient(weights: Tensor) -> Tensor:
    assert weights.grad is not None  # only those with a gradient are stepped
    return weights.grad


def orthogonalised(matrices: Tensor) -> Tensor:
    """U·Vᵀ of matrices U·S·Vᵀ, approximately: the singular values become about 0.7 to 1.2.

    Five iterations of x ← a·x + (b·s + c·s²)·x with s = x·xᵀ, in bf16 where the processor computes in it.

    Args:
        matrices: (N, m, n). They are computed together, which on a GPU takes little longer than one.

    Returns:
        (N, m, n).
    """
    x = matrices.bfloat16() if has_fast_bf16(matrices.device) else matrices.float()
    if tall := x.shape[1] > x.shape[2]:
        x = x.mT
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(_ITERATIONS):
        s = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(s, s, s, beta=_B, alpha=_C), x, beta=_A)
    return x.mT if tall else x


def generator_optimizer(network: nn.Module, phase: PhaseConfig) -> torch.optim.Optimizer:
    """The phase's optimiser for all weights of a generator."""
    if phase.optimizer == "muon":
        return Muon(network.parameters(), phase.learning_rate, phase.betas, phase.weight_decay)
    return _adam(network, phase, phase.learning_rate)


def discriminator_optimizer(network: nn.Module, phase: PhaseConfig) -> torch.optim.Optimizer:
    """The phase's optimiser for all weights of a discriminator: AdamW where the generator has Muon."""
    return _adam(network, phase, phase.discriminator_learning_rate)


def _adam(network: nn.Module, phase: PhaseConfig, rate: float) -> torch.optim.Optimizer:
    if phase.optimizer == "adam":
        return torch.optim.Adam(network.parameters(), lr=rate, betas=phase.betas, fused=True)
    return torch.optim.AdamW(
        network.parameters(), lr=rate, betas=phase.betas, weight_decay=phase.weight_decay, fused=True
    )


def rate_at(phase: PhaseConfig, images: int) -> float:
    """Share of the peak learning rate after this many images of a phase."""
    warmup = min(1.0, (images + phase.batch) / phase.warmup_images) if phase.warmup_images else 1.0
    if phase.schedule == "constant":
        return warmup
    done = min(1.0, images / phase.images)
    return warmup * (0.02 + 0.98 * (1 + math.cos(math.pi * done)) / 2)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Sets the learning rate of the next step."""
    for group in optimizer.param_groups:
        group["lr"] = rate

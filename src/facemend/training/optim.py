"""Optimisers: Adam, AdamW and Muon, and their learning rates."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from facemend.training.config import PhaseConfig
from facemend.training.distributed import has_fast_bf16

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

"""Muon for convolutions: every step turns a layer's gradient into the nearest orthogonal matrix."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from facemend.training.precision import has_fast_bf16

_ITERATIONS = 5
_A, _B, _C = 3.4445, -4.7750, 2.0315
_AS_ADAMW = 0.2
"""The root mean square of AdamW's usual update, so that Muon takes the learning rates of AdamW."""


class Muon(torch.optim.Optimizer):
    """Muon for weights of two and more dimensions, AdamW for the others (biases).

    Every direction that a layer can move in moves alike, where Adam leaves the rare ones behind. torch
    has one for plain matrices alone; a convolution's weights (out, in, h, w) are taken here as a matrix
    of a row for each output, (out, in·h·w).

    Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024 (Nesterov momentum,
    five Newton-Schulz iterations in bf16); Liu et al., "Muon is Scalable for LLM Training", 2025 (arXiv
    2502.16982), equation 4: the update's size, and decoupled weight decay.

    Args:
        parameters: to learn.
        lr: AdamW's.
        betas: AdamW's, for what is no matrix.
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
        """Updates all weights that have a gradient; without a closure, which is for other optimisers."""
        for group in self.param_groups:
            for weights in group["params"]:
                if weights.grad is None:
                    continue
                weights.mul_(1 - group["lr"] * group["weight_decay"])
                if weights.ndim >= 2:
                    self._step_matrix(weights, group["lr"], group["momentum"])
                else:
                    self._step_vector(weights, group["lr"], *group["betas"])

    def _step_matrix(self, weights: Tensor, lr: float, momentum: float) -> None:
        state, gradient = self.state[weights], weights.grad
        assert gradient is not None
        if not state:
            state["mean"] = torch.zeros_like(weights)
        mean: Tensor = state["mean"]
        mean.lerp_(gradient, 1 - momentum)
        ahead = torch.lerp(gradient, mean, momentum)
        # Columns in the order in which channels-last weights lie in memory, so that nothing is copied.
        rows = ahead.movedim(1, -1)
        matrix = rows.reshape(len(rows), -1)
        update = orthogonalised(matrix).reshape(rows.shape).movedim(-1, 1)
        weights.add_(update, alpha=-lr * _AS_ADAMW * float(max(matrix.shape)) ** 0.5)

    def _step_vector(self, weights: Tensor, lr: float, beta: float, beta_of_squares: float) -> None:
        state, gradient = self.state[weights], weights.grad
        assert gradient is not None
        if not state:
            state["step"] = torch.zeros(())
            state["mean"], state["square"] = torch.zeros_like(weights), torch.zeros_like(weights)
        state["step"] += 1
        steps = float(state["step"])
        mean: Tensor = state["mean"].lerp_(gradient, 1 - beta)
        square: Tensor = state["square"].lerp_(gradient.square(), 1 - beta_of_squares)
        spread = (square / (1 - beta_of_squares**steps)).sqrt_().add_(1e-8)
        weights.addcdiv_(mean, spread, value=-lr / (1 - beta**steps))


def orthogonalised(matrix: Tensor) -> Tensor:
    """U·Vᵀ of a matrix U·S·Vᵀ, roughly: its singular values come out between about 0.7 and 1.2.

    Five iterations of x ← a·x + (b·s + c·s²)·x with s = x·xᵀ, in bf16 where the processor computes in it.

    Args:
        matrix: (m, n).

    Returns:
        (m, n).
    """
    x = matrix.bfloat16() if has_fast_bf16(matrix.device) else matrix.float()
    if tall := len(x) > x.shape[1]:
        x = x.T
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(_ITERATIONS):
        s = x @ x.T
        x = torch.addmm(x, torch.addmm(s, s, s, beta=_B, alpha=_C), x, beta=_A)
    return x.T if tall else x

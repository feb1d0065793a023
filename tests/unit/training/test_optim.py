import pytest
import torch
from torch import nn

from facemend.training.checkpoint import flatten_optimizer, restore_optimizer
from facemend.training.config import PhaseConfig
from facemend.training.trainer import Muon, discriminator_optimizer, generator_optimizer, orthogonalised


@pytest.mark.parametrize("shape", [(24, 90), (90, 24), (16, 16)])
def test_an_orthogonalised_matrix_keeps_its_directions(
    shape: tuple[int, int],
) -> None:
    torch.manual_seed(0)
    left, _, right = torch.linalg.svd(torch.randn(shape), full_matrices=False)
    matrix = left @ torch.diag(torch.logspace(0, -1, len(right))) @ right
    result, other = orthogonalised(torch.stack([matrix, 3 * torch.randn(shape)])).float()
    assert result.shape == other.shape == shape
    turned = left.T @ result @ right.T  # diagonal, if the directions are the same
    sizes = turned.diagonal()
    assert 0.6 < sizes.min() <= sizes.max() < 1.3
    assert (turned - torch.diag(sizes)).abs().max() < 0.1


def test_a_gradient_that_is_zero_moves_nothing() -> None:
    assert not orthogonalised(torch.zeros(1, 3, 5)).any()


def test_a_step_has_the_size_of_adamws() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(32, 32, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    before = layer.weight.detach().clone()
    layer.weight.grad = torch.randn_like(layer.weight) * 1e-4
    Muon(layer.parameters(), lr=0.01, betas=(0.9, 0.99), weight_decay=0).step()
    moved = (layer.weight.detach() - before).square().mean().sqrt()
    assert float(moved) == pytest.approx(0.2 * 0.01, rel=0.2)


def test_a_convolution_is_a_matrix_of_a_row_for_each_output() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(8, 4, 3, bias=False)
    gradient = torch.randn_like(layer.weight)
    before = layer.weight.detach().clone()
    layer.weight.grad = gradient
    Muon(layer.parameters(), lr=1.0, betas=(0.9, 0.99), weight_decay=0).step()
    moved = (before - layer.weight.detach()).flatten(1) / (0.2 * 72**0.5)
    left, _, right = torch.linalg.svd(gradient.flatten(1), full_matrices=False)
    sizes = (left.T @ moved @ right.T).diagonal()
    assert 0.6 < sizes.min() <= sizes.max() < 1.3


def test_vectors_take_adamws_steps() -> None:
    weights = [nn.Parameter(torch.tensor([1.0, -2.0])) for _ in range(2)]
    muon = Muon(weights[:1], lr=0.1, betas=(0.9, 0.99), weight_decay=0.5)
    adamw = torch.optim.AdamW(weights[1:], lr=0.1, betas=(0.9, 0.99), weight_decay=0.5)
    for step in range(5):
        for each, optimizer in zip(weights, (muon, adamw), strict=True):
            each.grad = torch.tensor([0.3, -0.1 * step])
            optimizer.step()
    assert torch.allclose(weights[0], weights[1])


def test_it_learns_and_goes_on_to_the_same_bits() -> None:
    torch.manual_seed(0)
    shown, truth = torch.randn(16, 4, 6, 6), torch.randn(16, 2, 4, 4)

    def train(network: nn.Module, optimizer: Muon, steps: int) -> float:
        for _ in range(steps):
            optimizer.zero_grad()
            loss = (network(shown) - truth).square().mean()
            loss.backward()
            optimizer.step()
        return float(loss.detach())

    def begin() -> tuple[nn.Module, Muon]:
        torch.manual_seed(1)
        network = nn.Conv2d(4, 2, 3)
        return network, Muon(network.parameters(), lr=0.02, betas=(0.9, 0.99), weight_decay=0.01)

    whole, optimizer = begin()
    first = train(whole, optimizer, 1)
    assert train(whole, optimizer, 29) < 0.9 * first
    half, optimizer = begin()
    train(half, optimizer, 12)
    resumed = Muon(half.parameters(), lr=0.02, betas=(0.9, 0.99), weight_decay=0.01)
    restore_optimizer(
        resumed, {key.removeprefix("x/"): value for key, value in flatten_optimizer("x", optimizer).items()}
    )
    train(half, resumed, 18)
    for expected, got in zip(whole.parameters(), half.parameters(), strict=True):
        assert torch.equal(expected, got)


def test_the_discriminator_keeps_to_adamw() -> None:
    phase = PhaseConfig.model_validate(
        {"name": "x", "images": 8, "learning_rate": 1e-3, "optimizer": "muon", "losses": {"l1_image": 1}}
    )
    network = nn.Conv2d(3, 3, 3)
    assert isinstance(generator_optimizer(network, phase), Muon)
    assert isinstance(discriminator_optimizer(network, phase), torch.optim.AdamW)

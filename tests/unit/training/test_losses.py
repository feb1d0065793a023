import math

import pytest
import torch

from facemend.training import losses


def _filled(*values: float) -> torch.Tensor:
    """(1, 3, 1, N): every channel holds the values."""
    return torch.tensor(values, dtype=torch.float32).expand(3, len(values)).reshape(1, 3, 1, len(values))


def test_l1_image_is_the_mean_absolute_difference() -> None:
    assert losses.l1_image(_filled(0.0, 1.0), _filled(0.5, 0.0)).item() == pytest.approx(0.75)


def test_l1_where_averages_over_the_region_only() -> None:
    where = torch.tensor([1.0, 0.0, 1.0]).reshape(1, 1, 1, 3)
    assert losses.l1_where(_filled(1, 9, 0), _filled(0, 0, 0.5), where).item() == pytest.approx(0.75)


def test_l1_where_of_an_empty_region_is_zero() -> None:
    assert losses.l1_where(_filled(1, 1), _filled(0, 0), torch.zeros(1, 1, 1, 2)).item() == 0


def test_alpha_loss_is_the_binary_cross_entropy() -> None:
    logits = torch.tensor([0.0, 2.0]).reshape(1, 2, 1, 1)
    alpha = torch.tensor([1.0, 0.25]).reshape(1, 2, 1, 1)
    p = 1 / (1 + math.exp(-2))
    expected = (math.log(2) - 0.25 * math.log(p) - 0.75 * math.log(1 - p)) / 2
    assert losses.alpha_loss(logits, alpha).item() == pytest.approx(expected, rel=1e-6)


def test_adversarial_losses_are_the_papers_bce() -> None:
    real, fake = torch.tensor([[1.5, -0.5]]), torch.tensor([[0.3, -2.0]])
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    expected = (bce(real, torch.ones_like(real)) + bce(fake, torch.zeros_like(fake))) / 2
    assert losses.tells_apart(real, fake).item() == pytest.approx(expected.item(), rel=1e-6)
    assert losses.fools(fake).item() == pytest.approx(bce(fake, torch.ones_like(fake)).item(), rel=1e-6)


def test_a_discriminator_that_cannot_tell_has_a_loss_of_ln_2() -> None:
    zero = torch.zeros(4)
    assert losses.tells_apart(zero, zero).item() == pytest.approx(math.log(2))


def test_feature_matching_is_the_mean_over_layers_and_leaves_real_features_alone() -> None:
    real = [torch.ones(2, 2, requires_grad=True), torch.zeros(3, requires_grad=True)]
    fake = [torch.zeros(2, 2, requires_grad=True), torch.full((3,), 0.5, requires_grad=True)]
    loss = losses.feature_matching(real, fake)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == pytest.approx(0.75)
    assert fake[0].grad is not None
    assert real[0].grad is None


def test_blend_takes_what_any_class_occludes_from_the_drawing() -> None:
    alpha = torch.tensor([[1.0, 0.5, 0.0], [0.0, 0.5, 0.0]]).reshape(1, 2, 1, 3)
    mixed = losses.blend(_filled(0, 0, 0), _filled(1, 1, 1), alpha)
    assert mixed[0, 0, 0].tolist() == pytest.approx([1.0, 0.75, 0.0])

import math

import pytest
import torch

from facemend.training import losses


def _filled(*values: float) -> torch.Tensor:
    """(1, 3, 1, N): every channel holds the values."""
    return torch.tensor(values, dtype=torch.float32).expand(3, len(values)).reshape(1, 3, 1, len(values))


def _apart(drawn: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return (drawn - target).abs().mean(dim=1, keepdim=True)


def test_l1_image_is_the_mean_absolute_difference() -> None:
    assert losses.l1_image(_filled(0.0, 1.0), _filled(0.5, 0.0)).item() == pytest.approx(0.75)


def test_l1_where_averages_over_the_region_only() -> None:
    where = torch.tensor([1.0, 0.0, 1.0]).reshape(1, 1, 1, 3)
    loss = losses.l1_where(_apart(_filled(1, 9, 0), _filled(0, 0, 0.5)), where, where.sum())
    assert loss.item() == pytest.approx(0.75)


def test_the_mean_of_l1_where_over_parts_is_that_of_the_whole() -> None:
    apart = _apart(_filled(1, 9, 0, 4), _filled(0, 0, 0.5, 1))
    where = torch.tensor([1.0, 0.0, 1.0, 1.0]).reshape(1, 1, 1, 4)
    whole = losses.l1_where(apart, where, where.sum())
    parts = [
        losses.l1_where(apart[..., half], where[..., half], where.sum() / 2)
        for half in (slice(2), slice(2, 4))
    ]
    assert torch.stack(parts).mean().item() == pytest.approx(whole.item()) == pytest.approx(4.5 / 3)


def test_l1_where_of_an_empty_region_is_zero() -> None:
    nowhere = torch.zeros(1, 1, 1, 2)
    assert losses.l1_where(_apart(_filled(1, 1), _filled(0, 0)), nowhere, nowhere.sum()).item() == 0


def test_psnr_where_is_the_mean_psnr_in_the_region_up_to_a_factor() -> None:
    drawn = torch.cat([_filled(0.1, 9), _filled(0.4, 9)])
    where = torch.tensor([1.0, 0.0]).reshape(1, 1, 1, 2).expand(2, 1, 1, 2)
    loss = losses.psnr_where(drawn, torch.zeros_like(drawn), where).item()
    assert loss == pytest.approx((math.log(0.01 + 1e-3) + math.log(0.16 + 1e-3)) / 2, rel=1e-5)


def test_psnr_where_counts_a_picture_without_a_region_as_0() -> None:
    drawn = torch.cat([_filled(0.1), _filled(0.4)])
    where = torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1)
    loss = losses.psnr_where(drawn, torch.zeros_like(drawn), where).item()
    assert loss == pytest.approx(math.log(0.16 + 1e-3) / 2, rel=1e-5)


def test_the_interval_that_costs_least_holds_nine_in_ten() -> None:
    errors = torch.linspace(0, 1, 1001).expand(3, 1001).reshape(1, 3, 1, 1001)
    where = torch.ones(1, 1, 1, 1001)
    costs = {
        width: losses.interval_where(errors, torch.full_like(where, width), where, where.sum()).item()
        for width in (0.5, 0.8, 0.88, 0.9, 0.92, 1.0)
    }
    assert min(costs, key=costs.__getitem__) == 0.9


def test_the_interval_leaves_the_picture_alone() -> None:
    drawn, width = _filled(1.0).requires_grad_(), torch.zeros(1, 1, 1, 1, requires_grad=True)
    where = torch.ones(1, 1, 1, 1)
    losses.interval_where(drawn.abs(), width, where, where.sum()).backward()  # type: ignore[no-untyped-call]
    assert drawn.grad is None
    assert width.grad is not None


def test_alpha_loss_is_the_binary_cross_entropy() -> None:
    logits = torch.tensor([0.0, 2.0]).reshape(1, 2, 1, 1)
    alpha = torch.tensor([1.0, 0.25]).reshape(1, 2, 1, 1)
    p = 1 / (1 + math.exp(-2))
    expected = (math.log(2) - 0.25 * math.log(p) - 0.75 * math.log(1 - p)) / 2
    assert losses.alpha_loss(logits, alpha).item() == pytest.approx(expected, rel=1e-6)


def test_alpha_overlap_is_one_minus_the_iou() -> None:
    # Four places of one class: found with certainty are 1 and 2, hidden are 2 and 3: one of three in both.
    logits = torch.tensor([-99.0, 99.0, 99.0, -99.0]).reshape(1, 1, 2, 2).repeat(2, 2, 1, 1)
    alpha = torch.tensor([0.0, 0.0, 1.0, 1.0]).reshape(1, 1, 2, 2).repeat(2, 2, 1, 1)
    logits[:, 1], alpha[:, 1] = -99, 0
    assert losses.alpha_overlap(logits, alpha).item() == pytest.approx(2 / 3)
    alpha[1] = 0
    assert losses.alpha_overlap(logits, alpha).item() == pytest.approx(1 / 3), "nothing hidden counts 0"


def test_a_small_occlusion_that_is_missed_counts_as_much_as_a_large_one() -> None:
    logits = torch.full((2, 2, 8, 8), -20.0)
    alpha = torch.zeros(2, 2, 8, 8)
    alpha[0, 0, :2, :2], alpha[1, 0] = 1, 1
    small, large = losses.alpha_overlap(logits[:1], alpha[:1]), losses.alpha_overlap(logits[1:], alpha[1:])
    assert small.item() == pytest.approx(large.item(), abs=1e-4)
    assert small.item() == pytest.approx(1, abs=1e-4)


def test_adversarial_losses_are_the_papers_bce() -> None:
    real, fake = torch.tensor([[1.5, -0.5]]), torch.tensor([[0.3, -2.0]])
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    expected = (bce(real, torch.ones_like(real)) + bce(fake, torch.zeros_like(fake))) / 2
    assert losses.bce_d_loss(real, fake).item() == pytest.approx(expected.item(), rel=1e-6)
    assert losses.bce_g_loss(fake).item() == pytest.approx(
        bce(fake, torch.ones_like(fake)).item(), rel=1e-6
    )


def test_a_discriminator_that_cannot_tell_has_a_loss_of_ln_2() -> None:
    zero = torch.zeros(4)
    assert losses.bce_d_loss(zero, zero).item() == pytest.approx(math.log(2))


def test_the_hinge_forgives_what_is_beyond_its_margin() -> None:
    real, fake = torch.tensor([[1.5, 0.0]]), torch.tensor([[0.5, -2.0]])
    loss = losses.GAN_MODES["hinge"]
    assert loss.d_loss(real, fake).item() == pytest.approx((0 + 1) / 2 + (1.5 + 0) / 2)
    assert loss.g_loss(fake).item() == pytest.approx(0.75)


@pytest.mark.parametrize("name", list(losses.GAN_MODES))
def test_every_gan_mode_rewards_logits_on_the_right_side(name: str) -> None:
    good, bad, loss = torch.full((4,), 0.9), torch.full((4,), -0.9), losses.GAN_MODES[name]
    assert loss.d_loss(good, bad) < loss.d_loss(bad, good)
    assert loss.g_loss(good) < loss.g_loss(bad)


def test_r1_is_half_the_squared_gradient_of_the_mean_logit() -> None:
    # D(x) = mean over two patches of (3x, x²): at x = (1, 2) its gradient is (3/2, 2).
    seen = torch.tensor([1.0, 2.0]).reshape(1, 1, 1, 2).requires_grad_()
    logits = torch.cat([3 * seen[..., :1], seen[..., 1:].square()], dim=3)
    penalty = losses.r1_penalty(logits, seen)
    assert penalty.item() == pytest.approx((1.5**2 + 2**2) / 2)
    penalty.backward()  # type: ignore[no-untyped-call]
    assert seen.grad is not None
    assert seen.grad.flatten().tolist() == pytest.approx([0, 2])  # of x²/2 · … at 2: it is differentiable


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

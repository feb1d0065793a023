from typing import Literal

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from facemend.training.config import DiscriminatorConfig, GeneratorConfig, LossConfig, PhaseConfig
from facemend.training.networks import (
    GeneratorOutput,
    MultiScale,
    coordinates,
    make_discriminator,
    make_generator,
    parameter_count,
)
from facemend.training.run import generator_gmacs


def test_the_papers_generator_has_the_papers_parameters() -> None:
    # 54.4M in the paper's and everybody's count of U-Net 256.
    generator = make_generator(GeneratorConfig(kind="pix2pix"))
    assert parameter_count(generator) == pytest.approx(54.4e6, rel=2e-3)


def test_the_papers_discriminator_has_2_8_million_parameters_and_sees_70_pixels() -> None:
    discriminator = make_discriminator(DiscriminatorConfig(kind="patch70"))
    assert parameter_count(discriminator) == pytest.approx(2.77e6, rel=5e-3)
    for module in discriminator.modules():
        if isinstance(module, nn.InstanceNorm2d):
            module.eval()
            module.track_running_stats = False
    # One logit's gradient reaches 70×70 pixels, when no normalisation mixes the picture.
    convolutions = [module for module in discriminator.modules() if isinstance(module, nn.Conv2d)]
    x = torch.zeros(1, 6, 256, 256, requires_grad=True)
    y = nn.Sequential(*convolutions)(x)
    y[0, 0, 15, 15].backward()
    assert x.grad is not None
    rows = x.grad.abs().sum(dim=(0, 1, 3)).nonzero()
    assert int(rows.max() - rows.min()) + 1 == 70


def test_our_generator_stays_under_8_million_parameters() -> None:
    assert parameter_count(make_generator(GeneratorConfig())) < 8e6


@pytest.mark.parametrize("side", [64, 128, 256])
def test_our_generator_takes_any_side_and_finds_two_classes(side: int) -> None:
    generator = make_generator(GeneratorConfig(widths=(4, 8, 8)))
    output: GeneratorOutput = generator(torch.zeros(2, 3, side, side), torch.zeros(2, 1, side, side))
    assert output.raw.shape == (2, 3, side, side)
    assert output.alpha_logits is not None
    assert output.alpha_logits.shape == (2, 2, side, side)
    assert output.interval is not None
    assert output.interval.shape == (2, 1, side, side)
    assert (output.interval >= 0).all()


def test_our_generator_grows_without_forgetting() -> None:
    torch.manual_seed(0)
    generator = make_generator(GeneratorConfig(widths=(4, 8, 8, 8)))
    image = torch.rand(1, 3, 256, 256) * 2 - 1
    for size_px in (256, 128):
        large, small = (F.interpolate(image, size=(s, s), mode="area") for s in (size_px, size_px // 2))
        grown: GeneratorOutput = generator(large, torch.zeros_like(large[:, :1]))
        before: GeneratorOutput = generator(small, torch.zeros_like(small[:, :1]))
        enlarged = F.interpolate(before.raw, scale_factor=2, mode="bilinear")
        assert before.raw.std() > 0.01
        torch.testing.assert_close(grown.raw, enlarged, atol=1e-5, rtol=0)


def test_what_a_larger_picture_adds_can_be_learnt() -> None:
    torch.manual_seed(0)
    generator = make_generator(GeneratorConfig(widths=(4, 8, 8, 8)))
    image = torch.rand(1, 3, 256, 256)
    optimizer = torch.optim.SGD(generator.parameters(), lr=0.1)
    for _ in range(2):
        output: GeneratorOutput = generator(image, torch.zeros_like(image[:, :1]))
        assert output.alpha_logits is not None
        assert output.interval is not None
        loss = output.raw.square().mean() + output.alpha_logits.mean() + output.interval.mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    named = generator.named_parameters()
    assert [name for name, parameter in named if parameter.grad is None or not parameter.grad.any()] == []


def test_our_generator_heeds_the_hint() -> None:
    torch.manual_seed(0)
    generator = make_generator(GeneratorConfig(widths=(4, 8)))
    image = torch.zeros(1, 3, 64, 64)
    blind: GeneratorOutput = generator(image, torch.zeros(1, 1, 64, 64))
    told: GeneratorOutput = generator(image, torch.ones(1, 1, 64, 64))
    assert not torch.equal(blind.raw, told.raw)


def test_our_generator_computes_the_same_in_training_and_use() -> None:
    generator = make_generator(GeneratorConfig(widths=(4, 8)))
    image, hint = torch.rand(2, 3, 64, 64), torch.zeros(2, 1, 64, 64)
    assert torch.equal(generator.train()(image, hint).raw, generator.eval()(image, hint).raw)


def test_a_picture_is_drawn_the_same_alone_and_in_a_batch() -> None:
    torch.manual_seed(0)
    kinds: tuple[Literal["unet", "pix2pix"], ...] = ("unet", "pix2pix")
    for kind in kinds:
        generator = make_generator(GeneratorConfig(kind=kind, widths=(4, 8))).eval()
        images, hint = torch.rand(2, 3, 256, 256), torch.zeros(2, 1, 256, 256)
        with torch.inference_mode():
            alone, together = generator(images[:1], hint[:1]).raw, generator(images, hint).raw[:1]
        torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-5)


def test_only_dropout_separates_the_papers_training_from_its_use() -> None:
    generator = make_generator(GeneratorConfig(kind="pix2pix"))
    image, hint = torch.rand(1, 3, 256, 256), torch.zeros(1, 1, 256, 256)
    in_use = generator.eval()(image, hint).raw
    generator.train()
    assert not torch.equal(generator(image, hint).raw, in_use)
    for module in generator.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0
    torch.testing.assert_close(generator(image, hint).raw, in_use)


def test_the_papers_initialisation() -> None:
    torch.manual_seed(0)
    discriminator = make_discriminator(DiscriminatorConfig(kind="patch70"))
    weights = torch.cat([m.weight.flatten() for m in discriminator.modules() if isinstance(m, nn.Conv2d)])
    assert weights.std().item() == pytest.approx(0.02, rel=0.01)


def test_the_small_discriminator_returns_features_and_logits() -> None:
    features = make_discriminator(DiscriminatorConfig())(torch.rand(2, 7, 128, 128))
    assert [tuple(f.shape) for f in features] == [
        (2, 48, 64, 64),
        (2, 96, 32, 32),
        (2, 192, 16, 16),
        (2, 192, 16, 16),
        (2, 1, 16, 16),
    ]


def test_every_scale_judges_at_half_the_resolution_of_the_one_before() -> None:
    discriminator = make_discriminator(DiscriminatorConfig(kind="patch70", scales=3))
    x = torch.rand(1, 6, 128, 128)
    scales = discriminator(x)
    assert [tuple(features[-1].shape[2:]) for features in scales] == [(14, 14), (6, 6), (2, 2)]
    assert isinstance(discriminator, MultiScale)
    second = list(discriminator.judges)[1]
    alone = second(nn.functional.avg_pool2d(x, 3, 2, 1, count_include_pad=False))
    assert torch.equal(alone[-1], scales[1][-1])


def test_operations_are_the_papers_and_a_third_of_them() -> None:
    phase = PhaseConfig(name="any", images=1, learning_rate=1, losses=LossConfig())
    paper = generator_gmacs(make_generator(GeneratorConfig(kind="pix2pix")), phase)
    assert paper == pytest.approx(6.05, rel=0.01)
    assert generator_gmacs(make_generator(GeneratorConfig()), phase) < paper / 2.5


@pytest.mark.parametrize("kind", ["patch70", "patch_crop"])
def test_discriminators_compute_the_same_in_training_and_use(
    kind: Literal["patch70", "patch_crop"],
) -> None:
    discriminator = make_discriminator(DiscriminatorConfig(kind=kind))
    x = torch.rand(2, 6 if kind == "patch70" else 7, 64, 64)
    assert torch.equal(discriminator.train()(x)[-1], discriminator.eval()(x)[-1])


def test_coordinates_run_from_minus_one_to_one_in_the_square_and_on_in_the_same_steps_below() -> None:
    x, y = coordinates(torch.zeros(1, 3, 10, 8))[0]
    steps = [-1 + 2 * n / 7 for n in range(10)]
    assert x[0].tolist() == pytest.approx(steps[:8])
    assert y[:, 0].tolist() == pytest.approx(steps)

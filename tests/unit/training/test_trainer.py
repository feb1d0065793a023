from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from facemend.datasets.faces import FaceSource
from facemend.errors import TrainingError
from facemend.files import seed_of
from facemend.training import losses
from facemend.training import trainer as module
from facemend.training.batches import PairBatch
from facemend.training.config import TrainingConfig
from facemend.training.distributed import autocast, join_processes
from facemend.training.trainer import Trainer, TrainingState

Faces = Callable[..., FaceSource]


def _batch(count: int = 4, size_px: int = 64) -> PairBatch:
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(count, 3, size_px, size_px, generator=generator) * 2 - 1
    alpha = torch.zeros(count, 2, size_px, size_px)
    alpha[:, 0, size_px // 2 :] = 1
    occluded = torch.where(alpha[:, :1] > 0, torch.zeros_like(target), target)
    focus = torch.full((count, 2), size_px // 2)
    return PairBatch(occluded, target, alpha, torch.zeros_like(alpha[:, :1]), focus)


def _adversarial(config: TrainingConfig, faces: Faces, folder: Path, **losses: object) -> Trainer:
    phase = config.phases[1]
    phase = phase.model_copy(update={"losses": phase.losses.model_copy(update=losses)})
    return Trainer(TrainingState(config, faces(3), join_processes(folder)), phase, 0)


@pytest.mark.parametrize("gan_mode", ["bce", "hinge"])
@pytest.mark.parametrize(("scales", "r1"), [(1, 0.0), (2, 1.0)])
def test_the_discriminator_learns_to_discriminate(
    tiny_config: TrainingConfig, faces: Faces, tmp_path: Path, gan_mode: str, scales: int, r1: float
) -> None:
    discriminator = tiny_config.discriminator.model_copy(update={"scales": scales})
    config = tiny_config.model_copy(update={"discriminator": discriminator})
    trainer, batch = _adversarial(config, faces, tmp_path, gan_mode=gan_mode, r1=r1), _batch()
    losses = [trainer.step(batch) for _ in range(10)]
    assert losses[-1]["discriminator"] < 0.9 * losses[0]["discriminator"]
    assert {"adversarial", "feature_matching"} <= losses[0].keys()


def test_r1_adds_its_weight_times_the_penalty(
    tiny_config: TrainingConfig, faces: Faces, tmp_path: Path
) -> None:
    losses = [
        _adversarial(tiny_config, faces, tmp_path, r1=r1).step(_batch())["discriminator"]
        for r1 in (0.0, 100.0, 200.0)
    ]
    assert losses[0] < losses[1]
    assert losses[2] - losses[0] == pytest.approx(2 * (losses[1] - losses[0]), rel=1e-3)


def test_the_generators_step_leaves_the_discriminators_gradients_alone(
    tiny_config: TrainingConfig, faces: Faces, tmp_path: Path
) -> None:
    trainer, batch = _adversarial(tiny_config, faces, tmp_path), _batch()
    trainer._step_discriminator([batch], None)
    before = [p.grad.clone() for p in trainer.state.discriminator.parameters() if p.grad is not None]
    assert before
    trainer._add_gradients([batch], None)
    after = [p.grad for p in trainer.state.discriminator.parameters() if p.grad is not None]
    assert all(torch.equal(x, y) for x, y in zip(before, after, strict=True))
    assert all(p.requires_grad for p in trainer.state.discriminator.parameters())


def test_dropout_follows_from_the_seed_and_the_position(
    tiny_config: TrainingConfig, faces: Faces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = _adversarial(tiny_config, faces, tmp_path)
    asked: list[tuple[str | int, ...]] = []

    def noted(*parts: str | int) -> int:
        asked.append(parts)
        return seed_of(*parts)

    monkeypatch.setattr(module, "seed_of", noted)
    for _ in range(2):
        trainer.step(_batch())
    assert asked == [("dropout", 0, 0, 0), ("dropout", 0, 4, 0)]


def test_fp16_scales_its_losses_and_stays_near_fp32(
    tiny_config: TrainingConfig, faces: Faces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = _adversarial(tiny_config, faces, tmp_path)
    half = _adversarial(tiny_config.model_copy(update={"precision": "fp16"}), faces, tmp_path)
    halved = lambda precision, device: torch.autocast("cpu", torch.float16)  # noqa: E731  # no GPU here
    expected = [full.step(_batch())["generator"] for _ in range(3)]
    for using in (module, losses):
        monkeypatch.setattr(using, "autocast", halved)
    got = [half.step(_batch())["generator"] for _ in range(3)]
    assert got == pytest.approx(expected, rel=0.02)
    assert got != expected
    assert "scaler/scale" in half.checkpoint().tensors


def test_fp16_is_refused_on_a_cpu() -> None:
    with pytest.raises(TrainingError, match="for GPUs"):
        autocast("fp16", torch.device("cpu"))

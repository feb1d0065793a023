import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from facemend.datasets.faces import FaceSource
from facemend.errors import TrainingError
from facemend.training import loop, trainer
from facemend.training.batches import PairBatch
from facemend.training.checkpoint import (
    Progress,
    best_checkpoint,
    load_checkpoint,
    newest_checkpoint,
    save_checkpoint,
)
from facemend.training.config import TrainingConfig

Faces = Callable[..., FaceSource]


def _train(config: TrainingConfig, faces: Faces, run: Path, **options: Path) -> loop.Outcome:
    return loop.train(config, faces(6), faces(2, "others"), run, cache=run / "cache", quiet=True, **options)


def _stopping_after(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """Sends SIGTERM to this very process while a step runs."""
    step = trainer.Trainer.step
    left = [steps]

    def counted(self: trainer.Trainer, batch: PairBatch) -> dict[str, float]:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, batch)

    monkeypatch.setattr(trainer.Trainer, "step", counted)


@pytest.mark.parametrize("echo", [1, 2])
@pytest.mark.parametrize("steps", [2, 6])
def test_a_stopped_run_goes_on_to_the_same_bits(
    tiny_config: TrainingConfig,
    faces: Faces,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    steps: int,
    echo: int,
) -> None:
    phases = tuple(phase.model_copy(update={"echo": echo}) for phase in tiny_config.phases)
    config = tiny_config.model_copy(update={"phases": phases})
    whole = _train(config, faces, tmp_path / "whole")
    with monkeypatch.context() as patched:
        _stopping_after(patched, steps)
        stopped = _train(config, faces, tmp_path / "parts")
    assert (stopped.finished, stopped.images_seen) == (False, 4 * steps)
    resumed = _train(config, faces, tmp_path / "parts")
    assert (resumed.finished, resumed.images_seen) == (True, whole.images_seen)
    expected, got = load_checkpoint(whole.checkpoint).tensors, load_checkpoint(resumed.checkpoint).tensors
    assert expected.keys() == got.keys()
    assert [key for key in expected if not torch.equal(expected[key], got[key])] == []


def test_what_was_logged_after_the_last_checkpoint_is_logged_once(
    tiny_config: TrainingConfig, faces: Faces, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    _train(tiny_config, faces, run)
    newest = newest_checkpoint(run)
    assert newest is not None
    newest.unlink()  # as if the process had been killed in the last phase
    _train(tiny_config, faces, run)
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    validated = [row["images_seen"] for row in rows if "validation/hole" in row]
    assert validated == [16, 32]


def test_training_learns(tiny_config: TrainingConfig, faces: Faces, tmp_path: Path) -> None:
    longer = tiny_config.phases[0].model_copy(update={"images": 480, "learning_rate": 3e-3})
    config = tiny_config.model_copy(update={"phases": (longer,), "log_seconds": 0.0})
    _train(config, faces, tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    for name in ("loss/l1_hole", "loss/l1_outside", "loss/alpha"):
        figures = [row[name] for row in rows if name in row]
        first, last = sum(figures[:10]) / 10, sum(figures[-10:]) / 10
        assert last < 0.8 * first, name


def test_another_config_is_refused(tiny_config: TrainingConfig, faces: Faces, tmp_path: Path) -> None:
    _train(tiny_config, faces, tmp_path)
    with pytest.raises(TrainingError, match=r"seed: 0 -> 1.*--fresh"):
        _train(tiny_config.model_copy(update={"seed": 1}), faces, tmp_path)


def test_a_run_can_be_lengthened_but_its_past_not_changed(
    tiny_config: TrainingConfig, faces: Faces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    low, adversarial = tiny_config.phases
    with monkeypatch.context() as patched:
        _stopping_after(patched, 2)  # 8 of the 16 images of the first phase
        _train(tiny_config, faces, tmp_path)
    faster = low.model_copy(update={"learning_rate": 1.0})
    with pytest.raises(TrainingError, match="learning_rate"):
        _train(tiny_config.model_copy(update={"phases": (faster, adversarial)}), faces, tmp_path)
    shorter = low.model_copy(update={"images": 12})
    longer = adversarial.model_copy(update={"images": 20, "batch": 2})
    outcome = _train(tiny_config.model_copy(update={"phases": (shorter, longer)}), faces, tmp_path)
    assert outcome.images_seen == 32
    too_short = longer.model_copy(update={"images": 8})
    with pytest.raises(TrainingError, match="phases"):
        _train(tiny_config.model_copy(update={"phases": (shorter, too_short)}), faces, tmp_path)


def test_a_key_that_came_after_the_checkpoint_does_not_end_its_run(
    tiny_config: TrainingConfig, faces: Faces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        _stopping_after(patched, 2)
        checkpoint = load_checkpoint(_train(tiny_config, faces, tmp_path).checkpoint)
    older = {
        **checkpoint.config,
        "data": {k: v for k, v in checkpoint.config["data"].items() if k != "degraded"},
    }
    save_checkpoint(tmp_path, replace(checkpoint, config=older))
    assert _train(tiny_config, faces, tmp_path).finished
    newer = replace(checkpoint, config={**older, "from_the_future": 1})
    save_checkpoint(tmp_path / "newer", newer)
    with pytest.raises(TrainingError, match="another facemend"):
        _train(tiny_config, faces, tmp_path / "newer")


def test_a_run_of_before_some_keys_went_resumes_unless_it_used_them(
    tiny_config: TrainingConfig, faces: Faces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        _stopping_after(patched, 2)
        checkpoint = load_checkpoint(_train(tiny_config, faces, tmp_path / "run").checkpoint)

    def with_old_keys(anchor: float) -> dict[str, object]:
        config = tiny_config.model_dump(mode="json")
        config["features"]["seed"] = 0
        for phase in config["phases"]:
            phase["losses"] |= {"anchor": anchor, "game": phase["losses"].pop("gan_mode")}
        return config

    save_checkpoint(tmp_path / "run", replace(checkpoint, config=with_old_keys(anchor=0.0)))
    assert _train(tiny_config, faces, tmp_path / "run").finished
    used = save_checkpoint(tmp_path / "used", replace(checkpoint, config=with_old_keys(anchor=1.0)))
    with pytest.raises(TrainingError, match="start a new run from its weights: --init CHECKPOINT"):
        _train(tiny_config, faces, tmp_path / "used")
    assert _train(tiny_config, faces, tmp_path / "new", init=used).finished


def test_weights_can_be_taken_over(tiny_config: TrainingConfig, faces: Faces, tmp_path: Path) -> None:
    first = _train(tiny_config, faces, tmp_path / "first")
    second = _train(
        tiny_config.model_copy(update={"name": "second"}), faces, tmp_path / "second", init=first.checkpoint
    )
    assert second.finished
    other = tiny_config.model_copy(
        update={"generator": tiny_config.generator.model_copy(update={"widths": (4, 12)})}
    )
    with pytest.raises(TrainingError, match="another network"):
        _train(other, faces, tmp_path / "third", init=first.checkpoint)


def test_a_loss_that_is_no_number_ends_the_run(
    tiny_config: TrainingConfig, faces: Faces, tmp_path: Path
) -> None:
    wild = tiny_config.phases[0].model_copy(update={"learning_rate": 1e30, "clip_norm": 0.0})
    with pytest.raises(TrainingError, match="no number any more in the step after 4 images"):
        _train(tiny_config.model_copy(update={"phases": (wild,)}), faces, tmp_path)
    assert newest_checkpoint(tmp_path) is None


def test_weights_that_are_no_numbers_are_never_written(
    tiny_config: TrainingConfig, faces: Faces, tmp_path: Path
) -> None:
    checkpoint = load_checkpoint(_train(tiny_config, faces, tmp_path).checkpoint)
    name = "generator/stems.0.weight"
    spoilt = {**checkpoint.tensors, name: torch.full_like(checkpoint.tensors[name], torch.nan)}
    before = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    with pytest.raises(TrainingError, match=f"{name} is no number"):
        save_checkpoint(tmp_path, replace(checkpoint, progress=Progress(99, 1), tensors=spoilt))
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == before


def test_only_three_checkpoints_and_the_best_are_kept(
    tiny_config: TrainingConfig, faces: Faces, tmp_path: Path
) -> None:
    eager = tiny_config.model_copy(update={"checkpoint_minutes": 1e-9})
    _train(eager, faces, tmp_path)
    kept = sorted(path.stem for path in (tmp_path / "checkpoints").iterdir())
    assert kept == ["0000000024", "0000000028", "0000000032", "best"]


def test_the_best_checkpoint_is_that_of_the_last_phases_best_validation(
    tiny_config: TrainingConfig, faces: Faces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    holes = iter([30.0, 31.0, 20.0, 22.0, 21.0])  # two of the first phase, three of the second
    figures = {"composite": 0.0, "ssim": 0.0, "copy_hole": 0.0}
    measured = lambda self, generator, size_px: {**figures, "hole": next(holes)}  # noqa: E731
    monkeypatch.setattr(loop.Validator, "measure", measured)
    often = tiny_config.model_copy(update={"validate_images": 8})
    phases = (often.phases[0].model_copy(update={"images": 12}), often.phases[1])
    often = often.model_copy(update={"phases": phases})
    with monkeypatch.context() as patched:
        _stopping_after(patched, 6)  # what was best is known again after a restart
        _train(often, faces, tmp_path)
    _train(often, faces, tmp_path)
    best = load_checkpoint(best_checkpoint(tmp_path))
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    (where,) = [row["images_seen"] for row in rows if row.get("validation/hole") == 22.0]
    assert best.progress.images_seen == where


def test_a_batch_in_parts_trains_the_same(
    tiny_config: TrainingConfig, faces: Faces, tmp_path: Path
) -> None:
    whole = _train(tiny_config, faces, tmp_path / "whole")
    phases = tuple(phase.model_copy(update={"accumulate": 2}) for phase in tiny_config.phases)
    parts = _train(tiny_config.model_copy(update={"phases": phases}), faces, tmp_path / "parts")
    expected, got = load_checkpoint(whole.checkpoint), load_checkpoint(parts.checkpoint)
    for name in ("generator", "discriminator"):
        for key, value in expected.part(name).items():
            torch.testing.assert_close(got.part(name)[key], value, rtol=0, atol=2e-4)


def test_a_batch_that_cannot_be_shared_is_said(
    tiny_config: TrainingConfig, faces: Faces, tmp_path: Path
) -> None:
    uneven = tiny_config.phases[0].model_copy(update={"accumulate": 3})
    with pytest.raises(TrainingError, match=r"batches of 4 pictures .* shared equally"):
        _train(tiny_config.model_copy(update={"phases": (uneven,)}), faces, tmp_path)


def test_every_step_is_logged_with_the_share_of_waiting(
    tiny_config: TrainingConfig, faces: Faces, tmp_path: Path
) -> None:
    _train(tiny_config.model_copy(update={"log_seconds": 0}), faces, tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    steps = [row for row in rows if "data_wait" in row]
    assert [row["images_seen"] for row in steps] == list(range(0, 32, 4))
    assert all(0 < row["data_wait"] < 1 for row in steps)  # no worker: each batch is waited for
    assert {"loss/generator", "loss/discriminator", "loss/l1_hole"} <= steps[-1].keys()


def test_another_tracker_hears_the_same(tiny_config: TrainingConfig, faces: Faces, tmp_path: Path) -> None:
    _train(tiny_config.model_copy(update={"trackers": ("tensorboard",)}), faces, tmp_path)
    assert list((tmp_path / "tiny").glob("events*"))  # where Accelerate's own TensorBoard tracker writes
    with pytest.raises(TrainingError, match="pip install nonesuch"):
        _train(tiny_config.model_copy(update={"trackers": ("nonesuch",)}), faces, tmp_path)


def test_a_damaged_checkpoint_is_one_line(tmp_path: Path) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"no checkpoint")
    with pytest.raises(TrainingError, match="no readable checkpoint"):
        load_checkpoint(broken)


def test_the_papers_network_trains_through_the_same_loop(
    repo_root: Path, faces: Faces, tmp_path: Path
) -> None:
    from facemend.training.config import read_config

    overrides = ["phases.0.images=2", "workers=0", "validation_faces=1", "validate_images=1"]
    config = read_config(repo_root / "configs" / "pix2pix.toml", overrides)
    outcome = _train(config, faces, tmp_path)
    assert outcome.images_seen == 2
    assert list((tmp_path / "samples").glob("*.png"))

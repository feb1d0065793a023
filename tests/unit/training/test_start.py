"""What a run can start from."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from facemend.datasets.faces import FaceSource
from facemend.errors import TrainingError
from facemend.training import export, loop
from facemend.training.checkpoint import load_checkpoint, numbered_checkpoint, starting_weights
from facemend.training.config import DiscriminatorConfig, GeneratorConfig, TrainingConfig, read_config
from facemend.training.networks import make_discriminator, make_generator

Faces = Callable[..., FaceSource]


@pytest.fixture(scope="module")
def run(tiny_config: TrainingConfig, faces: Faces, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    loop.train(tiny_config, faces(6), faces(2, "others"), folder, cache=folder / "cache", quiet=True)
    export.export(
        run=folder, output=folder / "model.onnx", discriminator=folder / "discriminator.safetensors"
    )
    export.export(run=folder, output=folder / "whole.onnx", weights="fp32")
    return folder


@pytest.mark.parametrize(("file", "allowed"), [("whole.onnx", 0), ("model.onnx", 1e-3)])
def test_a_model_file_gives_back_the_generator(run: Path, file: str, allowed: float) -> None:
    served = load_checkpoint(numbered_checkpoint(run, 32)).part("ema")
    weights = starting_weights(run / file)
    assert weights.generator.keys() == served.keys()
    for name, value in weights.generator.items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, served[name], rtol=allowed, atol=allowed)
    assert not weights.discriminator


def test_the_discriminator_is_a_file_of_its_own(run: Path) -> None:
    weights = starting_weights(run / "discriminator.safetensors")
    assert not weights.generator
    trained = load_checkpoint(numbered_checkpoint(run, 32)).part("discriminator")
    assert weights.discriminator.keys() == trained.keys()


def test_a_checkpoint_holds_both(run: Path) -> None:
    weights = starting_weights(numbered_checkpoint(run, 32))
    assert weights.generator
    assert weights.discriminator


def test_what_is_shipped_starts_the_configs_that_say_so(repo_root: Path) -> None:
    config = read_config(repo_root / "configs/finetune.toml")
    assert (config.generator, config.discriminator) == (GeneratorConfig(), DiscriminatorConfig())
    weights = starting_weights(Path("facemend"))
    make_generator(config.generator).load_state_dict(weights.generator)
    make_discriminator(config.discriminator).load_state_dict(weights.discriminator)


def test_a_run_starts_from_a_model_file(
    run: Path, tiny_config: TrainingConfig, faces: Faces, tmp_path: Path
) -> None:
    outcome = loop.train(
        tiny_config,
        faces(6),
        faces(2, "others"),
        tmp_path,
        cache=run / "cache",
        init=run / "model.onnx",
        quiet=True,
    )
    assert outcome.finished


def test_a_file_without_our_weights_says_so(run: Path, repo_root: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    with pytest.raises(TrainingError, match="no readable model"):
        starting_weights(tmp_path / "broken.onnx")
    with pytest.raises(TrainingError, match="no readable model"):
        starting_weights(tmp_path / "nowhere.onnx")
    with pytest.raises(TrainingError, match="holds no generator"):
        starting_weights(repo_root / "src/facemend/weights/detector.onnx")

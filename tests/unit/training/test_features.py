from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from facemend.datasets import FaceSource
from facemend.errors import ConfigError, TrainingError
from facemend.training import loop, losses
from facemend.training.config import FeaturesConfig, TrainingConfig, read_config
from facemend.training.data import Crops, cached_crops
from facemend.training.losses import (
    FEATURES_SIDE_PX,
    FeatureNet,
    attribute_table,
    cached_features,
    deep_features,
    open_features,
    train_features,
)

Faces = Callable[..., FaceSource]


def _with_attributes(source: FaceSource, attributes: Callable[[int], Mapping[str, bool]]) -> FaceSource:
    records = [replace(each, attributes=attributes(row)) for row, each in enumerate(source.records)]
    return FaceSource(source.name, records, source.read, source.fingerprint)


def _smiles(row: int) -> dict[str, bool]:
    return {"Smiling": row % 2 == 0, "Male": row % 3 == 0}


def _brief(config: TrainingConfig, images: int) -> TrainingConfig:
    return config.model_copy(update={"features": FeaturesConfig(images=images)})


def _with_deep_features(config: TrainingConfig) -> TrainingConfig:
    phase = config.phases[0]
    losses = phase.losses.model_copy(update={"deep_features": 0.5})
    phases = (phase.model_copy(update={"losses": losses}),)
    return config.model_copy(update={"phases": phases, "log_seconds": 0.0})


def test_it_learns_what_tells_faces_apart(
    tiny_config: TrainingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "_BATCH", 8)
    rng = np.random.default_rng(0)
    bright = np.arange(12) % 2 == 0
    images = rng.integers(0, 100, (12, FEATURES_SIDE_PX, FEATURES_SIDE_PX, 3), dtype=np.uint8)
    images[bright] += 150
    crops = Crops(images, np.zeros((12, 5, 2)), [{"Bright": bool(each)} for each in bright])
    network = train_features(_brief(tiny_config, 8 * 60), crops, quiet=True).eval()
    with torch.inference_mode():
        told = network(torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1).logits[:, 0] > 0
    assert told.tolist() == bright.tolist()


def test_attributes_are_in_the_order_of_their_names() -> None:
    crops = Crops(np.zeros((1, 4, 4, 3), np.uint8), np.zeros((1, 5, 2)), [{"b": True, "a": False}])
    assert attribute_table(crops).tolist() == [[0, 1]]


@pytest.mark.parametrize("attributes", [[{}], [{"a": True}, {"b": True}], [{"a": True}, {}]])
def test_faces_without_attributes_are_refused(attributes: list[dict[str, bool]]) -> None:
    crops = Crops(np.zeros((2, 4, 4, 3), np.uint8), np.zeros((2, 5, 2)), attributes)
    with pytest.raises(TrainingError, match="list_attr_celeba"):
        attribute_table(crops)


def test_it_is_taught_once(tiny_config: TrainingConfig, faces: Faces, tmp_path: Path) -> None:
    source = _with_attributes(faces(4), _smiles)
    config, crops = _brief(tiny_config, 64), cached_crops(source, FEATURES_SIDE_PX, tmp_path)
    path = cached_features(config, source, crops, tmp_path, quiet=True)
    written = path.stat().st_mtime_ns
    assert cached_features(config, source, crops, tmp_path, quiet=True) == path
    assert path.stat().st_mtime_ns == written
    assert cached_features(_brief(tiny_config, 128), source, crops, tmp_path, quiet=True) != path
    network = open_features(path, torch.device("cpu"))
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("side", [64, 128, 256])
def test_faces_of_any_size_are_seen_at_one(side: int) -> None:
    network = FeatureNet(attributes=3).eval()
    layers, logits = network(torch.zeros(2, 3, side, side))
    assert [layer.shape[-1] for layer in layers] == [64, 32, 16, 8, 4]
    assert logits.shape == (2, 3)


def test_the_loss_is_the_mean_over_layers_of_what_differs_relatively() -> None:
    real = [torch.full((1, 2, 2, 2), 4.0), torch.full((1, 1, 1, 1), -2.0)]
    fake = [torch.full((1, 2, 2, 2), 3.0), torch.full((1, 1, 1, 1), -1.0)]
    assert float(deep_features(real, fake)) == pytest.approx((0.25 + 0.5) / 2)
    assert float(deep_features(real, real)) == 0


def test_a_run_is_led_by_its_features(tiny_config: TrainingConfig, faces: Faces, tmp_path: Path) -> None:
    source = _with_attributes(faces(6), _smiles)
    config = _with_deep_features(_brief(tiny_config, 64))
    ended = [
        loop.train(each, source, faces(2, "others"), tmp_path / str(n), cache=tmp_path, quiet=True)
        for n, each in enumerate((config, tiny_config))
    ]
    log = (tmp_path / "0" / "log.jsonl").read_text()
    assert '"loss/deep_features"' in log
    assert '"loss/deep_features"' not in (tmp_path / "1" / "log.jsonl").read_text()
    assert ended[0].finished
    assert len(list(tmp_path.glob("features-*.safetensors"))) == 1


def test_faces_unknown_end_the_run(tiny_config: TrainingConfig, faces: Faces, tmp_path: Path) -> None:
    config = _with_deep_features(tiny_config)
    with pytest.raises(TrainingError, match="list_attr_celeba"):
        loop.train(config, faces(6), faces(2, "others"), tmp_path, cache=tmp_path, quiet=True)


def test_pairs_have_no_faces_to_know(repo_root: Path) -> None:
    with pytest.raises(ConfigError, match="not of pairs"):
        read_config(repo_root / "configs" / "pairs.toml", ["phases.0.losses.deep_features=1"])

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest

from facemend.datasets import hash_identity
from facemend.datasets.faces import FaceSource
from facemend.errors import ExportError, OutputError, TrainingError
from facemend.reconstruction.model import METADATA_KEY, ModelDescription
from facemend.training import export, loop
from facemend.training.checkpoint import best_checkpoint, load_checkpoint, numbered_checkpoint
from facemend.training.config import TrainingConfig

Faces = Callable[..., FaceSource]


@pytest.fixture(scope="module")
def run(tiny_config: TrainingConfig, faces: Faces, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    loop.train(tiny_config, faces(6), faces(2, "others"), folder, cache=folder / "cache", quiet=True)
    return folder


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    export.export(run, path, discriminator=path.with_suffix(".safetensors"))
    return path


def _describe(path: Path) -> ModelDescription:
    properties = {p.key: p.value for p in onnx.load(path).metadata_props}
    return ModelDescription.from_json(properties[METADATA_KEY])


def test_a_file_knows_how_it_was_made(exported: Path, tiny_config: TrainingConfig) -> None:
    description = _describe(exported)
    assert (description.name, description.size_px, description.images_seen) == ("tiny", 64, 32)
    assert description.takes_hint
    assert description.finds_occlusion
    assert description.training_people is not None
    assert set(description.training_people) == {hash_identity(f"made up:{n}") for n in range(6)}
    assert description.config == tiny_config.model_dump(mode="json")
    assert "hole" in description.metrics


def test_a_file_names_no_path_of_the_machine_that_made_it(exported: Path) -> None:
    data = exported.read_bytes()
    assert b".py" not in data
    assert str(Path(__file__).parents[3]).encode() not in data


def test_of_the_folder_of_cutouts_a_file_keeps_only_the_name(
    run: Path, tiny_config: TrainingConfig, tmp_path: Path
) -> None:
    checkpoint = load_checkpoint(numbered_checkpoint(run, 32))
    data = {**checkpoint.config["data"], "cutouts": str(tmp_path / "masks")}
    there = replace(checkpoint, config={**checkpoint.config, "data": data})
    assert export.describe(tiny_config, there, run).config["data"] == {**data, "cutouts": "masks"}


def test_the_batch_is_free(exported: Path) -> None:
    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    for n in (1, 3):
        image, hint = np.zeros((n, 3, 64, 64), np.float32), np.zeros((n, 1, 64, 64), np.float32)
        raw, alpha = session.run(["raw", "alpha"], {"image": image, "hint": hint})
        assert raw.shape == (n, 3, 64, 64)
        assert alpha.shape == (n, 2, 64, 64)
        assert alpha.min() >= 0
        assert alpha.max() <= 1


def test_fp16_makes_the_file_smaller_and_stays_near(run: Path, exported: Path, tmp_path: Path) -> None:
    full = export.export(run, tmp_path / "full.onnx", weights="fp32")
    assert exported.stat().st_size / 1e6 < full.megabytes
    crops = {"image": np.zeros((1, 3, 64, 64), np.float32), "hint": np.zeros((1, 1, 64, 64), np.float32)}
    drawn = [
        onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(["raw"], crops)[0]
        for path in (full.path, exported)
    ]
    assert 0 < np.abs(drawn[0] - drawn[1]).mean() < 2 / 255


def test_a_file_that_computes_something_else_is_not_written(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = export._trace

    def damaged(*arguments: object) -> onnx.ModelProto:
        graph = trace(*arguments)  # type: ignore[arg-type]
        for tensor in graph.graph.initializer:
            if len(tensor.dims) == 4:
                values = onnx.numpy_helper.to_array(tensor) * np.float32(1.1)
                tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
        return graph

    monkeypatch.setattr(export, "_trace", damaged)
    with pytest.raises(ExportError, match="differs from torch"):
        export.export(run, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


def test_the_best_checkpoint_can_be_exported(run: Path, tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    shutil.copy(numbered_checkpoint(run, 32), numbered_checkpoint(tmp_path, 32))
    with pytest.raises(TrainingError, match="leave out --best"):
        export.export(tmp_path, tmp_path / "model.onnx", best=True)
    shutil.copy(numbered_checkpoint(run, 16), best_checkpoint(tmp_path))
    shutil.copy(run / "log.jsonl", tmp_path / "log.jsonl")
    description = _describe(export.export(tmp_path, tmp_path / "best.onnx", best=True).path)
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    (then,) = [row for row in rows if "validation/hole" in row and row["images_seen"] == 16]
    assert description.images_seen == 16
    assert description.metrics["hole"] == pytest.approx(then["validation/hole"], abs=1e-3)


def test_weights_between_two_runs(run: Path, tmp_path: Path) -> None:
    before = tmp_path / "before"
    (before / "checkpoints").mkdir(parents=True)
    shutil.copy(numbered_checkpoint(run, 16), numbered_checkpoint(before, 16))
    path = export.export(run, tmp_path / "model.onnx", weights="fp32", blend=(before, 0.25)).path

    def weights(file: Path) -> dict[str, npt.NDArray[np.float32]]:
        return {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(file).graph.initializer}

    name, mixed = "generator.heads.0.bias", weights(path)
    late = weights(export.export(run, tmp_path / "late.onnx", weights="fp32").path)
    early = weights(export.export(before, tmp_path / "early.onnx", weights="fp32").path)
    assert np.abs(late[name] - early[name]).max() > 0
    np.testing.assert_allclose(mixed[name], 0.75 * late[name] + 0.25 * early[name], rtol=1e-5, atol=1e-7)
    description = _describe(path)
    assert description.blend == {"share": 0.25, "images_seen": 16}
    assert description.metrics == {}, "nobody has validated it"


def test_the_interval_alone_can_be_made_wider(run: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    size_px = _describe(export.export(run, tmp_path / "as-it-is.onnx").path).size_px
    crop = rng.uniform(-1, 1, (1, 3, size_px, size_px)).astype(np.float32)

    def outputs(file: Path) -> dict[str, npt.NDArray[np.float32]]:
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        computed = session.run(names, {"image": crop, "hint": np.zeros_like(crop[:, :1])})
        return dict(zip(names, computed, strict=True))

    wider = export.export(run, tmp_path / "wider.onnx", interval_factor=1.5).path
    before, now = outputs(tmp_path / "as-it-is.onnx"), outputs(wider)
    np.testing.assert_array_equal(before["raw"], now["raw"])
    np.testing.assert_array_equal(before["alpha"], now["alpha"])
    np.testing.assert_allclose(1.5 * before["interval"], now["interval"], rtol=1e-6)
    assert _describe(wider).interval_factor == 1.5


def test_a_blend_was_trained_on_the_people_of_both(run: Path) -> None:
    one = load_checkpoint(numbered_checkpoint(run, 32))
    assert one.training_people is not None
    other = replace(one, training_people=("somebody", one.training_people[0]))
    people = export.blended(one, other, 0.5)[0].training_people
    assert people == tuple(sorted({"somebody", *one.training_people}))
    assert export.blended(one, replace(one, training_people=None), 0.5)[0].training_people is None


def test_only_the_same_network_can_be_blended(run: Path) -> None:
    one = load_checkpoint(numbered_checkpoint(run, 32))
    smaller = replace(
        one, tensors={k: v for k, v in one.tensors.items() if not k.startswith("ema/stems.0")}
    )
    with pytest.raises(TrainingError, match="networks differ"):
        export.blended(one, smaller, 0.5)
    with pytest.raises(TrainingError, match="between 0 and 1"):
        export.blended(one, one, 1.5)


def test_nothing_to_export_and_nothing_overwritten(run: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no checkpoint to export"):
        export.export(tmp_path / "empty", tmp_path / "model.onnx")
    (tmp_path / "model.onnx").write_text("precious")
    with pytest.raises(OutputError, match="exists already"):
        export.export(run, tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx").read_text() == "precious"


def test_the_side_is_that_of_the_phase_that_the_run_is_in(tiny_config: TrainingConfig) -> None:
    low, full = tiny_config.phases
    config = tiny_config.model_copy(update={"phases": (low, full.model_copy(update={"size_px": 256}))})
    sizes = [export.phase_at(config, seen).size_px for seen in (4, 16, 20, 32)]
    assert sizes == [64, 64, 256, 256]

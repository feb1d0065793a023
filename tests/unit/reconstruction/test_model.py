import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from facemend.errors import ModelError, UsageError
from facemend.reconstruction.model import HARDWARE, Model, shipped_model_path
from facemend.reconstruction.options import Device
from tests.stand_in import ACCESSORY, COVER, DESCRIPTION, write_model
from tests.tiny_celeba import gradient

CROP = gradient(256, 256)


def test_a_batch_comes_back_as_uint8_pictures_and_an_alpha_by_class(stand_in_model: Path) -> None:
    images = np.stack([CROP, CROP, CROP])
    images[1, :9] = COVER
    images[2, :, :5] = ACCESSORY
    output = Model(stand_in_model, device="cpu", threads=1)(images)
    assert np.array_equal(output.raw, 255 - images)
    expected = np.zeros((3, 2, 256, 256), dtype=np.float32)
    expected[1, 0, :9] = expected[2, 1, :, :5] = 1
    assert output.alpha is not None
    assert output.alpha.dtype == np.float32
    assert np.array_equal(output.alpha, expected)
    assert output.interval is not None
    off_gray = np.abs(images.max(axis=3).astype(np.float32) - 127.5)
    np.testing.assert_allclose(output.interval, off_gray, atol=1e-4)


def test_a_hint_reaches_the_network(stand_in_model: Path) -> None:
    hint = np.zeros((1, 256, 256), dtype=np.bool_)
    hint[0, 30:40, 50:70] = True
    alpha = Model(stand_in_model)(CROP[None], hint).alpha
    assert alpha is not None
    assert np.array_equal(alpha[:, 0], hint.astype(np.float32))


def test_a_model_without_hint_and_alpha_draws_only(tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.onnx", takes_hint=False, finds_occlusion=False, says_interval=False)
    model = Model(path)
    output = model(CROP[None], np.ones((1, 256, 256), dtype=np.bool_))
    assert output.alpha is None
    assert output.interval is None
    assert np.array_equal(output.raw[0], 255 - CROP)


def test_several_threads_may_call_one_model(stand_in_model: Path) -> None:
    model = Model(stand_in_model, threads=1)
    crops = [gradient(256, 256, seed) for seed in range(8)]
    with ThreadPoolExecutor(4) as pool:
        outputs = list(pool.map(lambda crop: model(crop[None]).raw[0], crops))
    assert all(np.array_equal(raw, 255 - crop) for raw, crop in zip(outputs, crops, strict=True))


def test_a_model_knows_its_description_and_its_file(stand_in_model: Path) -> None:
    model = Model(stand_in_model)
    assert model.description == DESCRIPTION
    assert model.sha256 == hashlib.sha256(stand_in_model.read_bytes()).hexdigest()


def test_pictures_of_another_size_or_type_are_refused(stand_in_model: Path) -> None:
    model = Model(stand_in_model)
    with pytest.raises(ValueError, match=r"not uint8 \(N, 256, 256, 3\)"):
        model(CROP[None, :100])
    with pytest.raises(ValueError, match="float64"):
        model(CROP[None] / 255)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="hints are bool"):
        model(CROP[None], np.ones((2, 256, 256), dtype=np.bool_))


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no\.onnx does not exist"):
        Model(tmp_path / "no.onnx")
    with pytest.raises(ModelError, match="Is a directory"):
        Model(tmp_path)


@pytest.mark.parametrize("keep", [0, 100, 0.5, 0.99])
def test_a_truncated_file_is_refused_in_one_line(tmp_path: Path, stand_in_model: Path, keep: float) -> None:
    data = stand_in_model.read_bytes()
    path = tmp_path / "half.onnx"
    path.write_bytes(data[: int(keep * len(data)) if keep < 1 else int(keep)])
    with pytest.raises(ModelError, match=r"half\.onnx") as caught:
        Model(path)
    assert "\n" not in str(caught.value)


def test_a_foreign_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is not a facemend model; make one with facemend export"):
        Model(write_model(tmp_path / "m.onnx", text=""))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("size_px", 128, "does not fit its description"),
        ("takes_hint", False, "has image, hint where its description promises image"),
        ("finds_occlusion", False, "has raw, alpha, interval where its description promises raw, interval"),
        ("format", 99, "has format 99"),
    ],
)
def test_a_description_that_its_network_does_not_keep_is_refused(
    tmp_path: Path, field: str, value: object, message: str
) -> None:
    text = json.dumps(json.loads(DESCRIPTION.to_json()) | {field: value})
    with pytest.raises(ModelError, match=message):
        Model(write_model(tmp_path / "m.onnx", text=text))


def test_a_damaged_description_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="description cannot be read"):
        Model(write_model(tmp_path / "m.onnx", text="{"))


@pytest.mark.parametrize("device", HARDWARE)
def test_hardware_that_is_not_there_is_said(
    stand_in_model: Path, monkeypatch: pytest.MonkeyPatch, device: Device
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(ModelError, match=f"cannot use {device}; install {HARDWARE[device].package}"):
        Model(stand_in_model, device=device)


@pytest.mark.parametrize("device", HARDWARE)
def test_hardware_that_cannot_be_started_is_said(
    stand_in_model: Path, monkeypatch: pytest.MonkeyPatch, device: Device
) -> None:
    provider, cpu, open_session = (
        HARDWARE[device].provider,
        "CPUExecutionProvider",
        onnxruntime.InferenceSession,
    )
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [provider, cpu])
    monkeypatch.setattr(  # as ONNX Runtime does where the driver is missing
        onnxruntime,
        "InferenceSession",
        lambda path, options, providers: open_session(path, options, providers=[cpu]),
    )
    with pytest.raises(ModelError, match=f"cannot start {device}"):
        Model(stand_in_model, device=device, threads=1)


def test_an_unknown_device_and_no_threads_are_used_wrongly(stand_in_model: Path) -> None:
    with pytest.raises(UsageError, match="unknown device 'tpu'; choose from auto, cpu, cuda, openvino"):
        Model(stand_in_model, device="tpu")
    with pytest.raises(UsageError, match="0 threads"):
        Model(stand_in_model, threads=0)


def test_a_copy_without_weights_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facemend.reconstruction.model._WEIGHTS", tmp_path)
    with pytest.raises(ModelError, match=r"carries no facemend\.onnx; name a model file"):
        shipped_model_path()

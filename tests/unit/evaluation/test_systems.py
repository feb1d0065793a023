from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from facemend.errors import ModelError
from facemend.evaluation.external import open_systems
from facemend.images import Alpha, Image
from facemend.occlusion import Extent, OccludedFace, Occlusion, OcclusionClass
from tests.stand_in import ACCESSORY, COVER, DESCRIPTION, write_model
from tests.tiny_celeba import gradient


def painted() -> OccludedFace:
    """A face with a cover and an accessory that the stand-in model finds."""
    truth = gradient(256, 256)
    image = truth.copy()
    image[100:150, 60:120], image[200:240, 150:200] = COVER, ACCESSORY
    return OccludedFace(image, truth, occlusion_of((image != truth).any(axis=2).astype(np.float32)))


def occlusion_of(alpha: Alpha) -> Occlusion:
    return Occlusion("object", OcclusionClass.ACCESSORIES, Extent.PARTIAL, alpha, 0, {})


def test_a_model_delivers_both_classes_when_it_is_measured(stand_in_model: Path) -> None:
    face = painted()
    (system,) = open_systems([stand_in_model])
    delivery = system.run([face, face])
    assert system.blind
    np.testing.assert_array_equal(delivery.raw[1], 255 - face.image)
    assert delivery.alpha is not None
    np.testing.assert_array_equal(delivery.alpha[1], face.occlusion.alpha)
    hole = face.occlusion.mask
    np.testing.assert_array_equal(delivery.composite[1][hole], 255 - face.image[hole])
    np.testing.assert_array_equal(delivery.composite[1][:90], face.image[:90])


def test_without_an_occlusion_only_covers_are_false_edits(stand_in_model: Path) -> None:
    face = painted()
    (system,) = open_systems([stand_in_model])
    assert system.repair is not None
    repaired = system.repair(face.image[None])[0]
    np.testing.assert_array_equal(repaired[110:140, 70:110], 255 - face.image[110:140, 70:110])
    np.testing.assert_array_equal(repaired[190:], face.image[190:])


def test_a_model_without_alpha_delivers_its_raw_picture(tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.onnx", takes_hint=False, finds_occlusion=False)
    face = painted()
    delivery = open_systems([path])[0].run([face])
    np.testing.assert_array_equal(delivery.composite[0], 255 - face.image)
    assert delivery.alpha is None


def test_the_description_says_who_the_model_was_trained_on(tmp_path: Path) -> None:
    known: list[frozenset[str] | None] = []
    for number, people in enumerate([("0123456789ab",), (), None]):
        text = replace(DESCRIPTION, training_people=people).to_json()
        path = write_model(tmp_path / f"{number}.onnx", text=text)
        known += [system.training_people for system in open_systems([path])]
    assert known == [frozenset({"0123456789ab"}), None, None]


def test_models_of_one_name_are_told_apart_by_their_hashes(tmp_path: Path, stand_in_model: Path) -> None:
    other = write_model(tmp_path / "other.onnx", takes_hint=False)
    assert [system.name for system in open_systems([other])] == ["stand-in"]
    systems = open_systems([stand_in_model, other])
    assert [system.name for system in systems] == [f"stand-in {str(s.sha256)[:8]}" for s in systems]
    assert systems[0].name != systems[1].name


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(ModelError, match="not a model"):
        open_systems([tmp_path / "model.onnx"])


def test_pictures_of_another_size_than_the_model_s_are_resized_there_and_back(tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.onnx", finds_occlusion=False)
    truth: Image = gradient(128, 128)
    face = OccludedFace(truth, truth, occlusion_of(np.zeros((128, 128), dtype=np.float32)))
    delivery = open_systems([path])[0].run([face])
    assert np.abs(delivery.raw[0].astype(int) - (255 - truth.astype(int))).max() <= 3

import importlib
import sys

import numpy as np
import pytest

from facemend.errors import FacemendError, UsageError
from facemend.evaluation.systems import BASELINES, LEARNT, FaceStatistics, Learnt, choose_baselines
from facemend.images import Image
from facemend.occlusion import OccludedFace, occlude
from tests.tiny_celeba import gradient

FILLERS = ("mean-colour", "telea", "navier-stokes", "biharmonic")


def faces_of(*truths: Image) -> list[OccludedFace]:
    return [occlude(truth, None, "nose_mask", seed) for seed, truth in enumerate(truths)]


FACES = faces_of(gradient(64, 64, 1), gradient(64, 64, 2))
MEAN = gradient(64, 64, 3).ravel()
_ONE = np.eye(MEAN.size, 1, dtype=np.float32)
LEARNT_FACES = Learnt(
    FaceStatistics(MEAN.astype(np.float32), _ONE, np.ones(1, dtype=np.float32), 1.0), frozenset({"abc"})
)


def no_faces() -> Learnt:
    raise AssertionError("nothing asks for the training faces")


def test_copy_delivers_its_input() -> None:
    delivery = BASELINES["copy"].run(FACES)
    np.testing.assert_array_equal(delivery.composite, [face.image for face in FACES])
    np.testing.assert_array_equal(delivery.raw, delivery.composite)
    assert delivery.alpha is None


@pytest.mark.parametrize("name", FILLERS)
def test_fillers_change_the_hole_and_nothing_else(name: str) -> None:
    delivery = BASELINES[name].run(FACES)
    for face, filled in zip(FACES, delivery.composite, strict=True):
        hole = face.occlusion.mask
        np.testing.assert_array_equal(filled[~hole], face.target[~hole])
        assert (filled[hole] != face.image[hole]).any(axis=1).mean() > 0.9


@pytest.mark.parametrize("name", FILLERS)
def test_fillers_mend_a_flat_picture(name: str) -> None:
    flat = faces_of(np.full((64, 64, 3), (10, 120, 230), dtype=np.uint8))
    # OpenCV's Telea is off by up to 3 levels even here.
    np.testing.assert_allclose(BASELINES[name].run(flat).composite[0], flat[0].target, atol=3)


def test_the_mean_colour_is_that_of_the_visible_pixels() -> None:
    face = FACES[0]
    filled = BASELINES["mean-colour"].run([face]).composite[0]
    expected = np.rint(face.target[~face.occlusion.mask].mean(axis=0))
    assert (filled[face.occlusion.mask] == expected).all()


def test_only_copy_is_blind_and_fillers_need_the_mask() -> None:
    assert [name for name, system in BASELINES.items() if system.blind] == ["copy"]
    with pytest.raises(ValueError, match="telea needs the true mask"):
        BASELINES["telea"].deliver(np.stack([face.image for face in FACES]), None)


def test_baselines_are_chosen_by_name() -> None:
    assert [system.name for system in choose_baselines("telea,copy,telea", no_faces)] == ["telea", "copy"]
    assert choose_baselines("none", no_faces) == []
    with pytest.raises(UsageError, match="unknown baseline 'lama'; choose from copy"):
        choose_baselines("copy,lama", no_faces)


def test_all_are_every_baseline_and_the_faces_are_learnt_from_once() -> None:
    asked = []

    def learn_once() -> Learnt:
        asked.append(1)
        return LEARNT_FACES

    systems = choose_baselines("all", learn_once)
    assert [system.name for system in systems] == [*BASELINES, *LEARNT]
    assert len(asked) == 1
    assert [system.training_people for system in systems[-2:]] == [LEARNT_FACES.people] * 2
    fingerprints = {system.fingerprint for system in systems}
    assert len(fingerprints - {None}) == len(systems)


def test_the_mean_face_goes_into_the_hole() -> None:
    (system,) = choose_baselines("mean-face", lambda: LEARNT_FACES)
    for face, filled in zip(FACES, system.run(FACES).composite, strict=True):
        hole = face.occlusion.mask
        np.testing.assert_array_equal(filled[hole], MEAN.reshape(64, 64, 3)[hole])
        np.testing.assert_array_equal(filled[~hole], face.image[~hole])


def test_biharmonic_is_measured_on_the_first_pictures_only() -> None:
    assert [system.name for system in BASELINES.values() if system.first] == ["biharmonic"]


def test_without_opencv_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    monkeypatch.delitem(sys.modules, "facemend.metrics.image", raising=False)
    with pytest.raises(FacemendError, match=r"pip install \"facemend\[evaluate\]\""):
        importlib.import_module("facemend.metrics.image")

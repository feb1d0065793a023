from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from facemend.datasets import FaceRecord, FaceSource
from facemend.errors import FacemendError
from facemend.evaluation.systems import FaceStatistics, learn_faces
from facemend.images import Image
from tests.tiny_celeba import gradient

SIDE = 64


def blend(number: int) -> Image:
    """A face of a two-dimensional family: what hides a part of one can be told from the rest."""
    first, second, third = (gradient(SIDE, SIDE, seed).astype(float) for seed in range(3))
    a, b = np.random.default_rng(number).uniform(0, 0.5, 2)
    return np.asarray(np.rint(first * (1 - a - b) + a * second + b * third), dtype=np.uint8)


def read(name: str) -> Image:
    return blend(int(name))


SOURCE = FaceSource("Blends", [FaceRecord(str(n), f"person {n}") for n in range(12)], read, "fingerprint")
HOLE = np.zeros((SIDE, SIDE), dtype=np.bool_)
HOLE[30:54, 16:48] = True


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> FaceStatistics:
    return learn_faces(SOURCE, tmp_path_factory.mktemp("cache"))


def hidden(face: Image) -> Image:
    occluded = face.copy()
    occluded[HOLE] = (255, 0, 255)
    return occluded


def test_the_components_are_those_of_a_singular_value_decomposition(learnt: FaceStatistics) -> None:
    faces = np.stack([blend(number).ravel() for number in range(12)]).astype(np.float64)
    _, singular, directions = np.linalg.svd(faces - faces.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(learnt.mean, faces.mean(axis=0), atol=1e-4)
    np.testing.assert_allclose(learnt.variances[:2], singular[:2] ** 2 / 12, rtol=1e-4)
    for own, reference in zip(learnt.components.T[:2], directions[:2], strict=True):
        assert abs(float(own @ reference)) == pytest.approx(1, abs=1e-4)


def test_the_hole_of_an_unseen_face_is_told_from_what_is_visible(learnt: FaceStatistics) -> None:
    face = blend(99)
    filled = learnt.fill_eigenfaces(hidden(face), HOLE)
    np.testing.assert_array_equal(filled[~HOLE], face[~HOLE])
    error = np.abs(filled[HOLE].astype(int) - face[HOLE])
    of_mean = np.abs(learnt.fill_mean_face(hidden(face), HOLE)[HOLE].astype(int) - face[HOLE])
    assert error.mean() < 2 < of_mean.mean()


def test_what_hides_the_face_has_no_say(learnt: FaceStatistics) -> None:
    face = blend(99)
    other = hidden(face)
    other[HOLE] = (0, 255, 0)
    np.testing.assert_array_equal(
        learnt.fill_eigenfaces(other, HOLE), learnt.fill_eigenfaces(hidden(face), HOLE)
    )


def test_a_larger_picture_is_filled_at_its_own_size(learnt: FaceStatistics) -> None:
    mask = HOLE.repeat(4, axis=0).repeat(4, axis=1)
    face = blend(99).repeat(4, axis=0).repeat(4, axis=1)
    filled = learnt.fill_eigenfaces(np.where(mask[..., None], np.uint8(0), face), mask)
    assert np.abs(filled[mask].astype(int) - face[mask]).mean() < 6


def test_what_was_learnt_is_found_again_for_the_same_faces_only(tmp_path: Path) -> None:
    def read_nothing(name: str) -> Image:
        raise AssertionError(f"{name} is read")

    learnt = learn_faces(SOURCE, tmp_path)
    again = learn_faces(replace(SOURCE, read=read_nothing), tmp_path)
    assert again.sha256 == learnt.sha256
    assert learn_faces(SOURCE.first(5), tmp_path).sha256 != learnt.sha256
    with pytest.raises(AssertionError, match="is read"):
        learn_faces(replace(SOURCE, read=read_nothing, fingerprint="another"), tmp_path)


def test_one_face_and_a_damaged_cache_are_errors(tmp_path: Path) -> None:
    with pytest.raises(FacemendError, match="need two"):
        learn_faces(SOURCE.first(1), tmp_path)
    learn_faces(SOURCE.first(3), tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_bytes(b"")
    with pytest.raises(FacemendError, match=r"cannot be read .* delete it"):
        learn_faces(SOURCE.first(3), tmp_path)

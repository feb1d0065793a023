from pathlib import Path

import numpy as np
import pytest

from facemend.faces import Face
from facemend.frame import Points, canonical_landmarks
from facemend.images import Image
from facemend.occlusion import OcclusionClass
from facemend.reconstruction.model import Model
from facemend.reconstruction.options import Remove
from facemend.reconstruction.photo import mend_faces, view_of
from tests.stand_in import COVER
from tests.tiny_celeba import gradient


def _face(side_px: float, x: float, y: float, degrees: float = 0) -> Face:
    """A face whose crop is a square of a side, turned, with its middle at (x, y)."""
    angle, scale = np.deg2rad(degrees), side_px / 256
    turn = scale * np.array([(np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))])
    landmarks: Points = (canonical_landmarks() - 127.5) @ turn.T + (x, y)
    return Face((x - side_px / 4, y - side_px / 4, x + side_px / 4, y + side_px / 4), landmarks, 0.9)


def _covered(photo: Image, face: Face) -> Image:
    """A photo with a disc in the colour that the stand-in takes for a cover, over nose and mouth."""
    x, y = face.landmarks_px[2:].mean(axis=0)
    radius = np.hypot(*(face.landmarks_px[1] - face.landmarks_px[0])) / 2
    rows, columns = np.indices(photo.shape[:2])
    result = photo.copy()
    result[np.hypot(columns - x, rows - y) < radius] = COVER
    return result


@pytest.fixture
def model(stand_in_model: Path) -> Model:
    return Model(stand_in_model)


@pytest.mark.parametrize("degrees", [0, 25, -160])
@pytest.mark.parametrize("side_px", [60, 256, 333, 900])
def test_a_crop_is_put_back_where_it_was_cut_out(side_px: float, degrees: float) -> None:
    photo = gradient(1000, 800)
    view = view_of(photo, _face(side_px, 480.3, 420.7, degrees), 256)
    assert view is not None
    assert view.scale == pytest.approx(side_px / 256)
    inside = view.put(np.ones((256, 256), dtype=np.float32)) > 0.999
    assert inside.sum() > 0.8 * min(side_px, 800) ** 2
    error = view.put(view.crop.image)[inside].astype(int) - photo[view.box][inside]
    assert np.abs(error).max() <= 4
    assert abs(error.mean()) < 0.1


@pytest.mark.parametrize("side_px", [70, 256, 600])
def test_no_pixel_outside_the_occlusion_changes(model: Model, side_px: float) -> None:
    face = _face(side_px, 300, 330, 12)
    photo = _covered(gradient(640, 600), face)
    mended, (done,) = mend_faces(photo, [face], model, Remove.COVERS)
    changed = (mended != photo).any(axis=2)
    weight = np.zeros(photo.shape[:2], dtype=np.float32)
    weight[done.box] = done.weight
    assert not changed[weight == 0].any()
    hidden = (photo == COVER).all(axis=2)
    assert changed[hidden].all()
    assert 1 < (weight > 0).sum() / hidden.sum() < 1 + 40 * max(side_px, 256) / 256 / np.sqrt(hidden.sum())
    assert done.occlusion[OcclusionClass.COVERS].shape == done.weight.shape


def test_a_face_without_an_occlusion_keeps_its_bytes(model: Model) -> None:
    photo = gradient(500, 400)
    mended, (done,) = mend_faces(photo, [_face(300, 250, 200)], model, Remove.COVERS)
    np.testing.assert_array_equal(mended, photo)
    assert not done.weight.any()


def test_accessories_stay_unless_they_are_asked_for(model: Model) -> None:
    face = _face(256, 300, 300)
    photo = _covered(gradient(600, 600), face)
    mended, _ = mend_faces(photo, [face], model, Remove.ACCESSORIES)
    np.testing.assert_array_equal(mended, photo)


def test_every_face_is_mended_and_one_outside_the_photo_is_passed_over(model: Model) -> None:
    faces = [_face(200, 150, 150), _face(120, 450, 200, -30), _face(100, -3000, 0)]
    photo = _covered(_covered(gradient(600, 400), faces[0]), faces[1])
    mended, done = mend_faces(photo, faces, model, Remove.COVERS)
    assert len(done) == 2
    assert not (mended == COVER).all(axis=2).any()


def test_a_face_at_the_border_is_mended_as_far_as_it_is_seen(model: Model) -> None:
    face = _face(256, 20, 280)
    photo = _covered(gradient(300, 300), face)
    mended, (done,) = mend_faces(photo, [face], model, Remove.COVERS)
    assert done.box[1].start == 0
    assert not (mended == COVER).all(axis=2).any()


def test_the_same_photo_gives_the_same_bytes(model: Model) -> None:
    face = _face(900, 500, 500)
    rng = np.random.default_rng(0)
    photo = _covered(rng.integers(90, 160, (1000, 1000, 3), dtype=np.uint8), face)
    one, two = (mend_faces(photo, [face], model, Remove.COVERS)[0] for _ in range(2))
    np.testing.assert_array_equal(one, two)

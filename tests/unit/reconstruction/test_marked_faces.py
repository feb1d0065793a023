from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from facemend.alignment import FRAME_LANDMARKS_PX
from facemend.detection import Face
from facemend.errors import UsageError
from facemend.images import Image
from facemend.reconstruction.demo import read_portraits
from facemend.reconstruction.reconstructor import Reconstructor, add_marked_faces
from tests.tiny_celeba import gradient


def _nobody(*_: object, **__: object) -> tuple[Face, ...]:
    return ()


def test_a_box_where_nothing_is_seen_holds_a_typical_upright_face() -> None:
    (face,) = add_marked_faces(gradient(400, 300), [], [(100, 50, 92, 121)], _nobody, "it")
    assert face.box_px == (99.5, 49.5, 191.5, 170.5)
    assert face.confidence == 1
    np.testing.assert_allclose(
        face.landmarks_px - face.landmarks_px[0], FRAME_LANDMARKS_PX - FRAME_LANDMARKS_PX[0]
    )


def test_a_face_that_was_found_is_there_once() -> None:
    found = Face((10, 10, 60, 70), np.zeros((5, 2)), 0.9)
    assert add_marked_faces(gradient(400, 300), [found], [(12, 12, 48, 56)], _nobody, "it") == (
        replace(found, confidence=1.0, marked=True),
    )


def test_what_the_detector_sees_in_the_close_view_is_put_back() -> None:
    def see(close: Image, **_: float) -> tuple[Face, ...]:
        assert close.shape[:2] == (121, 81)
        return (Face((20, 30, 60, 90), np.full((5, 2), 40.0), 0.1),)

    (face,) = add_marked_faces(gradient(400, 300), [], [(100, 100, 40, 60)], see, "it")
    assert face.box_px == (99.0, 99.0, 139.0, 159.0)
    np.testing.assert_array_equal(face.landmarks_px[0], (119, 109))


def test_a_box_outside_the_photo_is_refused() -> None:
    with pytest.raises(UsageError, match="the face 500,0,10,10 lies outside it"):
        add_marked_faces(gradient(400, 300), [], [(500, 0, 10, 10)], _nobody, "it")


def test_a_given_face_is_reconstructed_where_the_detector_asks_for_more(
    reconstructor: Reconstructor,
) -> None:
    portrait = read_portraits()[0]
    (found,) = reconstructor(portrait.photo).faces
    x1, y1, x2, y2 = found.face.box_px
    result = reconstructor(portrait.photo, min_confidence=1.0, faces=[(x1, y1, x2 - x1, y2 - y1)])
    (given,) = result.faces
    eyes = np.abs(given.face.landmarks_px[:2] - portrait.landmarks_px[:2]).max()
    assert eyes < 0.15 * np.hypot(*(portrait.landmarks_px[1] - portrait.landmarks_px[0]))


@pytest.fixture(scope="module")
def reconstructor(stand_in_model: Path) -> Reconstructor:
    return Reconstructor(stand_in_model, threads=1)

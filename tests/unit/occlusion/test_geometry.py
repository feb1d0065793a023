import numpy as np
import pytest

from facemend.alignment import Points, canonical_landmarks
from facemend.occlusion.geometry import face_geometry


def _turned(degrees: float, scale: float, nose_shift: float) -> Points:
    landmarks = canonical_landmarks()
    landmarks[2, 0] += nose_shift
    angle = np.deg2rad(degrees)
    turn = scale * np.array([(np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle))])
    turned: Points = (landmarks - 127) @ turn + (300, 200)
    return turned


@pytest.mark.parametrize("degrees", [0, 25, -70, 180])
@pytest.mark.parametrize("nose_shift", [0, 14, -9])
def test_locate_is_the_way_back_of_place(degrees: float, nose_shift: float) -> None:
    face = face_geometry(_turned(degrees, 1.7, nose_shift), 640, 480)
    points = np.random.default_rng(0).uniform(40, 230, (50, 2))
    placed = face.to_pixels(points)
    x, y = face.to_canonical(placed[:, 0], placed[:, 1])
    np.testing.assert_allclose(np.column_stack([x, y]), points, atol=1e-6)


def test_locate_stays_finite_where_there_is_no_way_back() -> None:
    """All landmarks on one line: both axes run along it."""
    landmarks = np.array([(10, 10), (20, 20), (30, 30), (40, 40), (50, 50)], dtype=np.float64)
    face = face_geometry(landmarks, 256, 256)
    x, y = face.to_canonical(np.arange(256.0)[None], np.arange(256.0)[:, None])
    assert np.isfinite(x).all()
    assert np.isfinite(y).all()


def test_a_rigid_face_does_not_bend() -> None:
    face = face_geometry(_turned(0, 1, 20), 640, 480)
    straight = np.array([(127.0, 60.0), (127.0, 165.0), (127.0, 240.0)])
    assert np.ptp(face.to_pixels(straight)[:, 0]) > 5
    assert np.ptp(face.rigid.to_pixels(straight)[:, 0]) < 3


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_landmarks_that_are_none_count_as_missing(value: float) -> None:
    landmarks = canonical_landmarks()
    landmarks[3, 1] = value
    missing, given = face_geometry(None, 300, 256), face_geometry(landmarks, 300, 256)
    np.testing.assert_array_equal(missing.eyes, given.eyes)
    np.testing.assert_array_equal(missing.down, given.down)

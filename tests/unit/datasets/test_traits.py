import numpy as np
import pytest

from facemend.alignment import FRAME_LANDMARKS_PX
from facemend.datasets import FaceRecord
from facemend.datasets.faces import has_dark_skin, is_turned, yaw_of


def _turned(by: float) -> FaceRecord:
    points = FRAME_LANDMARKS_PX.copy()
    eyes = points[1] - points[0]
    points[2] = points[:2].mean(axis=0) + by * eyes + (0, 24)
    return FaceRecord("a", "a", points)


@pytest.mark.parametrize("yaw", [-0.4, 0.0, 0.3])
def test_the_yaw_is_the_noses_offset_over_the_distance_of_the_eyes_however_the_picture_is_turned(
    yaw: float,
) -> None:
    points = _turned(yaw).frame_landmarks_px
    assert points is not None
    turn = np.array([(0.8, -0.6), (0.6, 0.8)])
    assert yaw_of(points) == pytest.approx(yaw)
    assert yaw_of(3 * points @ turn.T + 7) == pytest.approx(yaw)


def test_who_is_turned_follows_from_the_table_or_else_from_the_landmarks() -> None:
    assert is_turned(_turned(0.3))
    assert is_turned(_turned(-0.3))
    assert not is_turned(_turned(0.2))
    assert not is_turned(FaceRecord("a", "a"))
    assert is_turned(FaceRecord("a", "a", FRAME_LANDMARKS_PX, traits={"yaw": -0.26}))


def test_skin_is_dark_below_an_angle_and_never_where_it_is_unknown() -> None:
    assert has_dark_skin(FaceRecord("a", "a", traits={"ita": -11}))
    assert not has_dark_skin(FaceRecord("a", "a", traits={"ita": -9}))
    assert not has_dark_skin(FaceRecord("a", "a"))

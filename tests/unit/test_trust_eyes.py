import numpy as np
import pytest

from facemend.alignment import FRAME_LANDMARKS_PX, Points, trust_eyes

TURN: Points = 3 * np.array([(0.8, -0.6), (0.6, 0.8)])
FACE: Points = FRAME_LANDMARKS_PX @ TURN.T + (400, -20)
APART_PX = 3 * 38.0


def test_a_face_in_proportion_stays_as_it_is() -> None:
    assert trust_eyes(FACE) == pytest.approx(FACE)


def test_a_small_deviation_stays_and_a_large_one_is_cut_to_the_most() -> None:
    drifted = FACE + np.array([(0, 0), (0, 0), (0, 0.1), (0.3, -0.4), (0, 0)]) * APART_PX
    trusted = trust_eyes(drifted, most=0.2)
    assert trusted[[0, 1, 2, 4]] == pytest.approx(drifted[[0, 1, 2, 4]])
    assert trusted[3] - FACE[3] == pytest.approx(np.array((0.12, -0.16)) * APART_PX)


def test_the_eyes_never_move_and_the_input_is_not_written_to() -> None:
    drifted = FACE + np.array([(3, 9), (-5, 2), (40, 40), (-60, 0), (0, -50)])
    before = drifted.copy()
    assert np.array_equal(trust_eyes(drifted)[:2], drifted[:2])
    assert np.array_equal(drifted, before)


def test_a_head_turned_aside_keeps_its_landmarks() -> None:
    turned = FRAME_LANDMARKS_PX * (0.4, 1)
    assert np.array_equal(trust_eyes(turned), turned)


def test_eyes_in_one_point_are_left_alone() -> None:
    points = FRAME_LANDMARKS_PX.copy()
    points[1] = points[0]
    assert np.array_equal(trust_eyes(points), points)

import numpy as np
import pytest

from facemend.detection.detector import apply_offsets, non_max_suppression, overlaps

BOXES = np.array([(0, 0, 10, 10), (0, 0, 10, 20), (5, 0, 15, 10), (30, 30, 40, 40)], dtype=np.float64)


def test_edges_move_by_shares_of_the_boxs_own_sides() -> None:
    offsets = np.array([(0.1, 0.2, -0.1, 0.3)])
    assert apply_offsets(BOXES[1:2], offsets)[0] == pytest.approx((1, 4, 9, 26))


def test_no_edge_crosses_the_middle() -> None:
    x1, y1, x2, y2 = apply_offsets(BOXES[:1], np.array([(2.0, 0.0, -2.0, -9.0)]))[0]
    assert 0 < x1 < x2 < 10
    assert 0 == y1 < y2


def test_overlaps_are_shares_of_the_union_or_of_the_smaller() -> None:
    assert overlaps(BOXES[0], BOXES) == pytest.approx((1, 1 / 2, 1 / 3, 0))
    assert overlaps(BOXES[0], BOXES, of_smaller=True) == pytest.approx((1, 1, 1 / 2, 0))


def test_the_best_of_what_overlaps_stays_in_order_of_its_score() -> None:
    scores = np.array([0.5, 0.4, 0.7, 0.6])
    assert non_max_suppression(BOXES, scores, 0.3) == [2, 3, 1]
    assert non_max_suppression(BOXES, scores, 0.4) == [2, 3, 0]
    assert non_max_suppression(BOXES, scores, 0.6) == [2, 3, 0, 1]
    assert non_max_suppression(BOXES, scores, 0.6, of_smaller=True) == [2, 3, 0]


def test_a_suppressed_box_suppresses_nothing() -> None:
    row = np.array([(0, 0, 10, 10), (4, 0, 14, 10), (8, 0, 18, 10)], dtype=np.float64)
    assert non_max_suppression(row, np.array([0.9, 0.8, 0.7]), 0.2) == [0, 2]


def test_of_equal_scores_the_first_stays_and_nothing_stays_of_nothing() -> None:
    assert non_max_suppression(BOXES[[0, 0]], np.array([0.5, 0.5]), 0.5) == [0]
    assert non_max_suppression(np.empty((0, 4)), np.empty(0), 0.5) == []

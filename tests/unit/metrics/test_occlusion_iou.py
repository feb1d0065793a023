import numpy as np
import pytest

from facemend.images import Alpha
from facemend.metrics.image import occlusion_iou


def box(x1: int, y1: int, x2: int, y2: int, value: float = 1) -> Alpha:
    alpha = np.zeros((64, 64), dtype=np.float32)
    alpha[y1:y2, x1:x2] = value
    return alpha


TRUTH = box(20, 20, 40, 40)


def test_the_true_occlusion_scores_1() -> None:
    assert occlusion_iou(TRUTH, TRUTH) == 1


def test_a_shifted_box_scores_as_counted_by_hand() -> None:
    # Judged are the inner 16×16 of the truth and what lies more than 2 px outside.
    # Found of the inner box: 16 rows × columns 25 to 37. Wrongly found: 20 rows × columns 42 to 44.
    assert occlusion_iou(box(25, 20, 45, 40), TRUTH) == pytest.approx((16 * 13) / (16 * 16 + 20 * 3))


@pytest.mark.parametrize("found", [box(18, 18, 42, 42), box(22, 22, 38, 38)], ids=["wider", "narrower"])
def test_2_px_along_the_edge_are_not_judged(found: Alpha) -> None:
    assert occlusion_iou(found, TRUTH) == 1


@pytest.mark.parametrize("found", [box(17, 18, 42, 42), box(23, 22, 38, 38)], ids=["wider", "narrower"])
def test_a_third_pixel_is(found: Alpha) -> None:
    score = occlusion_iou(found, TRUTH)
    assert score is not None
    assert score < 1


def test_the_edge_of_the_picture_is_no_edge_of_the_occlusion() -> None:
    truth = box(0, 0, 20, 20)
    # Missing: the first column, of which 2 rows are within the band of the true edge below.
    assert occlusion_iou(box(1, 0, 20, 20), truth) == pytest.approx(1 - 18 / 18**2)


def test_alphas_are_cut_at_one_half() -> None:
    assert occlusion_iou(box(20, 20, 40, 40, 0.5), TRUTH) == 1
    assert occlusion_iou(box(20, 20, 40, 40, 0.49), TRUTH) == 0
    assert occlusion_iou(TRUTH, box(20, 20, 40, 40, 0.6)) == 1


def test_nothing_hidden_and_nothing_found_has_no_value() -> None:
    nothing = box(0, 0, 0, 0)
    assert occlusion_iou(nothing, nothing) is None
    assert occlusion_iou(TRUTH, nothing) == 0


def test_alphas_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot be compared"):
        occlusion_iou(TRUTH[:32], TRUTH)

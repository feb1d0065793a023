from dataclasses import replace

import numpy as np

from facemend.evaluation.report import draw_error, draw_found, draw_plots, to_html
from facemend.evaluation.results import AS_DRAWN, Row
from tests.tiny_celeba import gradient
from tests.unit.evaluation.test_report import SMALL

TRUTH = np.full((8, 8, 3), 100, dtype=np.uint8)


def test_an_error_map_goes_from_dark_to_light() -> None:
    delivered = TRUTH.copy()
    delivered[:2] += 30
    delivered[2:4] += 100
    shown = draw_error(delivered, TRUTH).sum(axis=2).astype(int)
    assert shown[4:].max() < shown[0, 0] < shown[2, 0]
    np.testing.assert_array_equal(draw_error(TRUTH + 64, TRUTH), draw_error(TRUTH + 120, TRUTH))
    # The mean of the channels counts, not their sum.
    one = TRUTH.copy()
    one[..., 0] += 90
    np.testing.assert_array_equal(draw_error(one, TRUTH), draw_error(TRUTH + 30, TRUTH))


def test_the_found_occlusion_lies_over_the_input_and_over_nothing_else() -> None:
    image, alpha = gradient(8, 8), np.zeros((8, 8), dtype=np.float32)
    alpha[:4] = 1
    shown = draw_found(image, alpha)
    np.testing.assert_array_equal(shown[4:], image[4:])
    assert (shown[:4] != image[:4]).any(axis=2).all()


def test_a_plot_puts_a_mean_between_its_ends_and_a_larger_one_higher() -> None:
    rows = [
        Row("ours", kind, "all", "all", AS_DRAWN, "hole", "psnr", "dB", mean, mean - 1, mean + 1, 7, 0)
        for kind, mean in (("blur", 22.5), ("nose_mask", 18.0))
    ]
    (plot,) = draw_plots(replace(SMALL, kinds=("blur", "nose_mask"), rows=tuple(rows)))
    blur, mask = plot.series[0].points
    assert blur.y < mask.y  # SVG counts from the top
    assert blur.high < blur.y < blur.low
    assert blur.x < mask.x
    assert blur.label == "22.50 dB, 21.50 to 23.50"
    assert [label for label, _ in plot.labels] == ["blur", "nose_mask"]
    heights = {float(text): y for text, y in plot.ticks}
    share = (heights[18.0] - blur.y) / (heights[18.0] - heights[22.0])
    np.testing.assert_allclose(share, (22.5 - 18) / (22 - 18), atol=0.01)
    assert plot.series[1].points == ()


def test_names_cannot_break_out_of_the_page() -> None:
    page = to_html(replace(SMALL, source="<script>alert(1)</script>"), [])
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page

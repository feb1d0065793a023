import numpy as np
import pytest
from skimage.metrics import structural_similarity

from facemend.images import Alpha, Image
from facemend.metrics.image import Edge, find_edge, seam_gradient, seam_ssim


def box(low: int = 20, high: int = 44, side_px: int = 64) -> Alpha:
    alpha = np.zeros((side_px, side_px), dtype=np.float32)
    alpha[low:high, low:high] = 1
    return alpha


def edge_of(alpha: Alpha) -> Edge:
    edge = find_edge(alpha)
    assert edge is not None
    return edge


def ramp(slope: int) -> Image:
    """Gray that rises by `slope` levels a column and a row."""
    y, x = np.mgrid[0:64, 0:64]
    return np.repeat(((x + y) * slope).astype(np.uint8)[..., None], 3, axis=2)


def noise(seed: int) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8)


def test_the_edge_lies_between_the_occluded_and_the_visible_pixels() -> None:
    edge = edge_of(box())
    assert edge.distance_px[32, 19:22].tolist() == [-0.5, 0.5, 1.5]
    np.testing.assert_allclose(edge.normal[:, 32, 20], (0, 1), atol=1e-9)
    np.testing.assert_allclose(edge.normal[:, 43, 32], (-1, 0), atol=1e-9)


def test_a_soft_edge_is_where_the_alpha_passes_one_half() -> None:
    alpha = np.tile(np.linspace(0, 1, 64, dtype=np.float32), (64, 1))
    assert edge_of(alpha).distance_px[10, 31:33].tolist() == [-0.5, 0.5]


def test_the_border_of_the_picture_is_no_edge() -> None:
    alpha = np.zeros((64, 64), dtype=np.float32)
    alpha[40:] = 1
    near = np.abs(edge_of(alpha).distance_px) < 2
    assert set(np.flatnonzero(near.any(axis=1)).tolist()) == {38, 39, 40, 41}


@pytest.mark.parametrize("alpha", [np.zeros((64, 64)), np.ones((64, 64))], ids=["nothing", "everything"])
def test_without_an_edge_there_is_none(alpha: Alpha) -> None:
    assert find_edge(alpha.astype(np.float32)) is None


def test_a_ramp_half_as_steep_has_half_the_gradient() -> None:
    edge = edge_of(box())
    assert seam_gradient(ramp(1), ramp(2), edge) == pytest.approx(0.5)
    assert seam_gradient(ramp(2), ramp(2), edge) == 1
    assert seam_gradient(ramp(2), np.zeros_like(ramp(2)), edge) is None


def test_a_step_at_the_edge_adds_to_the_gradient() -> None:
    truth, alpha = ramp(1), np.zeros((64, 64), dtype=np.float32)
    alpha[:, 32:] = 1
    stepped = truth.copy()
    stepped[:, 32:] += 10
    # Three steps of one level, and one of them ten levels higher.
    assert seam_gradient(stepped, truth, edge_of(alpha)) == pytest.approx((3 + 10) / 3, rel=1e-4)


def test_a_line_along_the_edge_counts_up_and_down_and_one_elsewhere_does_not() -> None:
    truth, alpha = ramp(1), np.zeros((64, 64), dtype=np.float32)
    alpha[:, 32:] = 1
    framed, elsewhere = truth.copy(), truth.copy()
    framed[:, 32] += 10
    elsewhere[:, 36] += 10
    edge = edge_of(alpha)
    assert seam_gradient(framed, truth, edge) == pytest.approx((1 + 11 + 9) / 3, rel=1e-4)
    assert seam_gradient(elsewhere, truth, edge) == 1


def test_a_gradient_along_the_edge_does_not_count() -> None:
    alpha = np.zeros((64, 64), dtype=np.float32)
    alpha[:, 32:] = 1
    along = np.repeat(np.arange(64, dtype=np.uint8)[:, None, None], 64, axis=1)
    share = seam_gradient(np.repeat(along, 3, axis=2), ramp(1), edge_of(alpha))
    assert share == pytest.approx(0, abs=1e-6)


def test_ssim_of_the_ring_is_that_of_scikit_image_there() -> None:
    image, truth, edge = noise(1), noise(2), edge_of(box())
    _, index = structural_similarity(  # type: ignore[no-untyped-call]
        image, truth, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255,
        channel_axis=2, full=True,
    )  # fmt: skip
    ring = np.abs(edge.distance_px) < 8
    assert seam_ssim(image, truth, edge) == pytest.approx(index[ring].mean(), abs=1e-6)


def test_ssim_of_equal_rings_is_1_whatever_lies_elsewhere() -> None:
    truth, edge = noise(1), edge_of(box(16, 48))
    image = truth.copy()
    image[31:33, 31:33] = 255 - image[31:33, 31:33]
    image[0] = 0
    assert seam_ssim(image, truth, edge) == pytest.approx(1)


def test_a_ring_that_no_window_reaches_has_no_ssim() -> None:
    alpha = np.zeros((64, 64), dtype=np.float32)
    alpha[0] = 1
    corner = Edge(edge_of(alpha).distance_px - 10, edge_of(alpha).normal)
    assert seam_ssim(noise(1), noise(2), corner) is None


def test_other_ranges_and_sizes_are_refused() -> None:
    edge = edge_of(box())
    with pytest.raises(ValueError, match="uint8"):
        seam_gradient(ramp(1).astype(np.float32), ramp(1), edge)
    with pytest.raises(ValueError, match="compared"):
        seam_ssim(noise(1)[:32], noise(1), edge)

"""Metrics on random and real pictures, computed once more by libraries that are not ours."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from skimage.morphology import dilation, erosion
from torchmetrics.functional import jaccard_index
from torchmetrics.functional.image import peak_signal_noise_ratio as torch_psnr

from facemend.metrics.image import occlusion_iou, sharpness, ssim
from facemend.metrics.psnr import psnr
from tests.reference_pictures import SIZE_PX, read_pairs

PAIRS = read_pairs()
HOLE = np.zeros((SIZE_PX, SIZE_PX), dtype=np.bool_)
HOLE[110:210, 70:190] = True


@pytest.mark.parametrize("name", PAIRS)
def test_psnr_is_that_of_scikit_image_and_torchmetrics(name: str) -> None:
    image, truth = PAIRS[name]
    own = psnr(image, truth)
    assert own == pytest.approx(peak_signal_noise_ratio(truth, image, data_range=255))  # type: ignore[no-untyped-call]
    first, second = (torch.from_numpy(picture.astype(np.float64)) for picture in (image, truth))
    assert own == pytest.approx(float(torch_psnr(first, second, data_range=255.0)))


@pytest.mark.parametrize("name", PAIRS)
def test_ssim_is_that_of_scikit_image(name: str) -> None:
    image, truth = PAIRS[name]
    reference = structural_similarity(  # type: ignore[no-untyped-call]
        image,
        truth,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=255,
        channel_axis=2,
    )
    assert ssim(image, truth) == pytest.approx(reference, abs=1e-9)


@pytest.mark.parametrize("name", PAIRS)
def test_sharpness_is_that_of_scipy_s_differences(name: str) -> None:
    inside = ndimage.binary_erosion(HOLE, np.ones((7, 7)))
    steepness = []
    for picture in PAIRS[name]:
        luma = picture @ np.array([0.299, 0.587, 0.114])
        slopes = [ndimage.correlate1d(luma, [-0.5, 0, 0.5], axis=axis) for axis in (0, 1)]
        steepness.append(float(np.hypot(*slopes)[inside].mean()))
    assert sharpness(*PAIRS[name], HOLE) == pytest.approx(steepness[0] / steepness[1])


@pytest.mark.parametrize("seed", range(3))
def test_iou_is_the_jaccard_index_of_torchmetrics_away_from_the_edge(seed: int) -> None:
    noise = np.random.default_rng(seed).normal(size=(2, SIZE_PX, SIZE_PX))
    blobs = ndimage.gaussian_filter(noise, (0, 12, 12)) * 30 + 0.5
    predicted, truth = blobs.clip(0, 1).astype(np.float32)
    hidden = truth >= 0.5
    square = np.ones((5, 5))
    away = dilation(hidden, square) == erosion(hidden, square)
    expected = jaccard_index(
        torch.from_numpy(predicted[away] >= 0.5), torch.from_numpy(hidden[away]), task="binary"
    )
    assert occlusion_iou(predicted, truth) == pytest.approx(float(expected))

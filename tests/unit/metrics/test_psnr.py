import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio

from facemend.images import Image
from facemend.metrics.psnr import psnr

GRAY = np.full((8, 10, 3), 100, dtype=np.uint8)


def random_image(seed: int) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (33, 47, 3), dtype=np.uint8)


def test_a_constant_error_of_16_levels_is_24_05_db() -> None:
    assert psnr(GRAY + np.uint8(16), GRAY) == pytest.approx(20 * np.log10(255 / 16))


def test_the_error_is_pooled_over_all_three_channels() -> None:
    image = np.zeros((2, 2, 3), dtype=np.uint8)
    truth = image.copy()
    truth[0, 0, 0] = 255
    assert psnr(image, truth) == pytest.approx(10 * np.log10(12))
    assert psnr(truth, image) == psnr(image, truth)


def test_random_pictures_score_as_in_scikit_image() -> None:
    image, truth = random_image(1), random_image(2)
    expected = peak_signal_noise_ratio(truth, image, data_range=255)  # type: ignore[no-untyped-call]
    assert psnr(image, truth) == pytest.approx(expected, abs=1e-9)


def test_a_perfect_picture_has_no_value() -> None:
    assert psnr(GRAY, GRAY.copy()) is None


def test_only_the_region_counts() -> None:
    image, region = GRAY.copy(), np.zeros((8, 10), dtype=np.bool_)
    region[2:5, 3:7] = True
    image[~region] = 255
    assert psnr(image, GRAY, region) is None
    image[region] += 16
    assert psnr(image, GRAY, region) == pytest.approx(20 * np.log10(255 / 16))


def test_a_picture_that_is_wrong_in_the_hole_alone_scores_by_the_size_of_the_hole() -> None:
    truth, region = random_image(3), np.zeros((33, 47), dtype=np.bool_)
    region[5:20, 10:30] = True
    image = np.where(region[..., None], random_image(4), truth)
    whole, hole = psnr(image, truth), psnr(image, truth, region)
    assert whole is not None
    assert hole is not None
    assert whole == pytest.approx(hole - 10 * np.log10(region.mean()))


@pytest.mark.parametrize(
    "image",
    [
        GRAY.astype(np.float32) / 127.5 - 1,
        GRAY.astype(np.int64),
        GRAY[:, :, 0],
        GRAY[:4],
        np.dstack([GRAY, GRAY[..., :1]]),
    ],
    ids=["network range", "int64", "gray", "another size", "alpha"],
)
def test_other_ranges_types_and_sizes_are_refused(image: Image) -> None:
    with pytest.raises(ValueError, match=r"uint8|cannot be compared"):
        psnr(image, GRAY)


def test_a_region_must_be_a_mask_of_the_size_that_marks_something() -> None:
    with pytest.raises(ValueError, match="region is bool"):
        psnr(GRAY, GRAY, np.ones((8, 9), dtype=np.bool_))
    with pytest.raises(ValueError, match="region is bool"):
        psnr(GRAY, GRAY, np.ones((8, 10), dtype=np.uint8))
    with pytest.raises(ValueError, match="empty"):
        psnr(GRAY, GRAY, np.zeros((8, 10), dtype=np.bool_))

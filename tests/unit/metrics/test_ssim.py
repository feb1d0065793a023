import numpy as np
import pytest
from PIL import Image as PillowImage
from PIL import ImageFilter
from skimage.metrics import structural_similarity

from facemend.images import Image
from facemend.metrics.image import ssim
from tests.tiny_celeba import gradient

SIZE = 96
SMOOTH = gradient(SIZE, SIZE)
NOISE = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)


def reference(image: Image, truth: Image) -> float:
    return float(
        structural_similarity(  # type: ignore[no-untyped-call]
            image,
            truth,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=255,
            channel_axis=2,
        )
    )


def patched(left: int, top: int, width: int, height: int) -> Image:
    image = SMOOTH.copy()
    image[top : top + height, left : left + width] = NOISE[:height, :width]
    return image


def blurred(image: Image) -> Image:
    return np.asarray(PillowImage.fromarray(image).filter(ImageFilter.GaussianBlur(2)))


@pytest.mark.parametrize(
    ("image", "truth"),
    [
        (NOISE, np.roll(NOISE, 7, axis=0)),
        (SMOOTH, NOISE),
        (blurred(NOISE), NOISE),
        (gradient(SIZE, SIZE, 1), SMOOTH),
        (255 - SMOOTH, SMOOTH),
        (np.full_like(SMOOTH, 250), np.full_like(SMOOTH, 251)),
        (np.full_like(SMOOTH, 0), np.full_like(SMOOTH, 255)),
        (patched(30, 40, 20, 25), SMOOTH),
        (patched(0, 0, 1, 1), SMOOTH),
        (patched(SIZE - 1, SIZE - 1, 1, 1), SMOOTH),
        (patched(0, 50, SIZE, 2), SMOOTH),
        (NOISE[:11, :11], SMOOTH[:11, :11]),
        (NOISE[:11], SMOOTH[:11]),
    ],
    ids=[
        "noise",
        "smooth against noise",
        "blur",
        "other waves",
        "negative",
        "nearly flat",
        "black and white",
        "patch",
        "first pixel",
        "last pixel",
        "band",
        "one window",
        "one row of windows",
    ],
)
def test_the_value_is_that_of_scikit_image(image: Image, truth: Image) -> None:
    assert ssim(image, truth) == pytest.approx(reference(image, truth), abs=1e-6)
    assert ssim(truth, image) == pytest.approx(ssim(image, truth), abs=1e-12)


def test_equal_pictures_score_exactly_1() -> None:
    assert ssim(NOISE, NOISE.copy()) == 1


def test_other_ranges_and_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="uint8"):
        ssim(NOISE.astype(np.float32) / 255, SMOOTH)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="cannot be compared"):
        ssim(NOISE[:50], SMOOTH)
    with pytest.raises(ValueError, match="at least 11×11"):
        ssim(NOISE[:10], SMOOTH[:10])

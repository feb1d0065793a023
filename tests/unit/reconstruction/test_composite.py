import numpy as np
import pytest

from facemend.images import Alpha
from facemend.reconstruction.acceptance import wanted_alpha
from facemend.reconstruction.blending import composite, resize_alpha
from facemend.reconstruction.options import Remove, options_of
from tests.tiny_celeba import gradient


def disc(side: int, radius: float) -> Alpha:
    y, x = np.mgrid[0:side, 0:side]
    alpha: Alpha = (np.hypot(x - side * 0.4, y - side * 0.6) < radius).astype(np.float32)
    return alpha


def test_nothing_found_changes_nothing() -> None:
    image = gradient(256, 256)
    made = composite(image, 255 - image, np.full((256, 256), 0.5, dtype=np.float32))
    assert np.array_equal(made.image, image)
    assert not made.weight.any()
    assert made.image is not image


def test_everything_found_delivers_the_reconstruction() -> None:
    image = gradient(256, 256)
    made = composite(image, 255 - image, np.ones((256, 256), dtype=np.float32))
    assert np.array_equal(made.image, 255 - image)
    assert (made.weight == 1).all()


@pytest.mark.parametrize("side", [64, 178, 256, 700])
def test_inside_and_one_pixel_around_there_is_nothing_but_the_reconstruction(side: int) -> None:
    image, alpha = gradient(side, side), disc(side, side / 5)
    made = composite(image, 255 - image, alpha)
    found = alpha > 0.5
    around = found.copy()
    for shift in (-1, 1):
        for axis in (0, 1):
            around |= np.roll(found, shift, axis)
    assert (made.weight[around] == 1).all()
    assert np.array_equal(made.image[around], 255 - image[around])


@pytest.mark.parametrize("side", [64, 178, 256, 700])
def test_pixels_away_from_the_occlusion_are_the_inputs_own(side: int) -> None:
    image, alpha = gradient(side, side), disc(side, side / 5)
    made = composite(image, 255 - image, alpha)
    margin = 4 * max(1, side / 256)
    y, x = np.mgrid[0:side, 0:side]
    away = np.hypot(x - side * 0.4, y - side * 0.6) > side / 5 + margin * np.sqrt(2) + 1
    assert away.sum() > side
    assert not made.weight[away].any()
    assert np.array_equal(made.image[away], image[away])
    changed = (made.image != image).any(axis=2)
    assert (made.weight[changed] > 0).all()


def test_the_edge_fades_over_two_pixels() -> None:
    image = np.zeros((256, 256, 3), dtype=np.uint8)
    alpha = np.zeros((256, 256), dtype=np.float32)
    alpha[:, :100] = 1
    made = composite(image, image + 255, alpha)
    assert made.weight[128, 98:106] == pytest.approx([1, 1, 1, 1, 2 / 3, 1 / 3, 0, 0])
    assert made.image[128, 98:106, 0].tolist() == [255, 255, 255, 255, 170, 85, 0, 0]


def test_without_margin_and_feather_the_alpha_is_taken_to_the_pixel() -> None:
    image, alpha = gradient(90, 90), disc(90, 20)
    made = composite(image, 255 - image, alpha, exact=True)
    assert np.array_equal(made.weight, alpha)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({"grow": 3}, [1, 1, 1, 1, 1, 1, 1, 2 / 3, 1 / 3, 0]),
        ({"grow": -2}, [1, 1, 2 / 3, 1 / 3, 0, 0, 0, 0, 0, 0]),
        ({"feather": 0}, [1, 1, 1, 1, 0, 0, 0, 0, 0, 0]),
        ({"feather": 4}, [1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2, 0, 0]),
    ],
)
def test_the_edge_lies_where_the_options_say(words: dict[str, float], expected: list[float]) -> None:
    image = np.zeros((256, 256, 3), dtype=np.uint8)
    alpha = np.zeros((256, 256), dtype=np.float32)
    alpha[:, :100] = 1
    made = composite(image, image + 255, alpha, options_of(None, words))
    assert made.weight[128, 98:108] == pytest.approx(expected)
    assert made.weight[0, 0] == 1, "the picture's border is no edge"
    exact = composite(image, image + 255, alpha, options_of(None, words), exact=True)
    moved = 2 if "grow" in words else 0
    assert exact.weight[128, 100 + int(words.get("grow", 0)) - 1] == 1
    assert (exact.weight > 0).sum() < (made.weight > 0).sum() + moved


def test_a_single_pixel_in_the_corner_is_delivered() -> None:
    image, alpha = gradient(256, 256), np.zeros((256, 256), dtype=np.float32)
    alpha[0, 255] = 1
    made = composite(image, 255 - image, alpha)
    assert (made.weight[:3, 253:] == 1).all()
    assert not made.weight[5:, :].any()
    assert not made.weight[:, :251].any()


def test_a_reconstruction_of_another_size_is_brought_to_the_pictures() -> None:
    image = np.zeros((512, 512, 3), dtype=np.uint8)
    raw = np.full((256, 256, 3), 200, dtype=np.uint8)
    alpha = np.zeros((256, 256), dtype=np.float32)
    alpha[100:150, 60:90] = 1
    made = composite(image, raw, alpha)
    assert made.image.shape == (512, 512, 3)
    assert (made.image[200:300, 120:180] == 200).all()
    y, x = np.nonzero(made.weight)
    assert 186 <= y.min() <= 196
    assert 304 <= y.max() <= 314
    assert 106 <= x.min() <= 116
    assert 184 <= x.max() <= 194


def test_an_alpha_stays_in_0_to_1_when_it_is_resized() -> None:
    alpha = disc(256, 40)
    small, large = resize_alpha(alpha, 178, 178), resize_alpha(alpha, 600, 600)
    assert small.shape == (178, 178)
    for resized in (small, large):
        assert resized.dtype == np.float32
        assert 0 <= resized.min() <= resized.max() <= 1
        assert abs(float(resized.mean()) - float(alpha.mean())) < 1e-3


@pytest.mark.parametrize(
    ("remove", "expected"), [(Remove.COVERS, 0.85), (Remove.ACCESSORIES, 0.9), (Remove.ALL, 0.9)]
)
def test_the_wanted_alpha_is_that_of_the_classes_asked_for(remove: Remove, expected: float) -> None:
    alpha = np.stack([np.full((4, 4), value, dtype=np.float32) for value in (0.85, 0.9)])
    assert wanted_alpha(alpha, remove) == pytest.approx(expected)


def test_what_has_no_core_that_the_model_is_sure_of_is_no_occlusion() -> None:
    unsure = np.full((2, 100, 100), 0.79, dtype=np.float32)
    assert not wanted_alpha(unsure, Remove.ALL).any()
    cored = unsure.copy()
    cored[0, 10:15, 20:30] = 0.81  # 0.5% of the crop
    assert wanted_alpha(cored, Remove.ALL) == pytest.approx(cored.max(axis=0))
    assert not wanted_alpha(cored, Remove.ACCESSORIES).any()
    cored[0, 10, 20] = 0.79
    assert not wanted_alpha(cored, Remove.ALL).any()


def test_a_core_is_connected() -> None:
    alpha = np.zeros((2, 100, 100), dtype=np.float32)
    alpha[0, 10:15, 20:25] = alpha[0, 10:15, 30:35] = 1
    assert not wanted_alpha(alpha, Remove.COVERS).any()
    alpha[0, 12, 25:30] = 1
    assert wanted_alpha(alpha, Remove.COVERS).any()


def test_a_lower_threshold_lowers_what_a_core_is() -> None:
    alpha = np.full((2, 20, 20), 0.7, dtype=np.float32)
    assert not wanted_alpha(alpha, Remove.ALL).any()
    assert wanted_alpha(alpha, Remove.ALL, threshold=0.2).any()

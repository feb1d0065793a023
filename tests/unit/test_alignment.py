import numpy as np
import pytest

from facemend.alignment import (
    CROP_SIZE_PX,
    FRAME_LANDMARKS_PX,
    canonical_landmarks,
    crop_face,
    crop_from_aligned,
    frame_to_crop,
    paste_into_aligned,
    shown_height,
    similarity,
)
from facemend.errors import PictureError
from facemend.images import Image, resize
from tests.tiny_celeba import gradient


def test_a_celeba_frame_is_cropped_to_rows_20_to_197() -> None:
    frame = gradient(178, 218)
    np.testing.assert_array_equal(crop_from_aligned(frame, 178), frame[20:198])
    np.testing.assert_array_equal(crop_from_aligned(frame), resize(frame[20:198], 256, 256))


@pytest.mark.parametrize("side_px", [64, 256, 300])
def test_a_square_is_taken_whole(side_px: int) -> None:
    square = gradient(side_px, side_px)
    np.testing.assert_array_equal(crop_from_aligned(square, side_px), square)


@pytest.mark.parametrize(("width_px", "height_px"), [(218, 178), (177, 218), (256, 255)])
def test_another_shape_is_refused_by_name(width_px: int, height_px: int) -> None:
    with pytest.raises(PictureError, match=rf"^a\.png is {width_px}×{height_px}; a ready crop is square"):
        crop_from_aligned(gradient(width_px, height_px), name="a.png")


def test_pasting_back_changes_the_square_alone() -> None:
    frame, square = gradient(178, 218), gradient(178, 178, seed=3)
    pasted = paste_into_aligned(frame, square)
    np.testing.assert_array_equal(pasted[20:198], square)
    np.testing.assert_array_equal(pasted[:20], frame[:20])
    np.testing.assert_array_equal(pasted[198:], frame[198:])
    np.testing.assert_array_equal(frame, gradient(178, 218))


def test_points_follow_the_pixels_of_the_crop() -> None:
    # The corners of the square's outer pixels map onto the corners of the crop's.
    corners = np.array([(-0.5, 19.5), (177.5, 197.5)])
    np.testing.assert_allclose(frame_to_crop(corners, 256), [(-0.5, -0.5), (255.5, 255.5)], atol=1e-9)


def test_the_canonical_landmarks_are_celebas() -> None:
    np.testing.assert_allclose(canonical_landmarks(178), FRAME_LANDMARKS_PX - (0, 20))


def test_a_similarity_is_found_again() -> None:
    angle, scale, shift = 0.4, 2.5, np.array([30.0, -7.0])
    turn = scale * np.array([(np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))])
    target = FRAME_LANDMARKS_PX @ turn.T + shift
    np.testing.assert_allclose(similarity(FRAME_LANDMARKS_PX, target), np.column_stack([turn, shift]))


def test_a_mirrored_face_is_not_mirrored_back() -> None:
    matrix = similarity(FRAME_LANDMARKS_PX, FRAME_LANDMARKS_PX * (-1, 1))
    assert np.linalg.det(matrix[:, :2]) >= 0


def test_points_that_fall_together_give_a_finite_transform() -> None:
    assert np.isfinite(similarity(np.full((5, 2), 3.0), FRAME_LANDMARKS_PX)).all()


def test_a_face_that_lies_canonically_is_cropped_unchanged() -> None:
    photo = gradient(CROP_SIZE_PX, CROP_SIZE_PX)
    crop = crop_face(photo, canonical_landmarks())
    np.testing.assert_allclose(crop.crop_to_photo, [(1, 0, 0), (0, 1, 0)], atol=1e-9)
    np.testing.assert_array_equal(crop.image, photo)


def _ramp(width_px: int, height_px: int) -> Image:
    """Red is x, green is y."""
    y, x = np.mgrid[0:height_px, 0:width_px]
    return np.stack([x, y, x * 0], axis=2).astype(np.uint8)


@pytest.mark.parametrize(("scale", "angle"), [(0.6, 0.0), (0.3, 0.5), (0.9, -1.2)])
def test_the_transform_says_where_each_pixel_came_from(scale: float, angle: float) -> None:
    # A ramp tells its own coordinates, so the picture can be compared with the transform.
    turn = scale * np.array([(np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))])
    landmarks = (canonical_landmarks() - 128) @ turn.T + 125
    crop = crop_face(_ramp(250, 250), landmarks)
    for x, y in [(100, 100), (128, 128), (150, 170)]:
        expected = crop.crop_to_photo @ (x, y, 1)
        np.testing.assert_allclose(crop.image[y, x, :2], expected, atol=0.51)


def test_a_large_face_is_shrunk_without_shifting_it() -> None:
    # The photo is reduced first, then sampled: both halves have to agree about pixel centres.
    side = 1600
    y, x = np.mgrid[0:side, 0:side] / (side / 255)
    photo = np.rint(np.stack([x, y, x * 0], axis=2)).astype(np.uint8)
    crop = crop_face(photo, (canonical_landmarks() + 0.5) * (side / 256) - 0.5)
    at = np.arange(20, 236)
    expected = ((at + 0.5) * (side / 256) - 0.5) / (side / 255)
    off = crop.image[128, 20:236, 0] - expected
    assert np.abs(off).max() < 1.5  # rounded three times: in the photo, its reduction and the crop
    assert abs(off.mean()) < 0.15


def test_beyond_the_photo_its_border_is_repeated() -> None:
    photo = gradient(100, 120)
    crop = crop_face(photo, canonical_landmarks())
    np.testing.assert_array_equal(crop.image[:120, :100], photo)
    np.testing.assert_array_equal(crop.image[:120, 100:], photo[:, -1:].repeat(156, axis=1))
    np.testing.assert_array_equal(crop.image[150, :100], photo[-1])


def test_the_tall_crop_begins_with_the_square_and_ends_with_the_frame() -> None:
    frame = gradient(178, 218)
    tall, square = crop_from_aligned(frame, tall=True), crop_from_aligned(frame)
    assert tall.shape == (320, 256, 3)
    # The square's last rows see their neighbours below, that is the whole difference.
    assert np.array_equal(tall[:250], square[:250])
    assert np.abs(tall[250:256].astype(int) - square[250:]).max() <= 6
    last = shown_height(256)
    assert last == 285
    assert (tall[last + 4 :] == tall[-1]).all()


def test_a_square_has_a_tall_crop_that_repeats_its_last_row() -> None:
    square = gradient(256, 256)
    tall = crop_from_aligned(square, tall=True)
    assert np.array_equal(tall[:256], square)
    assert (tall[256:] == square[-1]).all()


def test_a_photo_of_the_frame_gives_the_frame_s_tall_crop() -> None:
    frame = gradient(178, 218)
    from_photo = crop_face(frame, FRAME_LANDMARKS_PX, tall=True).image
    difference = np.abs(from_photo.astype(int) - crop_from_aligned(frame, tall=True))
    assert from_photo.shape == (320, 256, 3)
    assert difference[4:-40, 4:-4].max() <= 4

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from facemend.alignment import (
    FRAME_LANDMARKS_PX,
    canonical_landmarks,
    crop_face,
    crop_from_aligned,
    frame_to_crop,
    paste_into_aligned,
    similarity,
)
from tests.tiny_celeba import gradient

_POINTS = hnp.arrays(np.float64, (5, 2), elements=st.floats(-5000, 5000, allow_subnormal=False))


@st.composite
def _similarities(draw: st.DrawFn) -> npt.NDArray[np.float64]:
    angle, scale = draw(st.floats(-3.1, 3.1)), draw(st.floats(0.05, 20))
    x, y = draw(st.floats(-3000, 3000)), draw(st.floats(-3000, 3000))
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([(cos, -sin, x), (sin, cos, y)])


def _apply(matrix: npt.NDArray[np.float64], points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    moved: npt.NDArray[np.float64] = points @ matrix[:, :2].T + matrix[:, 2]
    return moved


@given(_similarities())
def test_a_similarity_is_found_from_the_points_that_it_moved(matrix: npt.NDArray[np.float64]) -> None:
    moved = _apply(matrix, FRAME_LANDMARKS_PX)
    np.testing.assert_allclose(similarity(FRAME_LANDMARKS_PX, moved), matrix, rtol=1e-7, atol=1e-6)


@given(_similarities())
def test_the_way_back_undoes_the_way_there(matrix: npt.NDArray[np.float64]) -> None:
    moved = _apply(matrix, FRAME_LANDMARKS_PX)
    there, back = similarity(FRAME_LANDMARKS_PX, moved), similarity(moved, FRAME_LANDMARKS_PX)
    points = np.array([(0.0, 0.0), (300.0, -40.0), (17.0, 250.0)])
    np.testing.assert_allclose(_apply(back, _apply(there, points)), points, atol=1e-5)


@given(_POINTS)
def test_the_transform_of_any_points_is_finite_and_never_mirrors(
    points: npt.NDArray[np.float64],
) -> None:
    matrix = similarity(FRAME_LANDMARKS_PX, points)
    assert np.isfinite(matrix).all()
    np.testing.assert_allclose(
        matrix[:, 0], matrix[::-1, 1] * (1, -1), atol=1e-9
    )  # a turn and a scale, nothing else
    np.testing.assert_allclose(
        _apply(matrix, FRAME_LANDMARKS_PX).mean(axis=0), points.mean(axis=0), atol=1e-6
    )


@given(st.integers(16, 1024), _POINTS)
def test_points_scale_with_the_crop(size_px: int, points: npt.NDArray[np.float64]) -> None:
    # Measured from the crop's corner, half a pixel before the first centre.
    here, there = frame_to_crop(points, size_px) + 0.5, frame_to_crop(points, 2 * size_px) + 0.5
    np.testing.assert_allclose(2 * here, there, atol=1e-6)


@settings(max_examples=20)
@given(st.integers(1, 400), st.integers(0, 100))
def test_cropping_at_the_pictures_own_width_and_pasting_back_changes_nothing(side: int, seed: int) -> None:
    for picture in (gradient(side, side, seed), gradient(178, 218, seed)):
        crop = crop_from_aligned(picture, picture.shape[1])
        np.testing.assert_array_equal(paste_into_aligned(picture, crop), picture)


@settings(max_examples=30)
@given(_similarities(), st.integers(16, 300))
def test_a_crops_transform_leads_its_landmarks_to_the_photos(
    matrix: npt.NDArray[np.float64], size_px: int
) -> None:
    in_photo = _apply(matrix, FRAME_LANDMARKS_PX)
    crop = crop_face(gradient(90, 60), in_photo, size_px)
    assert crop.image.shape == (size_px, size_px, 3)
    assert crop.image.dtype == np.uint8
    np.testing.assert_allclose(
        _apply(crop.crop_to_photo, canonical_landmarks(size_px)), in_photo, atol=1e-5
    )

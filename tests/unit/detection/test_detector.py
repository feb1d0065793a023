import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from facemend.alignment import Points
from facemend.detection import Detector, Face, find_faces
from facemend.errors import ModelError, UsageError
from facemend.images import Image, resize
from facemend.occlusion import occlude
from facemend.reconstruction.demo import read_portraits
from tests.tiny_celeba import gradient

PORTRAITS = {portrait.name: portrait for portrait in read_portraits()}
NAMES = sorted(PORTRAITS)


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector(threads=1)


def placed(
    name: str, width_px: int, height_px: int, eyes_px: float, angle_deg: float, at: tuple[float, float]
) -> tuple[Image, Points]:
    """A portrait turned about the middle of its landmarks, its eyes so far apart, on gray; landmarks."""
    portrait = PORTRAITS[name]
    angle, middle = math.radians(angle_deg), portrait.landmarks_px.mean(axis=0)
    scale = eyes_px / float(np.hypot(*(portrait.landmarks_px[1] - portrait.landmarks_px[0])))
    turn = scale * np.array([(math.cos(angle), -math.sin(angle)), (math.sin(angle), math.cos(angle))])
    back = np.linalg.inv(turn)
    shrink = max(1, int(1 / scale))
    coefficients = np.column_stack([back, middle + 0.5 - back @ (np.array(at) + 0.5)]) / shrink
    picture = PillowImage.fromarray(portrait.photo).reduce(shrink)
    image = picture.transform(
        (width_px, height_px),
        PillowImage.Transform.AFFINE,
        coefficients.ravel().tolist(),
        PillowImage.Resampling.BICUBIC,
        fillcolor=(128, 128, 128),
    )
    return np.asarray(image, dtype=np.uint8), (portrait.landmarks_px - middle) @ turn.T + at


def error(face: Face, landmarks_px: Points) -> float:
    """Mean distance of the landmarks, in distances between the eyes."""
    apart = np.hypot(*(landmarks_px[1] - landmarks_px[0]))
    return float(np.hypot(*(face.landmarks_px - landmarks_px).T).mean() / apart)


@pytest.mark.parametrize("name", NAMES)
def test_a_portrait_has_one_face_with_its_landmarks_in_order(name: str) -> None:
    portrait = PORTRAITS[name]
    (face,) = find_faces(portrait.photo)
    assert error(face, portrait.landmarks_px) < 0.12
    assert face.confidence > 0.95
    x1, y1, x2, y2 = face.box_px
    assert (face.landmarks_px > (x1, y1)).all()
    assert (face.landmarks_px < (x2, y2)).all()


@pytest.mark.parametrize("name", NAMES)
def test_left_and_right_are_the_viewers_in_a_mirror_too(name: str, detector: Detector) -> None:
    photo = PORTRAITS[name].photo
    (face,) = detector(photo[:, ::-1].copy())
    mirrored = PORTRAITS[name].landmarks_px[[1, 0, 2, 4, 3]] * (-1, 1) + (photo.shape[1] - 1, 0)
    assert error(face, mirrored) < 0.12


@pytest.mark.parametrize("angle_deg", [-40, -20, 20, 40])
@pytest.mark.parametrize("name", NAMES)
def test_a_tilted_face_is_found(name: str, angle_deg: float, detector: Detector) -> None:
    image, landmarks_px = placed(name, 400, 400, 60, angle_deg, (200, 200))
    face = max(detector(image), key=lambda each: each.confidence)
    assert error(face, landmarks_px) < 0.12
    assert face.confidence > 0.9


@pytest.mark.parametrize("side_px", [64, 128, 300, 700, 1500])
@pytest.mark.parametrize("name", NAMES)
def test_a_face_is_found_in_a_picture_of_any_size(name: str, side_px: int, detector: Detector) -> None:
    image, landmarks_px = placed(name, side_px, side_px, 0.25 * side_px, 0, (side_px / 2, side_px / 2))
    (face,) = detector(image)
    assert error(face, landmarks_px) < 0.12


def test_a_small_face_is_found_in_a_large_photo(detector: Detector) -> None:
    image, landmarks_px = placed(NAMES[0], 1200, 900, 16, 0, (900, 300))
    (face,) = detector(image)
    assert error(face, landmarks_px) < 0.12


def test_coordinates_are_those_of_the_photo_and_not_of_the_copy(detector: Detector) -> None:
    image, landmarks_px = placed(NAMES[1], 3000, 1100, 300, 0, (2400, 500))
    (face,) = detector(image)
    assert error(face, landmarks_px) < 0.12


@pytest.mark.parametrize("name", NAMES)
def test_a_face_of_32_px_is_found(name: str, detector: Detector) -> None:
    image, landmarks_px = placed(name, 400, 300, 14, 0, (250, 120))
    (face,) = detector(image)
    x1, _, x2, _ = face.box_px
    assert 24 < x2 - x1 < 40
    assert error(face, landmarks_px) < 0.15


@pytest.mark.parametrize("name", NAMES)
def test_a_face_that_fills_the_photo_is_found(name: str, detector: Detector) -> None:
    image, landmarks_px = placed(name, 1000, 1200, 430, 0, (500, 640))
    (face,) = detector(image)
    x1, y1, x2, y2 = face.box_px
    assert (x2 - x1) * (y2 - y1) > 0.6 * 1000 * 1200
    assert error(face, landmarks_px) < 0.12


@pytest.mark.parametrize("apart_px", [90, 120])
def test_overlapping_faces_come_once_each(apart_px: int, detector: Detector) -> None:
    behind, behind_px = placed(NAMES[0], 500, 400, 50, 0, (200, 200))
    front, front_px = placed(NAMES[1], 500, 400, 50, 0, (200 + apart_px, 200))
    low, high = front_px.min(axis=0) - (35, 80), front_px.max(axis=0) + (35, 40)
    (x1, y1), (x2, y2) = low.astype(int), high.astype(int)
    both = behind.copy()
    both[y1:y2, x1:x2] = front[y1:y2, x1:x2]
    left, right = sorted(detector(both), key=lambda face: face.box_px[0])
    assert error(right, front_px) < 0.12
    apart = np.hypot(*(behind_px[1] - behind_px[0]))
    assert np.hypot(*(left.landmarks_px[0] - behind_px[0])) / apart < 0.2


@pytest.mark.parametrize("at", [(40, 150), (260, 150), (150, 40), (150, 262)])
def test_a_face_at_the_border_is_found(at: tuple[float, float], detector: Detector) -> None:
    image, landmarks_px = placed(NAMES[1], 300, 300, 50, 0, at)
    (face,) = detector(image)
    assert error(face, landmarks_px) < 0.12


def test_two_faces_in_one_picture_come_once_each_and_the_larger_one_first(detector: Detector) -> None:
    small, small_px = placed(NAMES[0], 300, 400, 35, -10, (150, 200))
    large, large_px = placed(NAMES[1], 300, 400, 70, 15, (150, 200))
    first, second = detector(np.concatenate([small, large], axis=1))
    assert error(first, large_px + (300, 0)) < 0.12
    assert error(second, small_px) < 0.12


@pytest.mark.parametrize("kind", ["textured_mask", "sunglasses"])
@pytest.mark.parametrize("name", NAMES)
def test_a_half_covered_face_is_found_by_its_eyes(name: str, kind: str, detector: Detector) -> None:
    portrait = PORTRAITS[name]
    (face,) = detector(occlude(portrait.photo, portrait.landmarks_px, kind, 1).image)
    apart = np.hypot(*(portrait.landmarks_px[1] - portrait.landmarks_px[0]))
    eyes = np.hypot(*(face.landmarks_px - portrait.landmarks_px)[:2].T) / apart
    assert eyes.mean() < 0.2


def test_there_is_no_face_where_none_is(detector: Detector) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    assert detector(noise) == ()
    assert detector(resize(noise[:12, :16], 320, 240)) == ()
    assert detector(np.full((200, 300, 3), 127, dtype=np.uint8)) == ()
    assert detector(gradient(320, 240)) == ()


@pytest.mark.parametrize(
    "shape", [(0, 0, 3), (1, 1, 3), (5, 400, 3), (11, 11, 3), (12, 12, 3), (3000, 2, 3)]
)
def test_a_picture_too_small_for_a_face_has_none(shape: tuple[int, ...], detector: Detector) -> None:
    assert detector(np.zeros(shape, dtype=np.uint8)) == ()


def test_a_face_must_be_as_sure_and_as_large_as_is_asked_for(detector: Detector) -> None:
    image, _ = placed(NAMES[1], 200, 200, 15, 0, (100, 100))
    assert len(detector(image)) == 1
    assert detector(image, min_confidence=1) == ()
    assert detector(image, min_size_px=120) == ()


def test_the_same_photo_gives_the_same_faces_in_any_thread(detector: Detector) -> None:
    image, _ = placed(NAMES[0], 200, 200, 40, 5, (100, 100))
    (expected,) = detector(image)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(detector, [image] * 8))
    for (face,) in found:
        assert face.box_px == expected.box_px
        assert face.confidence == expected.confidence
        assert np.array_equal(face.landmarks_px, expected.landmarks_px)


def test_the_photo_is_not_written_to(detector: Detector) -> None:
    image, _ = placed(NAMES[0], 200, 200, 40, 5, (100, 100))
    image.flags.writeable = False
    assert len(detector(image)) == 1


def test_other_shapes_and_types_are_refused(detector: Detector) -> None:
    with pytest.raises(ValueError, match=r"not uint8 \(H, W, 3\)"):
        detector(np.zeros((20, 20), dtype=np.uint8))
    with pytest.raises(ValueError, match="float64"):
        detector(np.zeros((20, 20, 3)))  # type: ignore[arg-type]


def test_what_makes_no_sense_is_used_wrongly(detector: Detector) -> None:
    image = np.zeros((20, 20, 3), dtype=np.uint8)
    with pytest.raises(UsageError, match="confidence of 90"):
        detector(image, min_confidence=90)
    with pytest.raises(UsageError, match="faces of 0 px"):
        detector(image, min_size_px=0)
    with pytest.raises(UsageError, match="0 threads"):
        Detector(threads=0)


FILES = ["detector", "detector_onet"]


def weights_folder(tmp_path: Path, **changed: bytes | None) -> Path:
    """A copy of the detector's files; changed ones have other bytes, or None for no file."""
    shipped = Path(__file__).parents[3] / "src/facemend/weights"
    for name in FILES:
        data = changed.get(name, (shipped / f"{name}.onnx").read_bytes())
        if data is not None:
            (tmp_path / f"{name}.onnx").write_bytes(data)
    return tmp_path


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named_in_one_line(name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=rf"{name}\.onnx does not exist; check the path") as caught:
        Detector(weights_folder(tmp_path, **{name: None}))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("data", [b"", b"no network", b"\x08\x08" * 500])
def test_a_damaged_file_is_named_in_one_line(data: bytes, name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=rf"{name}\.onnx") as caught:
        Detector(weights_folder(tmp_path, **{name: data}))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", FILES)
def test_another_network_is_refused(name: str, tmp_path: Path, stand_in_model: Path) -> None:
    with pytest.raises(ModelError, match="is not this network of the face detector"):
        Detector(weights_folder(tmp_path, **{name: stand_in_model.read_bytes()}))


def test_a_face_turned_either_way_has_the_same_box(detector: Detector) -> None:
    image, _ = placed(NAMES[0], 320, 320, 50, 0, (160, 160))
    (plain,), (mirror,) = detector(image), detector(image[:, ::-1].copy())
    x1, y1, x2, y2 = mirror.box_px
    assert np.allclose(plain.box_px, (319 - x2, y1, 319 - x1, y2), atol=8)

import numpy as np
import pytest

from facemend.alignment import canonical_landmarks
from facemend.detection import Face
from facemend.images import Mask
from facemend.occlusion import occlude
from facemend.reconstruction.demo import Portrait, read_portraits
from facemend.reconstruction.options import Options
from facemend.reconstruction.pipeline import Passes, landmarks_under, whole_cover
from facemend.reconstruction.reconstructor import Reconstructor


def _box(x1: int, y1: int, x2: int, y2: int) -> Mask:
    mask = np.zeros((256, 256), dtype=np.bool_)
    mask[max(0, y1) : y2, max(0, x1) : x2] = True
    return mask


def _disc(x: float, y: float, radius: float) -> Mask:
    rows, columns = np.indices((256, 256))
    return np.asarray(np.hypot(columns - x, rows - y) < radius)


FULL = _box(62, 104, 192, 235)
MASK = _box(66, 150, 187, 242)
BALACLAVA = _box(50, 30, 206, 256) & ~_box(70, 115, 186, 145)


def test_what_hides_a_face_from_brows_to_chin_is_a_whole_cover() -> None:
    for cover in (FULL, _disc(127, 169, 70), _box(60, 140, 200, 256), _box(30, 60, 160, 200)):
        region = whole_cover(cover)
        assert region is not None
        np.testing.assert_array_equal(region, cover)


@pytest.mark.parametrize("cover", [MASK, BALACLAVA, _box(0, 0, 256, 256), FULL & False])
def test_a_mask_a_balaclava_and_nothing_are_none(cover: Mask) -> None:
    assert whole_cover(cover) is None


def test_a_spot_beside_it_is_no_part_of_a_cover_and_two_halves_are_none() -> None:
    spot = _disc(20, 20, 9)
    region = whole_cover(FULL | spot)
    assert region is not None
    np.testing.assert_array_equal(region, FULL)
    assert whole_cover(_box(0, 0, 128, 100) | _box(128, 156, 256, 256)) is None


@pytest.mark.parametrize("degrees", [0, -30])
@pytest.mark.parametrize("size", [0.5, 1, 3])
def test_a_face_lies_in_the_middle_of_its_cover(size: float, degrees: float) -> None:
    angle = np.deg2rad(degrees)
    turn = size * np.array([(np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))])
    to_photo = np.column_stack([turn, (400, 300)])
    found = landmarks_under(np.roll(FULL, (-15, 21), axis=(0, 1)), to_photo)
    expected = (canonical_landmarks() + (21, -15)) @ turn.T + (400, 300)
    assert np.abs(found - expected).max() < 1.5 * size


def test_a_face_is_as_large_as_its_cover_but_not_much_larger_than_it_seemed() -> None:
    upright = np.eye(2, 3)
    for side, scale in ((104, 104 / 129.5), (150, 150 / 129.5), (250, 1.3)):
        found = landmarks_under(_box(0, 0, side, side), upright)
        expected = canonical_landmarks()
        assert np.ptp(found[:, 0]) == pytest.approx(scale * np.ptp(expected[:, 0]), rel=0.01)


def test_a_cover_that_is_cut_off_is_seen_better_each_time() -> None:
    """The crop lies 60 px too high; every look at the cover's middle brings it nearer."""
    away, wrong = np.array([0.0, -60.0]), [60.0]
    for _ in range(3):
        shift = -away.round().astype(int)
        seen = _box(62 + shift[0], 104 + shift[1], 192 + shift[0], 235 + shift[1])
        found = landmarks_under(seen, np.column_stack([np.eye(2), away]))
        away = (found - canonical_landmarks()).mean(axis=0)
        wrong.append(float(np.hypot(*away)))
    assert wrong[1] < 30
    assert max(wrong[2:]) < 1


@pytest.fixture(scope="module")
def reconstructor() -> Reconstructor:
    return Reconstructor(threads=1)


@pytest.mark.parametrize("kind", ["mask_full", "patch_full", "blur_full"])
@pytest.mark.parametrize("portrait", read_portraits(), ids=lambda portrait: portrait.name)
def test_a_face_that_is_hidden_whole_is_found_by_its_cover(
    portrait: Portrait, kind: str, reconstructor: Reconstructor
) -> None:
    hidden = occlude(portrait.photo, portrait.landmarks_px, kind, 2)
    result = reconstructor(hidden.image)
    (face,) = (face for face in result.faces if face.changed)
    apart = np.hypot(*(portrait.landmarks_px[1] - portrait.landmarks_px[0]))
    away = np.hypot(*(face.face.landmarks_px - portrait.landmarks_px).T) / apart
    assert away.mean() < 0.3
    reconstructed = result.removed > 0.5
    assert reconstructed[hidden.occlusion.mask].mean() > 0.95
    assert (reconstructed & ~hidden.occlusion.mask).sum() < 0.3 * hidden.occlusion.mask.sum()


@pytest.mark.parametrize(
    ("up_px", "cover", "relocated"),
    [(0, _box(60, 140, 200, 256), True), (90, _box(60, 140, 200, 256), False), (90, FULL, True)],
)
def test_a_cut_off_face_is_relocated_only_if_both_eyes_are_hidden(
    up_px: int, cover: Mask, relocated: bool, reconstructor: Reconstructor, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = np.full((320, 320, 3), 127, dtype=np.uint8)
    landmarks = canonical_landmarks() + (20, 20 - up_px)
    passes = Passes(reconstructor.model, Options(), "a photo")
    seen = passes.run(photo, Face((60, 50 - up_px, 240, 270 - up_px), landmarks, 0.6))
    assert seen is not None
    closer = seen._replace(found=np.ones_like(seen.found))
    monkeypatch.setattr(Passes, "run", lambda *_: closer)
    found = seen._replace(found=cover.astype(np.float32))
    assert (passes._centred(photo, found) is closer) == relocated


def test_without_a_cover_there_is_no_hidden_face(reconstructor: Reconstructor) -> None:
    for portrait in read_portraits():
        x, y = portrait.landmarks_px.mean(axis=0)
        gone = portrait.photo.copy()
        radius = int(3 * np.hypot(*(portrait.landmarks_px[1] - portrait.landmarks_px[0])))
        gone[max(0, int(y) - radius) : int(y) + radius, max(0, int(x) - radius) : int(x) + radius] = 127
        for picture in (portrait.photo, gone):
            result = reconstructor(picture, remove="all")
            assert not result.changed
            assert all(face.face.confidence >= 0.46 for face in result.faces)

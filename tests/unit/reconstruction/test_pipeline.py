from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facemend.alignment import Points, canonical_landmarks, view_of
from facemend.detection import Face
from facemend.errors import NoFaceFound, UsageError
from facemend.images import Image
from facemend.occlusion import OcclusionClass
from facemend.reconstruction.demo import read_portraits
from facemend.reconstruction.find import find_in_photo
from facemend.reconstruction.model import Model
from facemend.reconstruction.options import Length, Options, Remove, options_of
from facemend.reconstruction.pipeline import reconstruct_faces
from facemend.reconstruction.reconstructor import Reconstructor
from tests.stand_in import COVER, write_model
from tests.tiny_celeba import gradient


def _face(side_px: float, x: float, y: float, degrees: float = 0) -> Face:
    """A face whose crop is a square of a side, turned, with its middle at (x, y)."""
    angle, scale = np.deg2rad(degrees), side_px / 256
    turn = scale * np.array([(np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))])
    landmarks: Points = (canonical_landmarks() - 127.5) @ turn.T + (x, y)
    return Face((x - side_px / 4, y - side_px / 4, x + side_px / 4, y + side_px / 4), landmarks, 0.9)


def _covered(photo: Image, face: Face) -> Image:
    """A photo with a disc in the colour that the stand-in takes for a cover, over nose and mouth."""
    x, y = face.landmarks_px[2:].mean(axis=0)
    radius = np.hypot(*(face.landmarks_px[1] - face.landmarks_px[0])) / 2
    rows, columns = np.indices(photo.shape[:2])
    result = photo.copy()
    result[np.hypot(columns - x, rows - y) < radius] = COVER
    return result


@pytest.fixture
def model(stand_in_model: Path) -> Model:
    return Model(stand_in_model)


@pytest.mark.parametrize("degrees", [0, 25, -160])
@pytest.mark.parametrize("side_px", [60, 256, 333, 900])
def test_a_crop_is_put_back_where_it_was_cut_out(side_px: float, degrees: float) -> None:
    photo = gradient(1000, 800)
    view = view_of(photo, _face(side_px, 480.3, 420.7, degrees).landmarks_px, 256)
    assert view is not None
    assert view.scale == pytest.approx(side_px / 256)
    inside = view.put(np.ones((256, 256), dtype=np.float32)) > 0.999
    assert inside.sum() > 0.8 * min(side_px, 800) ** 2
    error = view.put(view.crop.image)[inside].astype(int) - photo[view.box][inside]
    assert np.abs(error).max() <= 4
    assert abs(error.mean()) < 0.1


@pytest.mark.parametrize("side_px", [70, 256, 600])
def test_no_pixel_outside_the_occlusion_changes(model: Model, side_px: float) -> None:
    face = _face(side_px, 300, 330, 12)
    photo = _covered(gradient(640, 600), face)
    mended, (done,) = reconstruct_faces(photo, [face], model, Options())
    changed = (mended != photo).any(axis=2)
    weight = np.zeros(photo.shape[:2], dtype=np.float32)
    weight[done.box] = done.weight
    assert not changed[weight == 0].any()
    hidden = (photo == COVER).all(axis=2)
    assert changed[hidden].all()
    assert 1 < (weight > 0).sum() / hidden.sum() < 1 + 40 * max(side_px, 256) / 256 / np.sqrt(hidden.sum())
    assert done.occlusion[OcclusionClass.COVERS].shape == done.weight.shape
    assert done.interval is not None
    assert ((done.interval > 0) == (done.weight > 0)).mean() > 0.99
    assert np.median(done.interval[hidden[done.box]]) == pytest.approx(127.5, abs=0.1)


def test_a_face_without_an_occlusion_keeps_its_bytes(model: Model) -> None:
    photo = gradient(500, 400)
    mended, (done,) = reconstruct_faces(photo, [_face(300, 250, 200)], model, Options())
    np.testing.assert_array_equal(mended, photo)
    assert not done.weight.any()


def test_what_may_be_a_hidden_face_is_reported_only_if_it_is_covered_and_comes_last(model: Model) -> None:
    doubtful, sure = replace(_face(256, 200, 200), confidence=0.4), _face(256, 600, 200)
    plain = np.random.default_rng(0).integers(90, 160, (400, 800, 3), dtype=np.uint8)
    done = reconstruct_faces(plain, [doubtful, sure], model, Options())[1]
    assert [face.face.confidence for face in done] == [0.9]
    covered = _covered(plain, doubtful)
    done = reconstruct_faces(covered, [replace(doubtful, marked=True), sure], model, Options())[1]
    assert [face.coverage > 0 for face in done] == [False, True]


def _three() -> tuple[Image, list[Face]]:
    """A photo of three covered faces, the widest first, and of one that is doubtful and hides nothing."""
    faces = [_face(side, x, 200) for side, x in ((300, 200), (200, 500), (120, 750))]
    photo = np.random.default_rng(0).integers(90, 160, (400, 1000, 3), dtype=np.uint8)
    for face in faces:
        photo = _covered(photo, face)
    return photo, [*faces, replace(_face(90, 920, 200), confidence=0.3)]


@pytest.mark.parametrize(
    ("words", "chosen"),
    [
        ({}, [1, 2, 3]),
        ({"largest": 1}, [1]),
        ({"largest": 9}, [1, 2, 3]),
        ({"only": (3, 1)}, [1, 3]),
        ({"only": 2, "largest": 2}, [2]),
        ({"min_face": 100}, [1, 2]),
        ({"min_face": "10%"}, [1, 2]),
        ({"max_face": "14%"}, [2, 3]),
        ({"min_face": 90, "max_face": 110}, [2]),
    ],
)
def test_the_options_choose_faces_and_numbers_stay(
    model: Model, words: dict[str, Any], chosen: list[int]
) -> None:
    photo, faces = _three()
    options = options_of(None, words)
    after, done = reconstruct_faces(photo, faces, model, options)
    assert [one.number for one in done] == [1, 2, 3]
    assert [one.number for one in done if one.chosen and one.changed] == chosen
    found = find_in_photo(photo, faces, model, options, "it")
    assert [(one.number, one.chosen) for one in found] == [(one.number, one.chosen) for one in done]
    assert [one.number for one in found if one.found(OcclusionClass.COVERS)] == chosen
    everything = reconstruct_faces(photo, faces, model, Options())[0]
    for one in done:
        expected = everything if one.number in chosen else photo
        x1, y1, x2, y2 = map(int, one.face.box_px)
        assert np.array_equal(after[y1:y2, x1:x2], expected[y1:y2, x1:x2])


def test_the_largest_face_may_be_one_that_is_known_by_its_cover_alone(model: Model) -> None:
    photo, faces = _three()
    hidden = [faces[0], *(replace(face, confidence=0.97) for face in faces[1:3]), faces[3]]
    options = Options(largest=1, min_confidence=0.95)
    for work in (
        reconstruct_faces(photo, hidden, model, options)[1],
        find_in_photo(photo, hidden, model, options, "it"),
    ):
        assert [(one.number, one.chosen) for one in work] == [(1, False), (2, False), (3, True)]


def test_a_number_without_a_face_is_refused(model: Model) -> None:
    photo, faces = _three()
    for only in (4, 7):  # the doubtful one hides nothing, and does not count
        with pytest.raises(UsageError, match=f"the photo has no face {only}; facemend find shows"):
            reconstruct_faces(photo, faces, model, options_of(None, {"only": only}))


@pytest.mark.parametrize("grow", [-12, 12])
def test_a_found_occlusion_and_a_mask_grow_by_pixels_of_the_crop(model: Model, grow: int) -> None:
    face = _face(512, 400, 400)  # two pixels of the photo to one of the crop
    photo = gradient(800, 800)
    photo[420:540, 320:480] = COVER
    mask = (photo == COVER).all(axis=2)
    for words in ({}, {"mask": mask}):
        usual, moved = (
            reconstruct_faces(photo, [face], model, options_of(None, {**words, **more}))[0] != photo
            for more in ({}, {"grow": grow})
        )
        widths = [np.ptp(np.flatnonzero(each.any(axis=(0, 2)))) for each in (usual, moved)]
        assert widths[1] - widths[0] == pytest.approx(2 * 2 * grow, abs=2)
        assert (moved & ~usual if grow < 0 else usual & ~moved).sum() == 0


def test_what_is_kept_does_not_change_where_the_edge_grows_over_it(model: Model) -> None:
    face = _face(256, 300, 300)
    photo = _covered(gradient(600, 600), face)
    mask = (photo == COVER).all(axis=2)
    options = Options(mask=mask, keep=((0, 0, 300, 600),), grow=Length(10), feather=Length(10))
    after = reconstruct_faces(photo, [face], model, options)[0]
    assert np.array_equal(after[:, :300], photo[:, :300])
    assert (after[:, 300:] != photo[:, 300:]).any()


def test_it_says_in_words_how_sure_it_is(model: Model) -> None:
    face = _face(256, 300, 300)
    photo = _covered(gradient(600, 600), face)
    (done,) = reconstruct_faces(photo, [face], model, Options())[1]
    assert (
        done.doubt == f"about ±{done.interval_levels:.0f} levels: the nose is a guess, the mouth is a guess"
    )
    assert done.interval is not None
    calm = replace(done, interval=done.interval * 0 + 5)
    assert calm.doubt == "about ±5 levels: the nose is fairly certain, the mouth is fairly certain"
    beside = replace(face, landmarks_px=face.landmarks_px + (3000, 0))
    nowhere = "no eye, nose or mouth is reconstructed"
    assert replace(done, face=beside).doubt == f"about ±{done.interval_levels:.0f} levels: {nowhere}"
    (plain,) = reconstruct_faces(gradient(600, 600), [face], model, Options())[1]
    assert plain.doubt is None


def test_accessories_stay_unless_they_are_asked_for(model: Model) -> None:
    face = _face(256, 300, 300)
    photo = _covered(gradient(600, 600), face)
    mended, _ = reconstruct_faces(photo, [face], model, Options(remove=Remove.ACCESSORIES))
    np.testing.assert_array_equal(mended, photo)


def test_every_face_is_mended_and_one_outside_the_photo_is_passed_over(model: Model) -> None:
    faces = [_face(200, 150, 150), _face(120, 450, 200, -30), _face(100, -3000, 0)]
    photo = _covered(_covered(gradient(600, 400), faces[0]), faces[1])
    mended, done = reconstruct_faces(photo, faces, model, Options())
    assert len(done) == 2
    assert not (mended == COVER).all(axis=2).any()


def test_a_face_at_the_border_is_mended_as_far_as_it_is_seen(model: Model) -> None:
    face = _face(256, 20, 280)
    photo = _covered(gradient(300, 300), face)
    mended, (done,) = reconstruct_faces(photo, [face], model, Options())
    assert done.box[1].start == 0
    assert not (mended == COVER).all(axis=2).any()


@pytest.mark.parametrize(("end", "lowest"), [(460, 460), (500, 427)])
def test_where_nothing_was_drawn_nothing_is_dark(model: Model, end: int, lowest: int) -> None:
    """A hole that goes on below the crop ends where it ends, or at the crop's edge if that is too far."""
    face = _face(256, 300, 300)
    photo = np.full((600, 600, 3), 200, dtype=np.uint8)
    photo[330:end, 200:400] = COVER
    mended, (done,) = reconstruct_faces(photo, [face], model, Options())
    changed_rows = np.flatnonzero(done.weight.any(axis=1)) + done.box[0].start
    assert changed_rows.max() == pytest.approx(lowest, abs=4)
    # The stand-in's negatives: of the gray, and of the cover.
    changed = mended[(mended != photo).any(axis=2)].astype(int)
    near = np.abs(changed - (55, 55, 55)).max(axis=1), np.abs(changed - (255, 0, 255)).max(axis=1)
    assert (np.minimum(*near) < 150).all()


@pytest.mark.parametrize("degrees", [0, 40])
@pytest.mark.parametrize("side_px", [100, 256, 700])
def test_a_cover_that_goes_on_below_the_crop_is_gone(model: Model, side_px: float, degrees: float) -> None:
    face = _face(side_px, 500, 450, degrees)
    view = view_of(np.zeros((900, 1000, 3), dtype=np.uint8), face.landmarks_px, 256)
    assert view is not None
    # In the crop: from the mouth to 15 rows below its edge.
    rows, columns = np.indices((900, 1000))
    to_crop = np.linalg.inv(view.crop.crop_to_photo[:, :2])
    places = np.stack([columns, rows], axis=2) - view.crop.crop_to_photo[:, 2]
    x, y = np.moveaxis(places @ to_crop.T, 2, 0)
    cover = (abs(x - 127) < 50) & (y > 190) & (y < 270)
    photo = gradient(1000, 900)
    # More than one colour for each lightness.
    photo[..., 2] = (
        np.random.default_rng(0).integers(0, 256, (90, 100)).repeat(10, axis=0).repeat(10, axis=1)
    )
    photo[cover] = COVER
    mended, (done,) = reconstruct_faces(photo, [face], model, Options())
    weight = np.zeros(photo.shape[:2], dtype=np.float32)
    weight[done.box] = done.weight
    assert (weight[cover] == 1).mean() > 0.99
    rim = 6 * max(1, 256 / side_px)
    near = (abs(x - 127) < 50 + rim) & (y > 190 - rim) & (y < 270 + rim)
    assert not weight[~near].any()
    np.testing.assert_array_equal(mended[weight == 0], photo[weight == 0])
    # Drawn there, too: the stand-in draws negatives.
    below = cover & (y > 258) & (y < 266) & (abs(x - 127) < 44)
    assert np.abs(mended[below].astype(int) - (255, 0, 255)).max() < 40
    assert done.occlusion[OcclusionClass.COVERS].shape == done.weight.shape
    assert done.interval is not None
    assert (done.interval[below[done.box]] > 0).all()


def test_a_mask_is_mended_exactly_and_must_lie_on_a_face(model: Model) -> None:
    face = _face(256, 300, 300)
    photo = gradient(600, 600)
    mask = np.zeros((600, 600), dtype=np.bool_)
    mask[290:350, 260:340] = True
    mended, (done,) = reconstruct_faces(photo, [_face(90, 80, 80), face], model, Options(mask=mask))
    np.testing.assert_array_equal((mended != photo).any(axis=2) & ~mask, False)
    assert (mended != photo).any(axis=2)[mask].mean() > 0.95
    assert done.coverage == pytest.approx(mask.mean())
    mask[10, 590] = True
    with pytest.raises(UsageError, match="marks 1 pixels that belong to no face"):
        reconstruct_faces(photo, [face], model, Options(mask=mask))


@pytest.fixture(scope="module")
def reconstructor(stand_in_model: Path) -> Reconstructor:
    return Reconstructor(stand_in_model, threads=1)


def _covered_portrait() -> Image:
    """A portrait with a disc over nose and mouth, as `_covered` draws it."""
    portrait = read_portraits()[0]
    return _covered(portrait.photo, Face((0, 0, 1, 1), portrait.landmarks_px, 1))


def test_a_face_is_found_and_mended_in_a_photo(reconstructor: Reconstructor) -> None:
    photo = _covered_portrait()
    result = reconstructor(photo)
    assert len(result.faces) == 1
    assert result.changed
    hidden = (photo == COVER).all(axis=2)
    assert not (result.array == COVER).all(axis=2)[hidden].any()
    region = result.faces[0].region
    assert region is not None
    x1, y1, x2, y2 = region.box_px
    assert region.box == (x1, y1, x2 - x1, y2 - y1)
    outside = np.ones(photo.shape[:2], dtype=np.bool_)
    outside[y1:y2, x1:x2] = False
    np.testing.assert_array_equal(result.array[outside], photo[outside])
    assert result.provenance.regions == (region,)
    assert (result.removed[hidden] > 0.1).mean() > 0.95
    assert not result.removed[outside].any()


def test_a_photo_without_a_face_comes_back_and_takes_no_mask(
    reconstructor: Reconstructor,
) -> None:
    photo = gradient(300, 200)
    result = reconstructor(photo)
    np.testing.assert_array_equal(result.array, photo)
    assert result.faces == ()
    assert not result.changed
    with pytest.raises(NoFaceFound, match="the array has no face to reconstruct under the mask"):
        reconstructor(photo, mask=np.ones((200, 300), dtype=np.bool_))


def test_the_same_photo_gives_the_same_bytes(model: Model) -> None:
    face = _face(900, 500, 500)
    rng = np.random.default_rng(0)
    photo = _covered(rng.integers(90, 160, (1000, 1000, 3), dtype=np.uint8), face)
    one, two = (reconstruct_faces(photo, [face], model, Options())[0] for _ in range(2))
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("degrees", [0, 15])
def test_a_tall_model_reconstructs_what_lies_below_the_square_as_far_as_the_frame_goes(
    tmp_path: Path, degrees: float
) -> None:
    model = Model(write_model(tmp_path / "tall.onnx", tall=True))
    assert model.description.height_px == 320
    photo, face = gradient(600, 700), _face(256, 300, 250, degrees)
    photo = _covered(photo, face)
    view = view_of(photo, face.landmarks_px, 256, tall=True)
    assert view is not None
    below = np.zeros((320, 256), dtype=np.float32)
    below[150:, 110:140] = 1
    strip = view.put(below) > 0.5
    photo[view.box][strip] = COVER
    mended, (done,) = reconstruct_faces(photo, [replace(face, marked=True)], model, Options())
    inside, shown = done.weight > 0.99, np.zeros((320, 256), dtype=np.float32)
    shown[150:278, 110:140] = 1
    assert inside[view.put(shown) > 0.9].all()
    shown[:] = 0
    shown[288:] = 1
    assert not inside[view.put(shown) > 0.5].any()
    assert (mended == photo).all(axis=2)[view.box][done.weight == 0].all()

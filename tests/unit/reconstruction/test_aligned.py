import hashlib
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

import facemend
from facemend import images
from facemend.alignment import (
    FRAME_LANDMARKS_PX,
    Points,
    canonical_landmarks,
    crop_face,
    crop_from_aligned,
    similarity,
)
from facemend.errors import PictureError, UsageError
from facemend.io import read_mask, read_photo
from facemend.reconstruction.acceptance import wanted_alpha
from facemend.reconstruction.batch import Outcome, reconstruct_task
from facemend.reconstruction.blending import composite, resize_alpha
from facemend.reconstruction.demo import read_portraits
from facemend.reconstruction.options import Options, Remove
from facemend.reconstruction.outputs import plan_tasks
from facemend.reconstruction.pipeline import reconstruct_faces
from facemend.reconstruction.provenance import read_provenance
from facemend.reconstruction.reconstructor import Reconstructor
from tests.photo_files import LATITUDE, file_of, latitude
from tests.stand_in import ACCESSORY, COVER, write_model
from tests.tiny_celeba import gradient


@pytest.fixture(scope="module")
def reconstructor(stand_in_model: Path) -> Reconstructor:
    return Reconstructor(stand_in_model, threads=1)


def covered(width_px: int, height_px: int) -> images.Image:
    """A picture with a cover over the middle of its lower half."""
    image = gradient(width_px, height_px)
    image[cover_of(width_px, height_px)] = COVER
    return image


def cover_of(width_px: int, height_px: int) -> tuple[slice, slice]:
    return (
        slice(height_px // 2, height_px * 3 // 4),
        slice(width_px // 4, width_px * 3 // 4),
    )


class How(NamedTuple):
    """How a square is framed: its face is larger than CelebA's, turned, shifted by shares of its side."""

    larger: float = 1
    degrees: float = 0
    right: float = 0
    down: float = 0


AS_CELEBA = How()


def framed(name: str, how: How = AS_CELEBA, side_px: int = 256) -> images.Image:
    """A square around a portrait's face, framed as CelebA's or otherwise."""
    portrait = next(portrait for portrait in read_portraits() if portrait.name == name)
    to_photo = similarity(canonical_landmarks(side_px), portrait.landmarks_px)
    # The canonical point that is wanted where the canonical landmarks now are.
    moved = similarity(landmarks_of(how, side_px), canonical_landmarks(side_px))
    back = canonical_landmarks(side_px) @ moved[:, :2].T + moved[:, 2]
    return crop_face(portrait.photo, back @ to_photo[:, :2].T + to_photo[:, 2], side_px).image


def landmarks_of(how: How = AS_CELEBA, side_px: int = 256) -> Points:
    """Where the landmarks of a `framed` face lie, (5, 2)."""
    angle, middle = np.deg2rad(how.degrees), (side_px - 1) / 2
    turn = how.larger * np.array([(np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))])
    shift = np.array([how.right, how.down]) * side_px
    moved: Points = (canonical_landmarks(side_px) - middle) @ turn.T + middle + shift
    return moved


def masked(image: images.Image, landmarks_px: Points) -> tuple[images.Image, images.Mask]:
    """The same with a disc in the cover's colour over nose and mouth, and that disc."""
    x, y = landmarks_px[2:].mean(axis=0)
    radius = 0.7 * np.hypot(*(landmarks_px[1] - landmarks_px[0]))
    rows, columns = np.indices(image.shape[:2])
    disc: images.Mask = np.hypot(columns - x, rows - y) < radius
    result = image.copy()
    result[disc] = COVER
    return result, disc


OTHERWISE = {
    "tighter": How(larger=1.8, down=-0.12),
    "wider": How(larger=0.55),
    "turned": How(degrees=25),
    "shifted": How(right=0.12, down=0.05),
}
"""Squares that are framed otherwise than CelebA's crops, as `framed` makes them."""


@pytest.mark.parametrize("size", [(178, 218), (256, 256), (100, 100), (511, 511)])
def test_a_ready_crop_keeps_its_size_and_every_pixel_away_from_the_occlusion(
    reconstructor: Reconstructor, size: tuple[int, int]
) -> None:
    image = covered(*size)
    result = reconstructor(image, aligned=True)
    assert result.array.shape == image.shape
    margin = 10 * max(size) // 256 + 3
    near = np.zeros(image.shape[:2], dtype=np.bool_)
    rows, columns = cover_of(*size)
    near[rows.start - margin : rows.stop + margin, columns.start - margin : columns.stop + margin] = True
    assert np.array_equal(result.array[~near], image[~near])
    # The stand-in draws the negative: magenta where the cover was, and no green rim around it.
    inside = result.array[rows.start + 5 : rows.stop - 5, columns.start + 5 : columns.stop - 5]
    assert (inside == (255, 0, 255)).all()
    assert not (result.array == COVER).all(axis=2).any()


def test_the_occlusion_found_is_told_by_class_at_the_pictures_size(reconstructor: Reconstructor) -> None:
    image = covered(178, 218)
    image[30:50, 20:60] = ACCESSORY
    face = reconstructor(image, aligned=True).faces[0]
    covers, accessories = face.occlusion.values()
    assert [str(name) for name in face.occlusion] == ["covers", "accessories"]
    assert covers.shape == accessories.shape == (218, 178)
    assert covers[cover_of(178, 218)].mean() > 0.95
    assert accessories[32:48, 22:58].min() > 0.95
    assert covers[30:50].max() < 0.05
    assert not covers[:20].any()
    assert np.array_equal(face.removed, covers)
    assert face.interval is not None
    assert face.interval.shape == (218, 178)
    assert np.median(face.interval[cover_of(178, 218)]) == pytest.approx(127.5)  # green: one full channel
    assert not face.interval[face.weight == 0].any()


@pytest.mark.parametrize(
    ("remove", "changes_cover", "changes_accessory"),
    [("covers", True, False), ("accessories", False, True), ("all", True, True)],
)
def test_only_the_classes_asked_for_are_removed(
    reconstructor: Reconstructor, remove: str, changes_cover: bool, changes_accessory: bool
) -> None:
    image = framed("Grace Hopper")
    image[150:170, 80:180] = COVER
    image[20:60, 20:60] = ACCESSORY
    result = reconstructor(image, aligned=True, remove=remove).array
    assert (tuple(result[160, 128]) != COVER) == changes_cover
    assert (tuple(result[40, 40]) != ACCESSORY) == changes_accessory


def test_a_picture_without_occlusion_comes_back_unchanged_and_says_so(reconstructor: Reconstructor) -> None:
    image = gradient(178, 218)
    result = reconstructor(image, aligned=True)
    assert np.array_equal(result.array, image)
    assert not result.changed
    assert not result.faces[0].changed
    assert result.faces[0].coverage == 0
    assert result.provenance.regions == ()


def test_the_result_is_a_pillow_image_and_an_array_whatever_went_in(
    reconstructor: Reconstructor, tmp_path: Path
) -> None:
    image = covered(64, 64)
    expected = reconstructor(image, aligned=True).array
    path = tmp_path / "a.png"
    Image.fromarray(image).save(path)
    for source in (image, path, str(path), Image.fromarray(image), BytesIO(path.read_bytes())):
        result = reconstructor(source, aligned=True)
        assert isinstance(result.image, Image.Image)
        assert result.array.dtype == np.uint8
        assert result.array.shape == (64, 64, 3)
        assert np.array_equal(np.asarray(result.image), expected)
        assert np.array_equal(result.array, expected)
        assert np.array_equal(result.before, image)


def test_a_mask_is_taken_to_the_pixel(reconstructor: Reconstructor) -> None:
    image = gradient(178, 218)
    mask = np.zeros((218, 178), dtype=np.bool_)
    mask[60:90, 30:70] = True
    result = reconstructor(image, aligned=True, mask=mask)
    changed = (result.array != image).any(axis=2)
    assert np.array_equal(changed, mask)
    assert result.faces[0].coverage == pytest.approx(float(mask.mean()))
    assert set(result.provenance.options) == {"input", "mask_sha256"}


@pytest.mark.parametrize("by_mask", [False, True])
def test_the_edge_grows_in_pixels_of_the_crop(reconstructor: Reconstructor, *, by_mask: bool) -> None:
    image = framed("Grace Hopper")
    image[150:220, 70:190] = COVER
    words = {"mask": (image == COVER).all(axis=2)} if by_mask else {}
    heights = []
    for more in ({}, {"grow": 10}, {"grow": -10}, {"grow": "10%", "feather": 6}):
        changed = (reconstructor(image, aligned=True, **words, **more).array != image).any(axis=2)
        heights.append(int(np.ptp(np.flatnonzero(changed.any(axis=1)))))
    usual, grown, shrunk, soft = heights
    assert (grown - usual, shrunk - usual) == (20, -20)
    assert soft - usual == pytest.approx(2 * (13 + (6 if by_mask else 4)), abs=2)


def test_a_mask_overrules_what_the_model_finds(reconstructor: Reconstructor) -> None:
    image = covered(256, 256)
    mask = np.zeros((256, 256), dtype=np.bool_)
    mask[0, 0] = True
    result = reconstructor(image, aligned=True, mask=mask)
    assert np.array_equal(result.array[1:], image[1:])


def test_a_mask_that_does_not_fit_is_used_wrongly(reconstructor: Reconstructor) -> None:
    image = gradient(178, 218)
    with pytest.raises(UsageError, match="the mask is 178×178 pixels and the array is 178×218"):
        reconstructor(image, aligned=True, mask=np.zeros((178, 178), dtype=np.bool_))
    mask = np.zeros((218, 178), dtype=np.bool_)
    mask[19, 5] = True
    with pytest.raises(UsageError, match="keep to the rows from 20 to 197"):
        reconstructor(image, aligned=True, mask=mask)


def test_a_model_that_finds_nothing_delivers_all_that_it_draws(tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.onnx", takes_hint=False, finds_occlusion=False)
    image = gradient(178, 218)
    result = Reconstructor(path)(image, aligned=True)
    assert np.array_equal(result.array[:20], image[:20])
    assert (result.array[20:198] != image[20:198]).any(axis=2).all()
    assert result.faces[0].occlusion == {}


def test_the_face_of_a_ready_crop_is_where_celeba_puts_it(reconstructor: Reconstructor) -> None:
    face = reconstructor(gradient(178, 218), aligned=True).faces[0].face
    assert face.landmarks_px == pytest.approx(FRAME_LANDMARKS_PX)
    assert face.box_px == (0, 20, 178, 198)


def test_provenance_tells_what_was_done_to_which_file(reconstructor: Reconstructor, tmp_path: Path) -> None:
    path, out = tmp_path / "a.png", tmp_path / "out.png"
    Image.fromarray(covered(256, 256)).save(path)
    result = reconstructor(path, aligned=True)
    result.save(out)
    made = read_provenance(out)
    assert made == result.provenance
    assert made is not None
    assert made.input_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert made.model_sha256 == reconstructor.model.sha256
    assert made.options == {"input": "aligned", "remove": "covers"}
    (region,) = made.regions
    assert region.coverage == pytest.approx(result.faces[0].coverage)
    y, x = np.nonzero((np.asarray(result.array) != covered(256, 256)).any(axis=2))
    assert region.box == (int(x.min()), int(y.min()), int(np.ptp(x)) + 1, int(np.ptp(y)) + 1)


def test_a_photo_is_saved_with_its_place_unless_it_is_stripped(
    reconstructor: Reconstructor, tmp_path: Path
) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(file_of(Image.fromarray(covered(178, 218)), "JPEG"))
    result = reconstructor(path, aligned=True)
    for strip, place in ((False, LATITUDE), (True, None)):
        result.save(tmp_path / "out.jpg", strip=strip, force=True)
        assert latitude(read_photo(tmp_path / "out.jpg").metadata.exif) == place
        assert read_provenance(tmp_path / "out.jpg") == result.provenance


def test_transparency_and_gray_stay(reconstructor: Reconstructor, tmp_path: Path) -> None:
    picture = Image.fromarray(covered(64, 64))
    picture.putalpha(Image.linear_gradient("L").resize((64, 64)))
    picture.save(tmp_path / "rgba.png")
    picture.convert("LA").save(tmp_path / "la.png")
    for name, mode in (("rgba.png", "RGBA"), ("la.png", "LA")):
        mask = np.ones((64, 64), dtype=np.bool_)
        with Image.open(tmp_path / name) as opened:
            results = [
                reconstructor(source, aligned=True, mask=mask) for source in (tmp_path / name, opened)
            ]
        for result in results:
            result.save(tmp_path / "out.png", force=True)
            with Image.open(tmp_path / "out.png") as out:
                assert result.image.mode == out.mode == mode
                assert out.getchannel("A").tobytes() == picture.getchannel("A").tobytes()


def test_pictures_of_other_shapes_and_types_are_refused(reconstructor: Reconstructor) -> None:
    with pytest.raises(PictureError, match="is 200×100; a ready crop is square or 178×218"):
        reconstructor(gradient(200, 100), aligned=True)
    with pytest.raises(PictureError, match="pass uint8"):
        reconstructor(gradient(64, 64)[..., :2], aligned=True)
    with pytest.raises(PictureError, match="colour mode CMYK"):
        reconstructor(Image.new("CMYK", (64, 64)), aligned=True)
    with pytest.raises(PictureError, match=r"none\.png does not exist"):
        reconstructor("none.png", aligned=True)
    with pytest.raises(UsageError, match="unknown class 'hats'"):
        reconstructor(gradient(64, 64), aligned=True, remove="hats")


def test_facemend_reconstruct_uses_the_shipped_model(
    stand_in_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = "facemend.reconstruction.reconstructor"
    monkeypatch.setattr(f"{home}.shipped_model_path", lambda: stand_in_model)
    monkeypatch.setattr(f"{home}.shipped", lambda: Reconstructor(None, device="cpu"))
    image = covered(256, 256)
    result = facemend.reconstruct(image, aligned=True)
    assert isinstance(result, facemend.Reconstruction)
    assert isinstance(result.faces[0].face, facemend.Face)
    assert tuple(result.array[150, 128]) == (255, 0, 255)


def test_a_mask_file_is_white_where_to_reconstruct(tmp_path: Path) -> None:
    pixels = np.array([[0, 127], [128, 255]], dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "gray.png")
    assert read_mask(tmp_path / "gray.png").tolist() == [[False, False], [True, True]]
    Image.fromarray(pixels > 100).save(tmp_path / "binary.png")
    assert read_mask(tmp_path / "binary.png").tolist() == [[False, True], [True, True]]


@pytest.mark.parametrize("name", ["Eileen Collins", "Grace Hopper"])
@pytest.mark.parametrize("larger", [0.95, 1, 1.05])
def test_a_crop_framed_as_celebas_goes_to_the_model_as_it_is(
    reconstructor: Reconstructor, name: str, larger: float
) -> None:
    image, _ = masked(framed(name, How(larger), 178), landmarks_of(How(larger), 178))
    result = reconstructor(image, aligned=True)
    output = reconstructor.model(crop_from_aligned(image)[None])
    assert output.alpha is not None
    alpha = resize_alpha(wanted_alpha(output.alpha[0], Remove.COVERS), 178, 178)
    assert np.array_equal(result.array, composite(image, output.raw[0], alpha).image)
    assert result.faces[0].face.landmarks_px == pytest.approx(canonical_landmarks(178))


@pytest.mark.parametrize("name", ["Eileen Collins", "Grace Hopper"])
@pytest.mark.parametrize("how", OTHERWISE)
@pytest.mark.parametrize("side_px", [178, 600])
def test_a_crop_framed_otherwise_is_realigned_by_its_eyes(
    reconstructor: Reconstructor, name: str, how: str, side_px: int
) -> None:
    landmarks_px = landmarks_of(OTHERWISE[how], side_px)
    image, disc = masked(framed(name, OTHERWISE[how], side_px), landmarks_px)
    result = reconstructor(image, aligned=True)
    (face,) = result.faces
    apart = np.hypot(*(landmarks_px[1] - landmarks_px[0]))
    eyes_away = np.hypot(*(face.face.landmarks_px - landmarks_px)[:2].T)
    assert eyes_away.max() < 0.2 * apart
    weight = np.zeros(image.shape[:2], dtype=np.float32)
    weight[face.box] = face.weight
    assert np.array_equal(result.array[weight == 0], image[weight == 0])
    assert (weight[disc] == 1).all()
    assert not (result.array == COVER).all(axis=2).any()
    assert (weight > 0).sum() < 1.7 * disc.sum()


@pytest.mark.parametrize("how", OTHERWISE)
def test_an_uncovered_crop_framed_otherwise_is_left_alone(reconstructor: Reconstructor, how: str) -> None:
    image = framed("Eileen Collins", OTHERWISE[how])
    result = reconstructor(image, aligned=True)
    assert np.array_equal(result.array, image)
    assert [face.changed for face in result.faces] == [False]


def test_where_the_cover_hides_the_eyes_the_crop_is_taken_as_framed_like_celebas(
    reconstructor: Reconstructor,
) -> None:
    image = framed("Grace Hopper", OTHERWISE["turned"])
    image[80:220, 70:190] = COVER
    (face,) = reconstructor(image, aligned=True).faces
    assert face.face.landmarks_px == pytest.approx(canonical_landmarks())
    assert (face.weight[80:220, 70:190] > 0).all()


def test_without_eyes_only_what_may_hide_them_is_reconstructed_and_it_says_so(
    reconstructor: Reconstructor, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    image = gradient(256, 256)
    image[180:240, 60:200] = COVER
    with caplog.at_level("INFO", logger="facemend"):
        result = reconstructor(image, aligned=True)
    assert np.array_equal(result.array, image)
    assert (result.faces, caplog.messages) == (
        (),
        ["the array shows no eyes, and no occlusion over them: left as it is"],
    )
    Image.fromarray(image).save(tmp_path / "a.png")
    (task,) = plan_tasks([tmp_path / "a.png"], tmp_path / "out.png", aligned=True, save_occlusion=False)
    assert (
        reconstruct_task(reconstructor, task, Options(aligned=True), overwrite=False).outcome
        is Outcome.NO_FACE
    )


def test_a_mask_is_taken_to_the_pixel_in_a_crop_framed_otherwise(reconstructor: Reconstructor) -> None:
    how = OTHERWISE["turned"]
    image = framed("Grace Hopper", how)
    _, disc = masked(image, landmarks_of(how))
    result = reconstructor(image, aligned=True, mask=disc)
    assert np.array_equal((result.array != image).any(axis=2), disc)
    assert result.faces[0].face.landmarks_px != pytest.approx(canonical_landmarks())
    disc[:4, :4] = True  # the crop that is cut out by the eyes does not show this corner
    result = reconstructor(image, aligned=True, mask=disc)
    assert np.array_equal((result.array != image).any(axis=2), disc)
    assert result.faces[0].face.landmarks_px == pytest.approx(canonical_landmarks())


def test_what_is_kept_stays_in_a_crop_framed_otherwise(reconstructor: Reconstructor) -> None:
    how = OTHERWISE["tighter"]
    image, disc = masked(framed("Eileen Collins", how), landmarks_of(how))
    y = int(np.nonzero(disc)[0].mean())
    result = reconstructor(image, aligned=True, keep=[(0, y, 256, 256 - y)])
    assert np.array_equal(result.array[y:], image[y:])
    assert (result.array[: y - 2][disc[: y - 2]] != COVER).any(axis=1).all()


def test_a_frames_face_goes_through_the_path_of_photos_with_what_lies_below_the_square(
    reconstructor: Reconstructor,
) -> None:
    frame = np.pad(framed("Eileen Collins", side_px=178), ((20, 20), (0, 0), (0, 0)), mode="edge")
    frame[150:206, 60:120] = COVER
    direct = reconstructor(frame, aligned=True)
    mended, _ = reconstruct_faces(frame, [direct.faces[0].face], reconstructor.model, Options())
    by_photo, by_crop = ((image != frame).any(axis=2) for image in (mended, direct.array))
    assert (by_photo & by_crop)[:194].sum() > 0.95 * (by_photo | by_crop)[:194].sum()
    assert np.abs(mended[155:194, 65:115].astype(int) - direct.array[155:194, 65:115]).max() <= 6
    assert not by_crop[198:].any()
    assert by_photo[198:206, 62:118].all()


def test_a_tall_model_reconstructs_the_rows_of_the_frame_below_the_square(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "facemend.reconstruction.aligned.find_face", lambda image, canonical, detector: canonical
    )
    frame = gradient(178, 218)
    frame[150:210, 60:120] = COVER
    tall = Reconstructor(write_model(tmp_path / "tall.onnx", tall=True))
    done = tall(frame, aligned=True)
    changed = (done.array != frame).any(axis=2)
    assert changed[150:210, 60:120].all()
    assert not changed[:144].any()
    assert not changed[216:].any()
    (face,) = done.faces
    assert face.weight.shape == (218, 178)
    mask = np.zeros((218, 178), dtype=np.bool_)
    mask[190:214, 80:100] = True
    masked = (tall(frame, aligned=True, mask=mask).array != frame).any(axis=2)
    assert (masked == mask).all()

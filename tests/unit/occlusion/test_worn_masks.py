"""What masks as they are worn hide, cast, and leave alone."""

import numpy as np
import pytest

from facemend.alignment import Points, canonical_landmarks
from facemend.images import Image
from facemend.occlusion import OccludedFace, occlude
from facemend.occlusion.canvas import Canvas, blend, region_around
from facemend.occlusion.geometry import box, face_geometry
from facemend.occlusion.mask_shapes import skin_near, turn_of
from facemend.occlusion.types import Extent

_SKIN = np.full((256, 256, 3), (206, 160, 132), np.uint8)
_TALL = np.full((320, 256, 3), (206, 160, 132), np.uint8)
_TURNED = canonical_landmarks() + np.array([(0, 0), (0, 0), (14, 0), (0, 0), (0, 0)])


def _draws(
    count: int = 60, picture: Image = _SKIN, landmarks_px: Points | None = None
) -> list[OccludedFace]:
    points = canonical_landmarks() if landmarks_px is None else landmarks_px
    return [occlude(picture, points, "textured_mask", seed) for seed in range(count)]


def _number(face: OccludedFace, name: str) -> float:
    return float(str(face.occlusion.parameters[name]))


def test_a_tall_picture_shows_how_far_a_mask_goes_down() -> None:
    faces = _draws(40, _TALL)
    assert all(face.occlusion.alpha.shape == (320, 256) for face in faces)
    assert sum(face.occlusion.alpha[260:].max() > 0.9 for face in faces) >= 6
    for face in faces:
        untouched = face.occlusion.alpha == 0
        np.testing.assert_array_equal(face.image[untouched], face.target[untouched])


def test_a_tall_picture_has_the_same_mask_as_its_square() -> None:
    for seed in range(8):
        tall = occlude(_TALL, canonical_landmarks(), "textured_mask", seed).occlusion
        square = occlude(_SKIN, canonical_landmarks(), "textured_mask", seed).occlusion
        assert tall.parameters["style"] == square.parameters["style"]
        if tall.parameters["over"] == square.parameters["over"] == "nothing":
            both = (tall.alpha[:240] > 0.5) & (square.alpha[:240] > 0.5)
            either = (tall.alpha[:240] > 0.5) | (square.alpha[:240] > 0.5)
            assert both.sum() > 0.9 * either.sum()


def test_a_cap_or_scarf_beside_the_mask_is_in_both_pictures_and_not_in_alpha() -> None:
    faces = [face for face in _draws(200) if "beside" in face.occlusion.parameters]
    assert len({face.occlusion.parameters["beside"] for face in faces}) >= 4
    for face in faces:
        added = (face.target != _SKIN).any(axis=2)
        beside = added & (face.occlusion.alpha == 0)
        assert beside.sum() > 100
        np.testing.assert_array_equal(face.image[beside], face.target[beside])


def test_without_something_beside_or_over_it_the_target_is_the_picture() -> None:
    for face in _draws(30):
        parameters = face.occlusion.parameters
        if "beside" not in parameters and parameters["over"] in ("nothing", "own hair"):
            np.testing.assert_array_equal(face.target, _SKIN)


def test_straps_count_as_occluded_at_their_full_width() -> None:
    """Above the mask and beside the eyes there is nothing but straps."""
    strapped = 0
    for face in _draws(170):
        parameters = face.occlusion.parameters
        if parameters["strap"] != "bands" or parameters["over"] != "nothing":
            continue
        alpha = face.occlusion.alpha[132:140]
        sides = np.concatenate([alpha[:, :72], alpha[:, 182:]], axis=1)
        assert (sides.max(axis=1) > 0.85).all()
        strapped += 1
    assert strapped >= 5


def test_a_mask_without_straps_touches_nothing_beside_the_eyes() -> None:
    for face in _draws(60):
        if not face.occlusion.parameters["straps"] and face.occlusion.parameters["over"] == "nothing":
            assert face.occlusion.alpha[:125].max() == 0


def test_on_a_turned_head_the_near_side_of_a_mask_is_wider_than_the_far_side() -> None:
    wider = []
    for face in _draws(40, landmarks_px=_TURNED):
        parameters = face.occlusion.parameters
        if parameters["worn"] == "well" and parameters["over"] == "nothing":
            columns = np.flatnonzero((face.occlusion.alpha[180:200] > 0.9).any(axis=0))
            wider.append((127 - columns[0]) - (columns[-1] - 127))
    assert np.mean(wider) > 15
    assert np.mean(np.array(wider) > 0) > 0.9


def test_a_nose_to_the_right_is_a_head_turned_to_the_right() -> None:
    def turn(landmarks_px: Points) -> float:
        return turn_of(face_geometry(landmarks_px, 256, 256))

    assert turn(_TURNED) > 0.5
    assert turn((_TURNED * (-1, 1) + (255, 0))[[1, 0, 2, 4, 3]]) < -0.5
    assert turn(canonical_landmarks()) == pytest.approx(0, abs=0.1)


def test_shadows_fall_on_cheeks_and_neck_and_not_on_the_background() -> None:
    face = face_geometry(canonical_landmarks(), 256, 256).rigid
    region = region_around(face, box(0, 120, 255, 255), _SKIN, 0)
    assert region is not None
    skin = skin_near(region, 0.0)
    assert skin[(np.abs(region.x - 127) < 30)].min() == 1
    assert skin[(np.abs(region.x - 127) > 70)].max() == 0


def test_skin_beside_a_light_mask_takes_on_its_colour() -> None:
    """Where the shadow is faint, the touched skin outside the cloth moves towards the cloth's colour."""
    compared = 0
    for face in _draws(300):
        parameters, alpha = face.occlusion.parameters, face.occlusion.alpha
        if _number(face, "reflection") < 0.08 or _number(face, "shadow") > 0.12 or parameters["straps"]:
            continue
        if parameters["over"] != "nothing" or "beside" in parameters:
            continue
        faint = (alpha > 0.05) & (alpha < 0.9)
        cloth = face.image[alpha == 1].astype(float).mean(axis=0)
        change = (face.image[faint].astype(float) - face.target[faint]).mean(axis=0)
        assert change @ (cloth - _SKIN[0, 0]) > 0
        compared += 1
    assert compared >= 3


def test_a_grey_photo_gets_a_grey_mask() -> None:
    grey = np.full((256, 256, 3), 150, np.uint8)
    for face in _draws(20, grey):
        levels = face.image.astype(int)
        assert np.abs(levels[..., 0] - levels[..., 2]).max() == 0


def test_masks_come_in_hues_near_to_skin_and_to_what_lies_beside_them() -> None:
    faces = _draws(150, _SKIN[::4, ::4].copy(), canonical_landmarks(64))
    hues = {face.occlusion.parameters["hue"] for face in faces}
    assert hues == {"usual", "skin", "near skin", "red", "clothes", "head", "background"}


def test_a_mask_in_the_skin_tone_is_hard_to_tell_by_its_colour() -> None:
    found = [face for face in _draws(200) if face.occlusion.parameters["hue"] == "skin"]
    assert found
    for face in found:
        cloth = np.median(face.image[face.occlusion.alpha == 1], axis=0)
        assert np.abs(cloth / cloth.sum() - _SKIN[0, 0] / _SKIN[0, 0].sum()).max() < 0.06


def test_a_soft_photo_gets_a_soft_mask() -> None:
    rng = np.random.default_rng(0)
    sharp = rng.integers(90, 220, (256, 256, 3), dtype=np.uint8)
    soft = np.repeat(np.repeat(sharp[::16, ::16], 16, axis=0), 16, axis=1).astype(float)
    for axis in (0, 1):
        for _ in range(60):
            soft = (np.roll(soft, 1, axis) + 2 * soft + np.roll(soft, -1, axis)) / 4
    edges = []
    for picture in (sharp, soft.astype(np.uint8)):
        alphas = [face.occlusion.alpha for face in _draws(12, picture)]
        edges.append(np.mean([((alpha > 0.05) & (alpha < 0.95)).mean() for alpha in alphas]))
    assert edges[1] > 1.3 * edges[0]


def test_firm_alpha_changes_what_is_replaced_and_not_what_is_seen() -> None:
    face = face_geometry(canonical_landmarks(), 256, 256).rigid
    region = region_around(face, box(100, 120, 160, 200), _SKIN)
    assert region is not None
    canvas = Canvas(region)
    canvas.lay_parts([(box(110, 130, 150, 131.5), (20, 40, 200))])
    usual = canvas.finish(_SKIN, Extent.PARTIAL, {}, softness=0.8)
    firm = canvas.finish(_SKIN, Extent.PARTIAL, {}, softness=0.8, firmness=1.8)
    assert firm.alpha.max() > 1.3 * usual.alpha.max()
    difference = np.abs(blend(_SKIN, firm).astype(int) - blend(_SKIN, usual))
    assert difference.max() <= 1


def test_a_part_of_a_canvas_shares_what_is_painted() -> None:
    face = face_geometry(canonical_landmarks(), 256, 256).rigid
    whole = region_around(face, box(60, 60, 200, 200), _SKIN)
    assert whole is not None
    inner = whole.around(box(100, 100, 140, 140), 4)
    assert inner is not None
    assert abs(float(inner.x[0, 0]) - 96) <= 1.5
    canvas = Canvas(whole)
    canvas.part(inner).lay_parts([(box(110, 110, 130, 130), (255, 0, 0))])
    layer = canvas.finish(_SKIN, Extent.PARTIAL, {})
    assert layer.alpha[120, 120] == 1
    assert whole.around(box(400, 400, 440, 440), 4) is None

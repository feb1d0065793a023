import logging
from dataclasses import fields, replace
from typing import cast
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image as PillowImage
from PIL import ImageFilter

from facemend.alignment import Points, canonical_landmarks, view_of
from facemend.detection import Face
from facemend.images import Alpha, Image, Mask
from facemend.occlusion import occlude
from facemend.reconstruction.acceptance import (
    WEIGHTS,
    Evidence,
    evidence_of,
    find_occlusion,
    probability_of,
)
from facemend.reconstruction.demo import Portrait, read_portraits
from facemend.reconstruction.model import Model, ModelOutput
from facemend.reconstruction.options import Options, Remove
from facemend.reconstruction.pipeline import reconstruct_faces
from facemend.reconstruction.reconstructor import Reconstructor

SIDE = 256
EYES_Y = 131


def _face(x: float = 128, y: float = 128, confidence: float = 0.95) -> Face:
    """A face whose canonical crop has a photo pixel a crop pixel, its middle at (x, y)."""
    landmarks: Points = canonical_landmarks() + (x - 127.5, y - 127.5)
    return Face((x - 64, y - 50, x + 64, y + 80), landmarks, confidence)


def _noise(height: int = SIDE, width: int = SIDE) -> Image:
    return np.random.default_rng(0).integers(60, 120, (height, width, 3), dtype=np.uint8)


def _box(x1: int, y1: int, x2: int, y2: int) -> Mask:
    mask = np.zeros((SIDE, SIDE), dtype=np.bool_)
    mask[y1:y2, x1:x2] = True
    return mask


MASK = _box(66, 150, 187, 242)


def _evidence(photo: Image, alpha: Alpha, face: Face | None = None, surest: float = 0.95) -> Evidence:
    face = face or _face()
    view = view_of(photo, face.landmarks_px, SIDE)
    assert view is not None
    evidence = evidence_of(photo, view, alpha, 0.5, face.confidence, surest)
    assert evidence is not None
    return evidence


def _alpha(mask: Mask, value: float = 1.0) -> Alpha:
    return mask.astype(np.float32) * np.float32(value)


def test_the_table_has_a_weight_for_each_kind_of_evidence() -> None:
    assert set(WEIGHTS) == {field.name for field in fields(Evidence)}


def test_what_speaks_for_a_cover_and_what_against() -> None:
    """A new fit may move the weights, not what they mean."""
    for name in ("confidence", "certain", "step", "detail_outside"):
        assert WEIGHTS[name] > 0, name
    for name in ("below_surest", "detail_inside", "beyond"):
        assert WEIGHTS[name] < 0, name


def test_the_evidence_of_a_mask_is_where_it_lies_and_how_it_differs() -> None:
    photo = _noise()
    photo[MASK] = (200, 200, 200)
    evidence = _evidence(photo, _alpha(MASK))
    assert evidence.share == pytest.approx(MASK.mean() ** 0.5)
    assert (evidence.certain, evidence.hides, evidence.solid) == pytest.approx((1, 1, 1), abs=0.03)
    assert evidence.beyond == 0
    assert evidence.step == pytest.approx(110 / 255, abs=0.05)
    assert evidence.detail_outside > evidence.detail_inside + 0.5
    assert _evidence(photo, _alpha(MASK, 0.9)).certain == 0


def test_a_face_that_the_border_cuts_off_lies_beyond_it_in_part() -> None:
    photo = _noise()[:, 100:].copy()
    assert _evidence(photo, _alpha(MASK), _face(x=28)).beyond == pytest.approx((100 - 61) / 134, abs=0.02)


def test_a_blur_is_a_cover_only_where_the_surroundings_are_sharper() -> None:
    sharp = _noise()
    blurred = np.asarray(PillowImage.fromarray(sharp).filter(ImageFilter.GaussianBlur(8)))
    covered = np.where(MASK[:, :, None], blurred, sharp)
    in_focus, out_of_focus = _evidence(covered, _alpha(MASK)), _evidence(blurred, _alpha(MASK))
    assert in_focus.detail_outside > in_focus.detail_inside + 0.5
    assert out_of_focus.detail_outside == pytest.approx(out_of_focus.detail_inside, abs=0.05)
    assert probability_of(in_focus) > probability_of(out_of_focus)


def test_a_doubtful_face_beside_a_sure_one_needs_more_evidence() -> None:
    photo = _noise()
    photo[MASK] = (200, 200, 200)
    doubtful = _face(confidence=0.6)
    alone = _evidence(photo, _alpha(MASK), doubtful, surest=0.6)
    beside = _evidence(photo, _alpha(MASK), doubtful, surest=0.99)
    assert probability_of(beside) < probability_of(alone)


def _says(alpha: Alpha, accessories: Alpha | None = None) -> ModelOutput:
    """What a model says that finds these covers and accessories."""
    both = np.stack([alpha, np.zeros_like(alpha) if accessories is None else accessories])
    return ModelOutput(np.zeros((1, SIDE, SIDE, 3), dtype=np.uint8), both[None])


def _removed(output: ModelOutput, crop: Image | None = None, remove: Remove = Remove.COVERS) -> Mask:
    return np.asarray(
        find_occlusion(_noise() if crop is None else crop, output, Options(remove=remove)) > 0.5
    )


def _outcome(photo: Image, face: Face, output: ModelOutput) -> bool:
    """Whether a face of a photo is reconstructed under a model that says so."""
    model = cast("Model", Mock(return_value=output, description=Mock(size_px=SIDE, tall=False)))
    (done,) = reconstruct_faces(photo, [face], model, Options(min_confidence=0))[1]
    return done.coverage > 0


def test_a_face_that_the_user_gives_is_covered_whatever_the_evidence() -> None:
    faint = _says(_alpha(MASK, 0.55))
    assert not _outcome(_noise(), _face(confidence=0.3), faint)
    assert _outcome(_noise(), replace(_face(confidence=0.3), marked=True), faint)
    nothing = _says(_alpha(MASK, 0.45))
    assert not _outcome(_noise(), replace(_face(), marked=True), nothing)


def test_the_log_says_why_a_face_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "facemend")
    _outcome(_noise(), _face(confidence=0.3), _says(_alpha(MASK, 0.55)))
    (line,) = caplog.messages
    assert line.startswith(
        "the photo: face at 64,78,128,130 (confidence 0.30) is left alone: it is covered with a"
    )
    assert "certain 0.00" in line
    _outcome(_noise(), _face(), _says(_alpha(MASK, 0.2)))
    assert caplog.messages[1].endswith("is left alone: nothing is found that could cover it")


def test_a_cap_in_the_colour_of_the_mask_stays_and_straps_go() -> None:
    cap, straps = _box(70, 20, 190, 60), _box(20, 125, 66, 165) | _box(187, 125, 235, 165)
    np.testing.assert_array_equal(_removed(_says(_alpha(MASK | cap | straps))), MASK | straps)
    everything = _removed(_says(_alpha(MASK | cap | straps)), remove=Remove.ALL)
    np.testing.assert_array_equal(everything, MASK | cap | straps)


def test_glasses_stay_that_touch_the_mask_or_do_not() -> None:
    apart = _box(80, 118, 122, 142) | _box(134, 118, 176, 142)
    np.testing.assert_array_equal(_removed(_says(_alpha(MASK | apart))), MASK)
    touching = _box(80, 115, 176, 137) | _box(115, 137, 141, 150)
    removed = _removed(_says(_alpha(MASK | touching)))
    assert removed[MASK].all()
    assert not removed[:133].any()


def test_the_bridge_of_glasses_stays_that_lie_on_the_mask() -> None:
    bridge, straps = _box(118, 122, 138, 150), _box(20, 125, 66, 165) | _box(187, 125, 235, 165)
    removed = _removed(_says(_alpha(MASK | bridge | straps)))
    np.testing.assert_array_equal(removed, MASK | straps | (bridge & _box(0, 136, SIDE, SIDE)))


_EYE_HOLES = _box(70, 115, 115, 145) | _box(140, 115, 186, 145)


@pytest.mark.parametrize(
    "cover",
    [
        _box(62, 104, 192, 235),
        _box(50, 30, 206, 256) & ~_box(70, 115, 186, 145),
        _box(50, 30, 206, 256) & ~_EYE_HOLES,
        _box(60, 90, 200, 150),
        _box(118, 60, 138, 230),
    ],
)
def test_covers_of_the_whole_face_a_balaclava_and_a_blindfold_go_whole(cover: Mask) -> None:
    np.testing.assert_array_equal(_removed(_says(_alpha(cover))), cover)


@pytest.mark.parametrize("colour", [0, 255])
def test_a_censor_bar_and_an_eye_patch_are_covers_and_glasses_are_not(colour: int) -> None:
    nothing = np.zeros((SIDE, SIDE), dtype=np.float32)
    bar, patch = _box(70, 115, 186, 150), _box(80, 110, 122, 152)
    lenses = _box(76, 118, 120, 146) | _box(134, 118, 178, 146) | _box(120, 122, 134, 127)
    for shape, goes in ((bar, True), (patch, True), (lenses, False)):
        crop = _noise()
        crop[shape] = colour
        said = _says(nothing, _alpha(shape))
        np.testing.assert_array_equal(_removed(said, crop), shape & goes)
        # What is not of one colour is something that somebody wears.
        assert not _removed(said).any()


@pytest.fixture(scope="module")
def reconstructor() -> Reconstructor:
    return Reconstructor(threads=1)


@pytest.mark.parametrize("share", [0.01, 0.02, 0.04])
@pytest.mark.parametrize("portrait", read_portraits(), ids=lambda portrait: portrait.name)
def test_a_photo_out_of_focus_stays(portrait: Portrait, share: float, reconstructor: Reconstructor) -> None:
    apart = float(np.hypot(*(portrait.landmarks_px[1] - portrait.landmarks_px[0])))
    blur = ImageFilter.GaussianBlur(share * 2.4 * apart)
    assert not reconstructor(np.asarray(PillowImage.fromarray(portrait.photo).filter(blur))).changed


@pytest.mark.parametrize("portrait", read_portraits(), ids=lambda portrait: portrait.name)
def test_a_censor_bar_goes_by_default(portrait: Portrait, reconstructor: Reconstructor) -> None:
    hidden = occlude(portrait.photo, portrait.landmarks_px, "eye_bar", 1)
    removed = reconstructor(hidden.image).removed > 0.5
    assert removed[hidden.occlusion.alpha > 0.5].mean() > 0.9

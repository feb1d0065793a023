"""What each family of occlusions hides, shows and follows."""

from collections.abc import Callable, Mapping

import numpy as np
import pytest

from facemend.alignment import canonical_landmarks
from facemend.images import Alpha, Image
from facemend.occlusion import BENCHMARK_KINDS, KINDS, Extent, Kind, OccludedFace, occlude
from facemend.occlusion.canvas import region_around
from facemend.occlusion.geometry import box, face_geometry
from facemend.occlusion.mask_shapes import STYLES
from facemend.occlusion.objects import OBJECTS, own_hair
from facemend.occlusion.textures import PATTERNS
from tests.tiny_celeba import gradient

_LEFT_EYE, _RIGHT_EYE, _NOSE, _LEFT_MOUTH, _RIGHT_MOUTH = canonical_landmarks().round().astype(int).tolist()
_SKIN = np.full((256, 256, 3), (196, 150, 122), np.uint8)
Draw = Callable[[int], OccludedFace]


def _draws(
    kind: str, count: int = 24, picture: Image = _SKIN, kinds: Mapping[str, Kind] = KINDS
) -> list[OccludedFace]:
    return [occlude(picture, canonical_landmarks(), kind, seed, kinds) for seed in range(count)]


def _at(alpha: Alpha, point: list[int]) -> float:
    return float(alpha[point[1], point[0]])


_BELOW_THE_MOUTH = ("under the lip", "chin")


def test_a_mask_hides_the_mouth_unless_it_is_pulled_down_and_never_the_eyes() -> None:
    for face in _draws("textured_mask", 40):
        alpha = face.occlusion.alpha
        if face.occlusion.parameters["worn"] in _BELOW_THE_MOUTH:
            assert alpha[180:190, 120:134].max() == 0
        else:
            assert alpha[200:206, 120:134].min() > 0.99
        assert _at(alpha, _LEFT_EYE) == _at(alpha, _RIGHT_EYE) == 0


def test_a_mask_worn_low_shows_the_nose() -> None:
    worn = {"low": 0.0, "well": 0.0}
    for face in _draws("textured_mask", 60):
        how = str(face.occlusion.parameters["worn"])
        worn[how] = max(worn.get(how, 0), _at(face.occlusion.alpha, [_NOSE[0], _NOSE[1] - 6]))
    assert worn["low"] < 0.5
    assert worn["well"] == pytest.approx(1, abs=0.01)


def test_every_style_and_every_pattern_of_masks_is_drawn() -> None:
    parameters = [
        occlude(_SKIN[::4, ::4].copy(), None, "textured_mask", seed).occlusion.parameters
        for seed in range(800)
    ]
    assert {p["style"] for p in parameters} == set(STYLES) - {"balaclava"}
    assert {p["pattern"] for p in parameters} == {p.__name__.rstrip("_") for p in PATTERNS}
    assert {p["over"] for p in parameters} == {"nothing", "own hair", "strands", "glasses", "fingers"}
    assert {p["valve"] for p in parameters} == {0, 1}


def test_a_mask_is_lit_like_the_face_under_it() -> None:
    """A face lit from its left: its masks are lighter there."""
    ramp = np.interp(np.arange(256), (60, 195), (210, 50)).astype(np.uint8)
    picture = np.repeat(np.repeat(ramp[None], 256, axis=0)[..., None], 3, axis=2)
    lighter = 0
    for face in _draws("textured_mask", 30, picture):
        left, right = face.image[195:210, 90:115].mean(), face.image[195:210, 139:164].mean()
        lighter += left > right
    assert lighter >= 26


def test_a_mask_is_darker_in_a_dark_picture() -> None:
    for bright, dark in zip(
        _draws("textured_mask", 12), _draws("textured_mask", 12, _SKIN // 4), strict=True
    ):
        hidden = bright.occlusion.alpha == 1
        assert dark.image[hidden].mean() < bright.image[hidden].mean()


def test_the_shadow_of_a_mask_belongs_to_it_and_darkens() -> None:
    """Around a mask on plain skin, whatever is touched outside of the cloth is darker skin."""
    for face in _draws("textured_mask", 40):
        parameters = face.occlusion.parameters
        if (
            parameters["over"] != "nothing"
            or parameters["straps"]
            or float(str(parameters["shadow"])) < 0.4
        ):
            continue
        alpha = face.occlusion.alpha
        faint = (alpha > 0.02) & (alpha < 0.2)
        assert faint.sum() > 30
        assert (face.image[faint].astype(int) <= _SKIN[0, 0].astype(int) + 8).mean() > 0.8
        return
    pytest.fail("no mask with a shadow and nothing else was drawn")


@pytest.mark.parametrize("kind", ["textured_mask", "balaclava", "patch_full", "pixelate", "object"])
def test_alpha_is_firm_so_that_little_is_half_hidden(kind: str) -> None:
    holes = [face.occlusion.alpha[face.occlusion.mask] for face in _draws(kind, 16)]
    assert np.mean([(hole < 0.9).mean() for hole in holes]) < 0.25


def test_a_balaclava_shows_the_eyes_and_hides_the_head() -> None:
    for face in _draws("balaclava", 12):
        alpha = face.occlusion.alpha
        assert max(_at(alpha, _LEFT_EYE), _at(alpha, _RIGHT_EYE)) < 0.01
        assert min(_at(alpha, [127, 80]), _at(alpha, _NOSE), _at(alpha, [127, 225])) > 0.99
        assert face.occlusion.extent is Extent.FULL


def test_sunglasses_hide_both_eyes_even_where_one_sees_through() -> None:
    faces = _draws("sunglasses", 30)
    for face in faces:
        alpha = face.occlusion.alpha
        assert min(_at(alpha, _LEFT_EYE), _at(alpha, _RIGHT_EYE)) > 0.99
        assert max(_at(alpha, _LEFT_MOUTH), _at(alpha, _RIGHT_MOUTH)) == 0
    assert any(float(str(face.occlusion.parameters["clear"])) > 0.1 for face in faces)
    assert {face.occlusion.parameters["lens"] for face in faces} == {"dark", "graded", "mirrored"}


def test_a_mosaic_is_made_of_blocks_of_one_colour() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    for face in _draws("pixelate", 12, picture):
        hidden = face.image[face.occlusion.mask]
        block = float(str(face.occlusion.parameters["block"]))
        blocks = len(hidden) / block**2
        assert len(np.unique(hidden, axis=0)) <= 1.35 * blocks
        assert (face.occlusion.alpha[face.occlusion.mask] == 1).all()


def test_a_blur_smooths_what_it_hides_and_keeps_its_colour() -> None:
    coarse = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    picture = np.kron(coarse, np.ones((4, 4, 1), np.uint8))
    methods = set()
    for face in _draws("blur_soft", 20, picture):
        inside = face.occlusion.alpha == 1
        assert face.image[inside].std() < 0.6 * picture[inside].std()
        assert face.image[inside].mean() == pytest.approx(picture[inside].mean(), abs=6)
        methods.add(face.occlusion.parameters["method"])
    assert methods == {"gaussian", "motion", "lens"}


def test_a_patch_hides_the_whole_face() -> None:
    for face in _draws("patch_full", 20):
        for point in (_LEFT_EYE, _RIGHT_EYE, _NOSE, _LEFT_MOUTH, _RIGHT_MOUTH):
            assert _at(face.occlusion.alpha, point) > 0.99
        assert face.occlusion.extent is Extent.FULL


def test_every_object_is_drawn() -> None:
    picture = gradient(64, 64)
    names = {occlude(picture, None, "object", seed).occlusion.parameters["object"] for seed in range(150)}
    assert names == {*OBJECTS, "scarf", "bar"}


def test_the_benchmark_rarely_has_to_draw_again() -> None:
    """Single draws of the protocol's kinds are nearly always as large as the protocol wants them."""
    for kind, low, high in (
        ("textured_mask", 0.09, 0.2),
        ("object", 0.04, 0.2),
        ("sunglasses", 0.03, 0.09),
    ):
        sizes = [face.occlusion.coverage for face in _draws(kind, 60, kinds=BENCHMARK_KINDS)]
        assert np.mean([low <= size <= high for size in sizes]) > 0.9


def test_own_hair_is_found_where_it_hangs_from_the_side() -> None:
    picture = _SKIN.copy()
    picture[:60] = picture[:, :88] = picture[:, 190:] = (30, 24, 22)
    picture[200:206, 110:140] = (30, 24, 22)  # a dark mouth is no hair
    face = face_geometry(canonical_landmarks(), 256, 256)
    region = region_around(face, box(66, 140, 188, 240), picture, 0)
    assert region is not None
    hair = own_hair(picture, region)
    assert hair is not None
    assert hair[(region.x > 66) & (region.x < 84)].min() > 0.9
    assert hair[(region.x > 94) & (region.x < 160)].max() < 0.1


def test_hair_as_light_as_skin_is_not_looked_for() -> None:
    face = face_geometry(canonical_landmarks(), 256, 256)
    region = region_around(face, box(66, 140, 188, 240), _SKIN, 0)
    assert region is not None
    assert own_hair(_SKIN, region) is None

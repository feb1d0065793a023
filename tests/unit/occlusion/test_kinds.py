import numpy as np
import pytest

from facemend.alignment import canonical_landmarks
from facemend.errors import UsageError
from facemend.occlusion import (
    BENCHMARK_KINDS,
    KINDS,
    Extent,
    Kind,
    OcclusionClass,
    allowed_kinds,
    choose_kind,
    occlude,
)
from facemend.occlusion.canvas import blend
from facemend.occlusion.geometry import FaceGeometry
from facemend.occlusion.textures import BENCHMARK_PATTERNS, PATTERNS
from facemend.occlusion.types import Layer
from tests.tiny_celeba import gradient

_ACCESSORIES = {"sunglasses", "object"}


def _square(left: int, right: int, value: float = 1.0) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    alpha = np.zeros((64, 64), dtype=np.float32)
    alpha[20:40, left:right] = value
    return alpha


def _with_overlay(image: np.ndarray, face: FaceGeometry, rng: np.random.Generator) -> Layer:
    red, blue = np.array([200, 0, 0], np.uint8), np.array([0, 0, 200], np.uint8)
    overlay = Layer(_square(30, 50), blue, Extent.PARTIAL)
    return Layer(_square(10, 40), red, Extent.PARTIAL, {}, overlay)


def test_what_lies_over_an_occlusion_is_in_the_target_and_not_in_alpha() -> None:
    picture = gradient(64, 64)
    face = occlude(picture, None, "mine", 1, {"mine": Kind(_with_overlay, OcclusionClass.COVERS)})
    assert (face.occlusion.alpha[20:40, 10:30] == 1).all()
    assert (face.occlusion.alpha[20:40, 30:50] == 0).all()
    assert (face.target[20:40, 30:50] == (0, 0, 200)).all()
    assert (face.image[20:40, 30:50] == (0, 0, 200)).all()
    assert (face.image[20:40, 10:30] == (200, 0, 0)).all()
    np.testing.assert_array_equal(face.target[20:40, 10:30], picture[20:40, 10:30])


def _with_beside(image: np.ndarray, face: FaceGeometry, rng: np.random.Generator) -> Layer:
    red, blue = np.array([200, 0, 0], np.uint8), np.array([0, 0, 200], np.uint8)
    beside = Layer(_square(30, 50), blue, Extent.PARTIAL)
    return Layer(_square(10, 40), red, Extent.PARTIAL, {}, underlay=beside)


def test_what_lies_beside_an_occlusion_is_in_the_target_and_under_the_occlusion() -> None:
    picture = gradient(64, 64)
    face = occlude(picture, None, "mine", 1, {"mine": Kind(_with_beside, OcclusionClass.COVERS)})
    assert (face.occlusion.alpha[20:40, 10:40] == 1).all()
    assert (face.occlusion.alpha[20:40, 40:50] == 0).all()
    assert (face.target[20:40, 30:50] == (0, 0, 200)).all()
    assert (face.image[20:40, 40:50] == (0, 0, 200)).all()
    assert (face.image[20:40, 10:40] == (200, 0, 0)).all()
    np.testing.assert_array_equal(face.target[20:40, 10:30], picture[20:40, 10:30])


def test_blending_weighs_by_alpha_and_rounds() -> None:
    picture = np.full((64, 64, 3), 100, np.uint8)
    mixed = blend(picture, Layer(_square(10, 20, 0.25), np.array([0, 201, 255], np.uint8), Extent.PARTIAL))
    assert mixed[30, 15].tolist() == [75, 125, 139]
    assert mixed[30, 25].tolist() == [100, 100, 100]


def test_a_layer_that_hides_nothing_changes_nothing() -> None:
    picture = gradient(64, 64)
    np.testing.assert_array_equal(
        blend(picture, Layer(np.zeros((64, 64), np.float32), np.zeros(3, np.uint8), Extent.FULL)), picture
    )


def test_glasses_and_things_are_accessories_and_all_else_covers() -> None:
    accessories = {n for n, kind in KINDS.items() if kind.occlusion_class is OcclusionClass.ACCESSORIES}
    assert accessories == _ACCESSORIES


def test_who_wears_glasses_takes_no_sunglasses() -> None:
    shares = {"sunglasses": 0.5, "blur": 0.5}
    assert allowed_kinds(shares, {"Eyeglasses": True}) == {"blur": 0.5}
    assert allowed_kinds(shares, {"Eyeglasses": False}) == shares
    assert allowed_kinds(shares, {}) == shares
    assert allowed_kinds({"sunglasses": 1.0}, {"Eyeglasses": True}) == {}


def test_an_unknown_kind_is_named_with_those_that_exist() -> None:
    with pytest.raises(UsageError, match=r"'scarf'; choose from nose_mask, blur"):
        occlude(gradient(64, 64), None, "scarf", 1)
    with pytest.raises(UsageError, match="'blur'; choose from mine"):
        choose_kind({"blur": 1.0}, np.random.default_rng(0), {"mine": KINDS["blur"]})


@pytest.mark.parametrize("shares", [{}, {"blur": 0.0}, {"blur": -1.0}, {"blur": float("nan")}])
def test_shares_that_leave_nothing_to_choose_are_refused(shares: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="must be positive"):
        choose_kind(shares, np.random.default_rng(0))


def test_the_benchmark_draws_the_same_kinds_in_patterns_of_its_own() -> None:
    assert set(BENCHMARK_KINDS) == set(KINDS)
    assert not set(BENCHMARK_PATTERNS) & set(PATTERNS)
    names = {pattern.__name__ for pattern in BENCHMARK_PATTERNS}
    for seed in range(12):
        mask = occlude(gradient(96, 96), canonical_landmarks(96), "textured_mask", seed, BENCHMARK_KINDS)
        assert mask.occlusion.parameters["pattern"] in names


@pytest.mark.parametrize("kind", KINDS)
def test_parameters_are_flat_and_plain(kind: str) -> None:
    """They go into a manifest as JSON."""
    for seed in range(5):
        for value in occlude(gradient(96, 96), None, kind, seed).occlusion.parameters.values():
            values = value if isinstance(value, tuple) else (value,)
            assert all(type(part) in (int, float, str) for part in values)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_varies_with_the_seed(kind: str) -> None:
    pictures = {occlude(gradient(96, 96), None, kind, seed).image.tobytes() for seed in range(6)}
    assert len(pictures) == 6


@pytest.mark.parametrize("kind", KINDS)
def test_an_occlusion_follows_the_face(kind: str) -> None:
    """A face of half the size in a corner is hidden there, and nowhere far from it."""
    landmarks = canonical_landmarks(128) + (128, 128)
    for seed in range(4):
        alpha = occlude(gradient(256, 256), landmarks, kind, seed).occlusion.alpha
        rows, columns = np.nonzero(alpha > 0.5)
        assert (0.002 if kind == "eye_patch" else 0.005) < len(rows) / alpha.size < 0.2
        assert rows.min() >= 100
        assert columns.min() >= 100

from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facemend.alignment import crop_face
from facemend.datasets import FaceRecord, FaceSource, open_source
from facemend.datasets.pairs import Landmarks, Recipe, equal_shares, faces_for, make_pair, parse_shares
from facemend.detection import find_faces
from facemend.errors import SourceError, UsageError
from facemend.io import read_image, write_png
from facemend.occlusion import KINDS, SEED_SET
from tests.tiny_celeba import gradient, make_celeba

RECIPE = Recipe(count=8, size_px=64)


@pytest.fixture
def source(tmp_path: Path) -> FaceSource:
    return open_source(make_celeba(tmp_path / "celeba"))


def test_a_pair_is_equal_outside_its_occlusion(source: FaceSource) -> None:
    pair = make_pair(source, 1, RECIPE)
    assert (pair.name, pair.identity) == ("000002.jpg", "celeba:12")
    np.testing.assert_array_equal(pair.target, source.crop(source.records[1], 64))
    outside = pair.occlusion.alpha == 0
    np.testing.assert_array_equal(pair.occluded[outside], pair.target[outside])
    assert (pair.occluded != pair.target).any()


def test_a_pair_depends_on_seed_picture_and_round_alone(source: FaceSource) -> None:
    pair = make_pair(source, 3, RECIPE)
    alone = FaceSource("CelebA", source.records[3:4], source.read, "")
    same = make_pair(alone, 0, Recipe(count=500, size_px=64))
    np.testing.assert_array_equal(pair.occluded, same.occluded)
    seeds = {
        pair.occlusion.seed,
        make_pair(source, 3 + len(source), RECIPE).occlusion.seed,
        make_pair(source, 2, RECIPE).occlusion.seed,
        make_pair(source, 3, Recipe(count=8, size_px=64, seed=1)).occlusion.seed,
    }
    assert len(seeds) == 4


def test_faces_repeat_with_new_draws(source: FaceSource) -> None:
    first, again = make_pair(source, 0, RECIPE), make_pair(source, 6, RECIPE)
    np.testing.assert_array_equal(first.target, again.target)
    assert (first.occluded != again.occluded).any()


def test_kinds_come_by_their_shares(source: FaceSource) -> None:
    recipe = Recipe(count=60, shares={"blur": 3, "mask_full": 1, "nose_mask": 0}, size_px=16)
    kinds = [make_pair(source, index, recipe).occlusion.kind for index in range(60)]
    assert set(kinds) == {"blur", "mask_full"}
    assert 30 < kinds.count("blur") < 56


def test_the_order_of_shares_does_not_matter(source: FaceSource) -> None:
    one = Recipe(count=6, shares={"blur": 1, "mask_full": 1}, size_px=16)
    two = Recipe(count=6, shares={"mask_full": 1, "blur": 1}, size_px=16)
    for index in range(6):
        assert make_pair(source, index, one).occlusion.kind == make_pair(source, index, two).occlusion.kind


def test_a_landmark_moves_the_occlusion(source: FaceSource) -> None:
    record = source.records[0]
    assert record.frame_landmarks_px is not None
    moved = FaceRecord(record.name, record.identity, record.frame_landmarks_px + (20, 0))
    recipe = Recipe(count=1, shares={"mask_full": 1}, size_px=178)
    here, there = (
        make_pair(FaceSource("CelebA", [r], source.read, ""), 0, recipe).occlusion.mask
        for r in (record, moved)
    )
    np.testing.assert_array_equal(np.roll(here, 20, axis=1), there)


def _with(source: FaceSource, landmarks_px: object) -> FaceSource:
    """The source's first face alone, with other landmarks."""
    points = None if landmarks_px is None else np.array(landmarks_px, dtype=np.float64)
    record = FaceRecord(source.records[0].name, "a", points)
    return FaceSource("CelebA", [record], source.read, "")


@pytest.mark.parametrize(
    "points",
    [
        None,
        [(69, 111), (107, 111), (np.nan, 135), (73, 152), (105, 152)],
        [(69, 111), (107, 111), (88, 135), (73, np.inf), (105, 152)],
        [(69, 111), (107, 111), (88, 135), (73, -1e9), (105, 152)],
    ],
    ids=["none", "nan", "infinite", "far away"],
)
def test_missing_and_impossible_landmarks_give_way_to_the_canonical_ones(
    source: FaceSource, points: object
) -> None:
    pair = make_pair(_with(source, points), 0, RECIPE)
    assert pair.landmarks is Landmarks.CANONICAL
    bare = make_pair(_with(source, None), 0, RECIPE)
    np.testing.assert_array_equal(pair.occluded, bare.occluded)


@pytest.mark.parametrize(
    ("nose_x", "landmarks"),
    [(68, "profile"), (70, "annotated"), (106, "annotated"), (108, "profile")],
)
def test_a_face_whose_nose_is_not_between_the_eyes_is_a_profile(
    source: FaceSource, nose_x: float, landmarks: str
) -> None:
    points = [(69, 111), (107, 111), (nose_x, 135), (73, 152), (105, 152)]
    assert make_pair(_with(source, points), 0, RECIPE).landmarks == landmarks


@given(st.lists(st.floats(), min_size=10, max_size=10), st.sampled_from(sorted(KINDS)))
def test_no_landmarks_whatever_keep_a_pair_from_being_made(points: list[float], kind: str) -> None:
    record = FaceRecord("a.png", "a", np.array(points).reshape(5, 2))
    face = FaceSource("faces", [record], lambda name: gradient(32, 32), "")
    pair = make_pair(face, 0, Recipe(1, {kind: 1.0}, size_px=32))
    assert pair.occluded.shape == pair.target.shape == (32, 32, 3)


def test_only_who_can_take_no_kind_is_passed_over(source: FaceSource) -> None:
    records = [
        FaceRecord("a", "a", None, {"Eyeglasses": True}),
        FaceRecord("b", "b", None, {"Eyeglasses": False}),
        FaceRecord("c", "c"),
    ]
    faces = FaceSource("faces", records, source.read, "")
    for shares, names in (({"sunglasses": 1.0}, "bc"), ({"sunglasses": 1.0, "blur": 1.0}, "abc")):
        assert "".join(r.name for r in faces_for(faces, Recipe(1, shares)).records) == names
    with pytest.raises(SourceError, match="no face of faces can take sunglasses"):
        faces_for(faces.first(1), Recipe(1, {"sunglasses": 1.0}))


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"count": 0}, "a dataset of 0 pairs cannot be made"),
        ({"count": 1, "size_px": 8}, "size 8 is not in 16 to 2048"),
        ({"count": 1, "shares": {"beard": 1.0}}, "unknown occlusion 'beard'; choose from nose_mask"),
        ({"count": 1, "shares": {}}, "shares must be positive"),
        ({"count": 1, "shares": {"blur": -1.0, "nose_mask": 2.0}}, "shares must be positive"),
        ({"count": 1, "shares": {"blur": 0.0}}, "shares must be positive"),
        ({"count": 1, "shares": {"blur": float("nan")}}, "shares must be positive"),
        ({"count": 1, "shares": {"blur": float("inf")}}, "shares must be positive"),
        ({"count": 1, "shares": {"cutouts": 1.0}}, "cutouts and --cutouts FOLDER need each other"),
        ({"count": 1, "shares": {"real_mask": 1.0}}, "real_mask and --cutouts FOLDER need each other"),
        ({"count": 1, "cutouts": Path("mine")}, "cutouts and --cutouts FOLDER need each other"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_wrong_use(recipe: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Recipe(**recipe)  # type: ignore[arg-type]


def test_shares_are_read_from_a_line() -> None:
    assert parse_shares("nose_mask=0.4, blur=2") == {"nose_mask": 0.4, "blur": 2.0}
    assert parse_shares("nose_mask,blur") == {"nose_mask": 1.0, "blur": 1.0}


def test_a_share_that_is_no_number_is_named() -> None:
    with pytest.raises(UsageError, match=r"'blur=much' is not a share of a kind; write kind=0\.5"):
        parse_shares("nose_mask=1,blur=much")


def test_by_default_the_seed_set_is_drawn_in_equal_shares() -> None:
    assert Recipe(1).shares == dict.fromkeys(["nose_mask", "blur", "blur_full", "mask_full"], 1.0)


def test_a_kind_that_comes_twice_is_named() -> None:
    with pytest.raises(UsageError, match="blur has two shares; name every kind once"):
        parse_shares("blur=1,nose_mask=1, blur=2")


def test_cutouts_have_an_equal_share_where_there_are_some() -> None:
    assert equal_shares() == dict.fromkeys(SEED_SET, 1.0)
    assert equal_shares(Path("mine")) == dict.fromkeys([*SEED_SET, "cutouts"], 1.0)


def test_where_landmarks_are_missing_the_detector_finds_the_face(tmp_path: Path) -> None:
    portraits = files("facemend").joinpath("portraits")
    names = sorted(entry.name for entry in portraits.iterdir() if entry.name.endswith((".png", ".jpg")))
    assert names
    for name in names:
        photo = read_image(Path(str(portraits.joinpath(name))))
        crop = crop_face(photo, find_faces(photo)[0].landmarks_px)
        write_png(tmp_path / "faces" / "someone" / f"{name}.png", crop.image)
    source = open_source(tmp_path / "faces")
    for size_px in (64, 256):
        recipe = Recipe(len(names), {"nose_mask": 1.0}, size_px)
        for index in range(len(names)):
            pair = make_pair(source, index, recipe)
            assert pair.landmarks == "detected"
            again = make_pair(source, index, recipe)
            assert (pair.occluded == again.occluded).all()


def test_a_face_far_from_the_middle_is_not_taken_for_that_of_the_crop(tmp_path: Path) -> None:
    portraits = files("facemend").joinpath("portraits")
    name = min(entry.name for entry in portraits.iterdir() if entry.name.endswith((".png", ".jpg")))
    photo = read_image(Path(str(portraits.joinpath(name))))
    face = crop_face(photo, find_faces(photo)[0].landmarks_px, 128).image
    corner = np.full((256, 256, 3), 128, dtype=np.uint8)
    corner[:128, :128] = face
    write_png(tmp_path / "faces" / "someone" / "corner.png", corner)
    pair = make_pair(open_source(tmp_path / "faces"), 0, Recipe(1, {"nose_mask": 1.0}))
    assert find_faces(corner)
    assert pair.landmarks == "canonical"

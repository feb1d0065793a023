import csv
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facemend.alignment import canonical_landmarks
from facemend.datasets.pairs import Recipe
from facemend.errors import PictureError, SourceError
from facemend.occlusion import KINDS, Kind, OcclusionClass, occlude, real_mask_kind
from facemend.occlusion.cutouts import find_masks, read_mask
from tests.tiny_celeba import gradient


def _mask(
    path: Path, colour: tuple[int, int, int] = (90, 150, 210), bottom: int = 186, times: int = 1
) -> Path:
    """A mask in CelebA's frame, from below the eyes to the chin, with pleats."""
    pixels = np.zeros((218, 178, 4), np.uint8)
    pixels[126:bottom, 52:126] = (*colour, 255)
    pixels[140:bottom:12, 52:126, :3] = np.array(colour) // 2
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.repeat(times, axis=0).repeat(times, axis=1)).save(path)
    return path


def _table(folder: Path, *rows: tuple[str, str, str]) -> None:
    with folder.with_suffix(".csv").open("w", newline="") as lines:
        csv.writer(lines).writerows([("file", "yaw", "source_path"), *rows])


def _alphas(kind: Kind, size: tuple[int, int] = (256, 256), count: int = 12) -> list[np.ndarray]:
    picture = gradient(*size)
    return [
        occlude(picture, canonical_landmarks(), "real_mask", seed, {"real_mask": kind}).occlusion.alpha
        for seed in range(count)
    ]


def test_a_mask_lies_where_it_lay_in_its_photograph(tmp_path: Path) -> None:
    _mask(tmp_path / "blue.png")
    kind = real_mask_kind(tmp_path)
    assert kind.occlusion_class is OcclusionClass.COVERS
    for alpha in _alphas(kind):
        columns = np.nonzero(alpha > 0.99)[1]
        assert 0.06 < (alpha > 0.5).mean() < 0.3
        assert columns.mean() == pytest.approx(127.5, abs=12)
        assert alpha[:110].max() == 0 or alpha[:60].max() == 0
        assert alpha[205, 127] == 1


def test_the_picture_keeps_its_bytes_beside_the_mask_and_the_target_has_no_mask(tmp_path: Path) -> None:
    _mask(tmp_path / "blue.png")
    picture, kinds = gradient(256, 256), {"real_mask": real_mask_kind(tmp_path)}
    for seed in range(12):
        face = occlude(picture, canonical_landmarks(), "real_mask", seed, kinds)
        outside = face.occlusion.alpha == 0
        assert (face.image[outside] == face.target[outside]).all()
        if face.occlusion.parameters["over"] in ("nothing", "own hair"):
            assert (face.target == picture).all()


def test_the_same_seed_draws_the_same_and_another_process_too(tmp_path: Path) -> None:
    for number in range(3):
        _mask(tmp_path / f"{number}.png", (40 * number + 60, 90, 120))
    kind = real_mask_kind(tmp_path)
    travelled = pickle.loads(pickle.dumps(kind))
    first, second = (
        [occlude(gradient(96, 96), None, "m", seed, {"m": each}).image for seed in range(4)]
        for each in (kind, travelled)
    )
    assert all((a == b).all() for a, b in zip(first, second, strict=True))
    assert len(pickle.dumps(kind)) < 20_000


def test_a_mask_that_reaches_the_lower_border_goes_on_in_a_taller_picture(tmp_path: Path) -> None:
    _mask(tmp_path / "gaiter.png", bottom=218)
    kinds = {"real_mask": real_mask_kind(tmp_path)}
    picture = gradient(256, 320)
    for seed in range(6):
        face = occlude(picture, canonical_landmarks(), "real_mask", seed, kinds)
        assert face.occlusion.alpha.shape == (320, 256)
        assert face.occlusion.alpha[300, 127] == 1


def test_masks_fit_small_and_large_pictures_alike(tmp_path: Path) -> None:
    _mask(tmp_path / "blue.png")
    kinds = {"real_mask": real_mask_kind(tmp_path)}
    shares = [
        np.mean(
            [occlude(gradient(s, s), None, "real_mask", n, kinds).occlusion.alpha.mean() for n in range(6)]
        )
        for s in (64, 128, 512)
    ]
    assert max(shares) - min(shares) < 0.02


def test_a_mask_looks_the_way_the_face_looks(tmp_path: Path) -> None:
    folder = tmp_path / "masks"
    _mask(folder / "left.png"), _mask(folder / "ahead.png")
    _table(folder, ("left.png", "-0.4", "a"), ("ahead.png", "0", "b"))
    landmarks = canonical_landmarks()
    landmarks[2, 0] += 0.4 * 54.7
    kinds = {"real_mask": real_mask_kind(folder)}
    for seed in range(8):
        parameters = occlude(gradient(256, 256), landmarks, "real_mask", seed, kinds).occlusion.parameters
        assert (parameters["file"], parameters["mirrored"]) == ("left.png", 1)


def test_skin_at_the_rim_is_cut_off(tmp_path: Path) -> None:
    path = _mask(tmp_path / "blue.png")
    pixels = np.array(Image.open(path))
    pixels[180:186, 52:126] = (210, 150, 120, 255)
    Image.fromarray(pixels).save(path)
    mask = read_mask(path)
    assert mask.outline[:, 1].max() < 181
    assert mask.levels[..., 0].max() < 130


def test_photographs_are_held_out_whole_and_nobody_is_in_both_parts(tmp_path: Path) -> None:
    folder = tmp_path / "masks"
    rows = []
    for photo in range(40):
        for mask in range(2):
            _mask(folder / "lower" / f"{photo}_{mask}.png", (photo * 5, 90, 90))
            rows.append((f"{photo}_{mask}.png", "0.1", f"photos/{photo}.jpg"))
    _table(folder, *rows)
    parts = {part: find_masks(folder, part) for part in ("train", "measure")}
    photos = {part: {mask.photograph for mask in masks} for part, masks in parts.items()}
    assert not photos["train"] & photos["measure"]
    assert photos["measure"]
    assert sum(map(len, parts.values())) == len(find_masks(folder)) == 80
    assert all(len(masks) == 2 * len(photos[part]) for part, masks in parts.items())


def test_pictures_of_another_size_are_left_to_the_other_kind(tmp_path: Path) -> None:
    _mask(tmp_path / "lower" / "fine.png", times=2)
    Image.fromarray(np.full((40, 60, 4), 255, np.uint8)).save(tmp_path / "lower" / "beard.png")
    Image.fromarray(np.full((218, 178, 4), 255, np.uint8)).save(
        tmp_path / "other.jpg".replace("jpg", "webp")
    )
    assert [mask.path.name for mask in find_masks(tmp_path)] == ["fine.png", "other.webp"]


def test_a_recipe_draws_them_and_leaves_out_the_held_out_ones(tmp_path: Path) -> None:
    for number in range(30):
        _mask(tmp_path / f"{number}.png")
    recipe = Recipe(1, {"real_mask": 1.0}, cutouts=tmp_path)
    held_out = {mask.path.name for mask in find_masks(tmp_path, "measure")}
    drawn = {
        occlude(gradient(64, 64), None, "real_mask", seed, recipe.kinds).occlusion.parameters["file"]
        for seed in range(150)
    }
    assert held_out
    assert not drawn & held_out
    assert len(drawn) > 20


def test_what_cannot_be_used_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is not a folder; pass a folder of masks"):
        real_mask_kind(tmp_path / "gone")
    folder = tmp_path / "masks"
    folder.mkdir()
    with pytest.raises(SourceError, match="holds no masks for real_mask"):
        real_mask_kind(folder)
    _mask(folder / "a.png")
    with pytest.raises(ValueError, match="unknown part 'test'"):
        real_mask_kind(folder, "test")
    _table(folder, ("a.png", "much", "a"))
    with pytest.raises(SourceError, match=r"the yaw of a\.png is 'much', which is not a number"):
        real_mask_kind(folder)
    folder.with_suffix(".csv").write_text("name,yaw\na.png,0\n")
    with pytest.raises(SourceError, match="has no column file"):
        real_mask_kind(folder)
    folder.with_suffix(".csv").unlink()
    Image.new("RGBA", (178, 218)).save(folder / "empty.png")
    with pytest.raises(PictureError, match=r"empty\.png is transparent everywhere"):
        real_mask_kind(folder)
    Image.new("RGB", (178, 218)).save(folder / "empty.png")
    with pytest.raises(PictureError, match=r"empty\.png has no transparency"):
        real_mask_kind(folder)


def test_a_part_without_a_photograph_says_so(tmp_path: Path) -> None:
    part = find_masks(_mask(tmp_path / "a.png").parent)[0].part
    with pytest.raises(SourceError, match="none of the 1 masks in"):
        real_mask_kind(tmp_path, "measure" if part == "train" else "train")


def test_a_face_outside_the_picture_is_not_hidden(tmp_path: Path) -> None:
    _mask(tmp_path / "a.png")
    kinds = {**KINDS, "real_mask": real_mask_kind(tmp_path)}
    picture = gradient(128, 128)
    face = occlude(picture, canonical_landmarks(128) + 1000, "real_mask", 3, kinds)
    assert (face.image == picture).all()
    assert face.occlusion.coverage == 0


def test_a_grey_picture_gets_a_grey_mask(tmp_path: Path) -> None:
    _mask(tmp_path / "a.png")
    grey = gradient(256, 256)[..., :1].repeat(3, axis=2)
    for seed in range(6):
        image = occlude(grey, None, "m", seed, {"m": real_mask_kind(tmp_path)}).image.astype(int)
        assert np.ptp(image, axis=2).max() <= 12

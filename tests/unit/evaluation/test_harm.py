from pathlib import Path

import numpy as np
import pytest

from facemend.detection import Face
from facemend.errors import SourceError
from facemend.evaluation.harm import (
    AS_IT_IS,
    CONDITIONS,
    IN_PROFILE,
    UncoveredPhoto,
    find_photos,
    measure_harm,
    to_table,
)
from facemend.evaluation.results import ScoreCache
from facemend.evaluation.statistics import wilson_interval
from facemend.images import Image
from facemend.io import write_png
from facemend.reconstruction.demo import read_portraits
from tests.stand_in import COVER
from tests.tiny_celeba import gradient

LANDMARKS = np.array([(40.0, 40.0), (80.0, 40.0), (60.0, 60.0), (45.0, 80.0), (75.0, 80.0)])


def shown(pixels: Image | None = None, nose_x: float = 60.0) -> UncoveredPhoto:
    landmarks = LANDMARKS.copy()
    landmarks[2, 0] = nose_x
    photo = gradient(160, 140) if pixels is None else pixels
    return UncoveredPhoto(photo, Face((20.0, 10.0, 100.0, 110.0), landmarks, 0.9))


def apply(condition: str, photo: UncoveredPhoto, seed: int = 0) -> Image | None:
    return CONDITIONS[condition](photo, np.random.default_rng(seed))


def spread_of(picture: Image) -> float:
    """The standard deviation of a white dot's light, in pixels along a row."""
    light = picture[..., 0].astype(float).sum(axis=0)
    x = np.arange(len(light))
    middle = (light * x).sum() / light.sum()
    return float(np.sqrt((light * (x - middle) ** 2).sum() / light.sum()))


def block() -> Image:
    """A white block of 20×20 in black."""
    picture = np.zeros((140, 160, 3), dtype=np.uint8)
    picture[60:80, 70:90] = 255
    return picture


@pytest.mark.parametrize("share", [1, 2, 4])
def test_blurs_are_shares_of_the_width_of_the_face(share: int) -> None:
    before = spread_of(block()) ** 2
    gaussian, lens = (apply(f"{kind} blur, {share}%", shown(block())) for kind in ("Gaussian", "lens"))
    assert gaussian is not None
    assert lens is not None
    width_px = 80 * share / 100
    assert spread_of(gaussian) ** 2 - before == pytest.approx(width_px**2, rel=0.3)
    # A disc of radius r has a standard deviation of r / 2 along any line.
    assert spread_of(lens) ** 2 - before == pytest.approx(width_px**2 / 4, rel=0.3, abs=0.2)


def test_a_photo_without_a_face_takes_a_third_of_its_shorter_side_for_the_face() -> None:
    assert UncoveredPhoto(gradient(160, 140), None).face_width_px == pytest.approx(140 / 3)
    assert apply("at the border", UncoveredPhoto(gradient(160, 140), None)) is None


def test_at_the_border_a_third_of_the_face_is_cut_off() -> None:
    widths = {
        picture.shape[1]
        for seed in range(10)
        if (picture := apply("at the border", shown(), seed)) is not None
    }
    assert widths == {160 - round(20 + 80 / 3), round(100 - 80 / 3)}


def test_black_and_white_and_sepia_have_one_hue() -> None:
    gray, sepia = apply("black and white", shown()), apply("sepia", shown())
    assert gray is not None
    assert sepia is not None
    assert (gray == gray[..., :1]).all()
    assert (sepia[..., 0] >= sepia[..., 1]).all()
    assert (sepia[..., 1] >= sepia[..., 2]).all()


def test_a_turned_head_is_one_whose_nose_is_beside_the_middle_of_the_eyes() -> None:
    assert apply(IN_PROFILE, shown(nose_x=60)) is None
    assert apply(IN_PROFILE, shown(nose_x=75)) is not None


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_condition_gives_the_same_photo_again(condition: str) -> None:
    first, second = (apply(condition, shown(nose_x=75)) for _ in range(2))
    assert first is not None
    assert second is not None
    np.testing.assert_array_equal(first, second)
    assert first.dtype == np.uint8


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two portraits of which one is covered by a patch of pure green, which the stand-in model removes."""
    folder = tmp_path / "photos"
    for number, portrait in enumerate(read_portraits()[:2]):
        pixels = portrait.photo.copy()
        if not number:
            x, y = portrait.landmarks_px[2].astype(int)
            pixels[y - 24 : y + 24, x - 24 : x + 24] = COVER
        write_png(folder / f"{number}.png", pixels)
    return folder


def test_changed_photos_are_counted_and_named(photos: Path, stand_in_model: Path, tmp_path: Path) -> None:
    conditions = [AS_IT_IS, "black and white"]
    with ScoreCache(tmp_path / "cache") as cache:
        report, again = (
            measure_harm(
                stand_in_model,
                find_photos(photos),
                source="photos",
                conditions=conditions,
                threads=1,
                cache=cache,
            )
            for _ in range(2)
        )
    assert report == again
    as_it_is, gray = report.rows
    assert (as_it_is.photos, as_it_is.changed, as_it_is.share) == (2, ("0.png",), 0.5)
    assert (gray.photos, gray.changed, gray.share) == (2, (), 0.0)
    assert to_table(report).lines[0][:3] == (AS_IT_IS, "2", "1")
    assert "- as it is: 0.png" in report.to_markdown()


def test_a_folder_without_photos_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds no photos"):
        find_photos(tmp_path)
    with pytest.raises(SourceError, match="is not a folder"):
        find_photos(tmp_path / "nothing")


def test_an_interval_of_a_share_is_wilsons() -> None:
    # Of nothing in n it ends at z² / (n + z²); of one half it is 1/2 ± z / (2 √(n + z²)).
    assert wilson_interval(0, 76) == pytest.approx((0, 3.8415 / 79.8415), abs=1e-4)
    assert wilson_interval(50, 100) == pytest.approx((0.5 - 0.0962, 0.5 + 0.0962), abs=1e-4)
    low, high = wilson_interval(3, 24)
    assert wilson_interval(21, 24) == pytest.approx((1 - high, 1 - low))

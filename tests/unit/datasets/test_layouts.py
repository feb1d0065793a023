from pathlib import Path

import numpy as np
import pytest

from facemend.datasets import open_source
from facemend.datasets.build import build_dataset
from facemend.datasets.pairs import Files, Layout, PictureFormat, Recipe, make_pair
from facemend.errors import UsageError
from facemend.io import read_image
from tests.tiny_celeba import make_celeba

RECIPE = Recipe(count=3, size_px=48)


def test_other_programs_find_the_split_in_its_own_folder() -> None:
    out = Path("out")
    assert Layout.FOLDERS.home(out, "val") == out
    for layout in (Layout.IMAGEFOLDER, Layout.PIX2PIX):
        assert [layout.home(out, split) for split in ("train", "val", "test", "all")] == [
            out / "train",
            out / "val",
            out / "test",
            out / "train",
        ]


def test_pix2pix_has_the_occluded_picture_left_and_the_target_right(tmp_path: Path) -> None:
    source, out = open_source(make_celeba(tmp_path / "celeba")), tmp_path / "out"
    build_dataset(source, out, RECIPE, Files(Layout.PIX2PIX))
    assert sorted(path.name for path in out.iterdir()) == [
        *(f"{number:06d}.png" for number in (1, 2, 3)),
        "dataset.json",
        "manifest.jsonl",
    ]
    for index in range(3):
        pair, picture = make_pair(source, index, RECIPE), read_image(out / f"{index + 1:06d}.png")
        assert picture.shape == (48, 96, 3)
        np.testing.assert_array_equal(picture[:, :48], pair.occluded)
        np.testing.assert_array_equal(picture[:, 48:], pair.target)


@pytest.mark.parametrize(
    "files",
    [
        Files(),
        Files(Layout.IMAGEFOLDER),
        Files(Layout.PIX2PIX),
        Files(Layout.IMAGEFOLDER, PictureFormat.WEBP),
    ],
    ids=lambda files: f"{files.layout} {files.picture_format}",
)
def test_what_is_written_is_read_back(tmp_path: Path, files: Files) -> None:
    source, out = open_source(make_celeba(tmp_path / "celeba")), tmp_path / "out"
    build_dataset(source, out, RECIPE, files)
    for index in range(3):
        pair = make_pair(source, index, RECIPE)
        occluded, target = files.read(out, files.name(index))
        np.testing.assert_array_equal(occluded, pair.occluded)
        np.testing.assert_array_equal(target, pair.target)


def test_pix2pix_takes_no_webp() -> None:
    with pytest.raises(UsageError, match="cannot read WebP; use --format png"):
        Files(Layout.PIX2PIX, PictureFormat.WEBP)

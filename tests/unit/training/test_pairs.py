from pathlib import Path

import numpy as np
import pytest

from facemend.errors import PictureError, SourceError
from facemend.io import write_png
from facemend.training.batches import stack
from facemend.training.config import DataConfig
from facemend.training.data import PairedPictures, cached_crops, decode_pair, halves, open_pairs
from facemend.training.loop import paired_cases
from tests.tiny_celeba import gradient


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    for seed in range(3):
        write_png(tmp_path / f"pairs/occluded/{seed}.png", gradient(96, 80, seed))
        write_png(tmp_path / f"pairs/target/{seed}.png", 255 - gradient(96, 80, seed))
    return tmp_path / "pairs"


@pytest.fixture
def side_by_side(folders: Path, tmp_path: Path) -> Path:
    for seed in range(3):
        both = np.hstack([gradient(96, 80, seed), 255 - gradient(96, 80, seed)])
        write_png(tmp_path / f"both/{seed}.png", both)
    return tmp_path / "both"


def test_both_forms_are_the_same_pairs(folders: Path, side_by_side: Path) -> None:
    two, one = open_pairs(folders, "folders"), open_pairs(side_by_side, "side_by_side")
    assert [record.name for record in two.records] == ["0.png", "1.png", "2.png"]
    for ours, theirs in zip(two.records, one.records, strict=True):
        assert np.array_equal(decode_pair(two, ours, 64), decode_pair(one, theirs, 64))
    assert two.fingerprint != one.fingerprint


def test_a_pair_is_shown_and_drawn_as_it_lies_there(folders: Path) -> None:
    source = open_pairs(folders, "folders")
    shown, target = halves(decode_pair(source, source.records[1], 80))
    assert shown.shape == target.shape == (80, 80, 3)
    assert np.abs(255 - shown.astype(int) - target).max() <= 1
    case = paired_cases(source, 80)[1]
    assert np.array_equal(case.image, shown)
    assert case.hole.all()


def test_pairs_are_mirrored_and_jittered_alike(folders: Path, tmp_path: Path) -> None:
    source = open_pairs(folders, "folders")
    crops = cached_crops(source, 64, tmp_path / "cache", decode_pair, quiet=True)
    dataset = PairedPictures(crops, DataConfig(pairs="folders", jitter_px=72), 64, seed=0)
    batch = stack([dataset[position] for position in range(12)]).unpack()
    assert (batch.occluded + batch.target).abs().max() < 0.02  # each is the other's negative
    assert len({tuple(picture.flatten().tolist()) for picture in batch.target}) > 6
    assert batch.hole.min() == 1


def test_what_is_no_pair_is_said(folders: Path, side_by_side: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is no folder"):
        open_pairs(tmp_path / "none", "folders")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="no pictures"):
        open_pairs(tmp_path / "empty", "side_by_side")
    write_png(folders / "target/0.png", gradient(50, 50), force=True)
    source = open_pairs(folders, "folders")
    with pytest.raises(PictureError, match="another size"):
        decode_pair(source, source.records[0], 64)
    (folders / "target/0.png").unlink()
    with pytest.raises(SourceError, match=r"0\.png is missing"):
        open_pairs(folders, "folders")
    write_png(side_by_side / "0.png", gradient(51, 50), force=True)
    source = open_pairs(side_by_side, "side_by_side")
    with pytest.raises(PictureError, match="halves"):
        decode_pair(source, source.records[0], 64)

import csv
from pathlib import Path

import numpy as np
import pytest

from facemend.errors import FacemendError
from facemend.images import Image
from facemend.io import read_image, write_png
from facemend.reconstruction.demo import read_portraits
from tests.tiny_celeba import gradient
from tools.judge_sheets import JUDGEMENTS, KEY, make_sheets, shuffle
from tools.judge_tally import tally


def folder_of(path: Path, pictures: dict[str, Image]) -> Path:
    for name, picture in pictures.items():
        write_png(path / f"{name}.png", picture)
    return path


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def judge(path: Path, verdicts: list[tuple[str, str, str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("cell", "removal", "face"), *verdicts])
    return path


def test_every_photo_of_every_version_is_one_cell_and_each_round_shows_each_photo_once() -> None:
    photos = [f"photo {number}" for number in range(12)]
    cells = shuffle(photos, ["a", "b"], np.random.default_rng(0))
    assert {(cell.photo, cell.version) for cell in cells} == {(p, v) for p in photos for v in "ab"}
    assert [cell.number for cell in cells] == list(range(1, 25))
    assert {cell.photo for cell in cells[:12]} == set(photos)
    assert {cell.version for cell in cells[:12]} == {"a", "b"}
    assert cells != shuffle(photos, ["a", "b"], np.random.default_rng(1))
    assert cells == shuffle(photos, ["a", "b"], np.random.default_rng(0))
    assert len(shuffle(photos, ["a", "b"], np.random.default_rng(0), limit=3)) == 6


def test_sheets_hold_eight_pairs_and_the_key_says_what_they_show(tmp_path: Path) -> None:
    photos = {f"{number:02d}": gradient(90, 60, number) for number in range(5)}
    before = folder_of(tmp_path / "before", photos)
    versions = {
        "old": folder_of(tmp_path / "old", {f"{name}_reconstructed": p for name, p in photos.items()}),
        "new": folder_of(tmp_path / "new", {name: 255 - p for name, p in photos.items()}),
    }
    assert make_sheets(before, versions, tmp_path / "sheets", seed=0) == 2
    sheets = sorted(path.name for path in (tmp_path / "sheets").iterdir())
    assert sheets == [JUDGEMENTS, KEY, "sheet_001.png", "sheet_002.png"]
    key = rows(tmp_path / "sheets" / KEY)
    assert [row["sheet"] for row in key] == ["1"] * 8 + ["2"] * 2
    assert {(row["photo"], row["version"]) for row in key} == {(p, v) for p in photos for v in versions}
    assert [row["removal"] for row in rows(tmp_path / "sheets" / JUDGEMENTS)] == [""] * 10


def test_a_small_face_is_enlarged_and_cut_with_its_surroundings(tmp_path: Path) -> None:
    portrait = read_portraits()[0].photo
    before = folder_of(tmp_path / "before", {"face": portrait})
    after = folder_of(tmp_path / "after", {"face": portrait})
    make_sheets(before, {"only": after}, tmp_path / "sheets", seed=0)
    sheet = read_image(tmp_path / "sheets" / "sheet_001.png")
    # A face of 256 px or more, with half of it on either side, twice.
    assert sheet.shape[1] > 2 * 256 * 1.5


def test_a_version_that_lacks_a_photo_is_named(tmp_path: Path) -> None:
    before = folder_of(tmp_path / "before", {"a": gradient(60, 60), "b": gradient(60, 60)})
    after = folder_of(tmp_path / "after", {"a": gradient(60, 60)})
    with pytest.raises(FacemendError, match=r"after has no b \(1 photos missing\)"):
        make_sheets(before, {"only": after}, tmp_path / "sheets", seed=0)


def test_the_tally_counts_by_version_and_untouched_ones_are_rejected(tmp_path: Path) -> None:
    key = tmp_path / KEY
    with key.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("cell", "version"), ("1", "a"), ("2", "b"), ("3", "a"), ("4", "a")])
    said = [
        ("1", "gone", "plausible"),
        ("2", "rest", "so-so"),
        ("4", "gone", "rejected"),
        ("3", "untouched", ""),
    ]
    table = tally(key, judge(tmp_path / JUDGEMENTS, said))
    assert table.header[2:] == ("gone", "rest", "untouched", "plausible", "so-so", "rejected")
    first = table.lines[0]
    assert first[:2] == ("a", "3")
    assert [cell.split(" (")[0] for cell in first[2:]] == [
        "2: 67%",
        "0: 0%",
        "1: 33%",
        "1: 33%",
        "0: 0%",
        "2: 67%",
    ]
    assert first[2] == "2: 67% (21% to 94%)"
    assert table.lines[1][:2] == ("b", "1")


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ([("1", "gone", "plausible")], "does not judge cell 2"),
        ([("1", "gone", "plausible"), ("1", "gone", "plausible")], "cell 1 is twice there"),
        ([("9", "gone", "plausible")], "cell 9 is in no key"),
        ([("1", "gone", "fine")], "cell 1: 'gone', 'fine'"),
        ([("1", "gone", "")], "cell 1: 'gone', ''"),
    ],
)
def test_a_wrong_judgement_is_refused(
    tmp_path: Path, said: list[tuple[str, str, str]], message: str
) -> None:
    key = tmp_path / KEY
    with key.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("cell", "version"), ("1", "a"), ("2", "b")])
    with pytest.raises(FacemendError, match=message):
        tally(key, judge(tmp_path / JUDGEMENTS, said))

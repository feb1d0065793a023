from pathlib import Path

import numpy as np
import pytest

from facemend.alignment import FRAME_HEIGHT_PX, FRAME_LANDMARKS_PX, FRAME_WIDTH_PX
from facemend.datasets import Split, known_identities, open_source, take_split
from facemend.errors import SourceError
from tests.tiny_celeba import gradient
from tests.tiny_table import LANDMARKS, make_table


def test_a_table_says_who_a_face_shows_and_what_is_measured_of_it(tmp_path: Path) -> None:
    measured = {"ITA": -12.5, "yaw": 0.3, "scale": 0.5, "coverage178": 0.9, "age": "", "sharp": 0.2}
    home = make_table(tmp_path / "faces", [{"person": "ann", "use": "train", **measured, **LANDMARKS}, {}])
    source = open_source(home)
    ann, unknown = source.records
    assert (ann.name, ann.identity, ann.use) == ("0.png", "faces:ann", "train")
    assert ann.traits == {"ita": -12.5, "yaw": 0.3, "scale": 0.5, "coverage": 0.9}
    assert ann.frame_landmarks_px is not None
    np.testing.assert_array_equal(ann.frame_landmarks_px, FRAME_LANDMARKS_PX)
    assert (unknown.identity, unknown.use, unknown.traits) == ("faces:1.png", None, {})
    assert unknown.frame_landmarks_px is None
    np.testing.assert_array_equal(source.read("1.png"), gradient(FRAME_WIDTH_PX, FRAME_HEIGHT_PX, 1))


def test_a_table_may_have_its_folders_name(tmp_path: Path) -> None:
    home = make_table(tmp_path / "tight", [{}, {}])
    (home / "faces.csv").rename(home / "tight.csv")
    assert [record.identity for record in open_source(home).records] == ["tight:0.png", "tight:1.png"]


def test_a_csv_about_something_else_makes_no_table(tmp_path: Path) -> None:
    home = make_table(tmp_path / "tight", [{}, {}])
    (home / "faces.csv").unlink()
    (home / "tight.csv").write_text("name,colour\nx,red\n")
    assert [record.name for record in open_source(home).records] == ["images/0.png", "images/1.png"]


def test_what_is_marked_measure_is_the_test_split_with_everybody_who_is(tmp_path: Path) -> None:
    rows = [{"person": f"p{n}", "use": "train"} for n in range(60)]
    rows += [{"person": f"m{n}", "use": "measure"} for n in range(3)] + [{"person": "m0", "use": "train"}]
    source = open_source(make_table(tmp_path / "faces", rows))
    train, val, test = (take_split(source, split) for split in Split)
    assert len(train) + len(val) + len(test) == len(source)
    assert known_identities(test) == {"faces:m0", "faces:m1", "faces:m2"}
    assert {record.use for record in (*train.records, *val.records)} == {"train"}
    assert not known_identities(train) & known_identities(val)
    assert len(train) > 10 * len(val) > 0


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"left_eye": "1 2"}], "line 2"),
        ([{"yaw": "left"}], "line 2"),
        ([{}, {"ITA": "nan"}], "line 3"),
        ([{"file": "a.png"}, {"file": "a.png"}], "a.png twice"),
    ],
)
def test_a_table_that_cannot_be_understood_is_refused_with_its_line(
    tmp_path: Path, rows: list[dict[str, str]], message: str
) -> None:
    home = tmp_path / "faces"
    if "twice" in message:
        make_table(home, [{"file": "a.png"}])
        (home / "faces.csv").write_text("file\na.png\na.png\n")
    else:
        make_table(home, rows)
    with pytest.raises(SourceError, match=message):
        open_source(home)


def test_a_picture_that_is_missing_is_named(tmp_path: Path) -> None:
    home = make_table(tmp_path / "faces", [{}, {}])
    (home / "images" / "1.png").unlink()
    with pytest.raises(SourceError, match=r"no 1\.png \(1 pictures missing\)"):
        open_source(home)


@pytest.mark.needs_shared
def test_the_shared_faces_open_with_their_uses(shared: Path) -> None:
    source = open_source(shared / "faces")
    train, test = take_split(source, Split.TRAIN), take_split(source, Split.TEST)
    assert {record.use for record in train.records} == {"train"}
    assert {record.use for record in test.records} == {"measure"}
    assert len(test) == 500

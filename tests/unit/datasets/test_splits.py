import csv
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from facemend.datasets import (
    FaceRecord,
    FaceSource,
    Split,
    check_no_leak,
    known_identities,
    open_source,
    take_split,
)
from facemend.errors import LeakError, SourceError
from facemend.images import Image
from tests.tiny_celeba import make_celeba


def _no_picture(name: str) -> Image:
    return np.zeros((8, 8, 3), dtype=np.uint8)


def _source(people: dict[str, str | None], name: str = "faces") -> FaceSource:
    return FaceSource(name, [FaceRecord(file, who) for file, who in people.items()], _no_picture, "")


def _names(source: FaceSource) -> list[str]:
    return [record.name for record in source.records]


def _held_out(split: Split) -> list[str]:
    text = files("facemend.datasets").joinpath("celeba_split.csv").read_text("utf-8")
    return [row["file"] for row in csv.DictReader(text.splitlines()) if row["split"] == split]


def _write_split(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(rows) + "\n")
    return path


def test_celeba_carries_its_own_val_and_test_names() -> None:
    val, test = _held_out(Split.VAL), _held_out(Split.TEST)
    assert (len(set(val)), len(set(test))) == (1000, 1002)
    assert not set(val) & set(test)


def test_celebas_training_pictures_show_nobody_of_the_held_out() -> None:
    val, test = _held_out(Split.VAL)[0], _held_out(Split.TEST)[0]
    people: dict[str, str | None] = {val: "a", test: "b", "900001.jpg": "a", "900002.jpg": "c"}
    source = _source(people, "CelebA")
    assert _names(take_split(source, Split.VAL)) == [val]
    assert _names(take_split(source, Split.TEST)) == [test]
    assert _names(take_split(source, Split.TRAIN)) == ["900002.jpg"]


@pytest.mark.parametrize("name", ["CelebA", "faces"])
def test_without_identities_no_split_is_made(name: str) -> None:
    source = _source({"a.jpg": "a", "b.jpg": None}, name)
    with pytest.raises(SourceError, match=r"1 of 2 pictures .* have no identity"):
        take_split(source, Split.TRAIN)


def test_any_other_source_is_split_90_5_5_by_person() -> None:
    source = _source({f"{n}.png": f"person {n // 2}" for n in range(4000)})
    parts = {split: take_split(source, split) for split in Split}
    people = {split: known_identities(part) for split, part in parts.items()}
    assert sum(map(len, people.values())) == 2000
    assert frozenset().union(*people.values()) == known_identities(source)
    assert [len(people[split]) for split in Split] == pytest.approx([1800, 100, 100], abs=35)


def test_the_split_of_a_person_never_changes() -> None:
    # Pinned: another hash would move people between train and test of every folder in use.
    source = _source({f"{n}.png": f"person {n}" for n in range(60)})
    assert _names(take_split(source, Split.TEST)) == ["26.png", "28.png", "31.png", "33.png", "54.png"]


def test_a_split_file_overrides_both(tmp_path: Path) -> None:
    table = _write_split(tmp_path / "s.csv", "file,split", "a.png,test", "b.png,train")
    source = _source({"a.png": "a", "b.png": "b", "c.png": "c"})
    assert _names(take_split(source, Split.TEST, table)) == ["a.png"]
    assert _names(take_split(source, Split.TRAIN, table)) == ["b.png"]


def test_celebas_own_partition_is_a_split_file(tmp_path: Path) -> None:
    people = (1, 2, 3, 1, 2, 3)  # as in CelebA, nobody is in two parts
    source = open_source(make_celeba(tmp_path, people))
    part = take_split(source, Split.VAL, tmp_path / "list_eval_partition.txt")
    assert [record.name for record in part.records] == ["000002.jpg", "000005.jpg"]


def test_a_split_file_may_bring_the_identities(tmp_path: Path) -> None:
    table = _write_split(tmp_path / "s.csv", "file,identity,split", "a.png,x,test", "b.png,y,train")
    part = take_split(_source({"a.png": None, "b.png": None}), Split.TEST, table)
    assert [record.identity for record in part.records] == ["x"]


def test_a_split_file_that_puts_a_person_into_two_parts_is_a_leak(tmp_path: Path) -> None:
    table = _write_split(tmp_path / "s.csv", "file,split", "a.png,test", "b.png,train")
    with pytest.raises(LeakError, match=r"s\.csv puts the person ann into test and train"):
        take_split(_source({"a.png": "ann", "b.png": "ann"}), Split.TEST, table)


def test_a_split_file_without_identities_anywhere_is_refused(tmp_path: Path) -> None:
    table = _write_split(tmp_path / "s.csv", "file,split", "a.png,test")
    with pytest.raises(SourceError, match="have no identity"):
        take_split(_source({"a.png": None}), Split.TEST, table)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["name,part", "a.png,test"], "needs the columns file and split"),
        (["file,split"], "needs the columns file and split"),
        (["file,split", "a.png,testing"], "'testing' is not a valid Split; a split is train, val or test"),
    ],
)
def test_a_split_file_in_another_format_is_named(tmp_path: Path, rows: list[str], message: str) -> None:
    table = _write_split(tmp_path / "s.csv", *rows)
    with pytest.raises(SourceError, match=rf"s\.csv.*{message}"):
        take_split(_source({"a.png": "a"}), Split.TEST, table)


def test_a_split_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"cannot read the split file .*gone\.csv"):
        take_split(_source({"a.png": "a"}), Split.TEST, tmp_path / "gone.csv")


def test_an_empty_part_is_an_error() -> None:
    with pytest.raises(SourceError, match="no picture of CelebA belongs to the test split"):
        take_split(_source({"900001.jpg": "a"}, "CelebA"), Split.TEST)


def test_people_on_both_sides_are_a_leak() -> None:
    with pytest.raises(LeakError, match="1 of 2 people of the test set are among the training people"):
        check_no_leak(frozenset({"a", "b"}), frozenset({"b", "c"}), "test")


def test_sets_without_a_common_person_pass() -> None:
    check_no_leak(frozenset({"a"}), frozenset({"b"}), "test")


@pytest.mark.needs_shared
def test_the_carried_split_is_the_teams(shared: Path) -> None:
    with (shared / "celeba" / "identity_split.csv").open(newline="") as file:
        expected = {row["file"]: row["split"] for row in csv.DictReader(file)}
    source = open_source(shared / "celeba")
    parts = {split: take_split(source, split) for split in Split}
    assert {split: len(part) for split, part in parts.items()} == {
        Split.TRAIN: 17_996,
        Split.VAL: 1_000,
        Split.TEST: 1_002,
    }
    assert {name: split for split, part in parts.items() for name in _names(part)} == expected
    check_no_leak(known_identities(parts[Split.TRAIN]), known_identities(parts[Split.VAL]), "val")
    check_no_leak(known_identities(parts[Split.TRAIN]), known_identities(parts[Split.TEST]), "test")

import warnings
from pathlib import Path

import numpy as np
import pytest

from facemend.datasets import open_source
from facemend.errors import PictureError, SourceError
from facemend.io import write_png
from tests.tiny_celeba import gradient


def _write(folder: Path, *names: str) -> Path:
    for seed, name in enumerate(names):
        write_png(folder / name, gradient(32, 32, seed))
    return folder


def test_a_subfolder_is_a_person(tmp_path: Path) -> None:
    source = open_source(_write(tmp_path / "faces", "ann/2.png", "ann/1.png", "bob/1.png"))
    assert source.name == "faces"
    assert [record.name for record in source.records] == ["ann/1.png", "ann/2.png", "bob/1.png"]
    assert [record.identity for record in source.records] == ["faces:ann", "faces:ann", "faces:bob"]
    assert source.records[0].frame_landmarks_px is None
    np.testing.assert_array_equal(source.read("ann/1.png"), gradient(32, 32, 1))


@pytest.mark.parametrize("start", ["", "\ufeff"], ids=["plain", "as Excel writes it"])
def test_a_csv_says_who_is_who(tmp_path: Path, start: str) -> None:
    _write(tmp_path, "a.png", "b.png", "x/c.png")
    (tmp_path / "identities.csv").write_text(
        f"{start}file,identity\na.png,Ann\nb.png,Bob\nx/c.png,Ann\n", encoding="utf-8"
    )
    people = [record.identity for record in open_source(tmp_path).records]
    assert people == [f"{tmp_path.name}:{who}" for who in ("Ann", "Bob", "Ann")]


def test_without_either_every_picture_is_another_person_and_a_warning_says_so(tmp_path: Path) -> None:
    _write(tmp_path, "a.png", "b.png")
    with pytest.warns(UserWarning, match="every picture is taken for another person"):
        source = open_source(tmp_path)
    assert len({record.identity for record in source.records}) == 2


@pytest.mark.parametrize("row", ["", "b.png,\n"], ids=["no row", "no identity"])
def test_a_picture_that_the_csv_does_not_name_is_an_error(tmp_path: Path, row: str) -> None:
    _write(tmp_path, "a.png", "b.png")
    (tmp_path / "identities.csv").write_text(f"file,identity\na.png,Ann\n{row}")
    with pytest.raises(SourceError, match=r"identities\.csv does not name b\.png \(1 pictures missing\)"):
        open_source(tmp_path)


@pytest.mark.parametrize("text", ["", "name,who\na.png,Ann\n"])
def test_a_csv_without_its_columns_is_an_error(tmp_path: Path, text: str) -> None:
    _write(tmp_path, "a.png")
    (tmp_path / "identities.csv").write_text(text)
    with pytest.raises(SourceError, match="needs the columns file and identity"):
        open_source(tmp_path)


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(SourceError, match="holds no pictures"):
        open_source(tmp_path)


def test_a_folder_that_is_not_there_is_an_error_that_says_what_to_pass(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is no folder; pass CelebA's folder or zip, or a folder"):
        open_source(tmp_path / "gone")


def test_a_damaged_picture_is_named_when_it_is_read(tmp_path: Path) -> None:
    _write(tmp_path, "ann/a.png")
    (tmp_path / "ann" / "b.png").write_bytes(b"no picture")
    source = open_source(tmp_path)
    with pytest.raises(PictureError, match=r"b\.png is not a picture"):
        source.crop(source.records[1])


def test_the_fingerprint_changes_with_the_pictures(tmp_path: Path) -> None:
    before = open_source(_write(tmp_path, "ann/a.png")).fingerprint
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert open_source(tmp_path).fingerprint == before
    assert open_source(_write(tmp_path, "bob/b.png")).fingerprint != before

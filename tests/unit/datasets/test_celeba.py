import pickle
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from facemend.alignment import FRAME_LANDMARKS_PX
from facemend.datasets import hash_identity, known_identities, open_source
from facemend.datasets.celeba import PARTITION, is_celeba, open_celeba, read_partition
from facemend.errors import PictureError, SourceError
from tests.tiny_celeba import PEOPLE, gradient, make_celeba

ANNOTATIONS = ("identity_CelebA.txt", "list_landmarks_align_celeba.txt", "list_attr_celeba.txt")


@pytest.fixture(params=[True, False], ids=["zip", "folder"])
def celeba(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    return make_celeba(tmp_path / "celeba", archive=request.param)


def test_the_official_layout_is_read_with_all_its_annotations(celeba: Path) -> None:
    source = open_source(celeba)
    assert source.name == "CelebA"
    assert [record.name for record in source.records] == [f"{n:06d}.jpg" for n in range(1, 7)]
    assert [record.identity for record in source.records] == [f"celeba:{p}" for p in PEOPLE]
    first = source.records[0]
    assert first.attributes == {"Male": True, "Young": False}
    assert first.frame_landmarks_px is not None
    np.testing.assert_allclose(first.frame_landmarks_px, FRAME_LANDMARKS_PX, atol=0.5)
    picture = source.read(first.name)
    assert np.abs(picture.astype(int) - gradient(178, 218)).mean() < 3  # JPEG
    assert source.crop(first, 64).shape == (64, 64, 3)


@pytest.mark.parametrize("archive", [True, False])
def test_the_archive_or_the_picture_folder_itself_can_be_named(tmp_path: Path, archive: bool) -> None:
    make_celeba(tmp_path, archive=archive)
    pictures = tmp_path / ("img_align_celeba.zip" if archive else "img_align_celeba")
    assert is_celeba(pictures)
    assert open_source(pictures).records[0].identity == "celeba:11"


@pytest.mark.parametrize("missing", ANNOTATIONS)
def test_pictures_open_without_an_annotation_file(celeba: Path, missing: str) -> None:
    (celeba / missing).unlink()
    source = open_celeba(celeba)
    assert len(source) == 6
    record = source.records[0]
    gone = (record.identity, record.frame_landmarks_px, record.attributes or None)
    assert gone[ANNOTATIONS.index(missing)] is None
    assert sum(part is None for part in gone) == 1


def test_without_identities_asking_for_people_says_which_file_helps(celeba: Path) -> None:
    (celeba / "identity_CelebA.txt").unlink()
    with pytest.raises(SourceError, match=r"6 of 6 pictures of CelebA.*identity_CelebA\.txt"):
        known_identities(open_celeba(celeba))


def test_the_official_partition_is_read(celeba: Path) -> None:
    assert list(read_partition(celeba / PARTITION).values()) == ["train", "val", "test"] * 2


def test_a_missing_or_foreign_partition_is_named(celeba: Path) -> None:
    path = celeba / "list_eval_partition.txt"
    path.write_text("000001.jpg 7\n")
    with pytest.raises(SourceError, match=r"list_eval_partition\.txt has the partition '7'"):
        read_partition(celeba / PARTITION)
    path.unlink()
    with pytest.raises(SourceError, match=r"list_eval_partition\.txt is missing"):
        read_partition(celeba / PARTITION)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("identity_CelebA.txt", "000001.jpg 1 2\n", "line 1: 3 columns instead of 2"),
        ("list_landmarks_align_celeba.txt", "1\nx\n000001.jpg 1 2 3\n", "is not in CelebA's format"),
        ("list_landmarks_align_celeba.txt", f"1\nx\n000001.jpg {'x ' * 10}\n", "is not in CelebA's format"),
        ("list_attr_celeba.txt", "1\nMale Young\n000001.jpg 1\n", "1 values for 2 attributes"),
    ],
)
def test_an_annotation_file_in_another_format_is_named(
    tmp_path: Path, file: str, text: str, message: str
) -> None:
    make_celeba(tmp_path)
    (tmp_path / file).write_text(text)
    with pytest.raises(SourceError, match=f"{file}.*{message}"):
        open_celeba(tmp_path)


@pytest.mark.parametrize("file", ANNOTATIONS)
def test_an_annotation_file_that_is_no_text_is_named(tmp_path: Path, file: str) -> None:
    make_celeba(tmp_path)
    (tmp_path / file).write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(SourceError, match=f"{file} cannot be read"):
        open_celeba(tmp_path)


def test_an_archive_or_folder_without_pictures_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a" / "img_align_celeba").mkdir(parents=True)
    with pytest.raises(SourceError, match=r"holds no \.jpg pictures"):
        open_celeba(tmp_path / "a")
    with zipfile.ZipFile(tmp_path / "img_align_celeba.zip", "w") as file:
        file.writestr("readme.txt", "nothing")
    with pytest.raises(SourceError, match=r"holds no \.jpg pictures"):
        open_celeba(tmp_path)


def test_a_damaged_archive_is_an_error(tmp_path: Path) -> None:
    make_celeba(tmp_path)
    archive = tmp_path / "img_align_celeba.zip"
    archive.write_bytes(archive.read_bytes()[:1000])
    with pytest.raises(SourceError, match=r"img_align_celeba\.zip is not a readable zip archive"):
        open_celeba(tmp_path)


def test_what_a_mac_adds_to_an_archive_is_not_a_picture(tmp_path: Path) -> None:
    make_celeba(tmp_path)
    with zipfile.ZipFile(tmp_path / "img_align_celeba.zip", "a") as file:
        file.writestr("__MACOSX/img_align_celeba/._000001.jpg", b"x")
    assert len(open_celeba(tmp_path)) == 6


def test_a_damaged_picture_is_named(celeba: Path) -> None:
    pictures = celeba / "img_align_celeba"
    if pictures.exists():
        (pictures / "000002.jpg").write_bytes(b"\xff\xd8 no picture")
    else:
        shutil.move(celeba / "img_align_celeba.zip", celeba / "old.zip")
        with (
            zipfile.ZipFile(celeba / "old.zip") as old,
            zipfile.ZipFile(celeba / "img_align_celeba.zip", "w") as new,
        ):
            for name in old.namelist():
                new.writestr(name, b"\xff\xd8 no picture" if "000002" in name else old.read(name))
    source = open_celeba(celeba)
    with pytest.raises(PictureError, match=r"000002\.jpg is not a picture"):
        source.read("000002.jpg")
    assert source.read("000003.jpg").shape == (218, 178, 3)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_damaged_bytes_inside_the_archive_are_a_picture_error(tmp_path: Path, compression: int) -> None:
    path = tmp_path / "img_align_celeba.zip"
    noise = np.random.default_rng(0).bytes(5000)
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("img_align_celeba/000001.jpg", noise)
    data = bytearray(path.read_bytes())
    data[60:4000] = bytes(3940)
    path.write_bytes(data)
    with pytest.raises(PictureError, match=r"000001\.jpg"):
        open_celeba(tmp_path).read("000001.jpg")


def test_a_picture_that_is_not_there_is_named(celeba: Path) -> None:
    with pytest.raises(PictureError, match=r"999999\.jpg"):
        open_celeba(celeba).read("999999.jpg")


def test_a_source_travels_to_another_process(celeba: Path) -> None:
    source = open_celeba(celeba)
    source.read("000001.jpg")
    again = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(again.read("000001.jpg"), source.read("000001.jpg"))


def test_the_fingerprint_tells_sources_apart(tmp_path: Path) -> None:
    one, two = make_celeba(tmp_path / "1"), make_celeba(tmp_path / "2", people=(1, 2))
    assert open_celeba(one).fingerprint == open_celeba(one).fingerprint
    assert open_celeba(one).fingerprint != open_celeba(two).fingerprint


def test_a_hashed_identity_is_fixed_and_does_not_name_the_person() -> None:
    # Model files carry these: another value would cut them off from their training people.
    assert hash_identity("celeba:2880") == "812d777edac9"
    assert hash_identity("celeba:2880") != hash_identity("celeba:2881")


@pytest.mark.needs_shared
def test_the_teams_celeba_opens_with_every_picture(shared: Path) -> None:
    source = open_source(shared / "celeba")
    assert len(source) == 19_998
    assert sum(record.frame_landmarks_px is not None for record in source.records) == 19_989
    assert all(record.identity for record in source.records)
    assert source.crop(source.records[0]).shape == (256, 256, 3)


def test_kaggles_copy_opens_folder_in_folder_with_its_csv(tmp_path: Path) -> None:
    home = make_celeba(tmp_path / "official", archive=False)
    kaggle = tmp_path / "kaggle"
    (kaggle / "img_align_celeba").mkdir(parents=True)
    (home / "img_align_celeba").rename(kaggle / "img_align_celeba" / "img_align_celeba")
    for name, columns, skip in (
        ("identity_CelebA", "image_id,identity", 0),
        ("list_eval_partition", "image_id,partition", 0),
        ("list_attr_celeba", "image_id,Male,Young", 2),
        ("list_landmarks_align_celeba", "image_id,lefteye_x,lefteye_y", 2),
    ):
        rows = (home / f"{name}.txt").read_text().splitlines()[skip:]
        lines = [columns, *(",".join(row.split()) for row in rows)]
        (kaggle / f"{name}.csv").write_text("\n".join(lines) + "\n")
    expected = open_celeba(make_celeba(tmp_path / "again", archive=False))
    for root in (kaggle, kaggle / "img_align_celeba", kaggle / "img_align_celeba" / "img_align_celeba"):
        source = open_celeba(root)
        assert [record.name for record in source.records] == [r.name for r in expected.records]
        for ours, theirs in zip(source.records, expected.records, strict=True):
            assert (ours.identity, ours.attributes) == (theirs.identity, theirs.attributes)
            np.testing.assert_array_equal(ours.frame_landmarks_px, theirs.frame_landmarks_px)
        assert source.read(source.records[0].name).shape == (218, 178, 3)
    assert read_partition(kaggle / "list_eval_partition.csv") == read_partition(
        home / "list_eval_partition.txt"
    )


def test_the_authors_drive_opens_with_its_folders(tmp_path: Path) -> None:
    home = make_celeba(tmp_path / "celeba")
    for folder, names in (
        ("Img", ("img_align_celeba.zip",)),
        ("Anno", ANNOTATIONS),
        ("Eval", ("list_eval_partition.txt",)),
    ):
        (home / folder).mkdir()
        for name in names:
            (home / name).rename(home / folder / name)
    for root in (home, home / "Img" / "img_align_celeba.zip"):
        assert is_celeba(root)
        first = open_celeba(root).records[0]
        assert (first.identity, first.attributes["Male"]) == (f"celeba:{PEOPLE[0]}", True)
        assert first.frame_landmarks_px is not None
    assert read_partition(home / "list_eval_partition.txt")

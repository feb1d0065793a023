import io
import os
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from facemend.datasets import open_source
from facemend.io import find_pictures, is_picture, write_png
from facemend.reconstruction.outputs import plan_tasks
from tests.tiny_celeba import gradient


def _touch(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return folder


KEPT = ("A.JPG", "b.jfif", "c.jpe", "d.HIF", "e.heic", "f.bmp", "g.tif", "sub/h.avif", "sub/i.JPEG")
IGNORED = (
    "._a.jpg",
    ".hidden/a.jpg",
    "__MACOSX/sub/a.jpg",
    "@eaDir/a.jpg/thumb.jpg",
    "#recycle/a.jpg",
    "$RECYCLE.BIN/S-1-5-21/a.jpg",
    "Thumbs/a.jpg",
    "a.gif",
    "a.txt",
    "jpg",
)


def test_one_rule_says_which_files_are_pictures(tmp_path: Path) -> None:
    _touch(tmp_path, *KEPT, *IGNORED)
    (tmp_path / "album.jpg").mkdir()
    (tmp_path / "gone.jpg").symlink_to("nothing.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.warns(UserWarning, match=r"link leads nowhere: .*gone\.jpg$"):
        assert find_pictures(tmp_path) == [tmp_path / name for name in KEPT]
    (tmp_path / "gone.jpg").unlink()
    assert [name for name in (*KEPT, *IGNORED) if is_picture(name)] == list(KEPT)
    assert find_pictures(tmp_path, recursive=False) == [tmp_path / name for name in KEPT if "/" not in name]


def test_a_folder_that_is_named_is_searched_whatever_its_own_name(tmp_path: Path) -> None:
    folder = _touch(tmp_path / ".cache" / "@eaDir", "a.jpg")
    assert find_pictures(folder) == [folder / "a.jpg"]


def test_links_to_folders_are_not_entered_and_links_to_pictures_are_pictures(tmp_path: Path) -> None:
    _touch(tmp_path / "elsewhere", "a.jpg")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in" / "b.jpg").symlink_to(tmp_path / "elsewhere" / "a.jpg")
    assert find_pictures(tmp_path / "in") == [tmp_path / "in" / "b.jpg"]


def test_an_output_folder_below_is_left_out_and_one_above_is_not(tmp_path: Path) -> None:
    _touch(tmp_path, "in/a.jpg", "in/out/a.jpg", "in/out/deep/b.jpg")
    here = tmp_path / "in"
    assert find_pictures(here, leave_out=[here / "out"]) == [here / "a.jpg"]
    for above in (here, tmp_path):
        assert len(find_pictures(here, leave_out=[above])) == 3


@pytest.mark.parametrize("pattern", ["", "**/*.png", "*"])
def test_a_second_run_takes_no_output_for_an_input(tmp_path: Path, pattern: str) -> None:
    write_png(tmp_path / "in" / "a.png", gradient(8, 8))
    write_png(tmp_path / "in" / "out" / "a.png", gradient(8, 8))
    here = tmp_path / "in"
    tasks = plan_tasks([here / pattern], here / "out", aligned=False, save_occlusion=False, recursive=True)
    assert [(task.source, task.output) for task in tasks] == [(here / "a.png", here / "out" / "a.png")]


def test_signs_of_a_pattern_in_the_name_of_a_folder_are_taken_literally(tmp_path: Path) -> None:
    folder = tmp_path / "Trip [2023]"
    write_png(folder / "a.png", gradient(8, 8))

    def sources(name: str) -> list[Path]:
        tasks = plan_tasks([folder / name], tmp_path / "out", aligned=False, save_occlusion=False)
        return [task.source for task in tasks]

    assert sources("*.png") == sources("[a-c].png") == sources("a.png") == [folder / "a.png"]
    assert sources("missing.png") == [folder / "missing.png"], (
        "it is named, and reading it says what is wrong"
    )


def test_a_photo_of_any_jpeg_suffix_keeps_its_suffix(tmp_path: Path) -> None:
    _touch(tmp_path, "a.jfif", "b.JPE", "c.hif")
    tasks = plan_tasks([tmp_path], tmp_path / "out", aligned=False, save_occlusion=False)
    assert [task.output.name for task in tasks] == ["a.jfif", "b.JPE", "c.hif"]


def test_folders_and_archives_of_faces_leave_out_the_same_files(tmp_path: Path) -> None:
    names = ("p1/0.png", "p1/._0.png", "__MACOSX/p1/0.png", "p2/1.PNG")
    faces = tmp_path / "faces"
    for name in names:
        write_png(faces / name, gradient(8, 8))
    (faces / "p1" / "album.jpg").mkdir()
    with zipfile.ZipFile(tmp_path / "faces.zip", "w") as archive:
        for name in names:
            archive.write(faces / name, name)
    with tarfile.open(tmp_path / "faces.tar", "w") as shard:
        for name in names:
            data = (faces / name).read_bytes()
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(data)
            shard.addfile(member, io.BytesIO(data))
    expected = ["p1/0.png", "p2/1.PNG"]
    for place in (faces, tmp_path / "faces.zip"):
        assert [record.name for record in open_source(place).records] == expected
    shards = open_source(tmp_path / "faces.tar")
    assert [record.name.removeprefix("./") for record in shards.records] == expected


def test_the_output_of_a_dataset_inside_its_source_is_left_out(tmp_path: Path) -> None:
    for name in ("p1/0.png", "p2/1.png"):
        write_png(tmp_path / name, gradient(8, 8))
    before = open_source(tmp_path, leave_out=[tmp_path / "pairs"])
    write_png(tmp_path / "pairs" / "target" / "000001.png", gradient(8, 8))
    after = open_source(tmp_path, leave_out=[tmp_path / "pairs"])
    assert [record.name for record in after.records] == ["p1/0.png", "p2/1.png"]
    assert before.fingerprint == after.fingerprint


def test_a_picture_that_lies_sideways_in_its_file_is_cropped_upright(tmp_path: Path) -> None:
    from PIL import Image

    exif = Image.Exif()
    exif[274] = 6
    (tmp_path / "b").mkdir()
    picture = Image.fromarray(gradient(256, 256))
    picture.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "b" / "a.png", exif=exif)
    source = open_source(tmp_path)
    np.testing.assert_array_equal(source.crop(source.records[0]), gradient(256, 256))


def test_folders_nested_deeper_than_functions_are_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    depth = 1010
    for _ in range(depth):
        os.mkdir("a")  # noqa: PTH102
        os.chdir("a")
    Path("deep.png").write_bytes(b"")
    try:
        found = find_pictures(tmp_path)
    finally:  # pytest's own function would not go as deep
        Path("deep.png").unlink()
        for _ in range(depth):
            os.chdir("..")
            os.rmdir("a")  # noqa: PTH106
    assert [path.name for path in found] == ["deep.png"]
    assert len(found[0].parts) - len(tmp_path.parts) == depth + 1


def test_a_remote_listing_enters_no_linked_folder(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    from facemend.datasets.remote import Place

    _touch(tmp_path, "theirs/a.png", "theirs/sub/b.png", "private/mine.png")
    (tmp_path / "theirs/more").symlink_to("../private")
    for name in ("round", "and-round"):  # two make 2 to the power of 40 paths
        (tmp_path / "theirs" / name).symlink_to(".")
    assert [name for name, _, _ in Place(str(tmp_path / "theirs")).files()] == ["a.png", "sub/b.png"]

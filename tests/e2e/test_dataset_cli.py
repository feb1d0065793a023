import json
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image as PillowImage

from facemend.cli.dataset import build
from facemend.cli.main import main
from facemend.datasets.pairs import Layout, PictureFormat
from facemend.datasets.shards import ShardFormat
from facemend.io import read_image, write_png
from facemend.occlusion import KINDS
from tests.tiny_celeba import gradient, make_celeba
from tests.tiny_table import make_table

FACEMEND = (sys.executable, "-c", "from facemend.cli.main import main; main()")


@pytest.fixture
def celeba(tmp_path: Path) -> Path:
    return make_celeba(tmp_path / "celeba")


def _build(*arguments: object) -> Result:
    usual = ("--size", "32", "--workers", "1")
    return CliRunner().invoke(main, ["dataset", "build", *map(str, arguments), *usual])


def _facemend(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["dataset", *map(str, arguments)])


def _files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_build_says_what_it_made_and_what_it_kept(celeba: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = _build(celeba, out, "--count", 7, "--kinds", "blur,mask_full=0")
    assert (result.exit_code, result.stdout) == (0, f"{out}: 7 pairs made, 0 kept (blur 7)\n")
    assert len(list(out.glob("*/*.png"))) == 21
    again = _build(celeba, out, "--count", 7, "--kinds", "blur,mask_full=0")
    assert again.stdout == f"{out}: 0 pairs made, 7 kept (blur 7)\n"


def test_quiet_is_quiet(celeba: Path, tmp_path: Path) -> None:
    result = _build(celeba, tmp_path / "out", "--count", 1, "-q")
    assert (result.exit_code, result.output) == (0, "")


def test_the_archive_itself_can_be_named_and_missing_landmarks_are_counted(
    celeba: Path, tmp_path: Path
) -> None:
    (celeba / "list_landmarks_align_celeba.txt").unlink()
    result = _build(celeba / "img_align_celeba.zip", tmp_path / "out", "--count", 3)
    assert result.exit_code == 0
    assert "3 of 3 pairs have no landmarks, and no face was found" in result.stdout


def test_a_split_takes_its_people_alone(celeba: Path, tmp_path: Path) -> None:
    table = tmp_path / "split.csv"
    table.write_text("file,split\n000001.jpg,train\n000002.jpg,test\n000006.jpg,test\n")
    out = tmp_path / "out"
    assert _build(celeba, out, "--count", 4, "--split", "test", "--split-file", table).exit_code == 0
    rows = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    assert [row["source"] for row in rows] == ["000002.jpg", "000006.jpg"] * 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--count", "0"), "a dataset of 0 pairs cannot be made; choose 1 or more"),
        (("--count", "2", "--kinds", "beard"), "unknown occlusion 'beard'; choose from nose_mask, blur"),
        (("--count", "2", "--kinds", "blur=x"), "'blur=x' is not a share of a kind; write kind=0.5"),
        (("--count", "2", "--kinds", "blur=1,blur=2"), "blur has two shares; name every kind once"),
        (("--count", "2", "--kinds", "cutouts"), "cutouts and --cutouts FOLDER need each other"),
        (("--count", "2", "--layout", "pix2pix", "--format", "webp"), "cannot read WebP; use --format png"),
        (("--count", "2", "--layout", "coco"), "'coco' is not one of 'folders', 'imagefolder', 'pix2pix'"),
        (("--count", "2", "--split-file", "s.csv"), "choose one with --split"),
        (("--count", "2", "--split", "dev"), "'dev' is not one of 'train', 'val', 'test', 'all'"),
        ((), "Missing option '--count'"),
    ],
)
def test_wrong_use_exits_with_2_one_line_and_no_folder(
    celeba: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    result = _build(celeba, tmp_path / "out", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_what_is_to_be_measured_on_is_not_mixed_with_the_rest(tmp_path: Path) -> None:
    uses = ["train"] * 30 + ["measure"] * 2
    faces = make_table(tmp_path / "faces", [{"use": use} for use in uses])
    result = _build(faces, tmp_path / "out", "--count", "2")
    assert result.exit_code == 2
    assert "pictures for measure and for train; choose with --split" in result.stderr
    assert result.stderr.count("\n") == 1
    assert _build(faces, tmp_path / "out", "--count", "32", "--split", "train").exit_code == 0
    rows = [json.loads(line) for line in (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()]
    assert not {row["source"] for row in rows} & {"30.png", "31.png"}


def test_a_source_that_is_not_there_or_empty_exits_with_1_and_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for source, message in ((tmp_path / "gone", "is no folder"), (tmp_path / "empty", "holds no pictures")):
        result = _build(source, tmp_path / "out", "--count", 1)
        assert result.exit_code == 1
        assert message in result.stderr
        assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_split_without_identities_exits_with_1_and_names_the_missing_file(
    celeba: Path, tmp_path: Path
) -> None:
    (celeba / "identity_CelebA.txt").unlink()
    result = _build(celeba, tmp_path / "out", "--count", 1, "--split", "train")
    assert result.exit_code == 1
    assert "put identity_CelebA.txt beside the pictures" in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_damaged_picture_exits_with_1_and_its_name(tmp_path: Path) -> None:
    home = make_celeba(tmp_path / "celeba", archive=False)
    (home / "img_align_celeba" / "000002.jpg").write_bytes(b"no picture")
    result = _build(home, tmp_path / "out", "--count", 6)
    assert result.exit_code == 1
    assert "000002.jpg is not a picture that can be read" in result.stderr
    assert result.stderr.count("\n") == 1


def test_another_dataset_in_the_folder_exits_with_1_and_force_starts_anew(
    celeba: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    _build(celeba, out, "--count", 3)
    before = _files(out)
    result = _build(celeba, out, "--count", 2)
    assert result.exit_code == 1
    assert "made with another count; choose another location or add --force" in result.stderr
    assert _files(out) == before
    assert _build(celeba, out, "--count", 2, "--force").exit_code == 0
    assert len(list(out.glob("*/*.png"))) == 6


def _run(*command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_disk_that_refuses_exits_with_1_one_line_and_no_half_picture(
    celeba: Path, tmp_path: Path
) -> None:
    # No file may grow beyond 1 KiB: what a full disk does, without filling one.
    out = tmp_path / "out"
    command = shlex.join([*FACEMEND, "dataset", "build", str(celeba), str(out), "--count", "4"])
    result = _run("bash", "-c", f"ulimit -f 1; {command} --workers 2")
    assert result.returncode == 1
    assert result.stderr.startswith(f"facemend: cannot write {out}/occluded/00000")
    assert result.stderr.count("\n") == 1
    assert not list(out.rglob("*.png"))
    assert not (out / "manifest.jsonl").exists()


def _wait_for_rows(process: "subprocess.Popen[str]", out: Path, count: int) -> None:
    """Until a build has noted so many pairs, or is over."""
    log = out / "manifest.jsonl.part"
    while process.poll() is None and not (log.exists() and log.read_bytes().count(b"}\n") >= count):
        time.sleep(0.005)


def test_a_build_that_is_killed_again_and_again_ends_with_the_bytes_of_one_run(
    celeba: Path, tmp_path: Path
) -> None:
    out, whole = tmp_path / "out", tmp_path / "whole"
    usual = ("--count", "400", "--size", "64", "--kinds", "blur,object,textured_mask", "--workers", "2")
    for rows in (0, 20, 70):
        command = [*FACEMEND, "dataset", "build", str(celeba), str(out), *usual]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        _wait_for_rows(process, out, rows)
        time.sleep(rows / 5000)  # somewhere within a pair
        process.kill()
        process.communicate(timeout=120)  # ends when no worker holds the pipe any longer
        assert process.returncode == -signal.SIGKILL
        assert not (out / "manifest.jsonl").exists()
    again = _run(*FACEMEND, "dataset", "build", str(celeba), str(out), *usual)
    assert again.returncode == 0, again.stderr
    kept = int(again.stdout.split(" pairs made, ")[1].split()[0])
    assert 70 <= kept < 400
    assert _run(*FACEMEND, "dataset", "build", str(celeba), str(whole), *usual).returncode == 0
    assert _files(out) == _files(whole)


def test_ctrl_c_ends_a_build_at_once_and_half_writes_nothing(celeba: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    build = ("dataset", "build", str(celeba), str(out), "--count", "100000", "--workers", "2")
    process = subprocess.Popen([*FACEMEND, *build], stderr=subprocess.PIPE, text=True)
    _wait_for_rows(process, out, 1)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)  # the impatient press twice
    _, said = process.communicate(timeout=120)
    assert (process.returncode, said) == (130, "facemend: interrupted\n")
    assert not list(out.glob("*/.*"))
    assert not (out / "manifest.jsonl").exists()


def test_a_folder_of_unknown_people_is_warned_about_in_one_line(tmp_path: Path) -> None:
    write_png(tmp_path / "faces" / "a.png", gradient(32, 32))
    result = _run(
        *(*FACEMEND, "dataset", "build"),
        *(str(tmp_path / "faces"), str(tmp_path / "out"), "--count", "2", "--size", "32"),
    )
    assert result.returncode == 0
    assert result.stderr.endswith("every picture is taken for another person\n")
    assert result.stderr.count("\n") == 1
    assert "2 pairs made" in result.stdout


def test_every_layout_and_format_can_be_asked_for() -> None:
    offered = {
        option.name: list(option.type.choices)
        for option in build.params
        if isinstance(option.type, click.Choice)
    }
    assert offered["layout"] == [*Layout, *ShardFormat]
    assert offered["picture_format"] == list(PictureFormat)


def test_the_layouts_of_other_programs_let_two_splits_share_a_folder(celeba: Path, tmp_path: Path) -> None:
    table = tmp_path / "split.csv"
    table.write_text("file,split\n000001.jpg,train\n000002.jpg,test\n000004.jpg,train\n")
    out, webp = tmp_path / "out", ("--layout", "imagefolder", "--format", "webp")
    for split in ("train", "test"):
        result = _build(celeba, out, "--count", 2, "--split", split, "--split-file", table, *webp)
        assert result.stdout.startswith(f"{out / split}: 2 pairs made, 0 kept")
        lines = (out / split / "metadata.jsonl").read_text().splitlines()
        assert [json.loads(line)["target_file_name"] for line in lines] == [
            "target/000001.webp",
            "target/000002.webp",
        ]
    assert {path.name for path in out.iterdir()} == {"train", "test"}


def test_pix2pix_lies_in_train_where_no_split_is_named(celeba: Path, tmp_path: Path) -> None:
    assert _build(celeba, tmp_path / "out", "--count", 2, "--layout", "pix2pix").exit_code == 0
    pictures = sorted((tmp_path / "out" / "train").glob("*.png"))
    assert [(path.name, read_image(path).shape) for path in pictures] == [
        ("000001.png", (32, 64, 3)),
        ("000002.png", (32, 64, 3)),
    ]


def _cutouts(folder: Path) -> Path:
    folder.mkdir()
    picture = np.zeros((12, 20, 4), dtype=np.uint8)
    picture[2:, :, 3] = 255
    PillowImage.fromarray(picture).save(folder / "beard.png")
    return folder


def test_cutouts_are_drawn_beside_the_seed_set_or_by_their_share(celeba: Path, tmp_path: Path) -> None:
    mine = _cutouts(tmp_path / "mine")
    alone = _build(celeba, tmp_path / "a", "--count", 3, "--cutouts", mine, "--kinds", "cutouts")
    assert "3 pairs made, 0 kept (cutouts 3)" in alone.stdout
    mixed = _build(celeba, tmp_path / "b", "--count", 40, "--cutouts", mine)
    for kind in ("nose_mask", "blur", "blur_full", "mask_full", "cutouts"):
        assert f"{kind} " in mixed.stdout
    empty = _build(celeba, tmp_path / "c", "--count", 1, "--cutouts", tmp_path / "celeba")
    assert (empty.exit_code, empty.stderr.count("\n")) == (1, 1)
    assert not (tmp_path / "c").exists()


def test_glasses_and_profiles_are_reported(celeba: Path, tmp_path: Path) -> None:
    names = [f"{number:06d}.jpg" for number in range(1, 7)]
    table = ["6", "Eyeglasses Young", *(f"{name} {1 if name < '000003' else -1} 1" for name in names)]
    (celeba / "list_attr_celeba.txt").write_text("\n".join(table) + "\n")
    points = ["6", "…", *(f"{name} 69 111 107 111 110 135 73 152 105 152" for name in names)]
    (celeba / "list_landmarks_align_celeba.txt").write_text("\n".join(points) + "\n")
    result = _build(celeba, tmp_path / "out", "--count", 3, "--kinds", "sunglasses")
    assert result.exit_code == 0
    assert "3 pairs show a profile" in result.stdout
    assert "2 faces wear glasses and were skipped" in result.stdout
    first = json.loads((tmp_path / "out" / "manifest.jsonl").read_text().splitlines()[0])
    assert (first["source"], first["landmarks"]) == ("000003.jpg", "profile")


def test_a_preview_shows_every_kind_and_is_not_overwritten(celeba: Path, tmp_path: Path) -> None:
    picture = tmp_path / "sheet.png"
    small = ("preview", celeba, "-o", picture, "--faces", 2, "--size", 32)
    result = _facemend(*small)
    assert (result.exit_code, result.stdout) == (0, f"wrote {picture}\n")
    assert read_image(picture).shape[0] == 36 * len(KINDS) - 4
    before = picture.read_bytes()
    again = _facemend(*small)
    assert (again.exit_code, again.stderr.count("\n")) == (1, 1)
    assert "exists already; choose another name or add --force" in again.stderr
    assert picture.read_bytes() == before
    mine = ("--cutouts", _cutouts(tmp_path / "mine"))
    assert _facemend(*small, *mine, "--force", "-q").output == ""
    assert read_image(picture).shape[0] == 36 * (len(KINDS) + 1) - 4
    assert _facemend(*small, "--kinds", "blur=0.2,mask_full", "--force").exit_code == 0
    assert read_image(picture).shape[0] == 36 * 2 - 4


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--kinds", "beard"), 2, "unknown occlusion 'beard'; choose from nose_mask, blur"),
        (("--faces", "0"), 2, "0 is not in the range 1<=x<=100"),
        (("--split-file", "s.csv"), 2, "choose one with --split"),
        (("--split", "test", "--split-file", "gone.csv"), 1, "cannot read the split file gone.csv"),
        (("--cutouts", "gone"), 1, "gone is not a folder"),
    ],
)
def test_a_wrong_preview_is_one_line_and_no_picture(
    celeba: Path, tmp_path: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    result = _facemend("preview", celeba, "-o", tmp_path / "out" / "sheet.png", *arguments)
    assert (result.exit_code, result.stderr.count("\n")) == (code, 1)
    assert message in result.stderr
    assert not (tmp_path / "out").exists()


def test_stats_prints_a_table_or_json_and_draws_the_histograms(celeba: Path, tmp_path: Path) -> None:
    out, picture = tmp_path / "out", tmp_path / "stats.png"
    _build(celeba, out, "--count", 5, "--kinds", "blur")
    result = _facemend("stats", out, "-o", picture)
    assert result.exit_code == 0
    head, row, *rest = result.stdout.splitlines()
    assert (head.split()[:3], row.split()[:3]) == (["kind", "pairs", "share"], ["blur", "5", "100.0%"])
    assert rest == ["5 pairs; landmarks: annotated 5", f"wrote {picture}"]
    assert read_image(picture).shape[1] > 1000
    numbers = json.loads(_facemend("stats", out, "--json").stdout)
    assert numbers["kinds"]["blur"]["pairs"] == 5
    refused = _facemend("stats", out, "-o", picture)
    assert (refused.exit_code, refused.stderr.count("\n")) == (1, 1)
    assert "exists already" in refused.stderr
    assert _facemend("stats", out, "-o", picture, "--force", "-q").output == ""


def test_stats_of_no_dataset_is_one_line_and_no_picture(tmp_path: Path) -> None:
    result = _facemend("stats", tmp_path / "gone", "-o", tmp_path / "stats.png")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "holds no dataset; pass what `facemend dataset build` wrote" in result.stderr
    assert not (tmp_path / "stats.png").exists()

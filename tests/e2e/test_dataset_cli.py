import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from facemend.cli.main import main
from facemend.images import write_png
from tests.tiny_celeba import gradient, make_celeba


@pytest.fixture
def celeba(tmp_path: Path) -> Path:
    return make_celeba(tmp_path / "celeba")


def _build(*arguments: object) -> Result:
    usual = ("--size", "32", "--workers", "1")
    return CliRunner().invoke(main, ["dataset", "build", *map(str, arguments), *usual])


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
    assert "3 of 3 pairs have no landmarks of their own" in result.stdout


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
        (("--count", "0"), "a dataset of 0 pairs cannot be made; ask for 1 or more"),
        (("--count", "2", "--kinds", "beard"), "unknown occlusion 'beard'; choose from nose_mask, blur"),
        (("--count", "2", "--kinds", "blur=x"), "'blur=x' is no share of a kind; write kind=0.5"),
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
    assert "made with another count; choose another folder or add --force" in result.stderr
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
    facemend = f"{sys.executable} -c 'from facemend.cli.main import main; main()'"
    result = _run(
        "bash", "-c", f"ulimit -f 1; {facemend} dataset build {celeba} {out} --count 4 --workers 2"
    )
    assert result.returncode == 1
    assert result.stderr.startswith(f"facemend: cannot write {out}/occluded/00000")
    assert result.stderr.count("\n") == 1
    assert not list(out.rglob("*.png"))
    assert not (out / "manifest.jsonl").exists()


def test_ctrl_c_ends_a_build_at_once_and_half_writes_nothing(celeba: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    build = ("dataset", "build", str(celeba), str(out), "--count", "100000", "--workers", "2")
    code = "from facemend.cli.main import main; main()"
    process = subprocess.Popen([sys.executable, "-c", code, *build], stderr=subprocess.PIPE, text=True)
    log = out / "manifest.jsonl.part"
    while process.poll() is None and not (log.exists() and log.stat().st_size > 1):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)  # the impatient press twice
    _, said = process.communicate(timeout=120)
    assert (process.returncode, said) == (130, "facemend: interrupted\n")
    assert not list(out.glob("*/.*"))
    assert not (out / "manifest.jsonl").exists()


def test_a_folder_of_unknown_people_is_warned_about_in_one_line(tmp_path: Path) -> None:
    write_png(tmp_path / "faces" / "a.png", gradient(32, 32))
    result = _run(
        *(sys.executable, "-c", "from facemend.cli.main import main; main()", "dataset", "build"),
        *(str(tmp_path / "faces"), str(tmp_path / "out"), "--count", "2", "--size", "32"),
    )
    assert result.returncode == 0
    assert result.stderr.endswith("every picture is taken for another person\n")
    assert result.stderr.count("\n") == 1
    assert "2 pairs made" in result.stdout

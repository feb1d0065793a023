"""The whole road on a CelebA of noise: train, export, evaluate, reconstruct, each by its command."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from facemend.cli.main import main
from facemend.io import read_image, write_png
from tests.tiny_celeba import gradient, make_celeba

_SHORT = ["--set", "phases.0.images=16", "--set", "phases.1.images=4", "--set", "workers=0", "--quiet"]


def _run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def celeba(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_celeba(tmp_path_factory.mktemp("celeba"))


@pytest.fixture(scope="module")
def run_folder(celeba: Path, repo_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("road") / "run"
    result = _run("train", repo_root / "configs/smoke.toml", "--data", celeba, "-o", folder, *_SHORT)
    assert result.exit_code == 0, result.output
    assert "finished after 20 images" in result.output
    return folder


@pytest.fixture(scope="module")
def model(run_folder: Path) -> Path:
    path = run_folder.parent / "model.onnx"
    result = _run("export", run_folder, "--best", "-o", path)
    assert result.exit_code == 0, result.output
    return path


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_whole_group_saves_and_says_how_to_go_on(
    celeba: Path, repo_root: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """As Ctrl-C in a terminal does, which reaches the data's workers, too."""
    words = ["train", repo_root / "configs/smoke.toml", "--data", celeba, "-o", tmp_path / "run", "--quiet"]
    lots = ["--set", "phases.0.images=100000", "--set", "validate_images=100000", "--set", "log_seconds=0"]
    command = [sys.executable, "-m", "facemend", *map(str, words), *lots]
    log = tmp_path / "run/log.jsonl"
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        while process.poll() is None and not (log.exists() and log.read_text()):
            time.sleep(0.1)
        os.killpg(process.pid, number)
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "the same command again resumes" in said
    assert list((tmp_path / "run/checkpoints").glob("0*.safetensors"))


def test_a_model_made_here_is_evaluated_on_other_people(model: Path, celeba: Path, tmp_path: Path) -> None:
    result = _run("evaluate", model, "--data", celeba, "-o", tmp_path / "report", "--kinds", "nose_mask")
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert "smoke" in json.dumps(report)
    assert (tmp_path / "report" / "grid.png").exists()


def test_a_model_is_not_evaluated_on_its_own_people(model: Path, celeba: Path, tmp_path: Path) -> None:
    split = tmp_path / "split.csv"
    split.write_text("file,split\n000004.jpg,test\n")  # one of the two that the model was trained on
    result = _run("evaluate", model, "--data", celeba, "--split-file", split, "-o", tmp_path / "report")
    assert result.exit_code == 1
    assert "among the training people" in result.output
    assert not (tmp_path / "report").exists()


def test_a_model_made_here_reconstructs(model: Path, tmp_path: Path) -> None:
    Image.fromarray(gradient(178, 218)).save(tmp_path / "face.png")
    result = _run(
        "reconstruct", tmp_path / "face.png", "--aligned", "--model", model, "-o", tmp_path / "out.png"
    )
    assert result.exit_code == 0, result.output
    assert np.asarray(Image.open(tmp_path / "out.png")).shape == (218, 178, 3)


def test_info_tells_how_the_model_was_made(model: Path) -> None:
    result = _run("info", model)
    assert result.exit_code == 0
    assert "smoke" in result.output
    assert "20" in result.output


def test_the_same_command_again_has_nothing_left_to_do(
    run_folder: Path, celeba: Path, repo_root: Path
) -> None:
    before = sorted(path.stat().st_mtime_ns for path in (run_folder / "checkpoints").iterdir())
    result = _run("train", repo_root / "configs/smoke.toml", "--data", celeba, "-o", run_folder, *_SHORT)
    assert result.exit_code == 0, result.output
    assert sorted(path.stat().st_mtime_ns for path in (run_folder / "checkpoints").iterdir()) == before


def test_a_dry_run_says_what_it_would_take_and_leaves_nothing(
    celeba: Path, repo_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    small = [*_SHORT, "--set", "phases.1.size_px=64", "--set", "phases.1.losses.r1=1", "--dry-run", "-v"]
    result = _run("train", repo_root / "configs/smoke.toml", "--data", celeba, *small)
    assert result.exit_code == 0, result.output
    rest, _, config = result.output.partition("\n{\n")
    assert json.loads("{" + config)["phases"][1]["size_px"] == 64
    described = [line.split(":")[0] for line in rest.splitlines()]
    assert described[1:3] == ["low", "adversarial"]
    assert all(
        word in rest for word in ("M parameters", "GMACs per reconstruction", "images/s", "GB", "hours")
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("split", ["a file", "a hash of the names"])
def test_any_folder_of_pairs_trains_with_the_same_command(
    split: str, repo_root: Path, tmp_path: Path
) -> None:
    for seed in range(3):
        picture = gradient(64, 64, seed)
        gray = np.repeat(picture.mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2)
        write_png(tmp_path / f"colours/occluded/{seed}.png", gray)
        write_png(tmp_path / f"colours/target/{seed}.png", picture)
    settings = ["phases.0.images=4", "phases.0.batch=2", "workers=0"]
    settings += ["generator.kind=unet", "generator.widths=[4,8]", "phases.0.losses.alpha=0"]
    options = [word for setting in settings for word in ("--set", setting)]
    places: list[str | Path] = [
        "--data",
        tmp_path / "colours",
        "-o",
        tmp_path / "run",
    ]
    if split == "a file":
        (tmp_path / "split.csv").write_text("file,split\n0.png,val\n1.png,train\n2.png,train\n")
        places += ["--split-file", tmp_path / "split.csv"]
    result = _run("train", repo_root / "configs/pairs.toml", *places, *options, "--quiet")
    assert result.exit_code == 0, result.output
    log = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert log[-1]["validation/hole"] == pytest.approx(log[-1]["validation/hole/pair"])
    if split == "a file":
        return
    model = tmp_path / "model.onnx"
    assert _run("export", tmp_path / "run", "-o", model).exit_code == 0
    write_png(tmp_path / "wide/a.png", gradient(300, 100))
    (tmp_path / "wide/bad.png").write_text("no picture")
    result = _run("apply", model, tmp_path / "wide", "-o", tmp_path / "made", "--fit", "tiles")
    assert result.exit_code == 1
    assert "1 pictures written" in result.output
    assert read_image(tmp_path / "made/a.png").shape == (100, 300, 3)


def test_fresh_begins_anew_and_only_in_a_run(
    run_folder: Path, celeba: Path, repo_root: Path, tmp_path: Path
) -> None:
    config = repo_root / "configs/smoke.toml"
    (tmp_path / "letters.txt").write_text("precious")
    result = _run("train", config, "--data", celeba, "-o", tmp_path, "--fresh", *_SHORT)
    assert result.exit_code == 2
    assert "will not delete" in result.output
    assert (tmp_path / "letters.txt").exists()


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (["train", "none.toml", "--data", "x", "-o", "run"], 2, "cannot read the config"),
        (["train", "{smoke}", "--data", "none", "-o", "run"], 1, "is no folder"),
        (["train", "{smoke}", "--data", "{celeba}", "-o", "run", "--set", "sed=1"], 2, "did you mean seed"),
        (["train", "{smoke}", "-o", "run"], 2, "--data"),
        (["train", "{smoke}", "--data", "{celeba}"], 2, "--output"),
        (["export", "none", "-o", "model.onnx"], 1, "no checkpoint to export"),
        (["train", "{smoke}", "--data", "{unnamed}", "-o", "run"], 1, "identity_CelebA.txt"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    arguments: list[str],
    exit_code: int,
    words: str,
    celeba: Path,
    repo_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unnamed = make_celeba(tmp_path / "unnamed")
    (unnamed / "identity_CelebA.txt").unlink()
    places = {
        "smoke": str(repo_root / "configs/smoke.toml"),
        "celeba": str(celeba),
        "unnamed": str(unnamed),
    }
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    result = _run(*(argument.format(**places) for argument in arguments))
    assert result.exit_code == exit_code
    assert words in result.output
    assert len(result.output.strip().splitlines()) == 1
    assert list(empty.iterdir()) == []

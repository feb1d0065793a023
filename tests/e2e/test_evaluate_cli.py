import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from facemend.cli.main import main
from facemend.datasets import hash_identity
from facemend.evaluation.results import EvaluationReport
from tests.stand_in import DESCRIPTION, write_model
from tests.tiny_celeba import make_celeba, write_split

PEOPLE = (10, 11, 12, 13, 14)
BASELINES = "copy,mean-colour,telea,navier-stokes"
SPLITS = ("train", "train", "val", "test", "test")


@pytest.fixture(scope="module")
def celeba(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_celeba(tmp_path_factory.mktemp("celeba"), PEOPLE)


@pytest.fixture(scope="module")
def split_file(celeba: Path) -> Path:
    return write_split(celeba, SPLITS)


def facemend(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["evaluate", *map(str, arguments)])


def read(folder: Path) -> EvaluationReport:
    return EvaluationReport.from_json((folder / "report.json").read_text(encoding="utf-8"))


def trained_on(person: str, path: Path) -> Path:
    people = (hash_identity(person),)
    return write_model(path, text=replace(DESCRIPTION, name="ours", training_people=people).to_json())


def test_a_model_is_measured_beside_the_baselines(tmp_path: Path, celeba: Path, split_file: Path) -> None:
    model, folder = trained_on("celeba:11", tmp_path / "model.onnx"), tmp_path / "report"
    result = facemend(
        model,
        "--data",
        celeba,
        "--split-file",
        split_file,
        "-o",
        folder,
        "--kinds",
        "seed",
        "--baselines",
        BASELINES,
    )
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in folder.iterdir()) == [
        "cache",
        "grid.png",
        "report.html",
        "report.json",
        "report.md",
    ]
    report = read(folder)
    assert [system.name for system in report.systems] == [
        "ours",
        "copy",
        "mean-colour",
        "telea",
        "navier-stokes",
    ]
    assert (report.pictures, report.people, report.split) == (2, 2, "test")
    assert report.systems[0].training_people == "disjoint"
    assert report.systems[0].sha256 is not None
    for measure in (("hole", "psnr"), ("occlusion", "iou"), ("unoccluded", "false_edits")):
        assert report.find("ours", measure) is not None
    lines = result.output.splitlines()
    assert lines[0].startswith("| system ")
    assert lines[2].startswith("| ours ")
    assert lines[-1] == f"{folder}: report.html, report.json, report.md and grid.png"


def test_baselines_alone_kinds_split_and_limit_are_chosen(
    tmp_path: Path, celeba: Path, split_file: Path
) -> None:
    options = (
        "--data",
        celeba,
        "--split-file",
        split_file,
        "--baselines",
        "telea",
        "--kinds",
        "blur",
        "-q",
    )
    result = facemend(*options, "-o", tmp_path / "test", "--limit", "1")
    assert (result.exit_code, result.output) == (0, "")
    result = facemend(*options, "-o", tmp_path / "val", "--split", "val")
    assert (result.exit_code, result.output) == (0, "")
    for split in ("test", "val"):
        report = read(tmp_path / split)
        assert (report.split, report.pictures, report.kinds) == (split, 1, ("blur",))
        assert [system.name for system in report.systems] == ["telea"]


def test_a_model_that_was_trained_on_the_test_people_is_refused(
    tmp_path: Path, celeba: Path, split_file: Path
) -> None:
    model, folder = trained_on("celeba:14", tmp_path / "model.onnx"), tmp_path / "report"
    result = facemend(
        model, "--data", celeba, "--split-file", split_file, "--baselines", "copy", "-o", folder
    )
    assert result.exit_code == 1
    assert result.output.startswith("facemend: 1 of 2 people of the test (ours) set are among the training")
    assert result.output.count("\n") == 1
    assert not folder.exists()


def test_a_report_is_not_written_over_without_force(tmp_path: Path, celeba: Path, split_file: Path) -> None:
    command = ("--data", celeba, "--split-file", split_file, "--baselines", "copy", "--kinds", "blur")
    (tmp_path / "report.md").write_text("mine")
    result = facemend(*command, "-o", tmp_path)
    assert result.exit_code == 1
    assert result.output == f"facemend: {tmp_path} is not empty; choose another folder or add --force\n"
    assert (tmp_path / "report.md").read_text() == "mine"
    result = facemend(*command, "-o", tmp_path, "--force")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "report.md").read_text().startswith("# Evaluation")


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (("--kinds", "blurr"), 2, "has no kind 'blurr'"),
        (("--baselines", "lama"), 2, "unknown baseline 'lama'"),
        (("--baselines", "none"), 2, "nothing to measure"),
        (("missing.onnx",), 1, "missing.onnx does not exist"),
        (("--split", "val", "--limit", "0"), 2, "0 is not in the range"),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path,
    celeba: Path,
    split_file: Path,
    arguments: tuple[str, ...],
    exit_code: int,
    message: str,
) -> None:
    folder = tmp_path / "report"
    result = facemend(*arguments, "--data", celeba, "--split-file", split_file, "-o", folder)
    assert result.exit_code == exit_code
    assert message in result.output
    assert result.output.count("\n") == 1
    assert not folder.exists()


def test_baselines_that_learn_take_the_training_faces_and_keep_what_they_learnt(
    tmp_path: Path, celeba: Path, split_file: Path
) -> None:
    options: tuple[str | Path, ...] = (
        "--data",
        celeba,
        "--split-file",
        split_file,
        "--kinds",
        "blur",
        "-q",
    )
    options += ("--baselines", "mean-face,eigenfaces", "--cache", tmp_path / "kept")
    for name in ("first", "second"):
        result = facemend(*options, "-o", tmp_path / name)
        assert (result.exit_code, result.output) == (0, "")
    assert sorted(path.suffix for path in (tmp_path / "kept").iterdir()) == [".npz", ".sqlite"]
    first, second = (read(tmp_path / name) for name in ("first", "second"))
    assert [entry.training_people for entry in first.systems] == ["disjoint", "disjoint"]
    assert first.systems == second.systems  # the times, too: they were kept
    assert first.rows == second.rows
    words = ["facemend", "evaluate", "--data", str(celeba), "--output", str(tmp_path / "first")]
    assert first.command.startswith(" ".join(words))
    assert first.command.endswith("--quiet")


def test_a_run_that_was_stopped_goes_on_in_its_folder(
    tmp_path: Path, celeba: Path, split_file: Path
) -> None:
    command = ("--data", celeba, "--split-file", split_file, "--baselines", "copy", "--kinds", "blur", "-q")
    assert facemend(*command, "-o", tmp_path).exit_code == 0
    for path in tmp_path.glob("*.*"):
        path.unlink()
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]
    assert facemend(*command, "-o", tmp_path).exit_code == 0


def test_inputs_are_exported_and_another_system_s_pictures_measured(
    tmp_path: Path, celeba: Path, split_file: Path
) -> None:
    source = ("--data", celeba, "--split-file", split_file, "--kinds", "nose_mask")
    bench = tmp_path / "bench"
    result = facemend(*source, "--export-inputs", bench)
    assert (result.exit_code, result.output) == (
        0,
        f"{bench}: 2 inputs with their masks, and manifest.json\n",
    )
    shutil.copytree(bench / "inputs", bench / "copied")
    result = facemend(bench / "copied", *source, "--baselines", "copy", "-o", tmp_path / "report", "-q")
    assert result.exit_code == 0, result.output
    report = read(tmp_path / "report")
    rows = [report.find(name, ("hole", "psnr")) for name in ("copied", "copy")]
    assert rows[0] is not None
    assert rows[1] is not None
    assert rows[0].mean == rows[1].mean
    result = facemend(
        bench / "copied", *source, "--split", "val", "--baselines", "none", "-o", tmp_path / "val"
    )
    assert result.exit_code == 1
    assert "made from other inputs" in result.output


def test_without_a_folder_for_the_report_the_command_was_used_wrongly(celeba: Path) -> None:
    result = facemend("--data", celeba)
    assert result.exit_code == 2
    assert "Missing option '-o'" in result.output


def test_a_source_that_does_not_exist_is_one_line(tmp_path: Path) -> None:
    result = facemend("--data", tmp_path / "nothing", "-o", tmp_path / "report")
    assert result.exit_code == 1
    assert result.output.count("\n") == 1


def test_a_quick_look_learns_nothing_and_says_so(tmp_path: Path, celeba: Path, split_file: Path) -> None:
    options = ("--data", celeba, "--split-file", split_file, "--kinds", "blur", "--limit", "1")
    result = facemend(*options, "-o", tmp_path / "report")
    assert result.exit_code == 0, result.output
    assert "Left out for a quick look: mean-face, eigenfaces" in result.output
    names = {system.name for system in read(tmp_path / "report").systems}
    assert "telea" in names
    assert not names & {"mean-face", "eigenfaces"}


@pytest.mark.needs_shared
def test_real_faces_of_the_val_split_are_measured(tmp_path: Path, shared: Path) -> None:
    result = facemend(
        "--data", shared / "celeba", "--split", "val", "--limit", "2", "-o", tmp_path / "report", "--quiet"
    )
    assert result.exit_code == 0, result.output
    fields = json.loads((tmp_path / "report" / "report.json").read_text(encoding="utf-8"))
    assert (fields["source"], fields["pictures"]) == ("CelebA", 2)
    copied = read(tmp_path / "report").find("copy", ("hole", "psnr"))
    assert copied is not None
    assert copied.mean is not None
    assert 5 < copied.mean < 25

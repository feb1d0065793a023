import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from facemend.cli.main import main
from facemend.datasets import hash_identity
from facemend.evaluation.results import EvaluationReport
from tests.stand_in import DESCRIPTION, write_model
from tests.tiny_celeba import make_celeba

PEOPLE = (11, 12, 13, 14)
SPLITS = ("train", "val", "test", "test")


@pytest.fixture(scope="module")
def celeba(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_celeba(tmp_path_factory.mktemp("celeba"), PEOPLE)


@pytest.fixture(scope="module")
def split_file(celeba: Path) -> Path:
    path = celeba / "split.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = [(f"{number:06d}.jpg", split) for number, split in enumerate(SPLITS, 1)]
        csv.writer(file).writerows([("file", "split"), *rows])
    return path


def facemend(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["evaluate", *map(str, arguments)])


def read(folder: Path) -> EvaluationReport:
    return EvaluationReport.from_json((folder / "report.json").read_text(encoding="utf-8"))


def trained_on(person: str, path: Path) -> Path:
    people = (hash_identity(person),)
    return write_model(path, text=replace(DESCRIPTION, name="ours", training_people=people).to_json())


def test_a_model_is_measured_beside_the_baselines(tmp_path: Path, celeba: Path, split_file: Path) -> None:
    model, folder = trained_on("celeba:11", tmp_path / "model.onnx"), tmp_path / "report"
    result = facemend(model, "--data", celeba, "--split-file", split_file, "-o", folder, "--kinds", "seed")
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in folder.iterdir()) == ["grid.png", "report.json", "report.md"]
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
    assert lines[-1] == f"{folder}: report.json, report.md and grid.png"


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
    result = facemend(model, "--data", celeba, "--split-file", split_file, "-o", folder)
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


def test_a_source_that_does_not_exist_is_one_line(tmp_path: Path) -> None:
    result = facemend("--data", tmp_path / "nothing", "-o", tmp_path / "report")
    assert result.exit_code == 1
    assert result.output.count("\n") == 1


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

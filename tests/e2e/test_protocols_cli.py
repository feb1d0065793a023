import json
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image as PillowImage

from facemend.cli.main import main
from facemend.evaluation.evaluate import NAMES
from facemend.evaluation.results import EvaluationReport, Group
from facemend.io import write_png
from tests.tiny_celeba import gradient, make_celeba, write_split
from tests.unit.evaluation.test_groups import row, write_faces
from tests.unit.evaluation.test_published_masks import write_templates

HOLE = ("hole", "psnr")
SPLITS = ("train", "train", "val", "test", "test")


@pytest.fixture(scope="module")
def celeba(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_celeba(tmp_path_factory.mktemp("celeba"), (10, 11, 12, 13, 14))


@pytest.fixture(scope="module")
def split_file(celeba: Path) -> Path:
    return write_split(celeba, SPLITS)


def write_cutouts(folder: Path) -> Path:
    """Enough masks for some to be held out: grey ellipses over the lower face, in CelebA's frame."""
    folder.mkdir(parents=True)
    y, x = np.mgrid[0:218, 0:178]
    inside = np.hypot((x - 88) / 40, (y - 150) / 28) < 1
    for number in range(40):
        pixels = np.dstack([np.full((218, 178, 3), 90 + 2 * number), 255 * inside]).astype(np.uint8)
        PillowImage.fromarray(pixels).save(folder / f"mask_{number:02d}.png")
    return folder


def facemend(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["evaluate", *map(str, arguments)])


def read(folder: Path) -> EvaluationReport:
    return EvaluationReport.from_json((folder / "report.json").read_text(encoding="utf-8"))


def test_published_masks_stand_beside_what_others_published(
    tmp_path: Path, celeba: Path, split_file: Path, stand_in_model: Path
) -> None:
    templates = write_templates(tmp_path / "templates")
    result = facemend(
        stand_in_model, "--protocol", "published-masks", "--templates", templates, "--data", celeba,
        "--split-file", split_file, "-o", tmp_path / "report",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    report = read(tmp_path / "report")
    assert (report.protocol, report.pictures) == ("published-masks", 2)
    assert [system.name for system in report.systems] == [
        "stand-in", "copy", "mean-colour", "telea", "navier-stokes",
    ]  # fmt: skip
    assert 0.05 < report.coverage["masktheface"] < 0.15
    text = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    table = text.split("## Published beside measured")[1].split("\n## ")[0]
    assert "| M2UNet, as published" in table
    assert "| 31.33" in table
    assert f"--protocol published-masks --templates {templates}" in report.command


def test_diverse_faces_are_measured_by_group(tmp_path: Path, stand_in_model: Path) -> None:
    rows = [row(n, ITA="-30" if n % 2 else "60") for n in range(4)]
    faces = write_faces(tmp_path / "faces", rows)
    result = facemend(
        stand_in_model,
        "--protocol",
        "diverse",
        "--data",
        faces,
        "--kinds",
        "blur",
        "-o",
        tmp_path / "report",
    )
    assert result.exit_code == 0, result.output
    found = read(tmp_path / "report").find("stand-in", HOLE, Group(people="skin: dark"))
    assert found is not None
    assert found.n == 2


def test_held_out_cutouts_are_put_on_several_sources(tmp_path: Path, stand_in_model: Path) -> None:
    faces = write_faces(tmp_path / "faces", [row(n, yaw="0.3") for n in range(3)])
    people = tmp_path / "press2"
    write_faces(people, [row(n, source="news") for n in range(2)])
    cutouts = write_cutouts(tmp_path / "cutouts")
    result = facemend(
        stand_in_model, "--protocol", "real-cutouts", "--cutouts", cutouts, "--data", faces, "--data",
        people, "--baselines", "copy", "-o", tmp_path / "report",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    report = read(tmp_path / "report")
    assert (report.source, report.pictures) == ("faces + press2", 5)
    rows = [
        report.find("copy", HOLE, Group(people=f"set: {name}"))
        for name in ("turned heads", "measure-only photographs")
    ]
    assert [found.n for found in rows if found is not None] == [3, 5]
    assert f"--data {faces} --data {people}" in report.command


def test_harm_counts_the_photos_that_come_back_changed(tmp_path: Path, stand_in_model: Path) -> None:
    write_png(tmp_path / "photos" / "plain.png", gradient(200, 160))
    result = facemend(
        stand_in_model, "--protocol", "harm", "--data", tmp_path / "photos", "-o", tmp_path / "report"
    )
    assert result.exit_code == 0, result.output
    fields = json.loads((tmp_path / "report" / "report.json").read_text(encoding="utf-8"))
    assert (fields["protocol"], fields["photos"], fields["without_face"]) == ("harm", 1, ["plain.png"])
    assert {row["condition"]: row["photos"] for row in fields["rows"]}["JPEG 30"] == 1
    assert "| as it is" in (tmp_path / "report" / "report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--protocol", "published-masks"), "needs MaskTheFace's templates: --templates FOLDER"),
        (("--protocol", "real-cutouts"), "needs masks cut out of photos: --cutouts FOLDER"),
        (("--templates", "x"), "--templates is for --protocol published-masks"),
        (("--cutouts", "x", "--protocol", "diverse"), "--cutouts is for --protocol real-cutouts"),
        (("--protocol", "diverse", "--split", "val"), "knows its held-out faces"),
        (("--protocol", "diverse", "--export-inputs", "x"), "writes the inputs of facemend-bench v1 only"),
        (("--protocol", "harm"), "one MODEL on one folder of photos"),
        (("--protocol", "harm", "--robustness"), "takes --data, --limit"),
        (("--data", "other"), "name --data once"),
    ],
)
def test_what_a_protocol_does_not_take_is_one_line(
    tmp_path: Path, celeba: Path, arguments: tuple[str, ...], message: str
) -> None:
    result = facemend("--data", celeba, "-o", tmp_path / "report", *arguments)
    assert result.exit_code == 2
    assert message in result.output
    assert result.output.count("\n") == 1
    assert not (tmp_path / "report").exists()


def test_baselines_that_learn_are_for_v1(tmp_path: Path) -> None:
    faces = write_faces(tmp_path / "faces", [row(0)])
    result = facemend(
        "--protocol", "diverse", "--data", faces, "--baselines", "mean-face", "-o", tmp_path / "report"
    )
    assert result.exit_code == 2
    assert "baselines of facemend-bench v1 only" in result.output


def test_the_command_offers_every_protocol() -> None:
    (option,) = (
        parameter for parameter in main.commands["evaluate"].params if parameter.name == "protocol"
    )
    assert isinstance(option.type, click.Choice)
    assert tuple(option.type.choices) == (*NAMES, "harm")

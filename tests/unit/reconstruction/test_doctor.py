"""facemend doctor: what it says of this installation, and when it says that something is wrong."""

import json
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from facemend.cli.main import main
from facemend.reconstruction.demo import (
    EXTRAS,
    SelfTest,
    describe_extra,
    expected_self_test,
    run_self_test,
    verdict,
)


@pytest.fixture(scope="module")
def expected() -> SelfTest:
    return expected_self_test()


def test_the_shipped_networks_compute_what_was_recorded(expected: SelfTest) -> None:
    passed, said = verdict(run_self_test(), expected)
    assert passed, f"{said}; after a change of a network: python tools/record_self_test.py"


def test_another_rounding_passes_and_another_picture_does_not(expected: SelfTest) -> None:
    rounded = replace(expected, pixels_sha256="0", levels=[[v + 1 for v in row] for row in expected.levels])
    assert verdict(rounded, expected)[0]
    wrong = replace(rounded, levels=[[v + 9 for v in row] for row in expected.levels])
    assert verdict(wrong, expected) == (
        False,
        "boxes within 0.00 px and levels within 9 of 255 of our tests: this machine computes something "
        "else; report it with all of this",
    )
    moved = replace(rounded, boxes_px=[[v + 3 for v in box] for box in expected.boxes_px])
    assert not verdict(moved, expected)[0]


def test_other_networks_are_named_as_the_cause(expected: SelfTest) -> None:
    passed, said = verdict(replace(expected, model_sha256="0"), expected)
    assert not passed
    assert "install facemend again" in said


def test_every_extra_of_a_user_is_explained(repo_root: Path) -> None:
    with (repo_root / "pyproject.toml").open("rb") as file:
        extras = tomllib.load(file)["project"]["optional-dependencies"]
    assert EXTRAS.keys() == extras.keys() - {"docs", "dev"}


def test_an_extra_names_its_packages() -> None:
    assert "pillow-heif" in describe_extra("heic")["packages"]


def test_the_paste_names_no_path_of_this_machine(
    expected: SelfTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facemend.reconstruction.demo.run_self_test", lambda: expected)
    runner = CliRunner()
    said = runner.invoke(main, ["doctor"])
    assert said.exit_code == 0
    assert "self-test  passed" in said.output
    assert "facemend.onnx" in said.output
    facts = json.loads(runner.invoke(main, ["doctor", "--json"]).output)
    assert facts["self_test"]["pixels_sha256"] == expected.pixels_sha256
    for text in (said.output, json.dumps(facts)):
        assert str(Path.home()) not in text
        assert str(Path.cwd()) not in text


def test_a_failed_check_is_an_exit_code(expected: SelfTest, monkeypatch: pytest.MonkeyPatch) -> None:
    found = replace(expected, model_sha256="0")
    monkeypatch.setattr("facemend.reconstruction.demo.run_self_test", lambda: found)
    done = CliRunner().invoke(main, ["doctor"])
    assert done.exit_code == 1
    assert "FAILED" in done.output

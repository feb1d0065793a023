"""What the container installs: the tested versions, each file by its hash."""

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement

_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


@pytest.fixture(scope="module")
def locked(repo_root: Path) -> dict[str, str]:
    """The lock's entries by package: all that stands behind the name."""
    text = (repo_root / "deploy/requirements.lock").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {line.partition("==")[0]: line.partition("==")[2] for line in lines}


def test_every_package_is_the_tested_version_and_has_hashes(
    locked: dict[str, str], repo_root: Path
) -> None:
    constraints = (repo_root / "constraints.txt").read_text().splitlines()
    tested = {
        name.lower().replace("_", "-"): version
        for name, _, version in (line.partition("==") for line in constraints if not line.startswith("#"))
    }
    assert {name: rest.split()[0] for name, rest in locked.items() if name in tested} == {
        name: tested[name] for name in locked if name in tested
    }
    assert set(locked) - set(tested) <= {"colorama", "exceptiongroup"}  # of other systems
    assert all(_HASH.search(rest) for rest in locked.values())


def test_all_that_the_container_needs_is_there(locked: dict[str, str], repo_root: Path) -> None:
    import tomllib

    project = tomllib.loads((repo_root / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    needed = [*project["dependencies"], *extras["serve"], *extras["heic"], "hatchling"]
    assert {Requirement(each).name.lower() for each in needed} <= set(locked)
    dockerfile = (repo_root / "deploy/Dockerfile").read_text()
    assert "--require-hashes -r requirements.lock" in dockerfile
    assert "--no-deps --no-build-isolation ." in dockerfile

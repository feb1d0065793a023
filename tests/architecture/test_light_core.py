"""The light core: what a user who only wants a picture reconstructed has to install."""

import tomllib
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

LARGEST_MB = 250
DEPENDENCIES = {"click", "numpy", "onnxruntime", "pillow", "tqdm"}


def _closure(names: set[str]) -> dict[str, Distribution]:
    """The named distributions and everything that they need here, extras left out."""
    found: dict[str, Distribution] = {}
    waiting = set(names)
    while waiting:
        name = waiting.pop()
        found[name] = distribution(name)
        needs = map(Requirement, found[name].requires or [])
        here = {r.name for r in needs if r.marker is None or r.marker.evaluate({"extra": ""})}
        waiting |= here - found.keys()
    return found


def _size_mb(installed: Distribution) -> float:
    paths = (Path(str(file.locate())) for file in installed.files or [])
    return sum(path.stat().st_size for path in paths if path.is_file()) / 1e6


def _project(repo_root: Path) -> dict[str, list[str]]:
    with (repo_root / "pyproject.toml").open("rb") as file:
        project: dict[str, list[str]] = tomllib.load(file)["project"]
    return project


def test_the_light_core_names_its_five_dependencies_and_no_other(repo_root: Path) -> None:
    assert {Requirement(line).name for line in _project(repo_root)["dependencies"]} == DEPENDENCIES


def test_the_light_core_stays_under_its_size(repo_root: Path) -> None:
    sizes = {name: _size_mb(found) for name, found in _closure(DEPENDENCIES).items()}
    own = sum(path.stat().st_size for path in (repo_root / "src").rglob("*") if path.is_file()) / 1e6
    assert all(sizes.values()), sizes
    assert sum(sizes.values()) + own < LARGEST_MB, sizes


def test_the_light_core_needs_nothing_that_belongs_to_an_extra() -> None:
    assert not {"torch", "opencv-python-headless", "scipy", "sympy"} & _closure(DEPENDENCIES).keys()


def test_every_tested_version_meets_what_the_project_asks_for(repo_root: Path) -> None:
    lines = (repo_root / "constraints.txt").read_text().splitlines()
    pins = {Requirement(line).name.lower().replace("_", "-"): line for line in lines if line[:1] != "#"}
    with (repo_root / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    asked += [*project["optional-dependencies"]["train"], *project["optional-dependencies"]["evaluate"]]
    for requirement in map(Requirement, asked):
        if requirement.name != "facemend":
            pinned = pins[requirement.name].partition("==")[2]
            assert requirement.specifier.contains(pinned), f"{requirement} but {pins[requirement.name]}"

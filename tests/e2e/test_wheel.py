"""The wheel, as a stranger gets it: built from the sources, unpacked elsewhere, run without them."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from facemend.io import read_image


def _run(*command: str | Path, cwd: Path, path: Path | None = None) -> str:
    environment = os.environ if path is None else {**os.environ, "PYTHONPATH": str(path)}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(repo_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    build = ("-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(repo_root))
    _run(sys.executable, *build, cwd=out)
    (wheel,) = out.glob("*.whl")
    return wheel


def test_the_wheel_holds_the_package_and_no_more(wheel: Path, repo_root: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        names = {name for name in file.namelist() if ".dist-info/" not in name}
    sources = (path for path in (repo_root / "src").rglob("*") if path.is_file())
    expected = {path.relative_to(repo_root / "src").as_posix() for path in sources}
    assert names == {name for name in expected if "__pycache__" not in name}


def test_the_wheel_brings_weights_split_portraits_and_types(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        names = {name.removeprefix("facemend/") for name in file.namelist()}
    assert {"weights/facemend.onnx", "datasets/celeba_split.csv", "py.typed"} <= names
    assert (
        len({name for name in names if name.startswith("portraits/") and name[-4:] in (".png", ".jpg")})
        == 2
    )


def test_the_wheel_carries_its_licence_and_notice(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        texts = {Path(name).name: file.read(name) for name in file.namelist() if "/licenses/" in name}
    assert b"MIT License" in texts["LICENSE"]
    assert texts["NOTICE"].strip()


def test_the_installed_wheel_runs_outside_the_clone(wheel: Path, tmp_path: Path) -> None:
    home = tmp_path / "site"
    with zipfile.ZipFile(wheel) as file:
        file.extractall(home)
    where = _run(sys.executable, "-c", "import facemend; print(facemend.__file__)", cwd=tmp_path, path=home)
    assert Path(where.strip()).is_relative_to(home)
    code = "from facemend.cli.main import main; main()"
    _run(sys.executable, "-c", code, "demo", "-o", "demo.png", cwd=tmp_path, path=home)
    assert read_image(tmp_path / "demo.png").std() > 0

"""Commands in a stranger's folder: nothing in it runs, whatever it is called."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.tiny_celeba import gradient, make_celeba
from tests.tiny_training import tiny_training

_SHADOWED = (
    "multiprocessing", "json", "numpy", "typing", "click", "tqdm", "PIL", "onnxruntime", "hashlib",
    "pathlib", "re", "random", "struct", "zlib", "socket", "subprocess", "tempfile", "logging",
    "pickle", "signal", "queue", "threading", "concurrent", "glob", "csv", "zipfile", "torch",
    "accelerate", "uvicorn", "fastapi", "pyarrow", "pydantic", "pillow_heif", "cv2", "tomllib",
    "enum", "dataclasses", "av", "watchfiles", "c2pa", "cryptography", "shellingham", "segno",
)  # fmt: skip
"""Modules of Python and of the packages that facemend uses."""
# What pip writes into bin/facemend, with its folder first in the path as there.
_CONSOLE_SCRIPT = """
import sys
from facemend.cli.main import main
if __name__ == "__main__":
    sys.exit(main())
"""


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A folder of four pictures, and of modules that leave a trace if they run."""
    folder = tmp_path / "hostile"
    folder.mkdir()
    for number in range(4):
        Image.fromarray(gradient(128, 128, number)).save(folder / f"{number}.png")
    for name in _SHADOWED:
        trace = f"open({str(tmp_path / 'ran')!r}, 'a').write({name!r} + ' ')\nraise SystemExit(9)\n"
        (folder / f"{name}.py").write_text(trace)
    return folder


def _environment(**more: str) -> dict[str, str]:
    source = str(Path(__file__).parents[2] / "src")
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONSAFEPATH"}
    return kept | {"PYTHONPATH": source, "OMP_NUM_THREADS": "1"} | more


def _facemend(
    folder: Path, *words: str | Path, python_path: str = "{}", as_module: bool = False
) -> subprocess.CompletedProcess[str]:
    script = folder.parent / "bin" / "facemend"
    script.parent.mkdir(exist_ok=True)
    script.write_text(_CONSOLE_SCRIPT)
    source = str(Path(__file__).parents[2] / "src")
    start = ["-m", "facemend"] if as_module else [str(script)]
    return subprocess.run(
        [sys.executable, *start, *map(str, words)],
        cwd=folder,
        env=_environment(PYTHONPATH=python_path.format(source)),
        capture_output=True,
        text=True,
        check=False,
    )


def _nothing_ran(folder: Path, done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stderr
    assert not (folder.parent / "ran").exists(), (folder.parent / "ran").read_text()


def test_workers_of_reconstruct_run_nothing(hostile: Path, stand_in_model: Path) -> None:
    words = ("reconstruct", ".", "--aligned", "--model", stand_in_model, "-o", "../out", "--jobs", "2")
    _nothing_ran(hostile, _facemend(hostile, *words))


@pytest.mark.parametrize("python_path", [":{}", "{}:", "{}:."])
def test_an_empty_entry_of_pythonpath_gives_workers_nothing(
    hostile: Path, stand_in_model: Path, python_path: str
) -> None:
    # It means the current folder. What Python and the command import at their own start is beyond them.
    for name in set(_SHADOWED) - {"multiprocessing", "queue", "socket"}:
        (hostile / f"{name}.py").unlink()
    words = ("reconstruct", ".", "--aligned", "--model", stand_in_model, "-o", "../out", "--jobs", "2")
    _nothing_ran(hostile, _facemend(hostile, *words, python_path=python_path))


def test_python_m_runs_nothing(hostile: Path, stand_in_model: Path) -> None:
    words = ("reconstruct", ".", "--aligned", "--model", stand_in_model, "-o", "../out", "--jobs", "2")
    _nothing_ran(hostile, _facemend(hostile, *words, as_module=True))


def test_dataset_evaluate_info_and_demo_run_nothing(hostile: Path, stand_in_model: Path) -> None:
    celeba = make_celeba(hostile.parent / "celeba", tuple(range(11, 41)))
    for words in (
        ("dataset", "build", celeba, "../pairs", "--count", "2", "--workers", "2"),
        ("dataset", "stats", "../pairs"),
        ("evaluate", stand_in_model, "--data", celeba, "--limit", "1", "--kinds", "nose_mask")
        + ("--baselines", "copy", "-o", "../report"),
        ("info", stand_in_model),
        ("demo", "-o", "../demo.png"),
    ):
        _nothing_ran(hostile, _facemend(hostile, *words))


def test_find_apply_completion_and_doctor_run_nothing(hostile: Path, stand_in_model: Path) -> None:
    model = ("--model", stand_in_model)
    for words in (
        ("find", ".", "--aligned", *model, "-o", "../found", "--jobs", "2"),
        ("apply", stand_in_model, ".", "-o", "../applied"),
        ("completion", "bash", "--print"),
        ("doctor",),
    ):
        _nothing_ran(hostile, _facemend(hostile, *words))


def test_a_watch_runs_nothing(hostile: Path, stand_in_model: Path) -> None:
    script = hostile.parent / "start"
    script.write_text(_CONSOLE_SCRIPT)
    words = ("watch", ".", "-o", "../out", "--aligned", "--settle", "0", "--model", str(stand_in_model))
    with subprocess.Popen(
        [sys.executable, str(script), *words],
        cwd=hostile,
        env=_environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(5)]
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
    assert sum(line.startswith("../out/") for line in lines) == 4
    assert process.returncode == 0
    assert not (hostile.parent / "ran").exists()


def test_workers_of_a_training_run_run_nothing(hostile: Path) -> None:
    celeba = make_celeba(hostile.parent / "celeba", tuple(range(11, 41)))
    (hostile.parent / "config.toml").write_text(tiny_training(1))
    words = ("train", "../config.toml", "--data", celeba, "-o", "../run", "-q")
    _nothing_ran(hostile, _facemend(hostile, *words))


def test_the_actors_of_ray_run_nothing(hostile: Path) -> None:
    celeba = make_celeba(hostile.parent / "celeba", tuple(range(11, 41)))
    words = (
        "dataset",
        "build",
        celeba,
        "../pairs",
        "--count",
        "2",
        "--layout",
        "parquet",
        "--engine",
        "ray",
    )
    _nothing_ran(hostile, _facemend(hostile, *words))


def test_a_server_runs_nothing(hostile: Path, stand_in_model: Path) -> None:
    script = hostile.parent / "facemend.py"
    script.write_text(_CONSOLE_SCRIPT)
    script = script.rename(hostile.parent / "start")
    with subprocess.Popen(
        [sys.executable, str(script), "serve", "--port", "0", "--model", str(stand_in_model)],
        cwd=hostile,
        env=_environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout is not None
        assert "facemend serves" in server.stdout.readline()
        server.send_signal(signal.SIGINT)
        server.wait()
    assert not (hostile.parent / "ran").exists()

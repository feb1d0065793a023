"""Several processes train one model: the same losses, another number of them goes on, none is waited for.

Processes are started as torchrun starts them, by environment variables, over gloo.
"""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from facemend.cli.main import main
from facemend.io import write_png
from facemend.training.checkpoint import load_checkpoint, numbered_checkpoint

_CONFIG = """
name = "several"
ema = 0.9
precision = "fp32"
workers = 0
checkpoint_minutes = 1e-9
log_seconds = 0
validate_images = 1000
validation_faces = 1
generator = { widths = [4, 8] }
discriminator = { crop_px = 32 }
data = { kinds = { nose_mask = 1.0, blur = 1.0 } }

[[phases]]
name = "only"
images = 24
size_px = 64
batch = 4
learning_rate = 1e-3
schedule = "constant"

[phases.losses]
l1_hole = 1.0
l1_outside = 0.3
alpha = 0.5
adversarial = 0.05
feature_matching = 1.0
r1 = 0.1
"""
_TOLERANCE = 1e-4
"""Relative, of the logged losses in fp32: the processes' sums are rounded in another order."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A config, six faces and a split of them."""
    folder = tmp_path_factory.mktemp("several")
    (folder / "config.toml").write_text(_CONFIG)
    rng = np.random.default_rng(0)
    for number in range(6):
        coarse = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        write_png(folder / f"faces/{number}/face.png", coarse.repeat(16, axis=0).repeat(16, axis=1))
    rows = [f"{number}/face.png,{'train' if number else 'val'}" for number in range(6)]
    (folder / "split.csv").write_text("\n".join(["file,split", *rows]) + "\n")
    return folder


def _command(home: Path, run: Path, images: int) -> list[str]:
    command = ["train", str(home / "config.toml"), "--data", str(home / "faces"), "-o", str(run)]
    split = ["--split-file", str(home / "split.csv"), "--threads", "1", "--quiet"]
    return [*command, *split, "--set", f"phases.0.images={images}"]


def _alone(home: Path, run: Path, images: int) -> None:
    result = CliRunner().invoke(main, _command(home, run, images))
    assert result.exit_code == 0, result.output


def _together(home: Path, run: Path, images: int) -> list[subprocess.Popen[str]]:
    """Two processes of one run, with nobody who would look after them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    team = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    team |= {"LOCAL_WORLD_SIZE": "2"}
    return [
        subprocess.Popen(
            [sys.executable, "-m", "facemend", *_command(home, run, images)],
            env=os.environ | team | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]


def _losses(run: Path) -> dict[int, dict[str, float]]:
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return {
        row["images_seen"]: {key: value for key, value in row.items() if key.startswith("loss/")}
        for row in rows
        if "data_wait" in row
    }


def test_two_processes_train_as_one_does_and_one_goes_on(home: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    started = _together(home, two, 24)
    _alone(home, one, 24)
    said = [process.communicate(timeout=300) for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    assert "finished after 24 images" in said[0][0]
    assert said[1][0] == ""  # one of them reports
    expected, got = _losses(one), _losses(two)
    assert list(expected) == list(got) == [0, 4, 8, 12, 16, 20]
    for seen, losses in expected.items():
        assert got[seen] == pytest.approx(losses, rel=_TOLERANCE), seen
    alone, together = (_generator(numbered_checkpoint(run, 24)) for run in (one, two))
    torch.testing.assert_close(together, alone, rtol=0, atol=2e-4)
    for seen in (20, 24):  # as if both had been killed before
        numbered_checkpoint(two, seen).unlink()
    _alone(home, two, 24)
    continued = _generator(numbered_checkpoint(two, 24))
    torch.testing.assert_close(continued, alone, rtol=0, atol=2e-4)


def _generator(checkpoint: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(checkpoint).part("generator")


def test_a_dead_process_ends_the_others_and_one_goes_on(home: Path, tmp_path: Path) -> None:
    first, second = _together(home, tmp_path, 100_000)
    try:
        until = time.monotonic() + 300
        while not (tmp_path / "log.jsonl").exists() or not _losses(tmp_path):
            assert first.poll() is None, first.communicate()
            assert time.monotonic() < until
            time.sleep(0.1)
        second.kill()
        _, said = first.communicate(timeout=120)
    finally:
        for process in (first, second):
            process.kill()
            process.communicate()
    assert first.returncode == 1
    assert "lost another process of the run" in said

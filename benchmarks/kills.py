"""Kill a training run at random moments, over and over, and compare its end with that of one left alone.

    python benchmarks/kills.py [--kills 10] [--seed 0] [--result FILE]

Every kill is a SIGKILL to the process of a run at a random moment, start and saving included; the same
run is started again at once. Whenever a run gets to its end, every tensor of its last checkpoint has to be
bit-equal to that of the run left alone. Writes benchmarks/results/kills.json.
"""

import argparse
import importlib
import json
import multiprocessing
import random
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file

from facemend.io import write_png
from facemend.training.checkpoint import newest_checkpoint
from facemend.training.run import start

_ROOT = Path(__file__).parents[1]
_FACES = 6
_Tensors = dict[str, npt.NDArray[np.generic]]
_SMALL = (
    "generator.widths=[4,8]",
    "discriminator.crop_px=32",
    "phases.0.images=160",
    "phases.1.images=64",
    "phases.1.size_px=64",
    "checkpoint_minutes=0.001",
    "validate_images=64",
    "validation_faces=1",
    "workers=0",
)


def main() -> None:
    """Kills, compares, prints and writes how it went; exits with 1 where a bit differs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--result", type=Path, default=_ROOT / "benchmarks/results/kills.json")
    arguments = parser.parse_args()
    importlib.import_module("torch.utils.tensorboard")  # here once, so that no start of a run has to
    rng = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        data = _make_faces(Path(folder) / "faces")
        began = time.monotonic()
        whole = _finish(data, Path(folder) / "whole")
        seconds = time.monotonic() - began
        kills: list[int] = []
        differing: list[str] = []
        runs = 0
        while len(kills) < arguments.kills:
            run = Path(folder) / f"killed-{runs}"
            while (
                len(kills) < arguments.kills
                and (at := _kill(data, run, rng.uniform(0, seconds))) is not None
            ):
                kills.append(at)
            differing += _differences(whole, _finish(data, run))
            runs += 1
    result = {"kills": len(kills), "last_checkpoint_at_each": kills, "runs": runs, "differing": differing}
    print(json.dumps(result, indent=2))
    arguments.result.parent.mkdir(exist_ok=True)
    arguments.result.write_text(json.dumps(result, indent=2) + "\n")
    sys.exit(1 if differing else 0)


def _make_faces(home: Path) -> Path:
    rng = np.random.default_rng(0)
    for number in range(_FACES):
        coarse = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        write_png(home / f"{number}/face.png", coarse.repeat(16, axis=0).repeat(16, axis=1))
    rows = [f"{number}/face.png,{'train' if number else 'val'}" for number in range(_FACES)]
    (home / "split.csv").write_text("\n".join(["file,split", *rows]) + "\n")
    return home


def _start(data: Path, run: Path) -> multiprocessing.process.BaseProcess:
    options = {"split_file": data / "split.csv", "overrides": _SMALL, "threads": 1, "quiet": True}
    arguments = (_ROOT / "configs/smoke.toml", data, run)
    process = multiprocessing.get_context("fork").Process(target=start, args=arguments, kwargs=options)
    process.start()
    return process


def _kill(data: Path, run: Path, after_s: float) -> int | None:
    """Starts or continues a run and kills it; images seen at its last checkpoint, None if it was done."""
    process = _start(data, run)
    process.join(after_s)
    process.kill()
    process.join()
    if process.exitcode == 0:
        return None
    newest = newest_checkpoint(run)
    return int(newest.stem) if newest else 0


def _finish(data: Path, run: Path) -> _Tensors:
    """Lets a run come to its end, and reads its last checkpoint."""
    process = _start(data, run)
    process.join()
    newest = newest_checkpoint(run)
    if process.exitcode or newest is None:
        sys.exit("the run did not come to its end")
    return load_file(newest)


def _differences(whole: _Tensors, other: _Tensors) -> list[str]:
    names = sorted(whole.keys() | other.keys())
    return [
        n for n in names if n not in whole or n not in other or whole[n].tobytes() != other[n].tobytes()
    ]


if __name__ == "__main__":
    main()

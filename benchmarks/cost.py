"""What a call costs by kind of cover, as ratios to `nose_mask`.

    python benchmarks/cost.py [--rounds 20] [--crops 60] [--kinds nose_mask,blur]

Three measures. `crop` and `photo`: CPU seconds of the whole `Reconstructor` call on a ready crop and on a
photo with one face, one thread, median over the rounds. The kinds take turns, so that whatever else the
machine does slows all of them. `folder`: seconds of `facemend reconstruct` on a folder of crops, on all
cores, with its default number of jobs. Pictures are the portraits that come with facemend, covered anew
each time. Prints all and their ratios, and writes benchmarks/results/cost.json.

The script starts itself again with one BLAS thread, so that CPU seconds are those of one thread. The
folder's command is not limited.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from facemend.alignment import crop_face
from facemend.evaluation.protocol import make_input, protocol_kinds
from facemend.files import seed_of
from facemend.images import Image
from facemend.io import write_png
from facemend.occlusion import BENCHMARK_KINDS, occlude
from facemend.reconstruction.demo import Portrait, read_portraits
from facemend.reconstruction.reconstructor import Reconstructor

_RESULT = Path(__file__).parent / "results" / "cost.json"
_REFERENCE = "nose_mask"
_LIMITS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--crops", type=int, default=60, help="in the folder; 0 leaves it out")
    parser.add_argument("--kinds", default=",".join(protocol_kinds()))
    options = parser.parse_args()
    if not _LIMITS.items() <= os.environ.items():  # numpy reads them when it is loaded
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | _LIMITS)
    kinds = list(dict.fromkeys([_REFERENCE, *options.kinds.split(",")]))
    seconds = {
        "crop": measure_calls(kinds, options.rounds, covered_crop, aligned=True),
        "photo": measure_calls(kinds, options.rounds, covered_photo, aligned=False),
    }
    if options.crops:
        seconds["folder"] = measure_folders(kinds, options.crops)
    print(f"{'kind':16}" + "".join(f"{f'{name}, s':>12}{'ratio':>8}" for name in seconds))
    for kind in kinds:
        cells = (f"{taken[kind]:12.3f}{taken[kind] / taken[_REFERENCE]:8.2f}" for taken in seconds.values())
        print(f"{kind:16}" + "".join(cells))
    result = {
        "load_average": [round(load, 1) for load in os.getloadavg()],
        "cores": os.cpu_count(),
        "rounds": options.rounds,
        "crops_in_folder": options.crops,
        "seconds": {name: _rounded(taken) for name, taken in seconds.items()},
        "ratios": {name: _ratios(taken) for name, taken in seconds.items()},
    }
    _RESULT.parent.mkdir(exist_ok=True)
    _RESULT.write_text(json.dumps(result, indent=2) + "\n")


def _ratios(seconds: dict[str, float]) -> dict[str, float]:
    return {kind: round(value / seconds[_REFERENCE], 2) for kind, value in seconds.items()}


def _rounded(seconds: dict[str, float]) -> dict[str, float]:
    return {kind: round(value, 4) for kind, value in seconds.items()}


def covered_crop(portraits: Sequence[Portrait], kind: str, number: int) -> Image:
    """A crop (256, 256, 3) under one kind of cover: the portraits by turns, each cover drawn anew."""
    portrait = portraits[number % len(portraits)]
    crop = crop_face(portrait.photo, portrait.landmarks_px).image
    return make_input(crop, f"cost {number}", kind).image


def covered_photo(portraits: Sequence[Portrait], kind: str, number: int) -> Image:
    """A photo (H, W, 3) whose face is covered, as `covered_crop`."""
    portrait = portraits[number % len(portraits)]
    seed = seed_of("cost", kind, number)
    return occlude(portrait.photo, portrait.landmarks_px, kind, seed, BENCHMARK_KINDS).image


def measure_calls(
    kinds: Sequence[str],
    rounds: int,
    cover: Callable[[Sequence[Portrait], str, int], Image],
    *,
    aligned: bool,
) -> dict[str, float]:
    """CPU seconds of one call by kind: the median over the rounds."""
    reconstructor, portraits = Reconstructor(threads=1), read_portraits()
    taken: dict[str, list[float]] = {kind: [] for kind in kinds}
    for number in range(-1, rounds):  # the first call opens files and fills caches
        for kind in kinds:
            picture = cover(portraits, kind, max(number, 0))
            start = time.process_time()
            reconstructor(picture, aligned=aligned, remove="all")
            if number >= 0:
                taken[kind].append(time.process_time() - start)
    return {kind: statistics.median(seconds) for kind, seconds in taken.items()}


def measure_folders(kinds: Sequence[str], count: int) -> dict[str, float]:
    """Seconds of the command on a folder of crops by kind, Python's start included."""
    taken, portraits = {}, read_portraits()
    free = {name: value for name, value in os.environ.items() if name not in _LIMITS}
    for kind in kinds:
        with tempfile.TemporaryDirectory() as home:
            crops, output = Path(home) / "crops", Path(home) / "output"
            for number in range(count):
                write_png(crops / f"{number:03d}.png", covered_crop(portraits, kind, number))
            words = [sys.executable, "-m", "facemend", "reconstruct", str(crops), "-o", str(output)]
            start = time.perf_counter()
            subprocess.run([*words, "--aligned", "--remove", "all", "--quiet"], check=True, env=free)
            taken[kind] = time.perf_counter() - start
    return taken


if __name__ == "__main__":
    main()

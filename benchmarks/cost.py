"""What a call costs by kind of cover, as ratios to `nose_mask`.

    python benchmarks/cost.py [--rounds 20] [--crops 60] [--kinds nose_mask,blur]

Two measures. `call`: CPU seconds of the whole `Reconstructor` call on a ready crop, one thread, median over
the rounds. The kinds take turns, so that whatever else the machine does slows all of them. `folder`:
seconds of `facemend reconstruct` on a folder of crops, on all cores, with its default number of jobs.
The crops are the portraits that come with facemend, covered anew each time. Prints both and their ratios,
and writes benchmarks/results/cost.json.

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
from collections.abc import Sequence
from pathlib import Path

from facemend.evaluation.protocol import bench_face, protocol_kinds
from facemend.frame import crop_face
from facemend.images import Image, write_png
from facemend.reconstruction.demo import read_portraits
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
    call_s = measure_calls(kinds, options.rounds)
    folder_s = measure_folders(kinds, options.crops) if options.crops else {}
    result = {
        "load_average": [round(load, 1) for load in os.getloadavg()],
        "cores": os.cpu_count(),
        "rounds": options.rounds,
        "crops": options.crops,
        "call_cpu_s": _rounded(call_s),
        "call_ratio": _ratios(call_s),
        "folder_s": _rounded(folder_s),
        "folder_ratio": _ratios(folder_s),
    }
    print(f"{'kind':16}{'call, CPU s':>12}{'ratio':>8}{'folder, s':>12}{'ratio':>8}")
    for kind in kinds:
        folder = f"{folder_s[kind]:12.2f}{result_ratio(folder_s, kind):8.2f}" if folder_s else ""
        print(f"{kind:16}{call_s[kind]:12.3f}{result_ratio(call_s, kind):8.2f}{folder}")
    _RESULT.parent.mkdir(exist_ok=True)
    _RESULT.write_text(json.dumps(result, indent=2) + "\n")


def result_ratio(seconds: dict[str, float], kind: str) -> float:
    """A kind's seconds over those of `nose_mask`."""
    return seconds[kind] / seconds[_REFERENCE]


def _ratios(seconds: dict[str, float]) -> dict[str, float]:
    return {kind: round(result_ratio(seconds, kind), 2) for kind in seconds}


def _rounded(seconds: dict[str, float]) -> dict[str, float]:
    return {kind: round(value, 4) for kind, value in seconds.items()}


def covered_crops(kind: str, count: int) -> list[Image]:
    """Crops (256, 256, 3) under one kind of cover: the portraits by turns, each cover drawn anew."""
    portraits = read_portraits()
    crops = [crop_face(portrait.photo, portrait.landmarks_px).image for portrait in portraits]
    return [bench_face(crops[n % len(crops)], f"cost {n}", kind).image for n in range(count)]


def measure_calls(kinds: Sequence[str], rounds: int) -> dict[str, float]:
    """CPU seconds of one call by kind: the median over the rounds."""
    reconstructor = Reconstructor(threads=1)
    crops = {kind: covered_crops(kind, rounds) for kind in kinds}
    for kind in kinds:
        reconstructor(crops[kind][0], aligned=True, remove="all")  # the first call opens and fills caches
    taken: dict[str, list[float]] = {kind: [] for kind in kinds}
    for number in range(rounds):
        for kind in kinds:
            start = time.process_time()
            reconstructor(crops[kind][number], aligned=True, remove="all")
            taken[kind].append(time.process_time() - start)
    return {kind: statistics.median(seconds) for kind, seconds in taken.items()}


def measure_folders(kinds: Sequence[str], count: int) -> dict[str, float]:
    """Seconds of the command on a folder of crops by kind, Python's start included."""
    taken = {}
    free = {name: value for name, value in os.environ.items() if name not in _LIMITS}
    for kind in kinds:
        with tempfile.TemporaryDirectory() as home:
            crops, output = Path(home) / "crops", Path(home) / "output"
            for number, crop in enumerate(covered_crops(kind, count)):
                write_png(crops / f"{number:03d}.png", crop)
            words = [sys.executable, "-m", "facemend", "reconstruct", str(crops), "-o", str(output)]
            start = time.perf_counter()
            subprocess.run([*words, "--aligned", "--remove", "all", "--quiet"], check=True, env=free)
            taken[kind] = time.perf_counter() - start
    return taken


if __name__ == "__main__":
    main()

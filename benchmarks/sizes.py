"""What one photo costs by its size and its number of faces, warm and cold.

    python benchmarks/sizes.py [--rounds 5] [--kinds nose_mask,blur_full,pixelate]

Photos of 0.5, 2, 12 and 48 megapixels with 0, 1, 3 and 20 faces under one kind of cover: the portraits that
come with facemend, pasted side by side into a larger picture, each in its own size. Every photo is measured
in a process of its own. `cold` is the command on the file, Python's start included: wall and CPU seconds,
and the peak memory. `warm` is the median of later calls in one process. `files` is what decoding and
encoding the same JPEG take. One thread. Writes benchmarks/results/sizes.json.
"""

import argparse
import io
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from facemend.files import seed_of
from facemend.images import Image
from facemend.occlusion import BENCHMARK_KINDS, occlude
from facemend.reconstruction.demo import read_portraits
from facemend.reconstruction.reconstructor import Reconstructor

_RESULT = Path(__file__).parent / "results" / "sizes.json"
_MEGAPIXELS, _FACES = (0.5, 2, 12, 48), (0, 1, 3, 20)
_LARGEST_SHARE = 0.8
"""Of a photo's height or width that faces may take."""


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--kinds", default="nose_mask,blur_full,pixelate")
    parser.add_argument("--photo", type=Path, help="measure this photo alone, and print JSON")
    options = parser.parse_args()
    if options.photo:
        print(json.dumps(measure_warm(options.photo, options.rounds)))
        return
    rows = []
    with tempfile.TemporaryDirectory() as home:
        for kind in options.kinds.split(","):
            for megapixels in _MEGAPIXELS:
                for faces in _FACES:
                    photo = Path(home) / f"{kind}-{megapixels}-{faces}.jpg"
                    PillowImage.fromarray(draw_photo(kind, megapixels, faces)).save(photo, quality=90)
                    row = {"kind": kind, "megapixels": megapixels, "faces": faces}
                    rows.append(row | measure_cold(photo) | _in_process(photo, options.rounds))
                    print(rows[-1], flush=True)
    result = {"load_average": os.getloadavg(), "cores": os.cpu_count(), "photos": rows}
    _RESULT.parent.mkdir(exist_ok=True)
    _RESULT.write_text(json.dumps(result, indent=2) + "\n")


def draw_photo(kind: str, megapixels: float, faces: int) -> Image:
    """A photo (H, W, 3), 4:3, of so many covered faces on gray."""
    width, height = round((megapixels * 4e6 / 3) ** 0.5), round((megapixels * 3e6 / 4) ** 0.5)
    photo = np.full((height, width, 3), 128, dtype=np.uint8)
    columns = max(1, round((faces * 4 / 3) ** 0.5))
    rows = max(1, -(-faces // columns))
    cell = min(width // columns, height // rows)
    for number in range(faces):
        portrait = read_portraits()[number % 2]
        covered = occlude(
            portrait.photo, portrait.landmarks_px, kind, seed_of("sizes", kind, number), BENCHMARK_KINDS
        )
        picture = PillowImage.fromarray(covered.image)
        scale = _LARGEST_SHARE * cell / max(picture.size)
        size = round(picture.width * scale), round(picture.height * scale)
        y, x = number // columns * (height // rows), number % columns * (width // columns)
        photo[y : y + size[1], x : x + size[0]] = np.asarray(picture.resize(size))
    return photo


def measure_cold(photo: Path) -> dict[str, float]:
    """Seconds and memory of the command on one photo."""
    words = [sys.executable, "-m", "facemend", "reconstruct", str(photo), "--remove", "all", "--quiet"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    start = time.perf_counter()
    process = subprocess.Popen([*words, "-o", str(photo.with_suffix(".out.jpg"))], env=environment)
    _, _, used = os.wait4(process.pid, 0)
    return {
        "cold_wall_s": round(time.perf_counter() - start, 3),
        "cold_cpu_s": round(used.ru_utime + used.ru_stime, 3),
        "peak_mb": round(used.ru_maxrss / 1024),
    }


def _in_process(photo: Path, rounds: int) -> dict[str, float]:
    words = [sys.executable, __file__, "--photo", str(photo), "--rounds", str(rounds)]
    output = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    measured: dict[str, float] = json.loads(output)
    return measured


def measure_warm(photo: Path, rounds: int) -> dict[str, float]:
    """CPU seconds of later calls, and of decoding and encoding alone."""
    reconstructor = Reconstructor(threads=1)
    calls, files = [], []
    for _ in range(rounds + 1):
        start = time.process_time()
        result = reconstructor(photo, remove="all")
        calls.append(time.process_time() - start)
        start = time.process_time()
        with PillowImage.open(photo) as opened:
            opened.convert("RGB").save(io.BytesIO(), "JPEG", quality=90)
        files.append(time.process_time() - start)
    return {
        "warm_cpu_s": round(statistics.median(calls[1:]), 4),
        "files_cpu_s": round(statistics.median(files[1:]), 4),
        "faces_changed": len(result.faces),
        "warm_peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


if __name__ == "__main__":
    main()

"""Time a photo: 12 megapixels with three masked faces, through the whole command line and the library.

    python benchmarks/photo.py [--rounds 5]

The photo is composed here, of the portraits that come with facemend under three kinds of masks. The
command runs in a process of its own from the start ("cold", files in the system's cache), on two cores
where the system lets it choose them; memory is the peak of that process. Beside it: decoding and encoding
the same photo with Pillow alone, the library's call in a process that has made one before ("warm"), and
where its time goes. A machine that does other work (load_average above 0 before the run) gives times that
are too long, and the ratio to decoding and encoding says little. Writes benchmarks/results/photo.json.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from facemend.images import Image
from facemend.io import encode_photo, read_photo
from facemend.occlusion import occlude
from facemend.reconstruction.demo import read_portraits
from facemend.reconstruction.options import Options
from facemend.reconstruction.pipeline import reconstruct_faces
from facemend.reconstruction.reconstructor import Reconstructor

_RESULT = Path(__file__).parent / "results" / "photo.json"
_WIDTH_PX, _HEIGHT_PX = 4000, 3000
_PLACES = (
    (0, "nose_mask", 150, 300, 2.2),
    (1, "nose_mask", 1500, 900, 2.6),
    (0, "textured_mask", 2900, 150, 2.0),
)
"""Portrait, kind of occlusion, corner (x, y) and scale."""


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "photo.jpg"
        PillowImage.fromarray(compose()).save(path, quality=92)
        figures = measure(path, rounds)
    for name, value in figures.items():
        print(f"{name:24} {value}")
    _RESULT.write_text(json.dumps(figures, indent=2) + "\n")


def compose() -> Image:
    """The photo, (3000, 4000, 3): a grainy wall, and three people before it."""
    rng = np.random.default_rng(0)
    rows = np.linspace(170, 110, _HEIGHT_PX)[:, None, None]
    wall = rows + rng.normal(0, 4, (_HEIGHT_PX, _WIDTH_PX, 1)) + np.array([0, -8, -20])
    photo: Image = wall.clip(0, 255).astype(np.uint8)
    portraits = read_portraits()
    for seed, (which, kind, x, y, scale) in enumerate(_PLACES):
        portrait = portraits[which]
        occluded = occlude(portrait.photo, portrait.landmarks_px, kind, seed).image
        size = round(occluded.shape[1] * scale), round(occluded.shape[0] * scale)
        person = np.asarray(PillowImage.fromarray(occluded).resize(size, PillowImage.Resampling.BICUBIC))
        part = photo[y : y + size[1], x : x + size[0]]
        part[:] = person[: part.shape[0], : part.shape[1]]
    return photo


def measure(path: Path, rounds: int) -> dict[str, object]:
    """All figures, in seconds and megabytes; times are medians over the rounds, which take turns."""
    reconstructor = Reconstructor()
    first = reconstructor(path)
    assert sum(face.changed for face in first.faces) == len(_PLACES), "not every masked face was found"
    cold, warm, codec = [], [], []
    for _ in range(rounds):
        cold.append(_timed(lambda: _run_command(path)))
        codec.append(_timed(lambda: _decode_and_encode(path)))
        warm.append(_timed(lambda: reconstructor(path)))
    peak_kb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    cold_s, warm_s, codec_s = map(statistics.median, (cold, warm, codec))
    return {
        "megapixels": _WIDTH_PX * _HEIGHT_PX / 1e6,
        "faces": len(first.faces),
        "rounds": rounds,
        "load_average": [round(load, 1) for load in os.getloadavg()],
        "cold_command_s": round(cold_s, 3),
        "cold_command_peak_mb": round(peak_kb * (1 if sys.platform == "darwin" else 1024) / 1e6),
        "decode_encode_s": round(codec_s, 3),
        "cold_to_decode_encode": round(cold_s / codec_s, 2),
        "warm_call_s": round(warm_s, 3),
        "warm_parts_s": _parts(path, reconstructor, rounds),
    }


def _run_command(path: Path) -> None:
    output = path.with_name("out.jpg")
    words = [
        sys.executable,
        "-m",
        "facemend",
        "reconstruct",
        str(path),
        "-o",
        str(output),
        "--force",
        "--quiet",
    ]
    subprocess.run(words, check=True)


def _decode_and_encode(path: Path) -> None:
    with PillowImage.open(path) as picture:
        picture.load()
        picture.save(BytesIO(), "JPEG", quality="keep")


def _parts(path: Path, reconstructor: Reconstructor, rounds: int) -> dict[str, float]:
    """Where a warm call and the writing of its photo spend their time: the median of each part."""
    detector = reconstructor._detector
    times: dict[str, list[float]] = {"read": [], "find faces": [], "reconstruct": [], "encode": []}
    for _ in range(rounds):
        start = time.perf_counter()
        photo = read_photo(path)
        read = time.perf_counter()
        faces = detector(photo.pixels)
        found = time.perf_counter()
        pixels, _ = reconstruct_faces(photo.pixels, faces, reconstructor.model, Options())
        mended = time.perf_counter()
        encode_photo(photo.with_pixels(pixels))
        for name, took in zip(
            times, np.diff([start, read, found, mended, time.perf_counter()]).tolist(), strict=True
        ):
            times[name].append(took)
    return {name: round(statistics.median(took), 3) for name, took in times.items()}


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()

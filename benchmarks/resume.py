"""Kill a build at random moments, again and again, and compare its bytes with those of one whole run.

    python benchmarks/resume.py [--kills 20] [--count 2000] [--seed 0]

The faces are noise that the script makes. Each round starts the same command and kills it (SIGKILL)
after a random part of the time that a whole run takes; the last one runs to its end. Writes
benchmarks/results/resume.json, and fails if a byte differs.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from facemend.files import sha256_of
from facemend.io import write_png

_RESULT = Path(__file__).parent / "results" / "resume.json"
_FACES = 40


def main() -> None:
    """Builds, kills, compares, prints and writes what was found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        for number in range(_FACES):
            noise = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
            write_png(home / "faces" / f"person{number}" / "face.png", noise)
        began = time.perf_counter()
        _start(home, "whole", arguments.count).wait()
        whole_s = time.perf_counter() - began
        killed = 0
        for _ in range(arguments.kills):
            process = _start(home, "killed", arguments.count)
            time.sleep(rng.uniform(0, whole_s) / 4)
            process.kill()
            killed += process.wait() < 0
        _start(home, "killed", arguments.count).wait()
        expected, found = _digests(home / "whole"), _digests(home / "killed")
    result = {
        "pairs": arguments.count,
        "seconds_of_a_whole_run": round(whole_s, 1),
        "killed_before_the_end": killed,
        "files": len(expected),
        "files_that_differ": sum(expected.get(k) != found.get(k) for k in expected.keys() | found.keys()),
    }
    print(json.dumps(result, indent=2))
    _RESULT.parent.mkdir(exist_ok=True)
    _RESULT.write_text(json.dumps(result, indent=2) + "\n")
    if result["files_that_differ"] or not expected:
        sys.exit("a killed build did not end with the bytes of a whole run")


def _start(home: Path, out: str, count: int) -> "subprocess.Popen[bytes]":
    code = "from facemend.cli.main import main; main()"
    command = ("dataset", "build", str(home / "faces"), str(home / out), "--count", str(count))
    return subprocess.Popen([sys.executable, "-c", code, *command, "--workers", "2", "--quiet"])


def _digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in files}


if __name__ == "__main__":
    main()

"""Peak memory of a model, measured in a process that does nothing else.

python -m facemend.evaluation.memory MODEL THREADS
"""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np

from facemend.alignment import CROP_SIZE_PX
from facemend.errors import ModelError
from facemend.evaluation.external import open_systems

_FACES = 3
_STATUS = Path("/proc/self/status")


def peak_memory_mb(path: Path, threads: int | None = None) -> float | None:
    """Peak memory of a process that opens a model and reconstructs faces, one at a time.

    It includes Python and its libraries.

    Args:
        path: as `open_systems` takes it.
        threads: of the processor. None for all cores.

    Returns:
        MB (10⁶ bytes), or None if the operating system does not report it (only Linux does).

    Raises:
        ModelError: the process fails.
    """
    # Not from the current folder (-P), but from wherever this process imports.
    command = [sys.executable, "-P", "-m", __spec__.name, str(path), str(threads or 0)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    alive, ours = os.pipe()  # closed when this process ends
    try:
        done = subprocess.run(
            command, env=environment, stdin=alive, capture_output=True, text=True, check=False
        )
    finally:
        os.close(alive)
        os.close(ours)
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["no message"]
        raise ModelError(f"{path} cannot be run in a process of its own: {said[-1]}")
    peak: float | None = json.loads(done.stdout)
    return peak


def main() -> None:
    """Opens the model of the command line, runs it and prints the peak as JSON."""
    path, threads = sys.argv[1:]
    threading.Thread(target=_die_with_parent, daemon=True).start()
    (system,) = open_systems([Path(path)], int(threads) or None)
    images = np.random.default_rng(0).integers(0, 256, (1, CROP_SIZE_PX, CROP_SIZE_PX, 3), dtype=np.uint8)
    for _ in range(_FACES):
        system.deliver(images, np.ones(images.shape[:3], dtype=np.bool_))
    print(json.dumps(_peak_mb()))  # noqa: T201


def _die_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


def _peak_mb() -> float | None:
    # Not getrusage: its peak includes the parent's memory, from before this program began.
    if not _STATUS.exists():
        return None
    lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines() if ":" in line)
    return round(int(lines["VmHWM"].split()[0]) * 1024 / 1e6, 1)


if __name__ == "__main__":
    main()

"""Every loader that strangers feed, on changed files: python benchmarks/loaders_fuzz.py [MINUTES, 30]

Prints how many files each was given and took, and the longest time of one. A file that raises what is no
error of ours is kept in the current folder, and ends the run with exit code 1.
"""

import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.fuzzing import REFUSED, fuzzers, mutated


def main() -> None:
    """Goes round the loaders until the time is over."""
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 30.0
    warnings.simplefilter("ignore")
    given, taken = Counter[str](), Counter[str]()
    slowest_s: dict[str, float] = defaultdict(float)
    until = time.monotonic() + 60 * minutes
    with tempfile.TemporaryDirectory() as name:
        loaders = fuzzers(Path(name))
        number = 0
        while time.monotonic() < until:
            number += 1
            for loader, fuzzer in loaders.items():
                rng = np.random.default_rng([number, *loader.encode()])
                data = mutated(fuzzer.seeds[int(rng.integers(len(fuzzer.seeds)))], rng)
                given[loader] += 1
                began = time.monotonic()
                try:
                    fuzzer.load(data, Path(name))
                    taken[loader] += 1
                except REFUSED:
                    pass
                except Exception:  # noqa: BLE001 - what a fuzzer looks for
                    Path(f"fuzzed-{loader}-{number}").write_bytes(data)
                    traceback.print_exc()
                    sys.exit(1)
                slowest_s[loader] = max(slowest_s[loader], time.monotonic() - began)
    for loader, count in given.items():
        print(f"{loader:<14}{count:>10} files, {taken[loader]} taken, slowest {slowest_s[loader]:.2f} s")


if __name__ == "__main__":
    main()

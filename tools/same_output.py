"""Whether two checkouts reconstruct the same files to the same bytes.

    python tools/same_output.py OLD NEW --photos FOLDER --crops FOLDER --work FOLDER

Runs `facemend reconstruct` of both over all pictures, with the Python that runs this, and compares what was
written. Ends with 1 where a file differs.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path


def reconstruct(checkout: Path, inputs: Path, output: Path, *options: str) -> None:
    """Reconstructs a folder with one checkout. Raises CalledProcessError: it fails."""
    environment = os.environ | {"PYTHONPATH": str(checkout.resolve() / "src")}
    command = [sys.executable, "-m", "facemend", "reconstruct", str(inputs), "-o", str(output), "-q"]
    subprocess.run([*command, "--save-occlusion", *options], env=environment, check=True)


def differences(one: Path, other: Path) -> tuple[int, list[str]]:
    """How many files two folders hold, and the names of those that differ or lie in one alone."""
    names = {
        str(path.relative_to(folder))
        for folder in (one, other)
        for path in folder.rglob("*")
        if path.is_file()
    }
    differ = [
        name
        for name in sorted(names)
        if not ((one / name).is_file() and (other / name).is_file())
        or (one / name).read_bytes() != (other / name).read_bytes()
    ]
    return len(names), differ


def main() -> None:
    """Compares two checkouts by the command line's arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--photos", type=Path, help="A folder of photos.")
    parser.add_argument("--crops", type=Path, help="A folder of ready crops.")
    parser.add_argument("--work", type=Path, required=True, help="A folder for what both write.")
    given = parser.parse_args()
    failed = False
    for kind, inputs, options in (("photos", given.photos, ()), ("crops", given.crops, ("--aligned",))):
        if inputs is None:
            continue
        outputs = [given.work / f"{kind}-{side}" for side in ("old", "new")]
        for checkout, output in zip((given.old, given.new), outputs, strict=True):
            reconstruct(checkout, inputs, output, *options)
        count, differ = differences(*outputs)
        print(f"{kind}: {count} files written, {len(differ)} differ", *differ, sep="\n  ")
        failed |= bool(differ) or not count
    sys.exit(failed)


if __name__ == "__main__":
    main()

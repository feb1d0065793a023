"""Kill -9 at random moments, and the same bits in the end: the benchmark, with three of its kills."""

import json
import subprocess
import sys
from pathlib import Path


def test_a_run_killed_three_times_ends_with_the_same_bits(repo_root: Path, tmp_path: Path) -> None:
    result = tmp_path / "kills.json"
    command = [sys.executable, "benchmarks/kills.py", "--kills", "3", "--result", str(result)]
    done = subprocess.run(command, cwd=repo_root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(result.read_text())
    assert (found["kills"], found["differing"]) == (3, [])

"""Writes docs/benchmark.json, and the README's table from it.

    python tools/readme_table.py report/report.json [another/report.json ...]

Several reports go into one table if they are of the same inputs. Without a report, the table is written
anew from docs/benchmark.json.
"""

import argparse
from functools import reduce
from pathlib import Path

from facemend.evaluation.results import EvaluationReport
from facemend.evaluation.tables import put_table

_ROOT = Path(__file__).resolve().parents[1]
_BENCHMARK, _README = _ROOT / "docs/benchmark.json", _ROOT / "README.md"


def main() -> None:
    """Reads the command line and writes both files."""
    parser = argparse.ArgumentParser(description="Writes the README's table from reports.")
    parser.add_argument("reports", nargs="*", type=Path, help="report.json of facemend evaluate")
    paths = parser.parse_args().reports or [_BENCHMARK]
    reports = [EvaluationReport.from_json(path.read_text(encoding="utf-8")) for path in paths]
    report = reduce(EvaluationReport.joined, reports)
    _BENCHMARK.write_text(report.to_json(), encoding="utf-8")
    _README.write_text(put_table(_README.read_text(encoding="utf-8"), report), encoding="utf-8")


if __name__ == "__main__":
    main()

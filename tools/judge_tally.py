"""Counts what a judge said of contact sheets: a table by version, with intervals.

    python -m tools.judge_tally sheets [--judgements FILE]

`sheets` is the folder that tools/judge_sheets.py wrote, with `judgements.csv` filled in: for every cell
`removal` (gone, rest, untouched) and `face` (plausible, so-so, rejected). The untouched count as rejected
where no face is said. In brackets: 95% interval (Wilson).
"""

import argparse
import csv
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from facemend.errors import FacemendError
from facemend.evaluation.statistics import wilson_interval
from facemend.evaluation.tables import Table
from tools.judge_sheets import FACES, JUDGEMENTS, KEY, REMOVALS


def main() -> None:
    """Reads the command line and prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("sheets", type=Path)
    parser.add_argument("--judgements", type=Path)
    options = parser.parse_args()
    table = tally(options.sheets / KEY, options.judgements or options.sheets / JUDGEMENTS)
    print(table.to_markdown())


def tally(key: Path, judgements: Path) -> Table:
    """The share of each verdict by version.

    Raises:
        FacemendError: a cell that the key lacks, a cell twice, an unjudged cell, or another verdict.
    """
    versions = {row["cell"]: row["version"] for row in _rows(key, {"cell", "version"})}
    counts: dict[str, Counter[str]] = {version: Counter() for version in dict.fromkeys(versions.values())}
    judged = set()
    for row in _rows(judgements, {"cell", "removal", "face"}):
        cell = row["cell"]
        if cell not in versions or cell in judged:
            raise FacemendError(
                f"{judgements}: cell {cell} is {'twice there' if cell in judged else 'in no key'}"
            )
        judged.add(cell)
        counts[versions[cell]].update(_verdicts(row, judgements))
    if missing := [cell for cell in versions if cell not in judged]:
        raise FacemendError(f"{judgements} does not judge cell {missing[0]} ({len(missing)} cells missing)")
    lines = [(version, *_line(found)) for version, found in counts.items()]
    return Table(("version", "cells", *REMOVALS, *FACES), tuple(lines))


def _verdicts(row: Mapping[str, str], path: Path) -> tuple[str, str, str]:
    removal, face = row["removal"].strip(), row["face"].strip()
    if removal == "untouched" and not face:
        face = "rejected"
    if removal not in REMOVALS or face not in FACES:
        raise FacemendError(
            f"{path}, cell {row['cell']}: {removal!r}, {face!r}; removal is one of {', '.join(REMOVALS)}, "
            f"face one of {', '.join(FACES)}"
        )
    return "cells", removal, face


def _line(counts: Counter[str]) -> tuple[str, ...]:
    total = counts["cells"]
    cells = [str(total)]
    for verdict in (*REMOVALS, *FACES):
        low, high = wilson_interval(counts[verdict], total)
        cells.append(f"{counts[verdict]}: {counts[verdict] / total:.0%} ({low:.0%} to {high:.0%})")
    return tuple(cells)


def _rows(path: Path, columns: set[str]) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise FacemendError(f"{path} cannot be read: {error.strerror}") from error
    if not rows or not columns <= rows[0].keys():
        raise FacemendError(f"{path} needs the columns {', '.join(sorted(columns))}")
    return rows


if __name__ == "__main__":
    main()

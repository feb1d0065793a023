"""A folder of a few procedural faces with a table, for tests of everything that reads one."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from facemend.alignment import FRAME_HEIGHT_PX, FRAME_LANDMARKS_PX, FRAME_WIDTH_PX
from facemend.io import write_png
from tests.tiny_celeba import gradient

_POINTS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
LANDMARKS = {name: f"{x} {y}" for name, (x, y) in zip(_POINTS, FRAME_LANDMARKS_PX.tolist(), strict=True)}
"""The canonical ones, as a row has them."""


def make_table(home: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    """Writes a picture and a row of `faces.csv` for each row; without a file they are 0.png, 1.png …"""
    named = [{"file": f"{number}.png", **row} for number, row in enumerate(rows)]
    for seed, row in enumerate(named):
        write_png(home / "images" / str(row["file"]), gradient(FRAME_WIDTH_PX, FRAME_HEIGHT_PX, seed))
    columns = list(dict.fromkeys(key for row in named for key in row))
    with (home / "faces.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(named)
    return home

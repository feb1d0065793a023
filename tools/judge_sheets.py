"""Makes contact sheets for judging: before | after, eight pairs a sheet, several versions blind.

    python -m tools.judge_sheets before v1=after_1 v2=after_2 -o sheets [--seed 0] [--limit 60]

`before` and each version are folders (or single photos) with pictures of the same names. Every photo is one
cell a version, the cells are shuffled by the seed, and nothing on a sheet says which version a cell shows.
Faces are found in the photo before, and both pictures are cut around the largest one, with so much margin
that straps, hair and neck are seen; a photo without a face is shown whole. Every face is at least 256 px
wide on the sheet.

Writes sheet_001.png … and two tables into the folder: `key.csv` (cell, sheet, photo, version), which the
judge does not see, and `judgements.csv` (cell, removal, face), empty, which the judge fills in by RULES.
"""

import argparse
import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from facemend.detection import Detector
from facemend.errors import FacemendError
from facemend.images import Image, resize
from facemend.io import find_pictures, read_photo, write_png

RULES = """Removal: gone = no cloth, strap, tint or fringe at normal size; rest = some of it is left;
untouched = nothing was done. Face: plausible = you would send it to a friend without a word;
so-so = a flaw one sees; rejected = the rest."""
REMOVALS, FACES = ("gone", "rest", "untouched"), ("plausible", "so-so", "rejected")
_ENDING = "_reconstructed"  # what facemend adds to a name
KEY, JUDGEMENTS = "key.csv", "judgements.csv"
PAIRS_A_SHEET, _PAIRS_A_ROW = 8, 2
_FACE_PX, _LARGEST_FACE_PX = 256, 280
"""Widths of a face on a sheet: smaller ones are enlarged, larger ones made smaller."""
_MARGIN = 0.5
"""Of the face's width, added on every side."""
_LARGEST_PX = 560  # of a photo without a face
_GAP_PX, _LABEL_PX, _TEXT_PX = 12, 40, 34


@dataclass(frozen=True)
class Cell:
    """One pair on a sheet.

    Attributes:
        number: on the sheet, from 1.
        sheet: its sheet's number, from 1.
        photo: name of the photo.
        version: whose result it shows.
    """

    number: int
    sheet: int
    photo: str
    version: str


def main() -> None:
    """Reads the command line and writes the sheets."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("before", type=Path)
    parser.add_argument("versions", nargs="+", metavar="NAME=FOLDER")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, help="photos, drawn by the seed")
    options = parser.parse_args()
    versions = {name: Path(folder) for name, _, folder in (v.partition("=") for v in options.versions)}
    count = make_sheets(options.before, versions, options.output, seed=options.seed, limit=options.limit)
    print(f"{options.output}: {count} sheets, {KEY} and {JUDGEMENTS}\n\n{RULES}")


def make_sheets(
    before: Path, versions: dict[str, Path], output: Path, *, seed: int, limit: int | None = None
) -> int:
    """Writes the sheets and their tables; returns how many sheets there are.

    Args:
        before: the photos as they were.
        versions: the same photos as each version delivers them, by its name.
        output: a folder without sheets.
        seed: of the order, and of the photos where they are limited.
        limit: how many photos; None takes all.

    Raises:
        FacemendError: a version lacks a photo, or there is none.
        PictureError: a photo cannot be read.
        OutputError: the folder holds sheets, or the disk refuses.
    """
    photos = _pictures(before)
    results = {version: _pictures(folder) for version, folder in versions.items()}
    for version, found in results.items():
        if missing := sorted(photos.keys() - found.keys()):
            raise FacemendError(f"{versions[version]} has no {missing[0]} ({len(missing)} photos missing)")
    cells = shuffle(sorted(photos), list(versions), np.random.default_rng(seed), limit)
    if not cells:
        raise FacemendError(f"{before} holds no photos")
    detector = Detector()
    sheets = cells[-1].sheet
    for sheet in range(1, sheets + 1):
        pairs = [
            draw_pair(photos[cell.photo], results[cell.version][cell.photo], cell.number, detector)
            for cell in cells
            if cell.sheet == sheet
        ]
        write_png(output / f"sheet_{sheet:03d}.png", put_together(pairs))
    _write(output / KEY, [("cell", "sheet", "photo", "version"), *map(_line, cells)])
    _write(
        output / JUDGEMENTS, [("cell", "removal", "face"), *((str(cell.number), "", "") for cell in cells)]
    )
    return sheets


def _line(cell: Cell) -> tuple[str, ...]:
    return str(cell.number), str(cell.sheet), cell.photo, cell.version


def shuffle(
    photos: Sequence[str], versions: Sequence[str], rng: np.random.Generator, limit: int | None = None
) -> list[Cell]:
    """Every photo of every version, in a random order.

    Each photo comes once in every round, of a version that is drawn for it, so that nobody compares
    versions side by side.
    """
    chosen = rng.permutation(len(photos))[:limit]
    rounds = [[(int(photo), int(rng.integers(len(versions)))) for photo in chosen]]
    for step in range(1, len(versions)):
        rounds.append([(photo, (first + step) % len(versions)) for photo, first in rounds[0]])
    order = [each for one in rounds for each in rng.permutation(one).tolist()]
    return [
        Cell(place + 1, place // PAIRS_A_SHEET + 1, photos[photo], versions[version])
        for place, (photo, version) in enumerate(order)
    ]


def draw_pair(before: Path, after: Path, number: int, detector: Detector) -> Image:
    """A numbered cell, uint8 (H, W, 3): the photo before and after, cut around its largest face.

    Raises:
        FacemendError: the two differ in size.
        PictureError: one cannot be read.
    """
    first, second = (read_photo(path).pixels for path in (before, after))
    if first.shape != second.shape:
        raise FacemendError(f"{after} is not of the size of {before}")
    faces = detector(first)
    rows, columns, scale = _cut(faces[0].box_px, first) if faces else _whole(first)
    parts = [_scaled(picture[rows, columns], scale) for picture in (first, second)]
    pair = np.concatenate([parts[0], np.full((len(parts[0]), 4, 3), 255, np.uint8), parts[1]], axis=1)
    sheet = PillowImage.new("RGB", (pair.shape[1], pair.shape[0] + _LABEL_PX), (255, 255, 255))
    sheet.paste(PillowImage.fromarray(pair), (0, _LABEL_PX))
    font = ImageFont.load_default(_TEXT_PX)
    ImageDraw.Draw(sheet).text((2, _LABEL_PX / 2), str(number), fill=(0, 0, 0), font=font, anchor="lm")
    return np.asarray(sheet, dtype=np.uint8)


def _cut(box_px: tuple[float, float, float, float], photo: Image) -> tuple[slice, slice, float]:
    """Rows and columns of a face with its margin, and the scale that they are shown at."""
    x1, y1, x2, y2 = box_px
    margin = _MARGIN * (x2 - x1)
    height, width = photo.shape[:2]
    rows = slice(max(0, round(y1 - margin)), min(height, round(y2 + margin)))
    columns = slice(max(0, round(x1 - margin)), min(width, round(x2 + margin)))
    face_px = x2 - x1
    return rows, columns, min(max(face_px, _FACE_PX), _LARGEST_FACE_PX) / face_px


def _whole(photo: Image) -> tuple[slice, slice, float]:
    height, width = photo.shape[:2]
    return slice(0, height), slice(0, width), _LARGEST_PX / max(height, width)


def _scaled(picture: Image, scale: float) -> Image:
    height, width = picture.shape[:2]
    return resize(picture, max(1, round(width * scale)), max(1, round(height * scale)))


def put_together(pairs: Sequence[Image]) -> Image:
    """A sheet of pairs, two a row, uint8 (H, W, 3)."""
    rows = [pairs[place : place + _PAIRS_A_ROW] for place in range(0, len(pairs), _PAIRS_A_ROW)]
    width = max(pair.shape[1] for pair in pairs) + _GAP_PX
    strips = []
    for row in rows:
        height = max(len(pair) for pair in row) + _GAP_PX
        strip = np.full((height, width * _PAIRS_A_ROW, 3), 255, dtype=np.uint8)
        for place, pair in enumerate(row):
            strip[: len(pair), place * width : place * width + pair.shape[1]] = pair
        strips.append(strip)
    return np.concatenate(strips)


def _pictures(path: Path) -> dict[str, Path]:
    """The pictures of a folder, or one picture, by their names without suffix and ending."""
    paths = find_pictures(path, recursive=False) if path.is_dir() else [path]
    return {each.stem.removesuffix(_ENDING): each for each in paths}


def _write(path: Path, lines: Sequence[Sequence[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(lines)


if __name__ == "__main__":
    main()

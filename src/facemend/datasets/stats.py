"""Statistics and contact sheets of a dataset."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from facemend.datasets.build import MANIFEST_FILE, OPTIONS_FILE, Row, read_rows
from facemend.datasets.faces import FaceSource
from facemend.datasets.pairs import Files, Layout, PictureFormat, Recipe, faces_for, make_pair
from facemend.errors import SourceError
from facemend.files import parse_json, read_own, seed_of
from facemend.images import Image, resize
from facemend.occlusion import FOLDER_KINDS
from facemend.terminal import printable

COVERAGE_BINS, LEVEL_BINS = 50, 32
MOST_PICTURES = 1000
"""Number of pairs whose pictures are read for their colours, evenly spread over the dataset."""

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class KindStats:
    """One kind of occlusion in a dataset.

    Attributes:
        pairs: number of pairs.
        coverages: float64 (pairs,), the share of the picture that is hidden, 0-1.
        levels: int64 (3, LEVEL_BINS), hidden pixels by their level of R, G and B in the occluded
            picture, of the pairs whose pictures were read.
        colours: float64 (N, 3), the mean RGB of the occlusion, 0-255, a row for each pair that was read.
    """

    pairs: int
    coverages: npt.NDArray[np.float64]
    levels: Counts
    colours: npt.NDArray[np.float64]

    def to_json(self, total: int) -> dict[str, Any]:
        """The numbers in JSON's types. `total` is the number of pairs of all kinds."""
        histogram, _ = np.histogram(self.coverages, COVERAGE_BINS, (0, 1))
        low, middle, high = np.quantile(self.coverages, (0.05, 0.5, 0.95)).round(4).tolist()
        return {
            "pairs": self.pairs,
            "share": round(self.pairs / total, 4),
            "coverage": {
                "mean": round(float(self.coverages.mean()), 4),
                "p5": low,
                "median": middle,
                "p95": high,
                "histogram": histogram.tolist(),
            },
            "mean_rgb": None if not len(self.colours) else self.colours.mean(axis=0).round(1).tolist(),
            "level_histograms": dict(zip("rgb", self.levels.tolist(), strict=True)),
        }


@dataclass(frozen=True)
class DatasetStats:
    """Statistics of a dataset.

    Attributes:
        kinds: by name, the most frequent first.
        landmarks: pairs by the source of their landmarks.
        pictures: number of pairs whose pictures were read.
    """

    kinds: Mapping[str, KindStats]
    landmarks: Mapping[str, int]
    pictures: int

    @property
    def pairs(self) -> int:
        """How many there are in all."""
        return sum(kind.pairs for kind in self.kinds.values())

    def to_json(self) -> dict[str, Any]:
        """The numbers in JSON's types."""
        return {
            "pairs": self.pairs,
            "pictures_read": self.pictures,
            "landmarks": dict(self.landmarks),
            "kinds": {name: kind.to_json(self.pairs) for name, kind in self.kinds.items()},
        }

    def to_table(self) -> str:
        """The numbers for a terminal."""
        lines = [f"{'kind':<16}{'pairs':>8}{'share':>8}   {'coverage: mean  5%-95%':<26}mean colour"]
        for name, numbers in self.to_json()["kinds"].items():
            coverage, rgb = numbers["coverage"], numbers["mean_rgb"]
            spread = f"{coverage['mean']:>14.1%}{coverage['p5']:>7.0%}-{coverage['p95']:.0%}"
            colour = "-" if rgb is None else "{:.0f} {:.0f} {:.0f}".format(*rgb)
            lines.append(
                f"{printable(name):<16}{numbers['pairs']:>8}{numbers['share']:>8.1%}   {spread:<26}{colour}"
            )
        known = ", ".join(f"{printable(name)} {count}" for name, count in sorted(self.landmarks.items()))
        return "\n".join([*lines, f"{self.pairs} pairs; landmarks: {known}"])


def measure_dataset(folder: Path, most_pictures: int = MOST_PICTURES) -> DatasetStats:
    """Measures a finished dataset. A pixel is hidden where occluded and target picture differ.

    Args:
        folder: what `build_dataset` wrote.
        most_pictures: number of pairs to read. Coverage and kinds of all pairs come from the manifest.

    Raises:
        SourceError: the folder does not hold a finished dataset.
        PictureError: a picture cannot be read.
    """
    files = _files_of(folder)
    try:
        rows = list(read_rows(folder / MANIFEST_FILE))
    except OSError as error:
        raise SourceError(
            f"{folder} has no {MANIFEST_FILE}: its build is not finished; run the same command again"
        ) from error
    step = max(1, -(-len(rows) // most_pictures))
    hidden: dict[str, list[npt.NDArray[np.uint8]]] = {}
    for row in rows[::step]:
        occluded, target = files.read(folder, row["file"])
        hidden.setdefault(row["kind"], []).append(occluded[(occluded != target).any(axis=2)])
    kinds = Counter(row["kind"] for row in rows).most_common()
    return DatasetStats(
        {kind: _measure(kind, rows, hidden.get(kind, [])) for kind, _ in kinds},
        Counter(row["landmarks"] for row in rows),
        len(rows[::step]),
    )


def _measure(kind: str, rows: Sequence[Row], hidden: Sequence[npt.NDArray[np.uint8]]) -> KindStats:
    """Args: hidden: of each pair that was read, its hidden pixels (N, 3)."""
    coverages = np.array([row["coverage"] for row in rows if row["kind"] == kind])
    levels = np.zeros((3, LEVEL_BINS), dtype=np.int64)
    for pixels in hidden:
        for channel in range(3):
            bins = pixels[:, channel] // (256 // LEVEL_BINS)
            levels[channel] += np.bincount(bins, minlength=LEVEL_BINS)
    means = [pixels.mean(axis=0) for pixels in hidden if len(pixels)]
    return KindStats(len(coverages), coverages, levels, np.array(means).reshape(-1, 3))


def _files_of(folder: Path) -> Files:
    """The layout of a dataset's files."""
    try:
        options = parse_json(read_own(folder / OPTIONS_FILE))
        return Files(Layout(options["layout"]), PictureFormat(options["format"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        parts = [part for part in ("train", "val", "test") if (folder / part / OPTIONS_FILE).exists()]
        advice = f"pass {folder / parts[0]}" if parts else "pass what `facemend dataset build` wrote"
        raise SourceError(f"{folder} holds no dataset; {advice}") from error


_ROW_PX, _HEAD_PX, _FOOT_PX = 90, 70, 30
_PLOT_PX = (250, 64)
_LEFT_PX = {"name": 16, "pairs": 150, "coverage": 424, "levels": 698, "colours": 972}
_WIDTH_PX = 1246
_PAPER, _INK, _FAINT, _BAR = "#ffffff", "#222222", "#dddddd", "#4477aa"
_CHANNELS = ("#cc3311", "#228833", "#4477aa")
_TITLES = {
    "name": "kind",
    "pairs": "pairs",
    "coverage": "share of the picture that is hidden",
    "levels": "levels of R, G, B where it is hidden",
    "colours": "mean colour of what hides, a line a pair",
}


def draw_histograms(stats: DatasetStats, title: str) -> Image:
    """Bars of the pairs, histograms of coverage and of colour levels, and the colours.

    Every histogram is scaled to its own peak. The bars share one scale.

    Args:
        title: heading of the picture, for example the dataset's folder.

    Returns:
        uint8 (H, W, 3) RGB.
    """
    height_px = _HEAD_PX + _ROW_PX * len(stats.kinds) + _FOOT_PX
    sheet = _Sheet(height_px)
    head = f"{title}: {stats.pairs} pairs; colours of {stats.pictures} of them"
    sheet.write((_LEFT_PX["name"], 18), head, size=17)
    for column, words in _TITLES.items():
        sheet.write((_LEFT_PX[column], _HEAD_PX - 20), words)
    largest = max(kind.pairs for kind in stats.kinds.values())
    for number, (name, kind) in enumerate(stats.kinds.items()):
        sheet.draw_row(_HEAD_PX + number * _ROW_PX, name, kind, kind.pairs / largest, stats.pairs)
    bottom = height_px - _FOOT_PX
    sheet.write_scale("coverage", bottom, ("0%", "50%", "100%"))
    sheet.write_scale("levels", bottom, ("0", "128", "255"))
    sheet.write_scale("colours", bottom, ("dark", "", "bright"))
    return np.asarray(sheet.picture, dtype=np.uint8)


class _Sheet:
    """A picture, and a pen for its columns."""

    def __init__(self, height_px: int) -> None:
        self.picture = PillowImage.new("RGB", (_WIDTH_PX, height_px), _PAPER)
        self._pen = ImageDraw.Draw(self.picture)

    def write(self, at_px: tuple[int, int], words: str, size: int = 13, anchor: str = "lm") -> None:
        self._pen.text(at_px, words, _INK, ImageFont.load_default(size), anchor)

    def write_scale(self, column: str, top_px: int, words: tuple[str, str, str]) -> None:
        left, width = _LEFT_PX[column], _PLOT_PX[0]
        for share, word, anchor in zip((0, 0.5, 1), words, ("lm", "mm", "rm"), strict=True):
            self.write((left + round(share * width), top_px + 4), word, anchor=anchor)

    def draw_row(self, top_px: int, name: str, kind: KindStats, length: float, total: int) -> None:
        middle_px = top_px + _PLOT_PX[1] // 2
        self.write((_LEFT_PX["name"], middle_px), name, size=15)
        self._draw_bar(middle_px, length, f"{kind.pairs} ({kind.pairs / total:.1%})")
        coverage, _ = np.histogram(kind.coverages, COVERAGE_BINS, (0, 1))
        self._draw_steps("coverage", top_px, coverage, _BAR, filled=True)
        for channel, colour in zip(kind.levels, _CHANNELS, strict=True):
            self._draw_steps("levels", top_px, channel, colour, peak=int(kind.levels.max()))
        self._draw_colours(top_px, kind.colours)

    def _draw_bar(self, middle_px: int, length: float, words: str) -> None:
        left, width = _LEFT_PX["pairs"], _PLOT_PX[0]
        self._pen.rectangle(
            (left, middle_px + 2, left + max(1, round(length * width)), middle_px + 18), _BAR
        )
        self.write((left, middle_px - 10), words)

    def _draw_steps(
        self,
        column: str,
        top_px: int,
        counts: npt.NDArray[np.int64],
        colour: str,
        *,
        peak: int | None = None,
        filled: bool = False,
    ) -> None:
        """A histogram with a box or a line for each bin. The highest fills the plot."""
        (width, height), left = _PLOT_PX, _LEFT_PX[column]
        base = top_px + height
        edges = np.linspace(left, left + width, len(counts) + 1).round().astype(int).tolist()
        tops = (base - counts * height / max(1, peak or int(counts.max()))).round().astype(int).tolist()
        self._pen.line((left, base, left + width, base), _FAINT)
        if filled:
            for start, end, top in zip(edges, edges[1:], tops, strict=False):
                if top < base:
                    self._pen.rectangle((start, top, end - 1, base), colour)
        else:
            corners = [
                (x, y) for start, end, y in zip(edges, edges[1:], tops, strict=False) for x in (start, end)
            ]
            self._pen.line(corners, colour, width=2)

    def _draw_colours(self, top_px: int, colours: npt.NDArray[np.float64]) -> None:
        """The mean colours side by side, from dark to bright."""
        if not len(colours):
            return
        order = colours[np.argsort(colours.sum(axis=1), kind="stable")]
        strip = PillowImage.fromarray(order.round().astype(np.uint8)[None])
        self.picture.paste(
            strip.resize(_PLOT_PX, PillowImage.Resampling.NEAREST), (_LEFT_PX["colours"], top_px)
        )


_MARGIN_PX, _GAP_PX, _TEXT_PX = 130, 4, 15
_PREVIEW_INK = "black"


def draw_preview(source: FaceSource, recipe: Recipe, tile_px: int) -> Image:
    """A contact sheet: a row with its name for every kind that has a share.

    Each row shows `recipe.count` faces, chosen by the recipe's seed. They are the same in every row, except
    for those that cannot take the kind. They are occluded as in a build, then shrunk.

    Args:
        tile_px: side of a face on the sheet.

    Returns:
        uint8 (H, W, 3) RGB.

    Raises:
        SourceError: no face can take one of the kinds.
        PictureError: a picture cannot be read.
    """
    kinds = [kind for kind, share in recipe.shares.items() if share > 0]
    step_px = tile_px + _GAP_PX
    columns = min(recipe.count, len(source))
    size_px = (_MARGIN_PX + step_px * columns, step_px * len(kinds) - _GAP_PX)
    sheet = PillowImage.new("RGB", size_px, _PAPER)
    shuffled = _shuffled(source, recipe.seed)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(_TEXT_PX)
    for row, kind in enumerate(kinds):
        top_px = row * step_px
        label = f"{kind}\n{recipe.kinds[kind].occlusion_class}"
        pen.text((_MARGIN_PX // 2, top_px + tile_px // 2), label, _PREVIEW_INK, font, "mm", align="center")
        for column, tile in enumerate(_draw_row(shuffled, kind, recipe)):
            picture = PillowImage.fromarray(resize(tile, tile_px, tile_px))
            sheet.paste(picture, (_MARGIN_PX + column * step_px, top_px))
    return np.asarray(sheet, dtype=np.uint8)


def _shuffled(source: FaceSource, seed: int) -> FaceSource:
    """The faces in an order drawn by the seed."""
    records = sorted(source.records, key=lambda record: seed_of("preview", seed, record.name))
    return FaceSource(source.name, records, source.read, source.fingerprint)


def _draw_row(source: FaceSource, kind: str, recipe: Recipe) -> list[Image]:
    alone = replace(recipe, shares={kind: 1.0}, cutouts=recipe.cutouts if kind in FOLDER_KINDS else None)
    faces = faces_for(source, alone).first(recipe.count)
    return [make_pair(faces, index, alone).occluded for index in range(len(faces))]

"""The histograms of a dataset in one picture: a row each kind, with coverage and colours."""

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from facemend.datasets.stats import COVERAGE_BINS, DatasetStats, KindStats
from facemend.images import Image

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
    """Bars of the pairs, histograms of coverage and of colour levels, and the colours themselves.

    Every histogram is scaled to its own peak; the bars of the pairs share one scale.

    Args:
        title: what the picture is headed with, for example the dataset's folder.

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
    """Paper, and a pen that knows where the columns are."""

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
        """A histogram: a box or a line a bin, the highest as high as the plot."""
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

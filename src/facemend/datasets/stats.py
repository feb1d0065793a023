"""What a built dataset holds, in numbers: kinds, coverage, and the colours that hide faces."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facemend.datasets.claim import OPTIONS_FILE
from facemend.datasets.encode import PictureFormat
from facemend.datasets.layouts import Files, Layout
from facemend.datasets.manifest import MANIFEST_FILE, Row, read_rows
from facemend.errors import SourceError
from facemend.escaping import printable
from facemend.files import parse_json, read_own

COVERAGE_BINS, LEVEL_BINS = 50, 32
MOST_PICTURES = 1000
"""Pairs whose pictures are read for their colours, evenly spread over the dataset."""

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class KindStats:
    """One kind of occlusion in a dataset.

    Attributes:
        pairs: how many there are.
        coverages: float64 (pairs,), the share of the picture that is hidden, 0-1.
        levels: int64 (3, LEVEL_BINS), hidden pixels by their level of R, G and B in the occluded
            picture, of the pairs whose pictures were read.
        colours: float64 (N, 3), the mean RGB of what hides, 0-255, a row each pair that was read.
    """

    pairs: int
    coverages: npt.NDArray[np.float64]
    levels: Counts
    colours: npt.NDArray[np.float64]

    def to_json(self, total: int) -> dict[str, Any]:
        """The numbers in JSON's types; `total` is the number of pairs of all kinds."""
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
    """A dataset in numbers.

    Attributes:
        kinds: by name, the most frequent first.
        landmarks: pairs by what is known of where their face lies.
        pictures: pairs whose pictures were read.
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
    """Counts what a finished dataset holds; a pixel is hidden where occluded and target picture differ.

    Args:
        folder: what `build_dataset` wrote.
        most_pictures: pairs to read; coverage and kinds come from the manifest, of all pairs.

    Raises:
        SourceError: no dataset is there, or it is not finished.
        PictureError: a picture cannot be read.
    """
    files = _files_of(folder)
    try:
        rows = list(read_rows(folder / MANIFEST_FILE))
    except OSError as error:
        raise SourceError(
            f"{folder} has no {MANIFEST_FILE}: its build is not finished; give the same command again"
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
    """How a dataset's files lie."""
    try:
        options = parse_json(read_own(folder / OPTIONS_FILE))
        return Files(Layout(options["layout"]), PictureFormat(options["format"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        parts = [part for part in ("train", "val", "test") if (folder / part / OPTIONS_FILE).exists()]
        advice = f"pass {folder / parts[0]}" if parts else "pass what `facemend dataset build` wrote"
        raise SourceError(f"{folder} holds no dataset; {advice}") from error

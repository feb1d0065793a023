"""Regions of a picture: grown, and given a soft edge; exact, and as fast at any radius."""

from typing import Literal

import numpy as np
import numpy.typing as npt

from facemend.images import Alpha, Mask


def grown(mask: Mask, radius_px: int) -> Mask:
    """A mask (H, W) and all pixels within `radius_px` of it in x and in y."""
    return _box_sum(mask, radius_px, "constant") > 0


def feathered(mask: Mask, dilation_px: int, feather_px: int) -> Alpha:
    """float32 (H, W): 1 in a mask and `dilation_px` around it, falling to 0 in `2 * feather_px` more."""
    if not mask.any():
        return np.zeros(mask.shape, dtype=np.float32)
    # The mean over a window is 1 where the window is full: as far as the mask was grown beyond its half.
    window = 2 * feather_px + 1
    total = _box_sum(grown(mask, dilation_px + feather_px), feather_px, "edge")
    return (total / np.float32(window * window)).astype(np.float32)


def large_regions(mask: Mask, smallest_px: int) -> Mask:
    """Those pixels of a mask (H, W) whose connected region takes at least `smallest_px` pixels.

    Connected is what touches by a side.
    """
    rows, starts, ends, sizes, _ = _runs(mask)
    return _drawn(mask, rows, starts, ends, sizes >= smallest_px)


def largest_region(mask: Mask) -> Mask:
    """The largest connected region of a mask (H, W), the first of several."""
    rows, starts, ends, sizes, roots = _runs(mask)
    return _drawn(mask, rows, starts, ends, roots == roots[sizes.argmax()] if len(roots) else roots > 0)


_Runs = npt.NDArray[np.intp]


def _runs(mask: Mask) -> tuple[_Runs, _Runs, _Runs, _Runs, _Runs]:
    """All runs of set pixels in rows: row, start and end, and the size and the name of their region.

    Runs of a row are joined with those of the row above.
    """
    edges = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    (rows, starts), ends = np.argwhere(edges == 1).T, np.argwhere(edges == -1).T[1]
    parents = np.arange(len(rows))
    above = 0
    for run, (row, start, end) in enumerate(zip(rows, starts, ends, strict=True)):
        while rows[above] < row - 1 or (rows[above] == row - 1 and ends[above] <= start):
            above += 1
        touching = above
        while rows[touching] == row - 1 and starts[touching] < end:
            parents[_root(parents, run)] = _root(parents, touching)
            touching += 1
    roots = np.array([_root(parents, run) for run in range(len(rows))], dtype=np.intp)
    sizes = np.bincount(roots, weights=ends - starts, minlength=len(rows))
    return rows, starts, ends, sizes[roots].astype(np.intp), roots


def _drawn(mask: Mask, rows: _Runs, starts: _Runs, ends: _Runs, chosen: Mask) -> Mask:
    """A mask of the same size with the chosen runs."""
    drawn = np.zeros_like(mask)
    for row, start, end in zip(rows[chosen], starts[chosen], ends[chosen], strict=True):
        drawn[row, start:end] = True
    return drawn


def _root(parents: npt.NDArray[np.intp], run: int) -> int:
    while parents[run] != run:
        parents[run] = parents[parents[run]]
        run = int(parents[run])
    return run


def _box_sum(mask: Mask, radius_px: int, border: Literal["constant", "edge"]) -> npt.NDArray[np.int32]:
    """How many pixels are set within `radius_px` in x and in y.

    Beyond the border lie unset pixels ("constant") or those of the border itself ("edge").
    """
    total = mask.astype(np.int32)
    window = 2 * radius_px + 1
    for _ in range(2):
        padded = np.pad(total, ((radius_px + 1, radius_px), (0, 0)), mode=border)
        running = padded.cumsum(axis=0, dtype=np.int32)
        total = (running[window:] - running[:-window]).T
    return total

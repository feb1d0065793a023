"""Makes a reconstruction agree with what a blur or a mosaic still shows of the face.

A blur takes away fine detail alone, and a mosaic keeps the mean of every block. So the reconstruction,
blurred or averaged in the same way, must be the picture. The residual is explained by an error of the
network: a Gaussian process whose covariance was measured, separable in rows and columns. Its mean, given
the residual, is the correction. All else stays as the network reconstructed it. The width, the type and
the edges of a blur are those that make the residual most likely. They are found blind: first at half the
size, then at the whole one, each by a one-dimensional search.

Sources: Irani and Peleg, "Improving Resolution by Image Registration", CVGIP 53(3), 1991 (back-projection).
Wang, Yu, Zhang, "Zero-Shot Image Restoration Using Denoising Diffusion Null-Space Model", ICLR 2023,
section 3.1 (data consistency). Levin et al., "Understanding and Evaluating Blind Deconvolution Algorithms",
CVPR 2009 (the kernel alone, by its marginal likelihood). Rasmussen and Williams, "Gaussian Processes for
Machine Learning", 2006, sections 2.2 and 5.4. Kiefer, "Sequential Minimax Search for a Maximum", 1953.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt

from facemend.alignment import CROP_SIZE_PX
from facemend.images import Image, Mask
from facemend.reconstruction.model import ModelOutput

Matrix = npt.NDArray[np.float64]
Ends = npt.NDArray[np.intp]
"""Where the parts of a line begin, and where the last one ends."""
Box = tuple[slice, slice]
Edge = Literal["through", "repeated", "mirrored"]
"""What a blur takes for the pixels beyond the hole: those that lie there, or the hole's own once more."""


@dataclass(frozen=True)
class DeblurRules:
    """Everything that was tuned: see "2026-11-30: a blur's estimate" in configs/EXPERIMENTS.md.

    Levels are of 255. Pixels are of a 256×256 crop, unless it says otherwise.
    """

    # A blur is looked for in an upright box that is smooth and not of one colour.
    least_side: float = 0.12  # of the hole, share of the crop
    least_side_px: int = 16  # of the hole, pixels of the crop itself
    least_overlap: float = 0.93  # of the hole and its box, intersection over union
    most_detail: float = 1.8  # levels: a blurred face has no more of the finest detail
    colour_error: float = 0.1  # variance of the network's error in colour, as a share of that in lightness
    least_variation: float = 1.5  # levels: what varies less shows no face
    rim_px: int = 2  # at the hole's edges, where a pixel may be blurred or not; pixels of the crop itself

    # The network's error: standard deviation, reach of its correlation, and how it falls towards the edge.
    error: float = 18.0  # levels
    error_reach_px: float = 2.5
    error_at_edge: float = 0.4  # share of the error further inside
    edge_px: float = 8.0

    # The search. Sigmas of 8 to 20 are drawn by the kinds `blur` and `blur_full`.
    sigmas_px: tuple[float, float] = (3.0, 26.0)
    first_sigmas: int = 5  # in equal ratios, for each edge
    half_noise: float = 0.3  # variance, levels²: what half the size does not explain
    whole_noise: float = 0.1
    close: float = 100.0  # of log-likelihood at half the size: what is further off is not tried again
    half_bin_px: int = 4  # of half the size
    half_tolerance: float = 0.08  # of sigma, a ratio
    tolerance: float = 0.008
    bins_per_sigma: float = 2.5  # the blurred picture is averaged over bins of this size

    # Noise, by frequency: variance, levels². JPEG of quality 50 has up to 28, what is no blur over 45.
    least_noise: float = 0.02  # rounding
    most_noise: float = 36.0
    hidden: float = 1e-3  # variance of the network's error: less does not come through
    fewest_errors: float = 30.0  # times the error's variance: what is beyond that is noise

    # A mosaic: within a block colours differ far less than between blocks, and blocks are alike in size.
    most_in_block: float = 0.1  # share of the variation between blocks
    least_step: float = 0.2  # at a block's border, share of the largest step
    least_seen: float = 0.6  # of the blocks' borders, a share
    unlike: float = 0.3  # share of a block's side
    least_block_px: float = 6.0  # pixels of the crop itself

    interval: float = 0.93  # how wide the model's interval stays where the picture explains the face


RULES = DeblurRules()


def deblur(image: Image, output: ModelOutput, hole: Mask) -> ModelOutput:
    """Corrects the network's output for one crop by what a blur or a mosaic of the hole still shows.

    Args:
        image: uint8 (H, W, 3) RGB, the occluded crop, or a tall one.
        output: of this crop alone.
        hole: bool (H, W), where it is occluded.

    Returns:
        `output` itself if neither a blur in an upright box nor a mosaic explains what is seen in the hole.
    """
    round_box, box = _box_of(hole, 1 / 8), _box_of(hole, 1 / 2)
    if round_box is None or box is None:
        return output
    raw = output.raw[0]
    seen = np.moveaxis(image, 2, 0).astype(np.float64)
    drawn = np.where(hole, np.moveaxis(raw, 2, 0), seen)
    residual = _residual_of_mosaic(seen, drawn, hole, round_box)
    if residual is not None:
        box = round_box
    else:
        residual = _residual_of_blur(seen, drawn, hole, box)
    if residual is None or residual.noise > RULES.most_noise:
        return output
    corrected = np.rint(drawn[:, *box] + residual.correction).clip(0, 255).astype(np.uint8)
    kept = raw.copy()
    kept[box] = np.where(hole[box][:, :, None], np.moveaxis(corrected, 0, 2), raw[box])
    interval = output.interval
    if interval is not None:
        interval = interval * np.where(hole, RULES.interval, np.float32(1))
    return ModelOutput(kept[None], output.alpha, interval)


def _box_of(hole: Mask, share: float) -> Box | None:
    """Rows and columns of which this share of the fullest one is occluded. None if there are too few."""
    if not hole.any():
        return None
    counts = hole.sum(axis=1), hole.sum(axis=0)
    y, x = (np.flatnonzero(count > count.max() * share) for count in counts)
    if min(len(y), len(x)) < max(RULES.least_side * hole.shape[1], RULES.least_side_px):
        return None
    return slice(int(y[0]), int(y[-1]) + 1), slice(int(x[0]), int(x[-1]) + 1)


@dataclass(frozen=True)
class _Residual:
    """What the picture shows and the reconstruction does not, by modes of the network's error.

    Attributes:
        passed: (h, w), the variance that the network's error has in each mode.
        seen: (C, h, w), the residual.
        back: from the modes of the rows and of the columns to the hole's pixels.
        least_noise: variance.
    """

    passed: Matrix
    seen: Matrix
    back: tuple[Matrix, Matrix]
    least_noise: float

    @classmethod
    def of(
        cls, planes: Matrix, down: Matrix, across: Matrix, scale: float, least_noise: float
    ) -> "_Residual":
        """The modes of a residual (C, h, w).

        Args:
            down, across: (h, H) and (w, W), how it was made of the hole's H·W pixels.
            scale: pixels of a 256×256 crop to one of these.
        """
        parts = []
        lowest = [_cosines(len(axis)) for axis in (down, across)]
        planes = _both(lowest[0], planes, lowest[1])
        for cosines, whole in zip(lowest, (down, across), strict=True):
            axis = _product(cosines, whole)
            spread = _product(axis, _error_covariance(axis.shape[1], scale))
            values, vectors = np.linalg.eigh(_product(spread, axis.T))
            parts.append((np.maximum(values, 0), vectors, _product(spread.T, vectors)))
        (s_down, u_down, back_down), (s_across, u_across, back_across) = parts
        return cls(
            s_down[:, None] * s_across,
            _both(u_down.T, planes, u_across.T),
            (back_down, back_across),
            least_noise,
        )

    @property
    def noise(self) -> float:
        """Variance of what is no error of the network: rounding, JPEG, a blur that is not known exactly.

        It is looked for where nothing of the network's error comes through, and where a little does.
        """
        unexplained = (self.seen**2).mean(axis=0) - RULES.fewest_errors * self.passed
        bands = ((self.passed >= RULES.hidden).astype(np.intp) + (self.passed >= 1)).ravel()
        means = np.bincount(bands, unexplained.ravel(), 3) / np.maximum(np.bincount(bands, minlength=3), 1)
        return max(float(means[0]), float(means[1]), self.least_noise)

    @property
    def cost(self) -> float:
        """The negative log-likelihood."""
        variance = self.passed + self.noise
        return float((np.log(variance) + (self.seen**2).mean(axis=0) / variance).sum())

    @property
    def correction(self) -> Matrix:
        """(C, H, W), what to add to the hole: the mean of the network's error, given the residual.

        The network errs less in colour than in lightness: less of a residual in colour is its error.
        """
        down, across = self.back
        light = self.seen.mean(axis=0)
        share, noise = RULES.colour_error, self.noise
        colour = (self.seen - light) * share / (share * self.passed + noise)
        return _both(down, light / (self.passed + noise) + colour, across)


_MOST_MODES = 24
"""Along an axis. For more than 25 LAPACK's eigensolver has BLAS start threads."""


@lru_cache(maxsize=64)
def _cosines(count: int) -> Matrix:
    """The lowest frequencies of a line: (modes, count), orthonormal (DCT-II)."""
    at, mode = (np.arange(count) + 0.5) / count, np.arange(min(count, _MOST_MODES))[:, None]
    waves: Matrix = np.sqrt(np.where(mode, 2, 1) / count) * np.cos(np.pi * mode * at)
    return waves


@lru_cache(maxsize=64)
def _error_covariance(length: int, scale: float) -> Matrix:
    """(length, length) along one axis. Less is wrong near the hole's edge, beside what the network sees."""
    at = np.arange(length) * scale
    near = np.exp(-(((at[:, None] - at) / RULES.error_reach_px) ** 2) / 2)
    inside = np.minimum(at, at[::-1]) + scale / 2
    share = np.minimum(RULES.error_at_edge + (1 - RULES.error_at_edge) * inside / RULES.edge_px, 1)
    covariance: Matrix = RULES.error * share[:, None] * near * share
    return covariance


@dataclass(frozen=True)
class _Blur:
    """How a blur was made.

    Attributes:
        sigma: its standard deviation in pixels.
        edge: what it did at the hole's edges.
        boxes: whether it is three box blurs in a row, as browsers and Pillow make them, or a true Gaussian.
    """

    sigma: float
    edge: Edge
    boxes: bool

    def axis(self, part: slice, side: int, ends: Ends) -> Matrix:
        """Along one axis: from the crop's pixels, or from the hole's, to the bins (see `_bins`)."""
        weights = _box_weights(self.sigma) if self.boxes else _gaussian_weights(self.sigma)
        if self.edge == "through":
            if self.boxes:
                weights = np.convolve(np.convolve(weights, weights), weights)
            blurred = _sums(weights, ends + part.start, side, mirrored=False)
        else:
            length, mirrored = part.stop - part.start, self.edge == "mirrored"
            blurred = _sums(weights, ends, length, mirrored=mirrored)
            if self.boxes:
                once = _sums(weights, np.arange(length + 1), length, mirrored=mirrored)
                blurred = _product(_product(blurred, once), once)
        return blurred / np.sqrt(np.diff(ends))[:, None]


def _box_weights(sigma: float) -> Matrix:
    """The weights of one of three box blurs that together have a standard deviation of `sigma`."""
    radius = int((np.sqrt(4 * sigma**2 + 1) - 1) / 2)
    # The pixels at both ends count in part, so that the variance is that of the Gaussian.
    ends = (2 * radius + 1) * (radius * (radius + 1) - sigma**2) / (6 * (sigma**2 / 3 - (radius + 1) ** 2))
    weights: Matrix = np.array([ends, *[1.0] * (2 * radius + 1), ends])
    weights /= weights.sum()
    return weights


def _gaussian_weights(sigma: float) -> Matrix:
    """Cut off at three sigmas, as OpenCV does for pictures of 8 bits."""
    reach = round(3 * sigma)
    weights: Matrix = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    weights /= weights.sum()
    return weights


def _sums(weights: Matrix, ends: Ends, length: int, *, mirrored: bool) -> Matrix:
    """Weighted means around the pixels of a line, summed over its parts: (parts, length)."""
    reach = len(weights) // 2
    positions = np.arange(-reach, length + reach)
    total = np.concatenate([[0.0], weights.cumsum()])[
        np.maximum(np.minimum(positions - ends[:, None] + reach + 1, len(weights)), 0)
    ]
    sums = total[:-1] - total[1:]
    if mirrored:
        positions = length - 1 - np.abs(length - 1 - np.abs(positions))
        positions = positions.clip(0, length - 1)
        order = np.argsort(positions, kind="stable")
        starts = np.searchsorted(positions[order], np.arange(length))
        mirror: Matrix = np.add.reduceat(sums[:, order], starts, axis=1)
        return mirror
    inside: Matrix = sums[:, reach : reach + length]
    inside[:, 0] += sums[:, :reach].sum(axis=1)
    inside[:, -1] += sums[:, reach + length :].sum(axis=1)
    return inside


@dataclass(frozen=True)
class _Blurred:
    """A blurred picture, to be compared with blurs of the reconstruction.

    Attributes:
        shown: (C, h, w), the hole without its rim, averaged over bins. A blurred picture has no more to
            tell. Bins are orthonormal: a sum over the square root of its number of pixels.
        drawn: (C, H, W), the crop with the network's reconstruction in the hole.
        ends: of the bins, in pixels of the hole, for rows and columns.
    """

    shown: Matrix
    drawn: Matrix
    box: Box
    ends: tuple[Ends, Ends]
    least_noise: float

    @classmethod
    def of(cls, seen: Matrix, drawn: Matrix, box: Box, bin_px: int, least_noise: float) -> "_Blurred":
        """Pictures (C, H, W) with the blur, and with the network's reconstruction in its place."""
        down, across = (_bins(part.stop - part.start, bin_px) for part in box)
        shown = np.add.reduceat(seen[:, *box][:, : down[-1]], down[:-1], axis=1)
        shown = np.add.reduceat(shown[:, :, : across[-1]], across[:-1], axis=2)
        shown /= np.sqrt(np.diff(down)[:, None] * np.diff(across))
        return cls(shown, drawn, box, (down, across), least_noise)

    def residual(self, blur: _Blur) -> _Residual:
        """What a blur does not explain."""
        height, width = self.drawn.shape[1:]
        down, across = (
            blur.axis(part, side, ends)
            for part, side, ends in zip(self.box, (height, width), self.ends, strict=True)
        )
        drawn = self.drawn if blur.edge == "through" else self.drawn[:, *self.box]
        planes = _both(down, drawn, across)
        if blur.edge == "through":
            down, across = down[:, self.box[0]], across[:, self.box[1]]
        return _Residual.of(self.shown - planes, down, across, CROP_SIZE_PX / width, self.least_noise)

    def cost(self, blur: _Blur) -> float:
        """The negative log-likelihood of a blur."""
        return self.residual(blur).cost

    def fit(self, blur: _Blur, near: float, tolerance: float) -> tuple[float, _Blur]:
        """The likeliest sigma within a ratio of `near` to that of a blur, and its cost before it."""
        low, high = blur.sigma / near, blur.sigma * near
        cost, sigma = _lowest(lambda sigma: self.cost(replace(blur, sigma=sigma)), low, high, tolerance)
        return cost, replace(blur, sigma=sigma)


def _cost_of(fitted: tuple[float, _Blur]) -> float:
    return fitted[0]


def _residual_of_blur(seen: Matrix, drawn: Matrix, hole: Mask, box: Box) -> _Residual | None:
    """What a blur of the hole shows, or None if it is not a smooth upright box."""
    inner = tuple(slice(part.start + RULES.rim_px, part.stop - RULES.rim_px) for part in box)
    inside, hidden = seen[:, *inner], hole[inner]
    covered, area = int(hole[box].sum()), hole[box].size
    if covered < RULES.least_overlap * (area + int(hole.sum()) - covered):
        return None
    if not hidden.any() or inside[:, hidden].std(axis=1).max() < RULES.least_variation:
        return None
    if _detail(inside) > RULES.most_detail:
        return None
    gray, gray_drawn = (planes.mean(axis=0)[None] for planes in (seen, drawn))
    half = _Blurred.of(
        _halved(gray), _halved(gray_drawn), _halved_box(box), RULES.half_bin_px, RULES.half_noise
    )
    rough = _first_estimate(half)
    bin_px = max(2, round(2 * rough[0].sigma / RULES.bins_per_sigma))
    whole = _Blurred.of(gray, gray_drawn, box, bin_px, RULES.whole_noise)
    near, tolerance = 1 + RULES.half_tolerance, RULES.tolerance
    fitted = [whole.fit(replace(blur, sigma=2 * blur.sigma), near, tolerance) for blur in rough]
    lowest, blur = min(fitted, key=_cost_of)
    gaussian = replace(blur, boxes=False)
    if blur.boxes and whole.cost(gaussian) < lowest:
        _, blur = whole.fit(gaussian, near, tolerance)
    return _Blurred.of(seen, drawn, box, bin_px, RULES.least_noise).residual(blur)


def _detail(planes: Matrix) -> float:
    """How far pixels are from the mean of their neighbours, in levels. Rounding makes 0.3."""
    beside = planes[:, :-2, 1:-1] + planes[:, 2:, 1:-1] + planes[:, 1:-1, :-2] + planes[:, 1:-1, 2:]
    return float(np.sqrt(((planes[:, 1:-1, 1:-1] - beside / 4) ** 2).mean()))


def _first_estimate(half: _Blurred) -> list[_Blur]:
    """The likeliest blurs, from pictures of half the size."""
    sigmas = np.geomspace(*RULES.sigmas_px, RULES.first_sigmas) * half.drawn.shape[2] / CROP_SIZE_PX

    def fit(start: _Blur) -> tuple[float, _Blur]:
        return half.fit(start, float(sigmas[1] / sigmas[0]), RULES.half_tolerance)

    def first(edge: Edge) -> _Blur:
        return min((_Blur(sigma, edge, boxes=True) for sigma in sigmas.tolist()), key=half.cost)

    through, alone = first("through"), first("repeated")  # from afar, boxes and Gaussians are alike
    found = [fit(through), fit(alone)]
    if found[1][0] < found[0][0] + RULES.close:
        found += [fit(replace(alone, edge=edge, boxes=False)) for edge in _ALONE]
    lowest = min(map(_cost_of, found))
    return [blur for cost, blur in found if cost < lowest + RULES.close]


_ALONE: tuple[Edge, ...] = ("repeated", "mirrored")
_GOLDEN = (5**0.5 - 1) / 2


def _lowest(
    cost: Callable[[float], float], low: float, high: float, tolerance: float
) -> tuple[float, float]:
    """The least cost and its argument, by golden section, to a ratio of 1 + `tolerance`."""
    points = [(cost(at), at) for at in (high * (low / high) ** _GOLDEN, low * (high / low) ** _GOLDEN)]
    while high > low * (1 + tolerance):
        if points[0] < points[1]:
            high = points[1][1]
            at = high * (low / high) ** _GOLDEN
            points = [(cost(at), at), points[0]]
        else:
            low = points[0][1]
            at = low * (high / low) ** _GOLDEN
            points = [points[1], (cost(at), at)]
    return min(points)


@lru_cache(maxsize=64)
def _bins(length: int, bin_px: int) -> Ends:
    """The ends of equal bins along a side of the hole, without its rim."""
    inner = length - 2 * RULES.rim_px
    return RULES.rim_px + np.linspace(0, inner, max(2, round(inner / bin_px)) + 1).round().astype(np.intp)


def _halved(planes: Matrix) -> Matrix:
    count, height, width = len(planes), planes.shape[1] // 2, planes.shape[2] // 2
    pairs = planes[:, : 2 * height, : 2 * width].reshape(count, height, 2, width, 2)
    halved: Matrix = pairs.mean(axis=(2, 4))
    return halved


def _halved_box(box: Box) -> Box:
    rows, columns = (slice((part.start + 1) // 2, part.stop // 2) for part in box)
    return rows, columns


def _residual_of_mosaic(seen: Matrix, drawn: Matrix, hole: Mask, box: Box) -> _Residual | None:
    """What a mosaic shows: the mean of each block, or the colour of its middle. None if it is not one."""
    inside, hidden, covered = seen[:, *box], drawn[:, *box], hole[box]
    gray = inside.mean(axis=0)
    rows = _blocks(gray.T, covered.T)
    columns = None if rows is None else _blocks(gray, covered)
    if rows is None or columns is None:
        return None
    means = [_means(ends, length) for ends, length in zip((rows, columns), covered.shape, strict=True)]
    averaged = _both(means[0], np.concatenate([inside, covered[None]]), means[1])
    blocks, belongs = averaged[:-1], averaged[-1] > 0.5
    whole = tuple(slice(ends[0], ends[-1]) for ends in (rows, columns))
    flat = np.repeat(np.repeat([*blocks, belongs], np.diff(rows), axis=1), np.diff(columns), axis=2)
    within = np.abs(inside[:, *whole] - flat[:-1])[:, covered[whole] & (flat[-1] > 0)].mean()
    between = blocks[:, belongs].std(axis=1).max() if belongs.any() else 0.0
    if between < RULES.least_variation or within > RULES.most_in_block * between:
        return None
    middles = [
        np.eye(each.shape[1])[(ends[:-1] + ends[1:]) // 2]
        for each, ends in zip(means, (rows, columns), strict=True)
    ]
    scale = CROP_SIZE_PX / hole.shape[1]
    residuals = [
        _Residual.of(
            (blocks - _both(down, hidden, across)) * belongs, down, across, scale, RULES.least_noise
        )
        for down, across in (means, middles)
    ]
    return min(residuals, key=lambda residual: residual.cost)


def _blocks(gray: Matrix, covered: Mask) -> Ends | None:
    """The ends of a mosaic's blocks along the last axis, or None if there is no regular grid."""
    both = covered[:, 1:] & covered[:, :-1]
    steps = (np.abs(np.diff(gray, axis=1)) * both).sum(axis=0) / np.maximum(both.sum(axis=0), 1)
    beside = np.maximum(np.append(steps[1:], 0), np.append(0, steps[:-1]))
    cuts = np.flatnonzero((steps > RULES.least_step * steps.max()) & (steps >= beside)) + 1
    if not len(cuts):
        return None
    gaps = np.diff([0, *cuts, covered.shape[1]])
    side = float(np.median(gaps))
    counts = np.rint(gaps / side).astype(int)
    # The hole may go on beyond the mosaic, by less than a block.
    counts[[0, -1]] = np.floor(gaps[[0, -1]] / side + RULES.unlike)
    first, last = max(cuts[0] - round(counts[0] * side), 0), cuts[-1] + round(counts[-1] * side)
    corners = [first, *cuts, min(last, covered.shape[1])]
    ends = [
        np.linspace(*pair, count + 1)[:-1] for pair, count in zip(pairwise(corners), counts, strict=True)
    ]
    blocks = np.append(np.concatenate(ends), corners[-1]).round().astype(np.intp)
    if len(blocks) < 3 or side < RULES.least_block_px:
        return None
    seen = len(cuts) / (len(blocks) - 2)
    unlike = np.abs(np.diff(blocks) - side).max() > max(RULES.unlike * side, 1)
    return None if unlike or seen < RULES.least_seen else blocks


def _means(ends: Ends, length: int) -> Matrix:
    """(parts, length), the mean over each part of a line."""
    at = np.arange(length)
    inside = (at >= ends[:-1, None]) & (at < ends[1:, None])
    return inside / np.diff(ends)[:, None]


_LARGEST_PRODUCT = 64**3
"""Multiplications. OpenBLAS starts threads for larger ones, and they would take the cores of others."""


def _both(down: Matrix, planes: Matrix, across: Matrix) -> Matrix:
    """(C, h, w): planes (C, H, W) under (h, H) from the left and (w, W) from the right."""
    return np.stack([_product(_product(down, plane), across.T) for plane in planes])


def _product(left: Matrix, right: Matrix) -> Matrix:
    """`left @ right` in parts that BLAS computes in the calling thread alone."""
    step = max(_LARGEST_PRODUCT // left.size, 1)
    if step >= right.shape[1]:
        return left @ right
    parts = [left @ right[:, start : start + step] for start in range(0, right.shape[1], step)]
    return np.concatenate(parts, axis=1)

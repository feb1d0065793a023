"""What a blur still shows of a face is kept: a reconstruction that is blurred again must be the picture.

A blur hides fine detail alone. How it was made (how wide it is, and what it does at the hole's edges) is
estimated from the picture and the network's reconstruction; then the reconstruction takes over what the
blurred picture says, frequency by frequency, as far as the picture's noise lets it be known (Tikhonov
regularisation). The rest stays as the network drew it. Irani and Peleg, "Improving Resolution by Image
Registration", CVGIP 53(3), 1991 (back-projection); Wang, Yu, Zhang, "Zero-Shot Image Restoration Using
Denoising Diffusion Null-Space Model", ICLR 2023, section 3.1 (range and null space).
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from facemend.images import Image, Mask
from facemend.reconstruction.model import ModelOutput

Matrix = npt.NDArray[np.float64]
Box = tuple[slice, slice]
Edge = Literal["through", "repeated", "mirrored"]
"""What a blur takes for the pixels beyond the hole: those that lie there, or the hole's own once more."""


@dataclass(frozen=True)
class _Blur:
    """How a blur was made: a standard deviation in pixels, what it did at the hole's edges, and by what.

    `boxes` are three box blurs in a row, as browsers and Pillow make them, in place of a true Gaussian.
    """

    sigma: float
    edge: Edge
    boxes: bool

    def near(self, step: float) -> "list[_Blur]":
        """It and its neighbours: narrower, wider, made the other way."""
        sigmas = [self.sigma, self.sigma / step, self.sigma * step]
        return [
            _Blur(sigma, self.edge, boxes) for boxes in (self.boxes, not self.boxes) for sigma in sigmas
        ]


_EDGES: tuple[Edge, ...] = ("through", "repeated", "mirrored")
_SIGMAS_PX = tuple(np.geomspace(3, 26, 12))  # of a 256×256 crop
_ROUGHLY, _FINER = 4.0, ((1.1, 1.0), (1.05, 0.2), (1.025, 0.05), (1.012, 0.02))
"""The least variance, in levels, of what none of them is to explain; and in what steps the best of them is
improved, each with such a variance: far off, much is left over."""
_FINEST = (1.015, 1.006)  # at the whole size
_SMALLEST_SIDE, _SMALLEST_PX = 0.12, 16  # of a hole: share of the crop, and pixels, that it spans
_FULL = 0.93  # share of a hole and its box that both take
_SMOOTH = 1.8  # levels of 255: the most finest detail that a blurred face has
_PLAIN = 1.5  # levels: what varies less is no face
_LARGEST_MISFIT, _EXPLAINED = 8.0, 0.6  # levels; share of the variation that is seen
_WORSE = 1.5  # times what another blur leaves over: then it is not known which one it was
_DETAIL = 50.0  # levels: how far the network may be off, per frequency that a blur lets through
_LEAST_NOISE = 0.02  # its variance, in levels
_BANDS = (1e-4, 1e-3, 5e-3, 2e-2)
"""Ends of the bands of frequencies that come through so little that what is seen of them is noise; that of
JPEG is not alike in all."""
_NETWORK = 30.0  # times as much as is usual the network may be off before that counts as noise
_JPEG, _MOST_JPEG = 8.0, 16.0  # levels of what is coarse to a level of detail; variance at most
_ROUNDED = 0.35  # levels of detail that are there without JPEG
_SURER = 0.93  # how wide the interval stays where a blur was explained
_RIM_PX = 2  # at the hole's edges, where a pixel may be blurred or not


def consistent(image: Image, output: ModelOutput, hole: Mask) -> ModelOutput:
    """What the network said of one crop, with what a blur of the hole lets through as the crop shows it.

    Args:
        image: uint8 (S, S, 3) RGB, the occluded crop.
        output: of this crop alone.
        hole: bool (S, S), where it is occluded.

    Returns:
        `output` itself if the hole is no upright box, or no blur explains what is seen in it.
    """
    box = _box_of(hole)
    if box is None or _is_plain(image, box) or (detail := _detail(image, box)) > _SMOOTH:
        return output
    raw = output.raw[0]
    seen = image.astype(np.float64)
    drawn = np.where(hole[:, :, None], raw, seen)
    # Blurred is smooth: the little that is not tells of JPEG, which changes what is coarse far more.
    least_noise = min(max(_JPEG * (detail - _ROUNDED), 0.0) ** 2, _MOST_JPEG) + _LEAST_NOISE
    blur = _blur_of(seen, drawn, box, least_noise)
    if blur is None:
        return output
    down, across = (_axis(part, len(seen), blur) for part in box)
    misfit = seen[_inner(box)] - _blurred(drawn, down, across)
    spectrum = _Spectrum.of(misfit, down[:, box[0]], across[:, box[1]])
    correction = spectrum.correction(least_noise)
    kept = raw.copy()
    kept[box] = np.where(hole[box][:, :, None], np.rint(drawn[box] + correction).clip(0, 255), raw[box])
    interval = None if output.interval is None else output.interval * np.where(hole, _SURER, np.float32(1))
    return ModelOutput(kept[None], output.alpha, interval)


def _box_of(hole: Mask) -> Box | None:
    """Rows and columns of a hole that is an upright box, large enough to tell of a blur."""
    if not hole.any():
        return None
    counts = hole.sum(axis=1), hole.sum(axis=0)
    y, x = (np.flatnonzero(count > count.max() / 2) for count in counts)
    box = slice(int(y[0]), int(y[-1]) + 1), slice(int(x[0]), int(x[-1]) + 1)
    if min(len(y), len(x)) < max(_SMALLEST_SIDE * len(hole), _SMALLEST_PX):
        return None
    common, area = int(hole[box].sum()), len(y) * len(x)
    return box if common >= _FULL * (area + int(hole.sum()) - common) else None


def _detail(image: Image, box: Box) -> float:
    """How far pixels in a box are from the mean of their neighbours, in levels; rounding makes 0.3."""
    inside = image[_inner(box)].astype(np.float64)
    beside = inside[:-2, 1:-1] + inside[2:, 1:-1] + inside[1:-1, :-2] + inside[1:-1, 2:]
    return float(np.sqrt(((inside[1:-1, 1:-1] - beside / 4) ** 2).mean()))


def _is_plain(image: Image, box: Box) -> bool:
    """Whether a box shows one colour alone, and so no face."""
    return float(image[_inner(box)].std(axis=(0, 1)).max()) < _PLAIN


def _blur_of(seen: Matrix, drawn: Matrix, box: Box, least_noise: float) -> _Blur | None:
    """The blur that makes what is seen out of what was drawn; None if none does.

    It is looked for in gray: at half the size among some, then ever more closely around the best one.
    """
    gray, gray_drawn = seen.mean(axis=2), drawn.mean(axis=2)
    rows, columns = (slice((part.start + 1) // 2, part.stop // 2) for part in box)
    half = _Search(_halved(gray), _halved(gray_drawn), (rows, columns), least_noise / 4)
    scale = len(half.seen) / 256
    roughly = [
        _Blur(s * scale, edge, boxes) for s in _SIGMAS_PX for edge in _EDGES for boxes in (True, False)
    ]
    blur = half.best(roughly, _ROUGHLY)
    for step, least in _FINER:
        blur = half.best(blur.near(step), least)
    most = min(_LARGEST_MISFIT, _EXPLAINED * half.variation, _WORSE * min(map(half.left, roughly)))
    if half.left(blur) >= most:
        return None
    whole, blur = _Search(gray, gray_drawn, box, least_noise), replace(blur, sigma=2 * blur.sigma)
    for step in _FINEST:
        blur = whole.best(blur.near(step), _LEAST_NOISE)
    return blur


@dataclass(frozen=True)
class _Search:
    """Looks for the blur of a box of a gray picture, (S, S), given what was drawn."""

    seen: Matrix
    drawn: Matrix
    box: Box
    least_noise: float

    @property
    def variation(self) -> float:
        """What is seen to vary in the box, in levels."""
        return float(self.seen[_inner(self.box)].std())

    def best(self, tries: list[_Blur], least_noise: float) -> _Blur:
        """That blur which surprises least, at such a variance of noise at least."""
        least = max(least_noise, self.least_noise)

        def surprise(blur: _Blur) -> float:
            misfit, (down, across) = self._misfit(blur)
            return _Spectrum.of(misfit, down[:, self.box[0]], across[:, self.box[1]]).surprise(least)

        return min(tries, key=surprise)

    def left(self, blur: _Blur) -> float:
        """What a blur leaves over, in levels."""
        return float(np.sqrt((self._misfit(blur)[0] ** 2).mean()))

    def _misfit(self, blur: _Blur) -> tuple[Matrix, tuple[Matrix, Matrix]]:
        down, across = (_axis(part, len(self.seen), blur) for part in self.box)
        return self.seen[_inner(self.box)] - _blurred(self.drawn, down, across), (down, across)


def _halved(plane: Matrix) -> Matrix:
    side = len(plane) // 2
    halved: Matrix = plane[: 2 * side, : 2 * side].reshape(side, 2, side, 2).mean(axis=(1, 3))
    return halved


def _inner(box: Box) -> Box:
    rows, columns = (slice(part.start + _RIM_PX, part.stop - _RIM_PX) for part in box)
    return rows, columns


def _axis(part: slice, side: int, blur: _Blur) -> Matrix:
    """A blur along one axis: from all pixels of the crop to those of the hole without its rim."""
    first, last = (0, side) if blur.edge == "through" else (part.start, part.stop)
    weights = _box(blur.sigma) if blur.boxes else _gaussian(blur.sigma)
    once = _matrix(weights, last - first, mirrored=blur.edge == "mirrored")
    whole = np.zeros((part.stop - part.start - 2 * _RIM_PX, side))
    kept = once[part.start + _RIM_PX - first : part.stop - _RIM_PX - first]
    whole[:, first:last] = kept @ once @ once if blur.boxes else kept
    return whole


def _box(sigma: float) -> Matrix:
    """The weights of one of three box blurs that together have a standard deviation of `sigma`."""
    radius = int((np.sqrt(4 * sigma**2 + 1) - 1) / 2)
    # The pixels at both ends count in part, so that the variance is that of the Gaussian.
    ends = (2 * radius + 1) * (radius * (radius + 1) - sigma**2) / (6 * (sigma**2 / 3 - (radius + 1) ** 2))
    return np.array([ends, *[1.0] * (2 * radius + 1), ends])


def _gaussian(sigma: float) -> Matrix:
    reach = int(np.ceil(4 * sigma))
    weights: Matrix = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    return weights


def _matrix(weights: Matrix, length: int, *, mirrored: bool) -> Matrix:
    """Weighted means around each of so many pixels, (length, length)."""
    reach = len(weights) // 2
    places = np.arange(length)[:, None] + np.arange(-reach, reach + 1)
    if mirrored:
        places = length - 1 - np.abs(length - 1 - np.abs(places))
    places = np.arange(length)[:, None] * length + places.clip(0, length - 1)
    counted = np.bincount(places.ravel(), np.tile(weights / weights.sum(), length), length**2)
    return counted.reshape(length, length).astype(np.float64)


def _blurred(picture: Matrix, down: Matrix, across: Matrix) -> Matrix:
    """(S, S) or (S, S, 3) as the blur shows it in the hole without its rim."""
    if picture.ndim == 2:
        return down @ picture @ across.T
    return np.stack([down @ plane @ across.T for plane in np.moveaxis(picture, 2, 0)], axis=2)


@dataclass(frozen=True)
class _Spectrum:
    """What a blur leaves to explain, by the frequencies of the hole, and how much of each it lets through.

    Attributes:
        down, across: the blur from the hole's own pixels to those that are compared, in that basis.
        passed: (h, w), the share of each frequency that comes through, squared.
        misfit: (h, w) or (h, w, 3).
    """

    down: Matrix
    across: Matrix
    passed: Matrix
    misfit: Matrix

    @classmethod
    def of(cls, misfit: Matrix, down: Matrix, across: Matrix) -> "_Spectrum":
        """The spectrum of a misfit under the blur of the hole's own pixels."""
        (s_down, u_down), (s_across, u_across) = (np.linalg.eigh(each @ each.T) for each in (down, across))
        passed = np.maximum(s_down, 0)[:, None] * np.maximum(s_across, 0)
        return cls(u_down.T @ down, u_across.T @ across, passed, _blurred(misfit, u_down.T, u_across.T))

    @property
    def noise(self) -> float:
        """Variance of what cannot come through: rounding, JPEG, and what the blur was mistaken for."""
        power = self.misfit**2 if self.misfit.ndim == 2 else (self.misfit**2).mean(axis=2)
        unexplained = power - _NETWORK * _DETAIL**2 * self.passed
        bands = np.digitize(self.passed, [share**2 for share in _BANDS])
        noise = [float(unexplained[bands == b].mean()) for b in range(len(_BANDS)) if (bands == b).any()]
        return max(noise, default=0.0)

    def surprise(self, least_noise: float) -> float:
        """Minus the log-likelihood of the misfit, if the network is off by _DETAIL at every frequency."""
        variance = self.passed * _DETAIL**2 + max(self.noise, least_noise)
        return float((np.log(variance) + self.misfit**2 / variance).sum())

    def correction(self, least_noise: float) -> Matrix:
        """What to add to the hole so that the blur of it explains the misfit, as far as it is no noise."""
        share = 1 / (self.passed + max(self.noise, least_noise) / _DETAIL**2)
        if self.misfit.ndim == 3:
            share = share[:, :, None]
        return _blurred(share * self.misfit, self.down.T, self.across.T)

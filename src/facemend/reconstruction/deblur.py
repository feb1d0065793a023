"""Makes a reconstruction agree with the blur that hides the face.

A blur takes away fine detail alone. Its width, its type and its treatment of the edges are estimated from
the picture and the network's reconstruction. The reconstruction is then corrected, frequency by frequency,
until the blur of it is the picture, as far as the picture's noise lets that be known (Tikhonov
regularisation). All else stays as the network drew it.

Sources: Irani and Peleg, "Improving Resolution by Image Registration", CVGIP 53(3), 1991 (back-projection).
Wang, Yu, Zhang, "Zero-Shot Image Restoration Using Denoising Diffusion Null-Space Model", ICLR 2023,
section 3.1 (range and null space).
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
class DeblurRules:
    """Everything that was tuned. "E" is the entry "2026-11-26: what a blur lets through" in
    configs/EXPERIMENTS.md. What has no "E" was set by hand, and no measurement of it alone is kept.

    Levels are of 255. Pixels are of a 256×256 crop, unless it says otherwise.
    """

    # What is looked at: a hole that is an upright box, smooth, and not of one colour.
    # E: under all rules together, none of 120 drawn masks, patches and mosaics was taken for a blur.
    least_side: float = 0.12  # of the hole, share of the crop
    least_side_px: int = 16  # of the hole, pixels of the crop itself
    least_overlap: float = 0.93  # of the hole and its box, intersection over union
    most_detail: float = 1.8  # levels: a blurred face has no more of the finest detail
    least_variation: float = 1.5  # levels: what varies less shows no face
    rim_px: int = 2  # at the hole's edges, where a pixel may be blurred or not; pixels of the crop itself

    # What is tried, at half the size. The kinds `blur` and `blur_full` draw sigmas of 8 to 20.
    least_sigma_px: float = 3.0
    most_sigma_px: float = 26.0
    sigmas: int = 12  # in equal ratios
    # E: edges and sigma must be found well. A sigma wrong by 2% costs 0.2 to 0.3 dB.
    edges: tuple[Edge, ...] = ("through", "repeated", "mirrored")
    # E: a Gaussian of sigma 14 that was taken for three boxes lost 1.7 dB, so both are tried.
    boxes: tuple[bool, ...] = (True, False)

    # How the best one is improved: ratios of sigma, and the least variance of noise at each, in levels².
    # Far off, much is left over. E: "first roughly, then ever more closely" (+0.87 to +0.94 dB).
    first_noise: float = 4.0
    steps: tuple[tuple[float, float], ...] = ((1.1, 1.0), (1.05, 0.2), (1.025, 0.05), (1.012, 0.02))
    # E: in the end at the whole size (+0.60 to +0.83 dB).
    last_steps: tuple[float, ...] = (1.015, 1.006)

    # When a blur explains what is seen; see the 120 above.
    most_residual: float = 8.0  # levels
    most_unexplained: float = 0.6  # share of the variation that is seen
    most_worse: float = 1.5  # times the least residual of those tried first; else the blur is not known

    # How far the network may be off, and the noise. E: by bands of frequencies, and JPEG by what is left of
    # fine detail. JPEG of quality 50 then costs nothing (+0.06 dB), without it 0.7 dB.
    network_error: float = 50.0  # levels, at each frequency that a blur lets through
    most_network_error: float = 30.0  # times the variance of that; what is beyond it counts as noise
    bands: tuple[float, ...] = (1e-4, 1e-3, 5e-3, 2e-2)  # ends, by the share that comes through
    least_noise: float = 0.02  # variance, levels²: rounding
    detail_without_jpeg: float = 0.35  # levels
    jpeg_noise: float = 8.0  # levels of coarse noise to a level of detail beyond that
    most_jpeg_noise: float = 16.0  # variance, levels²

    # E: how wide the model's interval stays where a blur was explained.
    interval: float = 0.93


RULES = DeblurRules()


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

    def neighbours(self, step: float) -> "list[_Blur]":
        """It and its neighbours: narrower, wider, made the other way."""
        sigmas = [self.sigma, self.sigma / step, self.sigma * step]
        return [
            _Blur(sigma, self.edge, boxes) for boxes in (self.boxes, not self.boxes) for sigma in sigmas
        ]


def deblur(image: Image, output: ModelOutput, hole: Mask) -> ModelOutput:
    """Corrects the network's output for one crop by what a blur of the hole still shows.

    Args:
        image: uint8 (S, S, 3) RGB, the occluded crop.
        output: of this crop alone.
        hole: bool (S, S), where it is occluded.

    Returns:
        `output` itself if the hole is not an upright box, or if no blur explains what is seen in it.
    """
    box = _box_of(hole)
    if box is None or _is_plain(image, box) or (detail := _detail(image, box)) > RULES.most_detail:
        return output
    raw = output.raw[0]
    seen = image.astype(np.float64)
    drawn = np.where(hole[:, :, None], raw, seen)
    # A blurred picture is smooth. The detail that is left tells of JPEG, which changes what is coarse far
    # more.
    jpeg_noise = max(RULES.jpeg_noise * (detail - RULES.detail_without_jpeg), 0.0) ** 2
    least_noise = min(jpeg_noise, RULES.most_jpeg_noise) + RULES.least_noise
    blur = _estimate_blur(seen, drawn, box, least_noise)
    if blur is None:
        return output
    down, across = (_axis(part, len(seen), blur) for part in box)
    residual = seen[_inner(box)] - _blurred(drawn, down, across)
    spectrum = _Spectrum.of(residual, down[:, box[0]], across[:, box[1]])
    correction = spectrum.correction(least_noise)
    kept = raw.copy()
    kept[box] = np.where(hole[box][:, :, None], np.rint(drawn[box] + correction).clip(0, 255), raw[box])
    interval = output.interval
    if interval is not None:
        interval = interval * np.where(hole, RULES.interval, np.float32(1))
    return ModelOutput(kept[None], output.alpha, interval)


def _box_of(hole: Mask) -> Box | None:
    """Rows and columns of a hole that is an upright box, large enough to tell of a blur."""
    if not hole.any():
        return None
    counts = hole.sum(axis=1), hole.sum(axis=0)
    y, x = (np.flatnonzero(count > count.max() / 2) for count in counts)
    box = slice(int(y[0]), int(y[-1]) + 1), slice(int(x[0]), int(x[-1]) + 1)
    if min(len(y), len(x)) < max(RULES.least_side * len(hole), RULES.least_side_px):
        return None
    common, area = int(hole[box].sum()), len(y) * len(x)
    return box if common >= RULES.least_overlap * (area + int(hole.sum()) - common) else None


def _detail(image: Image, box: Box) -> float:
    """How far pixels in a box are from the mean of their neighbours, in levels. Rounding makes 0.3."""
    inside = image[_inner(box)].astype(np.float64)
    beside = inside[:-2, 1:-1] + inside[2:, 1:-1] + inside[1:-1, :-2] + inside[1:-1, 2:]
    return float(np.sqrt(((inside[1:-1, 1:-1] - beside / 4) ** 2).mean()))


def _is_plain(image: Image, box: Box) -> bool:
    """Whether a box shows one colour alone, and so no face."""
    return float(image[_inner(box)].std(axis=(0, 1)).max()) < RULES.least_variation


def _estimate_blur(seen: Matrix, drawn: Matrix, box: Box, least_noise: float) -> _Blur | None:
    """The blur that makes what is seen out of what was drawn. None if none does.

    It works in gray. At half the size it compares some, then searches ever more closely around the best
    one.
    """
    gray, gray_drawn = seen.mean(axis=2), drawn.mean(axis=2)
    rows, columns = (slice((part.start + 1) // 2, part.stop // 2) for part in box)
    half = _Search(_halved(gray), _halved(gray_drawn), (rows, columns), least_noise / 4)
    scale = len(half.seen) / 256
    sigmas_px = np.geomspace(RULES.least_sigma_px, RULES.most_sigma_px, RULES.sigmas)
    first = [
        _Blur(s * scale, edge, boxes) for s in sigmas_px for edge in RULES.edges for boxes in RULES.boxes
    ]
    blur = half.best(first, RULES.first_noise)
    for step, noise in RULES.steps:
        blur = half.best(blur.neighbours(step), noise)
    most = min(
        RULES.most_residual,
        RULES.most_unexplained * half.variation,
        RULES.most_worse * min(map(half.residual, first)),
    )
    if half.residual(blur) >= most:
        return None
    whole, blur = _Search(gray, gray_drawn, box, least_noise), replace(blur, sigma=2 * blur.sigma)
    for step in RULES.last_steps:
        blur = whole.best(blur.neighbours(step), RULES.least_noise)
    return blur


@dataclass(frozen=True)
class _Search:
    """Searches the blur of a box of a gray picture.

    Attributes:
        seen, drawn: (S, S), the blurred picture, and the same with the network's reconstruction in the
            hole.
        box: the hole.
        least_noise: variance, levels².
    """

    seen: Matrix
    drawn: Matrix
    box: Box
    least_noise: float

    @property
    def variation(self) -> float:
        """The standard deviation of what is seen in the box, in levels."""
        return float(self.seen[_inner(self.box)].std())

    def best(self, blurs: list[_Blur], least_noise: float) -> _Blur:
        """The most likely of the blurs, if the noise has at least this variance."""
        least = max(least_noise, self.least_noise)

        def cost(blur: _Blur) -> float:
            residual, (down, across) = self._residual(blur)
            return _Spectrum.of(residual, down[:, self.box[0]], across[:, self.box[1]]).cost(least)

        return min(blurs, key=cost)

    def residual(self, blur: _Blur) -> float:
        """The root mean square of what a blur does not explain, in levels."""
        return float(np.sqrt((self._residual(blur)[0] ** 2).mean()))

    def _residual(self, blur: _Blur) -> tuple[Matrix, tuple[Matrix, Matrix]]:
        down, across = (_axis(part, len(self.seen), blur) for part in self.box)
        return self.seen[_inner(self.box)] - _blurred(self.drawn, down, across), (down, across)


def _halved(plane: Matrix) -> Matrix:
    side = len(plane) // 2
    halved: Matrix = plane[: 2 * side, : 2 * side].reshape(side, 2, side, 2).mean(axis=(1, 3))
    return halved


def _inner(box: Box) -> Box:
    rows, columns = (slice(part.start + RULES.rim_px, part.stop - RULES.rim_px) for part in box)
    return rows, columns


def _axis(part: slice, side: int, blur: _Blur) -> Matrix:
    """A blur along one axis: from all pixels of the crop to those of the hole without its rim."""
    first, last = (0, side) if blur.edge == "through" else (part.start, part.stop)
    weights = _box(blur.sigma) if blur.boxes else _gaussian(blur.sigma)
    once = _matrix(weights, last - first, mirrored=blur.edge == "mirrored")
    whole = np.zeros((part.stop - part.start - 2 * RULES.rim_px, side))
    kept = once[part.start + RULES.rim_px - first : part.stop - RULES.rim_px - first]
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
    """Weighted means around each pixel of a line, (length, length)."""
    reach = len(weights) // 2
    positions = np.arange(length)[:, None] + np.arange(-reach, reach + 1)
    if mirrored:
        positions = length - 1 - np.abs(length - 1 - np.abs(positions))
    positions = np.arange(length)[:, None] * length + positions.clip(0, length - 1)
    counted = np.bincount(positions.ravel(), np.tile(weights / weights.sum(), length), length**2)
    return counted.reshape(length, length).astype(np.float64)


def _blurred(picture: Matrix, down: Matrix, across: Matrix) -> Matrix:
    """(S, S) or (S, S, 3) as the blur shows it in the hole without its rim."""
    if picture.ndim == 2:
        return down @ picture @ across.T
    return np.stack([down @ plane @ across.T for plane in np.moveaxis(picture, 2, 0)], axis=2)


@dataclass(frozen=True)
class _Spectrum:
    """What a blur does not explain, by the frequencies of the hole, and how much of each comes through.

    Attributes:
        down, across: the blur from the hole's own pixels to those that are compared, in that basis.
        passed: (h, w), the share of each frequency that comes through, squared.
        residual: (h, w) or (h, w, 3).
    """

    down: Matrix
    across: Matrix
    passed: Matrix
    residual: Matrix

    @classmethod
    def of(cls, residual: Matrix, down: Matrix, across: Matrix) -> "_Spectrum":
        """The spectrum of a residual under the blur of the hole's own pixels."""
        (s_down, u_down), (s_across, u_across) = (np.linalg.eigh(each @ each.T) for each in (down, across))
        passed = np.maximum(s_down, 0)[:, None] * np.maximum(s_across, 0)
        return cls(u_down.T @ down, u_across.T @ across, passed, _blurred(residual, u_down.T, u_across.T))

    @property
    def noise(self) -> float:
        """Variance of what cannot come through: rounding, JPEG, and errors in the estimate of the blur."""
        power = self.residual**2 if self.residual.ndim == 2 else (self.residual**2).mean(axis=2)
        unexplained = power - RULES.most_network_error * RULES.network_error**2 * self.passed
        bands = np.digitize(self.passed, [share**2 for share in RULES.bands])
        noise = [
            float(unexplained[bands == b].mean()) for b in range(len(RULES.bands)) if (bands == b).any()
        ]
        return max(noise, default=0.0)

    def cost(self, least_noise: float) -> float:
        """The negative log-likelihood of the residual, if the network is off by `network_error` at each
        frequency.
        """
        variance = self.passed * RULES.network_error**2 + max(self.noise, least_noise)
        return float((np.log(variance) + self.residual**2 / variance).sum())

    def correction(self, least_noise: float) -> Matrix:
        """What to add to the hole so that the blur of it explains the residual without the noise."""
        share = 1 / (self.passed + max(self.noise, least_noise) / RULES.network_error**2)
        if self.residual.ndim == 3:
            share = share[:, :, None]
        return _blurred(share * self.residual, self.down.T, self.across.T)

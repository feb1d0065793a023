"""One reconstruction of a face through a shot: what the model draws in each frame, fused over time.

The crops of a followed face lie on one another, so that a pixel of the crop is the same place of the face
in every frame. What the model draws there is averaged over the frames, each weighted by the precision that
its interval states. Older ones count ever less (a Kalman filter for each pixel). A mean is soft. So only
what is coarse comes from it, and the detail from one frame, the one nearest to the mean. Where the visible
pixels say that the face moves, and where the model has changed its answer for two frames, both begin again.
What is from before follows the light.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage
from PIL import ImageFilter

from facemend.alignment import Points, sample
from facemend.images import Alpha, Image

Plane = npt.NDArray[np.float32]


@dataclass(frozen=True)
class FusionRules:
    """Everything that was tuned. Pixels are of the 256 px crop, levels of 255, times in frames."""

    drift_levels: float = 1.0
    """By how much a still face changes from frame to frame (the Kalman filter's process noise). Of answers
    that may be off by 20 levels about 20 earlier frames count, of surer ones fewer."""
    seen_gain: float = 0.05
    """Share of a new frame in what is remembered of the visible face."""
    least_interval_levels: float = 4.0
    coarse_px: int = 4
    """The mean keeps what two means over squares of so many pixels to each side leave."""
    motion_shrink: int = 4
    """Motion is measured in crops that are smaller by this factor."""
    motion_blur_px: float = 1.5
    """In pixels of the smaller crops."""
    least_noise_levels: float = 1.2
    first_noise_levels: float = 2.0
    most_noise_rise: float = 1.5
    """From one frame to the next. A larger change in half of the face is motion of all of it."""
    still: float = 3.0
    """A change of so many standard deviations of the noise is still noise."""
    moved: float = 5.0
    """A change of so many means that all before it counts for nothing."""
    still_levels: float = 5.0
    """Change, averaged over squares of eight by eight pixels, for which the model does not run again."""
    still_share: float = 0.99
    """Share of the squares in which it has to be so small."""
    motion_reach_px: int = 9
    """How far motion reaches into what hides the face."""
    surprise_blur_px: int = 12
    least_surprise_levels: float = 6.0
    surprise: float = 3.0
    """So many times its usual deviation tells that the model's answer has changed."""
    crop_moved: float = 0.8
    """Share of all before that counts for nothing when the crop was moved on the face: it has turned."""
    patience: int = 2
    """Frames for which that must last."""
    release: float = 0.25
    """Share by which the occlusion shrinks in a frame where nothing moves. It grows at once."""
    most_gain: float = 1.15
    """Change of light between two frames that an average follows."""
    visible: float = 0.02
    """An alpha below it is visible."""
    least_visible_px: int = 200
    accepted_frames: int = 3
    """Frames, this one and the next, whose median decides whether a face is covered."""
    given_up: float = 0.5
    """Share of that probability below which a covered face counts as uncovered again."""


RULES = FusionRules()
_FACE = ((0.2, 0.95), (0.22, 0.78))
"""Rows and columns of the crop that show the face, as shares of its side."""
_STILL_SHRINK = 8
_DARK = 8.0
"""Added to levels before they are divided: in the dark a ratio says nothing."""


@dataclass(frozen=True)
class Drawn:
    """What the model draws for one face in one frame, in its crop of H rows and S columns.

    Attributes:
        crop: uint8 (H, S, 3) RGB, what the frame shows.
        raw: uint8 (H, S, 3) RGB.
        found: float32 (H, S), 0-1, the occlusion to remove.
        interval: float32 (H, S), levels, or None if the model does not say.
        fresh: the model was run on this frame. Else its answer is that of an earlier one.
    """

    crop: Image
    raw: Image
    found: Alpha
    interval: Alpha | None
    fresh: bool = True


class Fusion:
    """The state of one face. Frames are passed in their order."""

    _seen: Plane
    _detail: Plane
    _weight: Plane
    _found: Plane
    _surprises: npt.NDArray[np.int8]
    _usual: float
    _noise: float

    def __init__(self) -> None:
        self._mean: Plane | None = None
        self._moved = False

    def __call__(self, drawn: Drawn, following: Sequence[Drawn] = ()) -> Drawn:
        """What to show in a frame.

        Args:
            following: what is known of the next frames already. At the beginning of a shot the average
                begins with them, as far as nothing moves.

        Returns:
            The same with `raw`, `found` and `interval` as fused.
        """
        precision = _precision(drawn)
        seen = drawn.crop.astype(np.float32)
        if self._mean is None or self._mean.shape != seen.shape:
            self._begin(drawn, following)
        assert self._mean is not None
        light = _light(seen, self._seen, drawn.found)
        self._mean, self._seen, self._detail = (
            planes * light for planes in (self._mean, self._seen, self._detail)
        )
        motion = np.maximum(self._motion(seen), np.float32(RULES.crop_moved if self._moved else 0))
        reset = motion
        if drawn.fresh:
            self._moved = False
            raw = drawn.raw.astype(np.float32)
            reset = np.maximum(motion, self._surprised(raw, drawn.found))
            drift = np.float32((RULES.drift_levels / RULES.least_interval_levels) ** 2)
            self._weight = self._weight / (1 + drift * self._weight) * (1 - reset) ** 2 + precision
            gain = (precision / self._weight)[:, :, None]
            self._mean += gain * (raw - self._mean)
            if reset.any():
                self._detail += reset[:, :, None] * (raw - _coarse(raw) - self._detail)
        share = np.maximum(reset, np.float32(RULES.seen_gain))[:, :, None]
        self._seen += share * (seen - self._seen)
        release = np.maximum(reset, np.float32(RULES.release))
        shrunk = self._found + release * (drawn.found - self._found)
        self._found = np.maximum(drawn.found, shrunk)
        shown = np.rint(_coarse(self._mean) + self._detail).clip(0, 255).astype(np.uint8)
        return replace(drawn, raw=shown, found=self._found)

    def move(self, moved: Points) -> None:
        """Follows a crop that was moved on the face: `TrackedFace.moved`."""
        if self._mean is None:
            return
        rows, columns = self._found.shape
        self._moved = True
        inside = sample(np.ones((rows, columns), dtype=np.float32), moved, columns, rows)
        self._found, self._weight = (
            sample(plane, moved, columns, rows).clip(0, None) for plane in (self._found, self._weight)
        )
        self._mean, self._seen, self._detail = (
            _moved(planes, moved) for planes in (self._mean, self._seen, self._detail)
        )
        self._weight *= inside > 0.99

    def _begin(self, drawn: Drawn, following: Sequence[Drawn]) -> None:
        """Begins with this frame, and with the next ones as far as nothing moves in them."""
        self._seen = drawn.crop.astype(np.float32)
        self._found = drawn.found.copy()
        self._weight = np.full(drawn.found.shape, 1e-6, dtype=np.float32)
        self._mean = drawn.raw.astype(np.float32)
        self._surprises = np.zeros(drawn.found.shape, dtype=np.int8)
        self._noise = RULES.first_noise_levels
        self._usual = RULES.least_surprise_levels / RULES.surprise
        if following and following[0].crop.shape == drawn.crop.shape:
            seen = following[0].crop.astype(np.float32)
            change = _small(np.abs(seen * _light(self._seen, seen, drawn.found) - self._seen).mean(axis=2))
            self._noise = max(float(np.median(change)), RULES.least_noise_levels)
        still = np.ones(drawn.found.shape, dtype=np.float32)
        answers = [self._mean.copy()]
        for later in following:
            if later.crop.shape != drawn.crop.shape:
                break
            seen = later.crop.astype(np.float32)
            light = _light(self._seen, seen, later.found)
            still = np.minimum(still, 1 - self._motion(seen * light))
            if later.fresh:
                weight = _precision(later) * still
                self._weight += weight
                answers.append(later.raw * light)
                self._mean += (weight / self._weight)[:, :, None] * (answers[-1] - self._mean)
        inside = (self._found > RULES.visible) & (still > 0.5)
        away = [float(np.abs(answer - self._mean)[inside].sum()) for answer in answers]
        best = answers[int(np.argmin(away))]
        self._detail = best - _coarse(best)

    def _motion(self, seen: Plane) -> Plane:
        """float32 (H, S), 0-1: where the face has moved since what the average was made of."""
        change = _small(np.abs(seen - self._seen).mean(axis=2))
        # Where all of it moves, the median tells of that, and the noise is as before.
        median = max(float(np.median(change)), RULES.least_noise_levels)
        noise = min(median, RULES.most_noise_rise * self._noise)
        self._noise += 0.1 * (noise - self._noise)
        motion = (change / noise - RULES.still) / (RULES.moved - RULES.still)
        picture = PillowImage.fromarray((motion.clip(0, 1) * 255).astype(np.uint8))
        reach = 2 * round(RULES.motion_reach_px / RULES.motion_shrink / 2) + 1
        wide = picture.filter(ImageFilter.MaxFilter(reach))
        size = seen.shape[1], seen.shape[0]
        large = wide.resize(size, PillowImage.Resampling.BILINEAR)
        return np.asarray(large, dtype=np.float32) / np.float32(255)

    def _surprised(self, raw: Plane, found: Alpha) -> Plane:
        """float32 (H, S), 0 or 1: where the model has drawn something else for some frames."""
        assert self._mean is not None
        away = _blurred((raw - self._mean).mean(axis=2), RULES.surprise_blur_px)
        inside = found > 0.5
        most = max(RULES.least_surprise_levels, RULES.surprise * self._usual)
        if inside.any():
            usual = float(np.sqrt((away[inside] ** 2).mean()))
            self._usual += 0.1 * (min(usual, 2 * most) - self._usual)
        self._surprises = np.where(np.abs(away) > most, self._surprises + 1, 0).astype(np.int8)
        surprised = self._surprises >= RULES.patience
        self._surprises[surprised] = 0
        return surprised.astype(np.float32)


def _precision(drawn: Drawn) -> Plane:
    """What a frame counts for, pixel by pixel: the inverse of its variance, 1 for the least interval."""
    if drawn.interval is None:
        return np.ones(drawn.found.shape, dtype=np.float32)
    least = np.float32(RULES.least_interval_levels)
    return ((least / np.maximum(drawn.interval, least)) ** 2).astype(np.float32)


def _light(seen: Plane, before: Plane, found: Alpha) -> Plane:
    """(3,): by how much the visible pixels of a face are brighter than before, in each channel."""
    rows, columns = (slice(round(a * seen.shape[1]), round(b * seen.shape[1]), 3) for a, b in _FACE)
    visible = found[rows, columns] < RULES.visible
    if visible.sum() < RULES.least_visible_px:
        return np.ones(3, dtype=np.float32)
    ratio = (seen[rows, columns][visible] + _DARK) / (before[rows, columns][visible] + _DARK)
    gain: Plane = np.median(ratio, axis=0).clip(1 / RULES.most_gain, RULES.most_gain).astype(np.float32)
    return gain


def _small(plane: Plane) -> Plane:
    """A plane (H, S) made smaller and soft, so that single pixels of noise count for little."""
    small = PillowImage.fromarray(plane.astype(np.float32)).reduce(RULES.motion_shrink)
    return _blurred(np.asarray(small, dtype=np.float32), round(2 * RULES.motion_blur_px))


def _blurred(plane: Plane, reach_px: int) -> Plane:
    """The mean over a square of 2 * reach + 1 pixels, (H, S) or (H, S, 3)."""
    width = 2 * reach_px + 1
    padded = np.pad(plane, [(reach_px, reach_px)] * 2 + [(0, 0)] * (plane.ndim - 2), mode="edge")
    for axis in range(2):
        rows = padded.swapaxes(0, axis)
        padded = _window_sum(rows, width).swapaxes(0, axis)
    blurred: Plane = padded / np.float32(width * width)
    return blurred


def _window_sum(rows: Plane, width: int) -> Plane:
    """The sums over so many rows. Sums of 1, 2, 4, 8, … rows make them: few and quick additions."""
    length = len(rows) - width + 1
    total, start, size = None, 0, 1
    while width:
        if width & 1:
            part = rows[start : start + length]
            total = part.copy() if total is None else total + part
            start += size
        width >>= 1
        if width:
            rows = rows[: len(rows) - size] + rows[size:]
            size *= 2
    assert total is not None
    return total


def _coarse(planes: Plane) -> Plane:
    """What is coarse in planes (H, S, 3)."""
    return _blurred(planes, RULES.coarse_px)


def _moved(planes: Plane, moved: Points) -> Plane:
    """Planes (H, S, 3) seen through a transform."""
    rows, columns = planes.shape[:2]
    return np.stack(
        [sample(np.ascontiguousarray(planes[:, :, b]), moved, columns, rows) for b in range(3)], axis=2
    )


class Acceptance:
    """Whether a followed face counts as covered, with hysteresis: from frame to frame it hardly changes."""

    def __init__(self, accepted: float) -> None:
        """Starts uncovered.

        Args:
            accepted: probability from which a face counts as covered.
        """
        self._accepted = accepted
        self._on = False

    def __call__(self, probabilities: Sequence[float]) -> bool:
        """Whether the face counts as covered in a frame.

        Args:
            probabilities: 0-1, of this frame and of the next ones, as far as they are known.
        """
        now = probabilities[: RULES.accepted_frames]
        least = RULES.given_up * self._accepted
        strong = float(np.median(probabilities)) >= self._accepted
        if self._on:
            self._on = strong or max(now) >= least
        else:
            self._on = float(np.median(now)) >= self._accepted or (strong and max(now) >= least)
        return self._on


def steady(found: Sequence[Alpha], place: int) -> Alpha:
    """The occlusion of a frame without what only this one shows, or only this one lacks: a median of three.

    Args:
        found: float32 (H, S) of neighbouring frames, all of one size.
        place: of the frame among them.
    """
    near = [found[at] for at in (place - 1, place, place + 1) if 0 <= at < len(found)]
    if len(near) < 3:
        return found[place]
    a, b, c = near
    median: Alpha = np.maximum(np.minimum(a, b), np.minimum(np.maximum(a, b), c))
    return median


def is_still(crop: Image, before: Image) -> bool:
    """Whether nothing of a face has moved between two crops (H, S, 3): they differ by noise and light."""
    rows, columns = (slice(round(a * crop.shape[1]), round(b * crop.shape[1])) for a, b in _FACE)
    a, b = (
        np.asarray(PillowImage.fromarray(each[rows, columns]).reduce(_STILL_SHRINK), dtype=np.float32)
        for each in (crop, before)
    )
    light = np.median((a + _DARK) / (b + _DARK), axis=(0, 1))
    change = np.abs(a + _DARK - (b + _DARK) * light).mean(axis=2)
    most = float(np.quantile(change, RULES.still_share))
    return most < max(RULES.still_levels, 6 * float(np.median(change)))

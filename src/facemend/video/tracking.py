"""Faces followed through a clip: found once, then registered from frame to frame, until a cut.

A landmark detector jitters by a pixel or two, and so would the crop. Here the detector says where a face
is, and how it lies in the crop is measured on the pixels: a template of the face is aligned with each frame
by a similarity transform and a change of light. The template is what was aligned before.

Source: Baker and Matthews, "Lucas-Kanade 20 Years On: A Unifying Framework", IJCV 56(3), 2004 (the inverse
compositional algorithm), with weights that outliers lose (Tukey's biweight).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage

from facemend.alignment import CROP_SIZE_PX, Points, canonical_landmarks, similarity, trust_eyes
from facemend.detection import Face
from facemend.images import Image

Plane = npt.NDArray[np.float32]
Detect = Callable[[Image], Sequence[Face]]
"""image → the faces that it shows, doubtful ones with them."""


@dataclass(frozen=True)
class TrackingRules:
    """Everything that was tuned. Lengths are in pixels of the 256 px crop, levels of 255."""

    detect_every: int = 12
    """Frames from one search of the whole picture to the next."""
    half_from_px: float = 120.0
    """Every second search sees the picture at half size if all known faces are so wide at least."""
    check_every: int = 3
    """Frames from one search near a known face to the next: a head that turns moves on its pixels."""
    check_px: int = 200
    """Longest side of the picture that is searched for that, which is two faces wide."""
    levels_px: tuple[int, ...] = (32, 64, 128)
    """Sides of the crop at which a template is aligned, one after the other."""
    iterations: int = 8
    converged_px: tuple[float, ...] = (0.3, 0.1, 0.02)
    """A step that moves no corner by more ends the alignment at its level."""
    spread_sample: int = 1500
    """About so many residuals tell the spread of all."""
    least_noise_levels: float = 2.0
    outlier: float = 4.7
    """Residuals beyond so many standard deviations count for nothing: Tukey's biweight."""
    alike: float = 0.75
    """Correlation of template and frame from which a face counts as followed."""
    template_gain: float = 0.1
    """Share of a new frame in the template."""
    most_lost: int = 15
    """A face that was not seen for so many frames is given up."""
    same_face: float = 0.3
    """Overlap of two boxes (intersection over union) that are one face."""
    part_of_face: float = 0.6
    """Share of a new face that lies in a surer one from which it is a part of that."""
    anchor_gain: float = 0.35
    anchor_px: float = 4.0
    """How far the crop may lie from where the detector has it on average, before it is moved there."""
    turned_px: float = 8.0
    """A face that the detector sees farther from its crop has turned: the crop is moved at once."""
    cut_step: int = 3
    """Every so many pixels are looked at, in x and in y, to find cuts."""
    cut_share: float = 0.6
    least_cut_levels: float = 8.0
    cut_ratio: float = 4.0
    """A cut changes that share of a small copy of the picture by so many levels, and by so much more than
    usual."""


RULES = TrackingRules()
_THUMB_CELLS = (48, 27)
_FACE = ((0.5, 0.56), (0.38, 0.46))
"""The ellipse of a face in its crop: middle and half axes, x and y as shares of the side."""


@dataclass(frozen=True)
class TrackedFace:
    """A face in one frame.

    Attributes:
        track: the same number for the same face through a shot. No other shot has it.
        face: its landmarks are the canonical ones, brought to where the face lies.
        lost: it is not seen in this frame, and its location is the last one.
        moved: float64 (2, 3), maps pixels (x, y, 1) of this frame's crop to those of the last one, if the
            crop was moved on the face. None otherwise.
    """

    track: int
    face: Face
    lost: bool = False
    moved: Points | None = None


@dataclass(frozen=True)
class FrameFaces:
    """The faces of one frame.

    Attributes:
        shot: number of the shot, from 0. A cut begins the next one.
        faces: in the order in which their tracks began.
    """

    shot: int
    faces: tuple[TrackedFace, ...]


class Tracker:
    """Follows faces through the frames of one clip, which are passed in their order."""

    def __init__(self, detect: Detect, centre: Callable[[Image, Face], Face] | None = None) -> None:
        """Starts with no face.

        Args:
            detect: finds the faces of a frame.
            centre: gives the better location of a face that was found for the first time, if it has one.
        """
        self._detect, self._centre = detect, centre
        self._tracks: list[_Track] = []
        self._cuts = _Cuts()
        self._shot = self._count = self._frame = 0
        self._next_search = self._searches = 0

    def __call__(self, frame: Image) -> FrameFaces:
        """Where the known faces are in the next frame, uint8 (H, W, 3) RGB, and which are new."""
        if self._cuts(frame):
            self._tracks, self._next_search, self._searches = [], self._frame, 0
            self._shot += self._frame > 0
        gray = PillowImage.fromarray(frame).convert("L")
        for track in self._tracks:
            track.follow(gray)
        if self._frame >= self._next_search or any(track.lost == 1 for track in self._tracks):
            self._search(frame, gray)
            self._next_search = self._frame + RULES.detect_every
        else:
            for track in self._tracks:
                if (self._frame - track.begun_at) % RULES.check_every == 0:
                    self._check(frame, gray, track)
        self._tracks = [track for track in self._tracks if track.lost <= RULES.most_lost]
        self._frame += 1
        return FrameFaces(self._shot, tuple(track.tracked() for track in self._tracks))

    def _search(self, frame: Image, gray: PillowImage.Image) -> None:
        """Searches the whole frame: confirms tracks, finds lost ones again, begins new ones."""
        free = list(self._tracks)
        widths_px = [x2 - x1 for x1, _, x2, _ in (track.face().box_px for track in self._tracks)]
        half = self._searches % 2 == 1 and min(widths_px, default=0) >= RULES.half_from_px
        self._searches += 1
        for face in sorted(self._detected(frame, 2 if half else 1), key=lambda face: -face.confidence):
            same = max(free, key=lambda track: _overlap(track.face(), face), default=None)
            if same is not None and _overlap(same.face(), face) > RULES.same_face:
                free.remove(same)
                same.confirm(face, gray)
            elif not any(_is_part(face, track) for track in self._tracks):
                begun = self._centre(frame, face) if self._centre else face
                self._tracks.append(_Track(self._count, begun, gray, self._frame))
                self._count += 1

    def _check(self, frame: Image, gray: PillowImage.Image, track: "_Track") -> None:
        """Searches near a known face alone, which costs little."""
        x1, y1, x2, y2 = track.face().box_px
        middle, side = np.array([x1 + x2, y1 + y2]) / 2, max(x2 - x1, y2 - y1)
        low = np.floor(middle - side).clip(0).astype(int)
        high = np.ceil(middle + side).astype(int)
        near = frame[low[1] : high[1], low[0] : high[0]]
        if not near.size:
            return
        found = self._detected(near, max(1, math.ceil(max(near.shape) / RULES.check_px)), low)
        best = max(found, key=lambda face: _overlap(track.face(), face), default=None)
        if best is not None and _overlap(track.face(), best) > RULES.same_face:
            track.confirm(best, gray)

    def _detected(self, part: Image, shrink: int, low: Points | None = None) -> Sequence[Face]:
        """The faces of a part of the frame that begins at `low`, found in a copy that much smaller."""
        if shrink > 1:
            part = np.asarray(PillowImage.fromarray(np.ascontiguousarray(part)).reduce(shrink))
        corner = np.zeros(2) if low is None else low
        return [_enlarged(face, shrink, corner) for face in self._detect(part)]


def _is_part(face: Face, track: "_Track") -> bool:
    """Whether a face that was found is a known one, or a part of one that is surer."""
    known = track.face()
    if _overlap(known, face) > RULES.same_face:
        return True
    low, high = np.reshape(face.box_px, (2, 2))
    inside = np.minimum(high, known.box_px[2:]) - np.maximum(low, known.box_px[:2])
    share = float(inside.clip(0).prod() / (high - low).prod())
    return face.confidence < known.confidence and share > RULES.part_of_face


def _enlarged(face: Face, shrink: int, low: Points) -> Face:
    """A face that was found in a smaller copy of a part of the frame that begins at `low`."""
    corners = np.reshape(face.box_px, (2, 2))
    (x1, y1), (x2, y2) = (((part + 0.5) * shrink - 0.5 + low).tolist() for part in corners)
    landmarks_px = (face.landmarks_px + 0.5) * shrink - 0.5 + low
    return Face((x1, y1, x2, y2), landmarks_px, face.confidence)


@dataclass
class _Track:
    """One face: its template, and where it lies in the frame that was seen last."""

    number: int
    begun: Face
    gray: PillowImage.Image
    begun_at: int
    lost: int = 0
    confidence: float = field(init=False)
    to_frame: Points = field(init=False)
    template: Plane = field(init=False)
    speed: Points = field(init=False)
    offset: Points = field(init=False)
    seen: int = 1
    moved: Points | None = None
    middle: Points = field(init=False)
    half: Points = field(init=False)

    def __post_init__(self) -> None:
        self.confidence = self.begun.confidence
        self.to_frame = similarity(canonical_landmarks(), trust_eyes(self.begun.landmarks_px))
        self.template = _sampled(self.gray, self.to_frame, RULES.levels_px[-1])
        self.speed = np.zeros(2)
        self.offset = np.zeros((5, 2))
        low, high = np.reshape(self.begun.box_px, (2, 2))
        self.middle = _apply(_inverse(self.to_frame), (low + high) / 2)
        self.half = (high - low) / 2 / float(np.hypot(*self.to_frame[:, 0]))

    def face(self) -> Face:
        """The face where it is now."""
        middle = _apply(self.to_frame, self.middle)
        half = np.hypot(*self.to_frame[:, 0]) * self.half
        (x1, y1), (x2, y2) = (middle - half).tolist(), (middle + half).tolist()
        landmarks_px = _apply(self.to_frame, canonical_landmarks())
        return Face((x1, y1, x2, y2), landmarks_px, self.confidence, self.begun.marked)

    def tracked(self) -> TrackedFace:
        """What the tracker says about it. A move is said once."""
        moved, self.moved = self.moved, None
        return TrackedFace(self.number, self.face(), self.lost > 0, moved)

    def follow(self, gray: PillowImage.Image) -> None:
        """Aligns the template with the next frame."""
        guess = self.to_frame.copy()
        guess[:, 2] += self.speed
        found, alike, seen = align(self.template, gray, guess)
        if alike < RULES.alike:  # it may have stopped, or turned back
            again = align(self.template, gray, self.to_frame)
            if again[1] > alike:
                found, alike, seen = again
        if alike < RULES.alike:
            self.lost += 1
            self.speed = np.zeros(2)
            return
        middle = np.full(2, (CROP_SIZE_PX - 1) / 2)
        self.speed = _apply(found, middle) - _apply(self.to_frame, middle)
        self.to_frame, self.lost = found, 0
        self.template = self.template + np.float32(RULES.template_gain) * (seen - self.template)

    def confirm(self, face: Face, gray: PillowImage.Image) -> None:
        """Takes note of where the detector sees it. A lost face goes on from there."""
        self.confidence += (face.confidence - self.confidence) / 3
        landmarks = trust_eyes(face.landmarks_px)
        if self.lost:
            guess = similarity(canonical_landmarks() + self.offset, landmarks)
            found, alike, seen = align(self.template, gray, guess)
            self.to_frame, self.lost = (found, 0) if alike >= RULES.alike else (guess, 0)
            if alike < RULES.alike:  # it has turned: what it looks like now is the template
                seen = _sampled(gray, guess, RULES.levels_px[-1])
            self.template = seen
            return
        self.seen += 1
        offset = _apply(_inverse(self.to_frame), landmarks) - canonical_landmarks()
        away_px = float(np.hypot(*offset[:2].T).mean())
        gain = 1.0 if away_px > RULES.turned_px else max(RULES.anchor_gain, 1 / self.seen)
        self.offset += gain * (offset - self.offset)
        if np.hypot(*self.offset[:2].T).mean() > RULES.anchor_px:
            self._move(gray)

    def _move(self, gray: PillowImage.Image) -> None:
        """Moves the crop on the face to where the detector has had it on average."""
        there = similarity(canonical_landmarks(), canonical_landmarks() + self.offset)
        self.moved = there
        self.to_frame = _compose(self.to_frame, there)
        self.middle = _apply(_inverse(there), self.middle)
        self.half = self.half / float(np.hypot(*there[:, 0]))
        self.template = _sampled(gray, self.to_frame, RULES.levels_px[-1])
        self.offset[:] = 0


def align(template: Plane, gray: PillowImage.Image, guess: Points) -> tuple[Points, float, Plane]:
    """Aligns the template of a face with a frame.

    Args:
        template: float32 (S, S), the gray levels of a crop of side `levels_px[-1]`.
        gray: the frame, mode L.
        guess: float64 (2, 3), maps pixels of the 256 px crop to the frame.

    Returns:
        The transform (2, 3) that was found, the correlation of both there (-1 to 1), and what the frame
        shows there, (S, S), in the light of the template.
    """
    to_frame = guess
    for side, converged_px in zip(RULES.levels_px, RULES.converged_px, strict=True):
        model, part = _Template.of(template, side), _part_around(gray, to_frame, side)
        for _ in range(RULES.iterations):
            if not part.holds(to_frame):
                part = _part_around(gray, to_frame, side)
            to_frame, step_px = model.step(part, gray, to_frame)
            if step_px < converged_px:
                break
    seen, alike = model.compared(gray, to_frame)
    return to_frame, alike, seen


@dataclass(frozen=True)
class _Template:
    """A template at one level, with what the algorithm needs of it.

    Attributes:
        values: (S, S).
        weight: (S, S), where the face is.
        places: (N,), its pixels with a weight.
        descent: (N, 6), change of their values with x and y of a point, both from the middle, as scale,
            turn and shift take them, and with the light's gain and offset.
    """

    values: Plane
    weight: Plane
    places: npt.NDArray[np.intp]
    descent: Plane

    @classmethod
    def of(cls, template: Plane, side: int) -> "_Template":
        values = _shrunk(template, side)
        weight = _face_weight(side)
        places = np.flatnonzero(weight)
        dy, dx = (change.ravel()[places] for change in np.gradient(values))
        y, x = (np.array(np.divmod(places, side)) - (side - 1) / 2).astype(np.float32)
        turns = [dx * x + dy * y, dy * x - dx * y, dx, dy]
        descent = np.stack([*turns, values.ravel()[places], np.ones_like(dx)], axis=-1)
        return cls(values, weight, places, descent)

    def step(self, part: "_Part", gray: PillowImage.Image, to_frame: Points) -> tuple[Points, float]:
        """One step of the algorithm: a better transform, and how far it moves a corner, in crop pixels.

        Args:
            part: of the frame, which is `gray`; it holds what the transform shows.
        """
        side = len(self.values)
        error = (part.sampled(to_frame, side) - self.values).ravel()[self.places]
        weight = self.weight.ravel()[self.places] * _biweight(error)
        inside = _inside(gray, to_frame, side)
        if inside is not None:
            weight = weight * inside.ravel()[self.places]
        weighted = self.descent * weight[:, None]
        hessian = (weighted.T @ self.descent).astype(np.float64)
        hessian[np.diag_indices(6)] *= 1 + 1e-6
        hessian[np.diag_indices(6)] += 1e-9
        scale, turn, x, y = np.linalg.solve(hessian, (weighted.T @ error).astype(np.float64))[:4]
        middle = (side - 1) / 2
        linear = np.array([(1 + scale, -turn), (turn, 1 + scale)])
        change = np.column_stack([linear, np.array([x, y]) + middle - linear @ (middle, middle)])
        factor = CROP_SIZE_PX / side  # from pixels of this level to those of the crop
        change[:, 2] = change[:, 2] * factor + (factor - 1) / 2 * (1 - linear.sum(axis=1))
        step_px = float(np.abs([scale * CROP_SIZE_PX, turn * CROP_SIZE_PX, x * factor, y * factor]).max())
        return _compose(to_frame, _inverse(change)), step_px

    def compared(self, gray: PillowImage.Image, to_frame: Points) -> tuple[Plane, float]:
        """What a frame shows, in the template's light, and the correlation of both."""
        side = len(self.values)
        seen = _sampled(gray, to_frame, side)
        weight = np.zeros_like(self.weight)
        fitting = _biweight((seen - self.values).ravel()[self.places])
        weight.ravel()[self.places] = self.weight.ravel()[self.places] * fitting
        inside = _inside(gray, to_frame, side)
        if inside is not None:
            weight *= inside
        total = max(float(weight.sum()), 1e-6)
        a, b = (plane - float((weight * plane).sum()) / total for plane in (seen, self.values))
        aa, bb, ab = (float((weight * p * q).sum()) / total for p, q in ((a, a), (b, b), (a, b)))
        shown = total / max(float(self.weight.sum()), 1e-6)
        # A part of the face that fits is not enough.
        alike = min(1.0, 2 * shown) * ab / max((aa * bb) ** 0.5, 1e-6)
        gain = (bb / aa) ** 0.5 if aa > 1 else 1.0
        corrected = a * np.float32(min(max(gain, 0.5), 2.0)) + (self.values - b)
        return corrected.astype(np.float32), alike


def _biweight(error: Plane) -> Plane:
    """Tukey's weights of residuals (N,): 1 in their middle, 0 for outliers."""
    some = error[:: max(1, len(error) // RULES.spread_sample)]
    centre = float(np.median(some))
    spread = max(1.4826 * float(np.median(np.abs(some - centre))), RULES.least_noise_levels)
    scaled = (error - np.float32(centre)) / np.float32(RULES.outlier * spread)
    near: Plane = (1 - scaled**2).clip(0, None)
    return near**2


@cache
def _face_weight(side: int) -> Plane:
    (x0, y0), (rx, ry) = _FACE
    y, x = (np.mgrid[:side, :side] + 0.5) / side
    distance = ((x - x0) / rx) ** 2 + ((y - y0) / ry) ** 2
    weight: Plane = np.clip(2 * (1.25 - distance), 0, 1).astype(np.float32)
    return weight


@dataclass(frozen=True)
class _Part:
    """A part of a frame, made smaller for one level of the alignment.

    Attributes:
        picture: mode F.
        low, high: its corners in the frame, x and y of pixel edges.
        shrink: by which factor it is smaller.
        size_px: of the frame.
    """

    picture: PillowImage.Image
    low: Points
    high: Points
    shrink: int
    size_px: tuple[int, int]

    def holds(self, to_frame: Points) -> bool:
        """Whether it shows all of the crop that the frame does."""
        low, high = _ends(to_frame)
        size = np.array(self.size_px)
        return bool((self.low <= low.clip(0, size)).all() and (high.clip(0, size) <= self.high).all())

    def sampled(self, to_frame: Points, side: int) -> Plane:
        """It through a transform of the 256 px crop, as float32 (side, side); 0 beyond it."""
        linear = to_frame[:, :2] * (CROP_SIZE_PX / side)
        corner = _corner(to_frame) - self.low
        coefficients = np.column_stack([linear, corner]).ravel() / self.shrink
        kind, bilinear = PillowImage.Transform.AFFINE, PillowImage.Resampling.BILINEAR
        seen = self.picture.transform((side, side), kind, coefficients.tolist(), bilinear)
        return np.asarray(seen, dtype=np.float32)


def _part_around(gray: PillowImage.Image, to_frame: Points, side: int) -> _Part:
    """The part of a frame that a crop shows, and a margin for steps of the alignment."""
    shrink = max(1, int(np.hypot(*to_frame[:, 0]) * CROP_SIZE_PX / side))
    low, high = _ends(to_frame)
    margin = 2 * shrink + 0.1 * (high - low)
    first = np.floor(low - margin).clip(0, np.array(gray.size) - 1).astype(int)
    last = np.ceil(high + margin).clip(first + 1, gray.size).astype(int)
    part = gray.crop((*first.tolist(), *last.tolist()))
    small = part.reduce(shrink) if shrink > 1 else part
    return _Part(small.convert("F"), first.astype(float), last.astype(float), shrink, gray.size)


def _sampled(gray: PillowImage.Image, to_frame: Points, side: int) -> Plane:
    """A frame seen through a transform of the 256 px crop, as float32 (side, side); 0 beyond the frame."""
    return _part_around(gray, to_frame, side).sampled(to_frame, side)


def _corner(to_frame: Points) -> Points:
    """Where the crop's corner lies in the frame. Pillow measures from the corners of pixels."""
    corner: Points = to_frame[:, :2] @ (-0.5, -0.5) + to_frame[:, 2] + 0.5
    return corner


def _ends(to_frame: Points) -> tuple[Points, Points]:
    """The corners of the upright rectangle around a crop in its frame, x and y each."""
    sides = (0, CROP_SIZE_PX)
    ends = np.array([(x, y) for x in sides for y in sides]) @ to_frame[:, :2].T + _corner(to_frame)
    return ends.min(axis=0), ends.max(axis=0)


def _inside(gray: PillowImage.Image, to_frame: Points, side: int) -> npt.NDArray[np.bool_] | None:
    """bool (side, side): which pixels of a crop lie in the frame. None if all do."""
    ends = np.array(
        [(x, y) for x in (0, CROP_SIZE_PX - 1) for y in (0, CROP_SIZE_PX - 1)], dtype=np.float64
    )
    corners = _apply(to_frame, ends)
    if (corners >= 1).all() and (corners < np.array(gray.size) - 2).all():
        return None
    centres = (np.mgrid[:side, :side][::-1].transpose(1, 2, 0) + 0.5) * (CROP_SIZE_PX / side) - 0.5
    places = _apply(to_frame, centres)
    inside = (places >= 1) & (places < np.array(gray.size) - 2)
    return np.logical_and(inside[:, :, 0], inside[:, :, 1])


def _shrunk(template: Plane, side: int) -> Plane:
    factor = len(template) // side
    if factor == 1:
        return template
    shrunk: Plane = template.reshape(side, factor, side, factor).mean(axis=(1, 3))
    return shrunk


def _apply(transform: Points, points: Points) -> Points:
    moved: Points = points @ transform[:, :2].T + transform[:, 2]
    return moved


def _compose(outer: Points, inner: Points) -> Points:
    """The transform that applies `inner`, then `outer`."""
    return np.column_stack([outer[:, :2] @ inner[:, :2], outer[:, :2] @ inner[:, 2] + outer[:, 2]])


def _inverse(transform: Points) -> Points:
    linear = np.linalg.inv(transform[:, :2])
    return np.column_stack([linear, -linear @ transform[:, 2]])


def _overlap(a: Face, b: Face) -> float:
    """Intersection over union of two boxes."""
    one, other = np.array(a.box_px), np.array(b.box_px)
    sides = (np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])).clip(0)
    common = float(sides.prod())
    areas = float((one[2:] - one[:2]).prod() + (other[2:] - other[:2]).prod())
    return common / (areas - common)


class _Cuts:
    """Says which frames begin a new shot: they differ far more from the last than frames usually do."""

    def __init__(self) -> None:
        self._last: Plane | None = None
        self._usual = 0.0

    def __call__(self, frame: Image) -> bool:
        """Whether the next frame, uint8 (H, W, 3), begins a shot. The first one does."""
        picture = PillowImage.fromarray(frame[:: RULES.cut_step, :: RULES.cut_step].copy())
        cell = [max(1, side // cells) for side, cells in zip(picture.size, _THUMB_CELLS, strict=True)]
        thumb = np.asarray(picture.reduce((cell[0], cell[1])), dtype=np.float32)
        if self._last is None:
            self._last = thumb
            return True
        change = float(np.quantile(np.abs(thumb - self._last).mean(axis=2), 1 - RULES.cut_share))
        self._last = thumb
        cut = change > RULES.least_cut_levels and change > RULES.cut_ratio * self._usual
        if not cut:
            self._usual += 0.2 * (change - self._usual)
        return cut

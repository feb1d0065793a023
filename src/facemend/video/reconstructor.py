"""Frames in, frames out: faces are followed, reconstructed in every frame, and fused over time."""

import math
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, TypeAlias

import numpy as np

from facemend.alignment import Crop, View, around, view_below
from facemend.detection import Face
from facemend.errors import UsageError
from facemend.files import seed_of
from facemend.images import Alpha, Image, Mask
from facemend.parallel import cores
from facemend.reconstruction.blending import RING_PX, add_grain, blend, missing_grain
from facemend.reconstruction.options import Options, options_of
from facemend.reconstruction.pipeline import Passes, weight_in_photo
from facemend.reconstruction.reconstructor import Reconstructor
from facemend.thresholds import THRESHOLDS
from facemend.video.fusion import Acceptance, Drawn, Fusion, is_still, steady
from facemend.video.tracking import FrameFaces, TrackedFace, Tracker

LOOKAHEAD = 12
"""Frames that are known before the first of them is decided: 0.4 s of a usual clip."""
ANALYSED_AHEAD = 3
"""Frames that are analysed in threads while those before them are shown."""
MOST_REPEATED, MOST_REPEATED_UNCOVERED = 2, 8
"""Frames for which an answer of the model holds at most where nothing moves. The second is that of a face
that does not count as covered, which needs no mean of answers."""


_GRAIN_EVERY, _GRAIN_GAIN, _FINEST_GRAIN = 4, 0.5, 4


@dataclass(frozen=True)
class Patch:
    """A part of a frame that was reconstructed.

    Attributes:
        box: rows and columns of the frame, h by w.
        above: uint8 (h, w, 3) RGB.
        weight: float32 (h, w), the share of `above` in each pixel, 0-1.
    """

    box: tuple[slice, slice]
    above: Image
    weight: Alpha


@dataclass(frozen=True)
class FaceInFrame:
    """What was done to a face in one frame.

    Attributes:
        track: the same number for the same face through a shot.
        face: where it is.
        lost: it is not seen in this frame, and its location is the last one.
        coverage: share of the frame's pixels that were reconstructed, 0-1.
    """

    track: int
    face: Face
    lost: bool
    coverage: float


@dataclass(frozen=True)
class FrameReconstruction:
    """A frame whose faces were reconstructed.

    Attributes:
        before: uint8 (H, W, 3) RGB.
        shot: number of the shot, from 0.
        faces: one entry a face, in the order in which they appeared.
        patches: what changes, one after the other. Empty where nothing is covered.
    """

    before: Image
    shot: int
    faces: tuple[FaceInFrame, ...]
    patches: tuple[Patch, ...]

    @property
    def array(self) -> Image:
        """uint8 (H, W, 3) RGB. Where the frame is not covered, its pixels are those of `before`."""
        pixels = self.before
        for patch in self.patches:
            pixels = pixels.copy() if pixels is self.before else pixels
            pixels[patch.box] = blend(pixels[patch.box], patch.above, patch.weight)
        return pixels


def reconstruct_frames(
    frames: Iterable[Image],
    options: Options | None = None,
    /,
    *,
    reconstructor: Reconstructor | None = None,
    **changes: Any,
) -> Generator[FrameReconstruction, None, None]:
    """Reconstructs what hides the faces in the frames of one clip. A face looks the same in all of them.

    It streams: a result comes `LOOKAHEAD + ANALYSED_AHEAD` frames after its frame, and memory does not
    grow.

    Args:
        frames: uint8 (H, W, 3) RGB each, all of one size, in their order.
        options: what to do (None: the defaults of `Options`).
        reconstructor: a model of your own. None takes the one that comes with facemend.
        changes: fields of `Options` with other values.

    Raises:
        UsageError: an option that is for one photo, or as `Reconstructor` does.
        ModelError: the model cannot be run.
    """
    options = options_of(options, changes)
    _refuse_photo_options(options)
    return _Stages(reconstructor or shipped_for_clips(), options).run(frames)


@cache
def shipped_for_clips() -> Reconstructor:
    """The model that comes with facemend, opened once, with `threads_for_clips`."""
    return Reconstructor(threads=threads_for_clips())


def threads_for_clips() -> int:
    """How many threads a model gets: all cores but one, which follows, shows, decodes and encodes.

    Threads of ONNX Runtime wait busily, so that more than there are cores cost most of the speed.
    """
    return max(1, cores() - 1)


def _refuse_photo_options(options: Options) -> None:
    for given, what in (
        (options.mask is not None, "a mask"),
        (bool(options.faces), "a face's location"),
        (options.aligned, "a ready crop"),
        (options.chooses, "a choice of faces by number or size"),
    ):
        if given:
            raise UsageError(f"{what} is for one photo, and faces move in a clip; leave it out")


@dataclass(frozen=True)
class _Pass:
    """What the model says of one face in one frame, before time is taken into account.

    Attributes:
        basis: uint8 (S, S, 3), the crop that the model was run on.
        mirrored: it was run on that in a mirror.
        repeated: how many frames ago that was.
        first: the face has moved before: there is one answer to this crop alone.
    """

    tracked: TrackedFace
    view: View
    drawn: Drawn
    probability: float
    basis: Image
    mirrored: bool
    repeated: int = 0
    first: bool = True


_Analysed: TypeAlias = tuple[Image, int, dict[int, _Pass]]
"""A frame, its shot, and the passes over its faces by their track."""


@dataclass
class _Track:
    """What a face carries from frame to frame."""

    fusion: Fusion
    acceptance: Acceptance
    grain: "_Grain"
    last_found: Alpha | None = None


class _Grain:
    """The noise of a reconstructed face. It lies on the face and moves with it, as skin does."""

    def __init__(self, track: int) -> None:
        self._track, self._levels, self._count = track, 0.0, 0
        self._noise = np.zeros((0, 0), dtype=np.float32)

    def __call__(self, before: Image, above: Image, weight: Alpha, near: View) -> Image:
        """`above` (h, w, 3) with the noise that the frame has beside the hole; see `match_grain`."""
        if self._count % _GRAIN_EVERY == 0:
            missing = missing_grain(before, above, weight > 0, near.scale)
            self._levels += (missing - self._levels) * (_GRAIN_GAIN if self._levels else 1.0)
        self._count += 1
        if near.scale <= 1 or not self._levels:
            return above
        finer = min(math.ceil(near.scale), _FINEST_GRAIN)
        shape = near.crop.image.shape[0] * finer, near.crop.image.shape[1] * finer
        if self._noise.shape != shape:
            rng = np.random.default_rng(seed_of("grain", self._track))
            self._noise = rng.standard_normal(shape, dtype=np.float32)
        linear, offset = near.crop.crop_to_photo[:, :2], near.crop.crop_to_photo[:, 2]
        corner = np.full(2, 0.5 / finer - 0.5)
        to_photo = np.column_stack([linear / finer, linear @ corner + offset])
        noise = replace(near, crop=Crop(near.crop.image, to_photo)).put(self._noise)
        spread = float(noise[weight > 0].std())
        return above if not spread else add_grain(above, noise * np.float32(self._levels / spread))


class _Stages:
    """Two stages: each frame alone, and `LOOKAHEAD` frames later what is shown of it."""

    def __init__(self, reconstructor: Reconstructor, options: Options) -> None:
        self._options = options
        self._passes = Passes(reconstructor.model, options, "the clip")
        detect = partial(reconstructor.detect, options=options)
        self._tracker = Tracker(detect, self._passes.locate)
        self._tracks: dict[int, _Track] = {}
        self._last: dict[int, _Pass] = {}

    def run(self, frames: Iterable[Image]) -> Generator[FrameReconstruction, None, None]:
        window: deque[_Analysed] = deque()
        with closing(self._all_analysed(frames)) as analysed:
            for one in analysed:
                window.append(one)
                if len(window) > LOOKAHEAD:
                    yield self._shown(window)
                    window.popleft()
        while window:
            yield self._shown(window)
            window.popleft()

    def _all_analysed(
        self, frames: Iterable[Image]
    ) -> Generator[tuple[Image, int, dict[int, _Pass]], None, None]:
        """Each frame with what `_analysed` says of it. Two threads work on the next ones.

        One follows the faces, the other passes them to the model. Each takes the frames in their order.
        """
        follows, analyses = (ThreadPoolExecutor(1, f"facemend-{name}") for name in ("faces", "passes"))
        waiting: deque[tuple[Image, Future[tuple[int, dict[int, _Pass]]]]] = deque()
        try:
            for frame in frames:
                found = follows.submit(self._tracker, frame)
                waiting.append((frame, analyses.submit(self._analysed, frame, found)))
                if len(waiting) > ANALYSED_AHEAD:
                    earlier, analysed = waiting.popleft()
                    yield (earlier, *analysed.result())
            while waiting:
                earlier, analysed = waiting.popleft()
                yield (earlier, *analysed.result())
        finally:
            # Nothing waits for the threads here: the garbage collector may end this in one of them.
            follows.shutdown(wait=False, cancel_futures=True)
            analyses.shutdown(wait=False, cancel_futures=True)

    def _analysed(self, frame: Image, followed: "Future[FrameFaces]") -> tuple[int, dict[int, _Pass]]:
        """The shot, and the model's passes over the faces of one frame, by their track."""
        found = followed.result()
        highest = max((each.face.confidence for each in found.faces), default=0.0)
        passes = {}
        for tracked in found.faces:
            view = self._passes.view(frame, tracked.face)
            if view is None:
                continue
            passes[tracked.track] = self._passed(frame, tracked, view, highest)
        self._last = passes
        return found.shot, passes

    def _passed(self, frame: Image, tracked: TrackedFace, view: View, highest: float) -> _Pass:
        """A face that moves is passed to the model in every frame, and one that does not now and then.

        That is every second time in a mirror: the mean of both answers is nearer to the truth.
        """
        earlier = self._last.get(tracked.track)
        if (
            earlier is None
            or tracked.lost
            or tracked.moved is not None
            or not is_still(view.crop.image, earlier.basis)
        ):
            return self._pass(frame, tracked, view, highest, False)
        covered = earlier.probability >= THRESHOLDS.accepted
        most = MOST_REPEATED if covered else MOST_REPEATED_UNCOVERED
        if earlier.repeated < most and not (covered and earlier.first):
            longer = view_below(frame, view, self._passes.rows_px - len(view.crop.image))
            drawn = replace(earlier.drawn, crop=longer.crop.image, fresh=False)
            return replace(
                earlier, tracked=tracked, view=longer, drawn=drawn, repeated=earlier.repeated + 1
            )
        return replace(self._pass(frame, tracked, view, highest, not earlier.mirrored), first=False)

    def _pass(
        self, frame: Image, tracked: TrackedFace, view: View, highest: float, mirrored: bool
    ) -> _Pass:
        seen, probability = self._passes.follow(frame, view, tracked.face, highest, mirrored=mirrored)
        output, missing = seen.output, self._passes.rows_px - len(seen.found)
        below = ((0, missing), (0, 0))
        longer = view_below(frame, seen.view, missing) if missing else seen.view
        interval = None if output.interval is None else np.pad(output.interval[0], below, mode="edge")
        raw = np.pad(output.raw[0], (*below, (0, 0)))
        drawn = Drawn(longer.crop.image, raw, np.pad(seen.found, below), interval)
        return _Pass(tracked, longer, drawn, probability, view.crop.image, mirrored)

    def _shown(self, window: "deque[_Analysed]") -> FrameReconstruction:
        """What is shown of the first frame of the window."""
        frame, shot, passes = window[0]
        self._tracks = {number: track for number, track in self._tracks.items() if number in passes}
        free = self._options.free_of(frame.shape[1], frame.shape[0], "the clip")
        faces, patches = [], []
        for number, one in passes.items():
            ahead = [later[number] for _, _, later in window if number in later]
            patch = self._patch(frame, number, one, ahead, free)
            share = 0.0 if patch is None else float((patch.weight > 0).sum()) / free.size
            faces.append(FaceInFrame(number, one.tracked.face, one.tracked.lost, share))
            patches += [] if patch is None else [patch]
        return FrameReconstruction(frame, shot, tuple(faces), tuple(patches))

    def _patch(self, frame: Image, number: int, one: _Pass, ahead: list[_Pass], free: Mask) -> Patch | None:
        """What changes on one face, and the state that it leaves to the next frame."""
        if number not in self._tracks:
            self._tracks[number] = _Track(Fusion(), Acceptance(THRESHOLDS.accepted), _Grain(number))
        track = self._tracks[number]
        if one.tracked.moved is not None:
            track.fusion.move(one.tracked.moved)
            track.last_found = None
        before = [] if track.last_found is None else [track.last_found]
        found = steady([*before, *(each.drawn.found for each in ahead[:2])], len(before))
        track.last_found = one.drawn.found
        covered = track.acceptance([each.probability for each in ahead])
        if not covered:
            track.fusion = Fusion()
            return None
        following = [each.drawn for each in ahead[1:]]
        fused = track.fusion(replace(one.drawn, found=found), following)
        patch = _in_frame(one.view, fused, self._options, free)
        if patch is None:
            return None
        near = replace(one.view, box=patch.box)
        return replace(patch, above=track.grain(frame[patch.box], patch.above, patch.weight, near))


def _in_frame(view: View, fused: Drawn, options: Options, free: Mask) -> Patch | None:
    """A fused face where it lies in its frame. None if nothing changes there."""
    weight = weight_in_photo(view, fused.found, options)[1]
    weight = np.where(free[view.box], weight, np.float32(0))
    if not weight.any():
        return None
    part = around(weight > 0, math.ceil(RING_PX * view.scale))
    near = view.cut(part)
    return Patch(near.box, near.put(fused.raw), weight[part])

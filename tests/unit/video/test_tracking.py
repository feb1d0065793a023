"""Faces are followed: found once, registered on the pixels, and their shots told apart."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from facemend.alignment import Points
from facemend.detection import Face
from facemend.images import Image
from facemend.video.tracking import RULES, Tracker
from tests.video_clips import render


def _face(landmarks_px: Points, confidence: float = 0.95) -> Face:
    low, high = landmarks_px.min(axis=0), landmarks_px.max(axis=0)
    margin = 0.6 * (high - low)
    (x1, y1), (x2, y2) = (low - margin).tolist(), (high + margin).tolist()
    return Face((x1, y1, x2, y2), landmarks_px, confidence)


class _Jittering:
    """A detector that knows where the face is, but for an error as a real one has."""

    def __init__(self, landmarks: Sequence[Points], error_px: float, rng: np.random.Generator) -> None:
        self.landmarks, self.error_px, self.rng = landmarks, error_px, rng
        self.frame = 0
        self.calls: list[int] = []

    def __call__(self, image: Image) -> list[Face]:
        self.calls.append(self.frame)
        landmarks_px = self.landmarks[self.frame]
        return [_face(landmarks_px + self.rng.normal(0, self.error_px, (5, 2)))]


def test_a_face_is_registered_far_more_exactly_than_it_is_detected() -> None:
    frames, landmarks = render(16, rng=np.random.default_rng(1), light=0.08)
    detect = _Jittering(landmarks, 0.5, np.random.default_rng(2))
    tracker, away, tracks = Tracker(detect), [], set()
    for number, frame in enumerate(frames):
        detect.frame = number
        (one,) = tracker(frame).faces
        assert one.moved is None
        assert not one.lost
        tracks.add(one.track)
        # Relative to the true face: a similarity of the true landmarks that must not change.
        true = landmarks[number]
        axis = true[1] - true[0]
        across = np.array([-axis[1], axis[0]])
        offset = one.face.landmarks_px - true[0]
        away.append(np.stack([offset @ axis, offset @ across], axis=1) / float(axis @ axis))
    eyes_px = float(np.hypot(*(landmarks[0][1] - landmarks[0][0])))
    drift_px = np.abs(np.array(away) - away[0]).max(axis=(1, 2)) * eyes_px
    assert tracks == {0}
    assert drift_px.max() < 0.25
    assert detect.calls == list(range(0, len(frames), RULES.check_every))


def test_a_cut_ends_the_tracks_and_begins_a_shot() -> None:
    frames, landmarks = render(4)
    other = [255 - frame[::-1] for frame in frames]
    detect = _Jittering([*landmarks, *landmarks], 0, np.random.default_rng(0))
    tracker, seen = Tracker(detect), []
    for number, frame in enumerate([*frames, *other]):
        detect.frame = number
        found = tracker(frame)
        seen.append((found.shot, *(one.track for one in found.faces)))
    assert seen == [(0, 0)] * 4 + [(1, 1)] * 4


def test_a_face_that_is_hidden_for_a_moment_keeps_its_track() -> None:
    frames, landmarks = render(9)
    hidden = [frame.copy() for frame in frames]
    for frame, landmarks_px in list(zip(hidden, landmarks, strict=True))[3:6]:
        x, y = landmarks_px.mean(axis=0).astype(int)
        part = frame[y - 50 : y + 50, x - 45 : x + 45]
        part[:] = part.mean() + np.linspace(-25, 25, 90)[None, :, None]
    shown = {number: [_face(landmarks[number])] for number in (0, 6, 7, 8)}
    at = 0

    def detect(image: Image) -> list[Face]:
        return shown.get(at, [])

    tracker, lost = Tracker(detect), []
    for at, frame in enumerate(hidden):  # noqa: B007 (the detector reads it)
        (one,) = tracker(frame).faces
        assert one.track == 0
        lost.append(one.lost)
    assert lost[:3] == [False] * 3
    assert not any(lost[6:])
    error_px = np.hypot(*(tracker(hidden[8]).faces[0].face.landmarks_px - landmarks[8]).T)
    assert error_px.max() < 6


def test_a_face_that_leaves_is_given_up() -> None:
    frames, landmarks = render(2)
    blank = np.random.default_rng(0).integers(0, 255, frames[0].shape, dtype=np.uint8)
    first = True

    def detect(_: Image) -> list[Face]:
        return [_face(landmarks[0])] if first else []

    tracker = Tracker(detect)
    tracker(frames[0])
    first = False
    gone = [len(tracker(blank).faces) for _ in range(RULES.most_lost + 2)]
    assert gone[-1] == 0


def test_the_crop_moves_to_where_the_detector_has_the_face_on_average() -> None:
    frames, landmarks = render(2)
    at = 0

    def detect(image: Image) -> list[Face]:
        return [_face(landmarks[0] + (0.0 if at == 0 else 5.0))]

    tracker = Tracker(detect)
    moves = []
    for at in range(RULES.detect_every * 4):  # noqa: B007 (the detector reads it)
        (one,) = tracker(frames[0]).faces
        moves.append(one.moved)
    assert all(move is None for move in moves[: RULES.check_every])
    assert sum(move is not None for move in moves) >= 1
    assert np.abs(one.face.landmarks_px - (landmarks[0] + 5)).mean() < 2.5


def test_a_part_of_a_face_is_no_face_of_its_own() -> None:
    frames, landmarks = render(2)
    whole = _face(landmarks[0])
    middle = landmarks[0].mean(axis=0)
    part = _face(middle + 0.4 * (landmarks[0] - middle), 0.3)
    beside = _face(0.3 * (landmarks[0] - middle) + 20, 0.3)
    tracker = Tracker(lambda _: [whole, part, beside])
    assert [one.face.confidence for one in tracker(frames[0]).faces] == [0.95, 0.3]
    surer = Tracker(lambda _: [whole, replace(part, confidence=0.99)])
    assert len(surer(frames[0]).faces) == 2


def test_every_second_search_sees_a_picture_of_half_the_size_where_faces_are_large() -> None:
    frames, landmarks = render(1)
    sizes = []
    large = np.repeat(np.repeat(frames[0], 4, axis=0), 4, axis=1)

    def detect(image: Image) -> list[Face]:
        sizes.append(image.shape[0])
        return [_face((landmarks[0] + 0.5) * image.shape[0] / frames[0].shape[0] - 0.5)]

    tracker = Tracker(detect)
    for _ in range(2 * RULES.detect_every + 1):
        (one,) = tracker(large).faces
    whole = [side for side in sizes if side > RULES.check_px]
    assert whole == [len(large), len(large) // 2, len(large)]
    assert one.track == 0
    assert not one.lost

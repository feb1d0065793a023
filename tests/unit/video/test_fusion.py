"""One answer through a shot: steady where nothing moves, and quick where something does."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest

from facemend.images import Image
from facemend.video.fusion import RULES, Acceptance, Drawn, Fusion, is_still, steady

_SIDE = 128
_ROWS, _COLUMNS = np.mgrid[:_SIDE, :_SIDE]
_HOLE = (_ROWS > 70) & (_ROWS < 110) & (_COLUMNS > 40) & (_COLUMNS < 90)


def _face(shift: float = 0.0) -> npt.NDArray[np.float64]:
    waves = np.sin((_COLUMNS + shift) / 7.0) + np.cos((_ROWS - shift) / 9.0)
    return np.repeat((128 + 40 * waves)[:, :, None], 3, axis=2)


def _image(values: npt.NDArray[np.float64]) -> Image:
    return np.rint(values).clip(0, 255).astype(np.uint8)


def _drawn(rng: np.random.Generator, crop: float = 0.0, level: float = 120.0, jitter: float = 8.0) -> Drawn:
    """A frame whose model draws one level with an error of its own, coarse as the model's errors are."""
    error = np.repeat(np.repeat(rng.normal(0, jitter, (8, 8)), 16, axis=0), 16, axis=1)
    raw = np.repeat((level + error)[:, :, None], 3, axis=2)
    seen = np.where(_HOLE[:, :, None], 30.0, _face(crop)) + rng.normal(0, 1.5, (_SIDE, _SIDE, 3))
    interval = np.full((_SIDE, _SIDE), 12, dtype=np.float32)
    return Drawn(_image(seen), _image(raw), _HOLE.astype(np.float32), interval)


def _changes(drawn: list[Drawn]) -> float:
    return float(np.mean([np.abs(a.raw.astype(int) - b.raw)[_HOLE].mean() for a, b in pairwise(drawn)]))


def test_what_the_model_draws_anew_in_every_frame_becomes_steady() -> None:
    rng = np.random.default_rng(0)
    frames = [_drawn(rng) for _ in range(20)]
    fusion = Fusion()
    fused = [fusion(frame, frames[at + 1 : at + 6]) for at, frame in enumerate(frames)]
    assert _changes(fused) < _changes(frames) / 6
    error = [abs(float(one.raw[_HOLE].mean()) - 120) for one in fused]
    assert max(error) < 4


def test_what_changes_where_it_is_seen_has_changed_two_frames_later() -> None:
    rng = np.random.default_rng(0)
    before, after = [_drawn(rng) for _ in range(12)], [_drawn(rng, 5.0, 180.0) for _ in range(4)]
    fusion = Fusion()
    fused = [fusion(frame) for frame in [*before, *after]]
    edge = _HOLE & ((_ROWS < 74) | (_COLUMNS < 44))  # near the visible pixels that move
    assert abs(float(fused[11].raw[edge].mean()) - 120) < 8
    assert float(fused[14].raw[edge].mean()) > 160


def test_an_answer_that_the_model_has_changed_is_shown_after_two_frames() -> None:
    rng = np.random.default_rng(0)
    frames = [_drawn(rng, level=120.0 if at < 12 else 180.0, jitter=4.0) for at in range(16)]
    fusion = Fusion()
    level = [float(fusion(frame).raw[_HOLE].mean()) for frame in frames]
    assert level[11] < 125
    assert level[12 + RULES.patience] > 170


def test_an_answer_of_one_frame_alone_is_not_shown() -> None:
    rng = np.random.default_rng(0)
    frames = [_drawn(rng, level=180.0 if at == 12 else 120.0, jitter=4.0) for at in range(16)]
    fusion = Fusion()
    level = [float(fusion(frame).raw[_HOLE].mean()) for frame in frames]
    assert max(level) < 130


def test_a_frame_of_a_smaller_interval_counts_for_more() -> None:
    rng = np.random.default_rng(0)
    sure = replace(_drawn(rng, level=100.0, jitter=0), interval=np.full((_SIDE, _SIDE), 5, np.float32))
    unsure = replace(_drawn(rng, level=140.0, jitter=0), interval=np.full((_SIDE, _SIDE), 20, np.float32))
    fused = Fusion()(sure, [unsure])
    assert 100 <= float(fused.raw[_HOLE].mean()) < 105


def test_the_average_follows_the_light() -> None:
    rng = np.random.default_rng(0)
    fusion, ratios = Fusion(), []
    for at in range(14):
        light = 1 + 0.2 * np.sin(at / 2)
        frame = _drawn(rng, jitter=1.0)
        lit = replace(frame, crop=_image(frame.crop * light), raw=_image(frame.raw * light))
        ratios.append(float(fusion(lit).raw[_HOLE].mean()) / float(lit.raw[_HOLE].mean()))
    assert np.abs(np.array(ratios) - 1).max() < 0.06


def test_the_occlusion_grows_at_once_and_shrinks_slowly() -> None:
    rng = np.random.default_rng(0)
    whole = _drawn(rng)
    none = replace(whole, found=np.zeros_like(whole.found))
    fusion = Fusion()
    shown = [float(fusion(frame).found[_HOLE].mean()) for frame in (none, whole, none, none)]
    assert shown[:2] == [0.0, 1.0]
    assert shown[1] > shown[2] > shown[3] > 0.4


def test_what_only_one_frame_finds_is_no_occlusion() -> None:
    empty, blob = np.zeros((4, 4), np.float32), np.ones((4, 4), np.float32)
    assert steady([empty, blob, empty], 1).max() == 0
    assert steady([blob, empty, blob], 1).min() == 1
    assert steady([empty, blob, blob], 1).min() == 1
    assert steady([blob, empty], 0).min() == 1


@pytest.mark.parametrize(
    ("probabilities", "shown"),
    [
        ([0.9] * 8, [True] * 8),
        ([0.1, 0.9, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1], [False] * 8),
        ([0.9, 0.9, 0.4, 0.9, 0.9, 0.4, 0.4, 0.9], [True] * 8),
        ([0.1, 0.1, 0.1, 0.9, 0.9, 0.9, 0.9, 0.9], [None, None, None, True, True, True, True, True]),
    ],
)
def test_a_face_does_not_change_between_covered_and_not(
    probabilities: list[float], shown: list[bool | None]
) -> None:
    acceptance = Acceptance(0.6)
    decided = [acceptance(probabilities[at : at + 6]) for at in range(len(probabilities))]
    assert all(want is None or one == want for one, want in zip(decided, shown, strict=True))


def test_noise_and_light_are_no_motion_and_a_blink_is() -> None:
    rng = np.random.default_rng(0)
    face = _image(_face() + rng.normal(0, 2, (_SIDE, _SIDE, 3)))
    brighter = _image(_face() * 1.1 + rng.normal(0, 2, (_SIDE, _SIDE, 3)))
    blink = face.copy()
    blink[30:46, 40:64] = 60
    assert is_still(face, brighter)
    assert not is_still(face, blink)

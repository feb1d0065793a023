"""Clips from end to end, with the stand-in model: what changes, what is written, what is left behind."""

import itertools
import json
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from facemend import reconstruct_frames, reconstruct_video
from facemend.cli.main import main
from facemend.errors import OutputError, PictureError, UsageError
from facemend.images import Image
from facemend.reconstruction.batch import Outcome
from facemend.reconstruction.reconstructor import Reconstructor
from facemend.video.outputs import VideoReconstruction, plan_clips
from facemend.video.reconstructor import ANALYSED_AHEAD, LOOKAHEAD
from facemend.video.tracking import FrameFaces, Tracker
from tests.stand_in import COVER
from tests.video_clips import covered, planes_of, render, write_clip

pytest.importorskip("av", reason="needs the extra video: pip install '.[video]'")


@pytest.fixture(scope="module")
def reconstructor(stand_in_model: Path) -> Reconstructor:
    return Reconstructor(stand_in_model, threads=1)


@pytest.fixture(scope="module")
def clip() -> tuple[list[Image], list[Image]]:
    """A clip of which the last six frames are covered, and the same without the cover."""
    frames, landmarks = render(10)
    return [*frames[:4], *covered(frames[4:], landmarks[4:])], frames


@pytest.fixture(scope="module")
def source(clip: tuple[list[Image], list[Image]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "in.mkv"
    return write_clip(path, clip[0], codec="libx264rgb", pix_fmt="rgb24", options={"qp": "0"}, audio=True)


def test_frames_come_back_in_order_and_change_under_the_cover_alone(
    reconstructor: Reconstructor, clip: tuple[list[Image], list[Image]]
) -> None:
    done = list(reconstruct_frames(iter(clip[0]), reconstructor=reconstructor))
    assert len(done) == len(clip[0])
    for number, (one, frame) in enumerate(zip(done, clip[0], strict=True)):
        assert one.before is frame
        hidden = (frame == COVER).all(axis=2)
        changed = (one.array != frame).any(axis=2)
        assert changed.any() == (number >= 4)
        if number >= 4:
            assert changed[hidden].all()
            assert changed.sum() < 2 * hidden.sum()
    assert {face.track for one in done for face in one.faces if face.coverage} == {0}
    assert {one.shot for one in done} == {0}


def test_the_edge_grows_in_a_clip_as_well(
    reconstructor: Reconstructor, clip: tuple[list[Image], list[Image]]
) -> None:
    frames = clip[0][4:8]
    shares = [
        [
            (one.array != one.before).any(axis=2).mean()
            for one in reconstruct_frames(iter(frames), reconstructor=reconstructor, **words)
        ]
        for words in ({"grow": -6}, {}, {"grow": 10, "feather": 6})
    ]
    assert (np.diff(shares, axis=0) > 0.2 * np.array(shares[1])).all()


def test_frames_are_let_go_of_however_long_the_clip(
    reconstructor: Reconstructor, clip: tuple[list[Image], list[Image]]
) -> None:
    alive: list[weakref.ref[Image]] = []

    def frames() -> Iterator[Image]:
        for number in range(3 * LOOKAHEAD):
            frame = clip[0][number % 2].copy()
            alive[:] = [one for one in alive if one() is not None]
            alive.append(weakref.ref(frame))
            yield frame

    most = 0
    for done in reconstruct_frames(frames(), reconstructor=reconstructor):
        del done
        most = max(most, sum(one() is not None for one in alive))
    assert LOOKAHEAD <= most <= LOOKAHEAD + ANALYSED_AHEAD + 4


def test_work_may_be_ended_in_one_of_its_own_threads(
    reconstructor: Reconstructor, clip: tuple[list[Image], list[Image]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the garbage collector does, which runs in any of them."""
    follow, numbers = Tracker.__call__, itertools.count()
    may_end, ended = threading.Event(), threading.Event()

    def follow_or_end(tracker: Tracker, frame: Image) -> FrameFaces:
        if next(numbers) == LOOKAHEAD + 1:
            may_end.wait(20)
            results.close()
            ended.set()
        return follow(tracker, frame)

    monkeypatch.setattr(Tracker, "__call__", follow_or_end)
    before = set(threading.enumerate())
    results = reconstruct_frames(itertools.cycle(clip[0]), reconstructor=reconstructor)
    next(results)
    begun = set(threading.enumerate()) - before
    assert len(begun) == 2
    may_end.set()
    assert ended.wait(20)
    for thread in begun:
        thread.join(20)
        assert not thread.is_alive()


def test_options_of_a_photo_are_refused(reconstructor: Reconstructor) -> None:
    for change in (
        {"aligned": True},
        {"faces": [(0, 0, 9, 9)]},
        {"mask": np.ones((4, 4), dtype=bool)},
        {"only": 1},
        {"largest": 1},
        {"min_face": "5%"},
    ):
        with pytest.raises(UsageError, match="is for one photo"):
            reconstruct_frames([], reconstructor=reconstructor, **change)


def test_a_clip_is_written_with_its_provenance_and_finished_work_is_skipped(
    reconstructor: Reconstructor, source: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.mkv"
    work: Callable[[], VideoReconstruction] = lambda: reconstruct_video(  # noqa: E731
        source, output, reconstructor=reconstructor, codec="vp9", lossless=True
    )
    done = work()
    assert done.outcome is Outcome.RECONSTRUCTED
    assert (done.frames, done.changed_frames, done.shots) == (10, 6, 1)
    before, after = planes_of(source), planes_of(output)
    assert before[:4] == after[:4]
    assert all(one != other for one, other in zip(before[4:], after[4:], strict=True))
    said = json.loads(done.sidecar.read_text(encoding="utf-8"))
    assert said["provenance"]["model"] == "stand-in"
    (track,) = [one for one in said["tracks"] if one["reconstructed_frames"]]
    assert (track["first_frame"], track["last_frame"], track["reconstructed_frames"]) == (0, 9, 6)
    assert work().outcome is Outcome.SKIPPED
    with pytest.raises(OutputError, match="exists already"):
        reconstruct_video(source, output, reconstructor=reconstructor, codec="h265")


def test_a_clip_without_a_cover_is_copied(
    reconstructor: Reconstructor, clip: tuple[list[Image], list[Image]], tmp_path: Path
) -> None:
    source = write_clip(tmp_path / "in.mp4", clip[1][:3])
    done = reconstruct_video(source, tmp_path / "out.mp4", reconstructor=reconstructor)
    assert done.outcome is Outcome.UNCHANGED
    assert (tmp_path / "out.mp4").read_bytes() == source.read_bytes()


def test_an_interrupted_run_leaves_nothing_and_what_a_killed_one_leaves_is_removed(
    reconstructor: Reconstructor, source: Path, tmp_path: Path
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    output = tmp_path / "out.mkv"
    with pytest.raises(KeyboardInterrupt):
        reconstruct_video(source, output, reconstructor=reconstructor, codec="vp9", progress=interrupt)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / ".facemend-0123456789ab.mkv").write_bytes(b"half")
    (tmp_path / ".facemend-0123456789ab.mp4").write_bytes(b"of another kind")
    (tmp_path / ".out.mine.mkv").write_bytes(b"somebody's")
    done = reconstruct_video(source, output, reconstructor=reconstructor, codec="vp9")
    assert done.notes == (f"an earlier run was interrupted; {output} begins again",)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".facemend-0123456789ab.mp4", ".out.mine.mkv", "out.mkv", "out.mkv.facemend.json",
    ]  # fmt: skip


def test_clips_and_their_outputs_are_planned(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.avi", "._c.mp4", "d.jpg"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "e.mp4").write_bytes(b"")
    (tmp_path / "e.mp4.facemend.json").write_text("{}")
    planned = plan_clips([tmp_path], tmp_path / "out")
    assert [(source.name, output.name) for source, output in planned] == [
        ("a.mp4", "a.mp4"), ("b.avi", "b.mp4"),
    ]  # fmt: skip
    assert plan_clips([tmp_path / "a.mp4"], None) == [
        (tmp_path / "a.mp4", tmp_path / "a_reconstructed.mp4")
    ]
    assert [source.name for source, _ in plan_clips([tmp_path / "*.avi"], None)] == ["b.avi"]
    with pytest.raises(OutputError, match="would be overwritten"):
        plan_clips([tmp_path / "a.mp4"], tmp_path / "a.mp4")
    (tmp_path / "empty").mkdir()
    with pytest.raises(PictureError, match="no clips"):
        plan_clips([tmp_path / "empty"], None)


def test_the_command_takes_clips(stand_in_model: Path, source: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.mkv"
    words = [
        "reconstruct",
        str(source),
        "-o",
        str(output),
        "--model",
        str(stand_in_model),
        "--json",
        "--codec",
        "vp9",
    ]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    (said,) = json.loads(done.stdout)["clips"]
    assert said["outputs"][0] == str(output)
    assert said["changed_frames"] == 6
    assert output.exists()
    told = CliRunner().invoke(main, ["info", str(output), "--json"])
    assert json.loads(told.stdout)["model"] == "stand-in"
    foreign = CliRunner().invoke(main, ["info", str(source)])
    assert "says nothing about its making" in foreign.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a.mp4", "b.jpg"], "photos and clips do not go together"),
        (["a.mp4", "--in-place"], "leave them out"),
        (["b.jpg", "--codec", "h265"], "are for clips"),
        (["a.mp4", "-o", "a.avi"], "name the output"),
    ],
)
def test_what_does_not_go_together_is_said_in_one_line(words: list[str], said: str, tmp_path: Path) -> None:
    for name in ("a.mp4", "b.jpg"):
        (tmp_path / name).write_bytes(b"")
    named = [str(tmp_path / word) if word[1:2] == "." else word for word in words]
    done = CliRunner().invoke(main, ["reconstruct", *named])
    assert done.exit_code == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1

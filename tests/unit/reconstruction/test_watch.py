"""A folder that fills itself: what is complete, what is done once, and what a restart does."""

import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image as PillowImage

from facemend.cli.main import main
from facemend.errors import FacemendError, OutputError, PictureError
from facemend.reconstruction.batch import TaskResult
from facemend.reconstruction.demo import read_portraits
from facemend.reconstruction.options import Options
from facemend.reconstruction.reconstructor import Reconstructor
from facemend.reconstruction.watch import Events, Inbox, watch_folder
from tests.stand_in import COVER


@pytest.fixture(scope="module")
def reconstructor(stand_in_model: Path) -> Reconstructor:
    return Reconstructor(stand_in_model, threads=1)


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Grace Hopper with a cover."""
    photo = next(each.photo for each in read_portraits() if each.name == "Grace Hopper").copy()
    photo[305:370, 205:305] = COVER
    path = tmp_path_factory.mktemp("photo") / "grace.png"
    PillowImage.fromarray(photo).save(path)
    return path


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    (tmp_path / "in").mkdir()
    return Inbox(tmp_path / "in", tmp_path / "out", settle_s=2)


def _watch(
    reconstructor: Reconstructor, inbox: Inbox, *steps: Callable[[], object], force: bool = False
) -> list[TaskResult | FacemendError]:
    """Watches until all steps are done, one between two waits. Every wait takes as long as it may."""
    stop, waiting, now_s = threading.Event(), [*steps], 0.0

    def wait(most_s: float) -> None:
        nonlocal now_s
        now_s += most_s
        if most_s < 10:  # a photo that is not complete yet
            return
        if waiting:
            waiting.pop(0)()
        else:
            stop.set()

    found = watch_folder(reconstructor, inbox, Options(), stop, wait, force=force, now_s=lambda: now_s)
    return list(found)


def _outcomes(done: list[TaskResult | FacemendError]) -> list[str]:
    return [str(one.outcome) if isinstance(one, TaskResult) else type(one).__name__ for one in done]


def test_a_photo_is_named_when_it_stays_the_same(inbox: Inbox, photo: Path) -> None:
    data = photo.read_bytes()
    path = inbox.folder / "a.png"
    path.write_bytes(b"")
    assert inbox.look(0) == inbox.look(5) == []
    path.write_bytes(data[:1000])
    assert inbox.look(6) == []
    path.write_bytes(data)
    assert inbox.look(9) == inbox.look(10) == []
    assert inbox.waits
    assert inbox.look(11) == [path]
    assert inbox.look(20) == []
    assert not inbox.waits


def test_a_photo_that_changes_or_comes_again_is_named_again(inbox: Inbox) -> None:
    path = inbox.folder / "a.png"
    path.write_bytes(b"one")
    assert (inbox.look(0), inbox.look(2)) == ([], [path])
    os.utime(path, ns=(1, 1))
    assert (inbox.look(3), inbox.look(5)) == ([], [path])
    path.unlink()
    assert inbox.look(6) == []
    path.write_bytes(b"one")
    os.utime(path, ns=(1, 1))
    assert (inbox.look(7), inbox.look(9)) == ([], [path])


def test_hidden_files_outputs_and_other_kinds_are_left_out(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path, tmp_path / "out", recursive=True, settle_s=0)
    for name in (".a.png.X1", "notes.txt", "out/done.png", "sub/b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    inbox.look(0)
    assert inbox.look(1) == [tmp_path / "sub/b.png"]


def test_photos_are_reconstructed_as_they_come_and_a_bad_one_fails_alone(
    reconstructor: Reconstructor, inbox: Inbox, photo: Path
) -> None:
    done = _watch(
        reconstructor,
        inbox,
        lambda: shutil.copy(photo, inbox.folder / "a.png"),
        lambda: (inbox.folder / "b.png").write_bytes(photo.read_bytes()[:5000]),  # the copy stalls …
        lambda: shutil.copy(photo, inbox.folder / "b.png"),  # … and ends
    )
    assert _outcomes(done) == ["reconstructed", "failed", "reconstructed"]
    assert sorted(path.name for path in inbox.output.iterdir()) == ["a.png", "b.png"]


def test_a_restart_does_what_is_missing(reconstructor: Reconstructor, inbox: Inbox, photo: Path) -> None:
    plain = inbox.folder / "plain.png"
    PillowImage.new("RGB", (60, 60), "gray").save(plain)
    shutil.copy(photo, inbox.folder / "a.png")
    assert _outcomes(_watch(reconstructor, inbox)) == ["reconstructed", "no face"]
    again = Inbox(inbox.folder, inbox.output)
    more = lambda: shutil.copy(photo, inbox.folder / "c.png")  # noqa: E731
    assert _outcomes(_watch(reconstructor, again, more)) == ["skipped", "skipped", "reconstructed"]


def test_a_new_photo_of_an_old_name_is_not_written_over_the_result(
    reconstructor: Reconstructor, inbox: Inbox, photo: Path
) -> None:
    path = inbox.folder / "a.png"
    shutil.copy(photo, path)
    other = lambda: PillowImage.open(photo).convert("L").save(path)  # noqa: E731
    assert _outcomes(_watch(reconstructor, inbox, other)) == ["reconstructed", "failed"]
    again = Inbox(inbox.folder, inbox.output)
    assert _outcomes(_watch(reconstructor, again, force=True)) == ["unchanged"]
    again = Inbox(inbox.folder, inbox.output)
    assert _outcomes(_watch(reconstructor, again, force=True)) == ["skipped"]


def test_a_drive_that_is_away_is_waited_for(
    reconstructor: Reconstructor, inbox: Inbox, photo: Path
) -> None:
    away = inbox.folder.with_name("away")

    def back() -> None:
        away.rename(inbox.folder)
        shutil.copy(photo, inbox.folder / "a.png")

    done = _watch(reconstructor, inbox, lambda: inbox.folder.rename(away), lambda: None, back)
    assert isinstance(done[0], PictureError)
    assert _outcomes(done[1:]) == ["reconstructed"]


def test_an_output_that_the_disk_refuses_is_tried_again(
    reconstructor: Reconstructor, inbox: Inbox, photo: Path
) -> None:
    shutil.copy(photo, inbox.folder / "a.png")
    inbox.output.write_bytes(b"a file where the folder should be")
    done = _watch(reconstructor, inbox, lambda: None, inbox.output.unlink, lambda: None)
    assert isinstance(done[0], OutputError)
    assert _outcomes(done[1:]) == ["reconstructed"]


def test_an_event_ends_the_wait(tmp_path: Path) -> None:
    pytest.importorskip("watchfiles", reason="needs the extra watch: pip install 'facemend[watch]'")
    stop, woke = threading.Event(), threading.Event()
    events = Events(tmp_path, recursive=False, stop=stop)

    def wait() -> None:
        events.wait(60)
        woke.set()

    thread = threading.Thread(target=wait)
    thread.start()
    try:
        for number in range(200):  # until the system listens
            (tmp_path / f"{number}.png").write_bytes(b"x")
            if woke.wait(0.2):
                break
        assert woke.is_set()
    finally:
        stop.set()
        thread.join()


def test_the_command_refuses_what_cannot_be_watched(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for words, said in (
        (["nowhere", "-o", "out"], "is not a folder"),
        (["in", "-o", "in"], "in one folder"),
    ):
        there = [str(tmp_path / word) if word in ("nowhere", "in", "out") else word for word in words]
        done = CliRunner().invoke(main, ["watch", *there])
        assert (done.exit_code, said in done.stderr) == (2, True), done.stderr

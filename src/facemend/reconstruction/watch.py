"""A folder that fills itself: new photos are reconstructed as soon as they are complete.

What lies in the folder decides, not the events of the system: those may be lost, and network drives send
none. An event only makes the next look come sooner.
"""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from facemend.errors import FacemendError, OutputError, PictureError, UsageError, reason_of
from facemend.files import refuse_links
from facemend.io import find_pictures
from facemend.reconstruction.batch import Records, TaskResult, reconstruct_new
from facemend.reconstruction.options import Options
from facemend.reconstruction.outputs import Task, is_meant, plan_tasks
from facemend.reconstruction.reconstructor import Reconstructor

SETTLE_S = 2.0
"""A photo is complete when size and time of its file stay the same for so long."""
_LOOK_S = 30.0  # between two looks where no event comes, and until a refused output is tried again
_SLICE_S = 0.5  # how soon a wait notices the end

_Stamp = tuple[int, int]
"""Size in bytes and time of the last change in nanoseconds."""


@dataclass
class Inbox:
    """The photos of a folder that are complete and were not handed out in this state.

    Attributes:
        folder: where the photos come.
        output: a folder below it that is left out.
        recursive: search the subfolders as well.
        settle_s: see `SETTLE_S`.
    """

    folder: Path
    output: Path
    recursive: bool = False
    settle_s: float = SETTLE_S
    _seen: dict[Path, tuple[_Stamp, float]] = field(default_factory=dict)
    _done: dict[Path, _Stamp] = field(default_factory=dict)

    def look(self, now_s: float) -> list[Path]:
        """The photos that are complete now, in order. Each is named once, and again when it changes.

        Args:
            now_s: by a clock that never goes back.

        Raises:
            OSError: the folder cannot be read, such as a network drive that is away.
        """
        self.folder.stat()
        stamps: dict[Path, _Stamp] = {}
        for path in find_pictures(self.folder, recursive=self.recursive, leave_out=[self.output]):
            try:
                found = path.stat()
            except OSError:  # it is gone again
                continue
            stamps[path] = (found.st_size, found.st_mtime_ns)
        self._done = {path: stamp for path, stamp in self._done.items() if path in stamps}
        ready, seen = [], {}
        for path, stamp in stamps.items():
            if self._done.get(path) == stamp:
                continue
            before, since_s = self._seen.get(path, (None, now_s))
            seen[path] = (stamp, since_s if before == stamp else now_s)
            if before == stamp and stamp[0] and now_s - since_s >= self.settle_s:
                ready.append(path)
                self._done[path] = stamp
                del seen[path]
        self._seen = seen
        return ready

    @property
    def waits(self) -> bool:
        """Whether there are photos that are not complete yet."""
        return any(stamp[0] for stamp, _ in self._seen.values())

    def retry(self, path: Path) -> None:
        """Has a photo named again, as if it were new."""
        self._done.pop(path, None)


class Events:
    """The system's events about a folder, by the package watchfiles. They end a wait early."""

    def __init__(self, folder: Path, *, recursive: bool, stop: threading.Event) -> None:
        """Starts to listen, until `stop` is set.

        Raises:
            UsageError: the extra `watch` is missing.
        """
        try:
            import watchfiles
        except ModuleNotFoundError as error:
            raise UsageError(
                "events need one more package: pip install 'facemend[watch]'; or look every 5 s: --poll 5"
            ) from error
        self._watch, self._folder, self._recursive = watchfiles.watch, folder, recursive
        self._stop, self._changed = stop, threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()

    def wait(self, most_s: float) -> None:
        """Waits for an event, for the end, or for so long."""
        until_s = time.monotonic() + most_s
        while not self._stop.is_set() and (left_s := until_s - time.monotonic()) > 0:
            if self._changed.wait(min(left_s, _SLICE_S)):
                break
        self._changed.clear()

    def _listen(self) -> None:
        while not self._stop.is_set():
            try:
                events = self._watch(
                    self._folder, watch_filter=None, recursive=self._recursive, stop_event=self._stop
                )
                for _ in events:
                    self._changed.set()
            except (OSError, RuntimeError):  # the folder is away, or the system has no more watches
                self._stop.wait(_LOOK_S)


def watch_folder(
    reconstructor: Reconstructor,
    inbox: Inbox,
    options: Options,
    stop: threading.Event,
    wait: Callable[[float], None],
    *,
    save_occlusion: bool = False,
    save_doubt: bool = False,
    force: bool = False,
    now_s: Callable[[], float] = time.monotonic,
) -> Iterator[TaskResult | FacemendError]:
    """Reconstructs photos as they come, until `stop` is set. The photo in work is finished first.

    Args:
        inbox: where they come, and where their outputs go.
        wait: waits for an event, or for so many seconds.
        force: write over the output of an earlier photo of the same name.
        now_s: a clock that never goes back.

    Yields:
        What became of a photo. An error is a folder or an output that is away: it is tried again.

    Raises:
        ModelError, UsageError: as `Reconstructor` does.
    """
    records, away = Records(), False
    refused: dict[Path, float] = {}
    while not stop.is_set():
        for path in [path for path, since_s in refused.items() if now_s() - since_s >= _LOOK_S]:
            inbox.retry(path)
        try:
            ready = inbox.look(now_s())
            away = False
        except OSError as error:
            ready = []
            if not away:
                yield PictureError(f"{inbox.folder} cannot be read: {reason_of(error)}; trying again")
            away = True
        for path in ready:
            if stop.is_set():
                return
            if not is_meant(path, in_place=False):  # facemend wrote it
                continue
            try:
                task = _task_of(path, inbox, options, save_occlusion, save_doubt)
                yield reconstruct_new(reconstructor, task, options, records, force=force)
                refused.pop(path, None)
            except OutputError as error:
                if path not in refused:
                    yield OutputError(f"{error}; trying again")
                refused[path] = now_s()
        if not ready:
            wait(inbox.settle_s if inbox.waits else _LOOK_S)


def _task_of(path: Path, inbox: Inbox, options: Options, save_occlusion: bool, save_doubt: bool) -> Task:
    """What is written where for a photo. Raises OutputError: its folder cannot be made, or is a link."""
    target = inbox.output / path.relative_to(inbox.folder).parent
    refuse_links(inbox.output, target)
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {target}: {reason_of(error)}") from error
    (task,) = plan_tasks(
        [path], target, aligned=options.aligned, save_occlusion=save_occlusion, save_doubt=save_doubt
    )
    return task

"""Worker processes: their messages, what they do, the queue before them, and work that requests share.

The queue is first come, first served. The same request from several clients is worked on once, and one that
ended a worker is not tried again. Who sends one photo over many connections holds up the queue no longer
than with one.
"""

import asyncio
import hashlib
import json
import logging
import math
import os
import queue
import secrets
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Generic, TypeAlias, TypeVar

from facemend.errors import FacemendError, ModelError, UsageError
from facemend.server.schemas import INTERNAL, Problem, busy, problem_of, where_failed
from facemend.server.settings import MEGABYTE, Limits

Part: TypeAlias = bytes | bytearray | memoryview
Head: TypeAlias = Mapping[str, Any]

_LENGTH_BYTES = 4
_LARGEST_HEAD_BYTES = 1_000_000


class MessageError(Exception):
    """The other side is gone, or what it sends is not a message."""


def write_message(file: IO[bytes], head: Head, *parts: Part) -> None:
    """Writes a message. Raises OSError: nobody reads it."""
    text = json.dumps({"head": head, "lengths": [len(part) for part in parts]}).encode()
    file.write(len(text).to_bytes(_LENGTH_BYTES, "big") + text)
    for part in parts:
        file.write(part)
    file.flush()


def read_message(file: IO[bytes], largest_bytes: int) -> tuple[dict[str, Any], list[bytes]]:
    """Reads a message: its head, and its parts of at most `largest_bytes` together.

    Raises:
        MessageError: there is none, or it is larger.
    """
    length = int.from_bytes(_read(file, _LENGTH_BYTES), "big")
    if length > _LARGEST_HEAD_BYTES:
        raise MessageError("the head is too large")
    try:
        message = json.loads(_read(file, length))
        head, lengths = dict(message["head"]), [int(each) for each in message["lengths"]]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise MessageError("it is not a message") from error
    if sum(lengths) > largest_bytes or min(lengths, default=0) < 0:
        raise MessageError("the parts are too large")
    return head, [_read(file, each) for each in lengths]


def _read(file: IO[bytes], length: int) -> bytes:
    try:
        data = file.read(length)
    except (OSError, ValueError) as error:  # ValueError: this side closed the file
        raise MessageError("it cannot be read") from error
    if len(data) < length:
        raise MessageError("it ends early")
    return data


WorkerResponse: TypeAlias = tuple[dict[str, Any], bytes]
"""The head and the body of a response."""
Work: TypeAlias = Callable[[Head, list[bytes]], WorkerResponse]


def main() -> None:
    """Works on requests until the server closes the pipe, or ends."""
    requests, responses = _take_pipes()
    warnings.simplefilter("ignore")  # about what is in a stranger's file
    try:
        setup, _ = read_message(requests, 0)
        limits = Limits(**setup["limits"])
        _bound_memory(limits.worker_bytes)
        described, work = _OPENERS[setup["role"]](setup, limits)
    except FacemendError as error:
        write_message(responses, {"error": str(error), "usage": isinstance(error, UsageError)})
        return
    except MessageError:
        return
    write_message(responses, described)
    _silence()
    for head, parts in _incoming(requests, limits):
        response, body = respond(work, head, parts)
        del parts
        with suppress(BrokenPipeError):  # the server is gone, which the reading thread notices too
            write_message(responses, response, body)


def respond(work: Work, head: Head, parts: list[bytes]) -> WorkerResponse:
    """The response to a request. It never raises."""
    try:
        return work(head, parts)
    except Problem as refused:
        return _failed(refused)
    except FacemendError as error:
        problem = problem_of(error)
        return _failed(problem, str(error) if problem is INTERNAL else None)
    except MemoryError:
        return _failed(
            Problem(413, "too_large", "the photo takes more memory than it may; send a smaller one")
        )
    except Exception as error:  # noqa: BLE001 - whatever it is, a client learns nothing of it
        return _failed(INTERNAL, where_failed(error))


def _failed(problem: Problem, log: str | None = None) -> WorkerResponse:
    fields = {
        "status": problem.status,
        "code": problem.code,
        "message": problem.message,
        "headers": problem.headers,
    }
    return {"problem": fields, "log": log}, b""


def open_inspection(setup: Head, limits: Limits) -> tuple[dict[str, Any], Work]:
    """Opens the work of the role `inspect`: refuses photos and masks by what stands before their pixels."""
    from facemend.server.service import check_head

    def inspect(head: Head, parts: list[bytes]) -> WorkerResponse:
        for data, name in zip(parts, ("the photo", "the mask"), strict=False):
            check_head(data, name, limits)
        return {}, b""

    return {}, inspect


def open_reconstruction(setup: Head, limits: Limits) -> tuple[dict[str, Any], Work]:
    """Opens the work of the role `reconstruct`, with its model warm, and says which model that is.

    Raises:
        ModelError, UsageError: as `Reconstructor` does.
    """
    from facemend.reconstruction.reconstructor import Reconstructor
    from facemend.server.schemas import FormOptions
    from facemend.server.service import (
        Content,
        ReconstructionRequest,
        find,
        json_response,
        picture_response,
        reconstruct,
        warm_up,
    )

    model = None if setup["model"] is None else Path(setup["model"])
    reconstructor = Reconstructor(model, device=setup["device"], threads=setup["threads"])
    warm_up(reconstructor)

    def work(head: Head, parts: list[bytes]) -> WorkerResponse:
        if head.get("task") == "find":
            found = find(reconstructor, parts[0], head["options"], limits)
            sized = found.findings.width_px * found.findings.height_px
            return checked(found.content, sized, found.work_s, [])
        options = FormOptions.model_validate(head["options"])
        request = ReconstructionRequest(parts[0], parts[1] if parts[1:] else None, options)
        result = reconstruct(reconstructor, request, limits)
        content = json_response(result) if options.answer == "json" else picture_response(result)
        height_px, width_px = result.photo.pixels.shape[:2]
        changed = [face.changed for face in result.faces]
        return checked(content, height_px * width_px, result.work_s, changed)

    def checked(content: Content, pixels: int, work_s: float, changed: list[bool]) -> WorkerResponse:
        if len(content.body) > limits.response_bytes:
            largest = limits.response_bytes / MEGABYTE
            message = (
                f"the response would be larger than {largest:g} MB; ask for less, or send a smaller photo"
            )
            raise Problem(413, "too_large", message)
        head = {
            "media_type": content.media_type,
            "headers": dict(content.headers),
            "pixels": pixels,
            "work_s": work_s,
            "changed": changed,
        }
        return head, content.body

    described = reconstructor.model.description
    model_facts = {
        "name": described.name,
        "sha256": reconstructor.model.sha256,
        "size_px": described.size_px,
        "finds_occlusion": described.finds_occlusion,
        "takes_mask": described.takes_hint,
        "data": described.data,
        "images_seen": described.images_seen,
    }
    return model_facts, work


_OPENERS = {"inspect": open_inspection, "reconstruct": open_reconstruction}


def setup_message(role: str, limits: Limits, model: Path | None, device: str, threads: int | None) -> Head:
    """The first message to a worker."""
    return {
        "role": role,
        "limits": asdict(limits),
        "model": None if model is None else str(model),
        "device": str(device),
        "threads": threads,
    }


def _take_pipes() -> tuple[IO[bytes], IO[bytes]]:
    """The pipes from and to the server. What a library prints does not get into them."""
    requests, responses = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    return requests, responses


def _silence() -> None:
    """Discards output. Decoders print what stands in the files that they read."""
    with Path(os.devnull).open("wb") as nothing:
        os.dup2(nothing.fileno(), 1)
        os.dup2(nothing.fileno(), 2)


def _incoming(requests: IO[bytes], limits: Limits) -> Iterator[tuple[Head, list[bytes]]]:
    """Requests, as they come. A thread reads them: when the server is gone, it ends the work at once."""
    waiting: queue.SimpleQueue[tuple[Head, list[bytes]]] = queue.SimpleQueue()

    def receive() -> None:
        while True:
            try:
                waiting.put(read_message(requests, limits.upload_bytes))
            except MessageError:
                os._exit(0)

    threading.Thread(target=receive, daemon=True).start()
    while True:
        yield waiting.get()


def _bound_memory(limit_bytes: int) -> None:
    """Limits the memory of this process, on Linux."""
    if sys.platform == "linux":
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        limit = limit_bytes if most == resource.RLIM_INFINITY else min(limit_bytes, most)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, most))


ResultT = TypeVar("ResultT")
LOG = logging.getLogger("facemend.server")

_PROGRAM = (
    "import signal;"
    # Ctrl-C and a service manager's SIGTERM reach every process; the server alone handles them.
    "signal.signal(signal.SIGINT, signal.SIG_IGN); signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "from facemend.server.workers import main; main()"
)
_MEMORY = 0.8  # of the running mean of how long a request takes
_LONGEST_RETRY_S = 60
_START_S = 120.0  # a machine under load starts slowly
_RESTART_S = 1.0  # between two attempts
_MOST_REFUSED = 1000
_QUICK_BYTES = 1_000_000  # hashing less takes about a millisecond


class WorkerLost(Exception):
    """A worker ended in the middle of a request.

    Attributes:
        out_of_time: because it was ended, for it took too long.
    """

    def __init__(self, out_of_time: bool) -> None:
        super().__init__("the worker ended")
        self.out_of_time = out_of_time


class WorkerProcess:
    """A process that works on one request at a time, for the thread that calls it."""

    def __init__(self, setup: Head, largest_response_bytes: int) -> None:
        self._setup, self._largest_bytes = setup, largest_response_bytes
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False
        self._lock = threading.Lock()

    def start(self) -> dict[str, Any]:
        """Starts the process, and returns what it says about itself once it is ready.

        Raises:
            ModelError, UsageError: it cannot open the model.
            FacemendError: it cannot be started, or the pool is closed.
        """
        self.end()
        with self._lock:
            if self._closed:
                raise FacemendError("the server ends")
            try:
                self._process = _started(self._setup)
            except OSError as error:
                raise FacemendError(f"cannot start a worker process: {error.strerror or error}") from error
        try:
            head, _ = self._exchange(self._setup, (), _START_S)
        except WorkerLost as error:
            self.end()
            raise FacemendError("a worker process ends as it starts; run `facemend info` to see if the "
                                "installation is whole") from error  # fmt: skip
        if "error" in head:
            self.end()
            raise (UsageError if head["usage"] else ModelError)(head["error"])
        return head

    def call(self, head: Head, parts: tuple[Part, ...], limit_s: float) -> tuple[dict[str, Any], bytes]:
        """Sends a request and waits for the response. A process that ended while it was idle is started
        again before.

        Raises:
            WorkerLost: the process ended, or was ended after the limit. Start it again.
        """
        if self._process is None or self._process.poll() is not None:
            try:
                self.start()
            except FacemendError as error:
                raise WorkerLost(out_of_time=False) from error
        response, bodies = self._exchange(head, parts, limit_s)
        return response, bodies[0] if bodies else b""

    def close(self) -> None:
        """Ends the process, in the middle of a request if need be, for good."""
        with self._lock:
            self._closed = True
            if self._process is not None:
                self._process.kill()

    def end(self) -> None:
        """Ends the process and forgets it. No call may be running."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):  # what was not sent yet has nobody to read it
                    pipe.close()
        self._process = None

    def _exchange(
        self, head: Head, parts: tuple[Part, ...], limit_s: float
    ) -> tuple[dict[str, Any], list[bytes]]:
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise WorkerLost(out_of_time=False)
        with _ended_after(process, limit_s) as over:
            try:
                write_message(process.stdin, head, *parts)
                message = read_message(process.stdout, self._largest_bytes)
            except (OSError, ValueError, MessageError):
                process.kill()
                message = None
        if message is None or over.is_set():
            raise WorkerLost(out_of_time=over.is_set())
        return message


@contextmanager
def _ended_after(process: "subprocess.Popen[bytes]", limit_s: float) -> Iterator[threading.Event]:
    """Ends a process if the block takes longer. The event says after the block whether it did."""
    over = threading.Event()

    def end() -> None:
        over.set()
        process.kill()

    timer = threading.Timer(limit_s, end)
    timer.daemon = True
    timer.start()
    try:
        yield over
    finally:
        timer.cancel()
        timer.join()


def _started(setup: Head) -> "subprocess.Popen[bytes]":
    # -P: nothing is imported from the current folder, which may be a stranger's.
    command = [sys.executable, "-P", "-c", _PROGRAM]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=_environment(setup["threads"])
    )


def _environment(threads: int | None) -> dict[str, str]:
    """What a worker's environment is: without the token, and without the current folder for imports."""
    environment = {name: value for name, value in os.environ.items() if name != "FACEMEND_TOKEN"}
    folders = environment.pop("PYTHONPATH", "").split(os.pathsep)
    if any(folders):  # an empty one would be the current folder
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, folders))
    environment["PYTHONSAFEPATH"] = "1"
    environment.setdefault("MALLOC_ARENA_MAX", "2")  # the memory of large photos would pile up in more
    if threads is not None:
        environment.setdefault("OPENBLAS_NUM_THREADS", str(threads))
    return environment


class WorkerPool:
    """Worker processes with a bounded queue before them.

    A caller that gives up while it waits leaves the queue at once. A worker finishes what it has begun,
    up to its time limit.

    Attributes:
        waiting, running: requests.
        lost: how many workers ended over a request. Each is started again.
    """

    def __init__(self, setup: Head, workers: int, max_waiting: int, largest_response_bytes: int) -> None:
        self._processes = [WorkerProcess(setup, largest_response_bytes) for _ in range(workers)]
        self._idle: list[WorkerProcess] = []
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix="facemend")
        self._free = asyncio.Semaphore(0)
        self._max_waiting = max_waiting
        self._mean_s = 1.0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False
        self.waiting = self.running = self.lost = 0

    def start(self) -> dict[str, Any]:
        """Starts all processes, and returns what the first says about itself. Raises as they do."""
        heads = list(self._executor.map(WorkerProcess.start, self._processes))
        for process in self._processes:
            self._release(process)
        return heads[0]

    @property
    def full(self) -> bool:
        """Whether the next one would be turned away."""
        return self._free.locked() and self.waiting >= self._max_waiting

    def retry_after_s(self) -> int:
        """When a worker should be free, by how long requests took lately."""
        expected_s = self._mean_s * (self.waiting + 1) / len(self._processes)
        return max(1, min(_LONGEST_RETRY_S, math.ceil(expected_s)))

    async def submit(
        self, head: Head, parts: tuple[Part, ...], limit_s: float
    ) -> tuple[dict[str, Any], bytes]:
        """Waits for a worker and sends the request to it. The worker is ended if it works longer than the
        limit.

        Raises:
            Problem: too many wait already.
            WorkerLost: the worker ended over it.
        """
        if self.full:
            raise busy(self.retry_after_s())
        self.waiting += 1
        try:
            await self._free.acquire()
        finally:
            self.waiting -= 1
        return await asyncio.shield(self._kept(self._work(head, parts, limit_s)))

    async def _work(
        self, head: Head, parts: tuple[Part, ...], limit_s: float
    ) -> tuple[dict[str, Any], bytes]:
        process = self._idle.pop()
        self.running += 1
        began = time.monotonic()
        loop = asyncio.get_running_loop()
        try:
            response = await loop.run_in_executor(self._executor, process.call, head, parts, limit_s)
        except WorkerLost:
            self.lost += 1
            self._kept(self._restart(process))
            raise
        else:
            self.running -= 1
            self._release(process)
            return response
        finally:
            self._mean_s = _MEMORY * self._mean_s + (1 - _MEMORY) * (time.monotonic() - began)

    async def _restart(self, process: WorkerProcess) -> None:
        """Starts a lost worker again, as often as it takes."""
        loop = asyncio.get_running_loop()
        while not self._closed:
            try:
                await loop.run_in_executor(self._executor, process.start)
            except FacemendError as error:
                if not self._closed:
                    LOG.error("%s", error)
                    await asyncio.sleep(_RESTART_S)
            else:
                self.running -= 1
                self._release(process)
                return

    def _release(self, process: WorkerProcess) -> None:
        self._idle.append(process)
        self._free.release()

    def _kept(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """A task that goes on without its caller, and whose error is not reported."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()

    def close(self) -> None:
        """Ends all processes at once, whatever they do."""
        self._closed = True
        for process in self._processes:
            process.close()
        self._executor.shutdown(cancel_futures=True)
        for process in self._processes:
            process.end()


@dataclass(eq=False)
class _Work(Generic[ResultT]):
    """Work that has begun, and how many wait for it."""

    task: "asyncio.Task[ResultT]"
    waiters: int = 0


class Coalescer(Generic[ResultT]):
    """Shares work between equal requests. Keys are hashes under a secret of this process, so nothing of a
    photo is kept."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)
        self._begun: dict[bytes, _Work[ResultT]] = {}
        self._refused: dict[bytes, tuple[float, Problem]] = {}

    async def key_of(self, *parts: Part) -> bytes:
        """The key of these bytes."""
        if sum(map(len, parts)) <= _QUICK_BYTES:
            return self._hash(parts)
        return await asyncio.to_thread(self._hash, parts)

    async def share(self, key: bytes, begin: Callable[[], Coroutine[Any, Any, ResultT]]) -> ResultT:
        """The result of the work of this key, which begins unless somebody waits for it already.

        A caller that gives up leaves the others waiting. When the last one does, the work is cancelled.

        Raises:
            Problem: it was refused a short time ago.
            Exception: as the work does.
        """
        until, problem = self._refused.get(key, (0.0, None))
        if problem is not None and time.monotonic() < until:
            raise problem
        work = self._begun.get(key)
        if work is None:
            work = self._begun[key] = _Work(asyncio.ensure_future(begin()))
            work.task.add_done_callback(lambda _: self._discard(key, work))
        work.waiters += 1
        try:
            return await asyncio.shield(work.task)
        finally:
            work.waiters -= 1
            if not work.waiters:
                self._discard(key, work)
                work.task.cancel()

    def refuse(self, key: bytes, problem: Problem, for_s: float) -> None:
        """Makes this problem the result for a while."""
        if len(self._refused) >= _MOST_REFUSED:
            del self._refused[next(iter(self._refused))]
        self._refused[key] = time.monotonic() + for_s, problem

    def _hash(self, parts: tuple[Part, ...]) -> bytes:
        found = hashlib.blake2b(key=self._secret, digest_size=32)
        for part in parts:
            found.update(len(part).to_bytes(8, "big"))
            found.update(part)
        return found.digest()

    def _discard(self, key: bytes, work: _Work[ResultT] | None) -> None:
        if work is not None and self._begun.get(key) is work:
            del self._begun[key]
        if work is not None and work.task.done() and not work.task.cancelled():
            work.task.exception()  # looked at, so that nobody complains if its callers are gone

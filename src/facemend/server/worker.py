"""The worker process: messages in, responses out."""

import json
import os
import queue
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, TypeAlias

from facemend.errors import FacemendError, UsageError
from facemend.server.problems import INTERNAL, Problem, problem_of, where_failed
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


Response: TypeAlias = tuple[dict[str, Any], bytes]
"""The head and the body of a response."""
Work: TypeAlias = Callable[[Head, list[bytes]], Response]


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


def respond(work: Work, head: Head, parts: list[bytes]) -> Response:
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


def _failed(problem: Problem, log: str | None = None) -> Response:
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

    def inspect(head: Head, parts: list[bytes]) -> Response:
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

    def work(head: Head, parts: list[bytes]) -> Response:
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

    def checked(content: Content, pixels: int, work_s: float, changed: list[bool]) -> Response:
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

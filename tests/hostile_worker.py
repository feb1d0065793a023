"""A worker program that does what the last bytes of a photo say, as a photo made to harm would.

It stands in for decoders with bugs, which are mended one by one: what a server does about the next one is
tested with these.
"""

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from facemend.errors import ModelError
from facemend.server import service, workers

PROGRAM = "from tests.hostile_worker import main; main()"
HANGS, CRASHES, HOGS, FAILS, LACKS_MODEL = b"#hangs", b"#crashes", b"#hogs", b"#fails", b"#lacks-model"
HANGS_AT_HEAD = b"#hangs-at-head"
PRINTS = b"#prints"
WAITS_FOR = b"#waits-for:"
"""Followed by a path: it goes on once there is such a file."""


def main() -> None:
    """The worker, with its functions replaced."""
    reconstruct, check_head = service.reconstruct, service.check_head

    def hostile_reconstruct(
        reconstructor: Any, request: service.ReconstructionRequest, limits: Any
    ) -> service.ReconstructedPhoto:
        _obey(request.photo)
        return reconstruct(reconstructor, replace(request, photo=_untold(request.photo)), limits)

    def hostile_check(data: bytes, name: str, limits: Any) -> tuple[int, int]:
        if data.endswith(HANGS_AT_HEAD):
            _hang()
        return check_head(data, name, limits)

    service.reconstruct, service.check_head = hostile_reconstruct, hostile_check
    workers.main()


def _untold(photo: bytes) -> bytes:
    """A PNG or JPEG without what it was told behind its end."""
    mark, behind = (b"IEND", 8) if photo.startswith(b"\x89PNG") else (b"\xff\xd9", 2)
    return photo[: photo.rindex(mark) + behind]


def _obey(photo: bytes) -> None:
    if photo.endswith(HANGS):
        _hang()
    if photo.endswith(CRASHES):
        os.abort()
    if photo.endswith(HOGS):
        bytearray(10**13)
    if photo.endswith(FAILS):
        raise RuntimeError("secret of a client")
    if photo.endswith(LACKS_MODEL):
        raise ModelError("/secret/model.onnx cannot be run")
    if photo.endswith(PRINTS):
        os.write(1, b"\x00\x00\x00\x05hello")
        os.write(2, b"\x1b[31mhello")
    _, marked, path = photo.rpartition(WAITS_FOR)
    while marked and not Path(path.decode()).exists():
        time.sleep(0.02)


def _hang() -> None:
    """Holds the interpreter's lock, as a regular expression does: no thread of this process runs."""
    b"a" * 10_000_000 in (b"a" * 5_000_000 + b"b") * 2  # noqa: B015
    while True:
        sum(range(10_000_000))

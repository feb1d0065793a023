"""The limits and settings of a server, with their defaults."""

from dataclasses import dataclass, field
from pathlib import Path

MEGABYTE = 1_000_000
WORKER_BYTES_A_PIXEL = 80
"""Of the largest photo: nearly twice what was measured."""
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
"""The names of this machine for its own browser. Any other name may be DNS rebinding."""


@dataclass(frozen=True)
class Limits:
    """Limits of one request, and of all of them together.

    Attributes:
        upload_bytes: of one request's body.
        response_bytes: of one response's body.
        held_bytes: of all bodies in memory at one time. The one that waits longest for its client makes
            room.
        worker_bytes: of a worker's memory, where the system can hold a process to it (Linux).
        pixels, side_px: of a photo, checked before it is decoded.
        scans: passes over the pixels of a JPEG. A camera's has 1, a progressive one about 10.
        padding_bytes: of white space in a row in a photo's XMP. Programs leave 2 to 4 kB to write into.
        waiting: requests in the queue. One more gets 429.
        request_s: a request's whole life: arrival, waiting, work and the response's departure.
        head_s, receive_s, send_s: of it, for the head and the body to arrive, and the response to leave.
        inspect_s, work_s: of it, for a look at the photo's head, and for the work. A worker that takes
            longer is ended.
        linger_s: for a client that was refused to notice, while what it still sends is thrown away.
        connections: open at one time. The one that waits longest for its client makes room.
    """

    upload_bytes: int = 25 * MEGABYTE
    response_bytes: int = 250 * MEGABYTE
    held_bytes: int = 250 * MEGABYTE
    worker_bytes: int = 4_000 * MEGABYTE
    pixels: int = 50_000_000
    side_px: int = 32_000
    scans: int = 50
    padding_bytes: int = 16_384
    waiting: int = 16
    request_s: float = 60.0
    head_s: float = 10.0
    receive_s: float = 30.0
    send_s: float = 30.0
    inspect_s: float = 5.0
    work_s: float = 45.0
    linger_s: float = 5.0
    connections: int = 512


@dataclass(frozen=True)
class Settings:
    """The settings of a server.

    Attributes:
        model: the model file. None for the one that comes with facemend.
        device: where it computes.
        threads: processor threads a photo. None divides the cores among the workers.
        workers: photos that are worked on at the same time, each by a process with its own model.
        token: the bearer token that the API requires. None requires none.
        hosts: names by which it may be called, in lower case, without a port. None for any.
        origins: other sites whose pages may use the API.
        limits: of requests.
    """

    model: Path | None = None
    device: str = "auto"
    threads: int | None = None
    workers: int = 1
    token: str | None = field(default=None, repr=False)
    hosts: frozenset[str] | None = LOOPBACK_NAMES
    origins: frozenset[str] = frozenset()
    limits: Limits = field(default_factory=Limits)

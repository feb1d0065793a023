"""What a server allows: every limit and every default, once."""

from dataclasses import dataclass, field

MEGABYTE = 1_000_000
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
"""What a browser on this machine calls it; any other name may be a trick (DNS rebinding)."""


@dataclass(frozen=True)
class Limits:
    """How much of anything one request, and all of them together, may take.

    Attributes:
        upload_bytes: of one request's body.
        held_bytes: of all bodies in memory at one time.
        pixels, side_px: of a photo, checked before it is decoded.
        scans: passes over the pixels of a JPEG; a camera's has 1, a progressive one about 10.
        waiting: requests in the queue; one more is told to come back.
        receive_s: for a request to arrive.
        answer_s: from there to its answer.
        head_s: for the head of a request to arrive.
        send_s: for a client to take its answer.
        connections: open at one time.
    """

    upload_bytes: int = 25 * MEGABYTE
    held_bytes: int = 250 * MEGABYTE
    pixels: int = 50_000_000
    side_px: int = 32_000
    scans: int = 50
    waiting: int = 16
    receive_s: float = 30.0
    answer_s: float = 60.0
    head_s: float = 10.0
    send_s: float = 60.0
    connections: int = 512


@dataclass(frozen=True)
class Settings:
    """What whoever starts a server decides.

    Attributes:
        workers: photos that are worked on at the same time.
        token: what the API asks for as a bearer token; None asks for none.
        hosts: names by which it may be called, in lower case, without a port; None for any.
        origins: other sites whose pages may use the API.
        limits: see there.
    """

    workers: int = 1
    token: str | None = field(default=None, repr=False)
    hosts: frozenset[str] | None = LOOPBACK_NAMES
    origins: frozenset[str] = frozenset()
    limits: Limits = field(default_factory=Limits)

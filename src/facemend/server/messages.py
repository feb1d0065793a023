"""Messages between the server and its workers: a head in JSON, and parts in bytes.

Nothing is unpickled: a decoder that a stranger's photo took over could say anything, but run nothing in the
server.
"""

import json
from collections.abc import Mapping
from typing import IO, Any, TypeAlias

Part: TypeAlias = bytes | bytearray | memoryview
Head: TypeAlias = Mapping[str, Any]

_LENGTH_BYTES = 4
_LARGEST_HEAD_BYTES = 1_000_000


class MessageError(Exception):
    """The other side says what no message is, or it is gone."""


def write_message(file: IO[bytes], head: Head, *parts: Part) -> None:
    """Writes a message. Raises OSError: nobody reads it."""
    text = json.dumps({"head": head, "lengths": [len(part) for part in parts]}).encode()
    file.write(len(text).to_bytes(_LENGTH_BYTES, "big") + text)
    for part in parts:
        file.write(part)
    file.flush()


def read_message(file: IO[bytes], largest_bytes: int) -> tuple[dict[str, Any], list[bytes]]:
    """Reads a message: its head and its parts, which may be so large together.

    Raises:
        MessageError: there is none, or it is larger.
    """
    length = int.from_bytes(_read(file, _LENGTH_BYTES), "big")
    if length > _LARGEST_HEAD_BYTES:
        raise MessageError("the head is too large")
    try:
        said = json.loads(_read(file, length))
        head, lengths = dict(said["head"]), [int(each) for each in said["lengths"]]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise MessageError("it is no message") from error
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

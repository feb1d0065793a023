"""What an ONNX file says about itself, read without running, optimising or even loading its network.

A model is a program. The texts that describe it lie in its outermost message, a list of numbered fields of
Protocol Buffers' wire format (https://protobuf.dev/programming-guides/encoding), and all others are passed
over by their lengths.
"""

from collections.abc import Iterator
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import TypeAlias

from facemend.errors import ModelError, reason_of
from facemend.files import open_named

Data: TypeAlias = bytes | mmap

_TEXTS, _KEY, _VALUE = 14, 1, 2
"""Fields of onnx.ModelProto (metadata_props) and of onnx.StringStringEntryProto."""
_NUMBER, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5
_MOST_FIELDS = 10_000
_MOST_PARTS = 100
"""Of a text, which has a key and a value."""
_MOST_TEXT_BYTES = 16 << 20
"""Of all texts together: the description of a model trained on 10,000 people takes 0.7 MB."""


def read_texts(path: Path) -> dict[str, str]:
    """The texts of an ONNX file, by their keys (metadata_props).

    Raises:
        ModelError: the file is missing, no ONNX file, or its texts are larger than any.
    """
    try:
        with open_named(path) as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
            return _texts(data)
    except FileNotFoundError as error:
        raise ModelError(f"the model file {path} does not exist") from error
    except OSError as error:
        raise ModelError(f"the model file {path} cannot be read: {reason_of(error)}") from error
    except ValueError as error:
        raise ModelError(f"{path} is not a model that can be read: {error}") from error


def _texts(data: Data) -> dict[str, str]:
    texts: dict[str, str] = {}
    total = 0
    for number, start, end in _fields(data, 0, len(data)):
        if number != _TEXTS:
            continue
        total += end - start
        if total > _MOST_TEXT_BYTES:
            raise ValueError(f"its texts take more than {_MOST_TEXT_BYTES >> 20} MiB")
        entry = data[start:end]
        fields = _fields(entry, 0, len(entry), _MOST_PARTS)
        parts = {field: entry[first:last].decode() for field, first, last in fields}
        texts[parts.get(_KEY, "")] = parts.get(_VALUE, "")
    return texts


def _fields(data: Data, at: int, end: int, most: int = _MOST_FIELDS) -> Iterator[tuple[int, int, int]]:
    """The fields that have a length: their number, their first byte, and the first one behind."""
    for _ in range(most):
        if at >= end:
            return
        tag, at = _varint(data, at, end)
        number, kind = tag >> 3, tag & 7
        if kind == _NUMBER:
            _, at = _varint(data, at, end)
        elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
            at += 8 if kind == _EIGHT_BYTES else 4
        elif kind == _LENGTH and number:
            length, at = _varint(data, at, end)
            if at + length > end:
                raise ValueError("it is truncated, or no ONNX file")
            yield number, at, at + length
            at += length
        else:
            raise ValueError("it is no ONNX file")
    raise ValueError(f"it has more than {most} fields")


def _varint(data: Data, at: int, end: int) -> tuple[int, int]:
    """A number of up to ten bytes, seven bits each, the lowest first; and the place behind it."""
    value = 0
    for place in range(at, min(at + 10, end)):
        value |= (data[place] & 0x7F) << (7 * (place - at))
        if data[place] < 0x80:
            return value, place + 1
    raise ValueError("it is truncated, or no ONNX file")

"""ONNX files: opened, checked and run in one way, or read without being run.

A model is a program. The texts that describe it lie in its outermost message, a list of numbered fields of
Protocol Buffers' wire format (https://protobuf.dev/programming-guides/encoding). `read_texts` passes over
all others by their lengths.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import onnxruntime

from facemend.errors import ModelError, UsageError, reason_of
from facemend.files import open_named, sha256_of
from facemend.parallel import cores

# Its wheels hold code that can send usage data. facemend works offline, so that is switched off.
onnxruntime.disable_telemetry_events()

CPU = "CPUExecutionProvider"
MOST_MODEL_BYTES = 2 << 30
"""Protocol Buffers hold no more."""

Tensor = npt.NDArray[np.float32]
Provider = str | tuple[str, dict[str, str]]
"""An execution provider's name, or its name and its options."""


@dataclass(frozen=True)
class TensorInfo:
    """An input or an output of a network.

    Attributes:
        shape: its lengths; one that is free is None.
        type: in ONNX Runtime's words, for example `tensor(float)`.
    """

    shape: tuple[int | None, ...]
    type: str


class OnnxModel:
    """An ONNX file, ready to be run, from several threads if need be.

    Attributes:
        path: the file.
        sha256: of the file, hexadecimal.
        inputs, outputs: all that the file has, by name and in its order.
        texts: what it says about itself (ONNX's metadata_props).
        providers: those of ONNX Runtime that could be started, the preferred first.
    """

    def __init__(
        self,
        path: Path,
        outputs: Sequence[str] | None = None,
        *,
        inputs: Sequence[str] = (),
        unfit: str = "is not the network that was expected",
        threads: int | None = None,
        providers: Sequence[Provider] = (CPU,),
    ) -> None:
        """Opens a file.

        Args:
            outputs: names of what `run` computes. None for the first output of the file.
            inputs: names of inputs that the file has to have.
            unfit: what the error says, behind the path, where one of these names is missing.
            threads: how many threads one run may use. None for as many as this process has cores.
            providers: of ONNX Runtime, the preferred first.

        Raises:
            ModelError: the file is missing, damaged or lacks one of the names.
            UsageError: less than one thread.
        """
        self.path = path
        self.sha256 = sha256_of_model(path)  # of a regular file: nothing waits for a pipe here
        self._session = _open_session(path, threads, providers)
        self.inputs = _infos(self._session.get_inputs())
        self.outputs = _infos(self._session.get_outputs())
        self._names = list(self.outputs)[:1] if outputs is None else list(outputs)
        if not (self.inputs.keys() >= set(inputs) and self.outputs.keys() >= set(self._names)):
            raise ModelError(f"{path} {unfit}")
        self.texts: Mapping[str, str] = self._session.get_modelmeta().custom_metadata_map
        self.providers: Sequence[str] = self._session.get_providers()

    def run(self, feeds: Mapping[str, Tensor], outputs: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Computes outputs, float32, by name and in the order in which they were asked for.

        Args:
            feeds: the inputs by name.
            outputs: names. None for those that were named when the file was opened.

        Raises:
            ModelError: the network fails, or a value that it computes is not finite.
        """
        names = self._names if outputs is None else list(outputs)
        try:
            found = self._session.run(names, dict(feeds))
        except Exception as error:
            raise ModelError(f"{self.path} cannot be run: {reason_of(error)}") from error
        values = [np.asarray(value, dtype=np.float32) for value in found]
        if not all(np.isfinite(value).all() for value in values):
            raise ModelError(f"{self.path} computes values that are not finite; export it again")
        return dict(zip(names, values, strict=True))


def _open_session(
    path: Path, threads: int | None, providers: Sequence[Provider]
) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors alone: its warnings are about the graph, not for a user
    if threads is not None and threads < 1:
        raise UsageError(f"{threads} threads cannot compute; use 1 or more")
    # ONNX Runtime's own default is all cores of the machine, and binds its threads to them.
    options.intra_op_num_threads = cores() if threads is None else threads
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=list(providers))
    except Exception as error:  # its errors have no base class but this
        raise ModelError(f"{path} is not a model that can be read: {reason_of(error)}") from error


def _infos(nodes: Sequence[onnxruntime.NodeArg]) -> dict[str, TensorInfo]:
    """The nodes by name. A named dimension (a text) is free."""
    return {
        node.name: TensorInfo(
            tuple(length if isinstance(length, int) else None for length in node.shape), node.type
        )
        for node in nodes
    }


def sha256_of_model(path: Path) -> str:
    """The sha256 of a model file, hexadecimal. Raises ModelError: it cannot be read, or is too large."""
    try:
        return sha256_of(path, MOST_MODEL_BYTES)
    except FileNotFoundError as error:
        raise ModelError(
            f"the model file {path} does not exist; check the path, or install facemend again"
        ) from error
    except OSError as error:
        raise ModelError(f"the model file {path} cannot be read: {reason_of(error)}") from error


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

"""ONNX files in ONNX Runtime: opened, checked and run in one way."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from facemend.errors import ModelError, UsageError, reason_of
from facemend.files import sha256_of
from facemend.parallel.processes import cores

CPU = "CPUExecutionProvider"

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
        self.sha256 = _sha256_of_model(path)  # of a regular file: nothing waits for a pipe here
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


def _sha256_of_model(path: Path) -> str:
    try:
        return sha256_of(path)
    except FileNotFoundError as error:
        raise ModelError(
            f"the model file {path} does not exist; check the path, or install facemend again"
        ) from error
    except OSError as error:
        raise ModelError(f"the model file {path} cannot be read: {reason_of(error)}") from error

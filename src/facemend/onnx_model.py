"""ONNX files, opened and run."""

from collections.abc import Sequence
from pathlib import Path

import onnxruntime

from facemend.errors import ModelError, UsageError

CPU = "CPUExecutionProvider"


def open_session(
    path: Path, threads: int | None, providers: Sequence[str] = (CPU,)
) -> onnxruntime.InferenceSession:
    """Opens an ONNX file; a session may be run from several threads.

    Args:
        threads: how many threads one run may use; None leaves it to ONNX Runtime.
        providers: of ONNX Runtime, the preferred first.

    Raises:
        ModelError: the file is missing or damaged.
        UsageError: less than one thread.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors alone: its warnings are about the graph, not for a user
    if threads is not None:
        if threads < 1:
            raise UsageError(f"{threads} threads cannot compute; use 1 or more")
        options.intra_op_num_threads = threads
    if not path.is_file():
        raise ModelError(f"the model file {path} does not exist; check the path, or install facemend again")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=list(providers))
    except Exception as error:
        raise ModelError(f"{path} is not a model that can be read: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    """What ONNX Runtime says, in one line; its errors have no base class but Exception."""
    return (str(error).splitlines() or [repr(error)])[0]

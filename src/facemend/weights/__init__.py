"""The model that comes with facemend."""

from pathlib import Path

from facemend.errors import ModelError


def shipped_model_path() -> Path:
    """The model file that is used when nobody names another.

    Raises:
        ModelError: this copy of facemend carries none.
    """
    path = Path(__file__).parent / "facemend.onnx"
    if not path.is_file():
        raise ModelError("this copy of facemend carries no model; name a model file (--model FILE)")
    return path

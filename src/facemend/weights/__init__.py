"""The model that comes with facemend."""

from pathlib import Path

from facemend.errors import ModelError


def shipped_model_path() -> Path:
    """The model file that is used when nobody names another.

    Raises:
        ModelError: this copy of facemend carries none.
    """
    return _shipped("facemend.onnx", "name a model file of your own")


def shipped_discriminator_path() -> Path:
    """The discriminator of that model, as safetensors. Training resumes from both.

    Raises:
        ModelError: this copy of facemend carries none.
    """
    return _shipped("discriminator.safetensors", "start from a checkpoint")


def _shipped(name: str, instead: str) -> Path:
    path = Path(__file__).parent / name
    if not path.is_file():
        raise ModelError(f"this copy of facemend carries no {name}; {instead}")
    return path

"""What a file of ours says about itself, as plain facts."""

from pathlib import Path
from typing import Any

from facemend.errors import ModelError, PictureError
from facemend.photos import START_LENGTH, format_of
from facemend.reconstruction.model import Model
from facemend.reconstruction.options import Device
from facemend.reconstruction.provenance import NOTICE, read_provenance


def describe_file(path: Path) -> dict[str, Any]:
    """The facts about a model file or a photo that facemend wrote, ready for JSON.

    Raises:
        PictureError: a photo that facemend did not write, or a file that cannot be read.
        ModelError: a damaged model, or neither a model nor a photo.
    """
    try:
        with path.open("rb") as file:
            start = file.read(START_LENGTH)
    except FileNotFoundError as error:
        raise PictureError(f"{path} does not exist") from error
    except OSError as error:
        raise PictureError(f"{path} cannot be read: {error.strerror or error}") from error
    if format_of(start):
        return _describe_picture(path)
    try:
        return _describe_model(path)
    except ModelError as error:
        if path.suffix == ".onnx":
            raise
        raise ModelError(f"{path} is neither a facemend model nor a photo that facemend wrote") from error


def _describe_picture(path: Path) -> dict[str, Any]:
    made = read_provenance(path)
    if made is None:
        raise PictureError(
            f"{path} says nothing about its making: facemend did not write it, or its metadata was removed"
        )
    return {
        "picture": str(path),
        "notice": NOTICE,
        "software": made.software,
        "model": made.model,
        "model_sha256": made.model_sha256,
        "input_sha256": made.input_sha256,
        "options": dict(made.options),
        "regions": [{"box_px": list(r.box_px), "coverage": r.coverage} for r in made.regions],
    }


def _describe_model(path: Path) -> dict[str, Any]:
    model = Model(path, device=Device.CPU)
    described = model.description
    people = described.training_people
    return {
        "model": str(path),
        "name": described.name,
        "sha256": model.sha256,
        "megabytes": round(path.stat().st_size / 1e6, 2),
        "size_px": described.size_px,
        "finds_occlusion": described.finds_occlusion,
        "takes_hint": described.takes_hint,
        "says_interval": described.says_interval,
        "images_seen": described.images_seen,
        "hours": described.hours,
        "data": described.data,
        "training_people": None if people is None else len(people),
        "commit": described.commit,
        "metrics": dict(described.metrics),
        "config": dict(described.config),
        "format": described.format,
    }

"""What a file of ours says about itself, as plain facts."""

from pathlib import Path
from typing import Any

from facemend.errors import ModelError, PictureError
from facemend.files import open_named, sha256_of
from facemend.photos import START_LENGTH, format_of
from facemend.reconstruction.description import METADATA_KEY, ModelDescription
from facemend.reconstruction.onnx_file import read_texts
from facemend.reconstruction.provenance import NOTICE, read_provenance


def describe_file(path: Path) -> dict[str, Any]:
    """The facts about a model file or a photo that facemend wrote, ready for JSON.

    They are what the file says. Nothing in it is run.

    Raises:
        PictureError: a photo that facemend did not write, or a file that cannot be read.
        ModelError: a damaged model, or neither a model nor a photo.
    """
    try:
        with open_named(path) as file:
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
    """What the file says; the network in it is neither loaded nor checked."""
    texts = read_texts(path)
    if METADATA_KEY not in texts:
        raise ModelError(f"{path} is not a facemend model; make one with facemend export")
    described = ModelDescription.from_json(texts[METADATA_KEY])
    people = described.training_people
    return {
        "model": str(path),
        "name": described.name,
        "sha256": sha256_of(path),
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

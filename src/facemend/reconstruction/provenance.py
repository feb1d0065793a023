"""What a picture says about its reconstruction, written into files and read back."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from facemend import __version__
from facemend.errors import ModelError, PictureError
from facemend.files import open_named, parse_json
from facemend.io import START_LENGTH, Note, format_of, read_record
from facemend.onnx_model import read_texts, sha256_of_model
from facemend.reconstruction.model import METADATA_KEY, ModelDescription

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
"""IPTC's term for a photo with parts that a trained model made."""
NOTICE = (
    "Parts of this picture were made up by a neural network. They are a guess, not evidence of "
    "anybody's identity."
)
MASK_NOTICE = "A mask of what hides the faces of a photo, found by a neural network. It may be wrong."
_MOST_PX = 1 << 31
OF_A_MASK: Mapping[str, str] = {"output": "mask"}
"""The option of a picture that shows an occlusion, and not a photo."""


@dataclass(frozen=True)
class Region:
    """A part of a picture that was reconstructed.

    Attributes:
        box_px: x1, y1, x2, y2, the pixels that differ from the input lie inside; x2 and y2 exclusive.
        coverage: share of the picture that they take, 0-1.
    """

    box_px: tuple[int, int, int, int]
    coverage: float

    @property
    def box(self) -> tuple[int, int, int, int]:
        """The box as x, y, width and height."""
        x1, y1, x2, y2 = self.box_px
        return x1, y1, x2 - x1, y2 - y1


@dataclass(frozen=True)
class Provenance:
    """How a picture was made.

    Attributes:
        model, model_sha256: the name and the file.
        input_sha256: of the input file, hexadecimal. None where the input was not a file.
        options: what else decides about the result.
        regions: what was reconstructed. Empty if nothing was.
        software: name and version.
    """

    model: str
    model_sha256: str
    input_sha256: str | None
    options: Mapping[str, str]
    regions: tuple[Region, ...] = ()
    software: str = f"facemend {__version__}"

    @property
    def notice(self) -> str:
        """What people have to know about the picture."""
        return MASK_NOTICE if self.options.items() >= OF_A_MASK.items() else NOTICE

    def same_work(self, other: "Provenance") -> bool:
        """Whether both come from the same input file, model and options."""
        return (
            self.input_sha256 is not None
            and self.input_sha256 == other.input_sha256
            and self.same_making(other)
        )

    def same_making(self, other: "Provenance") -> bool:
        """Whether both come from the same model and options."""
        return (self.model_sha256, self.options) == (other.model_sha256, other.options)

    def to_note(self) -> Note:
        """What a photo file says. It names no trained model where nothing was reconstructed."""
        record = json.dumps({"notice": self.notice} | asdict(self))
        return Note(self.software, self.notice, record, SOURCE_TYPE if self.regions else None)

    def to_text(self) -> dict[str, str]:
        """Keys and values for a PNG's text chunks, where the PNG is not a photo."""
        return self.to_note().texts()


def read_provenance(path: Path) -> Provenance | None:
    """What a picture of any format says about how it was made. None for a picture without a provenance or
    with a damaged one, for another kind of file, or for none."""
    record = read_record(path)
    return None if record is None else provenance_of(record)


def provenance_of(record: str) -> Provenance | None:
    """The provenance that a record of `Provenance.to_note` holds. None if it is damaged."""
    try:
        fields = parse_json(record)
        del fields["notice"]
        regions = tuple(_region_of(r["box_px"], r["coverage"]) for r in fields.pop("regions"))
        made = Provenance(**fields, regions=regions)
        _check_texts(made)
    except (KeyError, ValueError, TypeError, AttributeError):
        return None
    return made


def _region_of(box_px: list[int], coverage: float) -> Region:
    """Raises TypeError or ValueError: these are no region."""
    x1, y1, x2, y2 = box_px
    if not all(isinstance(value, int) and 0 <= value <= _MOST_PX for value in box_px):
        raise TypeError("a box is four whole numbers of a picture")
    if not isinstance(coverage, int | float) or not 0 <= coverage <= 1:
        raise TypeError("a coverage is a number from 0 to 1")
    return Region((x1, y1, x2, y2), coverage)


def _check_texts(made: Provenance) -> None:
    texts = [made.model, made.model_sha256, made.software, *made.options.items()]
    texts = [part for text in texts for part in ([text] if isinstance(text, str) else text)]
    if not all(isinstance(text, str) for text in texts) or not isinstance(made.input_sha256, str | None):
        raise TypeError("a provenance is made of texts")


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
        "notice": made.notice,
        "software": made.software,
        "model": made.model,
        "model_sha256": made.model_sha256,
        "input_sha256": made.input_sha256,
        "options": dict(made.options),
        "regions": [{"box_px": list(r.box), "coverage": r.coverage} for r in made.regions],
    }


def _describe_model(path: Path) -> dict[str, Any]:
    """What the file says. The network in it is neither loaded nor checked."""
    texts = read_texts(path)
    if METADATA_KEY not in texts:
        raise ModelError(f"{path} is not a facemend model; make one with facemend export")
    described = ModelDescription.from_json(texts[METADATA_KEY])
    people = described.training_people
    return {
        "model": str(path),
        "name": described.name,
        "sha256": sha256_of_model(path),
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

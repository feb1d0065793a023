"""What a written reconstruction says about itself, so that nobody takes it for a photograph.

It is carried as XMP in every format: IPTC's digital source type for any program, and JSON for us. A PNG
has it as texts, too: "Software" and "Comment" for any viewer, "facemend" as JSON.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from facemend import __version__
from facemend.files import parse_json
from facemend.photos import Note, read_record

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
"""IPTC's term for a photo with parts that a trained model made."""
NOTICE = (
    "Parts of this picture were made up by a neural network. They are a guess, not evidence of "
    "anybody's identity."
)


@dataclass(frozen=True)
class Region:
    """A part of a picture that was reconstructed.

    Attributes:
        box_px: x1, y1, x2, y2, the pixels that differ from the input lie inside; x2 and y2 exclusive.
        coverage: share of the picture that they take, 0-1.
    """

    box_px: tuple[int, int, int, int]
    coverage: float


@dataclass(frozen=True)
class Provenance:
    """How a picture was made.

    Attributes:
        model, model_sha256: the name and the file.
        input_sha256: of the input file, hexadecimal; None where the input was no file.
        options: what else decides about the result.
        regions: what was reconstructed; empty if nothing was.
        software: name and version.
    """

    model: str
    model_sha256: str
    input_sha256: str | None
    options: Mapping[str, str]
    regions: tuple[Region, ...] = ()
    software: str = f"facemend {__version__}"

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
        """What a photo file is to say; nothing of a trained model where nothing was reconstructed."""
        record = json.dumps({"notice": NOTICE} | asdict(self))
        return Note(self.software, NOTICE, record, SOURCE_TYPE if self.regions else None)

    def to_text(self) -> dict[str, str]:
        """Keys and values for a PNG's text chunks, where the PNG is no photo."""
        return self.to_note().texts()


def read_provenance(path: Path) -> Provenance | None:
    """What a picture of any format says about its making; None for a picture without (or with a
    damaged) provenance, a file that is no picture, or no file at all."""
    record = read_record(path)
    if record is None:
        return None
    try:
        fields = parse_json(record)
        del fields["notice"]
        regions = tuple(_region_of(r["box_px"], r["coverage"]) for r in fields.pop("regions"))
        made = Provenance(**fields, regions=regions)
        _check_texts(made)
    except (KeyError, ValueError, TypeError):
        return None
    return made


def _region_of(box_px: list[int], coverage: float) -> Region:
    """Raises TypeError or ValueError: these are no region."""
    x1, y1, x2, y2 = box_px
    if not all(isinstance(value, int) for value in box_px) or not isinstance(coverage, int | float):
        raise TypeError("a box is four whole numbers, and a coverage is one number")
    return Region((x1, y1, x2, y2), coverage)


def _check_texts(made: Provenance) -> None:
    texts = [made.model, made.model_sha256, made.software, *made.options.items()]
    texts = [part for text in texts for part in ([text] if isinstance(text, str) else text)]
    if not all(isinstance(text, str) for text in texts) or not isinstance(made.input_sha256, str | None):
        raise TypeError("a provenance is made of texts")

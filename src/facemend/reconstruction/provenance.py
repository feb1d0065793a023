"""What a written reconstruction says about itself, so that nobody takes it for a photograph.

It is carried as text in the PNG: "Software" and "Comment" for any viewer, "facemend" as JSON for us.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from PIL import Image as PillowImage
from PIL import UnidentifiedImageError

from facemend import __version__

CHUNK = "facemend"
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
        return self.input_sha256 is not None and (
            (self.input_sha256, self.model_sha256, self.options)
            == (other.input_sha256, other.model_sha256, other.options)
        )

    def to_text(self) -> dict[str, str]:
        """Keys and values for a PNG's text chunks."""
        return {
            "Software": self.software,
            "Comment": NOTICE,
            CHUNK: json.dumps({"notice": NOTICE} | asdict(self), ensure_ascii=False),
        }


def read_provenance(path: Path) -> Provenance | None:
    """What a PNG says about its making; None for a picture without (or with a damaged) provenance,
    a file that is no picture, or no file at all."""
    try:
        with PillowImage.open(path) as picture:
            fields = json.loads(picture.info[CHUNK])
        del fields["notice"]
        regions = (Region(tuple(r["box_px"]), r["coverage"]) for r in fields.pop("regions"))
        return Provenance(**fields, regions=tuple(regions))
    except (OSError, UnidentifiedImageError, SyntaxError, KeyError, ValueError, TypeError):
        return None

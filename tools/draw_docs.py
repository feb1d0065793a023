"""Draws the pictures of the documents anew: docs/demo.jpg and docs/occlusions.jpg.

    python tools/draw_docs.py

They show the two portraits in the public domain that come along, and nobody else.
"""

import io
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from facemend.alignment import crop_face
from facemend.datasets import FaceRecord, FaceSource
from facemend.datasets.pairs import Recipe
from facemend.datasets.stats import draw_preview
from facemend.images import Image
from facemend.io import Photo, read_photo, write_photo
from facemend.occlusion import KINDS
from facemend.reconstruction.demo import demo_provenance, draw_demo, read_portraits, run_demo
from facemend.reconstruction.reconstructor import Reconstructor

_DOCS = Path(__file__).resolve().parents[1] / "docs"
_DRAWS, _TILE_PX, _QUALITY = 3, 140, 82


def main() -> None:
    """Writes both pictures."""
    reconstructor = Reconstructor()
    demo = draw_demo(run_demo(reconstructor))
    note = demo_provenance(reconstructor).to_note()
    write_photo(_DOCS / "demo.jpg", _small(demo), note=note, force=True)
    recipe = Recipe(count=2 * _DRAWS, shares=dict.fromkeys(KINDS, 1.0))
    sheet = draw_preview(portraits_as_source(), recipe, _TILE_PX)
    write_photo(_DOCS / "occlusions.jpg", _small(np.asarray(sheet)), force=True)


def _small(picture: Image) -> Photo:
    """A picture as a JPEG file of moderate quality, which keeps its tables where it is written again."""
    file = io.BytesIO()
    PillowImage.fromarray(picture).save(file, "JPEG", quality=_QUALITY)
    file.seek(0)
    return read_photo(file).with_pixels(picture)


def portraits_as_source() -> FaceSource:
    """The portraits' crops, each under several names, so that a kind is drawn on it several times."""
    crops: dict[str, Image] = {}

    def read(name: str) -> Image:
        return crops[name]

    for portrait in read_portraits():
        crop = crop_face(portrait.photo, portrait.landmarks_px).image
        crops |= {f"{portrait.name} {number}": crop for number in range(_DRAWS)}
    return FaceSource("portraits", [FaceRecord(name, None) for name in crops], read, "docs")


if __name__ == "__main__":
    main()

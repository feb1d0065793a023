"""Draws the pictures of the documents anew: docs/demo.png and docs/occlusions.png.

    python tools/draw_docs.py

They show the two portraits in the public domain that come along, and nobody else.
"""

from pathlib import Path

import numpy as np

from facemend.datasets import FaceRecord, FaceSource
from facemend.datasets.pairs import Recipe
from facemend.datasets.preview import draw_preview
from facemend.frame import crop_face
from facemend.images import Image, write_png
from facemend.occlusion import KINDS
from facemend.reconstruction.demo import demo_provenance, draw_demo, read_portraits, run_demo
from facemend.reconstruction.reconstructor import Reconstructor

_DOCS = Path(__file__).resolve().parents[1] / "docs"
_DRAWS, _TILE_PX = 3, 140


def main() -> None:
    """Writes both pictures."""
    reconstructor = Reconstructor()
    demo = draw_demo(run_demo(reconstructor))
    write_png(_DOCS / "demo.png", demo, text=demo_provenance(reconstructor).to_text(), force=True)
    recipe = Recipe(count=2 * _DRAWS, shares=dict.fromkeys(KINDS, 1.0))
    sheet = draw_preview(portraits_as_source(), recipe, _TILE_PX)
    write_png(_DOCS / "occlusions.png", np.asarray(sheet), force=True)


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

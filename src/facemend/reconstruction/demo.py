"""The demo: two portraits in the public domain, occluded, reconstructed and drawn in one picture."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from facemend.alignment import CROP_SIZE_PX, Points, crop_face
from facemend.files import seed_of
from facemend.images import Image
from facemend.io import read_image
from facemend.metrics.psnr import psnr
from facemend.occlusion import OccludedFace, occlude
from facemend.reconstruction.options import Remove
from facemend.reconstruction.provenance import Provenance, read_provenance
from facemend.reconstruction.reconstructor import Reconstructor

KINDS = ("nose_mask", "blur", "blur_full", "mask_full")
"""The seed set: what the original project occluded faces with."""

_COLUMNS = ("input", "truth", "reconstruction")
_OPTIONS = {"input": "demo"}
_GAP_PX, _HEAD_PX, _MARGIN_PX = 8, 28, 150


@dataclass(frozen=True)
class Portrait:
    """A photo of one person, which comes with facemend.

    Attributes:
        name: who it is.
        photo: uint8 (H, W, 3) RGB.
        landmarks_px: float64 (5, 2) in the photo, in the order of `frame.LANDMARK_NAMES`.
    """

    name: str
    photo: Image
    landmarks_px: Points


@dataclass(frozen=True)
class DemoRow:
    """One portrait under one occlusion.

    Attributes:
        name: who it is.
        occluded: input, truth and exact occlusion, 256×256.
        reconstruction: uint8 (256, 256, 3) RGB, blind.
        copy_db, hole_db: PSNR in the hole of the input and of the reconstruction; None for a perfect one.
    """

    name: str
    occluded: OccludedFace
    reconstruction: Image
    copy_db: float | None
    hole_db: float | None


def read_portraits() -> list[Portrait]:
    """The portraits that come with facemend (see NOTICE)."""
    folder = files("facemend").joinpath("portraits")
    portraits = []
    for entry in json.loads(folder.joinpath("portraits.json").read_text("utf-8")):
        with folder.joinpath(entry["file"]).open("rb") as file:
            photo = read_image(file, name=entry["file"])
        portraits.append(Portrait(entry["name"], photo, np.array(entry["landmarks_px"], dtype=np.float64)))
    return portraits


def run_demo(reconstructor: Reconstructor) -> list[DemoRow]:
    """Occludes every portrait with every kind of the seed set and reconstructs it blind.

    Raises:
        ModelError: the model cannot be run.
    """
    rows = []
    for portrait in read_portraits():
        crop = crop_face(portrait.photo, portrait.landmarks_px, CROP_SIZE_PX).image
        for kind in KINDS:
            face = occlude(crop, None, kind, seed_of("demo", portrait.name, kind))
            image = reconstructor(face.image, aligned=True, remove=Remove.COVERS).array
            hole = face.occlusion.mask
            rows.append(
                DemoRow(portrait.name, face, image, psnr(face.image, crop, hole), psnr(image, crop, hole))
            )
    return rows


def demo_provenance(reconstructor: Reconstructor) -> Provenance:
    """What the demo's picture says about itself."""
    model = reconstructor.model
    return Provenance(model.description.name, model.sha256, None, _OPTIONS)


def is_demo(path: Path) -> bool:
    """Whether a file is a picture of an earlier demo."""
    made = read_provenance(path)
    return made is not None and made.options == _OPTIONS


def draw_demo(rows: Sequence[DemoRow]) -> Image:
    """A grid of input | truth | reconstruction, a row each, with names: uint8 (H, W, 3) RGB."""
    step = CROP_SIZE_PX + _GAP_PX
    width_px, height_px = _MARGIN_PX + step * len(_COLUMNS), _HEAD_PX + step * len(rows)
    sheet = PillowImage.new("RGB", (width_px, height_px), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for column, title in enumerate(_COLUMNS):
        pen.text(
            (_MARGIN_PX + step * column + CROP_SIZE_PX // 2, _HEAD_PX // 2), title, "black", font, "mm"
        )
    for number, row in enumerate(rows):
        top_px = _HEAD_PX + step * number
        label = f"{row.name}\n{row.occluded.occlusion.kind}"
        pen.text((_GAP_PX, top_px + CROP_SIZE_PX // 2), label, "black", font, "lm")
        for column, image in enumerate((row.occluded.image, row.occluded.target, row.reconstruction)):
            sheet.paste(PillowImage.fromarray(image), (_MARGIN_PX + step * column, top_px))
    return np.asarray(sheet, dtype=np.uint8)

"""The two portraits in the public domain: the demo's picture, and what `facemend doctor` makes of them."""

import hashlib
import json
import os
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from facemend import __version__
from facemend.alignment import CROP_SIZE_PX, Points, crop_face
from facemend.detection import find_faces
from facemend.files import seed_of, sha256_of
from facemend.images import Image, resize
from facemend.io import read_image
from facemend.metrics.psnr import psnr
from facemend.occlusion import OccludedFace, occlude
from facemend.reconstruction.model import shipped_model_path
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


CORE = ("click", "numpy", "onnxruntime", "pillow", "tqdm")
EXTRAS: Mapping[str, str] = {
    "serve": "the page and the HTTP API",
    "heic": "HEIC photos, as phones take them",
    "video": "clips",
    "watch": "facemend watch: a folder that fills itself",
    "c2pa": "a signed C2PA manifest in the output",
    "train": "training and exporting models",
    "evaluate": "measuring models",
    "identity": "measuring whether a reconstruction keeps the person",
    "scale": "work on a Ray cluster",
}
"""The extras that a user may want, and what each is for."""
_KIND = "nose_mask"
_SIDE = 8  # of the small copies that are compared
_MOST_LEVELS = 2
"""How far a mean of 32×32 pixels may differ where a processor rounds otherwise."""
_MOST_PX = 1.0  # how far a box may lie off


@dataclass(frozen=True)
class SelfTest:
    """What the shipped networks make of the two portraits.

    Attributes:
        model_sha256, detector_sha256: which networks.
        boxes_px: x1, y1, x2, y2 of each portrait's face.
        levels: of each reconstructed crop, the mean gray levels of 8×8 squares, row by row.
        pixels_sha256: of all pixels of these crops.
    """

    model_sha256: str
    detector_sha256: str
    boxes_px: list[list[float]]
    levels: list[list[int]]
    pixels_sha256: str


def run_self_test() -> SelfTest:
    """Covers the portraits, and finds and reconstructs their faces.

    Raises:
        ModelError: a network is missing or cannot be run.
    """
    reconstructor = Reconstructor()
    digest, boxes, levels = hashlib.sha256(), [], []
    for portrait in read_portraits():
        (face, *_) = find_faces(portrait.photo)
        boxes.append([round(value, 2) for value in face.box_px])
        crop = crop_face(portrait.photo, portrait.landmarks_px, CROP_SIZE_PX).image
        occluded = occlude(crop, None, _KIND, seed_of("self-test", portrait.name))
        pixels = reconstructor(occluded.image, aligned=True).array
        digest.update(pixels.tobytes())
        small = resize(pixels, _SIDE, _SIDE).mean(axis=2)
        levels.append(np.rint(small).astype(int).ravel().tolist())
    detector = shipped_model_path().with_name("detector.onnx")
    return SelfTest(reconstructor.model.sha256, sha256_of(detector), boxes, levels, digest.hexdigest())


def expected_self_test() -> SelfTest:
    """What the tests found with the shipped networks (tools/record_self_test.py)."""
    text = files("facemend").joinpath("weights/self_test.json").read_text("utf-8")
    return SelfTest(**json.loads(text))


def verdict(found: SelfTest, expected: SelfTest) -> tuple[bool, str]:
    """Whether a self-test went well, and a sentence about it."""
    if found == expected:
        return True, "the same pixels as in our tests"
    if (found.model_sha256, found.detector_sha256) != (expected.model_sha256, expected.detector_sha256):
        return False, "the networks are not those of this version; install facemend again"
    off_px = float(np.abs(np.subtract(found.boxes_px, expected.boxes_px)).max())
    off = int(np.abs(np.subtract(found.levels, expected.levels)).max())
    said = f"boxes within {off_px:.2f} px and levels within {off} of 255 of our tests"
    if off_px <= _MOST_PX and off <= _MOST_LEVELS:
        return True, f"{said}: this processor rounds otherwise"
    return False, f"{said}: this machine computes something else; report it with all of this"


def describe_installation() -> dict[str, Any]:
    """Versions, files and extras, ready for JSON. It names no path and no person."""
    weights = shipped_model_path().parent
    return {
        "facemend": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": os.cpu_count(),
        "packages": {name: _version(name) for name in CORE},
        "providers": onnxruntime.get_available_providers(),
        "networks": {path.name: sha256_of(path) for path in sorted(weights.glob("*.onnx"))},
        "extras": {name: describe_extra(name) for name in EXTRAS},
    }


def describe_extra(name: str) -> dict[str, Any]:
    """What an extra is for, and its packages with their versions. None for a package that is missing."""
    needed = [line for line in _requirements() if re.search(rf"extra == ['\"]{name}['\"]", line)]
    names = [found[0] for line in needed if (found := re.match(r"[A-Za-z0-9._-]+", line))]
    packages = {each: _version(each) for each in names if each != "facemend"}
    return {"for": EXTRAS[name], "packages": packages}


def diagnose() -> dict[str, Any]:
    """Everything, with the self-test. Raises ModelError: a network is missing or cannot be run."""
    found = run_self_test()
    passed, said = verdict(found, expected_self_test())
    outcome = {"passed": passed, "said": said, **asdict(found)}
    del outcome["levels"]
    return describe_installation() | {"self_test": outcome}


def _requirements() -> list[str]:
    """The lines of the package's metadata. None where it runs from a clone that is not installed."""
    try:
        return requires("facemend") or []
    except PackageNotFoundError:
        return []


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None

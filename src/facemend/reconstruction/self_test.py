"""What a bug report needs: versions, files, and whether this machine computes what ours does."""

import hashlib
import json
import os
import platform
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.resources import files
from typing import Any

import numpy as np
import onnxruntime

from facemend import __version__
from facemend.alignment import CROP_SIZE_PX, crop_face
from facemend.detection import find_faces
from facemend.files import seed_of, sha256_of
from facemend.images import resize
from facemend.occlusion import occlude
from facemend.reconstruction.demo import read_portraits
from facemend.reconstruction.model import shipped_model_path
from facemend.reconstruction.reconstructor import Reconstructor

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

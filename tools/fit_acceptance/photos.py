"""The photos that the table is fitted to, each with what is known of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facemend.datasets.folder import open_table
from facemend.detection import Detector, Face
from facemend.files import seed_of
from facemend.images import Alpha, Image, resize
from facemend.io import find_pictures, read_image
from facemend.occlusion import KINDS, OcclusionClass, occlude
from facemend.reconstruction.options import Remove
from tools.fit_acceptance.conditions import CONDITIONS

_FACES, _CONDITIONS, _KINDS = 300, 6, 6  # frames; of each other photo conditions and covers: ten minutes


@dataclass(frozen=True)
class Photo:
    """A photo, and what is known of it.

    Attributes:
        source: which set it comes from.
        name: of the file that it was made from: what is fitted and what is checked share none.
        condition: what was done to the whole photo.
        kind: what covers a face, "none" or "real".
        image: uint8 (H, W, 3) RGB.
        truth: float32 (H, W), the cover; None where nobody knows.
        remove: which class is to be removed.
    """

    source: str
    name: str
    condition: str
    kind: str
    image: Image
    truth: Alpha | None
    remove: Remove = Remove.COVERS


_CUTS = ("cut left", "cut top", "cut bottom", "below the face")


def _cut(image: Image, face: Face, where: str, rng: np.random.Generator) -> Image:
    """A photo that ends 20-60% into the box of a face, or begins below it and shows no face."""
    x1, y1, x2, y2 = face.box_px
    share = rng.uniform(0.2, 0.6)
    if where == "below the face":
        return image[min(round(y2 + 0.25 * (y2 - y1)), len(image) - 32) :].copy()
    if where == "cut left":
        return image[:, max(0, round(x1 + share * (x2 - x1))) :].copy()
    if where == "cut top":
        return image[max(0, round(y1 + share * (y2 - y1))) :].copy()
    return image[: round(y2 - share * (y2 - y1))].copy()


def examples(shared: Path, detect: Detector) -> Iterator[Photo]:
    """All photos, made one after the other, in a seeded order."""
    folders = ("portraits", "photos", "real-masks", "scenes", "real-masked/images", "occluders/textures")
    files = [
        (folder, path.name)
        for folder in folders
        for path in find_pictures(shared / folder, recursive=False)
    ]
    frames = [
        record.name
        for record in open_table(shared / "faces").records
        if record.use == "train" and record.traits["coverage"] > 0.7
    ]
    chosen = np.random.default_rng(0).permutation(len(frames))[:_FACES]
    files += [("faces/images", frames[place]) for place in chosen]
    for place in np.random.default_rng(1).permutation(len(files)):
        source, name = files[place]
        image = read_image(shared / source / name)
        if source in ("portraits", "photos"):
            yield from _of_photo(source, name, image, detect)
        elif source == "faces/images":
            yield from _of_frame(source, name, image, detect)
        elif source == "occluders/textures":
            yield _uncovered(source, name, "no face", image)
        else:
            yield Photo(source, name, "as it is", "real", image, None)


def _surest(image: Image, detect: Detector) -> Face | None:
    return max(detect(image, min_confidence=0.5), key=lambda face: face.confidence, default=None)


def _scaled_to(image: Image, face: Face, width_px: float) -> Image:
    """A photo shrunk so that its face is so wide; never enlarged."""
    share = min(1.0, width_px / (face.box_px[2] - face.box_px[0]))
    return resize(image, *(max(1, round(side * share)) for side in image.shape[1::-1]))


def _of_photo(source: str, name: str, image: Image, detect: Detector) -> Iterator[Photo]:
    rng = np.random.default_rng(seed_of("acceptance", source, name))
    face = _surest(image, detect)
    if face is None:
        yield _uncovered(source, name, "as it is", image)
        return
    image = _scaled_to(image, face, 260)
    face = _surest(image, detect) or face
    yield _uncovered(source, name, "as it is", image)
    for condition in rng.choice(list(CONDITIONS)[1:], _CONDITIONS, replace=False).tolist():
        changed = CONDITIONS[condition](image, face.box_px[2] - face.box_px[0], rng)
        yield _uncovered(source, name, condition, changed)
    for where in _CUTS:
        yield _uncovered(source, name, where, _cut(image, face, where, rng))
    for width_px in (40, 80):
        yield _uncovered(source, name, f"{width_px} px", _scaled_to(image, face, width_px))
    for kind in rng.choice(list(KINDS), _KINDS, replace=False).tolist():
        yield from _covered(source, name, image, face, kind, detect, rng)


def _of_frame(source: str, name: str, image: Image, detect: Detector) -> Iterator[Photo]:
    """A frame as a photo: once uncovered as it is, once under a condition, once covered."""
    rng = np.random.default_rng(seed_of("acceptance", source, name))
    face = _surest(image, detect)
    if face is None:
        return
    image = _scaled_to(image, face, rng.uniform(40, 110))
    face = _surest(image, detect) or face
    yield _uncovered(source, name, "as it is", image)
    condition = str(rng.choice(list(CONDITIONS)))
    yield _uncovered(
        source, name, condition, CONDITIONS[condition](image, face.box_px[2] - face.box_px[0], rng)
    )
    yield from _covered(source, name, image, face, str(rng.choice(list(KINDS))), detect, rng)


def _uncovered(source: str, name: str, condition: str, image: Image) -> Photo:
    return Photo(source, name, condition, "none", image, np.zeros(image.shape[:2], dtype=np.float32))


def _covered(
    source: str, name: str, image: Image, face: Face, kind: str, detect: Detector, rng: np.random.Generator
) -> Iterator[Photo]:
    """A photo with a drawn cover, at another size, in one case of three under a condition.

    Accessories stay when covers are asked for, and go when all is.
    """
    if rng.random() < 0.6 and source != "faces/images":
        image = _scaled_to(image, face, float(np.exp(rng.uniform(np.log(40), np.log(250)))))
        face = _surest(image, detect) or face
    hidden = occlude(image, face.landmarks_px, kind, int(rng.integers(2**60)))
    condition = "as it is" if rng.random() < 0.67 else str(rng.choice(list(CONDITIONS)))
    covered = CONDITIONS[condition](hidden.image, face.box_px[2] - face.box_px[0], rng)
    if hidden.occlusion.occlusion_class is OcclusionClass.COVERS:
        yield Photo(source, name, condition, kind, covered, hidden.occlusion.alpha)
        return
    yield Photo(source, name, condition, f"{kind} stays", covered, np.zeros_like(hidden.occlusion.alpha))
    yield Photo(source, name, condition, f"{kind} goes", covered, hidden.occlusion.alpha, Remove.ALL)

"""The occlusion alone: where faces are and what hides them, by class, without a reconstruction."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from facemend.detection import Detector, Face
from facemend.errors import ModelError, OutputError
from facemend.files import parse_json, read_own, write_text
from facemend.images import Alpha, Image, Mask
from facemend.io import write_png
from facemend.io.png import encode_png
from facemend.occlusion import OcclusionClass
from facemend.reconstruction.aligned import reconstruct_aligned
from facemend.reconstruction.model import Model
from facemend.reconstruction.options import Options, Remove
from facemend.reconstruction.pipeline import Passes, check_numbers, choose_faces, number_faces
from facemend.reconstruction.provenance import Provenance

_FARTHEST_PX, _MOST_LEVELS = 1 << 31, 8


@dataclass(frozen=True)
class FoundOcclusion:
    """What hides a face, of one class.

    Attributes:
        box: rows and columns of the photo, h by w, that `alpha` covers.
        alpha: float32 (h, w), 0-1, the score of each pixel. 0 everywhere if the face does not count as
            occluded.
        probability: that the face is there and occluded, 0-1. None for a ready crop, which has no such
            decision.
    """

    box: tuple[slice, slice]
    alpha: Alpha
    probability: float | None

    @property
    def found(self) -> bool:
        """Whether the face counts as occluded."""
        return bool(self.alpha.any())


@dataclass(frozen=True)
class FoundFace:
    """A face, and what hides it.

    Attributes:
        face: where it is.
        occlusions: one of each class. Empty if the face was not chosen.
        number: what every command calls it, see `number_faces`.
        chosen: whether the options let it be searched. If not, it was left alone.
    """

    face: Face
    occlusions: Mapping[OcclusionClass, FoundOcclusion]
    number: int = 1
    chosen: bool = True

    def found(self, occlusion_class: OcclusionClass) -> bool:
        """Whether an occlusion of a class was found."""
        one = self.occlusions.get(occlusion_class)
        return one is not None and one.found


@dataclass(frozen=True, repr=False)
class Findings:
    """The occlusions of a photo.

    Attributes:
        width_px, height_px: of the photo as displayed.
        faces: the largest first. Empty if none was found.
        options: what decided about them.
        provenance: how they were found.
        file_mode: the permissions of the photo's file. What is written is as private.
    """

    width_px: int
    height_px: int
    faces: tuple[FoundFace, ...]
    options: Options
    provenance: Provenance
    file_mode: int = 0o777

    def alpha(self, occlusion_class: OcclusionClass | str) -> Alpha:
        """float32 (H, W), 0-1: the score of each pixel of the photo, for `covers` or `accessories`."""
        whole = np.zeros((self.height_px, self.width_px), dtype=np.float32)
        for face in self.faces:
            found = face.occlusions.get(OcclusionClass(occlusion_class))
            if found is None:
                continue
            whole[found.box] = np.maximum(whole[found.box], found.alpha)
        return whole

    def mask(self, occlusion_class: OcclusionClass | str) -> Mask:
        """bool (H, W): the pixels of the photo that are occluded, by `covers` or `accessories`."""
        mask: Mask = self.alpha(occlusion_class) > self.options.occlusion_threshold
        return mask

    def png(self, occlusion_class: OcclusionClass | str) -> bytes:
        """A gray PNG of the photo's size: 255 times `alpha`."""
        return encode_png(_levels(self.alpha(occlusion_class)), text=self.provenance.to_text())

    def to_json(self) -> dict[str, Any]:
        """Everything but the masks, ready for JSON. Boxes are x, y, width, height."""
        made = self.provenance
        return {
            "software": made.software,
            "model": {"name": made.model, "sha256": made.model_sha256},
            "input_sha256": made.input_sha256,
            "options": dict(made.options),
            "width_px": self.width_px,
            "height_px": self.height_px,
            "faces": [self._face(face) for face in self.faces],
        }

    def save(self, folder: Path | str, stem: str, *, force: bool = False) -> None:
        """Writes STEM_covers.png, STEM_accessories.png and, last, STEM.json into a folder.

        Raises:
            OutputError: a file exists and `force` is not set, or the disk refuses.
        """
        paths, text = output_paths(Path(folder), stem), self.provenance.to_text()
        there = [path for path in paths if path.exists()]
        if there and not force:
            raise OutputError(f"{there[0]} exists already; choose another folder or add force=True")
        masks = dict(zip(OcclusionClass, paths, strict=False))
        for occlusion_class, path in masks.items():
            levels = _levels(self.alpha(occlusion_class))
            write_png(path, levels, text=text, force=force, most_mode=self.file_mode)
        document = self.to_json() | {"masks": {str(each): path.name for each, path in masks.items()}}
        text_of_all = json.dumps(document, indent=2) + "\n"
        write_text(paths[-1], text_of_all, force=force, most_mode=self.file_mode)

    def _face(self, found: FoundFace) -> dict[str, Any]:
        return {
            "face": found.number,
            "chosen": found.chosen,
            "box_px": [round(value, 1) for value in found.face.box],
            "landmarks_px": found.face.landmarks_px.round(1).tolist(),
            "confidence": round(found.face.confidence, 3),
            "occlusions": {str(name): self._occlusion(each) for name, each in found.occlusions.items()},
        }

    def _occlusion(self, found: FoundOcclusion) -> dict[str, Any]:
        mask = found.alpha > self.options.occlusion_threshold
        y, x = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
        top, left = found.box[0].start, found.box[1].start
        box_px = (
            [left + int(x[0]), top + int(y[0]), int(np.ptp(x)) + 1, int(np.ptp(y)) + 1] if len(x) else None
        )
        return {
            "found": found.found,
            "probability": None if found.probability is None else round(found.probability, 3),
            "box_px": box_px,
            "share": round(float(mask.sum()) / (self.width_px * self.height_px), 6),
        }

    def __repr__(self) -> str:
        counts = {each: sum(face.found(each) for face in self.faces) for each in OcclusionClass}
        found = ", ".join(f"{count} with {name}" for name, count in counts.items())
        return f"Findings({self.width_px}×{self.height_px}, {len(self.faces)} faces, {found})"


def _levels(alpha: Alpha) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.rint(alpha * 255).astype(np.uint8)


def output_paths(folder: Path, stem: str) -> list[Path]:
    """The files that `Findings.save` writes, the JSON last: a mask of each class, and the rest."""
    masks = [folder / f"{stem}_{occlusion_class}.png" for occlusion_class in OcclusionClass]
    return [*masks, folder / f"{stem}.json"]


def read_document(paths: Sequence[Path], expected: Provenance) -> dict[str, Any] | None:
    """What the JSON of an earlier run says, if that run was the same and all its files are there.

    Its faces are checked: a stranger may have written the file.
    """
    try:
        document = parse_json(read_own(paths[-1]))
        made = document["input_sha256"], document["model"]["sha256"], document["options"]
        ours = _is_flat(document, _MOST_LEVELS) and all(map(_is_face, document["faces"]))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    same = made == (expected.input_sha256, expected.model_sha256, dict(expected.options))
    return document if ours and same and all(path.exists() for path in paths) else None


def _is_flat(value: Any, most_levels: int) -> bool:
    """Whether a value of JSON is nested no deeper: a stranger's may be too deep to be sent or printed."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return most_levels > 0 and all(_is_flat(each, most_levels - 1) for each in inside)


def _is_face(face: Any) -> bool:
    """Whether a face of a document has what is printed of it.

    Raises:
        KeyError, TypeError, AttributeError: it has not.
    """
    probabilities = [found["probability"] for found in face["occlusions"].values()]
    return (
        type(face["face"]) is int
        and len(face["box_px"]) == 4
        and all(type(value) in (int, float) and abs(value) < _FARTHEST_PX for value in face["box_px"])
        and face["occlusions"].keys() <= set(OcclusionClass)
        and all(type(found["found"]) is bool for found in face["occlusions"].values())
        and all(each is None or (type(each) in (int, float) and 0 <= each <= 1) for each in probabilities)
    )


def find_in_photo(
    photo: Image, faces: Sequence[Face], model: Model, options: Options, name: str
) -> tuple[FoundFace, ...]:
    """The occlusions of the faces of a photo, by the rules that `reconstruct_faces` uses for each class.

    Args:
        photo: uint8 (H, W, 3) RGB.
        name: what the log calls the photo.

    Raises:
        ModelError: the model finds no occlusion, or cannot be run.
    """
    if not model.description.finds_occlusion:
        raise ModelError(f"the model {model.description.name} finds no occlusion; use another --model")
    highest = max((face.confidence for face in faces), default=0.0)
    by_class = {
        each: Passes(model, replace(options, remove=Remove(str(each))), name, draws=False)
        for each in OcclusionClass
    }
    done = []
    numbered = number_faces(faces, options)

    def is_hidden(face: Face) -> bool:
        found = _find_in_face(photo, face, by_class, highest)
        return found is not None and any(map(found.found, OcclusionClass))

    chosen = choose_faces(numbered, photo.shape[1], options, is_hidden)
    for number, face in numbered:
        sure = face.confidence >= options.min_confidence
        if number not in chosen:
            done += [FoundFace(face, {}, number, chosen=False)] if sure else []
            continue
        found = _find_in_face(photo, face, by_class, highest)
        if found is not None and (sure or any(map(found.found, OcclusionClass))):
            done.append(replace(found, number=number))
    check_numbers((one.number for one in done), options, name)
    return tuple(done)


def _find_in_face(
    photo: Image, face: Face, by_class: Mapping[OcclusionClass, Passes], highest: float
) -> FoundFace | None:
    """What hides a face, or None if it lies outside the photo. The first pass serves every class."""
    first = by_class[OcclusionClass.COVERS].run(photo, face)
    if first is None:
        return None
    place, occlusions = face, {}
    for occlusion_class, passes in by_class.items():
        seen, probability = passes.complete(photo, passes.wanted(first), highest)
        alpha = seen.view.put(seen.found).clip(0, 1)
        occlusions[occlusion_class] = FoundOcclusion(seen.view.box, alpha, probability)
        if occlusion_class is OcclusionClass.COVERS:
            place = seen.face  # a face that is hidden whole is located by its cover
    return FoundFace(place, occlusions)


def find_in_aligned(
    image: Image, model: Model, detector: Detector, options: Options, name: str
) -> tuple[FoundFace, ...]:
    """The occlusions of the one face of a ready crop. Arguments and errors as `reconstruct_aligned`."""
    height_px, width_px = image.shape[:2]
    box = slice(0, height_px), slice(0, width_px)
    nothing = FoundOcclusion(box, np.zeros((height_px, width_px), dtype=np.float32), None)
    occlusions, face = dict.fromkeys(OcclusionClass, nothing), None
    for occlusion_class in OcclusionClass:
        wanted = replace(options, remove=Remove(str(occlusion_class)))
        _, done = reconstruct_aligned(image, model, detector, wanted, name=name)
        for one in done:
            face = one.face
            if one.changed:
                occlusions[occlusion_class] = FoundOcclusion(one.box, one.removed, None)
    return () if face is None else (FoundFace(face, occlusions),)

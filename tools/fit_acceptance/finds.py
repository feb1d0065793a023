"""What the detector and the model find in the photos, collected once a model."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from facemend.alignment import Points, view_of
from facemend.detection import Detector
from facemend.detection.detector import MIN_SIZE_PX
from facemend.reconstruction.acceptance import Evidence, evidence_of, find_occlusion
from facemend.reconstruction.model import Model
from facemend.reconstruction.options import THRESHOLD, Options
from facemend.thresholds import THRESHOLDS
from tools.fit_acceptance.photos import Photo, examples

_RIGHT, _WRONG = 0.4, 0.1  # intersection over union of what is found and what covers


def finds_of(photo: Photo, detect: Detector, model: Model) -> list[dict[str, object]]:
    """What is known of each find of the detector in which the model finds something to remove."""
    faces = [
        f
        for f in detect(photo.image, min_confidence=THRESHOLDS.hidden_face * THRESHOLDS.min_confidence)
        if f.box_px[2] - f.box_px[0] >= MIN_SIZE_PX
    ]
    surest = max((face.confidence for face in faces), default=0.0)
    finds: list[dict[str, object]] = []
    for face in faces:
        described = model.description
        view = view_of(photo.image, face.landmarks_px, described.size_px, tall=described.tall)
        if view is None:
            continue
        crop = view.crop.image
        wanted = find_occlusion(crop, model(crop[None]), Options(remove=photo.remove))
        evidence = evidence_of(photo.image, view, wanted, THRESHOLD, face.confidence, surest)
        if evidence is None:
            continue
        agrees = None
        if photo.truth is not None:
            found = view.put(wanted) > THRESHOLD
            true = photo.truth > 0.5
            both = int((found & true[view.box]).sum())
            agrees = both / max(1, int(found.sum()) + int(true.sum()) - both)
        finds.append(
            {"evidence": asdict(evidence), "agrees": agrees, "box": [round(v) for v in face.box_px]}
        )
    return finds


def collect(shared: Path, model_path: Path, cache: Path) -> None:
    """Puts every photo with its finds into the cache, a line each."""
    detect, model = Detector(threads=1), Model(model_path, threads=1)
    cache.parent.mkdir(parents=True, exist_ok=True)
    partial = cache.with_suffix(".partial")
    with partial.open("w") as file:
        for number, photo in enumerate(examples(shared, detect), 1):
            row: dict[str, Any] = {
                key: getattr(photo, key) for key in ("source", "name", "condition", "kind")
            }
            row["covered"] = photo.truth is None or bool(photo.truth.any())
            row["finds"] = finds_of(photo, detect, model)
            file.write(json.dumps(row) + "\n")
            if number % 250 == 0:
                print(f"{number} photos", flush=True)
    partial.replace(cache)


@dataclass(frozen=True)
class Find:
    """A find of the detector, as the fit sees it. `covered` is None where nobody knows."""

    photo: int
    evidence: Points
    covered: bool | None


def read_cache(cache: Path) -> tuple[list[dict[str, Any]], list[Find]]:
    """The photos, and all finds in them."""
    photos: list[dict[str, Any]] = [json.loads(line) for line in cache.read_text().splitlines()]
    finds = []
    for number, photo in enumerate(photos):
        surest = max((find["evidence"]["confidence"] for find in photo["finds"]), default=0)
        for find in photo["finds"]:
            row = np.array([find["evidence"][field.name] for field in fields(Evidence)])
            if find["agrees"] is not None:
                agrees = find["agrees"]
                covered = True if agrees >= _RIGHT else False if agrees < _WRONG else None
            elif photo["source"] != "real-masked/images":
                covered = None
            else:
                # One person each: the surest find is the face, another one is none.
                first = find["evidence"]["confidence"] == surest
                covered = (True if find["evidence"]["hides"] > 0.5 else None) if first else False
            finds.append(Find(number, row, covered))
    return photos, finds

"""What is answered: a picture with what was done in its headers, or JSON that holds all of it."""

from base64 import b64encode
from dataclasses import asdict
from io import BytesIO
from typing import Literal

import numpy as np
from fastapi.responses import JSONResponse, Response
from PIL import Image as PillowImage
from pydantic import BaseModel, Field

from facemend.images import Alpha
from facemend.reconstruction.provenance import NOTICE
from facemend.server.mending import MEDIA_TYPES, Mended, MendedFace

Base64 = str
Outcome = Literal["reconstructed", "unchanged", "no_face"]


class Picture(BaseModel):
    """A picture's file."""

    media_type: str = Field(examples=["image/jpeg"])
    base64: Base64


class FaceAnswer(BaseModel):
    """A face that was found. Coordinates are pixels of the upright photo, (0, 0) its top left one."""

    face: int = Field(description="Its number; the largest is 1.")
    box_px: tuple[float, float, float, float] = Field(description="x1, y1, x2, y2.")
    landmarks_px: list[tuple[float, float]] = Field(description="Eyes, nose, corners of the mouth.")
    confidence: float
    chosen: bool
    reconstructed: bool
    coverage: float = Field(description="Share of the photo's pixels that were reconstructed, 0-1.")
    reach_px: list[tuple[float, float]] = Field(
        description="Four corners; a mask may mark what lies inside. Empty for a ready crop."
    )
    area_px: tuple[int, int, int, int] = Field(description="x1, y1, x2, y2 that the occlusions cover.")
    occlusions: dict[str, Base64] = Field(
        description="PNG by class (covers, accessories): white is occluded."
    )
    changed: Base64 | None = Field(description="PNG: white was reconstructed; nothing if nothing was.")


class Answer(BaseModel):
    """What was done to a photo."""

    outcome: Outcome
    notice: str
    width_px: int
    height_px: int
    faces: list[FaceAnswer]
    picture: Picture
    before: Picture | None
    provenance: dict[str, object]
    work_s: float


class ErrorAnswer(BaseModel):
    """What is wrong with a request."""

    code: str = Field(description="For programs.", examples=["bad_picture"])
    message: str = Field(description="For people: what to do.", examples=["the photo is not a picture"])


def picture_answer(mended: Mended) -> Response:
    """The picture, and in its headers what was done."""
    headers = {
        "Facemend-Outcome": mended.outcome,
        "Facemend-Faces": str(len(mended.faces)),
        "Facemend-Reconstructed": str(sum(face.changed for face in mended.faces)),
    }
    return Response(mended.picture, media_type=MEDIA_TYPES[mended.kind], headers=headers)


def json_answer(mended: Mended) -> Response:
    """Everything, as JSON of the shape of `Answer`."""
    height_px, width_px = mended.photo.pixels.shape[:2]
    before = None if mended.before is None else _picture(mended.before, "image/png")
    return JSONResponse(
        {
            "outcome": mended.outcome,
            "notice": NOTICE,
            "width_px": width_px,
            "height_px": height_px,
            "faces": [_face(face) for face in mended.faces],
            "picture": _picture(mended.picture, MEDIA_TYPES[mended.kind]),
            "before": before,
            "provenance": asdict(mended.provenance),
            "work_s": round(mended.work_s, 3),
        }
    )


def _face(face: MendedFace) -> dict[str, object]:
    done = face.done
    rows, columns = done.box
    return {
        "face": face.number,
        "box_px": [round(value, 1) for value in done.face.box_px],
        "landmarks_px": done.face.landmarks_px.round(1).tolist(),
        "confidence": round(done.face.confidence, 3),
        "chosen": face.chosen,
        "reconstructed": face.changed,
        "coverage": done.coverage if face.changed else 0.0,
        "reach_px": face.reach_px,
        "area_px": [columns.start, rows.start, columns.stop, rows.stop],
        "occlusions": {str(name): _png(alpha) for name, alpha in done.occlusion.items()},
        "changed": _png((done.weight > 0).astype(np.float32)) if done.changed else None,
    }


def _picture(data: bytes, media_type: str) -> dict[str, str]:
    return {"media_type": media_type, "base64": b64encode(data).decode()}


def _png(alpha: Alpha) -> Base64:
    file = BytesIO()
    PillowImage.fromarray(np.rint(alpha * 255).astype(np.uint8)).save(file, "PNG", compress_level=1)
    return b64encode(file.getvalue()).decode()

"""What is answered: a picture with what was done in its headers, or JSON that holds all of it."""

import json
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import numpy as np

from facemend.images import Alpha
from facemend.io.png import encode_png
from facemend.reconstruction.provenance import NOTICE
from facemend.server.schemas import MEDIA_TYPES, Base64
from facemend.server.service import Mended, MendedFace


@dataclass(frozen=True)
class Content:
    """What a successful response holds.

    Attributes:
        body: its bytes.
        media_type: what they are.
        headers: beside those that every response has.
    """

    body: bytes
    media_type: str
    headers: Mapping[str, str] = field(default_factory=dict)


def picture_answer(mended: Mended) -> Content:
    """The picture, and in its headers what was done."""
    headers = {
        "Facemend-Outcome": mended.outcome,
        "Facemend-Faces": str(len(mended.faces)),
        "Facemend-Reconstructed": str(sum(face.changed for face in mended.faces)),
    }
    return Content(mended.picture, MEDIA_TYPES[mended.kind], headers)


def json_answer(mended: Mended) -> Content:
    """Everything, as JSON of the shape of `Answer`."""
    height_px, width_px = mended.photo.pixels.shape[:2]
    before = None if mended.before is None else _picture(mended.before, "image/png")
    said = {
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
    return Content(json.dumps(said, allow_nan=False).encode(), "application/json")


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
    return b64encode(encode_png(np.rint(alpha * 255).astype(np.uint8), compress_level=1)).decode()

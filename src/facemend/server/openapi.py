"""What the OpenAPI document says beyond what FastAPI reads off the code: the form, and every answer."""

from typing import Any

from facemend.server.schemas import MEDIA_TYPES, Answer, ErrorAnswer, Options

_SAYS = {
    400: "The form cannot be read.",
    401: "The server asks for a token.",
    403: "A page of another site asks.",
    408: "The request took too long to arrive.",
    413: "The upload, or the photo, is too large.",
    415: "Not multipart/form-data.",
    421: "The server is not called by that name.",
    422: "The photo, the mask or an option is wrong; the message says how.",
    429: "Too many photos are waiting; Retry-After says when to come back.",
    500: "The server failed.",
    503: "Not ready, or not done in time.",
}
_PICTURE = {"schema": {"type": "string", "format": "binary"}}


def error_answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The answers with these statuses, for a route's `responses`."""
    return {status: {"model": ErrorAnswer, "description": _SAYS[status]} for status in statuses}


def _form() -> dict[str, Any]:
    schema = Options.model_json_schema()
    remove = schema.pop("$defs")["Remove"]
    properties = schema["properties"]
    properties["remove"] = {
        "type": "string",
        "enum": remove["enum"],
        "default": properties["remove"]["default"],
        "description": properties["remove"]["description"],
    }
    properties["faces"] = {
        "type": "string",
        "pattern": r"^[1-9][0-9]{0,2}(,[1-9][0-9]{0,2})*$",
        "description": properties["faces"]["description"],
        "example": "1,2",
    }
    properties["format"] = {
        "type": "string",
        "enum": ["png", "jpeg", "webp", "tiff", "avif", "heic"],
        "description": properties["format"]["description"],
    }
    for field in properties.values():
        field.pop("title", None)
    file = {"type": "string", "format": "binary", "contentMediaType": "application/octet-stream"}
    photo = {**file, "description": "PNG, JPEG, WebP, TIFF, AVIF, HEIC or BMP."}
    mask = {**file, "description": "A picture of the photo's size: exactly what is white is reconstructed."}
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["photo"],
        "properties": {"photo": photo, "mask": mask, **properties},
    }


RECONSTRUCT: dict[str, Any] = {
    "summary": "Reconstruct what hides the faces of a photo.",
    "description": "curl -F photo=@photo.jpg http://127.0.0.1:8000/v1/reconstruct -o mended.jpg",
    "operation_id": "reconstruct",
    "openapi_extra": {
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _form()}}}
    },
    "responses": {
        200: {
            "model": Answer,
            "description": "The picture (`answer` is `picture`), or what was done (`json`).",
            "content": dict.fromkeys(MEDIA_TYPES.values(), _PICTURE),
            "headers": {
                "Facemend-Outcome": {
                    "description": "reconstructed, unchanged or no_face; with a picture only.",
                    "schema": {"type": "string"},
                }
            },
        },
        **error_answers(400, 401, 403, 408, 413, 415, 421, 422, 429, 500, 503),
    },
}
MODELS: dict[str, Any] = {
    "summary": "The model, what it can do, and what this server takes.",
    "operation_id": "models",
    "responses": error_answers(401, 421),
}

"""The schemas of requests and responses, and the OpenAPI document that is made from them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from facemend.io import Format
from facemend.reconstruction.options import Remove, default_of, help_of

FORMATS = {kind.value.lower(): kind for kind in Format if kind is not Format.BMP}
"""The formats of a response's picture, by name."""
MEDIA_TYPES = {
    Format.PNG: "image/png",
    Format.JPEG: "image/jpeg",
    Format.WEBP: "image/webp",
    Format.TIFF: "image/tiff",
    Format.AVIF: "image/avif",
    Format.HEIC: "image/heic",
}
_MAX_FACES = 1000


def _numbers(value: object) -> object:
    """ "1,3" as (1, 3)."""
    if isinstance(value, str):
        return [word.strip() for word in value.split(",")]
    return value


class FormOptions(BaseModel):
    """The fields of a form, without its files: how to reconstruct, and what to send back."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    answer: Literal["picture", "json"] = Field(
        "picture", description="The picture itself, or JSON that says what was done and holds it."
    )
    remove: Remove = Field(default_of("remove"), description=help_of("remove"))
    faces: Annotated[
        tuple[Annotated[int, Field(ge=1, le=_MAX_FACES)], ...] | None, BeforeValidator(_numbers)
    ] = Field(None, description="Which faces, by number. The largest is 1. All if left out.")
    aligned: bool = Field(default_of("aligned"), description=help_of("aligned"))
    format: Literal["png", "jpeg", "webp", "tiff", "avif", "heic"] | None = Field(
        None, description="The picture's format. The photo's own if left out (PNG for BMP)."
    )
    strip: bool = Field(default_of("strip"), description=help_of("strip"))
    before: bool = Field(
        False, description="JSON also holds the original photo as PNG, for clients that cannot decode it."
    )


Base64 = str
Outcome = Literal["reconstructed", "unchanged", "no_face"]


class Picture(BaseModel):
    """A picture's file."""

    media_type: str = Field(examples=["image/jpeg"])
    base64: Base64


class FaceResponse(BaseModel):
    """A face that was found. Coordinates are pixels of the upright photo, (0, 0) its top left one."""

    face: int = Field(description="Its number; the largest is 1.")
    box_px: tuple[float, float, float, float] = Field(description="x, y, width, height.")
    landmarks_px: list[tuple[float, float]] = Field(description="Eyes, nose, corners of the mouth.")
    confidence: float
    chosen: bool
    reconstructed: bool
    coverage: float = Field(description="Share of the photo's pixels that were reconstructed, 0-1.")
    reach_px: list[tuple[float, float]] = Field(
        description="Four corners; a mask may mark what lies inside. Empty for a ready crop."
    )
    area_px: tuple[int, int, int, int] = Field(
        description="x, y, width, height of what the occlusions cover."
    )
    occlusions: dict[str, Base64] = Field(
        description="PNG by class (covers, accessories): white is occluded."
    )
    changed: Base64 | None = Field(description="PNG: white was reconstructed; null if nothing was.")


class ReconstructionResponse(BaseModel):
    """What was done to a photo."""

    outcome: Outcome
    notice: str
    width_px: int
    height_px: int
    faces: list[FaceResponse]
    picture: Picture
    before: Picture | None
    provenance: dict[str, object]
    work_s: float


class ErrorResponse(BaseModel):
    """What is wrong with a request."""

    code: str = Field(description="For programs.", examples=["bad_picture"])
    message: str = Field(description="For people: what to do.", examples=["the photo is not a picture"])


_STATUSES = {
    400: "The form cannot be read.",
    401: "The server requires a token.",
    403: "The request comes from a page of another site.",
    408: "The request took too long to arrive.",
    413: "The upload, or the photo, is too large.",
    415: "Not multipart/form-data.",
    421: "The Host header names another server.",
    422: "The photo, the mask or an option is wrong; the message says how.",
    429: "Too many photos are waiting; Retry-After says when to come back.",
    500: "The server failed.",
    503: "Not ready, or not done in time.",
}
_PICTURE = {"schema": {"type": "string", "format": "binary"}}


def error_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The error responses of a route, for its `responses`."""
    return {status: {"model": ErrorResponse, "description": _STATUSES[status]} for status in statuses}


def _form_schema() -> dict[str, Any]:
    """The form, as the OpenAPI document describes it."""
    schema = FormOptions.model_json_schema()
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
    "description": "curl -F photo=@photo.jpg http://127.0.0.1:8000/v1/reconstruct -o reconstructed.jpg",
    "operation_id": "reconstruct",
    "openapi_extra": {
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _form_schema()}}}
    },
    "responses": {
        200: {
            "model": ReconstructionResponse,
            "description": "The picture (`answer` is `picture`), or what was done (`json`).",
            "content": dict.fromkeys(MEDIA_TYPES.values(), _PICTURE),
            "headers": {
                "Facemend-Outcome": {
                    "description": "reconstructed, unchanged or no_face; with a picture only.",
                    "schema": {"type": "string"},
                }
            },
        },
        **error_responses(400, 401, 403, 408, 413, 415, 421, 422, 429, 500, 503),
    },
}
MODELS: dict[str, Any] = {
    "summary": "The model, what it can do, and what this server takes.",
    "operation_id": "models",
    "responses": error_responses(401, 421),
}

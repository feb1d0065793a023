"""What a request may say and what a response holds, for both sides of the API and its OpenAPI document."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from facemend.io import Format
from facemend.reconstruction.options import Remove, default_of, help_of

FORMATS = {kind.value.lower(): kind for kind in Format if kind is not Format.BMP}
"""What an answer's picture may be, by name."""
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


class Options(BaseModel):
    """How to reconstruct, and what to answer. Every field of a form but its files."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    answer: Literal["picture", "json"] = Field(
        "picture", description="The picture itself, or JSON that says what was done and holds it."
    )
    remove: Remove = Field(default_of("remove"), description=help_of("remove"))
    faces: Annotated[
        tuple[Annotated[int, Field(ge=1, le=_MAX_FACES)], ...] | None, BeforeValidator(_numbers)
    ] = Field(None, description="Which faces, by number, the largest is 1; all if left out.")
    aligned: bool = Field(default_of("aligned"), description=help_of("aligned"))
    format: Literal["png", "jpeg", "webp", "tiff", "avif", "heic"] | None = Field(
        None, description="The picture's format; the photo's own if left out (PNG for BMP)."
    )
    strip: bool = Field(default_of("strip"), description=help_of("strip"))
    before: bool = Field(
        False, description="JSON also holds the photo as it came, as PNG, for who cannot decode it."
    )


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

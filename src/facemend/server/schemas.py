"""What a request, a response and an error hold, how a form is read, and the OpenAPI document."""

import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from facemend.errors import FacemendError, NoFaceFound, OutputError, PictureError, UsageError
from facemend.io import START_LENGTH, Format, format_of
from facemend.reconstruction.options import Remove, default_of, help_of, length_of


class Problem(Exception):
    """An error response.

    Attributes:
        status: HTTP's.
        code: for programs. It stays the same while the message may change.
        message: for people. It never names a path, a version or what another client sent.
        headers: of the response.
    """

    def __init__(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.headers = dict(headers or {})


INTERNAL = Problem(500, "internal", "the server failed at this request; its log says where, not what")

_CODES = (
    (PictureError, "bad_picture"),
    (NoFaceFound, "no_face"),
    (OutputError, "cannot_write"),
    (UsageError, "bad_request"),
)
"""Errors that are about the request. They name nothing of the server."""


_ADVICE = {
    "; say where one is with faces=[(x, y, width, height)]": "",
    "strip=True": "strip=true",
    "aligned=True": "aligned=true",
    "primary_only=True writes the picture alone": "save the picture alone and send that",
}
"""What the library's errors advise, in the words of a request."""


def problem_of(error: FacemendError) -> Problem:
    """The response to one of our errors. One about the server itself keeps its message to the log."""
    for kind, code in _CODES:
        if isinstance(error, kind):
            message = str(error)
            for argument, field in _ADVICE.items():
                message = message.replace(argument, field)
            return Problem(422, code, message)
    return INTERNAL


def busy(retry_after_s: int) -> Problem:
    """The response where too many requests wait."""
    message = f"too many photos are waiting; try again in {retry_after_s} s"
    return Problem(429, "busy", message, {"Retry-After": str(retry_after_s)})


def out_of_time(limit_s: float, retry_after_s: int) -> Problem:
    """The response where a request's whole time is over."""
    message = f"the photo was not done after {limit_s:g} s; send a smaller one"
    return Problem(503, "too_slow", message, {"Retry-After": str(retry_after_s)})


def where_failed(error: BaseException) -> str:
    """The type of an error and where it happened, for the log. Its message may hold what a client sent."""
    frames = traceback.extract_tb(error.__traceback__)[-1:]
    location = (
        f"{frames[0].name} at line {frames[0].lineno} of {frames[0].filename}" if frames else "nowhere"
    )
    return f"{type(error).__name__} in {location}"


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
_MAX_BOXES = 50
_FARTHEST_PX = 100_000  # beyond any photo


def _numbers(value: object) -> object:
    """ "1,3" as (1, 3)."""
    if isinstance(value, str):
        return [word.strip() for word in value.split(",")]
    return value


def _boxes(value: object) -> object:
    """ "10,20,80,100 300,20,80,100" as ((10, 20, 80, 100), (300, 20, 80, 100))."""
    if not isinstance(value, str):
        return value
    try:
        boxes = [tuple(map(float, word.split(","))) for word in value.split()]
    except ValueError:
        boxes = []
    if not 1 <= len(boxes) <= _MAX_BOXES or not all(map(_is_box, boxes)):
        message = f"send x,y,width,height in pixels; a space stands between faces, {_MAX_BOXES} at most"
        raise PydanticCustomError("boxes", message)
    return boxes


def _is_box(box: tuple[float, ...]) -> bool:
    return len(box) == 4 and all(abs(value) <= _FARTHEST_PX for value in box) and min(box[2:]) >= 1


def _length(value: str) -> str:
    """A length's text, checked: `Options` reads it."""
    try:
        return str(length_of(value))
    except UsageError as error:
        raise PydanticCustomError("length", "send pixels such as 8, or percent such as 5%") from error


_Length = Annotated[str, Field(max_length=16), AfterValidator(_length)]


class ChoiceOptions(BaseModel):
    """The fields of a form that say which faces are worked on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    faces: Annotated[
        tuple[Annotated[int, Field(ge=1, le=_MAX_FACES)], ...] | None, BeforeValidator(_numbers)
    ] = Field(None, description="Which faces, by number. The largest is 1. All if left out.")
    largest: int | None = Field(None, ge=1, le=_MAX_FACES, description=help_of("largest"))
    min_face: _Length | None = Field(None, description=help_of("min_face"))
    max_face: _Length | None = Field(None, description=help_of("max_face"))


class FormOptions(ChoiceOptions):
    """The fields of a form, without its files: how to reconstruct, and what to send back."""

    answer: Literal["picture", "json"] = Field(
        "picture", description="The picture itself, or JSON that says what was done and holds it."
    )
    remove: Remove = Field(default_of("remove"), description=help_of("remove"))
    face: Annotated[tuple[tuple[float, float, float, float], ...], BeforeValidator(_boxes)] = Field(
        (),
        description="A covered face that is not found, or left alone: x,y,width,height in pixels from the "
        "top left. A space stands between several.",
    )
    aligned: bool = Field(default_of("aligned"), description=help_of("aligned"))
    format: Literal["png", "jpeg", "webp", "tiff", "avif", "heic"] | None = Field(
        None, description="The picture's format. The photo's own if left out (PNG for BMP)."
    )
    grow: _Length = Field(str(default_of("grow")), description=help_of("grow"))
    feather: _Length | None = Field(None, description=help_of("feather"))
    strip: bool = Field(default_of("strip"), description=help_of("strip"))
    before: bool = Field(
        False, description="JSON also holds the original photo as PNG, for clients that cannot decode it."
    )


class FindOptions(ChoiceOptions):
    """The fields of a form for finding, without its photo."""

    answer: Literal["json", "covers", "accessories"] = Field(
        "json", description="JSON that holds everything, or the mask of a class alone, as PNG."
    )
    aligned: bool = Field(default_of("aligned"), description=help_of("aligned"))
    occlusion_threshold: float = Field(
        default_of("occlusion_threshold"), ge=0, le=1, description=help_of("occlusion_threshold")
    )
    min_confidence: float = Field(
        default_of("min_confidence"), ge=0, le=1, description=help_of("min_confidence")
    )


Base64 = str
Outcome = Literal["reconstructed", "unchanged", "no_face"]


class Picture(BaseModel):
    """A picture's file."""

    media_type: str = Field(examples=["image/jpeg"])
    base64: Base64


class FaceResponse(BaseModel):
    """A face that was found. Coordinates are pixels of the upright photo, (0, 0) its top left one."""

    face: int = Field(description="Its number, the same for every route; the largest is 1.")
    box_px: tuple[float, float, float, float] = Field(description="x, y, width, height.")
    landmarks_px: list[tuple[float, float]] = Field(description="Eyes, nose, corners of the mouth.")
    confidence: float = Field(description="Of the detector, 0-1. 1 for a marked face.")
    marked: bool = Field(description="Whether the form's field face marks it.")
    chosen: bool = Field(description="Whether faces, largest, min_face and max_face let it be worked on.")
    reconstructed: bool = Field(description="Whether anything of it was reconstructed.")
    stays: list[str] = Field(
        description="Classes (covers, accessories) that hide a part of it too, but that remove leaves out."
    )
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
    interval: Base64 | None = Field(
        description="Gray PNG: how far off it may be, in levels; null if nothing was reconstructed."
    )
    doubt: str | None = Field(
        description="How sure it is, in words.", examples=["about ±21 levels: the mouth is a guess"]
    )


class ReconstructionResponse(BaseModel):
    """What was done to a photo."""

    outcome: Outcome = Field(description="What became of the photo.")
    notice: str = Field(description="What has to be said beside the picture.")
    width_px: int = Field(description="Of the photo as displayed.")
    height_px: int = Field(description="Of the photo as displayed.")
    faces: list[FaceResponse] = Field(description="All that were found or marked, the largest first.")
    picture: Picture = Field(description="The file that comes back without answer=json.")
    before: Picture | None = Field(
        description="The photo as it came, as PNG, where before=true asks for it."
    )
    provenance: dict[str, object] = Field(
        description="How it was made; the picture's metadata say the same."
    )
    work_s: float = Field(description="Seconds of work, without the wait.")


class FoundOcclusionResponse(BaseModel):
    """What hides a face, of one class."""

    found: bool
    probability: float | None = Field(description="That the face is occluded, 0-1; null for a ready crop.")
    box_px: tuple[int, int, int, int] | None = Field(description="x, y, width, height; null if not found.")
    share: float = Field(description="Share of the photo's pixels, 0-1.")


class FoundFaceResponse(BaseModel):
    """A face, and what hides it. A photo's top left pixel alone is the box 0, 0, 1, 1."""

    face: int = Field(description="Its number, the same for every route; the largest is 1.")
    chosen: bool = Field(description="Whether faces, largest, min_face and max_face let it be searched.")
    box_px: tuple[float, float, float, float] = Field(description="x, y, width, height.")
    landmarks_px: list[tuple[float, float]] = Field(description="Eyes, nose, corners of the mouth.")
    confidence: float
    occlusions: dict[str, FoundOcclusionResponse] = Field(
        description="By class: covers, accessories. Empty for a face that was not chosen."
    )


class FindResponse(BaseModel):
    """The occlusions of a photo."""

    software: str
    model: dict[str, str]
    input_sha256: str
    options: dict[str, str]
    width_px: int
    height_px: int
    faces: list[FoundFaceResponse]
    masks: dict[str, Base64] = Field(
        description="PNG by class, of the photo's size: 255 times the score of each pixel."
    )


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


def _simplify(properties: dict[str, Any]) -> None:
    """A form's fields as it holds them: texts and numbers, never null."""
    properties["faces"] = {
        "type": "string",
        "pattern": r"^[1-9][0-9]{0,2}(,[1-9][0-9]{0,2})*$",
        "description": properties["faces"]["description"],
        "example": "1,2",
    }
    for name, example in (("grow", "8"), ("feather", "12"), ("min_face", "5%"), ("max_face", "50%")):
        if name in properties:
            properties[name]["example"] = example
    for field in properties.values():
        field.pop("title", None)
        for kind in field.pop("anyOf", ()):
            if kind != {"type": "null"}:
                field.update(kind)
                field.pop("default", None)


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
    properties["face"] = {
        "type": "string",
        "description": properties["face"]["description"],
        "example": "120,80,200,240",
    }
    properties["format"] = {
        "type": "string",
        "enum": ["png", "jpeg", "webp", "tiff", "avif", "heic"],
        "description": properties["format"]["description"],
    }
    _simplify(properties)
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
    "description": "curl -F photo=@photo.jpg http://127.0.0.1:8000/v1/reconstruct -o reconstructed.jpg\n\n"
    "The largest face alone, its mask's edge 8 pixels farther out and soft: "
    "-F largest=1 -F grow=8 -F feather=12",
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


def _find_schema() -> dict[str, Any]:
    schema = FindOptions.model_json_schema()
    _simplify(schema["properties"])
    photo = {
        "type": "string",
        "format": "binary",
        "contentMediaType": "application/octet-stream",
        "description": "PNG, JPEG, WebP, TIFF, AVIF, HEIC or BMP.",
    }
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["photo"],
        "properties": {"photo": photo, **schema["properties"]},
    }


FIND: dict[str, Any] = {
    "summary": "Find what hides the faces of a photo, and reconstruct nothing.",
    "description": "curl -F photo=@photo.jpg http://127.0.0.1:8000/v1/find",
    "operation_id": "find",
    "openapi_extra": {
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _find_schema()}}}
    },
    "responses": {
        200: {
            "model": FindResponse,
            "description": "What was found (`answer` is `json`), or one mask.",
            "content": {"image/png": _PICTURE},
        },
        **error_responses(400, 401, 403, 408, 413, 415, 421, 422, 429, 500, 503),
    },
}
MODELS: dict[str, Any] = {
    "summary": "The model, what it can do, and what this server takes.",
    "operation_id": "models",
    "responses": error_responses(401, 421),
}


_FILES = ("photo", "mask")
_MOST_PARTS = len(_FILES) + len(FormOptions.model_fields) + 1
_LARGEST_FIELD_BYTES = 4096
_LARGEST_HEAD_BYTES = 2048
"""Of a part. Reading parameters takes time that grows faster than their length."""
_LARGEST_TYPE_BYTES = 256
_LARGEST_BOUNDARY_BYTES = 70  # RFC 2046, 5.1.1


@dataclass(frozen=True)
class Form:
    """A form, in the memory of the body that it came in.

    Attributes:
        photo: a file's bytes.
        mask: a picture's, white = reconstruct. None lets the model find it.
        options: of the form.
    """

    photo: memoryview
    mask: memoryview | None
    options: FormOptions | FindOptions


def read_form(
    body: bytes | bytearray, content_type: str, schema: type[FormOptions | FindOptions] = FormOptions
) -> Form:
    """Reads a request's form (RFC 7578).

    Args:
        content_type: the request's header, which names the boundary.
        schema: of the fields that are not files. A form for finding takes no mask.

    Raises:
        Problem: it is not such a form, or has fields that are unknown, missing or wrong.
    """
    files: dict[str, memoryview] = {}
    texts: dict[str, Any] = {}
    for name, is_file, value in _fields(body, content_type):
        if name in files or name in texts:
            raise _bad(f"{_shown(name)} is there twice; send it once")
        wanted = _FILES if schema is FormOptions else _FILES[:1]
        # Some clients send a file's bytes without its name.
        is_picture = is_file or (name in wanted and format_of(bytes(value[:START_LENGTH])) is not None)
        if is_picture and name not in wanted:
            raise _bad(f"there is no file {_shown(name)}; send {' and '.join(wanted)} as files")
        if not is_picture and name in wanted:
            raise _bad(f"send {' and '.join(wanted)} as files, all else as text; {_shown(name)} is not")
        if is_picture:
            files[name] = value
        else:
            texts[name] = _text_of(value)
    if not files.get("photo"):
        raise _bad("there is no photo; send one as the form's file `photo`")
    try:
        options = schema.model_validate(texts)
    except ValidationError as error:
        raise _bad(_message_of(error, list(schema.model_fields))) from error
    return Form(files["photo"], files.get("mask") or None, options)


def _fields(body: bytes | bytearray, content_type: str) -> Iterator[tuple[str, bool, memoryview]]:
    """Name, whether it is a file, and value of every part."""
    boundary = _boundary_of(content_type)
    view = memoryview(body).toreadonly()
    for start, end in _parts(body, b"--" + boundary):
        head_end = body.find(b"\r\n\r\n", start, min(end, start + _LARGEST_HEAD_BYTES))
        if head_end < 0:
            raise _unreadable()
        name, is_file = _disposition(bytes(view[start:head_end]))
        yield name, is_file, view[head_end + 4 : end]


def _parts(body: bytes | bytearray, delimiter: bytes) -> Iterator[tuple[int, int]]:
    """Where the parts of a body lie. A part that does not end does not count."""
    if not body:
        return
    at = 0 if body.startswith(delimiter) else body.find(b"\r\n" + delimiter) + 2
    if at == 1:  # there is none
        raise _unreadable()
    for _ in range(_MOST_PARTS + 1):
        at += len(delimiter)
        if body[at : at + 2] == b"--":
            return
        line_end = body.find(b"\r\n", at, at + _LARGEST_BOUNDARY_BYTES)
        if line_end < 0 or body[at:line_end].strip(b" \t"):
            raise _unreadable()
        end = body.find(b"\r\n" + delimiter, line_end)
        if end < 0:
            return
        yield line_end + 2, max(end, line_end + 2)
        at = end + 2
    raise _unreadable()


def _boundary_of(content_type: str) -> bytes:
    if content_type.partition(";")[0].strip().lower() != "multipart/form-data":
        raise Problem(415, "bad_form", "send multipart/form-data, as curl -F photo=@photo.jpg does")
    boundary = _parameters(content_type, _LARGEST_TYPE_BYTES).get("boundary", "")
    if not boundary.isascii() or not 0 < len(boundary) <= _LARGEST_BOUNDARY_BYTES:
        raise _unreadable()
    return boundary.encode()


def _disposition(head: bytes) -> tuple[str, bool]:
    """The name of a part by its head, and whether it is a file."""
    try:
        lines = head.decode("utf-8").split("\r\n")
    except UnicodeDecodeError as error:
        raise _unreadable() from error
    values = [line.partition(":")[2] for line in lines if line.lower().startswith("content-disposition:")]
    if len(values) != 1:
        raise _unreadable()
    parameters = _parameters(values[0].strip(), _LARGEST_HEAD_BYTES)
    if not values[0].strip().lower().startswith("form-data") or "name" not in parameters:
        raise _unreadable()
    return parameters["name"], "filename" in parameters


def _parameters(value: str, most: int) -> dict[str, str]:
    """The parameters of a header, by name in lower case. Each of them once."""
    if len(value) > most:
        raise _unreadable()
    message = Message()
    message["Content-Type"] = value
    found: dict[str, str] = {}
    try:
        pairs = message.get_params([])[1:]
    except (ValueError, LookupError) as error:  # of the encoded kind (RFC 2231), when it is broken
        raise _unreadable() from error
    for name, text in pairs:
        if name.lower() in found:
            raise _unreadable()
        found[name.lower()] = text if isinstance(text, str) else str(text[2])
    return found


def _text_of(value: memoryview) -> str:
    if len(value) > _LARGEST_FIELD_BYTES:
        raise _unreadable()
    try:
        return bytes(value).decode("utf-8")
    except UnicodeDecodeError as error:
        raise _unreadable() from error


def _message_of(error: ValidationError, known: Sequence[str]) -> str:
    """The first thing that is wrong, in one line."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    name = _shown(str(first["loc"][0])) if first["loc"] else "the form"
    if first["type"] == "extra_forbidden":
        return f"there is no option {name}; there are {_listed(known)}"
    message = first["msg"]
    return f"{name}: {message[0].lower()}{message[1:]}"


def _shown(name: str) -> str:
    """A name that a client sent, short and printable."""
    return "".join(letter for letter in name[:40] if letter.isprintable())


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _bad(message: str) -> Problem:
    return Problem(422, "bad_request", message)


def _unreadable() -> Problem:
    return Problem(400, "bad_form", "the form cannot be read; send it as curl -F does")

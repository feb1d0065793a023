"""What a client asks for: a photo, perhaps a mask, and options. Nothing of it touches the disk."""

import sys
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from facemend.photos import Format
from facemend.reconstruction.options import Remove
from facemend.server.problems import Problem

FORMATS = {kind.value.lower(): kind for kind in Format if kind is not Format.BMP}
"""What an answer's picture may be, by name."""
_FILES = ("photo", "mask")
_MAX_FACES = 1000
_LARGEST_FIELD_BYTES = 4096


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
    remove: Remove = Field(
        Remove.COVERS,
        description="What to reconstruct where there is no mask: covers (masks, blur), accessories "
        "(glasses, hands) or all.",
    )
    faces: Annotated[
        tuple[Annotated[int, Field(ge=1, le=_MAX_FACES)], ...] | None, BeforeValidator(_numbers)
    ] = Field(None, description="Which faces, by number, the largest is 1; all if left out.")
    aligned: bool = Field(
        False, description="The photo is a ready crop of one face, 178×218 (CelebA) or square."
    )
    format: Literal["png", "jpeg", "webp", "tiff", "avif", "heic"] | None = Field(
        None, description="The picture's format; the photo's own if left out (PNG for BMP)."
    )
    strip: bool = Field(False, description="Leave out EXIF with its place, XMP, IPTC and comments.")
    before: bool = Field(
        False, description="JSON also holds the photo as it came, as PNG, for who cannot decode it."
    )


@dataclass(frozen=True)
class Asked:
    """A request for a reconstruction.

    Attributes:
        photo: a file's bytes.
        mask: a picture's, white = reconstruct; None lets the model find it.
        options: see there.
    """

    photo: bytes
    mask: bytes | None
    options: Options


class _InMemory(MultiPartParser):
    """Keeps files in memory, whose size the receiver has bounded already."""

    spool_max_size = sys.maxsize


async def read_asked(request: Request) -> Asked:
    """Reads a request's form.

    Raises:
        Problem: it is no such form, or has fields that are unknown, missing or wrong.
    """
    form = await _form_of(request)
    try:
        files, texts = await _sorted(form)
    finally:
        await form.close()
    if not files.get("photo"):
        raise _bad("there is no photo; send one as the form's file `photo`")
    try:
        options = Options(**texts)
    except ValidationError as error:
        raise _bad(_say(error)) from error
    return Asked(files["photo"], files.get("mask") or None, options)


async def _sorted(form: FormData) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The files and the texts of a form, each by name."""
    files: dict[str, bytes] = {}
    texts: dict[str, Any] = {}
    for name, value in form.multi_items():
        if name in files or name in texts:
            raise _bad(f"{_shown(name)} is there twice; send it once")
        if isinstance(value, UploadFile) and name in _FILES:
            files[name] = await value.read()
        elif isinstance(value, UploadFile) or name in _FILES:
            raise _bad(f"send {' and '.join(_FILES)} as files, all else as text; {_shown(name)} is not")
        else:
            texts[name] = value
    return files, texts


async def _form_of(request: Request) -> FormData:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "multipart/form-data":
        raise Problem(415, "bad_form", "send multipart/form-data, as curl -F photo=@photo.jpg does")
    stream: AsyncGenerator[bytes, None] = request.stream()
    parser = _InMemory(
        request.headers,
        stream,
        max_files=len(_FILES),
        max_fields=len(Options.model_fields) + 1,
        max_part_size=_LARGEST_FIELD_BYTES,
    )
    try:
        return await parser.parse()
    except (MultiPartException, UnicodeError, ValueError) as error:
        raise Problem(400, "bad_form", "the form cannot be read; send it as curl -F does") from error


def _say(error: ValidationError) -> str:
    """The first thing that is wrong, in one line."""
    first = error.errors(include_url=False, include_context=False)[0]
    name = _shown(str(first["loc"][0])) if first["loc"] else "the form"
    if first["type"] == "extra_forbidden":
        return f"there is no option {name}; there are {_listed(list(Options.model_fields))}"
    message = first["msg"]
    return f"{name}: {message[0].lower()}{message[1:]}"


def _shown(name: str) -> str:
    """A name that a client sent, short and printable."""
    return "".join(letter for letter in name[:40] if letter.isprintable())


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _bad(message: str) -> Problem:
    return Problem(422, "bad_request", message)

"""Reads a request's form: a photo, options, and perhaps a mask.

The body is cut at the boundary. Each byte is looked at once, and nothing is copied.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email.message import Message
from typing import Any

from pydantic import ValidationError

from facemend.server.problems import Problem
from facemend.server.schemas import FindOptions, FormOptions

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
        if is_file != (name in wanted):
            raise _bad(f"send {' and '.join(wanted)} as files, all else as text; {_shown(name)} is not")
        if is_file:
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

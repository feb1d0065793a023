"""Error responses: a code for programs, and one line that says what to do."""

import traceback
from collections.abc import Mapping

from facemend.errors import FacemendError, NoFaceFound, OutputError, PictureError, UsageError


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


def problem_of(error: FacemendError) -> Problem:
    """The response to one of our errors. One about the server itself keeps its message to the log."""
    for kind, code in _CODES:
        if isinstance(error, kind):
            # What comes after names an option of the command line, which a request does not have.
            return Problem(422, code, str(error).partition("; say where")[0])
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

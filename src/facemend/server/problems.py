"""What a client is told when something is wrong: a code for programs, one line that says what to do."""

from collections.abc import Mapping

from fastapi.responses import JSONResponse

from facemend.errors import FacemendError, NoFaceFound, OutputError, PictureError, UsageError


class Problem(Exception):
    """An answer that is no success.

    Attributes:
        status: HTTP's.
        code: for programs; it stays the same while the message may change.
        message: for people; it never names a path, a version or what another client sent.
    """

    def __init__(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.headers = dict(headers or {})

    def response(self) -> JSONResponse:
        """The answer, as JSON."""
        body = {"code": self.code, "message": self.message}
        return JSONResponse(body, self.status, headers=self.headers)


INTERNAL = Problem(500, "internal", "the server failed at this request; its log says where, not what")

_CODES = (
    (PictureError, "bad_picture"),
    (NoFaceFound, "no_face"),
    (OutputError, "cannot_write"),
    (UsageError, "bad_request"),
)
"""Errors that are about the request; they name nothing of the server."""


def problem_of(error: FacemendError) -> Problem:
    """The answer to one of our errors. One about the server itself keeps its message to the log."""
    for kind, code in _CODES:
        if isinstance(error, kind):
            # What comes after names an option of the command line, which a request does not have.
            return Problem(422, code, str(error).partition("; say where")[0])
    return INTERNAL


def busy(retry_after_s: int) -> Problem:
    """The answer where too much is asked at once."""
    message = f"too many photos are waiting; try again in {retry_after_s} s"
    return Problem(429, "busy", message, {"Retry-After": str(retry_after_s)})

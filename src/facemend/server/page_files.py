"""The page's files, read once: a request's path is looked up among them, and never a file's."""

import hashlib
from dataclasses import dataclass
from importlib.resources import files

from fastapi.responses import Response

_MEDIA_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


@dataclass(frozen=True)
class PageFile:
    """A file of the page.

    Attributes:
        data: its bytes.
        media_type: what they are.
        tag: changes when they do.
    """

    data: bytes
    media_type: str
    tag: str

    def response(self, known: str | None) -> Response:
        """The file, or word that the browser has it already."""
        headers = {"Cache-Control": "no-cache", "ETag": self.tag}
        if known == self.tag:
            return Response(status_code=304, headers=headers)
        return Response(self.data, media_type=self.media_type, headers=headers)


def read_page() -> dict[str, PageFile]:
    """Every file by the path that it is served under."""
    found = {}
    for entry in files("facemend.server").joinpath("page").iterdir():
        media_type = _MEDIA_TYPES.get(entry.name.rpartition(".")[2])
        if media_type is None:
            continue
        data = entry.read_bytes()
        tag = f'"{hashlib.sha256(data).hexdigest()[:20]}"'
        path = "/" if entry.name == "index.html" else f"/page/{entry.name}"
        found[path] = PageFile(data, media_type, tag)
    return found

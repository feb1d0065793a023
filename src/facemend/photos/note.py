"""What a written photo says about its making, in the places where other programs look for it."""

from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path

from facemend.files import open_named
from facemend.photos.formats import DAMAGED, START_LENGTH, format_of, open_photo
from facemend.photos.xmp import CREATOR_TOOL, DIGITAL_SOURCE_TYPE, RECORD, XmpError, read_property

PNG_KEY = "facemend"


@dataclass(frozen=True)
class Note:
    """A statement on how a photo was made.

    Attributes:
        software: name and version, for XMP's `CreatorTool`, where no other program is named.
        comment: a sentence for people.
        record: JSON for facemend.
        source_type: a term of IPTC's digital source types, as a URI; None says nothing about it.
    """

    software: str
    comment: str
    record: str
    source_type: str | None

    def properties(self) -> dict[str, str]:
        """Names and values for XMP."""
        said = {CREATOR_TOOL: self.software, RECORD: self.record}
        return said if self.source_type is None else said | {DIGITAL_SOURCE_TYPE: self.source_type}

    def texts(self) -> dict[str, str]:
        """Keys and values for PNG's text chunks."""
        return {"Software": self.software, "Comment": self.comment, PNG_KEY: self.record}


def read_record(path: Path) -> str | None:
    """The record of the note in a photo file; None for a photo without one (or with damaged metadata),
    for a file that is no photo, and for no file at all."""
    try:
        # The metadata alone is read, however large the photo.
        with open_named(path) as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
            kind = format_of(data[:START_LENGTH])
            info = open_photo(data, kind, head=True).info if kind else {}
    except (*DAMAGED, ImportError):
        return None
    if isinstance(packet := info.get("xmp"), bytes):
        try:
            if record := read_property(packet, RECORD):
                return record
        except XmpError:
            pass
    text = info.get(PNG_KEY)
    return text if isinstance(text, str) else None

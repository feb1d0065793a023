"""Which photos of a folder were copied unchanged, so that a second run does not look at them again.

A changed photo says itself how it was made. A copy must not: it is its input, byte for byte. So a run
over several photos notes its copies in a file beside them, a line of JSON each. The folder may be a
stranger's: the file is opened as `files.open_log` says, and a line that is not ours does not count.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from facemend.errors import OutputError
from facemend.files import open_log, parse_json, read_own

RECORD_NAME = "facemend-unchanged.jsonl"


@dataclass(frozen=True)
class Copy:
    """A photo that came back unchanged.

    Attributes:
        name: of the output, in the folder of the record.
        outcome: why: "unchanged" (no occlusion) or "no face".
        input_sha256, model_sha256, options: of which photo, by what; as in a provenance.
    """

    name: str
    outcome: str
    input_sha256: str
    model_sha256: str
    options: Mapping[str, str]


class Records:
    """The records of a run's output folders; one process reads and writes them."""

    def __init__(self) -> None:
        self._known: dict[Path, list[Copy]] = {}

    def find(
        self, output: Path, input_sha256: str, model_sha256: str, options: Mapping[str, str]
    ) -> Copy | None:
        """The copy that this work came to earlier; None if it is not noted."""
        wanted = (output.name, input_sha256, model_sha256, dict(options))
        for copy in self._of(output.parent):
            if (copy.name, copy.input_sha256, copy.model_sha256, dict(copy.options)) == wanted:
                return copy
        return None

    def add(self, output: Path, copy: Copy) -> None:
        """Notes a copy, at once: a run that is killed loses none.

        Raises:
            OutputError: the record cannot be written.
        """
        if copy in self._of(output.parent):
            return
        self._of(output.parent).append(copy)
        path = output.parent / RECORD_NAME
        try:
            with open_log(path) as file:
                file.write(json.dumps(asdict(copy)) + "\n")
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror or error}") from error

    def check(self, folder: Path) -> None:
        """Makes sure that notes can be kept in a folder. Raises OutputError: something else lies there."""
        self._of(folder)

    def _of(self, folder: Path) -> list[Copy]:
        if folder not in self._known:
            self._known[folder] = _read(folder / RECORD_NAME)
        return self._known[folder]


def _read(path: Path) -> list[Copy]:
    """Raises OutputError: what lies there is no file of ours, such as a link."""
    try:
        lines = read_own(path).split(b"\n")
    except (FileNotFoundError, NotADirectoryError):  # said when something is to be written
        return []
    except OSError as error:
        raise OutputError(f"cannot read {path}: {error.strerror or error}") from error
    copies = []
    for line in lines:
        try:
            copies.append(_copy_of(parse_json(line)))
        except (ValueError, TypeError, KeyError, AttributeError):  # half a line, of a run that was killed
            continue
    return copies


def _copy_of(fields: Any) -> Copy:
    """Raises TypeError or KeyError: the fields are not those of a copy."""
    options = fields["options"]
    texts = {key: fields[key] for key in ("name", "outcome", "input_sha256", "model_sha256")}
    if not all(isinstance(text, str) for text in (*texts.values(), *options, *options.values())):
        raise TypeError("a field is no text")
    return Copy(**texts, options=options)

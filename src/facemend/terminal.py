"""What a terminal shows: how far work has come, and text of strangers (file names, metadata, models).

A terminal obeys escape sequences. Half a character (a lone surrogate, as in a file name that is not UTF-8)
cannot be written at all.
"""

import json
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from tqdm import tqdm


def printable(text: object) -> str:
    """One line that a terminal shows and does not obey: what is not printable is written as `\\x1b`."""
    said = str(text)
    return said if said.isprintable() else "".join(map(_shown, said))


def printable_lines(text: str) -> str:
    """The same for each line of a text whose newlines are ours."""
    return "\n".join(map(printable, text.split("\n")))


def printable_json(value: object, indent: int | None = None) -> str:
    """A value as JSON text that a terminal shows as it is; it says the same to a program."""
    said = json.dumps(value, ensure_ascii=False, indent=indent)
    if said.replace("\n", "").isprintable():
        return said
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in said)


def _shown(letter: str) -> str:
    return letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")


_EVERY_S: Final = 30
_LINE: Final = (
    "{desc}{n_fmt} of {total_fmt} {unit}, {elapsed} so far, {remaining} left, {rate_fmt}{postfix}"
)


class _Lines:
    """Takes what a bar draws over and over as lines of their own."""

    def write(self, text: str) -> None:
        if sys.stderr is not None and (line := text.strip("\r\n ")):
            sys.stderr.write(f"{line}\n")

    def flush(self) -> None:
        if sys.stderr is not None:
            sys.stderr.flush()


def progress(
    items: Iterable[Any] | None = None, *, unit: str, quiet: bool = False, **settings: Any
) -> "tqdm[Any]":
    """The same items, while it shows how far they are.

    Args:
        items: None to call `update` instead.
        unit: what one of them is.
        quiet: show nothing.
        settings: of tqdm, such as `total`, `initial` and `desc`.
    """
    from tqdm import tqdm

    if quiet or (sys.stderr is not None and sys.stderr.isatty()):
        return tqdm(items, unit=unit, disable=quiet, leave=False, **settings)
    return tqdm(
        items,
        unit=unit,
        leave=False,
        file=_Lines(),
        bar_format=_LINE,
        delay=_EVERY_S,
        mininterval=_EVERY_S,
        maxinterval=_EVERY_S,
        miniters=1,
        **settings,
    )

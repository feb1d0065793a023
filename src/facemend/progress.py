"""How far long work has come: a bar on a terminal, and elsewhere a line every half minute, on stderr."""

import sys
from collections.abc import Iterable
from typing import Any, Final

from tqdm import tqdm

_EVERY_S: Final = 30
_LINE: Final = "{desc}{n_fmt} of {total_fmt} {unit}, {elapsed} so far, {remaining} left{postfix}"


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

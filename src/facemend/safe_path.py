"""No code out of the folder that one stands in: it may hold a stranger's files.

Python searches the current folder first for what `-m` and `-c` import, and every process that
multiprocessing starts is a `-c`. A file `json.py` beside photos would then run.
"""

import os
import sys

_HOME = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120 (see below)
"""The folder that holds this package. Not by pathlib: nothing may be imported that is not loaded yet."""


def leave_out_current_folder() -> None:
    """Takes the current folder out of where this process, and every process it starts, looks for code.

    A command calls it before its own imports. The folder stays if facemend itself lies there, as in
    `cd src; python -m facemend`.
    """
    # Children are told by Python's own switch, which keeps out what `-c` and `-m` would put first …
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        here = os.path.realpath(os.getcwd())  # noqa: PTH109
    except FileNotFoundError:  # it was removed, and holds nothing
        return
    if os.path.realpath(_HOME) == here:
        return
    sys.path[:] = _without(here, sys.path)
    # … and by the variable, in which an empty entry means the current folder, too.
    if "PYTHONPATH" in os.environ:
        entries = os.environ["PYTHONPATH"].split(os.pathsep)
        os.environ["PYTHONPATH"] = os.pathsep.join(_without(here, entries))


def _without(folder: str, entries: list[str]) -> list[str]:
    """The entries that are not this folder; an empty one means the current folder."""
    return [entry for entry in entries if os.path.realpath(entry or ".") != folder]

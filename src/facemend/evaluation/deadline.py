"""A run that takes too long is ended, whatever it waits for: a model is a program, and may never answer."""

import os
import threading
from collections.abc import Callable


def end_after(limit_s: float, say: Callable[[str], None]) -> None:
    """Ends this process with exit code 1 after so many seconds, unless it ended before.

    It is not asked to: a network that computes for ever cannot be interrupted. Figures that were taken are
    kept.

    Args:
        say: tells the user why.
    """

    def end() -> None:
        say(
            f"the evaluation took more than {limit_s:g} s and was ended; the same command goes on from here"
        )
        os._exit(1)

    timer = threading.Timer(limit_s, end)
    timer.daemon = True
    timer.start()

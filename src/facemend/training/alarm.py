"""When a run must not go on: a loss that is no number, or has exploded."""

import math
from collections.abc import Mapping

from facemend.errors import TrainingError

_SETTLED_STEPS = 50
_EXPLODED = 100.0
"""How many times its usual size a loss may reach; what is usually below 1 may jump to this."""


class Alarm:
    """Knows how large each loss usually is, and ends the run when one leaves that far behind."""

    def __init__(self) -> None:
        self._usual: dict[str, float] = {}
        self._steps = 0

    def check(self, losses: Mapping[str, float], images_seen: int) -> None:
        """Looks at one step's losses.

        Raises:
            TrainingError: one is no number, or far beyond its running mean.
        """
        for name, loss in losses.items():
            size, usual = abs(loss), self._usual.get(name, abs(loss))
            if not math.isfinite(loss):
                self._stop(f"the loss {name} is no number any more", images_seen)
            if self._steps >= _SETTLED_STEPS and size > _EXPLODED * max(usual, 1):
                self._stop(f"the loss {name} has exploded from {usual:.3g} to {size:.3g}", images_seen)
            self._usual[name] = 0.98 * usual + 0.02 * size
        self._steps += 1

    def _stop(self, what: str, images_seen: int) -> None:
        raise TrainingError(
            f"{what} in the step after {images_seen} images; the last checkpoint is from before; try a "
            "lower learning_rate"
        )

"""What happens to a whole photo and covers nothing: out of focus, grey, noisy, compressed."""

from collections.abc import Callable, Mapping

import numpy as np

from facemend.degradations import (
    add_noise,
    blur_by,
    blur_gaussian,
    compress,
    darken,
    disc,
    grey,
    line,
    sepia,
)
from facemend.images import Image

Change = Callable[[Image, float, np.random.Generator], Image]
"""(photo, the face's width in px, rng) → photo of the same size."""


def _gaussian(share: float) -> Change:
    return lambda image, width_px, rng: blur_gaussian(image, share * width_px)


def _disc(share: float) -> Change:
    """What a lens does that is out of focus."""
    return lambda image, width_px, rng: blur_by(image, disc(max(1.0, share * width_px)))


CONDITIONS: Mapping[str, Change] = {
    "as it is": lambda image, width_px, rng: image,
    "gaussian 1%": _gaussian(0.01), "gaussian 2%": _gaussian(0.02), "gaussian 4%": _gaussian(0.04),
    "disc 1%": _disc(0.01), "disc 2%": _disc(0.02), "disc 4%": _disc(0.04),
    "grey": lambda image, width_px, rng: grey(image),
    "sepia": lambda image, width_px, rng: sepia(image, 1),
    "noise": lambda image, width_px, rng: add_noise(image, 12, rng),
    "motion": lambda image, width_px, rng: blur_by(image, line(0.06 * width_px, rng.uniform(0, 180))),
    "jpeg 30": lambda image, width_px, rng: compress(image, 30),
    "dark": lambda image, width_px, rng: darken(image, 0.05, 6, rng),
}  # fmt: skip
"""Each by its name; shares of blurs are of the face's width."""

"""What the first inputs go through once more, to see how much a system depends on perfect ones.

The truth of a degraded picture is the clean one; that of a crop cut wrong is the truth, cut as wrong.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from facemend.capture import add_noise, coarsen, compress, misalign
from facemend.evaluation.protocol import PROTOCOL
from facemend.frame import canonical_landmarks
from facemend.images import Alpha, Image
from facemend.occlusion import OccludedFace, seed_of

Condition = Callable[[str, OccludedFace], OccludedFace]
"""The picture's name and one input of the protocol -> the same input under harder conditions."""

UNCHANGED = "unchanged"
"""What the other conditions are compared with: the same first inputs as they were drawn."""
_NOISE_LEVELS = 10.0


def _degraded(degrade: Callable[[Image], Image], name: str, face: OccludedFace) -> OccludedFace:
    return replace(face, image=degrade(face.image))


def _noisy(name: str, face: OccludedFace) -> OccludedFace:
    rng = np.random.default_rng(seed_of(PROTOCOL, "noise", name, face.occlusion.kind))
    return replace(face, image=add_noise(face.image, _NOISE_LEVELS, rng))


def _misaligned(rotation_degrees: float, scale: float, name: str, face: OccludedFace) -> OccludedFace:
    def cut(image: Image) -> Image:
        return misalign(image, canonical_landmarks(), rotation_degrees, scale, (0.0, 0.0))[0]

    def cut_alpha(alpha: Alpha) -> Alpha:
        levels = np.rint(alpha * 255).astype(np.uint8)
        return cut(np.repeat(levels[..., None], 3, axis=2))[..., 0].astype(np.float32) / np.float32(255)

    alpha, target = cut_alpha(face.occlusion.alpha), cut(face.target)
    # Filtering spreads the occlusion's edge a little; where none is left, input and truth stay equal.
    image = np.where(alpha[..., None] > 0, cut(face.image), target)
    return OccludedFace(image, target, replace(face.occlusion, alpha=alpha))


CONDITIONS: Mapping[str, Condition] = {
    UNCHANGED: lambda name, face: face,
    "JPEG 50": partial(_degraded, partial(compress, quality=50)),
    "half resolution": partial(_degraded, partial(coarsen, factor=2)),
    "quarter resolution": partial(_degraded, partial(coarsen, factor=4)),
    "noise of 10 levels": _noisy,
    "rotated by 10°": partial(_misaligned, 10, 1),
    "rotated by -10°": partial(_misaligned, -10, 1),
    "10% larger": partial(_misaligned, 0, 1.1),
    "10% smaller": partial(_misaligned, 0, 0.9),
}
"""Every condition by its name."""

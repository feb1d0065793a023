"""When a face in a photo counts as covered: the less sure it is one, the larger and surer its cover."""

from typing import NamedTuple

import numpy as np

from facemend.images import Alpha, Mask
from facemend.reconstruction.composite import alpha_of, has_core
from facemend.reconstruction.model import ModelOutput
from facemend.reconstruction.options import Remove
from facemend.reconstruction.regions import grown, large_regions

PHOTO_CORE = 0.03
"""What `composite.SMALLEST_CORE` is in a photo, where nobody says that the face is occluded. Chosen so that
unoccluded portraits come back unchanged; docs/photos.md says what it costs."""
SMALLEST_REGION = 0.005
"""Share of the crop that every region must take in an occluded face: less is a mole or a shadow."""
WEAK_FACE = 0.8
"""A face of less confidence may be none: it counts as occluded only under a large cover, which explains
both why it is hard to see and what is seen."""
WEAK_FACE_CORE = 0.1
"""What `PHOTO_CORE` is for such a face."""
HIDDEN_FACE = 0.55
"""What is at least so many times as sure as a face has to be may be one that is hidden whole."""
HIDDEN_FACE_CORE = 0.2
"""What `PHOTO_CORE` is there."""
_SURER = 0.998
"""What `composite.SURE` is for both, if they are the surest face of a photo: at a threshold of 0.5 an alpha
of 0.999."""
_CERTAIN_WEAK, _CERTAIN_HIDDEN = 0.9998, 0.9994
"""Beside a surer face, where there is more likely none: alphas of 0.9999, and of 0.9997 in a cover that has
to be twice as large."""
_RIM_PX = 3  # around a region, where its alpha fades


class Core(NamedTuple):
    """The share of the crop that has to be surely occluded, and what is sure: see `composite.has_core`."""

    share: float
    sure: float


USUAL_CORES = (Core(PHOTO_CORE, 0.8),)
"""What is asked of a sure face: at a threshold of 0.5 an alpha of 0.9, which a dark hat does not reach."""
_WIDE = Core(0.3, 0.9)  # a cover so large may be less sure: at a threshold of 0.5 an alpha of 0.95


def cores_of(confidence: float, surest: float, min_confidence: float) -> tuple[Core, ...]:
    """One of which is asked of a face, in a photo whose surest face has another confidence.

    Args:
        min_confidence: what is less sure may be a face that is hidden whole, or none.
    """
    if confidence >= max(WEAK_FACE, min_confidence):
        return USUAL_CORES
    weak = confidence >= min_confidence
    share = WEAK_FACE_CORE if weak else HIDDEN_FACE_CORE
    if confidence < surest:
        return (Core(share, _CERTAIN_WEAK if weak else _CERTAIN_HIDDEN),)
    return Core(share, _SURER), _WIDE


def found_in(output: ModelOutput, remove: Remove, threshold: float, cores: tuple[Core, ...]) -> Alpha:
    """The occlusion to remove in one crop, (S, S): 0 without one of the cores, and beyond large regions."""
    if output.alpha is None:  # it finds nothing: all is delivered
        return np.ones(output.raw.shape[1:3], dtype=np.float32)
    found = alpha_of(output.alpha[0], remove)
    return np.where(grown(_regions_of(found, threshold, cores), _RIM_PX), found, np.float32(0))


def _regions_of(alpha: Alpha, threshold: float, cores: tuple[Core, ...]) -> Mask:
    if not any(has_core(alpha, threshold, *core) for core in cores):
        return np.zeros(alpha.shape, dtype=np.bool_)
    return large_regions(alpha > threshold, round(SMALLEST_REGION * alpha.size))

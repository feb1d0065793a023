"""When a face counts as covered: the numbers of that decision, and where each was chosen.

Nothing is imported here, so that the command line's help can read the defaults at once.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Thresholds:
    """Confidences, alphas and probabilities are 0-1; shares and lengths are of a crop of side 1."""

    min_confidence: float = 0.46
    """The detector's confidence from which a find is a face. Chosen on docs/detection.md's photos."""
    hidden_face: float = 0.55
    """Share of that from which a find may be a face that is hidden whole: see docs/photos.md."""
    turned: float = 0.8
    """Confidence from which a face counts that is found only when the photo is turned by quarters. Where a
    face is covered the detector sees wrongly turned ones with up to 0.76."""
    sure_location: float = 0.8
    """Confidence from which a face lies where the detector says, however it is covered."""
    occlusion: float = 0.5
    """An alpha above it is occluded: configs/EXPERIMENTS.md compares it with others."""
    accepted: float = 0.6
    """Probability from which a face counts as covered: tools/fit_acceptance prints what others cost. To
    change an uncovered face is worse than to leave a covered one."""
    certain: float = 0.98
    """Alpha of which the model is nearly certain. It is one kind of the evidence that tools/fit_acceptance
    weighs."""
    smallest_region: float = 0.005
    """Share of the crop that an occlusion takes at least. Less is a mole or a shadow.
    configs/EXPERIMENTS.md counts what it costs and what it spares."""
    sure: float = 0.6
    """How far above the threshold, on the way to 1, a ready crop's occlusion has a part of
    `smallest_region` (an alpha of 0.8 at 0.5). Chosen in configs/EXPERIMENTS.md."""


THRESHOLDS = Thresholds()

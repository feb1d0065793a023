"""The numbers of three decisions: is a face covered, does it need more passes, is a crop framed as usual.

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


@dataclass(frozen=True)
class PassRules:
    """When the model passes over a face again. Lengths are in sides of the crop, areas in shares of it.

    All of it was set by hand on 2026-11-26. docs/photos.md says what it gains on painted covers.
    """

    cover_low: tuple[float, float] = (62 / 256, 104 / 256)
    cover_high: tuple[float, float] = (191 / 256, 234 / 256)
    """Where a cover from brows to chin begins and ends in a canonical crop, x and y."""
    cover_area: float = 0.21
    """A cover of the whole face takes at least this, unless both eyes are under it. A mask is smaller."""
    cover_solid: float = 0.68
    """Share of the upright rectangle around it that it fills at least, unless both eyes are under it."""
    cover_height: float = 0.745
    """It is at most this high. A balaclava is higher, and open at the eyes."""
    eye_radius: float = 0.03
    largest_step: float = 1.3
    """That the face's size is corrected by in one pass."""
    more_passes: int = 3
    """Over a face that is hidden whole, at most."""
    beyond_border: float = 0.15
    """Share of a face's box beyond the photo's border from which a cover has to hide both eyes to count as
    one of the whole face. What is seen of a cut-off face says little about its middle."""
    cut_off: float = 0.12
    """Share of the crop's last row that a cover takes which goes on below."""
    wider: tuple[tuple[float, float, float], ...] = ((1.1, 0.05, 0.09), (1.15, 0.075, 0.14))
    """Wider crops, of which the first in which the cover ends is taken: side, how much lower it lies, how
    much it shows of what lies below."""
    ends: float = 0.15
    """Share of its width at the edge that a cover may have at the end of that. More is a scarf."""
    faded: float = 0.02
    """Where both crops are mixed."""
    beside: float = 0.04
    """How far a cover may widen below."""


PASSES = PassRules()


@dataclass(frozen=True)
class FramingRules:
    """When a ready crop goes to the model as it is. Distances are those of `aligned.distance`.

    CelebA's own crops lie within them, and a crop that lies beyond them gains by being re-aligned:
    docs/photos.md has the measurement of 2026-11-30.
    """

    scan_px: int = 89
    """Width of the small copy for the first scan: half a CelebA frame."""
    scan_confidence: float = 0.2
    scan_finds: int = 6
    """So many of that scan's surest finds count. Among all, one is near by chance."""
    near: float = 0.18
    """How far one of them may lie from its canonical location."""
    copy_px: int = 256
    """Width of the largest copy that the whole detector gets. The face fills it."""
    smallest_face_px: float = 12.0
    """Width of a face in it."""
    canonical: float = 0.3
    """How far the whole detector's find may lie from its canonical location."""
    doubtful: float = 0.7
    """How far the first scan's may lie where the whole detector is sure of no face."""
    least_cover: float = 0.03
    """Share of a re-aligned face's crop that a cover takes inside the picture at least. Less is a streak of
    the border, which is repeated beyond it."""


FRAMING = FramingRules()

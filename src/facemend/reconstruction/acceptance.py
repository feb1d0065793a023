"""What in a crop is an occlusion, and whether a face is covered: one probability, from what was found."""

import logging
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage
from PIL import ImageFilter

from facemend.alignment import Points, View, canonical_landmarks
from facemend.detection import Face
from facemend.images import Alpha, Image, Mask, resize
from facemend.occlusion.types import OcclusionClass
from facemend.reconstruction.blending import dilate
from facemend.reconstruction.model import ModelOutput
from facemend.reconstruction.options import THRESHOLD, Options, Remove
from facemend.thresholds import THRESHOLDS

_RIM_PX = 3  # around a region, where its alpha fades
_BAND_PX = 6  # on both sides of a region's edge, where its colours are compared
_DETAIL_PX = (32, 128)  # sides of the copy of the crop in which sharpness is measured
_LOG = logging.getLogger("facemend")


@dataclass(frozen=True)
class Shapes:
    """What tells covers from what else lies on a face. Lengths are in sides of the crop.

    All of it was set by hand when the decision became one probability (2026-11-30), and is held by
    tests/unit/reconstruction/test_acceptance.py.
    """

    flat_levels: float = 10.0
    """How much the pixels of one colour may differ after JPEG."""
    eye_radius: float = 0.06
    hidden_eye: float = 0.3
    """Share of what lies around an eye from which that is hidden."""
    patch_area: float = 0.01
    """Share of the crop that a flat region takes at least to be an eye patch or a bar."""
    bar_filling: float = 0.88
    """Share of its rectangle that a censor bar fills at least. Glasses fill less."""
    neck: float = 0.016
    """What hangs on a cover by less is not a part of its body."""
    above_eyes: float = 0.08
    below_eyes: float = 0.06
    face_half_width: float = 0.24
    """Where the eyes are seen under a mask."""
    face_x: tuple[float, float] = (0.24, 0.76)
    face_y: tuple[float, float] = (0.38, 0.95)
    """Where the mask lies."""
    glasses_height: float = 0.16
    """How far glasses reach above the eyes."""
    waist: float = 0.7
    """Share of the widths above and below at which glasses end and a mask begins."""
    landmark_radius: float = 0.04
    detail_floor_levels: float = 0.6
    """Level of detail that rounding and compression leave."""


SHAPES = Shapes()
INTERCEPT = -9.50
WEIGHTS: Mapping[str, float] = {
    "confidence": 3.92,
    "below_surest": -10.56,
    "share": -0.94,
    "certain": 3.55,
    "unsure": -0.75,
    "solid": 1.81,
    "hides": 3.93,
    "step": 6.61,
    "detail_inside": -1.05,
    "detail_outside": 2.00,
    "sharp_outside": -0.45,
    "beyond": -16.12,
}
"""Of the logistic regression, one for each field of `Evidence`. Fitted by tools/fit_acceptance to 2,299
finds in 3,518 photos, with the model that comes with facemend since 2026-12-01. Fit another one anew."""


@dataclass(frozen=True)
class Evidence:
    """What speaks for and against a cover, each a number near 0 to 1.

    Attributes:
        confidence: the detector's.
        below_surest: how much more confident the detector is of another face of the photo.
        share: square root of the share of the crop above the threshold.
        certain: share of that of which the model is nearly certain.
        unsure: pixels that are neither visible nor occluded, over those above the threshold.
        solid: share of the upright rectangle around the largest region that it fills.
        hides: mean alpha at nose and mouth, or at one eye where that is more.
        step: mean difference of colour across the edge, 1 being black to white.
        detail_inside: binary logarithm of the fine detail inside, in levels, over 4.
        detail_outside: the same around it.
        sharp_outside: binary logarithm of fine detail over coarser detail around it.
        beyond: share of the face that lies outside the photo.
    """

    confidence: float
    below_surest: float
    share: float
    certain: float
    unsure: float
    solid: float
    hides: float
    step: float
    detail_inside: float
    detail_outside: float
    sharp_outside: float
    beyond: float


_CHANNELS = {Remove.COVERS: [0], Remove.ACCESSORIES: [1], Remove.ALL: [0, 1]}


def wanted_alpha(alpha: npt.NDArray[np.float32], remove: Remove, threshold: float = THRESHOLD) -> Alpha:
    """The alpha to remove, (H, W), out of a model's alpha by class, (2, H, W). It is 0 without a core."""
    wanted = alpha_of(alpha, remove)
    return wanted if has_core(wanted, threshold) else np.zeros_like(wanted)


def alpha_of(alpha: npt.NDArray[np.float32], remove: Remove) -> Alpha:
    """The alpha of the classes to remove, (H, W), out of a model's alpha by class, (2, H, W)."""
    of_classes: Alpha = alpha[_CHANNELS[remove]].max(axis=0)
    return of_classes


def classes_that_stay(
    alpha: npt.NDArray[np.float32] | None, remove: Remove, threshold: float
) -> tuple[OcclusionClass, ...]:
    """The classes that hide a part of a crop and are not to be removed.

    Args:
        alpha: a model's alpha by class, (2, H, W). None if it finds none.
        threshold: an alpha above it is occluded.
    """
    if alpha is None:
        return ()
    smallest_px = round(THRESHOLDS.smallest_region * alpha[0].size)
    return tuple(
        name
        for channel, name in enumerate(OcclusionClass)
        if channel not in _CHANNELS[remove] and large_regions(alpha[channel] > threshold, smallest_px).any()
    )


def has_core(alpha: Alpha, threshold: float) -> bool:
    """Whether a connected region of a crop's alpha is large enough, and sure enough, to be an occlusion.

    Args:
        threshold: an alpha above it is occluded.
    """
    certain = alpha > threshold + THRESHOLDS.sure * (1 - threshold)
    return bool(large_regions(certain, round(THRESHOLDS.smallest_region * alpha.size)).any())


def find_occlusion(crop: Image, output: ModelOutput, options: Options) -> Alpha:
    """The occlusion found in one crop (S, S, 3), as float32 (S, S). It is 0 outside of possible covers."""
    if output.alpha is None:  # it finds nothing: all is delivered
        return np.ones(output.raw.shape[1:3], dtype=np.float32)
    threshold = options.occlusion_threshold
    found = alpha_of(output.alpha[0], options.remove)
    smallest_px = round(THRESHOLDS.smallest_region * found.size)
    region = large_regions(found > threshold, smallest_px)
    if options.remove is Remove.COVERS:
        landmarks = canonical_landmarks(region.shape[1])
        accessory = alpha_of(output.alpha[0], Remove.ALL)
        bar = _flat_over_eyes(crop, large_regions(accessory > threshold, smallest_px), landmarks)
        region = _without_headwear(_without_glasses(region, landmarks), landmarks) | bar
        found = np.where(dilate(bar, _RIM_PX), accessory, found)
    return np.where(dilate(region, _RIM_PX), found, np.float32(0))


def _flat_over_eyes(crop: Image, region: Mask, landmarks: Points) -> Mask:
    """The part of a region (S, S) that is a censor bar or an eye patch: of one colour, over the eyes.

    The model takes both for accessories, since they lie where glasses do. A bar over both eyes fills a
    rectangle, glasses do not.
    """
    side = region.shape[1]
    eyes = [_square(place, SHAPES.eye_radius * side) for place in landmarks[:2]]
    near = np.concatenate([crop[eye][region[eye]] for eye in eyes])
    none = np.zeros_like(region)
    if not len(near):
        return none
    away = np.abs(crop - np.median(near, axis=0)).max(axis=2)
    flat = largest_region(region & (away <= SHAPES.flat_levels))
    found, hidden = (
        [bool(part[eye].mean() > SHAPES.hidden_eye) for eye in eyes] for part in (region, flat)
    )
    if not any(hidden) or found != hidden or flat.mean() < SHAPES.patch_area:
        return none
    return none if all(hidden) and _filling(flat) < SHAPES.bar_filling else flat


def _part(ends: tuple[float, float], side: int) -> slice:
    return slice(round(ends[0] * side), round(ends[1] * side))


def _square(place: Points, radius: float) -> tuple[slice, slice]:
    """Rows and columns around a place (x, y)."""
    x, y = (slice(round(at - radius), round(at + radius) + 1) for at in place.tolist())
    return y, x


def _filling(region: Mask) -> float:
    """The share of the rectangle around a region, turned as the region is, that it fills."""
    places = np.argwhere(region).astype(np.float64)
    places -= places.mean(axis=0)
    along = places @ np.linalg.eigh(places.T @ places)[1]
    low, high = np.quantile(along, (0.01, 0.99), axis=0)
    return float(len(places) * 0.98**2 / (high - low + 1).prod())


def _without_headwear(region: Mask, landmarks: Points) -> Mask:
    """A region (S, S) without what lies at the eyes or above and is not part of the cover's body.

    It is most often a cap or glasses in the colour of the mask. Straps beside the eyes stay in it.
    """
    side = region.shape[1]
    neck = round(SHAPES.neck * side)
    body = largest_region(~dilate(~region, neck))
    if not body.any():
        return region
    (left, eyes_y), (right, _) = landmarks[:2]
    y, x = np.ogrid[: len(region), :side]
    at_eyes = (y < eyes_y + SHAPES.below_eyes * side) & (
        abs(x - (left + right) / 2) < SHAPES.face_half_width * side
    )
    upper = at_eyes | (y < eyes_y - SHAPES.above_eyes * side)
    cover: Mask = region & (dilate(body, 2 * neck) | ~upper)
    return cover


def _without_glasses(region: Mask, landmarks: Points) -> Mask:
    """A region (S, S) without glasses that touch the cover below: it ends at the waist between the two."""
    side, widths = region.shape[1], region.sum(axis=1)
    rows = np.flatnonzero(widths)
    eyes_y, nose_y = landmarks[[0, 2], 1].round().astype(int).tolist()
    if not len(rows) or not eyes_y - SHAPES.glasses_height * side < rows[0] < eyes_y:
        return region
    waist = eyes_y + int(widths[eyes_y:nose_y].argmin())
    above, below = widths[:waist].max(), widths[waist:].max()
    if widths[waist] < SHAPES.waist * min(above, below):
        region = region.copy()
        region[:waist] = False
    return region


def evidence_of(
    photo: Image, view: View, alpha: Alpha, threshold: float, confidence: float, highest: float
) -> Evidence | None:
    """The evidence for a cover on a face. None where nothing is found that could be one.

    What the detector hardly sees can only be a face that is hidden whole, nose and mouth with it.

    Args:
        photo: (H, W, 3).
        view: where the face lies.
        alpha: float32 (S, S), what was found in its crop.
        threshold: 0-1, an alpha above it is occluded.
        confidence, highest: the detector's, of this face and the highest in the photo.
    """
    side = alpha.shape[1]
    alpha = alpha[:side]
    region = large_regions(alpha > threshold, round(THRESHOLDS.smallest_region * alpha.size))
    if not region.any():
        return None
    y, x = (np.flatnonzero(region.any(axis=axis)) for axis in (1, 0))
    crop, seen, scale = view.crop.image[:side], view.crop.inside(photo)[:side], view.scale
    places = canonical_landmarks(side)
    mouth = _alpha_at(alpha, places[2:])
    if confidence < THRESHOLDS.min_confidence and mouth < 0.5:
        return None
    # The edge itself is a detail of neither side.
    parts = ~dilate(~region, _BAND_PX) & seen, ~dilate(region, _BAND_PX) & seen
    (inside, _), (outside, coarse) = _details(crop, *parts, scale)
    return Evidence(
        confidence=confidence,
        below_surest=highest - confidence,
        share=float(region.mean()) ** 0.5,
        certain=float((alpha[region] > THRESHOLDS.certain).mean()),
        unsure=min(1.0, float(((alpha > 0.1) & (alpha < 0.9)).sum() / region.sum())),
        solid=float(region.sum() / ((y[-1] - y[0] + 1) * (x[-1] - x[0] + 1))),
        hides=max(mouth, *(_alpha_at(alpha, eye[None]) for eye in places[:2])),
        step=_colour_step(crop, region & seen, ~region & seen),
        detail_inside=inside / 4,
        detail_outside=outside / 4,
        sharp_outside=outside - coarse,
        beyond=float(1 - seen[_part(SHAPES.face_y, side), _part(SHAPES.face_x, side)].mean()),
    )


def covered_probability(
    photo: Image, face: Face, view: View, alpha: Alpha, threshold: float, highest: float, name: str
) -> float:
    """The probability, 0-1, that a face is covered. From `THRESHOLDS.accepted` on it counts as covered.

    It is 0 where nothing is found, and 1 where the user says that the face is covered. The log says why a
    face is left alone.

    Args:
        photo, view, alpha, threshold, highest: as in `evidence_of`.
        face: one that the user marks counts as soon as something is found.
        name: what the log calls the photo.
    """
    evidence = evidence_of(photo, view, alpha, threshold, face.confidence, highest)
    if evidence is None:
        _log(name, face, "nothing is found that could cover it")
        return 0.0
    if face.marked:
        return 1.0
    probability = probability_of(evidence)
    if probability < THRESHOLDS.accepted:
        values = ", ".join(f"{kind} {value:.2f}" for kind, value in asdict(evidence).items())
        _log(name, face, f"it is covered with a probability of {probability:.3f} ({values})")
    return probability


def probability_of(evidence: Evidence) -> float:
    """The probability, 0-1, that a face is there and covered."""
    logit = INTERCEPT + sum(WEIGHTS[name] * value for name, value in asdict(evidence).items())
    return 1 / (1 + math.exp(-min(max(logit, -50.0), 50.0)))


def _log(name: str, face: Face, reason: str) -> None:
    x1, y1, x2, y2 = face.box_px
    _LOG.info(
        "%s: face at %.0f,%.0f,%.0f,%.0f (confidence %.2f) is left alone: %s",
        name, x1, y1, x2 - x1, y2 - y1, face.confidence, reason,
    )  # fmt: skip


def _alpha_at(alpha: Alpha, places: Points) -> float:
    """The mean alpha around landmarks (N, 2)."""
    radius = SHAPES.landmark_radius * len(alpha)
    return float(np.mean([alpha[_square(place, radius)].mean() for place in places]))


def _colour_step(crop: Image, inside: Mask, outside: Mask) -> float:
    """The mean difference, 0-1, of the colours on both sides of a region's edge."""
    edge = inside & dilate(outside, 1)
    if not edge.any():
        return 0.0
    within, beyond = (_mean_near(crop, part)[edge] for part in (inside, outside))
    return float(np.abs(within - beyond).max(axis=1).mean() / 255)


def _mean_near(crop: Image, part: Mask) -> npt.NDArray[np.float32]:
    """The mean colour, float32 (H, S, 3), of those pixels of a part of the crop that are near."""
    near = ImageFilter.BoxBlur(_BAND_PX)
    total = np.asarray(PillowImage.fromarray(crop * part[:, :, None]).filter(near), dtype=np.float32)
    share = np.asarray(PillowImage.fromarray(part.astype(np.uint8) * 255).filter(near), dtype=np.float32)
    return (255 * total / np.maximum(share, 1)[:, :, None]).astype(np.float32)


def _details(
    crop: Image, inside: Mask, outside: Mask, scale: float
) -> tuple[tuple[float, float], tuple[float, float]]:
    """How much fine and how much coarser detail lies in two parts of a crop, as binary logarithms.

    Measured in the photo's own pixels, or in those of a smaller copy.
    """
    height, width = inside.shape
    side = int(np.clip(width * scale, *_DETAIL_PX))
    size = side, round(height * side / width)
    gray = PillowImage.fromarray(resize(crop, *size)).convert("L")
    fine, coarse = (np.asarray(gray.filter(ImageFilter.BoxBlur(r)), dtype=np.float32) for r in (1, 3))
    details = np.asarray(gray, dtype=np.float32) - fine, fine - coarse

    def measured(part: Mask) -> tuple[float, float]:
        small = np.asarray(PillowImage.fromarray(part).resize(size, PillowImage.Resampling.NEAREST))
        a, b = (float((d[small] ** 2).mean()) ** 0.5 if small.any() else 0.0 for d in details)
        return float(np.log2(a + SHAPES.detail_floor_levels)), float(
            np.log2(b + SHAPES.detail_floor_levels)
        )

    return measured(inside), measured(outside)


def large_regions(mask: Mask, smallest_px: int) -> Mask:
    """Those pixels of a mask (H, W) whose connected region takes at least `smallest_px` pixels.

    Connected is what touches by a side.
    """
    rows, starts, ends, sizes, _ = _runs(mask)
    return _mask_of_runs(mask, rows, starts, ends, sizes >= smallest_px)


def largest_region(mask: Mask) -> Mask:
    """The largest connected region of a mask (H, W), the first of several."""
    rows, starts, ends, sizes, roots = _runs(mask)
    return _mask_of_runs(
        mask, rows, starts, ends, roots == roots[sizes.argmax()] if len(roots) else roots > 0
    )


_Runs = npt.NDArray[np.intp]


def _runs(mask: Mask) -> tuple[_Runs, _Runs, _Runs, _Runs, _Runs]:
    """All runs of set pixels in rows: row, start and end, and the size and the name of their region.

    Runs of a row are joined with those of the row above.
    """
    edges = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    (rows, starts), ends = np.argwhere(edges == 1).T, np.argwhere(edges == -1).T[1]
    parents = np.arange(len(rows))
    above = 0
    for run, (row, start, end) in enumerate(zip(rows, starts, ends, strict=True)):
        while rows[above] < row - 1 or (rows[above] == row - 1 and ends[above] <= start):
            above += 1
        touching = above
        while rows[touching] == row - 1 and starts[touching] < end:
            parents[_root(parents, run)] = _root(parents, touching)
            touching += 1
    roots = np.array([_root(parents, run) for run in range(len(rows))], dtype=np.intp)
    sizes = np.bincount(roots, weights=ends - starts, minlength=len(rows))
    return rows, starts, ends, sizes[roots].astype(np.intp), roots


def _mask_of_runs(mask: Mask, rows: _Runs, starts: _Runs, ends: _Runs, chosen: Mask) -> Mask:
    """A mask of the same size with the chosen runs."""
    drawn = np.zeros_like(mask)
    for row, start, end in zip(rows[chosen], starts[chosen], ends[chosen], strict=True):
        drawn[row, start:end] = True
    return drawn


def _root(parents: npt.NDArray[np.intp], run: int) -> int:
    while parents[run] != run:
        parents[run] = parents[parents[run]]
        run = int(parents[run])
    return run

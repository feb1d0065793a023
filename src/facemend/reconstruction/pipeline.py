"""The faces of a photo: each is cut out, reconstructed and put back. No other pixel changes."""

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np

from facemend.alignment import (
    CROP_SIZE_PX,
    Points,
    ValuesT,
    View,
    around,
    canonical_landmarks,
    sample,
    similarity,
    view_below,
    view_of,
)
from facemend.detection import Face
from facemend.errors import NoFaceFound, UsageError
from facemend.files import seed_of
from facemend.images import Alpha, Image, Mask, digest_of
from facemend.occlusion.types import OcclusionClass
from facemend.reconstruction.acceptance import (
    classes_that_stay,
    covered_probability,
    evidence_of,
    find_occlusion,
    large_regions,
    probability_of,
)
from facemend.reconstruction.blending import (
    RING_PX,
    blend,
    edge_px,
    feather,
    keep_tone,
    match_grain,
)
from facemend.reconstruction.deblur import deblur
from facemend.reconstruction.model import Model, ModelOutput
from facemend.reconstruction.options import Options
from facemend.reconstruction.provenance import Region
from facemend.thresholds import PASSES, THRESHOLDS

_LOG = logging.getLogger("facemend")


@dataclass(frozen=True)
class FaceReconstruction:
    """What was done to one face.

    Attributes:
        face: where it is.
        box: rows and columns of the picture, h by w, that the arrays below cover.
        occlusion: the occlusion found by class, each float32 (h, w), 0-1. Empty if the model finds none,
            or the face was not chosen.
        removed: float32 (h, w), 0-1, the occlusion that was reconstructed: that of the classes asked
            for, or the user's mask.
        weight: float32 (h, w), the reconstruction's share of each pixel, 0-1; where it is 0, and outside
            the box, the picture is the input.
        coverage: share of the whole picture's pixels that were reconstructed, 0-1.
        before: uint8 (h, w, 3) RGB, the box's pixels before.
        interval: float32 (h, w), how far off the reconstruction may be: nine in ten of the true colour
            values under the occlusion lie within ± this many levels (of 255) of the output; 0 where
            `weight` is 0; None if the model does not say.
        stays: the classes that hide a part of the face and were not asked for, such as glasses.
        number: what every command calls the face, see `number_faces`.
        chosen: whether the options let it be worked on. If not, it was left alone.
    """

    face: Face
    box: tuple[slice, slice]
    occlusion: Mapping[OcclusionClass, Alpha]
    removed: Alpha
    weight: Alpha
    coverage: float
    before: Image
    interval: Alpha | None = None
    stays: tuple[OcclusionClass, ...] = ()
    number: int = 1
    chosen: bool = True

    @property
    def changed(self) -> bool:
        """Whether anything was reconstructed."""
        return self.coverage > 0

    @property
    def interval_levels(self) -> float | None:
        """How far off it may be, on average: the mean of `interval` over what was reconstructed."""
        if self.interval is None or not self.changed:
            return None
        return float(self.interval[self.weight > 0].mean())

    @property
    def doubt(self) -> str | None:
        """How sure the reconstruction is, in words. None where `interval_levels` is None."""
        if self.interval is None or self.interval_levels is None:
            return None
        words = [f"{part} {_sure(levels)}" for part, levels in self._levels_by_part()]
        said = ", ".join(words) or "no eye, nose or mouth is reconstructed"
        return f"about ±{self.interval_levels:.0f} levels: {said}"

    def _levels_by_part(self) -> Iterator[tuple[str, float]]:
        """The parts of the face that were reconstructed for the most part, and the mean interval there."""
        assert self.interval is not None
        eyes_px = float(np.hypot(*(self.face.landmarks_px[1] - self.face.landmarks_px[0])))
        y, x = np.ogrid[self.box]
        for part, places in _PARTS.items():
            distances = [np.hypot(x - px, y - py) for px, py in self.face.landmarks_px[places].tolist()]
            near = np.minimum.reduce(distances) <= _PART_RADIUS * eyes_px
            hidden = near & (self.weight > 0)
            if near.any() and hidden.sum() >= near.sum() / 2:
                yield part, float(self.interval[hidden].mean())

    @property
    def region(self) -> Region | None:
        """The part of the picture that was reconstructed, or None."""
        if not self.changed:
            return None
        y, x = np.nonzero(self.weight)
        top, left = self.box[0].start, self.box[1].start
        box_px = (
            left + int(x.min()),
            top + int(y.min()),
            left + int(x.max()) + 1,
            top + int(y.max()) + 1,
        )
        return Region(box_px, self.coverage)


_PARTS = {"the eyes are": [0, 1], "the nose is": [2], "the mouth is": [3, 4]}
_PART_RADIUS = 0.25  # around a landmark, in distances between the eyes
_WORDS = ((15.0, "fairly certain"), (30.0, "uncertain"), (math.inf, "a guess"))
"""What an interval of at most so many levels is called."""


def _sure(levels: float) -> str:
    return next(word for most, word in _WORDS if levels <= most)


def whole_cover(found: Mask) -> Mask | None:
    """The region (S, S) of a canonical crop that hides a face from brows to chin, or None."""
    region = large_regions(found, int(found.sum()) // 2 + 1)
    if not region.any():
        return None
    low, high = _ends(region)
    width, height = high - low + 1
    solid = region.sum() >= PASSES.cover_solid * width * height and region.mean() >= PASSES.cover_area
    low_enough = height <= PASSES.cover_height * len(region)
    return region if low_enough and (solid or _hides_eyes(region)) else None


def landmarks_under(cover: Mask, crop_to_photo: Points) -> Points:
    """The landmarks (5, 2) in the photo of a face that lies in the middle of its cover.

    Of a cover that the crop cuts off that is the middle of what is seen: the crop that these landmarks give
    shows more of it.

    Args:
        cover: bool (S, S), in a canonical crop, not empty.
        crop_to_photo: (2, 3), see `frame.Crop`.
    """
    side = len(cover)
    low, high = _ends(cover)
    usual_low, usual_high = np.array([PASSES.cover_low, PASSES.cover_high]) * side
    scale = float(np.sqrt((high - low + 1).prod() / (usual_high - usual_low).prod()))
    scale = min(max(scale, 1 / PASSES.largest_step), PASSES.largest_step)
    in_crop = (low + high) / 2 + scale * (canonical_landmarks(side) - (usual_low + usual_high) / 2)
    in_photo: Points = in_crop @ crop_to_photo[:, :2].T + crop_to_photo[:, 2]
    return in_photo


def _ends(region: Mask) -> tuple[Points, Points]:
    """The first and the last pixel of a region that is not empty, each x and y."""
    y, x = (np.flatnonzero(region.any(axis=axis)) for axis in (1, 0))
    return np.array([x[0], y[0]], dtype=np.float64), np.array([x[-1], y[-1]], dtype=np.float64)


def _hides_eyes(region: Mask) -> bool:
    """Whether nothing is seen of either eye."""
    side = len(region)
    radius = PASSES.eye_radius * side
    for place in canonical_landmarks(side)[:2]:
        x, y = (slice(round(at - radius), round(at + radius) + 1) for at in place.tolist())
        if not region[y, x].all():
            return False
    return True


class PassResult(NamedTuple):
    """A face, where it was cut out, the model's output, and the occlusion to remove in the crop."""

    face: Face
    view: View
    output: ModelOutput
    found: Alpha


@dataclass(frozen=True)
class Passes:
    """The model's passes over the faces of one photo.

    Attributes:
        options: what to reconstruct.
        name: what the log calls the photo.
        draws: whether the reconstruction is wanted, and not the occlusion alone.
    """

    model: Model
    options: Options
    name: str
    draws: bool = True

    def find(self, photo: Image, face: Face, highest: float) -> PassResult | None:
        """The occlusion of a face, or None if the face lies outside the photo.

        Args:
            highest: the highest confidence of a face in the photo.
        """
        seen = self.run(photo, face)
        return seen if seen is None or seen.output.alpha is None else self.complete(photo, seen, highest)[0]

    def wanted(self, seen: PassResult) -> PassResult:
        """A pass that others made over the face, with the occlusion that is wanted here."""
        return seen._replace(found=find_occlusion(seen.view.crop.image, seen.output, self.options))

    def complete(self, photo: Image, seen: PassResult, highest: float) -> tuple[PassResult, float]:
        """A face after its first pass, with the further passes that its occlusion needs.

        Args:
            highest: the highest confidence of a face in the photo.

        Returns:
            The result, whose `found` is 0 where the face does not count as occluded, and the probability
            that it is.
        """
        probability = covered_probability(
            photo, seen.face, seen.view, seen.found, self.options.occlusion_threshold, highest, self.name
        )
        if probability < THRESHOLDS.accepted:
            return seen._replace(found=np.zeros_like(seen.found)), probability
        if seen.face.confidence < THRESHOLDS.sure_location:
            seen = self._centred(photo, seen)
        return self._lengthened(photo, self._deblurred(self._beyond(seen))), probability

    def with_mask(self, photo: Image, face: Face, mask: Mask, free: Mask) -> PassResult | None:
        """A face under a mask (H, W) of the photo, or None if its view shows none of the mask.

        `found` is the mask in the view's box.

        Args:
            free: bool (H, W), what may change.
        """
        view = self.view(photo, face)
        marked = None if view is None else mask[view.box] & view.inside
        if view is None or marked is None or not marked.any():
            return None
        hint = view.hint((weight_of_mask(view, marked, self.options) > 0) & free[view.box])
        output = deblur(view.crop.image, self.model(view.crop.image[None], hint[None]), hint)
        return PassResult(face, view, output, marked.astype(np.float32))

    def locate(self, photo: Image, face: Face) -> Face:
        """A face that a clip follows from here on. One that is hidden whole lies in its cover's middle."""
        seen = self.run(photo, face) if face.confidence < THRESHOLDS.sure_location else None
        if seen is None or seen.output.alpha is None or not seen.found.any():
            return face
        return self._centred(photo, seen).face

    def follow(
        self, photo: Image, view: View, face: Face, highest: float, *, mirrored: bool = False
    ) -> tuple[PassResult, float]:
        """The occlusion of a face whose view is known, and the probability that it is covered.

        A clip decides over its frames whether a face is covered.

        Args:
            highest: the highest confidence of a face in the photo.
            mirrored: the model sees the face in a mirror, which gives another answer of the same worth.
        """
        if mirrored:
            output = self.model(np.ascontiguousarray(view.crop.image[None, :, ::-1])).mirrored()
        else:
            output = self.model(view.crop.image[None])
        seen = PassResult(face, view, output, find_occlusion(view.crop.image, output, self.options))
        if output.alpha is None:
            return seen, 1.0
        threshold = self.options.occlusion_threshold
        evidence = evidence_of(photo, view, seen.found, threshold, face.confidence, highest)
        if evidence is None:
            return seen._replace(found=np.zeros_like(seen.found)), 0.0
        return self._lengthened(
            photo, self._deblurred(self._beyond(seen, mirrored=mirrored))
        ), probability_of(evidence)

    @property
    def rows_px(self) -> int:
        """Rows of the longest crop that a pass may return."""
        described = self.model.description
        longest = (
            0 if described.tall else round(max(below for *_, below in PASSES.wider) * described.size_px)
        )
        return described.height_px + longest

    def view(self, photo: Image, face: Face) -> View | None:
        """Where the model's crop of a face lies, or None if the face lies outside the photo."""
        described = self.model.description
        return view_of(photo, face.landmarks_px, described.size_px, tall=described.tall)

    def run(self, photo: Image, face: Face) -> PassResult | None:
        """One pass over a face, or None if the face lies outside the photo."""
        view = self.view(photo, face)
        if view is None:
            return None
        output = self.model(view.crop.image[None])
        return PassResult(face, view, output, find_occlusion(view.crop.image, output, self.options))

    def _beyond(self, seen: PassResult, shrink: float = 1.0, *, mirrored: bool = False) -> PassResult:
        """The same, reconstructed beyond the occlusion as well where the options reach there.

        There the first pass shows what the photo shows. The second one takes it for occluded.

        Args:
            shrink: how much smaller the face is in the crop than usual.
        """
        crop, options = seen.view.crop.image, self.options
        takes_hint = self.model.description.takes_hint
        if not (self.draws and takes_hint) or options.grow_px + (options.feather_px or 0) <= 0:
            return seen
        hole = seen.found > options.occlusion_threshold
        hint = feather(hole, *edge_px(options, crop.shape[1] / CROP_SIZE_PX / shrink)) > 0
        if mirrored:
            seen_again = self.model(
                np.ascontiguousarray(crop[None, :, ::-1]), np.ascontiguousarray(hint[None, :, ::-1])
            ).mirrored()
        else:
            seen_again = self.model(crop[None], hint[None])
        return seen._replace(output=replace(seen_again, alpha=seen.output.alpha))

    def _deblurred(self, seen: PassResult) -> PassResult:
        """The same, its reconstruction made to agree with what a blur lets through."""
        if not self.draws:
            return seen
        output = deblur(seen.view.crop.image, seen.output, seen.found > self.options.occlusion_threshold)
        return seen._replace(output=output)

    def _centred(self, photo: Image, seen: PassResult) -> PassResult:
        """A face that is hidden whole, relocated to the middle of its cover. Any other face as it was."""
        for _ in range(PASSES.more_passes):
            cover = whole_cover(seen.found[: seen.found.shape[1]] > self.options.occlusion_threshold)
            if cover is None or (_beyond_border(photo, seen.face) and not _hides_eyes(cover)):
                break
            moved = _moved(seen.face, landmarks_under(cover, seen.view.crop.crop_to_photo))
            closer = self.run(photo, moved)
            if closer is None or not closer.found.any():
                break
            seen = closer
        return seen

    def _lengthened(self, photo: Image, seen: PassResult) -> PassResult:
        """A face whose cover is cut off by the lower edge of the crop, with what lies below it.

        The face itself comes from the crop: in the wider one it lies where the model does not expect it.
        A cover whose end is not seen there either may be clothes, and stays cut off.
        """
        side = len(seen.found)
        cut = np.flatnonzero(seen.found[-1] > self.options.occlusion_threshold)
        if self.model.description.tall or len(cut) < PASSES.cut_off * side:
            return seen
        columns = np.arange(side)
        beside = np.minimum(columns - cut[0], cut[-1] - columns) < -PASSES.beside * side
        middle, to_photo = (side - 1) / 2, seen.view.crop.crop_to_photo
        for larger, lower, below in PASSES.wider:
            # The wider crop's pixel p is the crop's pixel corner + larger * p.
            corner = middle * (1 - larger) + np.array([0, lower * side])
            in_crop = corner + larger * canonical_landmarks(side)
            moved = _moved(seen.face, in_crop @ to_photo[:, :2].T + to_photo[:, 2])
            wider = self.run(photo, moved)
            if wider is None:
                break
            to_wider = np.column_stack([np.eye(2) / larger, -corner / larger])
            longer = _Longer(side, round(below * side), to_wider)
            found = longer(seen.found, wider.found)
            found[:side] = seen.found
            found[side:, beside] = 0
            if (found[-1] > self.options.occlusion_threshold).sum() <= PASSES.ends * len(cut):
                view = view_below(photo, seen.view, longer.rows)
                output = longer.output(seen.output, self._deblurred(self._beyond(wider, larger)).output)
                return PassResult(seen.face, view, output, found)
        return seen


@dataclass(frozen=True)
class _Longer:
    """A crop that goes on below with what a wider one shows there. Its last rows fade into that."""

    side: int
    rows: int
    to_wider: Points

    def __call__(self, crop: ValuesT, wider: ValuesT) -> ValuesT:
        """(S, S, …) and (S, S, …) to (S + rows, S, …)."""
        longer = sample(wider, self.to_wider, self.side, self.side + self.rows)
        kept = self.side - round(PASSES.faded * self.side)
        longer[:kept] = crop[:kept]
        share = np.linspace(0, 1, self.side - kept + 2)[1:-1].reshape(-1, *[1] * (crop.ndim - 1))
        mixed = crop[kept:] + share * (longer[kept : self.side].astype(np.float64) - crop[kept:])
        longer[kept : self.side] = np.rint(mixed) if crop.dtype == np.uint8 else mixed
        return longer

    def output(self, crop: ModelOutput, wider: ModelOutput) -> ModelOutput:
        """What the model says of both, each one face."""
        raw = self(crop.raw[0], wider.raw[0])[None]
        alpha = interval = None
        if crop.alpha is not None and wider.alpha is not None:
            both = zip(crop.alpha[0], wider.alpha[0], strict=True)
            alpha = np.stack([self(*planes) for planes in both])[None]
        if crop.interval is not None and wider.interval is not None:
            interval = self(crop.interval[0], wider.interval[0])[None]
        return ModelOutput(raw, alpha, interval)


def _beyond_border(photo: Image, face: Face) -> bool:
    """Whether a good part of a face's box lies beyond the photo's border."""
    corners = np.reshape(face.box_px, (2, 2))
    inside = corners.clip(-0.5, np.array(photo.shape[1::-1]) - 0.5)
    share = np.diff(inside, axis=0).prod() / np.diff(corners, axis=0).prod()
    return bool(share < 1 - PASSES.beyond_border)


def _moved(face: Face, landmarks_px: Points) -> Face:
    """A face with its landmarks elsewhere, and its box with them."""
    there = similarity(face.landmarks_px, landmarks_px)
    low, high = np.reshape(face.box_px, (2, 2))
    middle = there[:, :2] @ (low + high) / 2 + there[:, 2]
    half = np.hypot(*there[:, 0]) * (high - low) / 2
    (x1, y1), (x2, y2) = (middle - half).tolist(), (middle + half).tolist()
    return Face((x1, y1, x2, y2), landmarks_px, face.confidence)


class _ByClass(Mapping[OcclusionClass, Alpha]):
    """The alpha of each class as it lies in a view's box, put there when it is first asked for: seldom."""

    def __init__(self, view: View, in_crop: Mapping[OcclusionClass, Alpha]) -> None:
        self._view, self._in_crop, self._in_box = view, in_crop, dict[OcclusionClass, Alpha]()

    def __getitem__(self, occlusion_class: OcclusionClass) -> Alpha:
        if occlusion_class not in self._in_box:
            alpha = self._view.put(self._in_crop[occlusion_class])
            self._in_box[occlusion_class] = alpha.clip(0, 1)
        return self._in_box[occlusion_class]

    def __iter__(self) -> Iterator[OcclusionClass]:
        return iter(self._in_crop)

    def __len__(self) -> int:
        return len(self._in_crop)


def number_faces(faces: Sequence[Face], options: Options) -> list[tuple[int, Face]]:
    """The faces found in a photo, in the order in which they are worked on, with their numbers.

    The numbers are the same for every command and whatever hides the faces: the largest is 1, then come
    those that the user marks. Faces with less than the minimum confidence come last, and those that
    turn out to be no hidden faces are missing.
    """
    return list(enumerate(sorted(faces, key=lambda face: face.confidence < options.min_confidence), 1))


def choose_faces(
    numbered: Sequence[tuple[int, Face]],
    width_px: int,
    options: Options,
    is_hidden: Callable[[Face], bool] = lambda face: True,
) -> frozenset[int]:
    """The numbers of the faces that the options let be worked on.

    Args:
        width_px: of the photo.
        is_hidden: whether a face with less than the minimum confidence counts. It is asked only where the
            largest faces are wanted.
    """
    low_px = options.min_face.px(width_px) if options.min_face else 0.0
    high_px = options.max_face.px(width_px) if options.max_face else math.inf
    chosen = [
        (number, face)
        for number, face in numbered
        if face.marked or low_px <= face.box_px[2] - face.box_px[0] <= high_px
    ]
    if options.largest:
        counted = [
            each for each in chosen if each[1].confidence >= options.min_confidence or is_hidden(each[1])
        ]
        counted.sort(key=lambda each: each[1].box_px[0] - each[1].box_px[2])
        chosen = counted[: options.largest]
    return frozenset(number for number, _ in chosen if not options.only or number in options.only)


def check_numbers(listed: Iterable[int], options: Options, name: str) -> None:
    """Raises UsageError: `options.only` names a face that is not among those listed."""
    known = set(listed)
    for number in options.only:
        if number not in known:
            raise UsageError(
                f"{name} has no face {number}; facemend find shows the faces with their numbers"
            )


def reconstruct_faces(
    photo: Image, faces: Sequence[Face], model: Model, options: Options, *, name: str = "the photo"
) -> tuple[Image, tuple[FaceReconstruction, ...]]:
    """Reconstructs faces of a photo, one after the other, so that later ones see what came before.

    A face with less than the minimum confidence counts only where it is hidden, and comes last.

    Args:
        photo: uint8 (H, W, 3) RGB.
        options: its mask and what it keeps are of the photo's shape, at any size.
        name: what an error or the log calls the photo.

    Returns:
        The photo, and what was done to each face that lies in it.

    Raises:
        UsageError: the mask marks pixels outside the faces, or has another shape than the photo, or the
            options name a face that is not there.
        NoFaceFound: there is a mask, and no face.
    """
    size = photo.shape[1], photo.shape[0]
    mask, free = options.mask_of(*size, name), options.free_of(*size, name)
    if mask is not None and not faces:
        raise NoFaceFound(
            f"{name} has no face to reconstruct under the mask; say where one is with "
            "faces=[(x, y, width, height)]"
        )
    result, done = photo.copy(), []
    left = None if mask is None else mask & free
    highest = max((face.confidence for face in faces), default=0.0)
    passes = Passes(model, options, name)
    numbered = number_faces(faces, options)
    chosen = choose_faces(numbered, size[0], options, partial(_is_hidden, passes, photo, highest))
    for number, face in numbered:
        seen: PassResult | None
        if number not in chosen:
            done += _left_alone(photo, number, face, passes)
            continue
        if left is None:
            seen = passes.find(result, face, highest)
            if seen is None or (face.confidence < options.min_confidence and not seen.found.any()):
                continue
            removed, weight = weight_in_photo(seen.view, seen.found, options)
        else:
            seen = passes.with_mask(result, face, left, free)
            if seen is None:
                continue
            removed, weight = seen.found, weight_of_mask(seen.view, seen.found > 0, options)
            left[seen.view.box] &= removed == 0
        weight = np.where(free[seen.view.box], weight, np.float32(0))
        reconstructed = _blend_face(result, seen, removed, weight)
        stays = () if left is not None else _staying(seen, options)
        result[seen.view.box] = reconstructed[0]
        done.append(replace(reconstructed[1], stays=stays, number=number))
    check_numbers((one.number for one in done), options, name)
    if left is not None and left.any():
        raise UsageError(
            f"the mask marks {int(left.sum())} pixels that belong to no face found; keep to the faces, or "
            "pass ready crops with aligned=True"
        )
    return result, tuple(done)


def _is_hidden(passes: Passes, photo: Image, highest: float, face: Face) -> bool:
    if passes.options.mask is not None:
        return True
    seen = passes.find(photo, face, highest)
    return seen is not None and bool(seen.found.any())


def _left_alone(photo: Image, number: int, face: Face, passes: Passes) -> list[FaceReconstruction]:
    """A face that was not chosen, unless it may be no face."""
    view = passes.view(photo, face) if face.confidence >= passes.options.min_confidence else None
    if view is None:
        return []
    _LOG.info("%s: face %d is left alone: not chosen", passes.name, number)
    before = photo[view.box].copy()
    nothing = np.zeros(before.shape[:2], dtype=np.float32)
    return [
        FaceReconstruction(face, view.box, {}, nothing, nothing, 0.0, before, number=number, chosen=False)
    ]


def _blend_face(
    photo: Image, seen: PassResult, removed: Alpha, weight: Alpha
) -> tuple[Image, FaceReconstruction]:
    """The pixels of a view's box with its face reconstructed, and what was done.

    Args:
        removed, weight: of the box's size, see `FaceReconstruction`.
    """
    face, view, output, _ = seen
    found = {} if output.alpha is None else dict(zip(OcclusionClass, output.alpha[0], strict=True))
    before = photo[view.box].copy()
    pixels = before
    interval = None if output.interval is None else np.zeros(weight.shape, dtype=np.float32)
    if weight.any():
        part = around(weight > 0, math.ceil(RING_PX * view.scale))
        near = view.cut(part)
        above = near.put(output.raw[0])
        if interval is not None and output.interval is not None:
            interval[part] = near.put(output.interval[0]).clip(0) * (weight[part] > 0)
        rng = np.random.default_rng(seed_of("grain", digest_of(view.crop.image)))
        above = match_grain(before[part], above, weight[part] > 0, view.scale, rng)
        pixels = before.copy()
        pixels[part] = blend(before[part], above, weight[part])
        pixels = keep_tone(before, pixels, weight)
    by_class = _ByClass(view, found)
    coverage = float((weight > 0).sum()) / (photo.shape[0] * photo.shape[1])
    done = FaceReconstruction(face, view.box, by_class, removed, weight, coverage, before, interval)
    return pixels, done


def _staying(seen: PassResult, options: Options) -> tuple[OcclusionClass, ...]:
    alpha = seen.output.alpha
    return classes_that_stay(
        None if alpha is None else alpha[0], options.remove, options.occlusion_threshold
    )


def weight_in_photo(view: View, found: Alpha, options: Options) -> tuple[Alpha, Alpha]:
    """The occlusion to remove in the view's box, and the reconstruction's share of each pixel there."""
    removed: Alpha = view.put(found).clip(0, 1)
    return removed, _weight(view, removed > options.occlusion_threshold, *edge_px(options, view.scale))


def weight_of_mask(view: View, marked: Mask, options: Options) -> Alpha:
    """The reconstruction's share of each pixel of the view's box under the user's mask."""
    return _weight(view, marked, *edge_px(options, view.scale, exact=True))


def _weight(view: View, hole: Mask, dilation_px: int, feather_px: int) -> Alpha:
    weight = np.zeros(hole.shape, dtype=np.float32)
    if hole.any():
        part = around(hole, max(0, dilation_px) + 2 * feather_px + 1)
        # At the crop's own edge the hole would be dilated to where nothing was drawn.
        weight[part] = feather(hole[part], dilation_px, feather_px) * view.cut(part).inside
    return weight

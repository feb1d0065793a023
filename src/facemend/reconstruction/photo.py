"""Faces in a photo: each is cut out, reconstructed and put back; no pixel outside its occlusion changes."""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from PIL import Image as PillowImage

from facemend.errors import UsageError
from facemend.faces import Face, trust_eyes
from facemend.frame import Crop, Points, ValuesT, crop_face, sample, similarity
from facemend.images import Alpha, Image, Mask
from facemend.occlusion import OcclusionClass, seed_of
from facemend.reconstruction.composite import DILATION_PX, FEATHER_PX, THRESHOLD, blend
from facemend.reconstruction.covered import USUAL_CORES, WEAK_FACE, Core, cores_of, found_in
from facemend.reconstruction.grain import RING_PX, match_grain
from facemend.reconstruction.hidden import landmarks_under, whole_cover
from facemend.reconstruction.model import Model, ModelOutput
from facemend.reconstruction.options import Remove
from facemend.reconstruction.regions import feathered
from facemend.reconstruction.results import FaceReconstruction

_BICUBIC_PX = 2  # how far the filter sees
_CLOSER_LOOKS = 3  # at a face that is hidden whole


@dataclass(frozen=True)
class View:
    """Where the canonical crop of a face lies in a photo.

    Attributes:
        landmarks_px: (5, 2) in the photo, that the crop was cut by.
        crop: the face.
        box: rows and columns of the photo that the crop covers, cut to the photo.
    """

    landmarks_px: Points
    crop: Crop
    box: tuple[slice, slice]

    @cached_property
    def scale(self) -> float:
        """Photo pixels to a crop pixel."""
        return float(np.hypot(*self.crop.crop_to_photo[:, 0]))

    @cached_property
    def inside(self) -> Mask:
        """bool, of the box's size: the pixels that the crop sees whole."""
        side = len(self.crop.image)
        inside: Mask = self.put(np.ones((side, side), dtype=np.float32)) > 0.999
        return inside

    def cut(self, part: tuple[slice, slice]) -> "View":
        """The same view with rows and columns of its box in place of the box."""
        rows, columns = (
            slice(whole.start + cut.start, whole.start + cut.stop)
            for whole, cut in zip(self.box, part, strict=True)
        )
        return replace(self, box=(rows, columns))

    def hint(self, said: Mask) -> Mask:
        """A mask of the box's size as the crop sees it: a pixel that it touches at all is in it."""
        picture = np.repeat(said[:, :, None].astype(np.uint8) * 255, 3, axis=2)
        rows, columns = self.box
        in_box = self.landmarks_px - (columns.start, rows.start)
        hint: Mask = crop_face(picture, in_box, len(self.crop.image)).image[:, :, 0] > 0
        return hint

    def put(self, values: ValuesT) -> ValuesT:
        """What lies in the crop, uint8 (S, S, 3) or float32 (S, S), as it lies in the box; 0 beyond it."""
        rows, columns = self.box
        width_px, height_px = columns.stop - columns.start, rows.stop - rows.start
        result = np.zeros((height_px, width_px, *values.shape[2:]), dtype=values.dtype)
        part = self._reach(values)
        if part is None:
            return result
        side = len(values)
        shrunk = max(1, round(side * min(1.0, self.scale)))
        small = PillowImage.fromarray(values).resize((shrunk, shrunk), PillowImage.Resampling.BICUBIC)
        y, x = part
        linear = np.linalg.inv(self.crop.crop_to_photo[:, :2])
        corner = np.array((columns.start + x.start, rows.start + y.start))
        offset = linear @ (corner - self.crop.crop_to_photo[:, 2])
        to_crop = np.column_stack([linear, offset + 0.5]) * (shrunk / side) - ((0, 0, 0.5), (0, 0, 0.5))
        seen = np.asarray(small, dtype=values.dtype)
        result[part] = sample(seen, to_crop, x.stop - x.start, y.stop - y.start)
        return result

    def _reach(self, values: ValuesT) -> tuple[slice, slice] | None:
        """Rows and columns of the box where values other than 0 may lie: often a small part of it."""
        mask: Mask = (values if values.ndim == 2 else values.max(axis=2)) != 0
        if not mask.any():
            return None
        y, x = _around(mask, math.ceil(_BICUBIC_PX / min(1.0, self.scale)) + 1)
        ends = np.array([(a, b, 1) for a in (x.start - 1, x.stop) for b in (y.start - 1, y.stop)])
        corners = ends @ self.crop.crop_to_photo.T
        rows, columns = self.box
        origin, end = (columns.start, rows.start), (columns.stop, rows.stop)
        low = (np.floor(corners.min(axis=0)).clip(origin, end) - origin).astype(int)
        high = (np.ceil(corners.max(axis=0) + 1).clip(origin, end) - origin).astype(int)
        if (low >= high).any():
            return None
        return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))


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


def view_of(photo: Image, face: Face, size_px: int) -> View | None:
    """The view of a face; None if it lies outside the photo."""
    landmarks_px = trust_eyes(face.landmarks_px)
    crop = crop_face(photo, landmarks_px, size_px)
    corners = np.array([(x, y, 1) for x in (-0.5, size_px - 0.5) for y in (-0.5, size_px - 0.5)])
    in_photo = corners @ crop.crop_to_photo.T
    size = photo.shape[1::-1]
    x1, y1 = np.floor(in_photo.min(axis=0)).clip(0, size).astype(int).tolist()
    x2, y2 = np.ceil(in_photo.max(axis=0) + 1).clip(0, size).astype(int).tolist()
    if x1 >= x2 or y1 >= y2:
        return None
    return View(landmarks_px, crop, (slice(y1, y2), slice(x1, x2)))


def mend_faces(
    photo: Image,
    faces: Sequence[Face],
    model: Model,
    remove: Remove,
    mask: Mask | None = None,
    *,
    kept: Mask | None = None,
    threshold: float = THRESHOLD,
    min_confidence: float = 0.0,
) -> tuple[Image, tuple[FaceReconstruction, ...]]:
    """Reconstructs faces of a photo, one after the other, so that later ones see what came before.

    Args:
        photo: (H, W, 3).
        remove: which class of occlusion to reconstruct, where there is no mask.
        mask: bool (H, W), True exactly where to reconstruct.
        kept: bool (H, W), True where nothing may change, whatever the mask says.
        threshold: 0-1, an alpha above it is an occlusion.
        min_confidence: 0-1, what is less sure is a face only where it is hidden; it comes last.

    Returns:
        The photo, and what was done to each face that lies in it.

    Raises:
        UsageError: the mask marks pixels that belong to no face.
    """
    result, done = photo.copy(), []
    free = np.ones(photo.shape[:2], dtype=np.bool_) if kept is None else ~kept
    left = None if mask is None else mask & free
    surest = max((face.confidence for face in faces), default=0.0)
    for face in sorted(faces, key=lambda face: face.confidence < min_confidence):
        view = view_of(result, face, model.description.size_px)
        if view is None:
            continue
        if left is None:
            cores = cores_of(face.confidence, surest, min_confidence)
            seen = _look(face, view, model, remove, threshold, cores)
            if face.confidence < WEAK_FACE:
                seen = _look_closer(result, seen, model, remove, threshold)
            if face.confidence < min_confidence and not seen.found.any():
                continue
            removed, weight = _in_photo(seen.view, seen.found, threshold)
        else:
            said = left[view.box] & view.inside
            if not said.any():
                continue
            output = model(view.crop.image[None], view.hint(said)[None])
            seen = _Seen(face, view, output, np.zeros(0, dtype=np.float32))
            removed = weight = said.astype(np.float32)
            left[view.box] &= ~said
        weight = np.where(free[seen.view.box], weight, np.float32(0))
        result[seen.view.box], mended = _deliver(result, seen, removed, weight)
        done.append(mended)
    if left is not None and left.any():
        raise UsageError(
            f"the mask marks {int(left.sum())} pixels that belong to no face found; keep to the faces, or "
            "pass ready crops as aligned"
        )
    return result, tuple(done)


class _Seen(NamedTuple):
    """A face, where it was cut out, what the model says of it, and the occlusion to remove in the crop."""

    face: Face
    view: View
    output: ModelOutput
    found: Alpha


def _look(
    face: Face, view: View, model: Model, remove: Remove, threshold: float, cores: tuple[Core, ...]
) -> _Seen:
    output = model(view.crop.image[None])
    return _Seen(face, view, output, found_in(output, remove, threshold, cores))


def _look_closer(photo: Image, seen: _Seen, model: Model, remove: Remove, threshold: float) -> _Seen:
    """A face that is hidden whole, where its cover says that it lies; any other one as it was."""
    for _ in range(_CLOSER_LOOKS):
        cover = whole_cover(seen.found > threshold)
        if cover is None:
            break
        landmarks_px = landmarks_under(cover, seen.view.crop.crop_to_photo)
        moved = _moved(seen.face, landmarks_px)
        view = view_of(photo, moved, model.description.size_px)
        if view is None:
            break
        closer = _look(moved, view, model, remove, threshold, USUAL_CORES)
        if not closer.found.any():
            break
        seen = closer
    return seen


def _moved(face: Face, landmarks_px: Points) -> Face:
    """A face with its landmarks elsewhere, and its box with them."""
    there = similarity(face.landmarks_px, landmarks_px)
    low, high = np.reshape(face.box_px, (2, 2))
    middle = there[:, :2] @ (low + high) / 2 + there[:, 2]
    half = np.hypot(*there[:, 0]) * (high - low) / 2
    (x1, y1), (x2, y2) = (middle - half).tolist(), (middle + half).tolist()
    return Face((x1, y1, x2, y2), landmarks_px, face.confidence)


def _deliver(photo: Image, seen: _Seen, removed: Alpha, weight: Alpha) -> tuple[Image, FaceReconstruction]:
    """The pixels of a view's box with its face reconstructed, and what was done.

    Args:
        removed, weight: of the box's size, see `FaceReconstruction`.
    """
    face, view, output, _ = seen
    found = {} if output.alpha is None else dict(zip(OcclusionClass, output.alpha[0], strict=True))
    pixels = photo[view.box]
    interval = None if output.interval is None else np.zeros(weight.shape, dtype=np.float32)
    if weight.any():
        part = _around(weight > 0, math.ceil(RING_PX * view.scale))
        near = view.cut(part)
        above = near.put(output.raw[0])
        rng = np.random.default_rng(seed_of("grain", hashlib.sha256(view.crop.image.tobytes()).hexdigest()))
        above = match_grain(pixels[part], above, weight[part] > 0, view.scale, rng)
        pixels = pixels.copy()
        pixels[part] = blend(pixels[part], above, weight[part])
        if interval is not None and output.interval is not None:
            interval[part] = near.put(output.interval[0]).clip(0) * (weight[part] > 0)
    by_class = _ByClass(view, found)
    coverage = float((weight > 0).sum()) / (photo.shape[0] * photo.shape[1])
    return pixels, FaceReconstruction(face, view.box, by_class, removed, weight, coverage, interval)


def _around(mask: Mask, margin_px: int) -> tuple[slice, slice]:
    """Rows and columns of the set pixels of a mask that is not empty, and a margin around them."""
    y, x = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return (
        slice(max(0, int(y[0]) - margin_px), min(mask.shape[0], int(y[-1]) + 1 + margin_px)),
        slice(max(0, int(x[0]) - margin_px), min(mask.shape[1], int(x[-1]) + 1 + margin_px)),
    )


def _in_photo(view: View, found: Alpha, threshold: float) -> tuple[Alpha, Alpha]:
    """The occlusion to remove in the view's box, and the reconstruction's share of each pixel there."""
    removed: Alpha = view.put(found).clip(0, 1)
    hole = removed > threshold
    weight = np.zeros_like(removed)
    if not hole.any():
        return removed, weight
    dilation_px, feather_px = (max(1, round(px * view.scale)) for px in (DILATION_PX, FEATHER_PX))
    part = _around(hole, dilation_px + 2 * feather_px + 1)
    # At the crop's own edge the hole would be dilated to where nothing was drawn.
    weight[part] = feathered(hole[part], dilation_px, feather_px) * view.cut(part).inside
    return removed, weight

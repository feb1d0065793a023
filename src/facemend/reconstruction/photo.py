"""Faces in a photo: each is cut out, reconstructed and put back; no pixel outside its occlusion changes."""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from facemend.errors import UsageError
from facemend.faces import Face
from facemend.images import Alpha, Image, Mask
from facemend.occlusion import OcclusionClass, seed_of
from facemend.reconstruction.composite import DILATION_PX, FEATHER_PX, blend
from facemend.reconstruction.grain import RING_PX, match_grain
from facemend.reconstruction.looks import Looker, Seen
from facemend.reconstruction.model import Model
from facemend.reconstruction.options import THRESHOLD, Remove
from facemend.reconstruction.regions import feathered
from facemend.reconstruction.results import FaceReconstruction
from facemend.reconstruction.view import View, around


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
    look = Looker(model, remove, threshold)
    for face in sorted(faces, key=lambda face: face.confidence < min_confidence):
        seen: Seen | None
        if left is None:
            seen = look(result, face, surest)
            if seen is None or (face.confidence < min_confidence and not seen.found.any()):
                continue
            removed, weight = _in_photo(seen.view, seen.found, threshold)
        else:
            seen = look.where_said(result, face, left)
            if seen is None:
                continue
            removed = weight = seen.found
            left[seen.view.box] &= weight == 0
        weight = np.where(free[seen.view.box], weight, np.float32(0))
        result[seen.view.box], mended = _deliver(result, seen, removed, weight)
        done.append(mended)
    if left is not None and left.any():
        raise UsageError(
            f"the mask marks {int(left.sum())} pixels that belong to no face found; keep to the faces, or "
            "pass ready crops as aligned"
        )
    return result, tuple(done)


def _deliver(photo: Image, seen: Seen, removed: Alpha, weight: Alpha) -> tuple[Image, FaceReconstruction]:
    """The pixels of a view's box with its face reconstructed, and what was done.

    Args:
        removed, weight: of the box's size, see `FaceReconstruction`.
    """
    face, view, output, _ = seen
    found = {} if output.alpha is None else dict(zip(OcclusionClass, output.alpha[0], strict=True))
    pixels = photo[view.box]
    interval = None if output.interval is None else np.zeros(weight.shape, dtype=np.float32)
    if weight.any():
        part = around(weight > 0, math.ceil(RING_PX * view.scale))
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


def _in_photo(view: View, found: Alpha, threshold: float) -> tuple[Alpha, Alpha]:
    """The occlusion to remove in the view's box, and the reconstruction's share of each pixel there."""
    removed: Alpha = view.put(found).clip(0, 1)
    hole = removed > threshold
    weight = np.zeros_like(removed)
    if not hole.any():
        return removed, weight
    dilation_px, feather_px = (max(1, round(px * view.scale)) for px in (DILATION_PX, FEATHER_PX))
    part = around(hole, dilation_px + 2 * feather_px + 1)
    # At the crop's own edge the hole would be dilated to where nothing was drawn.
    weight[part] = feathered(hole[part], dilation_px, feather_px) * view.cut(part).inside
    return removed, weight

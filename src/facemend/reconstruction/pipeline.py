"""The faces of a photo: each is cut out, reconstructed and put back. No other pixel changes."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from facemend.alignment import FRAME_LANDMARKS_PX, Points
from facemend.detection import Face
from facemend.errors import NoFaceFound, UsageError
from facemend.files import seed_of
from facemend.images import Alpha, Image, digest_of
from facemend.occlusion import OcclusionClass
from facemend.reconstruction.blending import DILATION_PX, FEATHER_PX, RING_PX, blend, feather, match_grain
from facemend.reconstruction.crop import View, around
from facemend.reconstruction.model import Model
from facemend.reconstruction.options import Box, Options
from facemend.reconstruction.passes import Passes, PassResult
from facemend.reconstruction.results import FaceReconstruction


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
        UsageError: the mask marks pixels outside the faces, or has another shape than the photo.
        NoFaceFound: there is a mask, and no face.
    """
    size = photo.shape[1], photo.shape[0]
    mask, free = options.mask_of(*size, name), options.free_of(*size, name)
    if mask is not None and not faces:
        raise NoFaceFound(f"{name} has no face to reconstruct under the mask; say where one is with --face")
    result, done = photo.copy(), []
    left = None if mask is None else mask & free
    highest = max((face.confidence for face in faces), default=0.0)
    passes = Passes(model, options, name)
    for face in sorted(faces, key=lambda face: face.confidence < options.min_confidence):
        seen: PassResult | None
        if left is None:
            seen = passes.find(result, face, highest)
            if seen is None or (face.confidence < options.min_confidence and not seen.found.any()):
                continue
            removed, weight = weight_in_photo(seen.view, seen.found, options.occlusion_threshold)
        else:
            seen = passes.with_mask(result, face, left)
            if seen is None:
                continue
            removed = weight = seen.found
            left[seen.view.box] &= weight == 0
        weight = np.where(free[seen.view.box], weight, np.float32(0))
        reconstructed = _blend_face(result, seen, removed, weight)
        result[seen.view.box] = reconstructed[0]
        done.append(reconstructed[1])
    if left is not None and left.any():
        raise UsageError(
            f"the mask marks {int(left.sum())} pixels that belong to no face found; keep to the faces, or "
            "pass ready crops as aligned"
        )
    return result, tuple(done)


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
        rng = np.random.default_rng(seed_of("grain", digest_of(view.crop.image)))
        above = match_grain(before[part], above, weight[part] > 0, view.scale, rng)
        pixels = before.copy()
        pixels[part] = blend(before[part], above, weight[part])
        if interval is not None and output.interval is not None:
            interval[part] = near.put(output.interval[0]).clip(0) * (weight[part] > 0)
    by_class = _ByClass(view, found)
    coverage = float((weight > 0).sum()) / (photo.shape[0] * photo.shape[1])
    done = FaceReconstruction(face, view.box, by_class, removed, weight, coverage, before, interval)
    return pixels, done


def weight_in_photo(view: View, found: Alpha, threshold: float) -> tuple[Alpha, Alpha]:
    """The occlusion to remove in the view's box, and the reconstruction's share of each pixel there."""
    removed: Alpha = view.put(found).clip(0, 1)
    hole = removed > threshold
    weight = np.zeros_like(removed)
    if not hole.any():
        return removed, weight
    dilation_px, feather_px = (max(1, round(px * view.scale)) for px in (DILATION_PX, FEATHER_PX))
    part = around(hole, dilation_px + 2 * feather_px + 1)
    # At the crop's own edge the hole would be dilated to where nothing was drawn.
    weight[part] = feather(hole[part], dilation_px, feather_px) * view.cut(part).inside
    return removed, weight


Detect = Callable[..., tuple[Face, ...]]
"""(image, min_confidence=…, min_size_px=…) → faces."""
_DOUBTFUL = 0.05  # the confidence that is enough where the user says that there is a face
_SAME = 0.35  # intersection over union of two boxes of one face
_MARGIN = 0.5  # of the close view, in widths and heights of the face
_TYPICAL_PX = np.array([43.0, 70.0, 135.0, 191.0])
"""The detector's box of an upright face in CelebA's frame, which a box drawn by hand is taken for."""


def add_marked_faces(
    photo: Image, found: Sequence[Face], boxes: Sequence[Box], detect: Detect, name: str
) -> tuple[Face, ...]:
    """The faces found and those that the user marks. One that is both is there once.

    Args:
        photo: (H, W, 3).
        name: what an error calls the photo.

    Raises:
        UsageError: a box lies outside the photo.
    """
    faces = list(found)
    for x, y, width, height in boxes:
        box = np.array([x - 0.5, y - 0.5, x + width - 0.5, y + height - 0.5])
        if (box[2:] <= 0).any() or (box[:2] >= photo.shape[1::-1]).any():
            raise UsageError(f"the face {x:g},{y:g},{width:g},{height:g} lies outside {name}")
        same = [face for face in faces if _overlap(box, face) > _SAME]
        faces = [face for face in faces if _overlap(box, face) <= _SAME]
        faces.append(
            replace(same[0], confidence=1.0, marked=True) if same else _find_in_box(photo, box, detect)
        )
    return tuple(faces)


def _find_in_box(photo: Image, box: Points, detect: Detect) -> Face:
    """The face in a box, by the landmarks that the detector sees there, or by those of a typical face."""
    size = box[2:] - box[:2]
    low = np.floor(box[:2] - _MARGIN * size).clip(0).astype(int)
    high = np.ceil(box[2:] + _MARGIN * size).astype(int)
    close = np.ascontiguousarray(photo[low[1] : high[1], low[0] : high[0]])
    faces = [
        _shifted(face, low)
        for face in detect(close, min_confidence=_DOUBTFUL, min_size_px=max(12.0, float(size.min()) / 2))
    ]
    best = max(faces, key=lambda face: _overlap(box, face), default=None)
    if best is not None and _overlap(box, best) > _SAME:
        return replace(best, confidence=1.0, marked=True)
    scale = size / (_TYPICAL_PX[2:] - _TYPICAL_PX[:2])
    # One scale for x and y: a wide box is a face with its ears, not a broad one.
    landmarks = (box[:2] + box[2:]) / 2 + (
        FRAME_LANDMARKS_PX - (_TYPICAL_PX[:2] + _TYPICAL_PX[2:]) / 2
    ) * float(np.sqrt(scale.prod()))
    x1, y1, x2, y2 = box.tolist()
    return Face((x1, y1, x2, y2), landmarks, 1.0, marked=True)


def _shifted(face: Face, by: Points) -> Face:
    x1, y1, x2, y2 = (np.array(face.box_px) + np.tile(by, 2)).tolist()
    return Face((x1, y1, x2, y2), face.landmarks_px + by, face.confidence)


def _overlap(box: Points, face: Face) -> float:
    other = np.array(face.box_px)
    sides = (np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2])).clip(0)
    common = float(sides.prod())
    areas = float((box[2:] - box[:2]).prod() + (other[2:] - other[:2]).prod())
    return common / (areas - common)

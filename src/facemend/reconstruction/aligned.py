"""Ready crops: 178×218 CelebA frames and square pictures, reconstructed at their own size.

A crop that is framed as CelebA's are goes to the model as it is. In one that is framed otherwise, the face
is cut out by its landmarks, as in a photo, and put back into the crop.
"""

import logging
from dataclasses import replace

import numpy as np
from PIL import Image as PillowImage

from facemend.alignment import (
    CROP_SIZE_PX,
    Points,
    View,
    aligned_rows,
    canonical_landmarks,
    crop_from_aligned,
    paste_into_aligned,
    repeat_below,
    similarity,
    trust_eyes,
    view_of,
)
from facemend.detection import Detector, Face
from facemend.errors import UsageError
from facemend.images import Alpha, Image, Mask
from facemend.occlusion.types import OcclusionClass
from facemend.reconstruction.acceptance import classes_that_stay, wanted_alpha
from facemend.reconstruction.blending import (
    Composite,
    composite,
    edge_px,
    feather,
    keep_tone,
    resize_alpha,
)
from facemend.reconstruction.deblur import deblur
from facemend.reconstruction.model import Model, ModelOutput
from facemend.reconstruction.options import Options
from facemend.reconstruction.pipeline import FaceReconstruction, reconstruct_faces
from facemend.thresholds import FRAMING, THRESHOLDS

_LOG = logging.getLogger("facemend")


def find_face(image: Image, canonical: Face, detector: Detector) -> Face | None:
    """The face of a ready crop.

    Most crops are what they should be, and a scan of a small copy says so. Only the others are shown to the
    whole detector.

    Args:
        image: (H, W, 3).
        canonical: a face where CelebA's crops have it.

    Returns:
        `canonical` itself if the face lies there, perhaps hidden by a cover. Else the face with the highest
        confidence elsewhere, or None.

    Raises:
        ModelError: a network of the detector cannot be run.
    """
    small, shrink = _copy(image, FRAMING.scan_px)
    usual_px = _scaled(canonical, 1 / shrink).landmarks_px
    scanned = detector.scan(small, min_confidence=FRAMING.scan_confidence)[: FRAMING.scan_finds]
    scan_off = min((distance(points, usual_px) for points in scanned), default=np.inf)
    if scan_off <= FRAMING.near:
        return canonical
    copy, shrink = _copy(image, FRAMING.copy_px)
    usual_px = _scaled(canonical, 1 / shrink).landmarks_px
    faces = detector(copy, min_confidence=0.0, min_size_px=FRAMING.smallest_face_px)
    if any(distance(face.landmarks_px, usual_px) <= FRAMING.canonical for face in faces):
        return canonical
    sure = [face for face in faces if face.confidence >= THRESHOLDS.min_confidence]
    if sure:
        return _scaled(max(sure, key=lambda face: face.confidence), shrink)
    return canonical if scan_off <= FRAMING.doubtful else None


def distance(landmarks_px: Points, canonical_px: Points) -> float:
    """How differently a face is framed from a canonical one.

    The similarity between both moves the canonical landmarks by their root mean square distance. It is
    given in distances between the canonical eyes, and divided by the root of the scale, so that twice as
    large is as far as half as large.

    Args:
        landmarks_px, canonical_px: (5, 2). Nose and mouth count as far as the eyes allow.
    """
    framing = similarity(canonical_px, trust_eyes(landmarks_px))
    moved = canonical_px @ framing[:, :2].T + framing[:, 2] - canonical_px
    eyes_px = float(np.hypot(*(canonical_px[1] - canonical_px[0])))
    scale = max(float(np.hypot(*framing[:, 0])), 1e-9)
    return float(np.sqrt((moved**2).sum(axis=1).mean())) / eyes_px / float(np.sqrt(scale))


def _copy(image: Image, width_px: int) -> tuple[Image, float]:
    """A picture at most so wide, and how much smaller it is."""
    height, width = image.shape[:2]
    if width <= width_px:
        return image, 1.0
    size = width_px, max(1, round(height * width_px / width))
    picture = PillowImage.fromarray(image).resize(size, PillowImage.Resampling.BOX)
    return np.asarray(picture, dtype=np.uint8), width / width_px


def _scaled(face: Face, factor: float) -> Face:
    """A face in a picture that is so much larger."""
    x1, y1, x2, y2 = ((np.array(face.box_px) + 0.5) * factor - 0.5).tolist()
    return Face((x1, y1, x2, y2), (face.landmarks_px + 0.5) * factor - 0.5, face.confidence)


def reconstruct_aligned(
    image: Image, model: Model, detector: Detector, options: Options, *, name: str = "the picture"
) -> tuple[Image, tuple[FaceReconstruction, ...]]:
    """Reconstructs the one face of a ready crop.

    A face that is not where CelebA's crops have it is cut out by its landmarks, unless the occlusion hides
    its eyes: then its landmarks are a guess. Without any face, only an occlusion that hides the usual
    location of the eyes is reconstructed, or what a mask marks.

    Args:
        image: uint8 (178, 218, 3) or (S, S, 3) RGB.
        detector: finds the face's eyes.
        options: its mask and what it keeps are of the picture's shape, at any size.
        name: what an error or the log calls the picture.

    Returns:
        The picture, and what was done to its face. No face if an occlusion stays because no eyes
        are found.

    Raises:
        PictureError: the picture has another shape.
        UsageError: the mask does not fit it.
        ModelError: the model or the detector cannot be run.
    """
    size = image.shape[1], image.shape[0]
    mask, free = options.mask_of(*size, name), options.free_of(*size, name)
    canonical = _face(aligned_rows(image, name))
    found = find_face(image, canonical, detector)
    if found is not None and found is not canonical:
        realigned = _realigned(image, found, model, options, mask, name)
        if realigned is not None:
            _LOG.info("%s is framed otherwise than CelebA's crops: re-aligned by its eyes", name)
            return realigned
    result, done = _canonical(image, canonical, model, options, mask, free, name)
    if found is None and mask is None and done.changed and not _reconstructs_eyes(done):
        _LOG.info("%s shows no eyes, and no occlusion over them: left as it is", name)
        return image.copy(), ()
    return result, (done,)


def _realigned(
    image: Image, face: Face, model: Model, options: Options, mask: Mask | None, name: str
) -> tuple[Image, tuple[FaceReconstruction, ...]] | None:
    """Reconstructs a face anywhere in a crop. None if its landmarks are a guess, or its mask is cut off."""
    view = view_of(image, face.landmarks_px, model.description.size_px)
    if view is None or (mask is not None and not _sees(view, mask)):
        return None
    # The user says that there is a face: no doubt of the detector counts.
    faces = [replace(face, confidence=1.0)]
    result, (done,) = reconstruct_faces(image, faces, model, options, name=name)
    if mask is not None:
        return result, (done,)
    threshold = options.occlusion_threshold
    if _hides_eyes(done, threshold):
        return None
    crop_area_px = (view.scale * view.crop.image.shape[1]) ** 2
    if (done.removed > threshold).sum() < FRAMING.least_cover * crop_area_px:
        return image.copy(), (_unchanged(done),)
    return result, (done,)


def _unchanged(done: FaceReconstruction) -> FaceReconstruction:
    nothing = np.zeros_like(done.weight)
    interval = None if done.interval is None else nothing
    return replace(done, removed=nothing, weight=nothing, coverage=0.0, interval=interval)


def _sees(view: View, mask: Mask) -> bool:
    """Whether the crop of a face shows all that a mask marks."""
    outside = mask.copy()
    outside[view.box] &= ~view.inside
    return not outside.any()


def _hides_eyes(done: FaceReconstruction, threshold: float) -> bool:
    """Whether covers hide both eyes of a face, so that its landmarks are a guess."""
    covers = done.occlusion.get(OcclusionClass.COVERS)
    return covers is not None and _at_eyes(covers, done) > threshold


def _reconstructs_eyes(done: FaceReconstruction) -> bool:
    return _at_eyes(done.weight, done) > 0


def _at_eyes(values: Alpha, done: FaceReconstruction) -> float:
    """The smaller of the values at both eyes of a face, 0 outside the arrays."""
    corner = done.box[1].start, done.box[0].start
    eyes = np.rint(done.face.landmarks_px[:2] - corner).astype(int)
    if (eyes < 0).any() or (eyes >= values.shape[::-1]).any():
        return 0.0
    return float(values[eyes[:, 1], eyes[:, 0]].min())


def _canonical(
    image: Image, face: Face, model: Model, options: Options, mask: Mask | None, free: Mask, name: str
) -> tuple[Image, FaceReconstruction]:
    """Reconstructs a crop that is framed as CelebA's are, without cutting it out anew."""
    rows = aligned_rows(image, name)
    if model.description.tall:
        rows = slice(rows.start, len(image))  # it sees the rest of the frame, too
    part, marked = image[rows], None if mask is None else _cut_mask(mask & free, rows, name)
    hint = None if marked is None else _grown(marked, options, exact=True) & free[rows]
    output = _run(model, image, hint, options).first_rows(_crop_rows(part, model))
    removed, made = _composite(part, output, marked, options)
    weight = np.where(free, _into_frame(made.weight, image, rows), np.float32(0))
    done = FaceReconstruction(
        face=face,
        box=(slice(0, image.shape[0]), slice(0, image.shape[1])),
        occlusion=_by_class(output, image, rows),
        removed=_into_frame(removed, image, rows),
        weight=weight,
        coverage=float((weight > 0).mean()),
        before=image,
        interval=_interval(output, image, rows, weight),
        stays=()
        if mask is not None or output.alpha is None
        else classes_that_stay(output.alpha[0], options.remove, options.occlusion_threshold),
    )
    result = paste_into_aligned(image, made.image, name=name)
    result[~free] = image[~free]
    result = keep_tone(image, result, weight)
    return result, done


def _run(model: Model, image: Image, mask: Mask | None, options: Options) -> ModelOutput:
    """What the model makes of a ready picture.

    Args:
        mask: of the rows that it sees.
    """
    side, tall = model.description.size_px, model.description.tall
    crop = crop_from_aligned(image, side, tall=tall)
    if mask is not None:
        # A pixel of the crop that the mask touches at all is occluded.
        height_px = round(len(mask) * side / mask.shape[1])
        hint = repeat_below(resize_alpha(mask.astype(np.float32), side, height_px), len(crop)) > 0
        return deblur(crop, model(crop[None], hint[None]), hint)
    output = model(crop[None])
    if output.alpha is None:
        return output
    wanted = wanted_alpha(output.alpha[0], options.remove, options.occlusion_threshold)
    hole = wanted > options.occlusion_threshold
    if model.description.takes_hint and options.grow_px + (options.feather_px or 0) > 0:
        # As `Passes` does: beyond the occlusion the first pass shows what the picture shows.
        again = model(crop[None], _grown(hole, options)[None])
        output = replace(again, alpha=output.alpha)
    return deblur(crop, output, hole)


def _grown(mask: Mask, options: Options, *, exact: bool = False) -> Mask:
    """Where a mask (H, W) of a crop lets a reconstruction reach."""
    grown: Mask = feather(mask, *edge_px(options, mask.shape[1] / CROP_SIZE_PX, exact=exact)) > 0
    return grown


def _crop_rows(part: Image, model: Model) -> int:
    """How many rows of the crop the part of the picture takes that the model sees."""
    rows: int = round(len(part) * model.description.size_px / part.shape[1])
    return rows


def _cut_mask(mask: Mask, rows: slice, name: str) -> Mask:
    if mask[: rows.start].any() or mask[rows.stop :].any():
        raise UsageError(
            f"the mask marks rows of {name} that the model does not see; keep to the rows from "
            f"{rows.start} to {rows.stop - 1}"
        )
    return mask[rows]


def _composite(
    part: Image, output: ModelOutput, mask: Mask | None, options: Options
) -> tuple[Alpha, Composite]:
    """The occlusion to reconstruct, at the part's size, and the part without it."""
    raw, (height_px, width_px), threshold = output.raw[0], part.shape[:2], options.occlusion_threshold
    if mask is not None:
        removed = mask.astype(np.float32)
        # The user's mask is exact: no pixel beside it changes unless the options say so.
        return removed, composite(part, raw, removed, options, exact=True)
    if output.alpha is None:
        removed = np.ones(part.shape[:2], dtype=np.float32)  # it finds nothing, so it delivers all
    else:
        wanted = wanted_alpha(output.alpha[0], options.remove, threshold)
        removed = resize_alpha(wanted, width_px, height_px)
    return removed, composite(part, raw, removed, options, threshold=threshold)


def _by_class(output: ModelOutput, image: Image, rows: slice) -> dict[OcclusionClass, Alpha]:
    if output.alpha is None:
        return {}
    width_px, height_px = image.shape[1], rows.stop - rows.start
    return {
        name: _into_frame(resize_alpha(alpha, width_px, height_px), image, rows)
        for name, alpha in zip(OcclusionClass, output.alpha[0], strict=True)
    }


def _interval(output: ModelOutput, image: Image, rows: slice, weight: Alpha) -> Alpha | None:
    if output.interval is None:
        return None
    picture = PillowImage.fromarray(output.interval[0])
    size = image.shape[1], rows.stop - rows.start
    resized = picture.resize(size, PillowImage.Resampling.BILINEAR)
    return _into_frame(np.asarray(resized, dtype=np.float32), image, rows) * (weight > 0)


def _into_frame(square: Alpha, image: Image, rows: slice) -> Alpha:
    """Values of the square, and 0 in the rows of the picture above and below."""
    values = np.zeros(image.shape[:2], dtype=np.float32)
    values[rows] = square
    return values


def _face(rows: slice) -> Face:
    side_px = rows.stop - rows.start
    return Face(
        box_px=(0, rows.start, side_px, rows.stop),
        landmarks_px=canonical_landmarks(side_px) + (0, rows.start),
        confidence=1,
    )

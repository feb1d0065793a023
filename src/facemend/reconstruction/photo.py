"""Faces in a photo: each is cut out, reconstructed and put back; no pixel outside its occlusion changes."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image as PillowImage

from facemend.faces import Face, trust_eyes
from facemend.frame import Crop, ValuesT, crop_face, sample
from facemend.images import Alpha, Image
from facemend.occlusion import OcclusionClass, seed_of
from facemend.reconstruction.composite import DILATION_PX, FEATHER_PX, THRESHOLD, wanted_alpha
from facemend.reconstruction.grain import match_grain
from facemend.reconstruction.model import Model, ModelOutput
from facemend.reconstruction.options import Remove
from facemend.reconstruction.regions import feathered

SMALLEST_COVERAGE = 0.005
"""Share of the crop that an occlusion must take to be one: less is a mole or a shadow."""


@dataclass(frozen=True)
class View:
    """Where the canonical crop of a face lies in a photo.

    Attributes:
        crop: the face.
        box: rows and columns of the photo that the crop covers, cut to the photo.
    """

    crop: Crop
    box: tuple[slice, slice]

    @cached_property
    def scale(self) -> float:
        """Photo pixels to a crop pixel."""
        return float(np.hypot(*self.crop.crop_to_photo[:, 0]))

    def put(self, values: ValuesT) -> ValuesT:
        """What lies in the crop, uint8 (S, S, 3) or float32 (S, S), as it lies in the box; 0 beyond it."""
        side = len(values)
        shrunk = max(1, round(side * min(1.0, self.scale)))
        small = PillowImage.fromarray(values).resize((shrunk, shrunk), PillowImage.Resampling.BICUBIC)
        rows, columns = self.box
        linear = np.linalg.inv(self.crop.crop_to_photo[:, :2])
        offset = linear @ ((columns.start, rows.start) - self.crop.crop_to_photo[:, 2])
        to_crop = np.column_stack([linear, offset + 0.5]) * (shrunk / side) - ((0, 0, 0.5), (0, 0, 0.5))
        width_px, height_px = columns.stop - columns.start, rows.stop - rows.start
        return sample(np.asarray(small, dtype=values.dtype), to_crop, width_px, height_px)


def view_of(photo: Image, face: Face, size_px: int) -> View | None:
    """The view of a face; None if it lies outside the photo."""
    crop = crop_face(photo, trust_eyes(face.landmarks_px), size_px)
    corners = np.array([(x, y, 1) for x in (-0.5, size_px - 0.5) for y in (-0.5, size_px - 0.5)])
    in_photo = corners @ crop.crop_to_photo.T
    size = photo.shape[1::-1]
    x1, y1 = np.floor(in_photo.min(axis=0)).clip(0, size).astype(int).tolist()
    x2, y2 = np.ceil(in_photo.max(axis=0) + 1).clip(0, size).astype(int).tolist()
    if x1 >= x2 or y1 >= y2:
        return None
    return View(crop, (slice(y1, y2), slice(x1, x2)))


@dataclass(frozen=True)
class Mended:
    """What was done to one face of a photo, in the pixels of a box.

    Attributes:
        box: rows and columns of the photo.
        pixels: uint8 (h, w, 3), the photo's with the reconstruction in them.
        weight: float32 (h, w), the reconstruction's share of each pixel; where it is 0, nothing changed.
        occlusion: float32 (h, w) by class, what the model found; empty if it finds none.
    """

    box: tuple[slice, slice]
    pixels: Image
    weight: Alpha
    occlusion: dict[OcclusionClass, Alpha]


def mend(
    photo: Image, view: View, output: ModelOutput, remove: Remove, threshold: float = THRESHOLD
) -> Mended:
    """Puts the reconstruction of one face where its occlusion is.

    Args:
        photo: (H, W, 3).
        view: of the face.
        output: the model's, for the view's crop alone.
        remove: what is to go.
        threshold: an alpha above it is occluded.
    """
    below = photo[view.box]
    if output.alpha is None:
        found = np.ones(view.crop.image.shape[:2], dtype=np.float32)
        by_class: dict[OcclusionClass, Alpha] = {}
    else:
        found = wanted_alpha(output.alpha[0], remove)
        by_class = {
            name: _alpha_in_photo(view, alpha)
            for name, alpha in zip(OcclusionClass, output.alpha[0], strict=True)
        }
    hole = found > threshold
    if hole.mean() < SMALLEST_COVERAGE:
        return Mended(view.box, below, np.zeros(below.shape[:2], dtype=np.float32), by_class)
    weight = feathered(
        _alpha_in_photo(view, found) > threshold,
        max(1, round(DILATION_PX * view.scale)),
        max(1, round(FEATHER_PX * view.scale)),
    )
    above = view.put(output.raw[0])
    rng = np.random.default_rng(seed_of("grain", view.crop.image.tobytes().hex()))
    above = match_grain(below, above, weight > 0, view.scale, rng)
    return Mended(view.box, blend(below, above, weight), weight, by_class)


def blend(below: Image, above: Image, weight: Alpha) -> Image:
    """`above` over `below` by weight (H, W); where that is 0, `below` keeps its bytes."""
    touched = weight > 0
    share = weight[touched][:, None]
    result = below.copy()
    seen = below[touched].astype(np.float32)
    result[touched] = np.rint(seen + share * (above[touched].astype(np.float32) - seen)).astype(np.uint8)
    return result


def mend_faces(
    photo: Image, faces: Sequence[Face], model: Model, remove: Remove
) -> tuple[Image, list[Mended]]:
    """Reconstructs faces of a photo, one after the other, so that later ones see what came before.

    Returns:
        The photo (H, W, 3), and what was done to each face that lies in it.
    """
    result, done = photo.copy(), []
    for face in faces:
        view = view_of(result, face, model.description.size_px)
        if view is None:
            continue
        mended = mend(result, view, model(view.crop.image[None]), remove)
        result[mended.box] = mended.pixels
        done.append(mended)
    return result, done


def _alpha_in_photo(view: View, alpha: Alpha) -> Alpha:
    laid: Alpha = view.put(alpha).clip(0, 1)
    return laid

"""The canonical crop of a face in its photo, and the way back."""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from PIL import Image as PillowImage

from facemend.alignment import Crop, Points, ValuesT, crop_face, sample, shown_height
from facemend.detection import Face, trust_eyes
from facemend.images import Image, Mask

_BICUBIC_PX = 2  # how far the filter sees


@dataclass(frozen=True)
class View:
    """Where the canonical crop of a face lies in a photo, maybe with what lies below it.

    Attributes:
        landmarks_px: (5, 2) in the photo, that the crop was cut by.
        crop: the face, (H, S, 3); H is S, or more where the crop goes on below.
        box: rows and columns of the photo that the crop covers, cut to the photo.
        tall: the crop is a tall one, whose last rows repeat the frame's last.
    """

    landmarks_px: Points
    crop: Crop
    box: tuple[slice, slice]
    tall: bool = False

    @cached_property
    def scale(self) -> float:
        """Photo pixels to a crop pixel."""
        return float(np.hypot(*self.crop.crop_to_photo[:, 0]))

    @cached_property
    def inside(self) -> Mask:
        """bool, of the box's size: the pixels that the crop sees whole."""
        shown = np.ones(self.crop.image.shape[:2], dtype=np.float32)
        if self.tall:
            shown[shown_height(self.crop.image.shape[1]) :] = 0
        inside: Mask = self.put(shown) > 0.999
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
        side = self.crop.image.shape[1]
        hint: Mask = crop_face(picture, in_box, side, tall=self.tall).image[:, :, 0] > 0
        return hint

    def put(self, values: ValuesT) -> ValuesT:
        """What lies in the crop, uint8 (H, S, 3) or float32 (H, S), as it lies in the box; 0 beyond it."""
        rows, columns = self.box
        width_px, height_px = columns.stop - columns.start, rows.stop - rows.start
        result = np.zeros((height_px, width_px, *values.shape[2:]), dtype=values.dtype)
        part = self._reach(values)
        if part is None:
            return result
        sides = np.array(values.shape[1::-1])
        shrunk = np.maximum(1, np.rint(sides * min(1.0, self.scale))).astype(int)
        size = int(shrunk[0]), int(shrunk[1])
        small = PillowImage.fromarray(values).resize(size, PillowImage.Resampling.BICUBIC)
        y, x = part
        linear = np.linalg.inv(self.crop.crop_to_photo[:, :2])
        corner = np.array((columns.start + x.start, rows.start + y.start))
        offset = linear @ (corner - self.crop.crop_to_photo[:, 2])
        to_crop = np.column_stack([linear, offset + 0.5]) * (shrunk / sides)[:, None]
        to_crop -= ((0, 0, 0.5), (0, 0, 0.5))
        seen = np.asarray(small, dtype=values.dtype)
        result[part] = sample(seen, to_crop, x.stop - x.start, y.stop - y.start)
        return result

    def _reach(self, values: ValuesT) -> tuple[slice, slice] | None:
        """Rows and columns of the box where values other than 0 may lie: often a small part of it."""
        mask: Mask = (values if values.ndim == 2 else values.max(axis=2)) != 0
        if not mask.any():
            return None
        y, x = around(mask, math.ceil(_BICUBIC_PX / min(1.0, self.scale)) + 1)
        ends = np.array([(a, b, 1) for a in (x.start - 1, x.stop) for b in (y.start - 1, y.stop)])
        corners = ends @ self.crop.crop_to_photo.T
        rows, columns = self.box
        origin, end = (columns.start, rows.start), (columns.stop, rows.stop)
        low = (np.floor(corners.min(axis=0)).clip(origin, end) - origin).astype(int)
        high = (np.ceil(corners.max(axis=0) + 1).clip(origin, end) - origin).astype(int)
        if (low >= high).any():
            return None
        return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))


def view_of(photo: Image, face: Face, size_px: int, *, tall: bool = False) -> View | None:
    """The view of a face, or None if it lies outside the photo."""
    landmarks_px = trust_eyes(face.landmarks_px)
    crop = crop_face(photo, landmarks_px, size_px, tall=tall)
    box = _box_of(photo, crop)
    return box and View(landmarks_px, crop, box, tall)


def view_below(photo: Image, view: View, rows: int) -> View:
    """A view whose crop goes on below by this many rows, which are black."""
    below = np.zeros((rows, *view.crop.image.shape[1:]), dtype=np.uint8)
    crop = replace(view.crop, image=np.concatenate([view.crop.image, below]))
    return View(view.landmarks_px, crop, _box_of(photo, crop) or view.box)


def around(mask: Mask, margin_px: int) -> tuple[slice, slice]:
    """Rows and columns of the set pixels of a mask that is not empty, and a margin around them."""
    y, x = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return (
        slice(max(0, int(y[0]) - margin_px), min(mask.shape[0], int(y[-1]) + 1 + margin_px)),
        slice(max(0, int(x[0]) - margin_px), min(mask.shape[1], int(x[-1]) + 1 + margin_px)),
    )


def _box_of(photo: Image, crop: Crop) -> tuple[slice, slice] | None:
    """Rows and columns of a photo that a crop covers, cut to the photo, or None if it lies outside."""
    height, width = crop.image.shape[:2]
    corners = np.array([(x, y, 1) for x in (-0.5, width - 0.5) for y in (-0.5, height - 0.5)])
    in_photo = corners @ crop.crop_to_photo.T
    size = photo.shape[1::-1]
    x1, y1 = np.floor(in_photo.min(axis=0)).clip(0, size).astype(int).tolist()
    x2, y2 = np.ceil(in_photo.max(axis=0) + 1).clip(0, size).astype(int).tolist()
    return None if x1 >= x2 or y1 >= y2 else (slice(y1, y2), slice(x1, x2))

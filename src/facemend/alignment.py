"""The canonical crop: the one view of a face that every network sees.

CelebA's aligned images are 178×218 pixels with the eyes on fixed points. The canonical crop is their
centre square (rows 20 to 197), resized to 256×256. A face in a photo is brought into the same view by
the similarity transform that puts its five landmarks onto CelebA's.

The tall crop goes on below the square: 256×320, the square on top. It shows the rest of the frame (rows 198
to 217), where masks and beards end, and repeats the frame's last row below that. A network takes the square
or the tall crop. Where a picture ends earlier, its last row is repeated.

Coordinates are (x, y) in pixels. The centre of the top left pixel is (0, 0). Left and right are as the
viewer sees them.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage

from facemend.errors import PictureError
from facemend.images import Image, Mask, resize

Points = npt.NDArray[np.float64]
ValuesT = TypeVar("ValuesT", npt.NDArray[np.uint8], npt.NDArray[np.float32])

CROP_SIZE_PX = 256
FRAME_WIDTH_PX, FRAME_HEIGHT_PX = 178, 218
_FRAME_TOP_PX = 20
_SHOWN_PX = FRAME_HEIGHT_PX - _FRAME_TOP_PX  # rows of the frame that the tall crop shows

LANDMARK_NAMES = ("left eye", "right eye", "nose", "left mouth corner", "right mouth corner")
FRAME_LANDMARKS_PX: Points = np.array(
    [(69.5, 111.0), (107.5, 111.0), (88.0, 135.0), (73.0, 152.0), (105.0, 152.0)]
)
"""CelebA's canonical landmarks in the 178×218 frame, in the order of LANDMARK_NAMES."""


@dataclass(frozen=True)
class Crop:
    """A face in the canonical view.

    Attributes:
        image: (size, size, 3) uint8 RGB.
        crop_to_photo: float64 (2, 3), maps crop pixels (x, y, 1) to photo pixels.
    """

    image: Image
    crop_to_photo: Points

    def inside(self, photo: Image) -> Mask:
        """bool (size, size): the pixels of the crop that lie in the photo."""
        (a, b, x), (c, d, y) = self.crop_to_photo
        rows, columns = np.ogrid[: self.image.shape[0], : self.image.shape[1]]
        in_x, in_y = a * columns + b * rows + x, c * columns + d * rows + y
        inside: Mask = (abs(2 * in_x + 1 - photo.shape[1]) <= photo.shape[1]) & (
            abs(2 * in_y + 1 - photo.shape[0]) <= photo.shape[0]
        )
        return inside


def frame_to_crop(landmarks_px: Points, size_px: int = CROP_SIZE_PX) -> Points:
    """Maps points (..., 2) in the 178×218 frame to the canonical crop of the given size."""
    scale = size_px / FRAME_WIDTH_PX
    return (landmarks_px - (0, _FRAME_TOP_PX) + 0.5) * scale - 0.5


def canonical_landmarks(size_px: int = CROP_SIZE_PX) -> Points:
    """CelebA's canonical landmarks in a crop of the given size, (5, 2)."""
    return frame_to_crop(FRAME_LANDMARKS_PX, size_px)


def tall_height(size_px: int) -> int:
    """Height of the tall crop of the given width: a quarter more."""
    return size_px + size_px // 4


def shown_height(size_px: int) -> int:
    """Rows of a tall crop of the given width that lie in the 178×218 frame. Its last is repeated below."""
    return round(_SHOWN_PX * size_px / FRAME_WIDTH_PX)


def repeat_below(crop: ValuesT, height_px: int, *, shown_px: int | None = None) -> ValuesT:
    """A crop (H, W, …) brought to a height: cut off, or its last row repeated.

    Args:
        shown_px: how many of its rows count (default: all).
    """
    rows = np.arange(height_px).clip(0, (shown_px or len(crop)) - 1)
    repeated: ValuesT = crop[rows]
    return repeated


def crop_from_aligned(
    image: Image, size_px: int = CROP_SIZE_PX, *, tall: bool = False, name: str = "the picture"
) -> Image:
    """The canonical crop of a ready picture: a 178×218 CelebA frame, or a square of any size.

    Args:
        tall: with the frame's rows below the square. Below a square picture, its last row is repeated.

    Returns:
        uint8 (size, size, 3) RGB, or (tall_height(size), size, 3).

    Raises:
        PictureError: the picture has another shape.
    """
    rows = aligned_rows(image, name)
    if not tall:
        return resize(image[rows], size_px, size_px)
    if rows.stop == len(image):
        return repeat_below(resize(image, size_px, size_px), tall_height(size_px))
    # Resized together, so that no seam lies at the square's lower edge.
    height_px = FRAME_WIDTH_PX * tall_height(4) / 4  # 222.5 rows
    padded = repeat_below(image[rows.start :], math.ceil(height_px))
    picture = PillowImage.fromarray(padded).resize(
        (size_px, tall_height(size_px)),
        PillowImage.Resampling.BICUBIC,
        box=(0.0, 0.0, float(FRAME_WIDTH_PX), height_px),
    )
    return np.asarray(picture, dtype=np.uint8)


def paste_into_aligned(image: Image, part: Image, *, name: str = "the picture") -> Image:
    """Puts rows of the picture's own width back where `crop_from_aligned` took them: a square, or more."""
    result = image.copy()
    top = aligned_rows(image, name).start
    result[top : top + len(part)] = part
    return result


def aligned_rows(image: Image | Mask, name: str = "the picture") -> slice:
    """The rows of a ready picture that the canonical crop takes. It takes every column.

    Raises:
        PictureError: the picture is neither a square nor a 178×218 frame.
    """
    height, width = image.shape[:2]
    if height == width:
        return slice(0, height)
    if (width, height) == (FRAME_WIDTH_PX, FRAME_HEIGHT_PX):
        return slice(_FRAME_TOP_PX, _FRAME_TOP_PX + FRAME_WIDTH_PX)
    raise PictureError(
        f"{name} is {width}×{height}; a ready crop is square or "
        f"{FRAME_WIDTH_PX}×{FRAME_HEIGHT_PX} (CelebA's frame)"
    )


def crop_face(
    photo: Image, landmarks_px: Points, size_px: int = CROP_SIZE_PX, *, tall: bool = False
) -> Crop:
    """Crops a face out of a photo so that its landmarks lie where CelebA's do.

    Args:
        photo: (H, W, 3) uint8 RGB. Beyond its border its outermost pixels are repeated, as in CelebA.
        landmarks_px: (5, 2) in photo pixels, in the order of LANDMARK_NAMES.
        tall: with what lies below the square, as far as CelebA's frame goes.
    """
    crop_to_photo = similarity(canonical_landmarks(size_px), landmarks_px)
    shrink = max(1, int(np.hypot(*crop_to_photo[:, 0])))
    height_px = shown_height(size_px) if tall else size_px
    corners = np.array([(x, y, 1) for x in (0, size_px) for y in (0, height_px)]) @ crop_to_photo.T
    part, corner = _part_around(photo, corners, margin_px=2 * shrink)
    reduced = np.asarray(PillowImage.fromarray(part).reduce(shrink), dtype=np.uint8)
    # The reduced part has smaller coordinates, which begin at its own corner.
    to_part = crop_to_photo - np.column_stack([np.zeros((2, 2)), corner])
    to_part[:, 2] += 0.5
    to_part /= shrink
    to_part[:, 2] -= 0.5
    image = sample(reduced, to_part, size_px, height_px)
    return Crop(repeat_below(image, tall_height(size_px)) if tall else image, crop_to_photo)


def _part_around(photo: Image, corners: Points, margin_px: int) -> tuple[Image, Points]:
    """The upright part of a photo around points (N, 2), its border repeated, and its first pixel (x, y).

    It reaches no farther beyond the photo than twice its size.
    """
    size = np.array(photo.shape[1::-1])
    low, high = corners.min(axis=0) - margin_px, corners.max(axis=0) + margin_px + 1
    low = np.floor(low.clip(-2 * size, size - 1)).astype(int)
    high = np.ceil(high.clip(low + 1, 3 * size)).astype(int)
    if (low >= 0).all() and (high <= size).all():  # as most are: no need to copy them
        part = photo[low[1] : high[1], low[0] : high[0]]
    else:
        columns, rows = (
            np.arange(a, b).clip(0, most - 1) for a, b, most in zip(low, high, size, strict=True)
        )
        part = photo[rows][:, columns]
    return part, low.astype(np.float64)


def sample(values: ValuesT, to_source: Points, width_px: int, height_px: int) -> ValuesT:
    """A picture seen through a transform, bicubic. It must not shrink by more than a half.

    Args:
        values: uint8 (H, W, 3), or float32 (H, W).
        to_source: (2, 3), maps pixels (x, y, 1) of the result to pixels of `values`.
        width_px, height_px: of the result.

    Returns:
        Of the type of `values`, 0 where it comes from beyond their border.
    """
    linear, offset = to_source[:, :2], to_source[:, 2]
    # Pillow measures from pixel corners, we from pixel centres.
    coefficients = np.column_stack([linear, offset + 0.5 - linear @ (0.5, 0.5)]).ravel().tolist()

    def seen(plane: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
        picture = PillowImage.fromarray(plane.astype(np.float32))
        kind, filter_ = PillowImage.Transform.AFFINE, PillowImage.Resampling.BICUBIC
        turned = picture.transform((width_px, height_px), kind, coefficients, filter_)
        return np.asarray(turned, dtype=np.float32)

    if values.ndim == 2:
        return seen(values).astype(values.dtype)
    # A plane at a time, in floats: Pillow cuts the fractions of bytes off, and all would get darker.
    planes = np.stack([seen(values[:, :, band]) for band in range(3)], axis=2)
    return np.rint(planes).clip(0, 255).astype(np.uint8)


def similarity(source: Points, target: Points) -> Points:
    """The least-squares similarity (rotation, uniform scale, shift) from source to target points.

    Umeyama, "Least-squares estimation of transformation parameters between two point patterns",
    IEEE TPAMI 13(4), 1991, without reflection.

    Args:
        source, target: (N, 2), N at least 2.

    Returns:
        float64 (2, 3): target ≈ matrix @ (x, y, 1).
    """
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    a, b = source - source_mean, target - target_mean
    spread = max(float((a**2).sum()), 1e-12)
    cos = float((a * b).sum()) / spread
    sin = float((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()) / spread
    linear = np.array([(cos, -sin), (sin, cos)])
    return np.column_stack([linear, target_mean - linear @ source_mean])


_MOST_OFF = 0.15
_TURNED = 1.3


def trust_eyes(landmarks_px: Points, most: float = _MOST_OFF) -> Points:
    """Holds nose and mouth near the location that the eyes give them. The eyes stay as they are.

    The location is where CelebA's canonical face has the point, turned, scaled and shifted onto the eyes.
    Use it only for a face whose lower half is covered. There it brings the crop 1 to 3% nearer to the true
    one. A visible lower half it takes 5% away from it (benchmarks/detection.py). A face turned aside has
    its eyes closer together than its other points tell. It is left alone, because its eyes say nothing
    about its size.

    Args:
        landmarks_px: (5, 2) in the order of `alignment.LANDMARK_NAMES`.
        most: how far a point may lie from its location, in distances between the eyes.

    Returns:
        float64 (5, 2).
    """
    by_eyes = similarity(FRAME_LANDMARKS_PX[:2], landmarks_px[:2])
    scale, scale_of_all = _scale(by_eyes), _scale(similarity(FRAME_LANDMARKS_PX, landmarks_px))
    if scale_of_all > _TURNED * scale:
        return landmarks_px.copy()
    places = FRAME_LANDMARKS_PX @ by_eyes[:, :2].T + by_eyes[:, 2]
    away = landmarks_px - places
    distance = np.hypot(*away.T)[:, None]
    allowed = most * float(np.hypot(*(landmarks_px[1] - landmarks_px[0])))
    trusted: Points = places + away * np.minimum(1, allowed / np.maximum(distance, 1e-9))
    return trusted


def _scale(transform: Points) -> float:
    return float(np.hypot(*transform[:, 0]))


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
        height, width = self.crop.image.shape[:2]
        height = shown_height(width) if self.tall else height
        rows, columns = self.box
        ends = [(x, y) for x in (columns.start, columns.stop - 1) for y in (rows.start, rows.stop - 1)]
        in_crop = (ends - self.crop.crop_to_photo[:, 2]) @ np.linalg.inv(self.crop.crop_to_photo[:, :2]).T
        margin = _BICUBIC_PX / min(1.0, self.scale) + 1
        if (in_crop >= margin).all() and (in_crop <= (width - 1 - margin, height - 1 - margin)).all():
            return np.ones((rows.stop - rows.start, columns.stop - columns.start), dtype=np.bool_)
        shown = np.zeros(self.crop.image.shape[:2], dtype=np.float32)
        shown[:height] = 1
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


def view_of(photo: Image, landmarks_px: Points, size_px: int, *, tall: bool = False) -> View | None:
    """The view of a face with these landmarks (5, 2), or None if it lies outside the photo."""
    landmarks_px = trust_eyes(landmarks_px)
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

"""Your own pictures as occlusions: RGBA cut-outs, placed by the face's landmarks."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from facemend.alignment import Points
from facemend.errors import PictureError, SourceError
from facemend.images import Image
from facemend.io import find_pictures, read_cutout
from facemend.occlusion.canvas import nothing
from facemend.occlusion.geometry import FaceGeometry
from facemend.occlusion.types import Extent, Kind, Layer, OcclusionClass, Parameter


@dataclass(frozen=True)
class Place:
    """Where a cut-out goes: its opaque part is put over this box of the canonical face.

    Attributes:
        middle: of the box, canonical pixels.
        width: of the box, canonical pixels.
        extent: what it hides.
    """

    middle: tuple[float, float]
    width: float
    extent: Extent = Extent.PARTIAL


PLACES: Mapping[str, Place] = {
    "eyes": Place((127.0, 134.0), 116.0),
    "nose": Place((127.0, 163.0), 52.0),
    "mouth": Place((127.0, 192.0), 68.0),
    "lower": Place((127.0, 194.0), 120.0),
    "full": Place((127.0, 172.0), 140.0, Extent.FULL),
}
"""The subfolders that are understood; pictures beside them go to the lower face."""

_SUFFIXES = (".png", ".webp")
_LARGEST_PX = 1024


def cutout_kind(folder: Path, occlusion_class: OcclusionClass = OcclusionClass.ACCESSORIES) -> Kind:
    """A kind that draws one of the cut-outs in a folder.

    Args:
        folder: holds PNG or WebP pictures with transparency, in subfolders named after PLACES, or
            beside them for the lower face.
        occlusion_class: which class they all belong to.

    Raises:
        SourceError: no such folder, no pictures in it, or a subfolder of another name.
        PictureError: a picture cannot be read, has no transparency, or nothing but transparency.
    """
    if not folder.is_dir():
        raise SourceError(f"{folder} is no folder; pass a folder of PNG or WebP cut-outs")
    subfolders = sorted(
        path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")
    )
    for subfolder in subfolders:
        if subfolder.name not in PLACES:
            raise SourceError(f"{subfolder} names no place of a face; use {', '.join(PLACES)}")
    found = [(path, "lower") for path in _pictures(folder)]
    found += [(path, subfolder.name) for subfolder in subfolders for path in _pictures(subfolder)]
    if not found:
        raise SourceError(f"{folder} holds no PNG or WebP cut-outs")
    for path, _ in found:
        _read(path)
    return Kind(_Cutouts(folder, tuple(found)), occlusion_class)


def _pictures(folder: Path) -> list[Path]:
    return [path for path in find_pictures(folder, recursive=False) if path.suffix.lower() in _SUFFIXES]


@dataclass(frozen=True)
class _Cutouts:
    """Draws one of the pictures; travels to other processes as a list of paths."""

    folder: Path
    pictures: tuple[tuple[Path, str], ...]

    def __call__(self, image: Image, face: FaceGeometry, rng: np.random.Generator) -> Layer:
        path, place_name = self.pictures[int(rng.integers(len(self.pictures)))]
        place = PLACES[place_name]
        mirrored = bool(rng.random() < 0.5)
        scale, degrees = rng.uniform(0.9, 1.15), rng.normal(0, 4)
        shift = rng.uniform(-3, 3, 2)
        parameters: dict[str, Parameter] = {
            "file": path.relative_to(self.folder).as_posix(),
            "place": place_name,
            "mirrored": int(mirrored),
            "scale": scale,
            "degrees": degrees,
        }
        middle = np.array(place.middle) + shift
        cutout = _read(path)
        if mirrored:
            cutout = cutout.transpose(PillowImage.Transpose.FLIP_LEFT_RIGHT)
        return _lay(
            cutout, image, face.rigid, middle, place.width * scale, degrees, place.extent, parameters
        )


def _lay(
    cutout: PillowImage.Image, image: Image, face: FaceGeometry, middle: Points, width: float,
    degrees: float, extent: Extent, parameters: Mapping[str, Parameter],
) -> Layer:  # fmt: skip
    """Puts a cut-out (RGBa) onto the face, so many canonical pixels wide about a canonical point."""
    turn = np.deg2rad(degrees)
    across = (np.cos(turn) * face.right + np.sin(turn) * face.down) * (width / cutout.width)
    along = (np.cos(turn) * face.down - np.sin(turn) * face.right) * (width / cutout.width)
    centre = face.place(middle[None])[0]
    spread = float(across[0] * along[1] - across[1] * along[0])
    reach = (np.abs(across) * cutout.width + np.abs(along) * cutout.height) / 2 + 2
    height_px, width_px = image.shape[:2]
    limit = (width_px, height_px)
    low = np.floor(np.nan_to_num(centre - reach)).clip(0, limit).astype(int)
    high = np.ceil(np.nan_to_num(centre + reach)).clip(0, limit).astype(int)
    (left, top), (right, bottom) = low.tolist(), high.tolist()
    if right <= left or bottom <= top or not np.isfinite(spread) or abs(spread) < 1e-9:
        return nothing(image, extent, parameters)
    # Averaged down first, so that a large picture does not flicker.
    shrink = max(1, int(min(1 / max(np.hypot(*across), 1e-3), 1 / max(np.hypot(*along), 1e-3), 64)))
    small = cutout.reduce(shrink)
    a, b = along[1] / spread, -along[0] / spread
    d, e = -across[1] / spread, across[0] / spread
    # Pillow maps corners of pixels, from the box to the cut-out; `place` gives centres.
    x, y = left - 0.5 - centre[0], top - 0.5 - centre[1]
    c, f = a * x + b * y + cutout.width / 2, d * x + e * y + cutout.height / 2
    coefficients = [float(v) / shrink for v in (a, b, c, d, e, f)]
    placed = small.transform(
        (right - left, bottom - top),
        PillowImage.Transform.AFFINE,
        coefficients,
        PillowImage.Resampling.BILINEAR,
    )
    levels = np.asarray(placed).astype(np.float32)
    alpha = np.zeros((height_px, width_px), dtype=np.float32)
    paint = np.zeros_like(image)
    box = np.s_[top:bottom, left:right]
    alpha[box] = levels[..., 3] * np.float32(1 / 255)
    colours = levels[..., :3] * (255 / np.maximum(levels[..., 3:], 1))
    paint[box] = (colours + np.float32(0.5)).clip(0, 255).astype(np.uint8)
    return Layer(alpha, paint, extent, parameters)


@lru_cache(maxsize=256)
def _read(path: Path) -> PillowImage.Image:
    """A cut-out, cut to its opaque part, its colours times alpha (RGBa), at most 1024 px a side."""
    cutout = read_cutout(path)
    bounds = cutout.getchannel("A").getbbox()
    if bounds is None:
        raise PictureError(f"{path} is transparent everywhere; it hides nothing")
    cutout = cutout.crop(bounds).convert("RGBa")
    return cutout.reduce(max(1, -(-max(cutout.size) // _LARGEST_PX)))

"""Pictures of your own as occlusions: RGBA cut-outs, and masks cut out of photographs in CelebA's frame.

A cut-out is placed by the face's landmarks. A mask is found in a folder, split by photograph, read and
cleaned here. `real_masks` fits it to a face.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage
from PIL import ImageFilter

from facemend.alignment import FRAME_HEIGHT_PX, FRAME_WIDTH_PX, Points
from facemend.errors import PictureError, SourceError, reason_of
from facemend.files import parse_csv, read_named, real_path
from facemend.images import Image
from facemend.io import find_pictures, picture_size, read_cutout
from facemend.occlusion.canvas import nothing
from facemend.occlusion.geometry import FaceGeometry
from facemend.occlusion.types import Extent, Kind, Layer, OcclusionClass, Parameter


@dataclass(frozen=True)
class Location:
    """Where a cut-out goes: its opaque part is put over this box of the canonical face.

    Attributes:
        middle: of the box, canonical pixels.
        width: of the box, canonical pixels.
        extent: what it hides.
    """

    middle: tuple[float, float]
    width: float
    extent: Extent = Extent.PARTIAL


LOCATIONS: Mapping[str, Location] = {
    "eyes": Location((127.0, 134.0), 116.0),
    "nose": Location((127.0, 163.0), 52.0),
    "mouth": Location((127.0, 192.0), 68.0),
    "lower": Location((127.0, 194.0), 120.0),
    "full": Location((127.0, 172.0), 140.0, Extent.FULL),
}
"""The names that subfolders may have. Pictures beside them go to the lower face."""

_SUFFIXES = (".png", ".webp")
_LARGEST_PX = 1024


def cutout_kind(folder: Path, occlusion_class: OcclusionClass = OcclusionClass.ACCESSORIES) -> Kind:
    """A kind that draws one of the cut-outs in a folder.

    Args:
        folder: holds PNG or WebP pictures with transparency, in subfolders named after LOCATIONS, or
            beside them for the lower face.
        occlusion_class: which class they all belong to.

    Raises:
        SourceError: no such folder, no pictures in it, or a subfolder of another name.
        PictureError: a picture cannot be read, has no transparency, or nothing but transparency.
    """
    if not folder.is_dir():
        raise SourceError(f"{folder} is not a folder; pass a folder of PNG or WebP cut-outs")
    subfolders = sorted(
        path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")
    )
    for subfolder in subfolders:
        if subfolder.name not in LOCATIONS:
            raise SourceError(f"{subfolder} names no location on a face; use {', '.join(LOCATIONS)}")
    found = [(path, "lower") for path in _pictures(folder)]
    found += [(path, subfolder.name) for subfolder in subfolders for path in _pictures(subfolder)]
    if not found:
        raise SourceError(f"{folder} holds no PNG or WebP cut-outs")
    for path, _ in found:
        _read_opaque(path)
    return Kind(_Cutouts(folder, tuple(found)), occlusion_class)


def _pictures(folder: Path) -> list[Path]:
    return [path for path in find_pictures(folder, recursive=False) if path.suffix.lower() in _SUFFIXES]


@dataclass(frozen=True)
class _Cutouts:
    """Draws one of the pictures. Travels to other processes as a list of paths."""

    folder: Path
    pictures: tuple[tuple[Path, str], ...]

    def __call__(self, image: Image, face: FaceGeometry, rng: np.random.Generator) -> Layer:
        path, location_name = self.pictures[int(rng.integers(len(self.pictures)))]
        location = LOCATIONS[location_name]
        mirrored = bool(rng.random() < 0.5)
        scale, degrees = rng.uniform(0.9, 1.15), rng.normal(0, 4)
        shift = rng.uniform(-3, 3, 2)
        parameters: dict[str, Parameter] = {
            "file": path.relative_to(self.folder).as_posix(),
            "place": location_name,
            "mirrored": int(mirrored),
            "scale": scale,
            "degrees": degrees,
        }
        middle = np.array(location.middle) + shift
        cutout = _read_opaque(path)
        if mirrored:
            cutout = cutout.transpose(PillowImage.Transpose.FLIP_LEFT_RIGHT)
        return _lay(
            cutout, image, face.rigid, middle, location.width * scale, degrees, location.extent, parameters
        )


def _lay(
    cutout: PillowImage.Image, image: Image, face: FaceGeometry, middle: Points, width: float,
    degrees: float, extent: Extent, parameters: Mapping[str, Parameter],
) -> Layer:  # fmt: skip
    """Puts a cut-out (RGBa) onto the face about a canonical point, `width` canonical pixels wide."""
    turn = np.deg2rad(degrees)
    across = (np.cos(turn) * face.right + np.sin(turn) * face.down) * (width / cutout.width)
    along = (np.cos(turn) * face.down - np.sin(turn) * face.right) * (width / cutout.width)
    centre = face.to_pixels(middle[None])[0]
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
    # Pillow maps corners of pixels, from the box to the cut-out; `to_pixels` gives centres.
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
def _read_opaque(path: Path) -> PillowImage.Image:
    """A cut-out, cut to its opaque part, its colours times alpha (RGBa), at most 1024 px a side."""
    cutout = read_cutout(path)
    bounds = cutout.getchannel("A").getbbox()
    if bounds is None:
        raise PictureError(f"{path} is transparent everywhere; it hides nothing")
    cutout = cutout.crop(bounds).convert("RGBa")
    return cutout.reduce(max(1, -(-max(cutout.size) // _LARGEST_PX)))


PARTS = ("train", "measure")
_HELD_OUT = 10
_BELOW_PX = 40
_SKIN_DEPTH_PX = 40
_MOST_SKIN = 0.5
_SKIN_WARMTH, _WARMER = 0.26, 0.15
_MARGIN_PX = 4
_LEAST_PX = 50

Bits = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class MaskFile:
    """One cut-out on disk.

    Attributes:
        path: an RGBA picture, 178×218 pixels or a multiple, the mask at its own location in CelebA's frame.
        photograph: which photograph it comes from. All its cut-outs are in one part.
        yaw: offset of the nose from the middle of the eyes over the eye distance. 0 is frontal, positive
            looks to the right.
    """

    path: Path
    photograph: str
    yaw: float

    @property
    def part(self) -> str:
        """`measure` for one photograph in ten, by the hash of its name, else `train`."""
        digest = hashlib.blake2b(self.photograph.encode(), digest_size=8).digest()
        return PARTS[int.from_bytes(digest, "big") % _HELD_OUT == 0]


@dataclass(frozen=True)
class CutMask:
    """A cut-out as it is drawn.

    Attributes:
        levels: uint8 (h, w, 4), colours times alpha and alpha, cut to what is opaque and a margin.
        corner: (2,) where its first pixel lies, in pixels of the frame.
        outline: (N, 2) points of its edge in the frame, in order, clockwise from the top left.
        corners: (2, 2, 2) in the frame: left and right side, upper and lower corner.
        colour: (3,) mean RGB, 0-255.
        slope: how its lightness grows from left to right, as a share of its mean over its half width.
        sharpness: see `sharpness_of`.
        is_open: reaches the frame's lower border, as gaiters and scarves do.
    """

    levels: npt.NDArray[np.uint8]
    corner: Points
    outline: Points
    corners: Points
    colour: npt.NDArray[np.float32]
    slope: float
    sharpness: float
    is_open: bool


def find_masks(folder: Path, part: str | None = None) -> tuple[MaskFile, ...]:
    """The cut-outs in a folder that lie at their own location in CelebA's frame.

    They are the PNG and WebP pictures of 178×218 pixels, or a multiple, in the folder itself and in its
    subfolder `lower`. A table FOLDER.csv beside the folder is optional: its columns `file`, `yaw` (0 where
    it is missing) and `source_path` (the photograph, or the file's name without its suffix where it is
    missing) describe them.

    Args:
        part: `train`, `measure` (the photographs held out), or None for both.

    Raises:
        SourceError: no such folder, no such cut-outs in it, none of them in the part, or a bad table.
        PictureError: a picture cannot be opened.
        ValueError: an unknown part.
    """
    if part is not None and part not in PARTS:
        raise ValueError(f"unknown part {part!r}; choose from {', '.join(PARTS)}")
    if not folder.is_dir():
        raise SourceError(
            f"{folder} is not a folder; pass a folder of masks cut out as 178×218 RGBA pictures"
        )
    folders = [location for location in (folder, folder / "lower") if location.is_dir()]
    paths = [path for location in folders for path in find_pictures(location, recursive=False)]
    framed = sorted(path for path in paths if path.suffix.lower() in _SUFFIXES and _is_framed(path))
    if not framed:
        raise SourceError(
            f"{folder} holds no masks for real_mask: it takes RGBA pictures of 178×218 pixels, in the "
            "folder itself or in its subfolder lower"
        )
    rows = _rows_of(folder)
    masks = tuple(_described(path, rows.get(path.name, {})) for path in framed)
    chosen = tuple(mask for mask in masks if part is None or mask.part == part)
    if not chosen:
        raise SourceError(
            f"none of the {len(masks)} masks in {folder} is in the part {part}: about one photograph in "
            f"{_HELD_OUT} is held out for measuring; add more"
        )
    return chosen


def table_of(folder: Path) -> Path:
    """Where the table of a folder of cut-outs is looked for. It need not exist."""
    real = real_path(folder)
    return real.parent / f"{real.name}.csv"


def _is_framed(path: Path) -> bool:
    width, height = picture_size(path)
    times = width // FRAME_WIDTH_PX
    return times >= 1 and (width, height) == (times * FRAME_WIDTH_PX, times * FRAME_HEIGHT_PX)


def _rows_of(folder: Path) -> dict[str, dict[str, str]]:
    """The rows of the table beside a folder, by file. None where there is no table."""
    path = table_of(folder)
    if not path.is_file():
        return {}
    try:
        names, rows = parse_csv(read_named(path))
    except (OSError, ValueError) as error:
        raise SourceError(f"{path} cannot be read: {reason_of(error)}") from error
    if rows and "file" not in names:
        raise SourceError(f"{path} has no column file; it names the cut-outs of {folder}")
    return {row["file"]: row for row in rows if "file" in row}


def _described(path: Path, row: dict[str, str]) -> MaskFile:
    text = row.get("yaw") or "0"
    try:
        yaw = float(text)
    except ValueError as error:
        raise SourceError(f"the yaw of {path.name} is {text!r}, which is not a number") from error
    return MaskFile(path, row.get("source_path") or path.stem, yaw if np.isfinite(yaw) else 0.0)


@lru_cache(maxsize=4096)
def read_mask(path: Path) -> CutMask:
    """Reads one cut-out, cleans its rim and measures it. Kept in memory, about 30 KB each.

    Raises:
        PictureError: it cannot be read, has no transparency, or nothing but transparency.
    """
    levels, left, top = _read_framed(path)
    is_open = top + len(levels) == FRAME_HEIGHT_PX and bool((levels[-1, :, 3] > 127).sum() > 8)
    if is_open:
        # A gaiter goes on below the frame: its last rows are repeated, mirrored.
        levels = np.concatenate([levels, levels[-1 : -1 - _BELOW_PX : -1]])
    levels = np.pad(levels, ((_MARGIN_PX, 0 if is_open else _MARGIN_PX), (_MARGIN_PX,) * 2, (0, 0)))
    alpha = _cleaned(levels)
    solid = alpha > 127
    if solid.sum() < _LEAST_PX:
        raise PictureError(f"{path} is transparent nearly everywhere; it hides nothing")
    corner = np.array((left - _MARGIN_PX, top - _MARGIN_PX), dtype=np.float64)
    outline, corners = _edge(solid)
    mean, slope = _measured(levels[..., :3], solid)
    return CutMask(
        _blended(levels[..., :3], alpha),
        corner,
        outline + corner,
        corners + corner,
        mean,
        slope,
        sharpness_of(levels[..., :3], _shrunk(solid, 3)),
        is_open,
    )


def sharpness_of(colours: npt.NDArray[np.uint8], where: Bits) -> float:
    """How much of a picture's detail is fine, about 0.05 (blurred) to 0.35 (sharp).

    Args:
        colours: uint8 (H, W, 3) RGB.
        where: bool (H, W): the pixels that count.
    """
    grey = PillowImage.fromarray(colours).convert("L")
    levels = np.asarray(grey, dtype=np.float32)
    fine, broad = (
        np.abs(levels - np.asarray(grey.filter(ImageFilter.GaussianBlur(sigma_px)), dtype=np.float32))
        for sigma_px in (1.0, 4.0)
    )
    return float(fine[where].sum() / max(float(broad[where].sum()), 1e-3))


def _read_framed(path: Path) -> tuple[npt.NDArray[np.uint8], int, int]:
    """uint8 (h, w, 4) RGBA: what of the frame is opaque, and its first column and row in the frame."""
    cutout = read_cutout(path)
    if cutout.width > FRAME_WIDTH_PX:
        cutout = cutout.convert("RGBa").reduce(cutout.width // FRAME_WIDTH_PX).convert("RGBA")
    bounds = cutout.getchannel("A").getbbox()
    if bounds is None:
        raise PictureError(f"{path} is transparent everywhere; it hides nothing")
    return np.asarray(cutout.crop(bounds)), bounds[0], bounds[1]


def _cleaned(levels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The alpha (h, w) without skin at the rim, thin leftovers and its outermost pixel."""
    solid = levels[..., 3] > 127
    solid &= ~_skin_at_rim(levels[..., :3].astype(np.int16), solid)
    opened = ~_shrunk(~_shrunk(solid, 2), 2)
    eroded = PillowImage.fromarray(_shrunk(opened & solid, 1).astype(np.uint8) * 255)
    return np.asarray(eroded.filter(ImageFilter.GaussianBlur(0.55)))


def _skin_at_rim(colours: npt.NDArray[np.int16], solid: Bits) -> Bits:
    """Pixels like skin that hang together with the rim, of a mask that is itself unlike skin."""
    red, green, blue = colours[..., 0], colours[..., 1], colours[..., 2]
    warmth = (red - blue) / np.maximum(red, 40)
    like_skin = (red - green > 0.07 * red) & (green > blue - 6) & (warmth > _SKIN_WARMTH) & (red > 60)
    rows = np.flatnonzero(solid.any(axis=1))
    heart = _shrunk(solid, 4)
    heart[int(np.median(rows)) if len(rows) else 0 :] = False  # skin is most often left below the chin
    if heart.sum() < _LEAST_PX or (like_skin & heart).sum() > 0.25 * heart.sum():
        return np.zeros_like(solid)
    like_skin &= warmth > float(np.median(warmth[heart])) + _WARMER
    reached = ~solid
    for _ in range(_SKIN_DEPTH_PX):
        grown = ~_shrunk(~reached, 1) & (like_skin | ~solid)
        if (grown == reached).all():
            break
        reached = grown
    skin = reached & solid
    return skin if skin.sum() < _MOST_SKIN * solid.sum() else np.zeros_like(solid)


def _shrunk(bits: Bits, radius_px: int) -> Bits:
    """A shape without its outermost pixels. Beyond the array's border it goes on."""
    shrunk = bits.copy()
    for step in range(1, radius_px + 1):
        shrunk[step:] &= bits[:-step]
        shrunk[:-step] &= bits[step:]
    down = shrunk.copy()
    for step in range(1, radius_px + 1):
        shrunk[:, step:] &= down[:, :-step]
        shrunk[:, :-step] &= down[:, step:]
    return shrunk


def _edge(solid: Bits) -> tuple[Points, Points]:
    """The outline and the corners of a shape, in its own pixels."""
    rows = np.flatnonzero(solid.any(axis=1))
    first, last = solid[rows].argmax(axis=1), solid.shape[1] - 1 - solid[rows][:, ::-1].argmax(axis=1)
    step = np.unique(np.linspace(0, len(rows) - 1, 24).round().astype(int))
    left = np.column_stack([first[step], rows[step]])
    right = np.column_stack([last[step], rows[step]])
    outline = np.concatenate([right, left[::-1]]).astype(np.float64)
    corners = np.empty((2, 2, 2))
    for side, (edge, sign) in enumerate(((first, 1.0), (last, -1.0))):
        for which, slant in enumerate((0.5, -0.5)):
            row = int((sign * edge + slant * rows).argmin())
            corners[side, which] = edge[row], rows[row]
    return outline, corners


def _measured(colours: npt.NDArray[np.uint8], solid: Bits) -> tuple[npt.NDArray[np.float32], float]:
    """The mean colour, and how lightness grows to the right as a share of its mean."""
    inside = colours[solid].astype(np.float32)
    mean = inside.mean(axis=0)
    lightness = inside @ np.array([0.3, 0.59, 0.11], dtype=np.float32)
    x = np.nonzero(solid)[1].astype(np.float32)
    x = (x - x.mean()) / max(float(np.ptp(x)) / 2, 1.0)
    slope = float((x * (lightness - lightness.mean())).mean() / max(float((x * x).mean()), 1e-3))
    return mean, float(np.clip(slope / max(float(lightness.mean()), 20.0), -0.5, 0.5))


def _blended(colours: npt.NDArray[np.uint8], alpha: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Colours times alpha, and alpha. The rim takes its colours from two pixels further in."""
    inside = _shrunk(alpha > 127, 2)
    weight = np.where(inside, 255, 0).astype(np.uint8)
    stack = np.dstack([colours * inside[..., None], weight])
    soft = np.asarray(PillowImage.fromarray(stack, "RGBX").filter(ImageFilter.GaussianBlur(2.0)))
    spread = soft[..., :3].astype(np.float32) * (255 / np.maximum(soft[..., 3:].astype(np.float32), 8))
    grown = (~_shrunk(~inside, 1)).astype(np.uint8) * 255
    firm = np.asarray(PillowImage.fromarray(grown).filter(ImageFilter.GaussianBlur(0.7)))
    known = np.minimum(soft[..., 3:] / np.float32(16), 1)
    own = np.maximum(firm[..., None] / np.float32(255), 1 - known)
    mixed = (spread.clip(0, 255) * (1 - own) + colours * own + 0.5).astype(np.uint8)
    fine = np.dstack([mixed, alpha]).astype(np.float32)
    fine[..., :3] *= fine[..., 3:] / 255
    return (fine + 0.5).astype(np.uint8)

"""Masks cut out of photographs: found in a folder, split by photograph, read and cleaned."""

import csv
import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage
from PIL import ImageFilter

from facemend.alignment import FRAME_HEIGHT_PX, FRAME_WIDTH_PX, Points
from facemend.errors import PictureError, SourceError
from facemend.io import find_pictures, picture_size, read_cutout

PARTS = ("train", "measure")
_SUFFIXES = (".png", ".webp")
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
        path: an RGBA picture, 178×218 pixels or a multiple, the mask at its own place in CelebA's frame.
        photograph: which photograph it comes from; all its cut-outs are in one part.
        yaw: offset of the nose from the middle of the eyes over the eye distance; 0 is frontal, positive
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
    """The cut-outs in a folder that lie at their own place in CelebA's frame.

    They are the PNG and WebP pictures of 178×218 pixels, or a multiple, in the folder itself and in its
    subfolder `lower`. A table FOLDER.csv beside the folder is optional: its columns `file`, `yaw` (0 where
    it is missing) and `source_path` (the photograph; the file's name without its suffix where it is
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
        raise SourceError(f"{folder} is no folder; pass a folder of masks cut out as 178×218 RGBA pictures")
    places = [place for place in (folder, folder / "lower") if place.is_dir()]
    paths = [path for place in places for path in find_pictures(place, recursive=False)]
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
    """Where the table of a folder of cut-outs is looked for; it need not exist."""
    real = folder.resolve()
    return real.parent / f"{real.name}.csv"


def _is_framed(path: Path) -> bool:
    width, height = picture_size(path)
    times = width // FRAME_WIDTH_PX
    return times >= 1 and (width, height) == (times * FRAME_WIDTH_PX, times * FRAME_HEIGHT_PX)


def _rows_of(folder: Path) -> dict[str, dict[str, str]]:
    """The rows of the table beside a folder, by file; none where there is no table."""
    path = table_of(folder)
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    if rows and "file" not in rows[0]:
        raise SourceError(f"{path} has no column file; it names the cut-outs of {folder}")
    return {row["file"]: row for row in rows}


def _described(path: Path, row: dict[str, str]) -> MaskFile:
    text = row.get("yaw") or "0"
    try:
        yaw = float(text)
    except ValueError as error:
        raise SourceError(f"the yaw of {path.name} is {text!r}, which is no number") from error
    return MaskFile(path, row.get("source_path") or path.stem, yaw if np.isfinite(yaw) else 0.0)


@lru_cache(maxsize=4096)
def read_mask(path: Path) -> CutMask:
    """Reads one cut-out, cleans its rim and measures it. Kept in memory, about 30 KB each.

    Raises:
        PictureError: it cannot be read, has no transparency, or nothing but transparency.
    """
    levels, left, top = _read(path)
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


def _read(path: Path) -> tuple[npt.NDArray[np.uint8], int, int]:
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
    """A shape without its outermost pixels; beyond the array's border it goes on."""
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
    """Colours times alpha, and alpha; the rim takes its colours from two pixels further in."""
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

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

from facemend.errors import PictureError, SourceError
from facemend.frame import FRAME_HEIGHT_PX, FRAME_WIDTH_PX, Points

Part = str
"""`train` or `measure`."""

PARTS: tuple[Part, ...] = ("train", "measure")
_SUFFIXES = (".png", ".webp")
_HELD_OUT = 10
_FINENESS = 2
_BELOW_PX = 40
_SKIN_DEPTH_PX = 14
_MARGIN_PX = 3

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
    def part(self) -> Part:
        """`measure` for one photograph in ten, by the hash of its name, else `train`."""
        digest = hashlib.blake2b(self.photograph.encode(), digest_size=8).digest()
        return PARTS[int.from_bytes(digest, "big") % _HELD_OUT == 0]


@dataclass(frozen=True)
class CutMask:
    """A cut-out as it is drawn.

    Attributes:
        levels: uint8 (h, w, 4), colours times alpha and alpha, twice as fine as the frame. It is cut to
            what is opaque, with a transparent margin.
        left, top: where its first pixel lies in the frame, in pixels of the frame.
        outline: (N, 2) points of its edge in the frame, in order, clockwise from the top left.
        corners: (2, 2, 2) in the frame: left and right side, upper and lower corner.
        colour: (3,) mean RGB, 0-255.
        slope: how its lightness grows from left to right, as a share of its mean over its half width.
        is_open: reaches the frame's lower border, as gaiters and scarves do.
    """

    levels: npt.NDArray[np.uint8]
    left: float
    top: float
    outline: Points
    corners: Points
    colour: npt.NDArray[np.float32]
    slope: float
    is_open: bool


def find_masks(folder: Path, part: Part | None = None) -> tuple[MaskFile, ...]:
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
    paths = [path for place in (folder, folder / "lower") if place.is_dir() for path in place.iterdir()]
    framed = sorted(path for path in paths if path.suffix.lower() in _SUFFIXES and _is_framed(path))
    if not framed:
        raise SourceError(
            f"{folder} holds no masks for real_mask: it takes RGBA pictures of 178×218 pixels, in the "
            "folder itself or in its subfolder lower"
        )
    rows = _table_of(folder)
    masks = tuple(_described(path, rows.get(path.name, {})) for path in framed)
    chosen = tuple(mask for mask in masks if part is None or mask.part == part)
    if not chosen:
        raise SourceError(
            f"none of the {len(masks)} masks in {folder} is in the part {part}: about one photograph in "
            f"{_HELD_OUT} is held out for measuring; add more"
        )
    return chosen


def _is_framed(path: Path) -> bool:
    try:
        with PillowImage.open(path) as picture:
            width, height = picture.size
    except (OSError, SyntaxError, ValueError, PillowImage.DecompressionBombError) as error:
        raise PictureError(f"{path} cannot be read as a picture: {error}") from error
    times = width // FRAME_WIDTH_PX
    return times >= 1 and (width, height) == (times * FRAME_WIDTH_PX, times * FRAME_HEIGHT_PX)


def _table_of(folder: Path) -> dict[str, dict[str, str]]:
    """The rows of the table beside a folder, by file; none where there is no table."""
    real = folder.resolve()
    path = real.parent / f"{real.name}.csv"
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
    """Reads one cut-out, cleans its rim and measures it. Kept in memory, about 80 KB each.

    Raises:
        PictureError: it cannot be read, has no transparency, or nothing but transparency.
    """
    levels = _read(path)
    alpha = _cleaned(levels)
    rows, columns = np.flatnonzero((alpha > 127).any(axis=1)), np.flatnonzero((alpha > 127).any(axis=0))
    if len(rows) < 4 or len(columns) < 4:
        raise PictureError(f"{path} is transparent nearly everywhere; it hides nothing")
    is_open = bool((alpha[-1] > 127).sum() > 8)
    if is_open:
        # A gaiter goes on below the frame: its last rows are repeated, mirrored.
        rows = np.arange(rows[0], len(alpha) + _BELOW_PX)
        alpha, levels = (np.concatenate([a, a[-1 : -1 - _BELOW_PX : -1]]) for a in (alpha, levels))
    top, left = max(int(rows[0]) - _MARGIN_PX, 0), max(int(columns[0]) - _MARGIN_PX, 0)
    box = np.s_[top : int(rows[-1]) + _MARGIN_PX + 1, left : int(columns[-1]) + _MARGIN_PX + 1]
    alpha, colours = alpha[box], levels[box][..., :3]
    outline, corners = _edge(alpha > 127)
    mean, slope = _measured(colours, alpha > 127)
    return CutMask(
        _refined(colours, alpha),
        float(left),
        float(top),
        outline + (left, top),
        corners + (left, top),
        mean,
        slope,
        is_open,
    )


def _read(path: Path) -> npt.NDArray[np.uint8]:
    """uint8 (218, 178, 4) RGBA."""
    try:
        with PillowImage.open(path) as picture:
            if "A" not in picture.getbands() and "transparency" not in picture.info:
                raise PictureError(f"{path} has no transparency; cut the mask out and save it as RGBA")
            cutout = picture.convert("RGBA")
    except (OSError, SyntaxError, ValueError, PillowImage.DecompressionBombError) as error:
        raise PictureError(f"{path} cannot be read as a picture: {error}") from error
    if cutout.width > FRAME_WIDTH_PX:
        cutout = cutout.convert("RGBa").reduce(cutout.width // FRAME_WIDTH_PX).convert("RGBA")
    return np.asarray(cutout)


def _cleaned(levels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The alpha (218, 178) without skin at the rim and without its outermost pixel."""
    solid = levels[..., 3] > 127
    solid &= ~_skin_at_rim(levels[..., :3].astype(np.int16), solid)
    picture = PillowImage.fromarray(solid.astype(np.uint8) * 255)
    # Below the frame the mask goes on: its border there is no rim.
    height, width = solid.shape
    padded = PillowImage.new("L", (width + 8, height + 8))
    padded.paste(picture, (4, 4))
    for row in range(4):
        padded.paste(picture.crop((0, height - 1, width, height)), (4, height + 4 + row))
    # Opened, so that thin leftovers go, then eroded by a pixel.
    opened = padded.filter(ImageFilter.MinFilter(5)).filter(ImageFilter.MaxFilter(5))
    eroded = opened.filter(ImageFilter.MinFilter(3)).filter(ImageFilter.GaussianBlur(0.7))
    return np.asarray(eroded.crop((4, 4, width + 4, height + 4)))


def _skin_at_rim(colours: npt.NDArray[np.int16], solid: Bits) -> Bits:
    """Pixels like skin that hang together with the rim, of a mask that is itself unlike skin."""
    red, green, blue = colours[..., 0], colours[..., 1], colours[..., 2]
    like_skin = (red > green + 8) & (green > blue - 6) & (red - blue > 28) & (red > 60)
    inside = _shrunk(solid, 9)
    if inside.sum() < 50 or (like_skin & inside).sum() > 0.12 * inside.sum():
        return np.zeros_like(solid)
    reached = ~solid
    for _ in range(_SKIN_DEPTH_PX):
        grown = _grown(reached) & (like_skin | ~solid)
        if (grown == reached).all():
            break
        reached = grown
    return reached & solid


def _grown(bits: Bits) -> Bits:
    grown = bits.copy()
    grown[1:] |= bits[:-1]
    grown[:-1] |= bits[1:]
    grown[:, 1:] |= bits[:, :-1]
    grown[:, :-1] |= bits[:, 1:]
    return grown


def _shrunk(bits: Bits, side_px: int) -> Bits:
    picture = PillowImage.fromarray(bits.astype(np.uint8) * 255)
    return np.asarray(picture.filter(ImageFilter.MinFilter(side_px))) > 127


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


def _measured(
    colours: npt.NDArray[np.uint8], solid: Bits
) -> tuple[npt.NDArray[np.float32], float]:
    """The mean colour, and how lightness grows to the right as a share of its mean."""
    inside = colours[solid].astype(np.float32)
    mean = inside.mean(axis=0)
    lightness = inside @ np.array([0.3, 0.59, 0.11], dtype=np.float32)
    x = np.nonzero(solid)[1].astype(np.float32)
    x = (x - x.mean()) / max(float(np.ptp(x)) / 2, 1.0)
    slope = float((x * (lightness - lightness.mean())).mean() / max(float((x * x).mean()), 1e-3))
    return mean, float(np.clip(slope / max(float(lightness.mean()), 20.0), -0.5, 0.5))


def _refined(
    colours: npt.NDArray[np.uint8], alpha: npt.NDArray[np.uint8]
) -> npt.NDArray[np.uint8]:
    """Twice as fine, colours times alpha; the rim takes its colours from two pixels further in."""
    inside = _shrunk(alpha > 127, 5)
    weight = np.where(inside, 255, 0).astype(np.uint8)
    stack = np.dstack([colours * inside[..., None], weight])
    soft = np.asarray(PillowImage.fromarray(stack, "RGBX").filter(ImageFilter.GaussianBlur(2.0)))
    spread = soft[..., :3].astype(np.float32) * (255 / np.maximum(soft[..., 3:].astype(np.float32), 8))
    firm = np.asarray(
        PillowImage.fromarray(weight).filter(ImageFilter.MaxFilter(3)).filter(ImageFilter.GaussianBlur(0.7))
    )
    known = np.minimum(soft[..., 3:] / np.float32(16), 1)
    own = np.maximum(firm[..., None] / np.float32(255), 1 - known)
    mixed = (spread.clip(0, 255) * (1 - own) + colours * own + 0.5).astype(np.uint8)
    size = (alpha.shape[1] * _FINENESS, alpha.shape[0] * _FINENESS)
    bands = [
        np.asarray(PillowImage.fromarray(np.ascontiguousarray(plane)).resize(size, how))
        for plane, how in (
            *((mixed[..., band], PillowImage.Resampling.BICUBIC) for band in range(3)),
            (alpha, PillowImage.Resampling.BILINEAR),
        )
    ]
    fine = np.dstack(bands).astype(np.float32)
    fine[..., :3] *= fine[..., 3:] / 255
    return (fine + 0.5).astype(np.uint8)

"""What a reconstruction returns: the picture, and what was done to each face."""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from html import escape
from io import BytesIO
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage

from facemend.detection import Face
from facemend.errors import UsageError
from facemend.images import Alpha, Image
from facemend.io import SUFFIXES, Format, Photo, encode_photo, write_photo
from facemend.occlusion import OcclusionClass
from facemend.reconstruction.provenance import Provenance, Region

_SHOWN_PX = 320  # in a notebook


@dataclass(frozen=True)
class FaceReconstruction:
    """What was done to one face.

    Attributes:
        face: where it is.
        box: rows and columns of the picture, h by w, that the arrays below cover.
        occlusion: the occlusion found by class, each float32 (h, w), 0-1. Empty if the model finds none.
        removed: float32 (h, w), 0-1, the occlusion that was reconstructed: that of the classes asked
            for, or the user's mask.
        weight: float32 (h, w), the reconstruction's share of each pixel, 0-1; where it is 0, and outside
            the box, the picture is the input.
        coverage: share of the whole picture's pixels that were reconstructed, 0-1.
        before: uint8 (h, w, 3) RGB, the box's pixels before.
        interval: float32 (h, w), how far off the reconstruction may be: nine in ten of the true colour
            values under the occlusion lie within ± this many levels (of 255) of the output; 0 where
            `weight` is 0; None if the model does not say.
        stays: the classes that hide a part of the face and were not asked for, such as glasses.
    """

    face: Face
    box: tuple[slice, slice]
    occlusion: Mapping[OcclusionClass, Alpha]
    removed: Alpha
    weight: Alpha
    coverage: float
    before: Image
    interval: Alpha | None = None
    stays: tuple[OcclusionClass, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether anything was reconstructed."""
        return self.coverage > 0

    @property
    def interval_levels(self) -> float | None:
        """How far off it may be, on average: the mean of `interval` over what was reconstructed."""
        if self.interval is None or not self.changed:
            return None
        return float(self.interval[self.weight > 0].mean())

    @property
    def region(self) -> Region | None:
        """The part of the picture that was reconstructed, or None."""
        if not self.changed:
            return None
        y, x = np.nonzero(self.weight)
        top, left = self.box[0].start, self.box[1].start
        box = (
            left + int(x.min()),
            top + int(y.min()),
            int(np.ptp(x)) + 1,
            int(np.ptp(y)) + 1,
        )
        return Region(box, self.coverage)


@dataclass(frozen=True, repr=False)
class Reconstruction:
    """A picture whose faces were reconstructed. In a notebook it shows itself.

    Attributes:
        photo: the picture, with everything that the input's file held beside its pixels.
        faces: one entry a face, the largest first. Empty if none was found.
        provenance: how it was made.
    """

    photo: Photo
    faces: tuple[FaceReconstruction, ...]
    provenance: Provenance

    @cached_property
    def image(self) -> PillowImage.Image:
        """The picture as displayed, of the input's size and mode (L, LA, RGB or RGBA).

        Without an occlusion it shows the input, unchanged.
        """
        return self.photo.to_pillow()

    @property
    def array(self) -> npt.NDArray[np.uint8]:
        """The picture as displayed: uint8 (H, W, 3) RGB, without its transparency.

        If the input was an array, it has that array's form: (H, W) gray, or (H, W, 4) RGBA.
        """
        return self.photo.to_array()

    @property
    def before(self) -> Image:
        """The input as displayed: uint8 (H, W, 3) RGB."""
        pixels = self.photo.pixels.copy()
        for face in reversed(self.faces):  # a later face was reconstructed over what came before
            if face.changed:
                pixels[face.box] = face.before
        return pixels

    @property
    def changed(self) -> bool:
        """Whether anything was reconstructed in any face."""
        return any(face.changed for face in self.faces)

    @property
    def removed(self) -> Alpha:
        """float32 (H, W), 0-1: what was reconstructed, of all faces. 0 where the picture is the input."""
        whole = np.zeros(self.photo.pixels.shape[:2], dtype=np.float32)
        for face in self.faces:
            if face.changed:
                # The rim fades out, and what fades is changed as well.
                removed = np.maximum(face.removed, face.weight) * (face.weight > 0)
                whole[face.box] = np.maximum(whole[face.box], removed)
        return whole

    @property
    def removed_levels(self) -> npt.NDArray[np.uint8]:
        """uint8 (H, W): `removed` as a picture, 255 for 1. Every pixel that changed is at least 1."""
        return np.ceil(self.removed * 255).astype(np.uint8)

    def save(self, path: Path | str | IO[bytes], *, strip: bool = False, force: bool = False) -> None:
        """Writes the picture with its provenance in the format that the suffix names, whole or not at all.

        Without an occlusion, and in the format that it came in, it is the input's file, byte for byte.

        Args:
            path: or an open binary file, which gets the format of the input (PNG if that was none).
            strip: leave out EXIF with its location, XMP, IPTC and comments of the input.

        Raises:
            OutputError: the file exists and `force` is not set, the disk refuses, or the format cannot
                hold the picture.
            UsageError: the suffix names no format that facemend writes.
        """
        note = self.provenance.to_note()
        if isinstance(path, Path | str):
            write_photo(Path(path), self.photo, note=note, strip=strip, force=force)
            return
        if not hasattr(path, "write"):
            raise UsageError(f"save takes a path or an open binary file, not {type(path).__name__}")
        kind = self.photo.format if self.photo.format in SUFFIXES.values() else Format.PNG
        path.write(encode_photo(self.photo, kind, note=note, strip=strip))

    def __repr__(self) -> str:
        height_px, width_px = self.photo.pixels.shape[:2]
        changed = sum(face.changed for face in self.faces)
        faces = "1 face" if len(self.faces) == 1 else f"{len(self.faces)} faces"
        return (
            f"Reconstruction({self.photo.name!r}, {width_px}×{height_px}, {faces}, {changed} reconstructed)"
        )

    def _repr_html_(self) -> str:
        """For a notebook: before, after and the occlusion, with a line for each face."""
        white = np.repeat(self.removed_levels[:, :, None], 3, axis=2)
        shown = {"before": self.before, "after": self.photo.pixels, "occlusion": white}
        figures = "".join(
            f'<figure style="margin:0"><img alt="{title}" src="data:image/png;base64,{_png(image)}">'
            f"<figcaption>{title}</figcaption></figure>"
            for title, image in shown.items()
        )
        faces = "".join(f"<li>{_line_of(face)}</li>" for face in self.faces) or "<li>no face found</li>"
        return (
            f"<p>{escape(repr(self))}</p>"
            f'<div style="display:flex;flex-wrap:wrap;gap:8px">{figures}</div><ol>{faces}</ol>'
        )


def _png(image: Image) -> str:
    """A copy of at most `_SHOWN_PX` a side, as PNG in base64."""
    picture, file = PillowImage.fromarray(image), BytesIO()
    picture.thumbnail((_SHOWN_PX, _SHOWN_PX))
    picture.save(file, "PNG")
    return b64encode(file.getvalue()).decode()


def _line_of(done: FaceReconstruction) -> str:
    x1, y1, x2, y2 = done.face.corners_px
    line = f"{x2 - x1:.0f}×{y2 - y1:.0f} px at {x1:.0f}, {y1:.0f}, confidence {done.face.confidence:.2f}: "
    if not done.changed:
        return line + "no occlusion, unchanged"
    line += f"{done.coverage:.1%} of the picture reconstructed"
    levels = done.interval_levels
    return line if levels is None else f"{line}, ± {levels:.0f} of 255 levels"

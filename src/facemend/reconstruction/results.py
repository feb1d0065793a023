"""What a reconstruction hands over."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

import numpy as np
from PIL import Image as PillowImage

from facemend.detection import Face
from facemend.images import Alpha, Image
from facemend.io import Photo, write_photo
from facemend.occlusion import OcclusionClass
from facemend.reconstruction.provenance import Provenance, Region

PillowPicture: TypeAlias = PillowImage.Image
PictureT = TypeVar("PictureT", PillowPicture, Image)


@dataclass(frozen=True)
class FaceReconstruction:
    """What was done to one face.

    Attributes:
        face: where it is.
        box: rows and columns of the picture, h by w, that the arrays below cover.
        occlusion: the occlusion found by class, each float32 (h, w), 0-1; empty if the model finds none.
        removed: float32 (h, w), 0-1, the occlusion that was reconstructed: that of the classes asked
            for, or the user's mask.
        weight: float32 (h, w), the reconstruction's share of each pixel, 0-1; where it is 0, and outside
            the box, the picture is the input.
        coverage: share of the whole picture's pixels that were reconstructed, 0-1.
        interval: float32 (h, w), how far off the reconstruction may be: nine in ten of the true colour
            values under the occlusion lie within ± so many levels of 255 of what the model drew; 0 where
            `weight` is 0; None if the model does not say.
    """

    face: Face
    box: tuple[slice, slice]
    occlusion: Mapping[OcclusionClass, Alpha]
    removed: Alpha
    weight: Alpha
    coverage: float
    interval: Alpha | None = None

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
        """What of the picture was reconstructed; None if nothing was."""
        if not self.changed:
            return None
        y, x = np.nonzero(self.weight)
        top, left = self.box[0].start, self.box[1].start
        box_px = (
            left + int(x.min()),
            top + int(y.min()),
            left + int(x.max()) + 1,
            top + int(y.max()) + 1,
        )
        return Region(box_px, self.coverage)


@dataclass(frozen=True)
class Reconstruction(Generic[PictureT]):
    """A picture whose faces were reconstructed.

    Attributes:
        image: of the input's size, as displayed; a Pillow picture for a file or a Pillow picture, a
            uint8 (H, W, 3) RGB array for an array. Without an occlusion it is the input, unchanged.
        faces: one entry a face, the largest first; empty if none was found.
        provenance: how it was made.
        photo: the same picture, with everything that the input's file held beside its pixels.
    """

    image: PictureT
    faces: tuple[FaceReconstruction, ...]
    provenance: Provenance
    photo: Photo

    @property
    def changed(self) -> bool:
        """Whether anything was reconstructed in any face."""
        return any(face.changed for face in self.faces)

    @property
    def removed(self) -> Alpha:
        """float32 (H, W), 0-1: the occlusion that was reconstructed, of all faces."""
        whole = np.zeros(self.photo.pixels.shape[:2], dtype=np.float32)
        for face in self.faces:
            if face.changed:
                whole[face.box] = np.maximum(whole[face.box], face.removed)
        return whole

    def save(self, path: Path | str, *, strip: bool = False, force: bool = False) -> None:
        """Writes the picture with its provenance in the format that the suffix names, whole or not at all.

        Without an occlusion, and in the format that it came in, it is the input's file, byte for byte.

        Args:
            strip: leave out EXIF with its place, XMP, IPTC and comments of the input.

        Raises:
            OutputError: the file exists and `force` is not set, the disk refuses, or the format cannot
                hold the picture.
            UsageError: the suffix names no format that facemend writes.
        """
        write_photo(Path(path), self.photo, note=self.provenance.to_note(), strip=strip, force=force)

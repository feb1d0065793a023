"""Ready crops: 178×218 CelebA frames and square pictures, reconstructed at their own size."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import IO, Generic, TypeAlias, TypeVar, overload

import numpy as np
from PIL import Image as PillowImage

from facemend.errors import FacemendError, PictureError, UsageError
from facemend.faces import Face
from facemend.frame import aligned_rows, canonical_landmarks, crop_from_aligned, paste_into_aligned
from facemend.images import Alpha, Image, Mask, image_from_pillow, read_image, write_png
from facemend.occlusion import OcclusionClass
from facemend.reconstruct.composite import Composite, composite, resize_alpha, wanted_alpha
from facemend.reconstruct.model import Model, ModelOutput
from facemend.reconstruct.options import Device, Remove
from facemend.reconstruct.provenance import Provenance, Region
from facemend.weights import shipped_model_path

PillowPicture: TypeAlias = PillowImage.Image
PictureFile: TypeAlias = str | Path | IO[bytes]
PictureT = TypeVar("PictureT", PillowPicture, Image)


@dataclass(frozen=True)
class FaceReconstruction:
    """What was done to one face. H and W are the picture's size.

    Attributes:
        face: where it is.
        occlusion: the occlusion found by class, each float32 (H, W), 0-1; empty if the model finds none.
        removed: float32 (H, W), 0-1, the occlusion that was reconstructed: that of the classes asked
            for, or the user's mask.
        coverage: share of the picture's pixels that were reconstructed, 0-1.
    """

    face: Face
    occlusion: Mapping[OcclusionClass, Alpha]
    removed: Alpha
    coverage: float

    @property
    def changed(self) -> bool:
        """Whether anything was reconstructed."""
        return self.coverage > 0


@dataclass(frozen=True)
class Reconstruction(Generic[PictureT]):
    """A picture whose faces were reconstructed.

    Attributes:
        image: RGB, of the input's size; a Pillow picture for a file or a Pillow picture, a uint8
            (H, W, 3) array for an array. Without an occlusion it is the input, unchanged.
        faces: one entry a face.
        provenance: how it was made.
    """

    image: PictureT
    faces: tuple[FaceReconstruction, ...]
    provenance: Provenance

    @property
    def changed(self) -> bool:
        """Whether anything was reconstructed in any face."""
        return any(face.changed for face in self.faces)

    def save(self, path: Path | str, *, force: bool = False) -> None:
        """Writes the picture as PNG with its provenance, whole or not at all.

        Raises:
            OutputError: the file exists and `force` is not set, or the disk refuses.
        """
        pixels = np.asarray(self.image, dtype=np.uint8)
        write_png(Path(path), pixels, text=self.provenance.to_text(), force=force)


class Reconstructor:
    """A model, ready to reconstruct pictures, from several threads if need be.

    Attributes:
        model: the model file that it uses.
    """

    def __init__(
        self,
        model_path: Path | str | None = None,
        *,
        device: Device | str = Device.AUTO,
        threads: int | None = None,
    ) -> None:
        """Opens a model file (None: the one that comes with facemend).

        Raises:
            ModelError, UsageError: as `Model` does.
        """
        self.model = Model(model_path or shipped_model_path(), device=device, threads=threads)

    @overload
    def aligned(
        self, source: PictureFile, mask: Mask | None = None, remove: Remove | str = Remove.COVERS
    ) -> Reconstruction[PillowPicture]: ...
    @overload
    def aligned(
        self, source: PictureT, mask: Mask | None = None, remove: Remove | str = Remove.COVERS
    ) -> Reconstruction[PictureT]: ...
    def aligned(
        self,
        source: PictureFile | PillowPicture | Image,
        mask: Mask | None = None,
        remove: Remove | str = Remove.COVERS,
    ) -> Reconstruction[PillowPicture] | Reconstruction[Image]:
        """Reconstructs a ready crop: a 178×218 CelebA frame, or a square picture of any size.

        Args:
            source: a path, an open binary file, a Pillow picture, or a uint8 (H, W, 3) RGB array.
            mask: bool (H, W), True exactly where to reconstruct; None lets the model find it.
            remove: which class of occlusion to reconstruct, where there is no mask.

        Raises:
            PictureError: no readable picture, or one of another shape.
            UsageError: the mask does not fit the picture.
            ModelError: the model cannot be run.
        """
        image, name, input_sha256 = _read(source)
        _check_mask(mask, image, name)
        output = self._run(image, mask, name)
        square, removed = image[aligned_rows(image, name)], _to_remove(output, mask, Remove(remove))
        if mask is None:
            made = composite(square, output.raw[0], removed)
        else:
            # The user's mask is exact: no pixel beside it changes.
            removed = removed[aligned_rows(image, name)]
            made = composite(square, output.raw[0], removed, dilation_px=0, feather_px=0)
        done, region = _describe(image, output, removed, made)
        provenance = replace(
            self.provenance(input_sha256, mask, remove), regions=(region,) if region else ()
        )
        pixels = paste_into_aligned(image, made.image, name=name)
        if isinstance(source, np.ndarray):
            return Reconstruction(pixels, (done,), provenance)
        return Reconstruction(PillowImage.fromarray(pixels), (done,), provenance)

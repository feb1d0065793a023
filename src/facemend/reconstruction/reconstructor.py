"""The product as a library: a model, ready to reconstruct photos and ready crops."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import IO, TypeAlias, overload

import numpy as np
from PIL import Image as PillowImage

from facemend.errors import NoFaceFound, PictureError, UsageError
from facemend.faces import Face, find_faces
from facemend.images import Image, Mask, read_image
from facemend.photos import Photo, photo_of_pillow, photo_of_pixels, read_photo
from facemend.reconstruction.aligned import mend_aligned
from facemend.reconstruction.model import Model
from facemend.reconstruction.options import Device, Remove
from facemend.reconstruction.photo import mend_faces
from facemend.reconstruction.provenance import Provenance
from facemend.reconstruction.results import FaceReconstruction, PillowPicture, Reconstruction
from facemend.weights import shipped_model_path

PictureFile: TypeAlias = str | Path | IO[bytes]
Source: TypeAlias = PictureFile | PillowPicture | Image


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
    def __call__(
        self,
        source: PictureFile | PillowPicture,
        *,
        aligned: bool = ...,
        mask: Mask | None = ...,
        remove: Remove | str = ...,
    ) -> Reconstruction[PillowPicture]: ...
    @overload
    def __call__(
        self, source: Image, *, aligned: bool = ..., mask: Mask | None = ..., remove: Remove | str = ...
    ) -> Reconstruction[Image]: ...
    def __call__(
        self,
        source: Source,
        *,
        aligned: bool = False,
        mask: Mask | None = None,
        remove: Remove | str = Remove.COVERS,
    ) -> Reconstruction[PillowPicture] | Reconstruction[Image]:
        """Reconstructs what hides the faces of a photo. No pixel outside the occlusions changes.

        Args:
            source: a path, an open binary file, a Pillow picture, or a uint8 (H, W, 3) RGB array.
            aligned: the picture is a ready crop, a 178×218 CelebA frame or a square of any size; no face
                is looked for.
            mask: bool (H, W), True exactly where to reconstruct; None lets the model find it.
            remove: which class of occlusion to reconstruct, where there is no mask.

        Raises:
            PictureError: no readable picture, or no ready crop where `aligned` says so.
            UsageError: the mask does not fit the picture, or there is no such class.
            NoFaceFound: there is a mask, and no face under it.
            ModelError: the model cannot be run.
        """
        if remove not in list(Remove):
            raise UsageError(f"unknown class {remove!r}; remove one of {', '.join(Remove)}")
        photo, input_sha256 = _read(source)
        _check_mask(mask, photo)
        if aligned:
            pixels, done = mend_aligned(photo.pixels, self.model, Remove(remove), mask, name=photo.name)
            faces: Sequence[FaceReconstruction] = (done,)
        else:
            pixels, faces = mend_faces(
                photo.pixels, _faces_of(photo, mask), self.model, Remove(remove), mask
            )
        photo = photo.with_pixels(pixels)
        regions = tuple(face.region for face in faces if face.region)
        made = self.provenance(input_sha256, aligned=aligned, mask=mask, remove=remove)
        provenance = replace(made, regions=regions)
        if isinstance(source, np.ndarray):
            return Reconstruction(photo.pixels, tuple(faces), provenance, photo)
        return Reconstruction(photo.to_pillow(), tuple(faces), provenance, photo)

    def provenance(
        self,
        input_sha256: str | None,
        *,
        aligned: bool = False,
        mask: Mask | None = None,
        remove: Remove | str = Remove.COVERS,
    ) -> Provenance:
        """What a picture says that is made with these arguments, its regions left out."""
        options = {"input": "aligned" if aligned else "photo"}
        if mask is None:
            options["remove"] = str(remove)
        else:
            options["mask_sha256"] = hashlib.sha256(mask.tobytes()).hexdigest()
        return Provenance(self.model.description.name, self.model.sha256, input_sha256, options)


@overload
def reconstruct(
    source: PictureFile | PillowPicture,
    *,
    aligned: bool = ...,
    mask: Mask | None = ...,
    remove: Remove | str = ...,
) -> Reconstruction[PillowPicture]: ...
@overload
def reconstruct(
    source: Image, *, aligned: bool = ..., mask: Mask | None = ..., remove: Remove | str = ...
) -> Reconstruction[Image]: ...
def reconstruct(
    source: Source,
    *,
    aligned: bool = False,
    mask: Mask | None = None,
    remove: Remove | str = Remove.COVERS,
) -> Reconstruction[PillowPicture] | Reconstruction[Image]:
    """Reconstructs what hides the faces of a photo, with the model that comes with facemend.

    Use a `Reconstructor` for another model. Arguments and errors are those of `Reconstructor.__call__`.
    """
    return _shipped()(source, aligned=aligned, mask=mask, remove=remove)


@cache
def _shipped() -> Reconstructor:
    return Reconstructor()


def read_mask(path: Path) -> Mask:
    """Reads a mask, white = reconstruct: bool (H, W), True where the picture is above middle gray.

    Raises:
        PictureError: as `read_image` does.
    """
    mask: Mask = read_image(path).mean(axis=2) >= 128
    return mask


def _read(source: Source) -> tuple[Photo, str | None]:
    """The photo, and the sha256 of its file if it was one."""
    if isinstance(source, np.ndarray):
        if source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] != 3 or not source.size:
            raise PictureError(f"the array is {source.dtype} {source.shape}; pass uint8 (H, W, 3) RGB")
        return photo_of_pixels(source, "the array"), None
    if isinstance(source, PillowImage.Image):
        return photo_of_pillow(source), None
    photo = read_photo(Path(source) if isinstance(source, str) else source)
    return photo, hashlib.sha256(photo.source or b"").hexdigest()


def _check_mask(mask: Mask | None, photo: Photo) -> None:
    if mask is not None and (mask.dtype != np.bool_ or mask.shape != photo.pixels.shape[:2]):
        height_px, width_px = photo.pixels.shape[:2]
        raise UsageError(
            f"the mask is {mask.dtype} {mask.shape}; {photo.name} needs bool ({height_px}, {width_px})"
        )


def _faces_of(photo: Photo, mask: Mask | None) -> tuple[Face, ...]:
    faces = find_faces(photo.pixels)
    if mask is not None and not faces:
        raise NoFaceFound(f"{photo.name} has no face to reconstruct under the mask")
    return faces

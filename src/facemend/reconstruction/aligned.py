"""Ready crops: 178×218 CelebA frames and square pictures, reconstructed at their own size."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Generic, TypeAlias, TypeVar, overload

import numpy as np
from PIL import Image as PillowImage

from facemend.errors import FacemendError, PictureError, UsageError
from facemend.faces import Face
from facemend.frame import aligned_rows, canonical_landmarks, crop_from_aligned, paste_into_aligned
from facemend.images import Alpha, Image, Mask, read_image
from facemend.occlusion import OcclusionClass
from facemend.photos import Photo, photo_of_pillow, photo_of_pixels, read_photo, write_photo
from facemend.reconstruction.composite import Composite, composite, resize_alpha, wanted_alpha
from facemend.reconstruction.model import Model, ModelOutput
from facemend.reconstruction.options import Device, Remove
from facemend.reconstruction.provenance import Provenance, Region
from facemend.weights import shipped_model_path

PillowPicture: TypeAlias = PillowImage.Image
PictureFile: TypeAlias = str | Path | IO[bytes]
WHOLE_PHOTO = "whole photos are not handled yet; pass ready crops (178×218 or square) with {}"
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
        image: of the input's size, as displayed; a Pillow picture for a file or a Pillow picture, a
            uint8 (H, W, 3) RGB array for an array. Without an occlusion it is the input, unchanged.
        faces: one entry a face.
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
        self,
        source: PictureFile | PillowPicture,
        mask: Mask | None = None,
        remove: Remove | str = Remove.COVERS,
    ) -> Reconstruction[PillowPicture]: ...
    @overload
    def aligned(
        self, source: Image, mask: Mask | None = None, remove: Remove | str = Remove.COVERS
    ) -> Reconstruction[Image]: ...
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
            UsageError: the mask does not fit the picture, or there is no such class.
            ModelError: the model cannot be run.
        """
        if remove not in list(Remove):
            raise UsageError(f"unknown class {remove!r}; remove one of {', '.join(Remove)}")
        photo, input_sha256 = _read(source)
        image, name = photo.pixels, photo.name
        rows = aligned_rows(image, name)
        square, said = image[rows], None if mask is None else _cut_mask(mask, image, rows, name)
        output = self._run(square, said)
        removed, made = _deliver(square, output, said, Remove(remove))
        photo = photo.with_pixels(paste_into_aligned(image, made.image, name=name))
        weight = _into_frame(made.weight, image, rows)
        found = _by_class(output, image, rows)
        done = FaceReconstruction(
            _face(rows), found, _into_frame(removed, image, rows), float((weight > 0).mean())
        )
        provenance = self.provenance(input_sha256, mask, remove, _regions(weight))
        if isinstance(source, np.ndarray):
            return Reconstruction(photo.pixels, (done,), provenance, photo)
        return Reconstruction(photo.to_pillow(), (done,), provenance, photo)

    def provenance(
        self,
        input_sha256: str | None,
        mask: Mask | None,
        remove: Remove | str,
        regions: tuple[Region, ...] = (),
    ) -> Provenance:
        """What `aligned` says about a picture that it makes with these arguments."""
        options = {"input": "aligned", "remove": str(remove)}
        if mask is not None:
            options = {"input": "aligned", "mask_sha256": hashlib.sha256(mask.tobytes()).hexdigest()}
        return Provenance(self.model.description.name, self.model.sha256, input_sha256, options, regions)

    def _run(self, square: Image, mask: Mask | None) -> ModelOutput:
        side = self.model.description.size_px
        crop = crop_from_aligned(square, side)
        # A pixel of the crop that the mask touches at all is occluded.
        hint = None if mask is None else resize_alpha(mask.astype(np.float32), side, side)[None] > 0
        return self.model(crop[None], hint)


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
    source: PictureFile | PillowPicture | Image,
    *,
    aligned: bool = False,
    mask: Mask | None = None,
    remove: Remove | str = Remove.COVERS,
) -> Reconstruction[PillowPicture] | Reconstruction[Image]:
    """Reconstructs what hides a face, with the model that comes with facemend.

    Use a `Reconstructor` for another model.

    Args:
        aligned: the picture is a ready crop, a 178×218 CelebA frame or a square. Whole photos are
            not handled yet.
        source, mask, remove: see `Reconstructor.aligned`.

    Raises:
        FacemendError: `aligned` is not set, or anything that `Reconstructor.aligned` raises.
    """
    if not aligned:
        raise FacemendError(WHOLE_PHOTO.format("aligned=True"))
    return _shipped().aligned(source, mask, remove)


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


def _read(source: PictureFile | PillowPicture | Image) -> tuple[Photo, str | None]:
    """The photo, and the sha256 of its file if it was one."""
    if isinstance(source, np.ndarray):
        if source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] != 3 or not source.size:
            raise PictureError(f"the array is {source.dtype} {source.shape}; pass uint8 (H, W, 3) RGB")
        return photo_of_pixels(source, "the array"), None
    if isinstance(source, PillowPicture):
        return photo_of_pillow(source), None
    photo = read_photo(Path(source) if isinstance(source, str) else source)
    return photo, hashlib.sha256(photo.source or b"").hexdigest()


def _cut_mask(mask: Mask, image: Image, rows: slice, name: str) -> Mask:
    if mask.dtype != np.bool_ or mask.shape != image.shape[:2]:
        height_px, width_px = image.shape[:2]
        raise UsageError(
            f"the mask is {mask.dtype} {mask.shape}; {name} needs bool ({height_px}, {width_px})"
        )
    if mask[: rows.start].any() or mask[rows.stop :].any():
        raise UsageError(
            f"the mask marks rows of {name} that the model does not see; keep to the rows from "
            f"{rows.start} to {rows.stop - 1}"
        )
    return mask[rows]


def _deliver(
    square: Image, output: ModelOutput, mask: Mask | None, remove: Remove
) -> tuple[Alpha, Composite]:
    """The occlusion to reconstruct, at the square's size, and the square without it."""
    raw, side_px = output.raw[0], square.shape[0]
    if mask is not None:
        removed = mask.astype(np.float32)
        # The user's mask is exact: no pixel beside it changes.
        return removed, composite(square, raw, removed, dilation_px=0, feather_px=0)
    if output.alpha is None:
        removed = np.ones(square.shape[:2], dtype=np.float32)  # it finds nothing, so it delivers all
    else:
        removed = resize_alpha(wanted_alpha(output.alpha[0], remove), side_px, side_px)
    return removed, composite(square, raw, removed)


def _by_class(output: ModelOutput, image: Image, rows: slice) -> dict[OcclusionClass, Alpha]:
    if output.alpha is None:
        return {}
    side_px = image.shape[1]
    return {
        name: _into_frame(resize_alpha(alpha, side_px, side_px), image, rows)
        for name, alpha in zip(OcclusionClass, output.alpha[0], strict=True)
    }


def _into_frame(square: Alpha, image: Image, rows: slice) -> Alpha:
    """Values of the square, and 0 in the rows of the picture above and below."""
    values = np.zeros(image.shape[:2], dtype=np.float32)
    values[rows] = square
    return values


def _face(rows: slice) -> Face:
    side_px = rows.stop - rows.start
    return Face(
        box_px=(0, rows.start, side_px, rows.stop),
        landmarks_px=canonical_landmarks(side_px) + (0, rows.start),
        confidence=1,
    )


def _regions(weight: Alpha) -> tuple[Region, ...]:
    y, x = np.nonzero(weight)
    if not y.size:
        return ()
    box_px = (int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1)
    return (Region(box_px, y.size / weight.size),)

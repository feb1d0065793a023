"""The product as a library: a model, ready to reconstruct photos and ready crops."""

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path
from typing import IO, TypeAlias, overload

import numpy as np
from PIL import Image as PillowImage

from facemend.detection import Detector, Face
from facemend.detection.detector import MIN_CONFIDENCE, MIN_SIZE_PX
from facemend.detection.yunet import YuNet
from facemend.errors import NoFaceFound, PictureError
from facemend.files import sha256_of
from facemend.images import Image, Mask
from facemend.io import Photo, photo_of_pillow, photo_of_pixels, read_photo
from facemend.reconstruction.acceptance import HIDDEN_FACE
from facemend.reconstruction.aligned import mend_aligned
from facemend.reconstruction.model import Model
from facemend.reconstruction.options import THRESHOLD, Box, Device, Keep, Remove, Request, make_request
from facemend.reconstruction.pipeline import mend_faces, with_given
from facemend.reconstruction.provenance import Provenance
from facemend.reconstruction.results import FaceReconstruction, PillowPicture, Reconstruction
from facemend.weights import shipped_model_path

PictureFile: TypeAlias = str | Path | IO[bytes]
Source: TypeAlias = PictureFile | PillowPicture | Image


class Reconstructor:
    """A model and a face detector, ready to reconstruct pictures, from several threads if need be.

    Attributes:
        model: the model file that it uses.
    """

    def __init__(
        self,
        model_path: Path | str | None = None,
        *,
        detector: Path | str | None = None,
        device: Device | str = Device.AUTO,
        threads: int | None = None,
    ) -> None:
        """Opens a model file (None: the one that comes with facemend).

        Args:
            detector: YuNet as an ONNX file, to find faces with in place of facemend's own detector.
            threads: how many threads one call may use; None leaves it to ONNX Runtime.

        Raises:
            ModelError, UsageError: as `Model` does, or the detector's file is no YuNet.
        """
        self.model = Model(model_path or shipped_model_path(), device=device, threads=threads)
        self._threads = threads
        self._yunet = None if detector is None else YuNet(Path(detector), threads=threads)
        self._detector_sha256 = None if detector is None else sha256_of(Path(detector))

    @cached_property
    def _own_detector(self) -> Detector:
        """Opened when first used: photos may have another one. Ready crops are measured with this one."""
        return Detector(threads=self._threads)

    @property
    def _detector(self) -> Detector | YuNet:
        return self._yunet or self._own_detector

    @overload
    def __call__(
        self,
        source: PictureFile | PillowPicture,
        *,
        aligned: bool = ...,
        mask: Mask | None = ...,
        remove: Remove | str = ...,
        faces: Sequence[Box] = ...,
        keep: Keep = ...,
        occlusion_threshold: float = ...,
        min_confidence: float = ...,
        strip: bool = ...,
        primary_only: bool = ...,
    ) -> Reconstruction[PillowPicture]: ...
    @overload
    def __call__(
        self,
        source: Image,
        *,
        aligned: bool = ...,
        mask: Mask | None = ...,
        remove: Remove | str = ...,
        faces: Sequence[Box] = ...,
        keep: Keep = ...,
        occlusion_threshold: float = ...,
        min_confidence: float = ...,
        strip: bool = ...,
        primary_only: bool = ...,
    ) -> Reconstruction[Image]: ...
    def __call__(
        self,
        source: Source,
        *,
        aligned: bool = False,
        mask: Mask | None = None,
        remove: Remove | str = Remove.COVERS,
        faces: Sequence[Box] = (),
        keep: Keep = (),
        occlusion_threshold: float = THRESHOLD,
        min_confidence: float = MIN_CONFIDENCE,
        strip: bool = False,
        primary_only: bool = False,
    ) -> Reconstruction[PillowPicture] | Reconstruction[Image]:
        """Reconstructs what hides the faces of a photo. No pixel outside the occlusions changes.

        Args:
            source: a path, an open binary file, a Pillow picture, or a uint8 (H, W, 3) RGB array.
            aligned: the picture is a ready crop of one face, a 178×218 CelebA frame or a square of any
                size. A square that is framed otherwise than CelebA's crops is re-aligned by the eyes.
            mask: bool, True exactly where to reconstruct, of the picture's shape at any size; None lets
                the model find it.
            remove: which class of occlusion to reconstruct, where there is no mask.
            faces: x, y, width, height in pixels of faces that the detector does not find.
            keep: regions that never change: x, y, width, height of each, or a mask of bool.
            occlusion_threshold: 0-1, what the model finds with more is an occlusion.
            min_confidence: 0-1, how sure the detector must be of a face.
            strip: leave EXIF with its place, XMP, IPTC and comments out of the file that is saved.
            primary_only: save a JPEG with further layers (MPO, Ultra HDR) as its primary picture alone.

        Raises:
            PictureError: no readable picture, or no ready crop where `aligned` says so.
            UsageError: a mask does not fit the picture, a region lies outside, or a value cannot be.
            NoFaceFound: there is a mask, and no face under it.
            ModelError: the model cannot be run.
        """
        request = make_request(
            aligned, mask, remove, faces, keep, occlusion_threshold, min_confidence, strip, primary_only
        )
        return self.answer(source, request)

    @overload
    def answer(
        self, source: PictureFile | PillowPicture, request: Request
    ) -> Reconstruction[PillowPicture]: ...
    @overload
    def answer(self, source: Image, request: Request) -> Reconstruction[Image]: ...
    @overload
    def answer(
        self, source: Source, request: Request
    ) -> Reconstruction[PillowPicture] | Reconstruction[Image]: ...
    def answer(
        self, source: Source, request: Request
    ) -> Reconstruction[PillowPicture] | Reconstruction[Image]:
        """What `__call__` does, asked for by one value."""
        photo, input_sha256 = _read(source)
        size = photo.pixels.shape[1], photo.pixels.shape[0]
        mask, kept = request.mask_for(*size, photo.name), request.kept(*size, photo.name)
        faces: Sequence[FaceReconstruction]
        threshold = request.occlusion_threshold
        if request.aligned:
            pixels, faces = mend_aligned(
                photo.pixels, self.model, self._own_detector, request.remove, mask, kept=kept,
                threshold=threshold, name=photo.name,
            )  # fmt: skip
        else:
            there = self._faces_of(photo, request)
            pixels, faces = mend_faces(
                photo.pixels, there, self.model, request.remove, mask, kept=kept, threshold=threshold,
                min_confidence=request.min_confidence,
            )  # fmt: skip
        photo = photo.with_pixels(pixels)
        if request.strip:
            photo = photo.without_metadata()
        if request.primary_only:
            photo = photo.without_layers()
        regions = tuple(face.region for face in faces if face.region)
        provenance = replace(self.provenance(input_sha256, request), regions=regions)
        if isinstance(source, np.ndarray):
            return Reconstruction(photo.pixels, tuple(faces), provenance, photo)
        return Reconstruction(photo.to_pillow(), tuple(faces), provenance, photo)

    def batch(
        self,
        sources: Iterable[PictureFile | PillowPicture],
        request: Request | None = None,
        *,
        threads: int = 2,
    ) -> Iterator[Reconstruction[PillowPicture]]:
        """Reconstructs many pictures in threads that share the model; results come in the given order.

        A picture that fails raises when its turn comes, as `__call__` does. At most `2 * threads`
        pictures are in memory at a time. Give the `Reconstructor` itself `threads=1`, so that the cores
        are shared out once. `facemend reconstruct` uses processes, which are faster for a folder.

        Args:
            request: what is asked of each (None: nothing but the defaults).
            threads: how many pictures are worked on at the same time.
        """
        asked = request or Request()
        waiting: deque[Future[Reconstruction[PillowPicture]]] = deque()
        with ThreadPoolExecutor(threads) as pool:
            try:
                for source in sources:
                    waiting.append(pool.submit(self.answer, source, asked))
                    if len(waiting) >= 2 * threads:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def provenance(self, input_sha256: str | None, request: Request) -> Provenance:
        """What a picture says that is made for this request, its regions left out."""
        options = dict(request.texts())
        if self._detector_sha256 is not None and not request.aligned:
            options["detector_sha256"] = self._detector_sha256
        return Provenance(self.model.description.name, self.model.sha256, input_sha256, options)

    def _faces_of(self, photo: Photo, request: Request) -> tuple[Face, ...]:
        # A place that may be a hidden face is one where a cover is found, or said to be.
        tells = self.model.description.finds_occlusion or request.mask is not None
        least = request.min_confidence
        if tells and least <= MIN_CONFIDENCE:  # whoever asks for more wants no doubtful faces
            least *= HIDDEN_FACE
        found = [
            face
            for face in self._detector(photo.pixels, min_confidence=least)
            if face.box_px[2] - face.box_px[0] >= MIN_SIZE_PX
        ]  # what is smaller is a pattern more often than a face
        faces = with_given(photo.pixels, found, request.faces, self._detector, photo.name)
        if request.mask is not None and not faces:
            raise NoFaceFound(
                f"{photo.name} has no face to reconstruct under the mask; say where one is with --face"
            )
        return faces


@overload
def reconstruct(
    source: PictureFile | PillowPicture,
    *,
    aligned: bool = ...,
    mask: Mask | None = ...,
    remove: Remove | str = ...,
    faces: Sequence[Box] = ...,
    keep: Keep = ...,
    occlusion_threshold: float = ...,
    min_confidence: float = ...,
    strip: bool = ...,
    primary_only: bool = ...,
) -> Reconstruction[PillowPicture]: ...
@overload
def reconstruct(
    source: Image,
    *,
    aligned: bool = ...,
    mask: Mask | None = ...,
    remove: Remove | str = ...,
    faces: Sequence[Box] = ...,
    keep: Keep = ...,
    occlusion_threshold: float = ...,
    min_confidence: float = ...,
    strip: bool = ...,
    primary_only: bool = ...,
) -> Reconstruction[Image]: ...
def reconstruct(
    source: Source,
    *,
    aligned: bool = False,
    mask: Mask | None = None,
    remove: Remove | str = Remove.COVERS,
    faces: Sequence[Box] = (),
    keep: Keep = (),
    occlusion_threshold: float = THRESHOLD,
    min_confidence: float = MIN_CONFIDENCE,
    strip: bool = False,
    primary_only: bool = False,
) -> Reconstruction[PillowPicture] | Reconstruction[Image]:
    """Reconstructs what hides the faces of a photo, with the model that comes with facemend.

    Use a `Reconstructor` for another model. Arguments and errors are those of `Reconstructor.__call__`.
    """
    request = make_request(
        aligned, mask, remove, faces, keep, occlusion_threshold, min_confidence, strip, primary_only
    )
    return _shipped().answer(source, request)


@cache
def _shipped() -> Reconstructor:
    return Reconstructor()


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

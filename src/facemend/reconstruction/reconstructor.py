"""The product as a library: a model, ready to reconstruct photos and ready crops."""

import hashlib
import inspect
import logging
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import fields, replace
from functools import cache, cached_property, partial
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
from PIL import Image as PillowImage

from facemend.detection import Detector, Face
from facemend.detection.detector import MIN_SIZE_PX
from facemend.detection.yunet import YuNet
from facemend.errors import PictureError
from facemend.files import sha256_of
from facemend.images import Image
from facemend.io import Photo, photo_of_pillow, photo_of_pixels, read_photo
from facemend.parallel import cores
from facemend.reconstruction.aligned import reconstruct_aligned
from facemend.reconstruction.model import Model
from facemend.reconstruction.options import Device, Options, options_of
from facemend.reconstruction.pipeline import add_marked_faces, reconstruct_faces
from facemend.reconstruction.provenance import Provenance
from facemend.reconstruction.results import Reconstruction
from facemend.thresholds import THRESHOLDS
from facemend.weights import shipped_model_path

Source: TypeAlias = str | Path | IO[bytes] | PillowImage.Image | Image
"""A path, an open binary file, a Pillow image, or a uint8 (H, W, 3) RGB array."""
_LOG = logging.getLogger("facemend")


class Reconstructor:
    """A model and a face detector, ready to reconstruct pictures. Several threads may share one.

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
            threads: how many threads one call may use. None for all cores, which `batch` divides.

        Raises:
            ModelError, UsageError: as `Model` does, or the detector's file is not a YuNet.
        """
        self.model = Model(model_path or shipped_model_path(), device=device, threads=threads)
        self._threads = threads
        self._with_threads = partial(Reconstructor, model_path, detector=detector, device=device)
        self._yunet = None if detector is None else YuNet(Path(detector), threads=threads)
        self._detector_sha256 = None if detector is None else sha256_of(Path(detector))

    @cached_property
    def _own_detector(self) -> Detector:
        """Opened when first used. Photos may have another one, and ready crops always use this one."""
        return Detector(threads=self._threads)

    @property
    def _detector(self) -> Detector | YuNet:
        return self._yunet or self._own_detector

    def __call__(self, source: Source, options: Options | None = None, /, **changes: Any) -> Reconstruction:
        """Reconstructs what hides the faces of a photo. No pixel outside the occlusions changes.

        Args:
            source: a path, an open binary file, a Pillow image, or a uint8 (H, W, 3) RGB array.
            options: what to do (None: the defaults of `Options`).
            changes: fields of `Options` with other values, such as `aligned=True`.

        Raises:
            PictureError: the source cannot be read, or is not a ready crop where `aligned` says so.
            UsageError: an unknown option, a value out of range, a mask of another shape than the picture,
                or a region outside of it.
            NoFaceFound: there is a mask, and no face under it.
            ModelError: the model cannot be run.
        """
        options = options_of(options, changes)
        photo, input_sha256 = _read(source)
        if options.aligned:
            pixels, faces = reconstruct_aligned(
                photo.pixels, self.model, self._own_detector, options, name=photo.name
            )
        else:
            found = self._faces_of(photo, options)
            pixels, faces = reconstruct_faces(photo.pixels, found, self.model, options, name=photo.name)
        photo = photo.with_pixels(pixels)
        if options.strip:
            photo = photo.without_metadata()
        if options.primary_only:
            photo = photo.without_layers()
        regions = tuple(face.region for face in faces if face.region)
        provenance = replace(self.provenance(input_sha256, options), regions=regions)
        return Reconstruction(photo, faces, provenance)

    def batch(
        self, sources: Iterable[Source], options: Options | None = None, *, threads: int = 2
    ) -> Iterator[Reconstruction]:
        """Reconstructs many pictures in threads that share the model. Results come in the given order.

        A picture that fails raises when its turn comes, as `__call__` does. At most `2 * threads`
        pictures are in memory at a time. If the `Reconstructor` was not given a number of threads, each
        call gets its part of the cores. `facemend reconstruct` uses processes, which are faster for a
        folder.

        Args:
            options: what to do with each (None: the defaults).
            threads: how many pictures are worked on at the same time.
        """
        divide = self._threads is None and threads > 1
        shared = self._with_threads(threads=max(1, cores() // threads)) if divide else self
        waiting: deque[Future[Reconstruction]] = deque()
        with ThreadPoolExecutor(threads) as pool:
            try:
                for source in sources:
                    waiting.append(pool.submit(shared, source, options))
                    if len(waiting) >= 2 * threads:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def provenance(self, input_sha256: str | None, options: Options) -> Provenance:
        """What a picture says that is made with these options, its regions left out."""
        texts = dict(options.to_texts())
        if self._detector_sha256 is not None and not options.aligned:
            texts["detector_sha256"] = self._detector_sha256
        return Provenance(self.model.description.name, self.model.sha256, input_sha256, texts)

    def _faces_of(self, photo: Photo, options: Options) -> tuple[Face, ...]:
        """The faces of a photo, with those that may be hidden whole where an occlusion can be located."""
        least = options.min_confidence
        locates = self.model.description.finds_occlusion or options.mask is not None
        if locates and least <= THRESHOLDS.min_confidence:  # whoever asks for more wants no doubtful faces
            least *= THRESHOLDS.hidden_face
        found = []
        for face in self._detector(photo.pixels, min_confidence=least):
            width_px = face.box_px[2] - face.box_px[0]
            if width_px >= MIN_SIZE_PX:
                found.append(face)
            else:  # a pattern more often than a face
                _LOG.info(
                    "%s: face of %.0f px is left alone: narrower than %g px",
                    photo.name, width_px, MIN_SIZE_PX,
                )  # fmt: skip
        if not found:
            _LOG.info("%s: no face is found with a confidence of %.2f", photo.name, least)
        return add_marked_faces(photo.pixels, found, options.faces, self._detector, photo.name)


def reconstruct(source: Source, options: Options | None = None, /, **changes: Any) -> Reconstruction:
    """Reconstructs what hides the faces of a photo, with the model that comes with facemend.

    Use a `Reconstructor` for another model. Arguments and errors are those of `Reconstructor.__call__`.
    """
    return _shipped()(source, options, **changes)


def _show_options(function: Any) -> None:
    """Lets `help` and an editor show the fields of `Options` as keyword arguments."""
    known = inspect.signature(function)
    names = [each for each in known.parameters.values() if each.kind is not each.VAR_KEYWORD]
    names += [
        inspect.Parameter(
            each.name, inspect.Parameter.KEYWORD_ONLY, default=each.default, annotation=each.type
        )
        for each in fields(Options)
    ]
    function.__signature__ = known.replace(parameters=names)


_show_options(Reconstructor.__call__)
_show_options(reconstruct)


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

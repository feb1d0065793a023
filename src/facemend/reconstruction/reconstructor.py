"""The product as a library: a model, ready to reconstruct photos and ready crops."""

import hashlib
import inspect
import logging
import math
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from functools import cache, cached_property, partial
from html import escape
from io import BytesIO, TextIOBase
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage

from facemend.alignment import FRAME_LANDMARKS_PX, Points
from facemend.detection import Detector, Face
from facemend.detection.detector import MIN_SIZE_PX
from facemend.errors import ModelError, UsageError
from facemend.files import sha256_of, written_whole
from facemend.images import Alpha, Image
from facemend.io import (
    SUFFIXES,
    Format,
    Photo,
    encode_photo,
    format_named,
    photo_of_array,
    photo_of_pillow,
    read_photo,
)
from facemend.parallel import cores
from facemend.reconstruction.aligned import reconstruct_aligned
from facemend.reconstruction.blending import heat_map
from facemend.reconstruction.model import Model, shipped_model_path
from facemend.reconstruction.options import (
    FIND_OPTIONS,
    Box,
    Device,
    Options,
    find_options_of,
    options_of,
)
from facemend.reconstruction.pipeline import FaceReconstruction, reconstruct_faces
from facemend.reconstruction.provenance import OF_A_MASK, Credentials, Provenance, sign
from facemend.thresholds import THRESHOLDS

if TYPE_CHECKING:
    from facemend.detection.yunet import YuNet
    from facemend.reconstruction.find import Findings

Source: TypeAlias = str | Path | IO[bytes] | bytes | PillowImage.Image | npt.NDArray[np.uint8]
"""A path, an open binary file, a file's bytes, a Pillow image, or a uint8 array: (H, W) gray, (H, W, 3) RGB
or (H, W, 4) RGBA."""
_LOG = logging.getLogger("facemend")


_SHOWN_PX = 320  # in a notebook


@dataclass(frozen=True, repr=False)
class Reconstruction:
    """A picture whose faces were reconstructed. In a notebook it shows itself.

    Attributes:
        photo: the picture, with everything that the input's file held beside its pixels.
        faces: one entry a face, the largest first, also of those that the options leave alone. Empty if
            none was found.
        provenance: how it was made.
        credentials: what its file is signed with (C2PA), or None.
    """

    photo: Photo
    faces: tuple[FaceReconstruction, ...]
    provenance: Provenance
    credentials: Credentials | None = None

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

    @property
    def doubt(self) -> Image:
        """uint8 (H, W, 3) RGB: `FaceReconstruction.interval` of all faces as a heat map, see `heat_map`.

        Raises:
            ModelError: the model does not say how sure it is.
        """
        interval = np.zeros(self.photo.pixels.shape[:2], dtype=np.float32)
        weight = np.zeros_like(interval)
        for face in self.faces:
            if not face.changed:
                continue
            if face.interval is None:
                raise ModelError(
                    f"the model {self.provenance.model} does not say how sure it is; use another --model"
                )
            interval[face.box] = np.maximum(interval[face.box], face.interval)
            weight[face.box] = np.maximum(weight[face.box], face.weight)
        return heat_map(self.photo.pixels, interval, weight)

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
        if not isinstance(path, Path | str):
            if not _takes_bytes(path):
                raise UsageError(f"save takes a path or an open binary file, not {type(path).__name__}")
            kind = self.photo.format if self.photo.format in SUFFIXES.values() else Format.PNG
            path.write(self.encode(kind, strip=strip))
            return
        path = Path(path)
        data = self.encode(format_named(path), strip=strip)
        with written_whole(path, force=force, most_mode=self.photo.file_mode) as temporary:
            temporary.write_bytes(data)

    def encode(self, kind: Format | None = None, *, strip: bool = False) -> bytes:
        """The bytes of the file that `save` writes. None is the format that the picture came in.

        Raises:
            OutputError, UsageError: as `save` does, or the certificate is refused.
        """
        kind = kind or self.photo.format
        data = encode_photo(self.photo, kind, note=self.provenance.to_note(), strip=strip)
        if self.credentials is None or not self.changed:
            return data
        photo = self.photo.without_metadata() if strip else self.photo
        before = replace(photo, pixels=self.before)
        return sign(data, kind, before, self.provenance, self.credentials)

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
    x1, y1, x2, y2 = done.face.box_px
    line = f"{x2 - x1:.0f}×{y2 - y1:.0f} px at {x1:.0f}, {y1:.0f}, confidence {done.face.confidence:.2f}: "
    if not done.changed:
        return line + "no occlusion, unchanged"
    line += f"{done.coverage:.1%} of the picture reconstructed"
    levels = done.interval_levels
    return line if levels is None else f"{line}, ± {levels:.0f} of 255 levels"


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
        credentials: Credentials | None = None,
    ) -> None:
        """Opens a model file (None: the one that comes with facemend).

        Args:
            detector: YuNet as an ONNX file, to find faces with in place of facemend's own detector.
            threads: how many threads one call may use. None for all cores, which `batch` divides.
            credentials: what files are signed with (`read_credentials`). None writes no C2PA manifest.

        Raises:
            ModelError, UsageError: as `Model` does, or the detector's file is not a YuNet.
        """
        self.model = Model(model_path or shipped_model_path(), device=device, threads=threads)
        self._threads = threads
        self._with_threads = partial(
            Reconstructor, model_path, detector=detector, device=device, credentials=credentials
        )
        self._credentials = credentials
        self._yunet = None if detector is None else _open_yunet(Path(detector), threads)
        self._detector_sha256 = None if detector is None else sha256_of(Path(detector))

    @cached_property
    def _own_detector(self) -> Detector:
        """Opened when first used. Photos may have another one, and ready crops always use this one."""
        return Detector(threads=self._threads)

    @property
    def _detector(self) -> "Detector | YuNet":
        return self._yunet or self._own_detector

    def __call__(self, source: Source, options: Options | None = None, /, **changes: Any) -> Reconstruction:
        """Reconstructs what hides the faces of a photo. No pixel outside the occlusions changes.

        Args:
            source: a path, an open binary file, a file's bytes, a Pillow image, or a uint8 array: (H, W) or
                (H, W, 1) gray, (H, W, 3) RGB, (H, W, 4) RGBA.
            options: what to do (None: the defaults of `Options`).
            changes: fields of `Options` with other values, such as `aligned=True`.

        Raises:
            PictureError: the source cannot be read, or is not a ready crop where `aligned` says so.
            UsageError: an unknown option, a value out of range, a mask of another shape than the picture,
                or a region outside of it.
            NoFaceFound: there is a mask, and no face under it.
            ModelError: the model cannot be run.
        """
        if changes or options is None:
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
        regions = tuple(region for face in faces if (region := face.region))
        provenance = replace(self.provenance(input_sha256, options), regions=regions)
        return Reconstruction(photo, faces, provenance, self._credentials)

    def find(self, source: Source, options: Options | None = None, /, **changes: Any) -> "Findings":
        """Finds what hides the faces of a photo, and reconstructs nothing.

        Args:
            source: as `__call__` takes it.
            options: those of `FIND_OPTIONS` (None: their defaults).
            changes: such fields with other values, such as `occlusion_threshold=0.3`.

        Raises:
            PictureError, UsageError, ModelError: as `__call__` does, or the model finds no occlusion, or
                an option is about the reconstruction.
        """
        from facemend.reconstruction.find import Findings, find_in_aligned, find_in_photo

        options = find_options_of(options, changes)
        photo, input_sha256 = _read(source)
        image, name = photo.pixels, photo.name
        if options.aligned:
            faces = find_in_aligned(image, self.model, self._own_detector, options, name)
        else:
            faces = find_in_photo(image, self._faces_of(photo, options), self.model, options, name)
        height_px, width_px = image.shape[:2]
        made = self.mask_provenance(input_sha256, options)
        return Findings(width_px, height_px, faces, options, made, photo.file_mode)

    def mask_provenance(self, input_sha256: str | None, options: Options) -> Provenance:
        """What a mask says that `find` found with these options."""
        made = self.provenance(input_sha256, options)
        texts = {key: value for key, value in made.options.items() if key != "remove"}
        return replace(made, options={**texts, **OF_A_MASK})

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
        if self._credentials is not None:
            texts["c2pa_certificate_sha256"] = self._credentials.sha256
        return Provenance(self.model.description.name, self.model.sha256, input_sha256, texts)

    def _faces_of(self, photo: Photo, options: Options) -> tuple[Face, ...]:
        """The faces of a photo, and those that the user marks."""
        found = self.detect(photo.pixels, options, everywhere=True, name=photo.name)
        return add_marked_faces(photo.pixels, found, options.faces, self._detector, photo.name)

    def detect(
        self, pixels: Image, options: Options, *, everywhere: bool = False, name: str = "the picture"
    ) -> list[Face]:
        """The faces of a picture, with those that may be hidden whole where an occlusion can be located.

        Args:
            pixels: uint8 (H, W, 3) RGB.
            everywhere: whether small faces of a panorama, and those of a picture that lies on its side, are
                searched for as well. That takes several times as long where no sure face is found.
            name: what the log calls the picture.

        Raises:
            ModelError: the detector cannot be run.
        """
        least = options.min_confidence
        locates = self.model.description.finds_occlusion or options.mask is not None
        if locates and least <= THRESHOLDS.min_confidence:  # whoever asks for more wants no doubtful faces
            least *= THRESHOLDS.hidden_face
        found = []
        faces = (
            search_faces(pixels, self._detector, least)
            if everywhere
            else self._detector(pixels, min_confidence=least)
        )
        for face in faces:
            width_px = face.box_px[2] - face.box_px[0]
            if width_px >= MIN_SIZE_PX:
                found.append(face)
            else:  # a pattern more often than a face
                _LOG.info(
                    "%s: face of %.0f px is left alone: narrower than %g px",
                    name, width_px, MIN_SIZE_PX,
                )  # fmt: skip
        if not found:
            _LOG.info("%s: no face is found with a confidence of %.2f", name, least)
        return found


def reconstruct(source: Source, options: Options | None = None, /, **changes: Any) -> Reconstruction:
    """Reconstructs what hides the faces of a photo, with the model that comes with facemend.

    Use a `Reconstructor` for another model. Arguments and errors are those of `Reconstructor.__call__`.
    """
    return shipped()(source, options, **changes)


def find(source: Source, options: Options | None = None, /, **changes: Any) -> "Findings":
    """Finds what hides the faces of a photo, with the model that comes with facemend: the masks alone.

    Use a `Reconstructor` for another model. Arguments and errors are those of `Reconstructor.find`.
    """
    return shipped().find(source, options, **changes)


def _show_options(function: Any, shown: Container[str] | None = None) -> None:
    """Lets `help` and an editor show fields of `Options` as keyword arguments. None shows all."""
    known = inspect.signature(function)
    names = [each for each in known.parameters.values() if each.kind is not each.VAR_KEYWORD]
    names += [
        inspect.Parameter(
            each.name, inspect.Parameter.KEYWORD_ONLY, default=each.default, annotation=each.type
        )
        for each in fields(Options)
        if shown is None or each.name in shown
    ]
    function.__signature__ = known.replace(parameters=names)


_show_options(Reconstructor.__call__)
_show_options(reconstruct)
_show_options(Reconstructor.find, FIND_OPTIONS)
_show_options(find, FIND_OPTIONS)


def _open_yunet(path: Path, threads: int | None) -> "YuNet":
    from facemend.detection.yunet import YuNet  # seldom needed

    return YuNet(path, threads=threads)


@cache
def shipped() -> Reconstructor:
    """The model that comes with facemend, opened once."""
    return Reconstructor()


def _takes_bytes(file: Any) -> bool:
    is_open = hasattr(file, "write") and not getattr(file, "closed", False)
    return is_open and not isinstance(file, TextIOBase)


def _read(source: Source) -> tuple[Photo, str | None]:
    """The photo, and the sha256 of its file if it was one."""
    if isinstance(source, np.ndarray):
        return photo_of_array(source, "the array"), None
    if isinstance(source, PillowImage.Image):
        return photo_of_pillow(source), None
    if not (isinstance(source, str | Path | bytes) or hasattr(source, "read")):
        raise UsageError(
            f"a photo is a path, an open binary file, its bytes, a Pillow image or an array, not "
            f"{type(source).__name__}"
        )
    photo = read_photo(Path(source) if isinstance(source, str) else source)
    return photo, hashlib.sha256(photo.source or b"").hexdigest()


_CLEARLY = 0.1  # by how much more confident a turned photo has to make the detector
_PANORAMA, _TILE, _TILE_STEP, _SCANNED_PX = 2.5, 2.0, 1.5, 1280
"""A photo so much longer than wide, and longer than what is scanned, is searched in tiles: their length and
their distance in widths of the photo."""
_MOST_TILES = 64


def search_faces(photo: Image, detect: "Detect", least: float) -> tuple[Face, ...]:
    """The faces of a photo, those of a panorama and of a photo that lies on its side or upside down, too.

    Where no sure face is found, the photo is turned by quarters. The way in which one is surest counts.

    Args:
        photo: (H, W, 3).
        least: the confidence from which a face counts.
    """
    found = _search_tiles(photo, detect, least)
    surest = max((face.confidence for face in found), default=0.0)
    if surest >= THRESHOLDS.sure_location:
        return found
    needed = max(THRESHOLDS.turned, surest + _CLEARLY)
    for quarters in (1, 3, 2):
        turned = detect(np.ascontiguousarray(np.rot90(photo, quarters)), min_confidence=least)
        confidence = max((face.confidence for face in turned), default=0.0)
        if confidence >= needed:
            needed, found = confidence, tuple(_turned_back(face, quarters, photo) for face in turned)
    return found


def _search_tiles(photo: Image, detect: "Detect", least: float) -> tuple[Face, ...]:
    shape = photo.shape[:2]
    short, long = sorted(shape)
    if long <= max(_SCANNED_PX, _PANORAMA * short):
        return detect(photo, min_confidence=least)
    count = math.ceil((long - _TILE * short) / (_TILE_STEP * short)) + 1
    if count > _MOST_TILES:  # it is a line, and no panorama
        return detect(photo, min_confidence=least)
    faces: list[Face] = []
    for start in np.linspace(0, long - _TILE * short, count).round().astype(int).tolist():
        corner = np.array([start, 0] if shape[1] == long else [0, start])
        end = corner[::-1] + min(long, round(_TILE * short))
        tile = np.ascontiguousarray(photo[corner[1] : end[0], corner[0] : end[1]])
        faces += [_shifted(face, corner) for face in detect(tile, min_confidence=least)]
    faces.sort(key=lambda face: -face.confidence)
    kept: list[Face] = []
    for face in faces:
        if all(_overlap(np.array(face.box_px), other) <= _SAME for other in kept):
            kept.append(face)
    return tuple(sorted(kept, key=lambda face: face.box_px[0] - face.box_px[2]))


def _turned_back(face: Face, quarters: int, photo: Image) -> Face:
    """A face of a photo turned by quarters, counterclockwise, as it lies in the photo."""
    last_y, last_x = (side - 1 for side in photo.shape[:2])

    def back(points: Points) -> Points:
        x, y = points.T
        return np.stack({1: (last_x - y, x), 2: (last_x - x, last_y - y), 3: (y, last_y - x)}[quarters], 1)

    corners = back(np.array(face.box_px).reshape(2, 2))
    (x1, y1), (x2, y2) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    return Face((x1, y1, x2, y2), back(face.landmarks_px), face.confidence)


Detect = Callable[..., tuple[Face, ...]]
"""(image, min_confidence=…, min_size_px=…) → faces."""
_DOUBTFUL = 0.05  # the confidence that is enough where the user says that there is a face
_SAME = 0.35  # intersection over union of two boxes of one face
_MARGIN = 0.5  # of the close view, in widths and heights of the face
_TYPICAL_PX = np.array([43.0, 70.0, 135.0, 191.0])
"""The detector's box of an upright face in CelebA's frame, which a box drawn by hand is taken for."""


def add_marked_faces(
    photo: Image, found: Sequence[Face], boxes: Sequence[Box], detect: Detect, name: str
) -> tuple[Face, ...]:
    """The faces found and those that the user marks. One that is both is there once.

    Args:
        photo: (H, W, 3).
        name: what an error calls the photo.

    Raises:
        UsageError: a box lies outside the photo.
    """
    faces = list(found)
    for x, y, width, height in boxes:
        box = np.array([x - 0.5, y - 0.5, x + width - 0.5, y + height - 0.5])
        if (box[2:] <= 0).any() or (box[:2] >= photo.shape[1::-1]).any():
            raise UsageError(f"the face {x:g},{y:g},{width:g},{height:g} lies outside {name}")
        same = [face for face in faces if _overlap(box, face) > _SAME]
        faces = [face for face in faces if _overlap(box, face) <= _SAME]
        faces.append(
            replace(same[0], confidence=1.0, marked=True) if same else _find_in_box(photo, box, detect)
        )
    return tuple(faces)


def _find_in_box(photo: Image, box: Points, detect: Detect) -> Face:
    """The face in a box, by the landmarks that the detector sees there, or by those of a typical face."""
    size = box[2:] - box[:2]
    low = np.floor(box[:2] - _MARGIN * size).clip(0).astype(int)
    high = np.ceil(box[2:] + _MARGIN * size).astype(int)
    close = np.ascontiguousarray(photo[low[1] : high[1], low[0] : high[0]])
    faces = [
        _shifted(face, low)
        for face in detect(close, min_confidence=_DOUBTFUL, min_size_px=max(12.0, float(size.min()) / 2))
    ]
    best = max(faces, key=lambda face: _overlap(box, face), default=None)
    if best is not None and _overlap(box, best) > _SAME:
        return replace(best, confidence=1.0, marked=True)
    scale = size / (_TYPICAL_PX[2:] - _TYPICAL_PX[:2])
    # One scale for x and y: a wide box is a face with its ears, not a broad one.
    landmarks = (box[:2] + box[2:]) / 2 + (
        FRAME_LANDMARKS_PX - (_TYPICAL_PX[:2] + _TYPICAL_PX[2:]) / 2
    ) * float(np.sqrt(scale.prod()))
    x1, y1, x2, y2 = box.tolist()
    return Face((x1, y1, x2, y2), landmarks, 1.0, marked=True)


def _shifted(face: Face, by: Points) -> Face:
    x1, y1, x2, y2 = (np.array(face.box_px) + np.tile(by, 2)).tolist()
    return Face((x1, y1, x2, y2), face.landmarks_px + by, face.confidence)


def _overlap(box: Points, face: Face) -> float:
    other = np.array(face.box_px)
    sides = (np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2])).clip(0)
    common = float(sides.prod())
    areas = float((box[2:] - box[:2]).prod() + (other[2:] - other[:2]).prod())
    return common / (areas - common)

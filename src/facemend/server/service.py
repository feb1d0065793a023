"""What a worker does with a photo: checks it, reconstructs its faces, makes the response."""

import json
import re
import time
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from io import BytesIO

import numpy as np

from facemend import io
from facemend.alignment import view_of
from facemend.errors import NoFaceFound, PictureError, reason_of
from facemend.images import Alpha, Image, Mask
from facemend.io import MAX_PIXELS, Format, Photo, encode_photo, format_of, read_photo
from facemend.io.formats import DAMAGED, HEIC_PACKAGE, SUFFIXES, open_photo
from facemend.io.png import encode_png
from facemend.occlusion import OcclusionClass
from facemend.reconstruction.find import Findings
from facemend.reconstruction.pipeline import FaceReconstruction
from facemend.reconstruction.provenance import NOTICE, Provenance
from facemend.reconstruction.reconstructor import Reconstruction, Reconstructor
from facemend.server.schemas import FORMATS, MEDIA_TYPES, Base64, FormOptions, Problem
from facemend.server.settings import Limits

_SPACE = re.compile(rb"\s+")
_SCAN = b"\xff\xda"  # inside of a JPEG's coded pixels, 0 follows every 255


class NamedBytes(BytesIO):
    """A file in memory with a name for errors."""

    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(data)
        self.name = name


def check_head(data: bytes, name: str, limits: Limits) -> tuple[int, int]:
    """Looks at what stands before the pixels: width and height in pixels, as they lie in the file.

    Raises:
        PictureError: not a picture of a format that facemend reads.
        Problem: it is larger than the limits.
    """
    kind = format_of(data)
    if kind is None:
        raise PictureError(f"{name} is not a picture; send PNG, JPEG, WebP, TIFF, AVIF, HEIC or BMP")
    try:
        with open_photo(BytesIO(data), kind) as picture:
            width_px, height_px = picture.size
            packet = picture.info.get("xmp")
    except ImportError as error:
        message = f"{name} is HEIC, which this server does not read; send JPEG or PNG"
        raise PictureError(f"{message}, or add {HEIC_PACKAGE}") from error
    except DAMAGED as error:
        raise PictureError(f"{name} cannot be read as a picture: {reason_of(error)}") from error
    if width_px * height_px > min(limits.pixels, MAX_PIXELS):
        raise _too_large(f"{name} is {width_px}×{height_px}, more than {limits.pixels / 1e6:g} megapixels")
    if max(width_px, height_px) > limits.side_px:
        raise _too_large(f"{name} is {width_px}×{height_px}, more than {limits.side_px} pixels on a side")
    if kind is Format.JPEG and data.count(_SCAN) > limits.scans:
        raise _too_large(f"{name} draws its pixels in more than {limits.scans} passes")
    if (
        isinstance(packet, bytes)
        and max(map(len, _SPACE.findall(packet)), default=0) > limits.padding_bytes
    ):
        raise _too_large(f"{name} has XMP with more than {limits.padding_bytes} bytes of padding")
    return width_px, height_px


def read_mask(data: bytes, limits: Limits) -> Mask:
    """Reads a mask as `io.read_mask` does: bool (H, W), True marks pixels for reconstruction.

    Raises:
        PictureError, Problem: as `check_head` and `read_photo` do.
    """
    check_head(data, "the mask", limits)
    return io.read_mask(data, name="the mask", max_pixels=limits.pixels)


def _too_large(what: str) -> Problem:
    return Problem(413, "too_large", f"{what}; send a smaller one")


_NAME = "the photo"
_PASSED = ("grow", "feather", "largest", "min_face", "max_face")
"""Fields of a form that are fields of `Options`, as they are."""


@dataclass(frozen=True)
class ReconstructionRequest:
    """A request for a reconstruction.

    Attributes:
        photo: a file's bytes.
        mask: a picture's, white = reconstruct. None lets the model find it.
        options: of the form.
    """

    photo: bytes
    mask: bytes | None
    options: FormOptions


@dataclass(frozen=True)
class ReconstructedFace:
    """A face of a photo.

    Attributes:
        number: see `FaceReconstruction`.
        done: what was done to it.
        chosen: whether the request lets it be worked on.
        reach_px: (x, y) of the four corners of what a mask may mark for it. Empty for a ready crop.
        stays: what hides a part of it too, and was not to be removed.
    """

    number: int
    done: FaceReconstruction
    chosen: bool
    reach_px: tuple[tuple[float, float], ...]
    stays: tuple[OcclusionClass, ...]

    @property
    def changed(self) -> bool:
        """Whether anything of it was reconstructed."""
        return self.chosen and self.done.changed


@dataclass(frozen=True)
class ReconstructedPhoto:
    """A photo whose faces were reconstructed, ready to be sent.

    Attributes:
        photo: the delivered one.
        before: the photo as it came, as a PNG. None unless the request wants it.
        picture: the delivered one's file.
        kind: and its format.
        faces: all that were found, the largest first.
        provenance: how it was made.
        work_s: how long it took.
    """

    photo: Photo
    before: bytes | None
    picture: bytes
    kind: Format
    faces: tuple[ReconstructedFace, ...]
    provenance: Provenance
    work_s: float

    @property
    def outcome(self) -> str:
        """What became of the photo: `reconstructed`, `unchanged` or `no_face`."""
        if not self.faces:
            return "no_face"
        return "reconstructed" if any(face.changed for face in self.faces) else "unchanged"


def reconstruct(
    reconstructor: Reconstructor, request: ReconstructionRequest, limits: Limits
) -> ReconstructedPhoto:
    """Reconstructs a photo's faces, in the calling thread.

    Raises:
        Problem: the photo or the mask is larger than the limits, or there is no such face.
        FacemendError: as `Reconstructor.__call__` and `encode_photo` do.
    """
    began = time.monotonic()
    options = request.options
    check_head(request.photo, _NAME, limits)
    try:
        found = reconstructor(
            NamedBytes(request.photo, _NAME),
            aligned=options.aligned,
            mask=None if request.mask is None else read_mask(request.mask, limits),
            faces=options.face,
            remove=options.remove,
            **{name: getattr(options, name) for name in _PASSED},
        )
    except NoFaceFound as error:
        # The library's message names an option of the command line.
        message = "the photo has no face under the mask; say where one is with face=x,y,width,height"
        raise Problem(422, "no_face", message) from error
    photo, provenance = found.photo, found.provenance
    numbers = [face.number for face in found.faces]
    chosen = frozenset(numbers if options.faces is None else options.faces)
    before = None
    if options.faces is not None or options.before:
        original = read_photo(request.photo, name=_NAME, max_pixels=limits.pixels)
        before = encode_photo(replace(original, source=None), Format.PNG) if options.before else None
        if not chosen.issuperset(numbers) or not chosen.issubset(numbers):
            photo, provenance = _only(original, found, chosen)
    kind = _kind_of(request, photo)
    picture = encode_photo(photo, kind, note=provenance.to_note(), strip=options.strip)
    side_px = reconstructor.model.description.size_px
    faces = tuple(
        ReconstructedFace(
            number,
            face,
            number in chosen and face.chosen,
            () if options.aligned else _reach(photo, face, side_px),
            () if request.mask or options.answer == "picture" else face.stays,
        )
        for number, face in zip(numbers, found.faces, strict=True)
    )
    return ReconstructedPhoto(photo, before, picture, kind, faces, provenance, time.monotonic() - began)


def _only(original: Photo, result: Reconstruction, chosen: frozenset[int]) -> tuple[Photo, Provenance]:
    """The photo with these faces alone reconstructed, and how that was made."""
    by_number = {face.number: face for face in result.faces}
    unknown = sorted(chosen.difference(by_number))
    if unknown:
        found = ", ".join(map(str, by_number)) or "none"
        raise Problem(422, "no_such_face", f"there is no face {unknown[0]}; found: {found}")
    pixels, regions = original.pixels.copy(), []
    for number in sorted(chosen):
        face = by_number[number]
        touched = face.weight > 0
        pixels[face.box][touched] = result.photo.pixels[face.box][touched]
        if face.region is not None:
            regions.append(face.region)
    options = {**result.provenance.options, "only": ",".join(map(str, sorted(chosen)))}
    made = replace(result.provenance, regions=tuple(regions), options=options)
    return original.with_pixels(pixels), made


def _kind_of(request: ReconstructionRequest, photo: Photo) -> Format:
    if request.options.format is not None:
        return FORMATS[request.options.format]
    return photo.format if photo.format in SUFFIXES.values() else Format.PNG


def _reach(photo: Photo, face: FaceReconstruction, side_px: int) -> tuple[tuple[float, float], ...]:
    """The corners of the face's crop, as they lie in the photo, one after the other around it."""
    view = view_of(photo.pixels, face.face.landmarks_px, side_px)
    if view is None:
        return ()
    last = side_px - 1
    corners = np.array([(0, 0, 1), (last, 0, 1), (last, last, 1), (0, last, 1)], dtype=np.float64)
    return tuple((round(x, 1), round(y, 1)) for x, y in (corners @ view.crop.crop_to_photo.T).tolist())


@dataclass(frozen=True)
class FoundPhoto:
    """What was found in a photo, ready to be sent.

    Attributes:
        findings: all of it.
        content: the response.
        work_s: how long it took.
    """

    findings: Findings
    content: "Content"
    work_s: float


def find(
    reconstructor: Reconstructor, photo: bytes, options: Mapping[str, object], limits: Limits
) -> FoundPhoto:
    """Finds the occlusions of a photo, in the calling thread.

    Args:
        options: the fields of a form of the shape of `FindOptions`.

    Raises:
        Problem: the photo is larger than the limits.
        FacemendError: as `Reconstructor.find` does.
    """
    began = time.monotonic()
    check_head(photo, _NAME, limits)
    values = dict(options)
    answer = str(values.pop("answer"))
    values["only"] = values.pop("faces", None) or ()
    found = reconstructor.find(NamedBytes(photo, _NAME), **values)
    if answer == "json":
        masks = {str(each): b64encode(found.png(each)).decode() for each in OcclusionClass}
        body = json.dumps(found.to_json() | {"masks": masks}, allow_nan=False).encode()
        content = Content(body, "application/json")
    else:
        content = Content(found.png(answer), "image/png", {"Facemend-Faces": str(len(found.faces))})
    return FoundPhoto(found, content, time.monotonic() - began)


def warm_up(reconstructor: Reconstructor) -> None:
    """Runs both networks once: the first run is the slow one."""
    side_px = reconstructor.model.description.size_px
    gray: Image = np.full((side_px, side_px, 3), 127, dtype=np.uint8)
    reconstructor(gray, aligned=True)
    reconstructor(gray)


@dataclass(frozen=True)
class Content:
    """What a successful response holds.

    Attributes:
        body: its bytes.
        media_type: what they are.
        headers: beside those that every response has.
    """

    body: bytes
    media_type: str
    headers: Mapping[str, str] = field(default_factory=dict)


def picture_response(result: ReconstructedPhoto) -> Content:
    """The picture, and in its headers what was done."""
    headers = {
        "Facemend-Outcome": result.outcome,
        "Facemend-Faces": str(len(result.faces)),
        "Facemend-Reconstructed": str(sum(face.changed for face in result.faces)),
    }
    return Content(result.picture, MEDIA_TYPES[result.kind], headers)


def json_response(result: ReconstructedPhoto) -> Content:
    """Everything, as JSON of the shape of `ReconstructionResponse`."""
    height_px, width_px = result.photo.pixels.shape[:2]
    before = None if result.before is None else _picture(result.before, "image/png")
    fields = {
        "outcome": result.outcome,
        "notice": NOTICE,
        "width_px": width_px,
        "height_px": height_px,
        "faces": [_face(face) for face in result.faces],
        "picture": _picture(result.picture, MEDIA_TYPES[result.kind]),
        "before": before,
        "provenance": asdict(result.provenance),
        "work_s": round(result.work_s, 3),
    }
    return Content(json.dumps(fields, allow_nan=False).encode(), "application/json")


def _face(face: ReconstructedFace) -> dict[str, object]:
    done = face.done
    rows, columns = done.box
    return {
        "face": face.number,
        "box_px": [round(value, 1) for value in done.face.box],
        "landmarks_px": done.face.landmarks_px.round(1).tolist(),
        "confidence": round(done.face.confidence, 3),
        "marked": done.face.marked,
        "chosen": face.chosen,
        "reconstructed": face.changed,
        "stays": [str(name) for name in face.stays],
        "coverage": done.coverage if face.changed else 0.0,
        "reach_px": face.reach_px,
        "area_px": [columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start],
        "occlusions": {str(name): _png(alpha) for name, alpha in done.occlusion.items()},
        "changed": _png((done.weight > 0).astype(np.float32)) if done.changed else None,
        "interval": None
        if done.interval is None or not done.changed
        else _png(done.interval / np.float32(255)),
        "doubt": done.doubt if face.changed else None,
    }


def _picture(data: bytes, media_type: str) -> dict[str, str]:
    return {"media_type": media_type, "base64": b64encode(data).decode()}


def _png(alpha: Alpha) -> Base64:
    return b64encode(
        encode_png(np.rint(alpha.clip(0, 1) * 255).astype(np.uint8), compress_level=1)
    ).decode()

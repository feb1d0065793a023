"""A photo in memory: its pixels as they are displayed, and what else its file holds."""

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage

from facemend.errors import PictureError
from facemend.images import Image
from facemend.io.formats import Format
from facemend.io.xmp import LAYER_SPACES

Opacity = npt.NDArray[np.uint8]
"""(H, W), 0 = transparent, 255 = opaque."""

_TURNS = {
    2: PillowImage.Transpose.FLIP_LEFT_RIGHT,
    3: PillowImage.Transpose.ROTATE_180,
    4: PillowImage.Transpose.FLIP_TOP_BOTTOM,
    5: PillowImage.Transpose.TRANSPOSE,
    6: PillowImage.Transpose.ROTATE_270,
    7: PillowImage.Transpose.TRANSVERSE,
    8: PillowImage.Transpose.ROTATE_90,
}
"""From the stored picture to the displayed one, by EXIF orientation."""
_OPPOSITE = {6: 8, 8: 6}
_GRAY_AXES = ((), (1,))
_AXES = (*_GRAY_AXES, (3,), (4,))
"""Of an array, behind height and width."""


@dataclass(frozen=True)
class Metadata:
    """What a file says about its pixels, byte for byte. None where it says nothing.

    Attributes:
        icc: colour profile.
        exif: a TIFF structure, without the `Exif` that some formats put before it.
        xmp: a packet.
        dpi: pixels an inch, in x and in y.
    """

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None


@dataclass(frozen=True)
class Photo:
    """A photo, H×W pixels as displayed.

    Attributes:
        pixels: uint8 (H, W, 3) RGB, upright: the orientation is applied.
        opacity: uint8 (H, W), upright. None if the file has none.
        gray: whether the file is grayscale. `pixels` then has three equal channels.
        format: what kind of file it is.
        orientation: EXIF's 1-8, how its pixels lie in the file.
        metadata: what the file says about its pixels.
        source: the file. None if it was none.
        name: what an error calls it.
        changed: whether the pixels differ from the file's.
        stripped: whether a file made of it leaves out what the source says beside colour and resolution.
        layered: whether the file holds more that belongs to these very pixels: a gain map (Ultra HDR),
            further pictures (MPO), a depth map, a video, Photoshop's layers, or anything behind its end.
            `pixels` are those of the primary picture.
        file_mode: the permissions of the file. What is made of it is as private.
        array_axes: the axes behind height and width of the array that it comes from. None if it was none.
    """

    pixels: Image
    opacity: Opacity | None = None
    gray: bool = False
    format: Format = Format.PNG
    orientation: int = 1
    metadata: Metadata = field(default_factory=Metadata)
    source: bytes | None = field(default=None, repr=False)
    name: str = "the picture"
    changed: bool = False
    stripped: bool = False
    layered: bool = False
    file_mode: int = 0o777
    array_axes: tuple[int, ...] | None = None

    def with_pixels(self, pixels: Image) -> "Photo":
        """The same photo with other pixels, uint8 (H, W, 3) RGB, upright. A gray photo turns them gray.

        Raises:
            ValueError: they have another type or size.
        """
        if pixels.dtype != np.uint8 or pixels.shape != self.pixels.shape:
            raise ValueError(f"pixels are {pixels.dtype} {pixels.shape}, not uint8 {self.pixels.shape}")
        if self.gray:
            pixels = np.asarray(PillowImage.fromarray(pixels).convert("L").convert("RGB"))
        changed = self.changed or not np.array_equal(pixels, self.pixels)
        return replace(self, pixels=pixels, changed=changed)

    def without_metadata(self) -> "Photo":
        """The same photo without EXIF, XMP, IPTC and comments. The colour profile and the resolution
        stay, and its pixels will lie upright in the file, since nothing tells how to turn them."""
        kept = Metadata(icc=self.metadata.icc, dpi=self.metadata.dpi)
        return replace(self, orientation=1, metadata=kept, stripped=True)

    def without_layers(self) -> "Photo":
        """The primary picture alone, and without the XMP packet if that tells where the layers lie."""
        if not self.layered:
            return self
        xmp = self.metadata.xmp
        told = xmp is not None and any(space in xmp for space in LAYER_SPACES)
        return replace(self, layered=False, metadata=replace(self.metadata, xmp=None if told else xmp))

    def own_source(self, kind: Format) -> bytes | None:
        """The file that it came from, if it is of this kind: a new one of the kind takes after it."""
        return self.source if self.format is kind else None

    def to_array(self) -> npt.NDArray[np.uint8]:
        """The photo as displayed: (H, W, 3) RGB, or as the array was that it comes from."""
        match self.array_axes:
            case () | (1,):
                return self.pixels[..., :1].reshape(*self.pixels.shape[:2], *self.array_axes)
            case (4,) if self.opacity is not None:
                return np.dstack([self.pixels, self.opacity])
        return self.pixels

    def to_pillow(self) -> PillowImage.Image:
        """The photo as displayed, in mode L, LA, RGB or RGBA, with its colour profile."""
        picture = PillowImage.fromarray(self.pixels)
        if self.gray:
            picture = picture.convert("L")
        if self.opacity is not None:
            picture.putalpha(PillowImage.fromarray(self.opacity))
        if self.metadata.icc:
            picture.info["icc_profile"] = self.metadata.icc
        return picture

    def to_stored(self) -> PillowImage.Image:
        """The photo as its pixels lie in the file, in mode L, LA, RGB or RGBA, with nothing beside."""
        picture = turned(self.to_pillow(), _OPPOSITE.get(self.orientation, self.orientation))
        picture.info.clear()
        return picture


def photo_of_pixels(pixels: Image, name: str = "the picture") -> Photo:
    """A photo out of no file: uint8 (H, W, 3) RGB. It is written as PNG if nothing else is said."""
    return Photo(pixels, name=name)


def photo_of_array(array: npt.NDArray[np.uint8], name: str = "the picture") -> Photo:
    """A photo out of an array: uint8 (H, W) or (H, W, 1) gray, (H, W, 3) RGB, or (H, W, 4) RGBA.

    Raises:
        PictureError: it has another type or shape.
    """
    axes = array.shape[2:]
    if array.dtype != np.uint8 or array.ndim < 2 or axes not in _AXES or not array.size:
        raise PictureError(
            f"{name} is {array.dtype} {array.shape}; pass uint8 (H, W), (H, W, 3) RGB or (H, W, 4) RGBA"
        )
    gray = axes in _GRAY_AXES
    colours = array.reshape(*array.shape[:2], 1).repeat(3, axis=2) if gray else array[..., :3]
    opacity = np.ascontiguousarray(array[..., 3]) if axes == (4,) else None
    return Photo(np.ascontiguousarray(colours), opacity, gray, name=name, array_axes=axes)


def turned(picture: PillowImage.Image, orientation: int) -> PillowImage.Image:
    """A stored picture as EXIF's orientation, 1-8, has it displayed."""
    return picture.transpose(_TURNS[orientation]) if orientation in _TURNS else picture

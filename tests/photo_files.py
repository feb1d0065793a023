"""Photo files of every format and mode, with all that a file can hold beside its pixels."""

from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, PngImagePlugin

from facemend.io import Note

ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = (
    b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>\n<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    b'xmlns:dc="http://purl.org/dc/elements/1.1/" dc:format="image/any"/></rdf:RDF></x:xmpmeta>\n'
    b'<?xpacket end="w"?>'
)
LATITUDE = (48.0, 51.0, 29.5)
NOTE = Note("facemend 1", "Made up.", '{"a": "<&>"}', "http://cv.iptc.org/newscodes/digitalsourcetype/x")

MODES = {
    "PNG": ("RGB", "RGBA", "L", "LA", "P", "1"),
    "TIFF": ("RGB", "RGBA", "L", "LA", "P", "1"),
    "WEBP": ("RGB", "RGBA"),
    "JPEG": ("RGB", "L"),
    "AVIF": ("RGB", "RGBA", "L"),
}
"""By Pillow's name of a format, the modes that its files are read in."""


def exif(orientation: int = 1) -> bytes:
    """A block of EXIF with a camera, a place, and a maker's note."""
    block = Image.Exif()
    block[0x0112], block[0x010F] = orientation, "Camera"
    block.get_ifd(0x8825)[2] = LATITUDE
    block.get_ifd(0x8769)[0x927C] = b"note\0of\xffthe maker"
    return block.tobytes()


def latitude(block: bytes | None) -> tuple[float, ...] | None:
    """The place in a block of EXIF."""
    read = Image.Exif()
    read.load(block or b"")
    found: tuple[float, ...] | None = read.get_ifd(0x8825).get(2)
    return found


def noise(mode: str, width_px: int, height_px: int, seed: int = 0) -> Image.Image:
    """Random pixels in a mode of Pillow."""
    colours = np.random.default_rng(seed).integers(0, 256, (height_px, width_px, 4), dtype=np.uint8)
    picture = Image.fromarray(colours)
    if mode == "LA":
        return Image.merge("LA", (picture.getchannel(0), picture.getchannel(3)))
    return picture if mode == "RGBA" else picture.convert("RGB").convert(mode)


def file_of(picture: Image.Image, kind: str, *, orientation: int = 1, **options: Any) -> bytes:
    """A file with EXIF, XMP, an sRGB profile and 300 pixels an inch."""
    beside: dict[str, Any] = {"exif": exif(orientation), "icc_profile": ICC, "dpi": (300, 300), "xmp": XMP}
    if kind == "PNG":
        beside["pnginfo"] = PngImagePlugin.PngInfo()
        beside["pnginfo"].add_itxt("XML:com.adobe.xmp", XMP.decode())
    if kind == "TIFF":
        beside["exif"] = Image.Exif()
        beside["exif"].load(exif(orientation))
        beside["exif"][700] = XMP
    return plain_file_of(picture, kind, **(beside | options))


def plain_file_of(picture: Image.Image, kind: str, **options: Any) -> bytes:
    """A file with nothing but pixels, and what the options say."""
    file = BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def decoded(data: bytes) -> npt.NDArray[np.uint8]:
    """The pixels as they lie in a file, by Pillow alone: (H, W) or (H, W, C)."""
    with Image.open(BytesIO(data)) as picture:
        return np.asarray(picture)

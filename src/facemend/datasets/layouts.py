"""Files of pairs on disk: folders of pictures, or pictures side by side."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facemend.datasets.pairs import Pair
from facemend.errors import UsageError
from facemend.images import Image
from facemend.io import read_image
from facemend.io.lossy import encode_webp
from facemend.io.png import encode_png_quickly


class PictureFormat(StrEnum):
    """Lossless picture formats."""

    PNG = "png"
    WEBP = "webp"


def encode(picture: npt.NDArray[np.uint8], picture_format: PictureFormat) -> bytes:
    """The file of a uint8 picture, (H, W, 3) RGB or (H, W) gray. WebP has no gray: it becomes RGB."""
    if picture_format is PictureFormat.PNG:
        return encode_png_quickly(picture)
    return encode_webp(picture, lossless=True, method=0, quality=0)


FOLDERS = ("occluded", "target", "alpha")


class Layout(StrEnum):
    """The layout of the pairs on disk.

    FOLDERS: occluded/, target/ and alpha/.
    IMAGEFOLDER: the same, and a metadata.jsonl for Hugging Face's `load_dataset("imagefolder")`.
    PIX2PIX: occluded and target picture side by side in one, for pytorch-CycleGAN-and-pix2pix.
    """

    FOLDERS = "folders"
    IMAGEFOLDER = "imagefolder"
    PIX2PIX = "pix2pix"

    def home(self, out: Path, split: str) -> Path:
        """The dataset's folder: OUT itself, or the subfolder where other programs look for a split."""
        return out if self is Layout.FOLDERS else out / ("train" if split == "all" else split)


@dataclass(frozen=True)
class Files:
    """The files of a pair.

    Attributes:
        layout: their layout.
        picture_format: of every picture. pix2pix reads PNG only.
    """

    layout: Layout = Layout.FOLDERS
    picture_format: PictureFormat = PictureFormat.PNG

    def __post_init__(self) -> None:
        if self.layout is Layout.PIX2PIX and self.picture_format is not PictureFormat.PNG:
            raise UsageError(
                "pytorch-CycleGAN-and-pix2pix cannot read WebP; use --format png with this layout"
            )

    def name(self, index: int) -> str:
        """The name of all files of a pair."""
        return f"{index + 1:06d}.{self.picture_format}"

    def paths(self, home: Path, name: str) -> dict[str, Path]:
        """The paths of a pair's files by content, such as "occluded"."""
        if self.layout is Layout.PIX2PIX:
            return {"side_by_side": home / name}
        return {folder: home / folder / name for folder in FOLDERS}

    def pictures(self, pair: Pair) -> Iterator[npt.NDArray[np.uint8]]:
        """The pictures of a pair, in the order of its paths: uint8 (H, W, 3) RGB, or (H, W) for alpha."""
        if self.layout is Layout.PIX2PIX:
            yield np.concatenate([pair.occluded, pair.target], axis=1)
        else:
            yield from (pair.occluded, pair.target)
            yield np.rint(pair.occlusion.alpha * 255).astype(np.uint8)

    def read(self, home: Path, name: str) -> tuple[Image, Image]:
        """The occluded and the target picture of a pair on disk, both uint8 (size, size, 3) RGB.

        Raises:
            PictureError: one cannot be read.
        """
        occluded, *rest = (read_image(path) for path in self.paths(home, name).values())
        if rest:
            return occluded, rest[0]
        middle = occluded.shape[1] // 2
        return occluded[:, :middle], occluded[:, middle:]

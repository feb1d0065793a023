"""Pictures in memory and in the network's range.

Everything between decoding and encoding is a uint8 array (H, W, 3), RGB, 0-255. This module is the
only place that knows how those values map to the network's float32 (N, C, H, W) in [-1, 1].
"""

import hashlib
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage

Image: TypeAlias = npt.NDArray[np.uint8]
"""(H, W, 3) RGB, 0-255."""
Mask: TypeAlias = npt.NDArray[np.bool_]
"""(H, W), True = occluded."""
Alpha: TypeAlias = npt.NDArray[np.float32]
"""(H, W), 0 = visible, 1 = occluded."""
Batch: TypeAlias = npt.NDArray[np.float32]
"""(N, C, H, W); colours in [-1, 1]."""


def resize(image: Image, width_px: int, height_px: int) -> Image:
    """Resizes with Pillow's bicubic filter (antialiased when it shrinks), the project's one resizer."""
    if image.shape[:2] == (height_px, width_px):
        return image
    picture = PillowImage.fromarray(image).resize((width_px, height_px), PillowImage.Resampling.BICUBIC)
    return np.asarray(picture, dtype=np.uint8)


def digest_of(picture: npt.NDArray[np.generic]) -> str:
    """The sha256 of a picture's values, hexadecimal."""
    return hashlib.sha256(np.ascontiguousarray(picture).tobytes()).hexdigest()


def to_network(images: npt.NDArray[np.uint8]) -> Batch:
    """uint8 (N, H, W, C) 0-255 to float32 (N, C, H, W) in [-1, 1]."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2), dtype=np.float32) / np.float32(
        127.5
    ) - np.float32(1)


def levels_from_network(lengths: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Distances in the network's range of [-1, 1] to levels of 0-255, any shape, not rounded."""
    return lengths * np.float32(127.5)


def from_network(batch: Batch) -> npt.NDArray[np.uint8]:
    """float32 (N, C, H, W) in [-1, 1] to uint8 (N, H, W, C) 0-255, rounded and clipped."""
    levels = np.rint((batch + np.float32(1)) * np.float32(127.5))
    return np.ascontiguousarray(levels.clip(0, 255).astype(np.uint8).transpose(0, 2, 3, 1))

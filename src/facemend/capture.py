"""What a photo goes through before a model meets it: a crooked crop, scaling, noise, a tint, compression.

CelebA's pictures have been through little of it, those of users through all. Training sends occluded and
target picture through the same.
"""

from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage

from facemend.frame import Points, sample, similarity
from facemend.images import Image, resize


def compress(image: Image, quality: int) -> Image:
    """A picture after JPEG, (H, W, 3) to the same. quality: Pillow's, 1 to 95."""
    file = BytesIO()
    PillowImage.fromarray(image).save(file, format="JPEG", quality=quality)
    with PillowImage.open(file, formats=["JPEG"]) as picture:
        return np.asarray(picture.convert("RGB"), dtype=np.uint8)


def coarsen(image: Image, factor: float) -> Image:
    """A picture shrunk by a factor above 1 and enlarged again, (H, W, 3) to the same."""
    height_px, width_px = image.shape[:2]
    small = resize(image, max(1, round(width_px / factor)), max(1, round(height_px / factor)))
    return resize(small, width_px, height_px)


def add_noise(image: Image, sigma: float, rng: np.random.Generator) -> Image:
    """A picture with Gaussian noise of `sigma` levels, each channel by itself, (H, W, 3) to the same."""
    noise = rng.standard_normal(image.shape, dtype=np.float32) * np.float32(sigma)
    return np.rint(image + noise).clip(0, 255).astype(np.uint8)


def tint(image: Image, gains: npt.NDArray[np.float32]) -> Image:
    """A picture under another light, (H, W, 3) to the same. gains: (3,), factors of red, green, blue."""
    return np.rint(image * gains.astype(np.float32)).clip(0, 255).astype(np.uint8)


def misalign(
    image: Image, landmarks_px: Points, rotation_degrees: float, scale: float, shift_px: tuple[float, float]
) -> tuple[Image, Points]:
    """A crop that a detector cut a little wrong: turned and scaled about its middle, then shifted.

    What comes in from beyond the border repeats the border's pixels.

    Args:
        image: (S, S, 3).
        landmarks_px: (5, 2) in its pixels.
        scale: above 1 the face becomes larger.
        shift_px: x and y.

    Returns:
        The crop (S, S, 3), and the landmarks in it.
    """
    side_px = image.shape[0]
    middle = np.full(2, (side_px - 1) / 2)
    angle = np.deg2rad(rotation_degrees)
    turn = scale * np.array([(np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))])
    moved: Points = (landmarks_px - middle) @ turn.T + middle + shift_px
    # A pixel of the result comes from the way back, on a picture with a wider border.
    ends = middle + np.array([(-1.0, 0.0), (1.0, 0.0)])
    back = similarity((ends - middle) @ turn.T + middle + shift_px, ends)
    border_px = side_px // 4
    padded = np.pad(image, ((border_px, border_px), (border_px, border_px), (0, 0)), mode="edge")
    back[:, 2] += border_px
    return sample(padded, back, side_px, side_px), moved

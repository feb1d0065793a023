"""Degradations of a photo: a misaligned crop, blur, low light, noise, compression.

CelebA's pictures have few of them, the photos of users have all. Training gives the occluded and the
target picture the same ones.
"""

import math
from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage
from PIL import ImageFilter

from facemend.alignment import Points, sample, similarity
from facemend.images import Image, Mask, resize

_SEPIA = np.array([1.07, 0.9, 0.66], dtype=np.float32)


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


def blur_gaussian(image: Image, sigma_px: float) -> Image:
    """A picture out of focus, as most tools blur it, (H, W, 3) to the same."""
    blurred = PillowImage.fromarray(image).filter(ImageFilter.GaussianBlur(sigma_px))
    return np.asarray(blurred, dtype=np.uint8)


def disc(radius_px: float) -> Mask:
    """What a point becomes through an open lens out of focus: bool (K, K), K odd."""
    reach = np.arange(-math.ceil(radius_px), math.ceil(radius_px) + 1)
    return np.hypot(*np.meshgrid(reach, reach)) <= radius_px


def line(length_px: float, degrees: float) -> Mask:
    """What a point becomes when the camera moves straight: bool (K, K), K odd."""
    reach = math.ceil(length_px / 2)
    x, y = np.meshgrid(np.arange(-reach, reach + 1), np.arange(-reach, reach + 1))
    angle = math.radians(degrees)
    along = x * math.cos(angle) + y * math.sin(angle)
    across = y * math.cos(angle) - x * math.sin(angle)
    return (np.abs(along) <= length_px / 2) & (np.abs(across) <= 0.71)


def blur_by(image: Image, shape: Mask) -> Image:
    """A picture, every point of it spread over a shape and its border repeated, (H, W, 3) to the same.

    Args:
        shape: (K, K), K odd, each row's True pixels without a gap: `disc` or `line`.
    """
    reach = len(shape) // 2
    height_px, width_px = image.shape[:2]
    padded = np.pad(image, ((reach, reach), (reach + 1, reach), (0, 0)), mode="edge")
    # Sums from each row's start: the sum over a run of pixels is one difference.
    sums = padded.cumsum(axis=1, dtype=np.int32)
    total = np.zeros(image.shape, dtype=np.int32)
    for row, run in enumerate(shape):
        columns = np.flatnonzero(run)
        if len(columns):
            line_sums = sums[row : row + height_px]
            first, last = int(columns[0]), int(columns[-1]) + 1
            total += line_sums[:, last : last + width_px]
            total -= line_sums[:, first : first + width_px]
    count = int(shape.sum())
    return ((total + count // 2) // count).astype(np.uint8)


def grey(image: Image) -> Image:
    """A black and white photo, (H, W, 3) to the same with three equal channels."""
    return np.asarray(PillowImage.fromarray(image).convert("L").convert("RGB"), dtype=np.uint8)


def sepia(image: Image, strength: float) -> Image:
    """An old photo, (H, W, 3) to the same. strength: 0 is black and white, 1 deep brown."""
    table = np.arange(256)[:, None] * (1 + strength * (_SEPIA - 1))
    tones: Image = np.rint(table).clip(0, 255).astype(np.uint8)[grey(image)[:, :, 0]]
    return tones


def darken(image: Image, exposure: float, read_noise: float, rng: np.random.Generator) -> Image:
    """A photo in little light, (H, W, 3) to the same.

    Args:
        exposure: above 0 and at most 1: how much of the light is left.
        read_noise: the sensor's noise in the dark, in levels. The noise of the light itself comes on top.
    """
    # Cameras code light by about its 2.2nd root.
    dim = (np.arange(256) * exposure ** (1 / 2.2)).astype(np.float32)
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    noise *= (read_noise + 0.2 * np.sqrt(dim))[image]
    dark: Image = np.rint(dim[image] + noise).clip(0, 255).astype(np.uint8)
    return dark


def add_grain(image: Image, sigma: float, size_px: float, rng: np.random.Generator) -> Image:
    """A photo on film, (H, W, 3) to the same.

    Args:
        sigma: of the grain in levels, where the photo is neither black nor white. Near those there is less.
        size_px: of a grain.
    """
    height_px, width_px = image.shape[:2]
    shape = math.ceil(height_px / size_px), math.ceil(width_px / size_px)
    coarse = PillowImage.fromarray(rng.standard_normal(shape, dtype=np.float32))
    grain = np.asarray(coarse.resize((width_px, height_px), PillowImage.Resampling.BICUBIC))
    light = np.asarray(PillowImage.fromarray(image).convert("L"), dtype=np.float32) / 255
    grain = grain / grain.std() * np.float32(sigma) * (0.4 + 2.4 * light * (1 - light))
    grainy: Image = np.rint(image + grain[:, :, None]).clip(0, 255).astype(np.uint8)
    return grainy


def misalign(
    image: Image, landmarks_px: Points, rotation_degrees: float, scale: float, shift_px: tuple[float, float]
) -> tuple[Image, Points]:
    """A crop that a detector cut a little wrong: turned and scaled about its middle, then shifted.

    What comes in from beyond the border repeats the border's pixels.

    Args:
        image: (H, W, 3). A tall crop turns about the middle of its upper square.
        landmarks_px: (5, 2) in its pixels.
        scale: above 1 the face becomes larger.
        shift_px: x and y.

    Returns:
        The crop (H, W, 3), and the landmarks in it.
    """
    height_px, width_px = image.shape[:2]
    middle = np.full(2, (min(height_px, width_px) - 1) / 2)
    angle = np.deg2rad(rotation_degrees)
    turn = scale * np.array([(np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))])
    moved: Points = (landmarks_px - middle) @ turn.T + middle + shift_px
    # A pixel of the result comes from the way back, on a picture with a wider border.
    ends = middle + np.array([(-1.0, 0.0), (1.0, 0.0)])
    back = similarity((ends - middle) @ turn.T + middle + shift_px, ends)
    border_px = max(height_px, width_px) // 3
    padded = np.pad(image, ((border_px, border_px), (border_px, border_px), (0, 0)), mode="edge")
    back[:, 2] += border_px
    return sample(padded, back, width_px, height_px), moved

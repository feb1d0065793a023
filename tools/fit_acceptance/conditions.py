"""What happens to a whole photo and covers nothing: out of focus, grey, noisy, compressed."""

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from facemend.degradations import add_noise, blur_gaussian, compress, grey, tint
from facemend.images import Image

Change = Callable[[Image, float, np.random.Generator], Image]
"""(photo, the face's width in px, rng) → photo of the same size."""


def _filtered(image: Image, kernel: npt.NDArray[np.float64]) -> Image:
    """A picture convolved with a small kernel (k, k), its border repeated."""
    reach, (height, width) = len(kernel) // 2, image.shape[:2]
    padded = np.pad(image, ((reach, reach), (reach, reach), (0, 0)), mode="edge").astype(np.float64)
    size = height + 4 * reach, width + 4 * reach
    spectrum = np.fft.rfft2(kernel / kernel.sum(), size)[:, :, None]
    full = np.fft.irfft2(np.fft.rfft2(padded, size, axes=(0, 1)) * spectrum, size, axes=(0, 1))
    part = full[2 * reach : 2 * reach + height, 2 * reach : 2 * reach + width]
    return np.rint(part).clip(0, 255).astype(np.uint8)


def _gaussian(share: float) -> Change:
    return lambda image, width_px, rng: blur_gaussian(image, share * width_px)


def _disc(share: float) -> Change:
    """What a lens does that is out of focus."""

    def change(image: Image, width_px: float, rng: np.random.Generator) -> Image:
        radius_px = max(1.0, share * width_px)
        reach = int(np.ceil(radius_px))
        y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
        return _filtered(image, (radius_px + 0.5 - np.hypot(x, y)).clip(0, 1))

    return change


def _motion(image: Image, length_px: float, angle: float) -> Image:
    reach = int(np.ceil(length_px / 2))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    along, aside = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    return _filtered(image, (1 - abs(aside)).clip(0) * (abs(along) <= length_px / 2))


def _sepia(image: Image) -> Image:
    return tint(grey(image), np.array([1.0, 0.86, 0.66], dtype=np.float32))


def _dark(image: Image, rng: np.random.Generator) -> Image:
    return add_noise((image * 0.25).astype(np.uint8), 6, rng)


CONDITIONS: Mapping[str, Change] = {
    "as it is": lambda image, width_px, rng: image,
    "gaussian 1%": _gaussian(0.01), "gaussian 2%": _gaussian(0.02), "gaussian 4%": _gaussian(0.04),
    "disc 1%": _disc(0.01), "disc 2%": _disc(0.02), "disc 4%": _disc(0.04),
    "grey": lambda image, width_px, rng: grey(image),
    "sepia": lambda image, width_px, rng: _sepia(image),
    "noise": lambda image, width_px, rng: add_noise(image, 12, rng),
    "motion": lambda image, width_px, rng: _motion(image, 0.06 * width_px, rng.uniform(0, np.pi)),
    "jpeg 30": lambda image, width_px, rng: compress(image, 30),
    "dark": lambda image, width_px, rng: _dark(image, rng),
}  # fmt: skip
"""Each by its name; shares of blurs are of the face's width."""

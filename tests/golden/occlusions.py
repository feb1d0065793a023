"""The golden pictures of the occlusions. To draw them anew after a wanted change, from the project's root:

    .venv/bin/python -m tests.golden.occlusions

Then look at every picture that changed before you commit it.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from facemend.images import write_png
from facemend.occlusion import KINDS, occlude
from tests.tiny_celeba import gradient

FOLDER = Path(__file__).parent / "occlusions"
SIDE_PX = 128
SEEDS = (1, 2, 3)


def draw(kind: str) -> npt.NDArray[np.uint8]:
    """Three draws of a kind on a gradient, side by side; below each its alpha: (256, 384, 3)."""
    faces = [occlude(_picture(), None, kind, seed) for seed in SEEDS]
    pictures = np.concatenate([face.image for face in faces], axis=1)
    alphas = np.concatenate([np.rint(face.occlusion.alpha * 255) for face in faces], axis=1)
    return np.concatenate([pictures, np.stack([alphas.astype(np.uint8)] * 3, axis=2)])


def _picture() -> npt.NDArray[np.uint8]:
    """A gradient under fine rings, so that a blur shows its strength: (128, 128, 3)."""
    y, x = np.mgrid[0:SIDE_PX, 0:SIDE_PX]
    rings = np.sin(np.hypot(x - 30, y - 100) * 0.9)[:, :, None] > 0
    return np.where(rings, gradient(SIDE_PX, SIDE_PX), gradient(SIDE_PX, SIDE_PX, seed=2))


if __name__ == "__main__":
    for kind in KINDS:
        write_png(FOLDER / f"{kind}.png", draw(kind), force=True)

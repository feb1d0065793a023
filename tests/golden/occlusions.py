"""The golden pictures of the occlusions. To draw them anew after a wanted change, from the project's root:

    .venv/bin/python -m tests.golden.occlusions

Then look at every picture that changed before you commit it.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from facemend.io import write_png
from facemend.occlusion import BENCHMARK_KINDS, KINDS, occlude
from tests.tiny_celeba import gradient

FOLDER = Path(__file__).parent / "occlusions"
SIDE_PX = 128
SEEDS = (1, 2, 3)
DRAWN = {kind: (kind, KINDS) for kind in KINDS} | {
    f"benchmark_{kind}": (kind, BENCHMARK_KINDS)
    for kind in BENCHMARK_KINDS
    if BENCHMARK_KINDS[kind] != KINDS[kind]
}
"""Kind and where it is taken from, by the golden picture's name."""


def draw(name: str) -> npt.NDArray[np.uint8]:
    """Three draws of a kind on a gradient, side by side; below each its alpha: (256, 384, 3)."""
    kind, kinds = DRAWN[name]
    faces = [occlude(_picture(), None, kind, seed, kinds) for seed in SEEDS]
    pictures = np.concatenate([face.image for face in faces], axis=1)
    alphas = np.concatenate([np.rint(face.occlusion.alpha * 255) for face in faces], axis=1)
    return np.concatenate([pictures, np.stack([alphas.astype(np.uint8)] * 3, axis=2)])


def _picture() -> npt.NDArray[np.uint8]:
    """A gradient under fine rings, so that a blur shows its strength: (128, 128, 3)."""
    y, x = np.mgrid[0:SIDE_PX, 0:SIDE_PX]
    rings = np.sin(np.hypot(x - 30, y - 100) * 0.9)[:, :, None] > 0
    return np.where(rings, gradient(SIDE_PX, SIDE_PX), gradient(SIDE_PX, SIDE_PX, seed=2))


if __name__ == "__main__":
    for name in DRAWN:
        write_png(FOLDER / f"{name}.png", draw(name), force=True)

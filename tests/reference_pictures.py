"""Pairs of pictures, random and real, that metrics are compared with other libraries on."""

from importlib.resources import files

import numpy as np

from facemend.images import Image, resize
from facemend.io import read_image
from tests.tiny_celeba import gradient

SIZE_PX = 256


def read_pairs() -> dict[str, tuple[Image, Image]]:
    """Picture and truth by name, uint8 (256, 256, 3); the same on every machine."""
    with files("facemend").joinpath("portraits/eileen_collins.png").open("rb") as file:
        photo = read_image(file)
    face = np.ascontiguousarray(photo[:SIZE_PX, 96 : 96 + SIZE_PX])
    noise = np.random.default_rng(0).integers(0, 256, face.shape, dtype=np.uint8)
    grain = np.random.default_rng(1).integers(-20, 21, face.shape)
    patched = face.copy()
    patched[120:200, 80:180] = (90, 160, 220)
    return {
        "noise": (np.roll(noise, 7, axis=0), noise),
        "waves": (gradient(SIZE_PX, SIZE_PX, 1), gradient(SIZE_PX, SIZE_PX, 2)),
        "face with noise": ((face + grain).clip(0, 255).astype(np.uint8), face),
        "face at half resolution": (resize(resize(face, 128, 128), SIZE_PX, SIZE_PX), face),
        "face with a patch": (patched, face),
        "face in the dark": ((face * 0.5).astype(np.uint8), face),
    }

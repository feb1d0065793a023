"""One Reconstructor, many threads."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facemend.errors import PictureError
from facemend.reconstruction.demo import read_portraits
from facemend.reconstruction.reconstructor import Reconstructor
from tests.stand_in import COVER


def _photos() -> list[Image.Image]:
    photos = []
    for number in range(6):
        portrait = read_portraits()[number % 2]
        image = portrait.photo.copy()
        x, y = portrait.landmarks_px[2:].mean(axis=0).astype(int) + number
        image[y - 24 : y + 24, x - 24 : x + 24] = COVER
        photos.append(Image.fromarray(image))
    return photos


def test_threads_get_what_one_call_after_the_other_gets(stand_in_model: Path) -> None:
    photos = _photos()
    alone = [np.asarray(Reconstructor(stand_in_model, threads=1)(photo).image) for photo in photos]
    shared = Reconstructor(stand_in_model, threads=1)
    with ThreadPoolExecutor(4) as pool:  # the first calls open the detector at the same time
        together = [np.asarray(result.image) for result in pool.map(shared, photos)]
    batch = [np.asarray(result.image) for result in shared.batch(photos, threads=3)]
    for one, two, three in zip(alone, together, batch, strict=True):
        np.testing.assert_array_equal(one, two)
        np.testing.assert_array_equal(one, three)


def test_a_batch_raises_when_the_bad_ones_turn_comes(stand_in_model: Path) -> None:
    reconstructor = Reconstructor(stand_in_model, threads=1)
    photos: list[Image.Image | str] = [*_photos()[:1], "missing.png", *_photos()[1:3]]
    results = reconstructor.batch(photos, threads=2)
    assert next(results).changed
    with pytest.raises(PictureError, match=r"missing\.png does not exist"):
        next(results)


def test_a_batch_of_nothing_is_nothing(stand_in_model: Path) -> None:
    assert list(Reconstructor(stand_in_model).batch([])) == []

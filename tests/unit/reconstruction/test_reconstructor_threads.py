"""One Reconstructor, many threads."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facemend.errors import PictureError
from facemend.reconstruction.demo import read_portraits
from facemend.reconstruction.model import Model
from facemend.reconstruction.reconstructor import Reconstructor
from facemend.server.app import Server
from facemend.server.settings import Settings
from facemend.server.workers import WorkerPool
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


_BUSY_THREADS = """
from pathlib import Path
from facemend.alignment import crop_face
from facemend.evaluation.protocol import make_input
from facemend.reconstruction.model import Model
from facemend.reconstruction.demo import read_portraits
from facemend.reconstruction.reconstructor import Reconstructor

def ticks():
    stats = {task.name: task.joinpath("stat").read_text() for task in Path("/proc/self/task").iterdir()}
    return {name: sum(map(int, stat.rpartition(")")[2].split()[11:13])) for name, stat in stats.items()}

portrait = read_portraits()[0]
crop = crop_face(portrait.photo, portrait.landmarks_px).image
covered = [make_input(crop, "threads", kind).image for kind in ("blur_full", "pixelate", "nose_mask")]
reconstructor = Reconstructor(threads=1)
before = ticks()
for image in 2 * covered:
    assert reconstructor(image, aligned=True).changed
print(sum(taken > before.get(name, 0) for name, taken in ticks().items()))
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")
def test_one_thread_computes_where_one_was_promised() -> None:
    environment = {name: value for name, value in os.environ.items() if "_NUM_THREADS" not in name}
    command = [sys.executable, "-c", _BUSY_THREADS]
    result = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert int(result.stdout) == 1


def test_a_batch_divides_the_cores(stand_in_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[int | None] = []

    def note(path: Path, *, device: str, threads: int | None) -> object:
        opened.append(threads)
        return Model(path, device=device, threads=threads)

    monkeypatch.setattr("facemend.reconstruction.reconstructor.cores", lambda: 6)
    monkeypatch.setattr("facemend.reconstruction.reconstructor.Model", note)
    for threads in (None, 2):
        list(Reconstructor(stand_in_model, threads=threads).batch(_photos()[:1], threads=3))
    assert opened == [None, 2, 2]


def test_the_workers_of_a_server_divide_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facemend.server.app.cores", lambda: 8)
    monkeypatch.setattr(WorkerPool, "__init__", lambda self, setup, *_: given.append(setup["threads"]))
    given: list[int | None] = []
    for threads, workers in ((None, 1), (None, 3), (None, 9), (2, 3)):
        Server(Settings(threads=threads, workers=workers))
    assert given[::2] == [8, 2, 1, 2]  # those that reconstruct

"""Training data: decoded crops in one memory-mapped file, occluded anew each time they are shown.

What is shown at position p of a run depends on the seed and p alone: neither the number of workers nor
a restart changes it, nor the number of processes that train together.
"""

import json
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset, Sampler
from tqdm import tqdm

from facemend import capture
from facemend.datasets import FaceRecord, FaceSource
from facemend.datasets.faces import fingerprint_of
from facemend.engine import cores
from facemend.errors import TrainingError
from facemend.files import open_own, write_text, written_whole
from facemend.frame import Points, canonical_landmarks, frame_to_crop
from facemend.images import Image, resize
from facemend.occlusion import OcclusionClass, allowed_kinds, choose_kind, occlude
from facemend.training.batches import PackedBatch, Sample, stack
from facemend.training.config import DataConfig

CLASSES = (OcclusionClass.COVERS, OcclusionClass.ACCESSORIES)
"""The order of the alpha's channels."""

_MIRRORED = [1, 0, 2, 4, 3]  # landmarks, after a flip


@dataclass(frozen=True)
class Crops:
    """Decoded canonical crops of a source.

    Attributes:
        images: uint8 (N, size, size, 3) RGB, memory-mapped; of pairs (N, size, 2 · size, 3).
        landmarks_px: float64 (N, 5, 2) in crop pixels; canonical where the source has none.
        attributes: CelebA's, by name, a face each; empty where there are none.
    """

    images: npt.NDArray[np.uint8]
    landmarks_px: npt.NDArray[np.float64]
    attributes: Sequence[Mapping[str, bool]]

    def __len__(self) -> int:
        return len(self.images)


Decode = Callable[[FaceSource, FaceRecord, int], Image]
"""Reads one record of a source as it is cached at a size, for example `FaceSource.crop`."""


def cached_crops(
    source: FaceSource,
    size_px: int,
    folder: Path,
    decode: Decode = FaceSource.crop,
    *,
    quiet: bool = False,
) -> Crops:
    """Decodes every face of a source once, into a file that later calls map into memory.

    The file is named after the pictures' names and the source's fingerprint, so that another or a
    changed source makes another file.

    Raises:
        TrainingError: there are no faces.
        PictureError: a picture cannot be read.
        OutputError: the folder cannot be written.
    """
    if not len(source):
        raise TrainingError("there are no faces to train on")
    names = [record.name for record in source.records]
    key = fingerprint_of(source.name, source.fingerprint, size_px, *names)
    path = folder / f"crops-{size_px}-{key}.npy"
    if not path.exists():
        with written_whole(path) as temporary:
            shape = (len(source), *decode(source, source.records[0], size_px).shape)
            crops = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)

            def fill(row: int) -> None:
                crops[row] = decode(source, source.records[row], size_px)

            rows = range(len(source))
            with (
                ThreadPoolExecutor(cores()) as pool,
                tqdm(rows, desc="decoding faces", disable=quiet or None, leave=False) as line,
            ):
                for _ in pool.map(fill, rows):
                    line.update()
            crops.flush()
        write_text(
            path.with_suffix(".json"), json.dumps({"source": source.name, "names": names}), force=True
        )
    landmarks = [
        canonical_landmarks(size_px)
        if record.frame_landmarks_px is None
        else frame_to_crop(record.frame_landmarks_px, size_px)
        for record in source.records
    ]
    attributes = [record.attributes for record in source.records]
    return Crops(_mapped(path, len(source)), np.stack(landmarks), attributes)


def _mapped(path: Path, count: int) -> Image:
    """Decoded crops in a file, mapped into memory. Raises TrainingError: it is no such file."""
    try:
        open_own(path).close()
        crops: Image = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise TrainingError(f"{path} cannot be read ({error}); delete it") from error
    if (
        not isinstance(crops, np.ndarray)
        or crops.dtype != np.uint8
        or crops.ndim != 4
        or len(crops) != count
    ):
        raise TrainingError(f"{path} holds no crops of these faces; delete it")
    return crops


class Shown(Dataset[Sample], ABC):
    """What is shown, by position: position p shows one record of epoch p // N, drawn anew."""

    def __init__(self, crops: Crops, config: DataConfig, size_px: int, seed: int) -> None:
        self._crops, self._config, self._size_px, self._seed = crops, config, size_px, seed
        self._epoch, self._order = -1, np.empty(0, dtype=np.int64)

    def __getitem__(self, position: int) -> Sample:
        """The sample of one position; the same in every process and every run with this seed."""
        epoch, place = divmod(position, len(self._crops))
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = np.random.default_rng([self._seed, 1, epoch]).permutation(len(self._crops))
        return self._show(int(self._order[place]), np.random.default_rng([self._seed, 2, position]))

    @abstractmethod
    def _show(self, record: int, rng: np.random.Generator) -> Sample:
        """Draws a sample of one record."""


class OccludedFaces(Shown):
    """Faces under fresh occlusions."""

    def _show(self, record: int, rng: np.random.Generator) -> Sample:
        kinds = allowed_kinds(self._config.kinds, self._crops.attributes[record])
        image = np.asarray(self._crops.images[record])
        return self._draw(image, self._crops.landmarks_px[record], kinds, rng)

    def _draw(
        self, image: Image, landmarks_px: Points, kinds: Mapping[str, float], rng: np.random.Generator
    ) -> Sample:
        """One face under one of the kinds; as it is, if it can take none of them."""
        config = self._config
        image, landmarks_px = _jittered(image, landmarks_px, self._size_px, config.jitter_px, rng)
        if config.misaligned and rng.random() < config.misaligned:
            image, landmarks_px = _misaligned(image, landmarks_px, rng)
        if config.flip and rng.random() < 0.5:
            image = np.ascontiguousarray(image[:, ::-1])
            landmarks_px = (np.array([self._size_px - 1, 0]) + landmarks_px * (-1, 1))[_MIRRORED]
        alpha = np.zeros((len(CLASSES), self._size_px, self._size_px), dtype=np.float32)
        hint = np.zeros((1, self._size_px, self._size_px), dtype=np.float32)
        middle = np.full(2, self._size_px // 2, dtype=np.int64)
        if rng.random() < config.unoccluded or not any(kinds.values()):
            return Sample(image, image, alpha, hint, middle)
        pair = occlude(image, landmarks_px, choose_kind(kinds, rng), int(rng.integers(2**62)))
        degraded = config.degraded and rng.random() < config.degraded
        degrade = _degradation(rng) if degraded else _unchanged
        alpha[CLASSES.index(pair.occlusion.occlusion_class)] = pair.occlusion.alpha
        if rng.random() < config.hinted:
            hint[0] = pair.occlusion.mask
        hole = np.argwhere(pair.occlusion.mask)
        focus = hole[int(rng.integers(len(hole)))][::-1] if len(hole) else middle
        return Sample(degrade(pair.image), degrade(pair.target), alpha, hint, focus)


def _jittered(
    image: Image, landmarks_px: Points, size_px: int, jitter_px: int, rng: np.random.Generator
) -> tuple[Image, Points]:
    """Isola et al. 2017, section 6.2: enlarged to jitter_px, a square of size_px cut out at random."""
    if not jitter_px:
        return image, landmarks_px
    corner = rng.integers(0, jitter_px - size_px + 1, 2)
    scaled = (landmarks_px + 0.5) * (jitter_px / size_px) - 0.5
    return cut_enlarged(image, jitter_px, corner, size_px), scaled - corner


def cut_enlarged(image: Image, side_px: int, corner: npt.NDArray[np.int64], size_px: int) -> Image:
    """A square of size_px, its corner at (x, y), out of the picture enlarged to side_px."""
    x, y = (int(v) for v in corner)
    return resize(image, side_px, side_px)[y : y + size_px, x : x + size_px]


def _misaligned(image: Image, landmarks_px: Points, rng: np.random.Generator) -> tuple[Image, Points]:
    """As far off as detectors are: a few degrees, percent and pixels."""
    rotation_degrees, scale = rng.normal(0, 3), float(np.exp(rng.normal(0, 0.05)))
    x_px, y_px = rng.normal(0, 0.015 * len(image), 2)
    return capture.misalign(image, landmarks_px, rotation_degrees, scale, (x_px, y_px))


def _unchanged(image: Image) -> Image:
    return image


def _degradation(rng: np.random.Generator) -> Callable[[Image], Image]:
    """Draws what a photo went through; it does the same to every picture."""
    happens = rng.random(4) < 0.5
    gains = np.exp(rng.normal(0, 0.06, 3)).astype(np.float32)
    factor, sigma, quality = rng.uniform(1, 3), rng.uniform(1, 10), int(rng.integers(40, 96))
    seed = int(rng.integers(2**62))

    def degrade(image: Image) -> Image:
        if happens[0]:
            image = capture.tint(image, gains)
        if happens[1]:
            image = capture.coarsen(image, factor)
        if happens[2]:
            image = capture.add_noise(image, sigma, np.random.default_rng(seed))
        return capture.compress(image, quality) if happens[3] else image

    return degrade


class _Positions(Sampler[list[int]]):
    """Batches of positions, from start to stop; of each batch, one process's equal share."""

    def __init__(self, start: int, stop: int, batch: int, process: int, processes: int) -> None:
        self._range, self._batch = range(start, stop), batch
        self._process, self._processes = process, processes

    def __iter__(self) -> Iterator[list[int]]:
        for first in range(0, len(self._range), self._batch):
            together = self._range[first : first + self._batch]
            share = len(together) // self._processes
            yield list(together[self._process * share : (self._process + 1) * share])

    def __len__(self) -> int:
        return -(-len(self._range) // self._batch)


def load_batches(
    shown: Shown,
    start: int,
    stop: int,
    batch: int,
    workers: int,
    *,
    process: int = 0,
    processes: int = 1,
    pin: bool = False,
) -> DataLoader[PackedBatch]:
    """Batches of the positions start to stop, in order, drawn by so many worker processes.

    Args:
        process, processes: which share of every batch, of how many; they divide the batch.
        pin: into memory that a GPU can fetch from while it computes.
    """
    return DataLoader(
        shown,  # type: ignore[arg-type]  # the collate function turns samples into a batch
        batch_sampler=_Positions(start, stop, batch, process, processes),
        num_workers=workers,
        collate_fn=stack,
        pin_memory=pin,
        generator=torch.Generator(),  # its own, so that making a loader leaves the run's alone
        prefetch_factor=4 if workers else None,
        multiprocessing_context="fork" if workers else None,
        worker_init_fn=_leave_signals_to_the_trainer,
    )


def _leave_signals_to_the_trainer(worker: int) -> None:
    """Ctrl-C and many a SIGTERM reach every process of the group; the trainer alone answers them, saves
    and lets its workers go. If it dies itself, torch ends them."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)

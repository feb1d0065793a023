"""Training data: decoded crops under fresh occlusions, or pairs of any pictures."""

import json
import math
import signal
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from facemend import degradations
from facemend.alignment import (
    CROP_SIZE_PX,
    Points,
    canonical_landmarks,
    frame_to_crop,
    repeat_below,
    shown_height,
)
from facemend.datasets import FaceRecord, FaceSource, Split, take_split
from facemend.errors import PictureError, SourceError, TrainingError
from facemend.files import (
    fingerprint_of,
    open_own,
    parse_json,
    read_own,
    seed_of,
    write_text,
    written_whole,
)
from facemend.images import Alpha, Image, resize
from facemend.io import find_pictures, read_image
from facemend.occlusion import OcclusionClass, allowed_kinds, choose_kind, kinds_with, occlude
from facemend.occlusion.canvas import blurred
from facemend.parallel import cores
from facemend.terminal import progress
from facemend.training.batches import PackedBatch, Sample, stack
from facemend.training.config import DataConfig
from facemend.training.sources import Mixture

CLASSES = (OcclusionClass.COVERS, OcclusionClass.ACCESSORIES)
"""The order of the alpha's channels."""

_MIRRORED = [1, 0, 2, 4, 3]  # landmarks, after a flip
_FACE_WIDTH = 0.55  # of a face, in widths of the canonical crop
# Standard deviations of the lens's blur, in widths of the face. Where something is occluded it stays weak:
# a blurred box has to be blurrier than its surroundings.
_MOST_BLUR, _MOST_BLUR_OVER_OCCLUSIONS = 0.05, 0.025
_MOST_TRIED = 20
_MOST_UNREADABLE = 0.02
"""Share of the pictures of a source that may be broken. More is a source that was not downloaded whole."""
_SHOWS_THE_FACE = ("blur", "blur_full", "blur_soft", "pixelate")  # kinds that have no look of their own
_FAR_OFF = 0.15  # share of the misaligned faces that are far off


@dataclass(frozen=True)
class Crops:
    """Decoded canonical crops of one source or of several.

    Attributes:
        images: N pictures, each uint8 (size, size, 3) RGB, memory-mapped. Tall crops are taller, pairs
            twice as wide.
        landmarks_px: float64 (N, 5, 2) in crop pixels. Canonical where the source has none.
        attributes: CelebA's, by name, of each face. Empty where there are none.
        weights: float64 (N,), how often each is sampled, compared with the others. None: all alike.
    """

    images: "npt.NDArray[np.uint8] | Chain"
    landmarks_px: npt.NDArray[np.float64]
    attributes: Sequence[Mapping[str, bool]]
    weights: npt.NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.images)


class Chain:
    """Pictures of several files, one after the other, without a copy in memory."""

    def __init__(self, files: Sequence[npt.NDArray[np.uint8]]) -> None:
        self._files, self._ends = files, np.cumsum([len(file) for file in files])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __iter__(self) -> Iterator[Image]:
        return (image for file in self._files for image in file)

    def __getitem__(self, row: int) -> Image:
        file = int(np.searchsorted(self._ends, row, side="right"))
        image: Image = self._files[file][row - int(self._ends[file])]  # from the file's end, below 0
        return image


Decode = Callable[[FaceSource, FaceRecord, int], Image]
"""Reads one record of a source as it is cached at a size, for example `FaceSource.crop`."""


def _first_readable(source: FaceSource, size_px: int, decode: Decode) -> Image:
    """The first picture that can be read. Raises PictureError: none of the first few can."""
    for record in source.records[:_MOST_TRIED]:
        try:
            return decode(source, record, size_px)
        except PictureError as error:
            failure = error
    raise failure


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
        PictureError: more than a few pictures cannot be read. A few are left out with a warning.
        OutputError: the folder cannot be written.
    """
    if not len(source):
        raise TrainingError("there are no faces to train on")
    names = [record.name for record in source.records]
    shape = (len(source), *_first_readable(source, size_px, decode).shape)
    key = fingerprint_of(source.name, source.fingerprint, shape, *names)
    path = folder / f"crops-{size_px}-{key}.npy"
    if not path.exists():
        with written_whole(path) as temporary:
            crops = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)

            def fill(row: int) -> str | None:
                try:
                    crops[row] = decode(source, source.records[row], size_px)
                except PictureError as error:
                    return str(error)
                return None

            rows = range(len(source))
            with (
                ThreadPoolExecutor(cores()) as pool,
                progress(unit="faces", total=len(rows), desc="decoding: ", quiet=quiet) as line,
            ):
                failures: list[str | None] = []
                for failure in pool.map(fill, rows):
                    failures.append(failure)
                    line.update()
            used = _without_unreadable(failures)
            for row in rows:
                if used[row] != row:
                    crops[row] = crops[used[row]]
            crops.flush()
        described = {"source": source.name, "names": names, "used": used}
        write_text(path.with_suffix(".json"), json.dumps(described), force=True)
    used = _used(path.with_suffix(".json"), len(source))
    records = [source.records[row] for row in used]
    landmarks = [
        canonical_landmarks(size_px)
        if record.frame_landmarks_px is None
        else frame_to_crop(record.frame_landmarks_px, size_px)
        for record in records
    ]
    attributes = [record.attributes for record in records]
    return Crops(_mapped(path, len(source)), np.stack(landmarks), attributes)


def _without_unreadable(failures: Sequence[str | None]) -> list[int]:
    """Which picture each row uses: its own, or the last readable one before it in place of a broken one.

    Says which are broken. Raises PictureError: they are too many.
    """
    broken = [failure for failure in failures if failure is not None]
    if not broken:
        return list(range(len(failures)))
    if len(broken) > max(1, round(_MOST_UNREADABLE * len(failures))):
        raise PictureError(f"{len(broken)} of {len(failures)} pictures cannot be read: {broken[0]}")
    more = f", and {len(broken) - 1} more pictures" if len(broken) > 1 else ""
    warnings.warn(f"left out of training: {broken[0]}{more}", stacklevel=2)
    readable = [row for row, failure in enumerate(failures) if failure is None]
    if not readable:
        raise PictureError(broken[0])
    places = np.searchsorted(readable, np.arange(len(failures)), side="right") - 1
    return [readable[max(place, 0)] for place in places.tolist()]


def _used(path: Path, count: int) -> list[int]:
    """What `_without_unreadable` said when the pictures were decoded. Each its own if it was not kept."""
    try:
        used: list[int] = parse_json(read_own(path))["used"]
    except (OSError, ValueError, KeyError, TypeError):
        return list(range(count))
    fits = isinstance(used, list) and len(used) == count
    if not fits or not all(isinstance(row, int) and 0 <= row < count for row in used):
        raise TrainingError(f"{path} says nothing about these faces; delete it and its pictures")
    return used


def _mapped(path: Path, count: int) -> Image:
    """Decoded crops in a file, mapped into memory. Raises TrainingError: it is not such a file."""
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


def mixed_crops(
    mixture: Mixture, size_px: int, folder: Path, decode: Decode = FaceSource.crop, *, quiet: bool = False
) -> Crops:
    """The crops of every source of a mixture, see `cached_crops`, with the mixture's weights."""
    every = [cached_crops(part.faces, size_px, folder, decode, quiet=quiet) for part in mixture.parts]
    return Crops(
        Chain([np.asarray(crops.images) for crops in every]),
        np.concatenate([crops.landmarks_px for crops in every]),
        [attributes for crops in every for attributes in crops.attributes],
        np.concatenate([part.weights for part in mixture.parts]),
    )


class TrainingDataset(Dataset[Sample], ABC):
    """Samples by position: position p is a fresh sample of one record of epoch p // N.

    In an epoch of N positions each record comes as often as its weight says, rounded up or down by chance.
    If all weigh the same, each comes once.
    """

    def __init__(self, crops: Crops, config: DataConfig, size_px: int, seed: int) -> None:
        self._crops, self._config, self._size_px, self._seed = crops, config, size_px, seed
        self._epoch, self._order = -1, np.empty(0, dtype=np.int64)

    def __getitem__(self, position: int) -> Sample:
        """The sample of one position, the same in every process and every run with this seed."""
        epoch, index = divmod(position, len(self._crops))
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = self._order_of(np.random.default_rng([self._seed, 1, epoch]))
        return self._sample(int(self._order[index]), np.random.default_rng([self._seed, 2, position]))

    def _order_of(self, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """The records of an epoch, drawn by systematic sampling and shuffled: (N,)."""
        count, weights = len(self._crops), self._crops.weights
        order = rng.permutation(count)
        if weights is None or (weights == weights[0]).all():
            return order
        ends = np.cumsum(weights)
        drawn = (np.arange(count) + rng.random()) * (ends[-1] / count)
        turns: npt.NDArray[np.int64] = np.searchsorted(ends, drawn, side="right").clip(0, count - 1)
        return turns[order]

    @abstractmethod
    def _sample(self, record: int, rng: np.random.Generator) -> Sample:
        """A sample of one record."""


class OccludedFaces(TrainingDataset):
    """Faces under fresh occlusions.

    Raises:
        SourceError, PictureError: the folder of cut-outs cannot be used.
    """

    def __init__(self, crops: Crops, config: DataConfig, size_px: int, seed: int) -> None:
        super().__init__(crops, config, size_px, seed)
        self._kinds = kinds_with(config.shares, None if config.cutouts is None else Path(config.cutouts))

    def _sample(self, record: int, rng: np.random.Generator) -> Sample:
        kinds = allowed_kinds(self._config.shares, self._crops.attributes[record])
        image = np.asarray(self._crops.images[record])
        return self._occlude(image, self._crops.landmarks_px[record], kinds, rng)

    def _occlude(
        self, image: Image, landmarks_px: Points, kinds: Mapping[str, float], rng: np.random.Generator
    ) -> Sample:
        """One face under one of the kinds, or as it is if none of them can be applied to it."""
        config = self._config
        image, landmarks_px = _jittered(image, landmarks_px, self._size_px, config.jitter_px, rng)
        if config.misaligned and rng.random() < config.misaligned:
            image, landmarks_px = _misaligned(image, landmarks_px, rng)
        if config.flip and rng.random() < 0.5:
            image = np.ascontiguousarray(image[:, ::-1])
            landmarks_px = (np.array([image.shape[1] - 1, 0]) + landmarks_px * (-1, 1))[_MIRRORED]
        height_px, width_px = image.shape[:2]
        alpha = np.zeros((len(CLASSES), height_px, width_px), dtype=np.float32)
        hint = np.zeros((1, height_px, width_px), dtype=np.float32)
        middle = np.full(2, width_px // 2, dtype=np.int64)
        if rng.random() < config.unoccluded or not any(kinds.values()):
            if config.degraded_unoccluded and rng.random() < config.degraded_unoccluded:
                image = _draw_camera(width_px, _MOST_BLUR, rng).take(image)
            return self._end_tall(Sample(image, image, alpha, hint, middle), rng)
        kind = choose_kind(kinds, rng, self._kinds)
        pair = occlude(image, landmarks_px, kind, int(rng.integers(2**62)), self._kinds)
        occluded, target, cover = pair.image, pair.target, pair.occlusion.alpha
        if config.look_alikes and rng.random() < config.look_alikes and kind not in _SHOWS_THE_FACE:
            occluded, target = _with_look_alike(occluded, target, cover, landmarks_px, rng)
        if config.degraded and rng.random() < config.degraded:
            camera = _draw_camera(width_px, _MOST_BLUR_OVER_OCCLUSIONS, rng)
            occluded, target, cover = camera.take(occluded), camera.take(target), camera.spread(cover)
        alpha[CLASSES.index(pair.occlusion.occlusion_class)] = cover
        if rng.random() < config.hinted:
            hint[0] = cover > 0
        hole = np.argwhere(cover > 0)
        focus = hole[int(rng.integers(len(hole)))][::-1] if len(hole) else middle
        return self._end_tall(Sample(occluded, target, alpha, hint, focus), rng)

    def _end_tall(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """A tall crop that ends with the picture, or with the square. Its last row is repeated below."""
        if not self._config.tall:
            return sample
        square = rng.random() < self._config.square
        shown_px = self._size_px if square else shown_height(self._size_px)
        height_px = len(sample.occluded)

        def ended(plane: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
            return repeat_below(plane, height_px, shown_px=shown_px)

        return Sample(
            repeat_below(sample.occluded, height_px, shown_px=shown_px),
            repeat_below(sample.target, height_px, shown_px=shown_px),
            np.stack([ended(plane) for plane in sample.alpha]),
            np.stack([ended(plane) for plane in sample.hint]),
            sample.focus.clip(0, (self._size_px - 1, shown_px - 1)),
        )


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
    """Misaligned as by a detector: a few degrees, percent and pixels, sometimes several times more."""
    x_px, y_px = rng.normal(0, 0.015 * image.shape[1], 2)
    if rng.random() < _FAR_OFF:
        rotation_degrees, scale = rng.uniform(-12, 12), float(np.exp(rng.uniform(-0.15, 0.15)))
        x_px, y_px = 2 * x_px, 2 * y_px
    else:
        rotation_degrees, scale = rng.normal(0, 3), float(np.exp(rng.normal(0, 0.05)))
    return degradations.misalign(image, landmarks_px, rotation_degrees, scale, (x_px, y_px))


def _with_look_alike(
    occluded: Image, target: Image, cover: Alpha, landmarks_px: Points, rng: np.random.Generator
) -> tuple[Image, Image]:
    """The same cloth again beside the head: a flag, a shirt, a cushion. It covers no face, and is kept.

    Both pictures come back as they are where the cover is too small or too ragged to cut cloth from it.
    """
    rows, columns = (np.flatnonzero((cover > 0.9).any(axis)) for axis in (1, 0))
    if len(rows) < 16 or len(columns) < 16:
        return occluded, target
    top, bottom = np.quantile(rows, (0.3, 0.7)).astype(int)
    left, right = np.quantile(columns, (0.3, 0.7)).astype(int)
    if (cover[top:bottom, left:right] > 0.9).mean() < 0.98:
        return occluded, target
    cloth = occluded[top:bottom, left:right].astype(np.float32) * rng.uniform(0.8, 1.2)
    height_px, width_px = cover.shape
    y, x = np.mgrid[:height_px, :width_px].astype(np.float32)
    scale = float(np.exp(rng.uniform(-0.5, 0.9)))
    cloth = cloth[_mirrored(y / scale, bottom - top), _mirrored(x / scale, right - left)]
    where = _beside_head(x, y, landmarks_px, rng) * (1 - blurred((cover > 0).astype(np.float32), 3)) ** 8
    share = blurred(where.astype(np.float32), 1)[:, :, None]
    occluded, target = (
        (image + share * (cloth - image)).round().clip(0, 255).astype(np.uint8)
        for image in (occluded, target)
    )
    return occluded, target


def _mirrored(position: npt.NDArray[np.float32], count: int) -> npt.NDArray[np.int64]:
    """Indices into `count` pixels, forth and back without end."""
    there = position.astype(np.int64) % (2 * count)
    return np.minimum(there, 2 * count - 1 - there)


def _beside_head(
    x: npt.NDArray[np.float32], y: npt.NDArray[np.float32], landmarks_px: Points, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """A strip of any direction and width outside an oval around the head, 0 or 1."""
    eyes, mouth = landmarks_px[:2].mean(0), landmarks_px[3:].mean(0)
    across, along = landmarks_px[1] - landmarks_px[0], mouth - eyes
    side = max(float(np.hypot(*across)), 0.9 * float(np.hypot(*along)))
    down = along / np.hypot(*along)
    dx, dy = x - (eyes + mouth)[0] / 2, y - (eyes + mouth)[1] / 2
    u, v = dx * down[1] - dy * down[0], dx * down[0] + dy * down[1]
    head = (u / (rng.uniform(1.05, 1.4) * side)) ** 2 + (v / (1.65 * side)) ** 2 < 1
    angle = rng.uniform(0, 2 * np.pi)
    away = (dx * np.cos(angle) + dy * np.sin(angle)) / side
    near, width = rng.uniform(0.6, 1.5), rng.choice((0.3, 0.8, 9.0))
    strip: npt.NDArray[np.float32] = ((away > near) & (away < near + width) & ~head).astype(np.float32)
    return strip


_Step = Callable[[Image], Image]


@dataclass(frozen=True)
class _Camera:
    """How a photo is degraded: by the lens, then by all else. The same for every picture."""

    lens: _Step | None
    rest: Sequence[_Step]

    def take(self, image: Image) -> Image:
        """The photo of a picture, (H, W, 3) to the same."""
        for step in (*([self.lens] if self.lens else []), *self.rest):
            image = step(image)
        return image

    def spread(self, alpha: Alpha) -> Alpha:
        """Alpha of an occlusion in the photo. The lens spreads its edge, and tinged pixels count."""
        if self.lens is None:
            return alpha
        levels = np.rint(255 * alpha).astype(np.uint8)[:, :, None].repeat(3, axis=2)
        seen = self.lens(levels)[:, :, 0].astype(np.float32) / 255
        wider: Alpha = np.maximum(alpha, (3 * seen - np.float32(0.06)).clip(0, 1))
        return wider


def _draw_camera(width_px: int, most_blur: float, rng: np.random.Generator) -> _Camera:
    """A random poor camera, or a poor copy of its photo. At least one degradation applies.

    Args:
        width_px: of the crop.
        most_blur: standard deviation of the strongest blur of the lens, in widths of the face.
    """
    odds = {"lens": 0.4, "dark": 0.15, "tint": 0.4, "tone": 0.2, "grain": 0.2, "noise": 0.3}
    odds |= {"coarse": 0.35, "jpeg": 0.5}
    happens = {name for name, odd in odds.items() if rng.random() < odd} or {"jpeg"}
    lens = _draw_lens(rng.uniform(0.01, most_blur) * _FACE_WIDTH * width_px, rng)
    unit = width_px / CROP_SIZE_PX
    steps: dict[str, _Step] = {
        "dark": _seeded(degradations.darken, rng, rng.uniform(0.12, 0.6), rng.uniform(1, 4)),
        "noise": _seeded(degradations.add_noise, rng, rng.uniform(1, 10)),
        "tint": partial(degradations.tint, gains=np.exp(rng.normal(0, 0.06, 3)).astype(np.float32)),
        "tone": _draw_tone(rng),
        "grain": _seeded(degradations.add_grain, rng, rng.uniform(3, 14), max(1, unit * rng.uniform(1, 3))),
        "coarse": partial(degradations.coarsen, factor=rng.uniform(1, 3)),
        "jpeg": partial(degradations.compress, quality=int(rng.integers(20, 96))),
    }
    return _Camera(lens if "lens" in happens else None, [s for name, s in steps.items() if name in happens])


def _draw_tone(rng: np.random.Generator) -> _Step:
    return (
        degradations.grey
        if rng.random() < 0.7
        else partial(degradations.sepia, strength=rng.uniform(0.3, 1))
    )


def _draw_lens(sigma_px: float, rng: np.random.Generator) -> _Step:
    """Blur of this standard deviation: Gaussian, defocus, or motion."""
    chosen, degrees = rng.random(), rng.uniform(0, 180)
    if chosen < 0.4:
        return partial(degradations.blur_gaussian, sigma_px=sigma_px)
    spread = (
        degradations.disc(2 * sigma_px)
        if chosen < 0.8
        else degradations.line(math.sqrt(12) * sigma_px, degrees)
    )
    return partial(degradations.blur_by, shape=spread)


def _seeded(step: Callable[..., Image], rng: np.random.Generator, *strengths: float) -> _Step:
    """A step with noise, the same noise in every picture."""
    seed = int(rng.integers(2**62))
    return lambda image: step(image, *strengths, np.random.default_rng(seed))


class _Positions(Sampler[list[int]]):
    """Batches of positions, from start to stop. Of each batch, one process's equal share."""

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
    dataset: TrainingDataset,
    start: int,
    stop: int,
    batch: int,
    workers: int,
    *,
    process: int = 0,
    processes: int = 1,
    pin: bool = False,
) -> DataLoader[PackedBatch]:
    """Batches of the positions start to stop, in order, made by this many worker processes.

    Args:
        process, processes: which share of every batch, of how many. They divide the batch.
        pin: into memory that a GPU can fetch from while it computes.
    """
    return DataLoader(
        dataset,  # type: ignore[arg-type]  # the collate function turns samples into a batch
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
    """Ctrl-C and often SIGTERM reach every process of the group. Only the trainer heeds them: it saves and
    ends its workers. If it dies itself, torch ends them."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


Form = Literal["folders", "side_by_side"]
_INPUT, _TARGET = "occluded", "target"
_VALIDATED = 0.05


def open_pairs(root: Path, form: Form) -> FaceSource:
    """Opens a folder of pairs. Each is a record, of a person of its own.

    Args:
        form: `folders`, pictures of the same names in `occluded/` and `target/`, or `side_by_side`, both
            in one picture, the input on the left.

    Raises:
        SourceError: no such folder, no pictures in it, or one of a pair is missing.
    """
    inputs = root / _INPUT if form == "folders" else root
    if not inputs.is_dir():
        raise SourceError(f"{inputs} is no folder; see data.pairs in docs/training.md")
    paths = find_pictures(inputs)
    if not paths:
        raise SourceError(f"{inputs} holds no pictures")
    names = [path.relative_to(inputs).as_posix() for path in paths]
    if form == "folders":
        targets = [root / _TARGET / name for name in names]
        if missing := [path for path in targets if not path.exists()]:
            raise SourceError(f"{missing[0]} is missing: every picture of {_INPUT}/ needs its {_TARGET}/")
        paths += targets
    newest = max(path.stat().st_mtime_ns for path in paths)
    records = [FaceRecord(name, f"{root.name}:{name}") for name in names]
    reader = _Reader(root, form)
    return FaceSource(root.name, records, reader, fingerprint_of(form, newest, *names))


def split_pairs(pairs: FaceSource, split_file: Path | None) -> tuple[FaceSource, FaceSource]:
    """The pairs to train on and those to validate on: 5%, at least one, by a hash of their names.

    Args:
        split_file: see `datasets.take_split`. It overrides the hash.

    Raises:
        SourceError: there are not two, or the split file leaves a part empty.
    """
    if split_file is not None:
        train, val = (take_split(pairs, split, split_file) for split in (Split.TRAIN, Split.VAL))
        return train, val
    if len(pairs) < 2:
        raise SourceError(
            f"{pairs.name} holds one pair; training needs one to learn from and one to validate"
        )
    order = sorted((seed_of("pairs", record.name), record.name) for record in pairs.records)
    held_out = {name for _, name in order[: max(1, round(_VALIDATED * len(order)))]}
    return (
        pairs.where(lambda record: record.name not in held_out),
        pairs.where(lambda record: record.name in held_out),
    )


class _Reader:
    """Reads a pair as one picture (H, 2 · W, 3), the input on the left."""

    def __init__(self, root: Path, form: Form) -> None:
        self._root, self._form = root, form

    def __call__(self, name: str) -> Image:
        if self._form == "side_by_side":
            return read_image(self._root / name)
        given, target = (read_image(self._root / part / name) for part in (_INPUT, _TARGET))
        if given.shape != target.shape:
            raise PictureError(f"{name} has another size in {_INPUT}/ than in {_TARGET}/")
        return np.hstack([given, target])


def decode_pair(source: FaceSource, record: FaceRecord, size_px: int) -> Image:
    """A pair with both pictures resized to squares: uint8 (size, 2 · size, 3) RGB, see `data.Decode`.

    Raises:
        PictureError: it cannot be read, or has an odd width.
    """
    pair = source.read(record.name)
    if pair.shape[1] % 2:
        raise PictureError(f"{record.name} is {pair.shape[1]} pixels wide and so has no two equal halves")
    return np.hstack([resize(half, size_px, size_px) for half in halves(pair)])


def halves(pair: Image) -> tuple[Image, Image]:
    """Input and target of a picture that holds both side by side."""
    middle = pair.shape[1] // 2
    return np.ascontiguousarray(pair[:, :middle]), np.ascontiguousarray(pair[:, middle:])


class PairedPictures(TrainingDataset):
    """Pairs of pictures, jittered and mirrored alike."""

    def _sample(self, record: int, rng: np.random.Generator) -> Sample:
        size_px, jitter_px = self._size_px, self._config.jitter_px
        occluded, target = halves(np.asarray(self._crops.images[record]))
        if jitter_px:
            corner = rng.integers(0, jitter_px - size_px + 1, 2)
            occluded, target = (
                cut_enlarged(half, jitter_px, corner, size_px) for half in (occluded, target)
            )
        if self._config.flip and rng.random() < 0.5:
            occluded, target = occluded[:, ::-1], target[:, ::-1]
        alpha = np.zeros((len(CLASSES), size_px, size_px), dtype=np.float32)
        alpha[CLASSES.index(OcclusionClass.COVERS)] = 1
        hint = np.zeros((1, size_px, size_px), dtype=np.float32)
        return Sample(occluded, target, alpha, hint, rng.integers(0, size_px, 2))

"""The protocol `harm`: uncovered photos in which nothing may change, as they are and degraded.

Each photo goes through every condition and then through facemend with its default options. The score is the
share of photos that come back changed. The report names every one of them.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from facemend import __version__
from facemend.datasets.faces import MEASURE, TURNED_ABOVE_YAW, yaw_of
from facemend.datasets.folder import IMAGES, table_of
from facemend.degradations import add_noise, blur_by, blur_gaussian, compress, disc, grey, line, sepia
from facemend.detection import Detector, Face
from facemend.errors import SourceError
from facemend.evaluation.protocol import open_held_out
from facemend.evaluation.results import CacheBuffer, ScoreCache, Scores, key_of
from facemend.evaluation.statistics import wilson_interval
from facemend.evaluation.tables import Table
from facemend.files import seed_of
from facemend.images import Image, digest_of
from facemend.io import find_pictures, read_photo
from facemend.parallel import Engine, LocalEngine
from facemend.reconstruction.reconstructor import Reconstructor
from facemend.terminal import progress as show_progress

NAME = "harm"
AS_IT_IS, IN_PROFILE = "as it is", "as it is, head turned"
_SHARES = (0.01, 0.02, 0.04)
_MOTION_SHARE = 0.04
_BORDER_SHARE = 1 / 3
_NO_FACE_SHARE = 1 / 3
_NOISE_LEVELS = 15.0
_QUALITY = 30
_CHANGED = ("unoccluded", "changed")


@dataclass(frozen=True)
class UncoveredPhoto:
    """An uncovered photo and its largest face.

    Attributes:
        pixels: uint8 (H, W, 3) RGB.
        face: the largest one, or None if the detector finds none.
    """

    pixels: Image
    face: Face | None

    @property
    def face_width_px(self) -> float:
        """Of the largest face; a third of the photo's shorter side if none is found."""
        if self.face is None:
            return float(min(self.pixels.shape[:2]) * _NO_FACE_SHARE)
        return self.face.box_px[2] - self.face.box_px[0]

    @property
    def turned(self) -> bool:
        """Whether the head is turned: a profile or a three-quarter view."""
        if self.face is None:
            return False
        return abs(yaw_of(self.face.landmarks_px)) > TURNED_ABOVE_YAW


Condition = Callable[[UncoveredPhoto, np.random.Generator], Image | None]
"""A photo and a random generator -> the photo to reconstruct, or None if the condition does not apply."""


def _blur(share: float, photo: UncoveredPhoto, rng: np.random.Generator) -> Image:
    """Out of focus: a Gaussian whose sigma is a share of the face's width."""
    return blur_gaussian(photo.pixels, share * photo.face_width_px)


def _lens(share: float, photo: UncoveredPhoto, rng: np.random.Generator) -> Image:
    """Out of focus as lenses blur: a disc whose radius is a share of the face's width."""
    return blur_by(photo.pixels, disc(share * photo.face_width_px))


def _motion(photo: UncoveredPhoto, rng: np.random.Generator) -> Image:
    """Blurred along a line in a random direction."""
    length_px = max(2.0, _MOTION_SHARE * photo.face_width_px)
    return blur_by(photo.pixels, line(length_px, rng.uniform(0, 180)))


def _at_border(photo: UncoveredPhoto, rng: np.random.Generator) -> Image | None:
    """Cropped so that a third of the face's width is outside, on the left or on the right."""
    if photo.face is None:
        return None
    x1, x2 = photo.face.box_px[0], photo.face.box_px[2]
    inside = _BORDER_SHARE * (x2 - x1)
    cut = (
        photo.pixels[:, : round(x2 - inside)]
        if rng.random() < 0.5
        else photo.pixels[:, round(x1 + inside) :]
    )
    return np.ascontiguousarray(cut) if cut.size else None


CONDITIONS: Mapping[str, Condition] = {
    AS_IT_IS: lambda photo, rng: photo.pixels,
    IN_PROFILE: lambda photo, rng: photo.pixels if photo.turned else None,
    **{f"Gaussian blur, {share:.0%}": partial(_blur, share) for share in _SHARES},
    **{f"lens blur, {share:.0%}": partial(_lens, share) for share in _SHARES},
    "black and white": lambda photo, rng: grey(photo.pixels),
    "sepia": lambda photo, rng: sepia(photo.pixels, 1),
    "motion blur": _motion,
    f"JPEG {_QUALITY}": lambda photo, rng: compress(photo.pixels, _QUALITY),
    "noise": lambda photo, rng: add_noise(photo.pixels, _NOISE_LEVELS, rng),
    "at the border": _at_border,
}
"""Every condition by its name. Blurs are shares of the width of the largest face."""


@dataclass(frozen=True)
class HarmRow:
    """How often a model changes photos under one condition.

    Attributes:
        condition: a key of CONDITIONS.
        photos: number of photos that the condition applies to.
        changed: names of the photos that come back changed.
        share: of the photos that come back changed, 0-1; None without photos.
        low, high: its 95% interval (see `statistics.wilson_interval`).
    """

    condition: str
    photos: int
    changed: tuple[str, ...]
    share: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class HarmReport:
    """The result of `facemend evaluate --protocol harm`.

    Attributes:
        protocol: "harm".
        facemend: the version of the program.
        source: the folder's name.
        photos: number of photos.
        without_face: names of photos in which no face is found, as they are.
        model, model_sha256: what was measured.
        rows: one for each condition.
        command: repeats the evaluation.
    """

    protocol: str
    facemend: str
    source: str
    photos: int
    without_face: tuple[str, ...]
    model: str
    model_sha256: str
    rows: tuple[HarmRow, ...]
    command: str = ""

    def to_json(self) -> str:
        """The report as JSON text."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=1) + "\n"

    def to_markdown(self) -> str:
        """The table and the names of all changed photos."""
        parts = [
            f"# Harm\n\n{NAME}, facemend {self.facemend}: {self.photos} photos ({self.source}) in which "
            f"nothing may change, {self.model}. In brackets: 95% interval (Wilson).\n",
            to_table(self).to_markdown() + "\n",
        ]
        names = [f"- {row.condition}: {', '.join(row.changed)}" for row in self.rows if row.changed]
        if names:
            parts.append("## Changed photos\n\n" + "\n".join(names) + "\n")
        if self.without_face:
            parts.append("## No face found\n\n" + ", ".join(self.without_face) + "\n")
        if self.command:
            parts.append(f"## Again\n\n```bash\n{self.command}\n```\n")
        return "\n".join(parts)


def to_table(report: HarmReport) -> Table:
    """The share of changed photos by condition."""
    lines = []
    for row in report.rows:
        share = "–"
        if row.share is not None and row.low is not None and row.high is not None:
            share = f"{row.share:.1%} ({row.low:.1%} to {row.high:.1%})"
        lines.append((row.condition, str(row.photos), str(len(row.changed)), share))
    return Table(("condition", "photos", "changed", "share"), tuple(lines))


def find_photos(source: Path) -> tuple[Path, ...]:
    """The photos of a folder. If it has a table (see `datasets.folder`), those whose `use` is `measure`.

    Raises:
        SourceError: no such folder, no photos in it, or a table that cannot be parsed.
    """
    if table_of(source) is not None:
        names = [record.name for record in open_held_out(source).records if record.use == MEASURE]
        return tuple(sorted(source / IMAGES / name for name in names))
    if not source.is_dir():
        raise SourceError(f"{source} is not a folder; --protocol {NAME} takes a folder of uncovered photos")
    paths = find_pictures(source)
    if not paths:
        raise SourceError(f"{source} holds no photos")
    return tuple(paths)


def measure_harm(
    model: Path,
    photos: Sequence[Path],
    *,
    source: str,
    conditions: Sequence[str] = tuple(CONDITIONS),
    threads: int | None = None,
    cache: ScoreCache | None = None,
    command: str = "",
    progress: bool = False,
    engine: Engine | None = None,
) -> HarmReport:
    """Counts how often facemend changes uncovered photos.

    Args:
        model: a facemend model file.
        photos: uncovered photos.
        source: what the report calls them.
        conditions: keys of CONDITIONS.
        threads: of the processor, for the model. None for all cores.
        cache: where scores are kept, so that a killed run resumes. None keeps none.
        command: the command that repeats the evaluation, for the report.
        progress: whether to show a progress bar on a terminal.
        engine: runs the work. None runs it in this process.

    Raises:
        ModelError: not a facemend model.
        PictureError: a photo cannot be read.
        OutputError: the cache cannot be read or written.
    """
    work = _Work(model, tuple(photos), tuple(conditions), threads, cache)
    found: list[Mapping[str, bool | None]] = []
    faceless = []
    with closing((engine or LocalEngine(1)).run(work.open, len(photos), batch=1)) as results:
        shown = show_progress(results, total=len(photos), unit="photo", quiet=not progress)
        for path, (has_face, changed, new) in zip(photos, shown, strict=True):
            found.append(changed)
            faceless += [] if has_face else [path.name]
            for key, scores in new.items():
                assert cache is not None
                cache.put(key, scores)
    opened = Reconstructor(model, threads=threads).model
    rows = (_row(name, photos, [each[name] for each in found]) for name in conditions)
    return HarmReport(
        NAME,
        __version__,
        source,
        len(photos),
        tuple(faceless),
        opened.description.name,
        opened.sha256,
        tuple(rows),
        command,
    )


def _row(condition: str, photos: Sequence[Path], changed: Sequence[bool | None]) -> HarmRow:
    counted = [each for each in changed if each is not None]
    names = tuple(path.name for path, each in zip(photos, changed, strict=True) if each)
    if not counted:
        return HarmRow(condition, 0, (), None, None, None)
    low, high = wilson_interval(len(names), len(counted))
    return HarmRow(condition, len(counted), names, len(names) / len(counted), low, high)


_PhotoResult = tuple[bool, Mapping[str, bool | None], Mapping[str, Scores]]
"""Whether a face is found, by condition whether the photo is changed, and the new scores by key."""


@dataclass(frozen=True)
class _Work:
    """Measures one photo after another, in the process where the engine runs it."""

    model: Path
    photos: tuple[Path, ...]
    conditions: tuple[str, ...]
    threads: int | None
    cache: ScoreCache | None

    def open(self) -> Callable[[int], _PhotoResult]:
        return partial(
            self._measure, Reconstructor(self.model, threads=self.threads), Detector(threads=self.threads)
        )

    def _measure(self, reconstructor: Reconstructor, detector: Detector, index: int) -> _PhotoResult:
        path = self.photos[index]
        pixels = read_photo(path).pixels
        photo = UncoveredPhoto(pixels, next(iter(detector(pixels)), None))
        buffer = None if self.cache is None else CacheBuffer(self.cache)
        changed = dict(self._changed(reconstructor, buffer, path.name, photo))
        return photo.face is not None, changed, {} if buffer is None else buffer.new

    def _changed(
        self, reconstructor: Reconstructor, buffer: CacheBuffer | None, name: str, photo: UncoveredPhoto
    ) -> Iterator[tuple[str, bool | None]]:
        for condition in self.conditions:
            degraded = CONDITIONS[condition](photo, np.random.default_rng(seed_of(NAME, name, condition)))
            if degraded is None:
                yield condition, None
                continue
            key = key_of(reconstructor.model.sha256, digest_of(degraded), NAME)
            scores = None if buffer is None else buffer.get(key)
            if scores is None:
                scores = Scores({_CHANGED: float((reconstructor(degraded).array != degraded).any())})
                if buffer is not None:
                    buffer.put(key, scores)
            yield condition, bool(scores.values[_CHANGED])

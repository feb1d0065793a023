"""The set `harm`: photos in which nothing may change, as they are and as people spoil them.

Each photo goes through every condition, and then through the product with its default options. The share of
photos that come back changed is the score, and the report names every one of them.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from facemend import __version__
from facemend.degradations import add_noise, compress
from facemend.detection import Detector, Face
from facemend.errors import SourceError
from facemend.evaluation.cache import Figures, Ledger, Store, key_of
from facemend.evaluation.groups import TABLE, TURNED_ABOVE_YAW, open_held_out
from facemend.evaluation.statistics import wilson_interval
from facemend.evaluation.tables import Table
from facemend.images import Image, digest_of
from facemend.io import find_pictures, read_photo
from facemend.metrics.opencv import cv2
from facemend.occlusion import seed_of
from facemend.parallel import Engine, LocalEngine
from facemend.reconstruction.reconstructor import Reconstructor

NAME = "harm"
AS_IT_IS, IN_PROFILE = "as it is", "as it is, head turned"
_SHARES = (0.01, 0.02, 0.04)
_MOTION_SHARE = 0.04
_BORDER_SHARE = 1 / 3
_NO_FACE_SHARE = 1 / 3
_NOISE_LEVELS = 15.0
_QUALITY = 30
_LUMA = np.array([0.299, 0.587, 0.114])
_SEPIA = np.array([(0.393, 0.769, 0.189), (0.349, 0.686, 0.168), (0.272, 0.534, 0.131)])
_CHANGED = ("unoccluded", "changed")


@dataclass(frozen=True)
class Shown:
    """An uncovered photo and its largest face.

    Attributes:
        pixels: uint8 (H, W, 3) RGB.
        face: None where the detector finds none.
    """

    pixels: Image
    face: Face | None

    @property
    def face_width_px(self) -> float:
        """Of the largest face; a third of the photo's shorter side where none is found."""
        if self.face is None:
            return float(min(self.pixels.shape[:2]) * _NO_FACE_SHARE)
        return self.face.box_px[2] - self.face.box_px[0]

    @property
    def turned(self) -> bool:
        """Whether the head is turned: a profile, or a three-quarter view."""
        if self.face is None:
            return False
        left, right, nose = self.face.landmarks_px[:3]
        across = right - left
        # The nose's offset from the middle of the eyes, over their distance.
        yaw = (nose - (left + right) / 2) @ across / max(float(across @ across), 1e-12)
        return abs(float(yaw)) > TURNED_ABOVE_YAW


Condition = Callable[[Shown, np.random.Generator], Image | None]
"""A photo and a source of randomness -> the photo as it is given to the product; None: not this photo."""


def _blur(share: float, shown: Shown, rng: np.random.Generator) -> Image:
    """Out of focus: a Gaussian whose sigma is such a share of the face's width."""
    sigma = share * shown.face_width_px
    return np.asarray(cv2.GaussianBlur(shown.pixels, (0, 0), sigma), dtype=np.uint8)


def _lens(share: float, shown: Shown, rng: np.random.Generator) -> Image:
    """Out of focus as lenses are: a disc whose radius is such a share of the face's width."""
    radius = share * shown.face_width_px
    reach = int(np.ceil(radius))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = np.clip(radius + 0.5 - np.hypot(x, y), 0, 1)
    return _filter(shown.pixels, disc)


def _motion(shown: Shown, rng: np.random.Generator) -> Image:
    """Blurred along a line in any direction."""
    length = max(2.0, _MOTION_SHARE * shown.face_width_px)
    angle = rng.uniform(0, np.pi)
    steps = np.linspace(-length / 2, length / 2, 8 * int(np.ceil(length)))
    reach = int(np.ceil(length / 2)) + 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    at = np.rint(steps[:, None] * (np.sin(angle), np.cos(angle))).astype(int) + reach
    np.add.at(kernel, (at[:, 0], at[:, 1]), 1)
    return _filter(shown.pixels, kernel)


def _filter(pixels: Image, kernel: npt.NDArray[np.float64]) -> Image:
    filtered = cv2.filter2D(pixels, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT)
    return np.asarray(filtered, dtype=np.uint8)


def _in_colours(matrix: npt.NDArray[np.float64], shown: Shown, rng: np.random.Generator) -> Image:
    """Each new channel is a mixture of red, green and blue: matrix (3, 3)."""
    return np.rint(shown.pixels @ matrix.T).clip(0, 255).astype(np.uint8)


def _at_border(shown: Shown, rng: np.random.Generator) -> Image | None:
    """Cut so that a third of the face's width lies outside, to the left or to the right."""
    if shown.face is None:
        return None
    x1, x2 = shown.face.box_px[0], shown.face.box_px[2]
    inside = _BORDER_SHARE * (x2 - x1)
    cut = (
        shown.pixels[:, : round(x2 - inside)]
        if rng.random() < 0.5
        else shown.pixels[:, round(x1 + inside) :]
    )
    return np.ascontiguousarray(cut) if cut.size else None


CONDITIONS: Mapping[str, Condition] = {
    AS_IT_IS: lambda shown, rng: shown.pixels,
    IN_PROFILE: lambda shown, rng: shown.pixels if shown.turned else None,
    **{f"Gaussian blur, {share:.0%}": partial(_blur, share) for share in _SHARES},
    **{f"lens blur, {share:.0%}": partial(_lens, share) for share in _SHARES},
    "black and white": partial(_in_colours, np.tile(_LUMA, (3, 1))),
    "sepia": partial(_in_colours, _SEPIA),
    "motion blur": _motion,
    f"JPEG {_QUALITY}": lambda shown, rng: compress(shown.pixels, _QUALITY),
    "noise": lambda shown, rng: add_noise(shown.pixels, _NOISE_LEVELS, rng),
    "at the border": _at_border,
}
"""Every condition by its name. Blurs are shares of the width of the largest face."""


@dataclass(frozen=True)
class HarmRow:
    """How often a model changes photos under one condition.

    Attributes:
        condition: a key of CONDITIONS.
        photos: that the condition can be applied to.
        changed: their names, of those that come back changed.
        share: of the photos that are changed, 0-1; None without photos.
        low, high: its 95% interval (see `proportions.wilson_interval`).
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
        photos: how many there are.
        without_face: names of photos in which no face is found as they are.
        model, model_sha256: what was measured.
        rows: one a condition.
        command: what repeats the report.
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
        """The table, and every changed photo."""
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
    """The photos of a folder; of one with `faces.csv`, those rows whose `use` is `measure`.

    Raises:
        SourceError: no such folder, or no photos in it.
    """
    if (source / TABLE).is_file():
        faces = open_held_out(source)
        named = [r.name for r in faces.records if getattr(r, "measure_only", False)]
        return tuple(sorted(source / "images" / name for name in named))
    if not source.is_dir():
        raise SourceError(f"{source} is no folder; --protocol {NAME} needs a folder of uncovered photos")
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
    store: Store | None = None,
    command: str = "",
    progress: bool = False,
    engine: Engine | None = None,
) -> HarmReport:
    """Counts how often the product changes photos in which nothing is covered.

    Args:
        model: a facemend model file.
        photos: uncovered ones.
        source: what the report calls them.
        conditions: of CONDITIONS.
        threads: of the processor, for the model; None lets ONNX Runtime choose.
        store: where scores are kept and looked up, so that a killed run goes on; None keeps none.
        command: what the report says repeats it.
        progress: whether to show a progress bar on a terminal.
        engine: who does the work; None: this process.

    Raises:
        ModelError: not a facemend model.
        PictureError: a photo cannot be read.
        OutputError: the store refuses.
    """
    work = _Work(model, tuple(photos), tuple(conditions), threads, store)
    found: list[Mapping[str, bool | None]] = []
    faceless = []
    with closing((engine or LocalEngine(1)).run(work.open, len(photos), batch=1)) as pages:
        shown = tqdm(pages, total=len(photos), unit="photo", disable=None if progress else True)
        for path, (has_face, changed, taken) in zip(photos, shown, strict=True):
            found.append(changed)
            faceless += [] if has_face else [path.name]
            for key, scores in taken.items():
                assert store is not None
                store.put(key, scores)
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


_Page = tuple[bool, Mapping[str, bool | None], Mapping[str, Figures]]
"""Whether a face is found, whether each condition's photo is changed, and the scores that are new."""


@dataclass(frozen=True)
class _Work:
    """The measuring of one photo after another, wherever an engine does it."""

    model: Path
    photos: tuple[Path, ...]
    conditions: tuple[str, ...]
    threads: int | None
    known: Store | None

    def open(self) -> Callable[[int], _Page]:
        return partial(
            self._measure, Reconstructor(self.model, threads=self.threads), Detector(threads=self.threads)
        )

    def _measure(self, reconstructor: Reconstructor, detector: Detector, place: int) -> _Page:
        path = self.photos[place]
        pixels = read_photo(path).pixels
        shown = Shown(pixels, next(iter(detector(pixels)), None))
        ledger = None if self.known is None else Ledger(self.known)
        changed = dict(self._changed(reconstructor, ledger, path.name, shown))
        return shown.face is not None, changed, {} if ledger is None else ledger.taken

    def _changed(
        self, reconstructor: Reconstructor, ledger: Ledger | None, name: str, shown: Shown
    ) -> Iterator[tuple[str, bool | None]]:
        for condition in self.conditions:
            spoilt = CONDITIONS[condition](shown, np.random.default_rng(seed_of(NAME, name, condition)))
            if spoilt is None:
                yield condition, None
                continue
            key = key_of(reconstructor.model.sha256, digest_of(spoilt), NAME)
            scores = None if ledger is None else ledger.get(key)
            if scores is None:
                scores = Figures({_CHANGED: float((reconstructor(spoilt).image != spoilt).any())})
                if ledger is not None:
                    ledger.put(key, scores)
            yield condition, bool(scores.values[_CHANGED])

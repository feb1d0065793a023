"""Mixtures of several sources of faces: the share of each, who is sampled more often, zoom augmentation."""

import json
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facemend.alignment import (
    FRAME_HEIGHT_PX,
    FRAME_LANDMARKS_PX,
    FRAME_WIDTH_PX,
    Points,
    aligned_rows,
    frame_to_crop,
    sample,
    similarity,
)
from facemend.datasets import FaceRecord, FaceSource, Split, open_source, take_split
from facemend.datasets.faces import COVERAGE, GROUPS, MEASURE, ReadPicture
from facemend.datasets.remote import is_url
from facemend.detection import Detector
from facemend.errors import SourceError, reason_of
from facemend.files import fingerprint_of, parse_json, read_own, seed_of, write_text
from facemend.images import Image, resize
from facemend.parallel import cores
from facemend.training.config import SourceConfig


@dataclass(frozen=True)
class Part:
    """The training faces of one source.

    Attributes:
        faces: at least one.
        share: of the samples, compared with the other parts.
        oversample: factors by group, see `SourceConfig`.
    """

    faces: FaceSource
    share: float = 1.0
    oversample: Mapping[str, float] = field(default_factory=dict)

    @property
    def weights(self) -> npt.NDArray[np.float64]:
        """How often each face is sampled, (N,). They add up to the share."""
        factors = np.array([self._factor(record) for record in self.faces.records])
        weights: npt.NDArray[np.float64] = factors * (self.share / factors.sum())
        return weights

    def _factor(self, record: FaceRecord) -> float:
        return max((f for group, f in self.oversample.items() if GROUPS[group](record)), default=1.0)


@dataclass(frozen=True)
class Mixture:
    """The training faces, of one or several sources."""

    parts: tuple[Part, ...]

    @staticmethod
    def of(faces: "FaceSource | Mixture") -> "Mixture":
        """A single source is a mixture whose faces all weigh the same."""
        return faces if isinstance(faces, Mixture) else Mixture((Part(faces),))

    @property
    def name(self) -> str:
        """For people: the names of all sources."""
        return " + ".join(part.faces.name for part in self.parts)

    @property
    def records(self) -> Sequence[FaceRecord]:
        """All faces, in the order of the sources."""
        return [record for part in self.parts for record in part.faces.records]

    @property
    def described(self) -> FaceSource:
        """The first source whose faces all have CelebA's attributes, or the very first if none has."""
        complete = (p.faces for p in self.parts if all(record.attributes for record in p.faces.records))
        return next(complete, self.parts[0].faces)

    def first(self, count: int | None) -> "Mixture":
        """The same mixture, each source cut to its first `count` faces (None: all)."""
        return Mixture(tuple(replace(part, faces=part.faces.first(count)) for part in self.parts))


def open_mixture(
    sources: Mapping[str, SourceConfig], data: FaceSource, split_file: Path | None, cache: Path | None
) -> Mixture:
    """The training faces of all sources of a config.

    Args:
        data: what --data names.
        split_file: of `data`, see `take_split`.
        cache: folder for what is computed once per picture (None: nowhere).

    Raises:
        SourceError: a path does not exist, a source has no faces to take, or some are marked `measure`.
    """
    return Mixture(
        tuple(
            Part(
                _training_faces(name, source, data, split_file, cache),
                source.share,
                source.oversample,
            )
            for name, source in sources.items()
        )
    )


def refuse_measured(faces: FaceSource, advice: str) -> None:
    """Checks that no face is marked for measuring only.

    Raises:
        SourceError: some are. The message ends with the advice.
    """
    if measured := sum(record.use == MEASURE for record in faces.records):
        raise SourceError(
            f"{measured} of {len(faces)} pictures of {faces.name} are marked {MEASURE}, which is never "
            f"trained on; {advice}"
        )


def _training_faces(
    name: str, source: SourceConfig, data: FaceSource, split_file: Path | None, cache: Path | None
) -> FaceSource:
    key = f"data.sources.{name}"
    if source.path is None:
        faces = data
    else:
        faces, split_file = _open(source.path, key), None
    if source.use is not None:
        uses = sorted({record.use or "nothing" for record in faces.records})
        faces = faces.where(lambda record: record.use == source.use)
        if not faces.records:
            raise SourceError(
                f"{key}.use: no picture is for {source.use!r}, they are for {', '.join(uses)}"
            )
    refuse_measured(faces, f'set {key}.use = "train"')
    part = take_split(faces, Split.TRAIN, split_file)
    return zoomed(part, cache) if source.zoom else part


def _open(path: str, key: str) -> FaceSource:
    if not is_url(path) and not Path(path).exists():
        raise SourceError(
            f"{key}.path: {path} does not exist; like --data it is relative to the current folder"
        )
    return open_source(path)


_LOOSEST, _TIGHTEST = 0.5, 1.0  # 0 is CelebA's framing, 1 the picture's own
_BORDER = 0.3  # share of the side: the detector needs some room around a face
_LARGEST_PX = 256  # a larger picture is shrunk to this side, which is sharp enough for a frame
_SQUARE_PX = -frame_to_crop(np.zeros(2), FRAME_WIDTH_PX)
"""The first pixel (x, y) of the canonical square in the frame."""


@dataclass(frozen=True)
class _Framing:
    """The framing of a picture.

    Attributes:
        to_own: (2, 3), maps pixels of the frame that is shown to the frame around the picture.
        landmarks_px: (5, 2) in the frame that is shown.
    """

    to_own: Points
    landmarks_px: Points

    @property
    def coverage(self) -> float:
        """The share of the shown canonical square that is real picture."""
        side = np.arange(FRAME_WIDTH_PX, step=4.0)
        points = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2) + _SQUARE_PX
        square = points @ self.to_own[:, :2].T + self.to_own[:, 2] - _SQUARE_PX
        return float(((square >= -0.5) & (square <= FRAME_WIDTH_PX - 0.5)).all(axis=1).mean())


def zoomed(source: FaceSource, cache: Path | None = None) -> FaceSource:
    """A source of tight squares as 178×218 frames. Pictures without a face are left out, with a warning.

    Detectors and other tools crop faces tighter than CelebA. Each picture gets a framing between the two:
    from its own to half the way to CelebA's. Beyond the picture, its border is repeated.

    Args:
        cache: folder that keeps the detector's landmarks (None: they are not kept).

    Raises:
        SourceError: no face is found in any picture.
        PictureError: a picture cannot be read, or is neither a square nor a 178×218 frame.
    """
    found = _own_landmarks(source, cache)
    framings = {name: _framing(name, points) for name, points in found.items() if points is not None}
    if not framings:
        raise SourceError(f"no face is found in the {len(source)} pictures of {source.name}")
    if lost := len(source) - len(framings):
        warnings.warn(f"{lost} of {len(source)} pictures of {source.name} do not show a face", stacklevel=2)
    records = [
        replace(
            record,
            frame_landmarks_px=framings[record.name].landmarks_px,
            traits={**record.traits, COVERAGE: framings[record.name].coverage},
        )
        for record in source.records
        if record.name in framings
    ]
    reader = _Reader(source.read, framings)
    return FaceSource(source.name, records, reader, fingerprint_of("zoom", source.fingerprint))


def _framing(name: str, own_px: Points) -> _Framing:
    """Between CelebA's framing and the picture's own, as the picture's name draws it."""
    tightness = np.random.default_rng(seed_of("zoom", name)).uniform(_LOOSEST, _TIGHTEST)
    to_own = similarity(FRAME_LANDMARKS_PX + tightness * (own_px - FRAME_LANDMARKS_PX), own_px)
    return _Framing(to_own, (own_px - to_own[:, 2]) @ np.linalg.inv(to_own[:, :2]).T)


class _Reader:
    """Reads a picture as the 178×218 frame that its framing shows."""

    def __init__(self, read: ReadPicture, framings: Mapping[str, _Framing]) -> None:
        self._read, self._framings = read, framings

    def __call__(self, name: str) -> Image:
        image = self._read(name)
        image = image[aligned_rows(image, name)]
        side_px = min(len(image), _LARGEST_PX)
        padded = np.pad(
            resize(image, side_px, side_px), ((side_px,) * 2, (side_px,) * 2, (0, 0)), mode="edge"
        )
        unit = side_px / FRAME_WIDTH_PX
        to_picture = self._framings[name].to_own.copy()
        to_picture[:, 2] -= _SQUARE_PX
        to_picture *= unit
        to_picture[:, 2] += 0.5 * unit - 0.5 + side_px
        return sample(padded, to_picture, FRAME_WIDTH_PX, FRAME_HEIGHT_PX)


def _own_landmarks(source: FaceSource, cache: Path | None) -> dict[str, Points | None]:
    """Each face's landmarks if the picture itself is the canonical square: (5, 2) in the 178×218 frame."""
    names = [record.name for record in source.records]
    path = None
    if cache is not None:
        path = cache / f"landmarks-{fingerprint_of(source.name, source.fingerprint, *names)}.json"
        if path.exists() or path.is_symlink():
            return _known_landmarks(path, names)
    detector = Detector(threads=1)
    with ThreadPoolExecutor(cores()) as pool:
        points = list(pool.map(lambda name: _find(detector, source.read(name), name), names))
    found = dict(zip(names, points, strict=True))
    if path is not None:
        rows = {name: None if each is None else each.round(2).tolist() for name, each in found.items()}
        write_text(path, json.dumps(rows), force=True)  # processes that start together write the same
    return {name: None if each is None else each.round(2) for name, each in found.items()}


def _known_landmarks(path: Path, names: Sequence[str]) -> dict[str, Points | None]:
    """The landmarks that an earlier call kept. Raises SourceError: the file holds something else."""
    try:
        known = parse_json(read_own(path))
        found = {
            name: None if (points := known[name]) is None else np.array(points, dtype=np.float64)
            for name in names
        }
        if any(points is not None and points.shape != (5, 2) for points in found.values()):
            raise ValueError("a face has five points")
    except (OSError, ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
        raise SourceError(f"{path} cannot be read ({reason_of(error)}); delete it") from error
    return found


def _find(detector: Detector, image: Image, name: str) -> Points | None:
    """The landmarks of a picture's largest face, in the frame around the picture."""
    image = image[aligned_rows(image, name)]
    side_px = len(image)
    border_px = round(_BORDER * side_px)
    faces = detector(np.pad(image, ((border_px, border_px), (border_px, border_px), (0, 0)), mode="edge"))
    if not faces:
        return None
    own: Points = (faces[0].landmarks_px - border_px + 0.5) * (FRAME_WIDTH_PX / side_px) - 0.5
    return own + _SQUARE_PX

"""Mixtures of several sources of faces: the share of each, and who is sampled more often."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facemend.datasets import FaceRecord, FaceSource, Split, open_source, take_split
from facemend.datasets.faces import GROUPS, MEASURE
from facemend.datasets.remote import is_url
from facemend.datasets.zoom import zoomed
from facemend.errors import SourceError
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

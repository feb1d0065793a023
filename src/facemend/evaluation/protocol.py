"""Protocols: which faces are measured, of which groups of people, under which occlusions and conditions."""

import hashlib
import json
from bisect import bisect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib.resources import files
from pathlib import Path

import numpy as np

from facemend.alignment import FRAME_LANDMARKS_PX, Points, canonical_landmarks, frame_to_crop
from facemend.datasets import FaceRecord, FaceSource, Split, open_source, take_split
from facemend.datasets.faces import AGE, DARK_BELOW_ITA, ITA, MEASURE, SEX, SOURCE, TURNED_ABOVE_YAW, YAW
from facemend.datasets.folder import open_table, table_of
from facemend.degradations import add_noise, coarsen, compress, misalign
from facemend.errors import SourceError, UsageError
from facemend.evaluation.results import Published
from facemend.evaluation.systems import OpenModel, open_model
from facemend.files import fingerprint_of, seed_of
from facemend.images import Alpha, Image
from facemend.occlusion import BENCHMARK_KINDS, Kind, OccludedFace, allowed_kinds, occlude
from facemend.occlusion import SEED_SET as SEED_SET
from facemend.occlusion.real_masks import real_mask_kind

PROTOCOL = "facemend-bench v1"

AREAS: Mapping[str, tuple[float, float]] = {
    "nose_mask": (0.09, 0.18),
    "blur": (0.07, 0.16),
    "blur_full": (0.18, 0.32),
    "mask_full": (0.18, 0.32),
    "textured_mask": (0.09, 0.20),
    "sunglasses": (0.03, 0.09),
    "object": (0.04, 0.20),
    "pixelate": (0.07, 0.32),
}
"""Every kind of v1, with the smallest and largest share of the crop that its hole takes."""

HOLE_BINS = ("0-10%", "10-20%", "20-40%", "over 40%")
"""Sizes of the hole, as shares of the crop. A bin includes its lower end."""
_BIN_ENDS = (0.1, 0.2, 0.4)

_SHIFT_PX = 3.0
_SCALE = 0.03
_ROTATION_DEGREES = 3.0
_MOST_DRAWS = 100


def _no_groups(record: FaceRecord) -> tuple[str, ...]:
    return ()


OpenFaces = Callable[[Sequence[str], Split, Path | None], FaceSource]
"""The command line's SOURCEs, the split, and a split file or None -> the faces to measure on."""


@dataclass(frozen=True)
class Protocol:
    """What systems are measured on: faces, occlusions, and the picture that a model gets.

    Every function is picklable, so that it travels to the workers of an engine.

    Attributes:
        name: what the report calls it.
        kinds: of occlusion, in the report's order.
        open_faces: opens the faces to measure on. Raises SourceError, LeakError and UsageError.
        read_picture: reads the picture of a face before it is occluded, uint8 (S, S, 3).
        occlude: picture, record, kind -> the input. It depends on nothing else.
        open_model: opens a facemend model file with a number of threads (None: all) as a system.
        baselines: names of the default baselines.
        groups_of: the groups of people of a record (see `results.Group`).
        canonical: whether the pictures are canonical crops, which the harder conditions and the identity
            metrics need.
        published: scores that others published under it.
    """

    name: str
    kinds: tuple[str, ...]
    open_faces: OpenFaces
    read_picture: Callable[[FaceSource, FaceRecord], Image]
    occlude: Callable[[Image, FaceRecord, str], OccludedFace]
    open_model: OpenModel = open_model
    baselines: tuple[str, ...] = ("copy", "telea")
    groups_of: Callable[[FaceRecord], tuple[str, ...]] = _no_groups
    canonical: bool = True
    published: tuple[Published, ...] = ()

    def check_options(
        self, *, robustness: bool = False, identity: bool = False, learning: bool = False
    ) -> None:
        """Makes sure that the protocol supports the requested options.

        Args:
            robustness: harder conditions.
            identity: the identity distance.
            learning: baselines that learn from the training faces.

        Raises:
            UsageError: it does not.
        """
        if learning and self.name != PROTOCOL:
            raise UsageError(f"mean-face and eigenfaces are baselines of {PROTOCOL} only; leave them out")
        if (robustness or identity) and not self.canonical:
            raise UsageError(f"{self.name} has no canonical crops; leave --robustness and --identity out")

    def choose_kinds(self, words: str) -> tuple[str, ...]:
        """The kinds of a list such as "nose_mask,blur". "seed" stands for SEED_SET, "all" for every kind.

        Raises:
            UsageError: the protocol has no such kind.
        """
        sets = {"seed": SEED_SET, "all": self.kinds}
        kinds = tuple(dict.fromkeys(kind for word in words.split(",") for kind in sets.get(word, (word,))))
        for kind in kinds:
            if kind not in self.kinds:
                raise UsageError(f"{self.name} has no kind {kind!r}; choose from {', '.join(self.kinds)}")
        return kinds


def protocol_kinds() -> tuple[str, ...]:
    """The kinds of v1, in its order."""
    return tuple(AREAS)


def kinds_for(attributes: Mapping[str, bool], kinds: Sequence[str]) -> list[str]:
    """The kinds that a face is measured under. A face with glasses gets no sunglasses.

    Args:
        attributes: CelebA's, by name. Empty if unknown.
    """
    return list(allowed_kinds(dict.fromkeys(kinds, 1.0), attributes))


def make_input(crop: Image, name: str, kind: str) -> OccludedFace:
    """The input of v1 for a picture and a kind.

    The occlusion is drawn at CelebA's canonical landmarks, jittered by the seed. The picture's own
    landmarks are not used: not every picture has them, and they differ between detectors. The patterns are
    those that training never draws. The occlusion is drawn again until its area is within AREAS.

    Args:
        crop: uint8 (256, 256, 3), the canonical crop without occlusion.
        name: the picture's name in its source.
        kind: one of `protocol_kinds`.

    Raises:
        UsageError: the protocol has no such kind.
    """
    V1.choose_kinds(kind)
    smallest, largest = AREAS[kind]
    rng = np.random.default_rng(seed_of(PROTOCOL, name, kind))
    for _ in range(_MOST_DRAWS):
        landmarks_px = _jitter(canonical_landmarks(), rng)
        face = occlude(crop, landmarks_px, kind, int(rng.integers(2**63)), BENCHMARK_KINDS)
        if smallest <= face.occlusion.coverage <= largest:
            return face
    raise RuntimeError(f"{kind} misses its area of {smallest:.0%}-{largest:.0%} in {_MOST_DRAWS} draws")


def _jitter(landmarks_px: Points, rng: np.random.Generator) -> Points:
    """Landmarks (5, 2) moved by up to 3 px, 3% and 3° about their centre."""
    shift = rng.uniform(-_SHIFT_PX, _SHIFT_PX, 2)
    scale = 1 + rng.uniform(-_SCALE, _SCALE)
    angle = np.deg2rad(rng.uniform(-_ROTATION_DEGREES, _ROTATION_DEGREES))
    turn = scale * np.array([(np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))])
    centre = landmarks_px.mean(axis=0)
    moved: Points = (landmarks_px - centre) @ turn.T + centre + shift
    return moved


def hole_bin(coverage: float) -> str:
    """The bin of HOLE_BINS that a hole belongs to.

    Args:
        coverage: share of the crop that the hole takes, 0-1.
    """
    return HOLE_BINS[bisect(_BIN_ENDS, coverage)]


def input_digest(name: str, face: OccludedFace) -> bytes:
    """sha256 of one input: its name, and the bytes of truth, occluded picture and alpha."""
    alpha = face.occlusion.alpha.astype("<f4")
    return hashlib.sha256(
        b"\0".join((name.encode(), face.target.tobytes(), face.image.tobytes(), alpha.tobytes()))
    ).digest()


def is_frozen(split: str, kind: str, inputs_sha256: str) -> bool:
    """Whether a report's hash over all inputs of a kind equals the frozen hash of v1.

    It does for CelebA's whole val or test split. Scores on other inputs are not scores of v1.
    """
    return _frozen_digests().get(split, {}).get(kind) == inputs_sha256


@cache
def _frozen_digests() -> Mapping[str, Mapping[str, str]]:
    """By split and kind."""
    text = files("facemend.evaluation").joinpath("bench_v1.json").read_text("utf-8")
    digests: dict[str, dict[str, str]] = json.loads(text)
    return digests


def join_digests(digests: Iterable[bytes]) -> str:
    """One hexadecimal sha256 over many inputs, in their order."""
    return hashlib.sha256(b"".join(digests)).hexdigest()


def open_split(sources: Sequence[str], split: Split, split_file: Path | None) -> FaceSource:
    """The part of one source that belongs to a split (see `datasets.take_split`).

    Raises:
        UsageError: several sources.
    """
    if len(sources) > 1:
        raise UsageError("this protocol measures on one SOURCE; name --data once")
    return take_split(open_source(sources[0]), split, split_file)


def read_crop(source: FaceSource, record: FaceRecord) -> Image:
    """The canonical crop of a face, uint8 (256, 256, 3)."""
    return source.crop(record)


def occlude_crop(crop: Image, record: FaceRecord, kind: str) -> OccludedFace:
    """The input of v1 for a face and a kind (see `make_input`)."""
    return make_input(crop, record.name, kind)


V1 = Protocol(
    PROTOCOL,
    protocol_kinds(),
    open_split,
    read_crop,
    occlude_crop,
    baselines=("copy", "mean-colour", "mean-face", "eigenfaces", "telea", "navier-stokes"),
)
"""facemend-bench v1."""


Condition = Callable[[str, OccludedFace], OccludedFace]
"""A picture's name and an input of the protocol -> the same input under harder conditions."""

UNCHANGED = "unchanged"
"""The reference of the other conditions: the same first inputs as they were drawn."""
_NOISE_LEVELS = 10.0


def _degraded(degrade: Callable[[Image], Image], name: str, face: OccludedFace) -> OccludedFace:
    return replace(face, image=degrade(face.image))


def _noisy(name: str, face: OccludedFace) -> OccludedFace:
    rng = np.random.default_rng(seed_of(PROTOCOL, "noise", name, face.occlusion.kind))
    return replace(face, image=add_noise(face.image, _NOISE_LEVELS, rng))


def _misaligned(rotation_degrees: float, scale: float, name: str, face: OccludedFace) -> OccludedFace:
    def cut(image: Image) -> Image:
        return misalign(image, canonical_landmarks(), rotation_degrees, scale, (0.0, 0.0))[0]

    def cut_alpha(alpha: Alpha) -> Alpha:
        levels = np.rint(alpha * 255).astype(np.uint8)
        return cut(np.repeat(levels[..., None], 3, axis=2))[..., 0].astype(np.float32) / np.float32(255)

    alpha, target = cut_alpha(face.occlusion.alpha), cut(face.target)
    # Filtering spreads the occlusion's edge a little. Outside of it, input and truth stay equal.
    image = np.where(alpha[..., None] > 0, cut(face.image), target)
    return OccludedFace(image, target, replace(face.occlusion, alpha=alpha))


CONDITIONS: Mapping[str, Condition] = {
    UNCHANGED: lambda name, face: face,
    "JPEG 50": partial(_degraded, partial(compress, quality=50)),
    "half resolution": partial(_degraded, partial(coarsen, factor=2)),
    "quarter resolution": partial(_degraded, partial(coarsen, factor=4)),
    "noise of 10 levels": _noisy,
    "rotated by 10°": partial(_misaligned, 10, 1),
    "rotated by -10°": partial(_misaligned, -10, 1),
    "10% larger": partial(_misaligned, 0, 1.1),
    "10% smaller": partial(_misaligned, 0, 0.9),
}
"""Every condition by its name."""


DIVERSE, REAL_CUTOUTS = "diverse", "real-cutouts"
KIND = "real_mask"
LIGHT_ABOVE_ITA, FRONTAL_BELOW_YAW = 28.0, 0.1
"""The other ends are `DARK_BELOW_ITA` and `TURNED_ABOVE_YAW`."""

_AGES = ((13, "under 13"), (20, "13 to 19"), (40, "20 to 39"), (60, "40 to 59"), (200, "60 and older"))
_CELEBA_SOURCES = frozenset({"celebw"})
"""Their pictures show people of CelebA, whom a model may have been trained on."""


def diverse() -> Protocol:
    """The protocol `diverse`: the kinds of v1 on people whom CelebA hardly shows."""
    return Protocol(DIVERSE, protocol_kinds(), _open_one, read_crop, occlude_crop, groups_of=groups_of)


def _open_one(sources: Sequence[str], split: Split, split_file: Path | None) -> FaceSource:
    if len(sources) > 1 or split is not Split.TEST or split_file is not None:
        raise UsageError(f"--protocol {DIVERSE} knows its held-out faces: give one --data, and no split")
    return open_held_out(Path(sources[0]))


def open_held_out(folder: Path) -> FaceSource:
    """The faces of a folder with a table (see `datasets.folder`) that no model may be trained on.

    They are shuffled by a fixed seed, so that the first ones are a sample of all.

    Raises:
        SourceError: no such table, a line that cannot be parsed, or a picture without a `use`.
    """
    table = open_table(folder)
    faces = table.where(lambda record: record.labels.get(SOURCE) not in _CELEBA_SOURCES)
    if without := [record.name for record in faces.records if record.use is None]:
        raise SourceError(f"{folder} does not say what {without[0]} is for; add a column use to its table")
    held_out = {record.name for record in faces.records if record.use == MEASURE}
    rest = faces.where(lambda record: record.name not in held_out)
    if rest.records:
        held_out |= {record.name for record in take_split(rest, Split.VAL).records}
    return _shuffled(faces.where(lambda record: record.name in held_out))


def _shuffled(source: FaceSource) -> FaceSource:
    """The same source in an order drawn by a fixed seed."""
    order = np.random.default_rng(0).permutation(len(source))
    return FaceSource(source.name, [source.records[i] for i in order], source.read, source.fingerprint)


def groups_of(record: FaceRecord) -> tuple[str, ...]:
    """The groups of people that a person belongs to; none where nothing is known of the person."""
    groups = {
        "age": _age(record.traits.get(AGE)),
        "sex": record.labels.get(SEX),
        "skin": _skin(record.traits.get(ITA)),
        "yaw": _yaw(record.traits.get(YAW)),
        "source": record.labels.get(SOURCE),
    }
    return tuple(f"{trait}: {value}" for trait, value in groups.items() if value)


def _age(years: float | None) -> str | None:
    return None if years is None else next(name for below, name in _AGES if years < below)


def _skin(ita: float | None) -> str | None:
    if ita is None:
        return None
    return "dark" if ita < DARK_BELOW_ITA else "light" if ita > LIGHT_ABOVE_ITA else "medium"


def _yaw(yaw: float | None) -> str | None:
    if yaw is None:
        return None
    if abs(yaw) < FRONTAL_BELOW_YAW:
        return "frontal"
    return "turned" if abs(yaw) > TURNED_ABOVE_YAW else "half turned"


def real_cutouts(folder: Path) -> Protocol:
    """The protocol `real-cutouts`, with the held-out cut-outs of a folder.

    Raises:
        SourceError: as `occlusion.real_masks.real_mask_kind` does.
    """
    mask = real_mask_kind(folder, part="measure")
    return Protocol(
        REAL_CUTOUTS, (KIND,), _open_all, read_crop, partial(_put_mask_on, mask), groups_of=_sets_of
    )


def _put_mask_on(mask: Kind, crop: Image, record: FaceRecord, kind: str) -> OccludedFace:
    """A crop under one of the masks, at the face's own landmarks if the source knows them."""
    landmarks_px = record.frame_landmarks_px
    in_crop_px = frame_to_crop(FRAME_LANDMARKS_PX if landmarks_px is None else landmarks_px, crop.shape[0])
    return occlude(crop, in_crop_px, kind, seed_of(REAL_CUTOUTS, record.name, kind), {kind: mask})


def _sets_of(record: FaceRecord) -> tuple[str, ...]:
    """The report's sets that a face belongs to, then its groups; one face can be in several sets."""
    if record.use is None:
        return ("set: CelebA",)
    groups = groups_of(record)
    sets = {
        "dark skin": "skin: dark" in groups,
        "turned heads": "yaw: turned" in groups,
        "measure-only photographs": record.use == MEASURE,
    }
    return (*(f"set: {name}" for name, member in sets.items() if member), *groups)


def _open_all(sources: Sequence[str], split: Split, split_file: Path | None) -> FaceSource:
    """The held-out faces of all sources, shuffled by a fixed seed."""
    if split is not Split.TEST or split_file is not None:
        raise UsageError(f"--protocol {REAL_CUTOUTS} knows its held-out faces; leave the split out")
    parts = [
        open_held_out(Path(source))
        if table_of(Path(source)) is not None
        else take_split(open_source(source), Split.TEST)
        for source in sources
    ]
    return parts[0] if len(parts) == 1 else join_sources(parts)


def join_sources(parts: Sequence[FaceSource]) -> FaceSource:
    """Several sources as one, shuffled by a fixed seed, so that the first faces are a sample of all.

    Raises:
        UsageError: two of them have a picture with one name.
    """
    records = [record for part in parts for record in part.records]
    if len({record.name for record in records}) < len(records):
        raise UsageError("two sources have a picture of one name; measure them one by one")
    name = " + ".join(part.name for part in parts)
    fingerprint = fingerprint_of(*(part.fingerprint for part in parts))
    return _shuffled(FaceSource(name, records, _JoinedReader(tuple(parts)), fingerprint))


class _JoinedReader:
    """Reads a picture from the source that has it."""

    def __init__(self, parts: Sequence[FaceSource]) -> None:
        self._reads = {record.name: part.read for part in parts for record in part.records}

    def __call__(self, name: str) -> Image:
        return self._reads[name](name)

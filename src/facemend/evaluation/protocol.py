"""Protocols: what is measured on which faces under which occlusions and conditions."""

import hashlib
import json
from bisect import bisect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib.resources import files
from pathlib import Path

import numpy as np

from facemend.alignment import Points, canonical_landmarks
from facemend.datasets import FaceRecord, FaceSource, Split, open_source, take_split
from facemend.degradations import add_noise, coarsen, compress, misalign
from facemend.errors import UsageError
from facemend.evaluation.results import Published
from facemend.evaluation.systems import OpenModel, open_model
from facemend.files import seed_of
from facemend.images import Alpha, Image
from facemend.occlusion import BENCHMARK_KINDS, OccludedFace, allowed_kinds, occlude
from facemend.occlusion import SEED_SET as SEED_SET

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


NAMES = ("v1", "published-masks", "diverse", "real-cutouts")
"""Every protocol of faces to reconstruct. `harm` measures whole photos instead (see `harm.py`)."""


def open_protocol(name: str, *, templates: Path | None = None, cutouts: Path | None = None) -> Protocol:
    """The protocol of a name.

    Args:
        name: of NAMES.
        templates: MaskTheFace's, for `published-masks`.
        cutouts: masks cut out of photographs, for `real-cutouts`.

    Raises:
        UsageError: the name is unknown, or a folder is missing or belongs to another protocol.
        SourceError: a folder does not hold what the protocol needs.
    """
    if name not in NAMES:
        raise UsageError(f"unknown protocol {name!r}; choose from {', '.join(NAMES)}")
    if templates is not None and name != "published-masks":
        raise UsageError("--templates is for --protocol published-masks")
    if cutouts is not None and name != "real-cutouts":
        raise UsageError("--cutouts is for --protocol real-cutouts")
    if name == "published-masks":
        if templates is None:
            raise UsageError("--protocol published-masks needs MaskTheFace's templates: --templates FOLDER")
        from facemend.evaluation.published_masks import published_masks

        return published_masks(templates)
    if name == "real-cutouts":
        if cutouts is None:
            raise UsageError("--protocol real-cutouts needs masks cut out of photos: --cutouts FOLDER")
        from facemend.evaluation.groups import real_cutouts

        return real_cutouts(cutouts)
    if name == "diverse":
        from facemend.evaluation.groups import diverse

        return diverse()
    return V1


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

"""Scores of one system, picture by picture."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facemend.datasets import FaceRecord
from facemend.evaluation.cache import Figures, Ledger, key_of
from facemend.evaluation.results import AS_DRAWN, Measure
from facemend.evaluation.systems import System
from facemend.images import Alpha, Image, digest_of
from facemend.metrics.image import ms_ssim, psnr, sharpness, ssim
from facemend.metrics.network import FeatureNetwork, PairNetwork
from facemend.metrics.occlusion import interval_coverage, occlusion_iou
from facemend.metrics.seam import find_edge, seam_gradient, seam_ssim
from facemend.occlusion import OccludedFace

EDITED_SHARE = 0.01
"""More changed pixels than this in a picture without occlusion are a false edit."""

Vector = npt.NDArray[np.float32]
MS_SSIM: Measure = ("composite", "ms_ssim")
LPIPS: Measure = ("composite", "lpips")
FID: Measure = ("composite", "fid")
IDENTITY: Measure = ("composite", "identity")
FRECHET_IDENTITY: Measure = ("composite", "frechet_identity")
FRECHET = {IDENTITY: FRECHET_IDENTITY, FID: FID}
"""What is measured on many pictures together, by the measure whose features it needs."""


@dataclass(frozen=True)
class SlowMetrics:
    """What takes long, and is measured on the first pictures only.

    Attributes:
        pair: delivered picture, truth -> figure; by measure.
        describe: picture, truth -> features of the picture; by measure.
        sources: what a measure's figures depend on beside the two pictures: the sha256 of its network.
        left_out: metrics that are not measured, and why.
    """

    pair: Mapping[Measure, Callable[[Image, Image], float]] = field(default_factory=dict)
    describe: Mapping[Measure, Callable[[Image, Image], Vector]] = field(default_factory=dict)
    sources: Mapping[Measure, str] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def measures(self) -> tuple[Measure, ...]:
        """All of them."""
        return (*self.pair, *self.describe)


def open_slow_metrics(
    *,
    identity: bool = False,
    lpips: Path | None = None,
    fid: Path | None = None,
    threads: int | None = None,
) -> SlowMetrics:
    """MS-SSIM, and what else is asked for.

    Args:
        identity: whether to measure dlib's descriptors; needs the extra `identity`.
        lpips, fid: the user's own exports of those networks (see `metrics.network`).
        threads: of the processor; None lets ONNX Runtime choose.

    Raises:
        FacemendError: dlib is missing.
        ModelError: a file is no such network.
    """
    pair: dict[Measure, Callable[[Image, Image], float]] = {MS_SSIM: ms_ssim}
    describe: dict[Measure, Callable[[Image, Image], Vector]] = {}
    sources: dict[Measure, str] = {}
    left_out = {}
    if identity:
        from facemend.metrics.identity import IdentityNetwork

        describe[IDENTITY] = IdentityNetwork().describe
    else:
        left_out["identity distance"] = "not asked for: --identity"
    if lpips:
        compare = PairNetwork(lpips, threads)
        pair[LPIPS], sources[LPIPS] = compare, compare.network.sha256
    else:
        left_out["LPIPS"] = "no network given: --lpips FILE"
    if fid:
        features = FeatureNetwork(fid, threads)
        describe[FID], sources[FID] = (lambda image, truth: features(image)), features.network.sha256
    else:
        left_out["FID"] = "no network given: --fid FILE"
    return SlowMetrics(pair, describe, sources, left_out)


def compare(
    face: OccludedFace,
    raw: Image,
    delivered: Image,
    alpha: Alpha | None,
    interval: Alpha | None = None,
) -> dict[Measure, float | None]:
    """What every system is asked about one input.

    Args:
        face: the input and its truth, of side S.
        raw, delivered: uint8 (S, S, 3), the system's own picture and that which a user gets.
        alpha: float32 (S, S), 0-1, the occlusion found; None if it looks for none.
        interval: float32 (S, S), how far off `raw` may be, in levels of 255; None if it does not say.
    """
    truth, hole = face.target, face.occlusion.mask
    quality = psnr(delivered, truth), ssim(delivered, truth)
    raw_quality = quality if np.array_equal(raw, delivered) else (psnr(raw, truth), ssim(raw, truth))
    values: dict[Measure, float | None] = {
        ("hole", "psnr"): psnr(delivered, truth, hole),
        ("composite", "psnr"): quality[0],
        ("composite", "ssim"): quality[1],
        ("raw", "psnr"): raw_quality[0],
        ("raw", "ssim"): raw_quality[1],
        ("hole", "sharpness"): sharpness(delivered, truth, hole),
    }
    edge = find_edge(face.occlusion.alpha)
    if edge is not None:
        values["seam", "gradient"] = seam_gradient(delivered, truth, edge)
        values["seam", "ssim"] = seam_ssim(delivered, truth, edge)
    if alpha is not None:
        values["occlusion", "iou"] = occlusion_iou(alpha, face.occlusion.alpha)
    if interval is not None:
        values["hole", "interval_coverage"] = interval_coverage(raw, truth, interval, hole)
    return values


def false_edits(crop: Image, delivered: Image) -> dict[Measure, float | None]:
    """Whether a face without an occlusion, uint8 (S, S, 3), comes back changed."""
    changed = float((delivered != crop).any(axis=2).mean())
    return {("unoccluded", "false_edits"): float(changed > EDITED_SHARE)}


_QUICK = "quick"
"""The question that every system is asked; the others are measures of SlowMetrics."""


@dataclass(frozen=True)
class BenchInput:
    """One input of the protocol.

    Attributes:
        record: the picture that it is made of.
        face: the input, its truth and its occlusion.
        digest: over all of them (`protocol.input_digest`).
        condition: what it went through.
    """

    record: FaceRecord
    face: OccludedFace
    digest: bytes
    condition: str = AS_DRAWN


@dataclass(frozen=True)
class _Answer:
    """What a system made of one input."""

    face: OccludedFace
    raw: Image
    delivered: Image
    alpha: Alpha | None
    interval: Alpha | None
    milliseconds: float


class Examiner:
    """Takes figures; from a ledger where they are in it, and into the ledger where they are not."""

    def __init__(self, store: Ledger | None, slow: SlowMetrics, pool: ThreadPoolExecutor) -> None:
        self._store, self._slow, self._pool = store, slow, pool
        self._truths: dict[tuple[Measure, str], Vector] = {}

    def examine(self, system: System, inputs: Sequence[BenchInput], *, slow: bool) -> list[Figures]:
        """The figures of a system on some inputs, in their order.

        Args:
            slow: whether to take what takes long, too.

        Raises:
            ModelError: the system fails, or delivers what is no picture of the right size.
            OutputError: the store refuses.
        """
        questions: dict[str, Callable[[_Answer], Figures]] = {_QUICK: _ask_quick}
        if slow:
            questions |= {
                " ".join(measure): self._slow_question(measure) for measure in self._slow.measures
            }
        keys = {
            (place, question): self._key(system, item.digest.hex(), question)
            for place, item in enumerate(inputs)
            for question in questions
        }
        found = {asked: known for asked, key in keys.items() if (known := self._get(key)) is not None}
        places = sorted({place for place, question in keys if (place, question) not in found})
        answers = dict(zip(places, _answer(system, [inputs[p].face for p in places]), strict=True))
        open_ = [asked for asked in keys if asked not in found]
        taken = self._pool.map(lambda asked: questions[asked[1]](answers[asked[0]]), open_)
        for asked, figures in zip(open_, taken, strict=True):
            found[asked] = figures
            self._put(keys[asked], figures)
        return [
            _together([found[place, question] for question in questions]) for place in range(len(inputs))
        ]

    def examine_unoccluded(self, system: System, crop: Image) -> Figures | None:
        """What a system does to a face without an occlusion, uint8 (S, S, 3); None if it looks for none."""
        if system.repair is None:
            return None
        key = self._key(system, digest_of(crop), "unoccluded")
        figures = self._get(key)
        if figures is None:
            figures = Figures(false_edits(crop, system.repair(crop[None])[0]))
            self._put(key, figures)
        return figures

    def _key(self, system: System, digest: str, question: str) -> str | None:
        if self._store is None or system.fingerprint is None:
            return None
        sources = {" ".join(measure): source for measure, source in self._slow.sources.items()}
        return key_of(system.fingerprint, digest, question, sources.get(question, ""))

    def _get(self, key: str | None) -> Figures | None:
        return None if self._store is None or key is None else self._store.get(key)

    def _put(self, key: str | None, figures: Figures) -> None:
        if self._store is not None and key is not None:
            self._store.put(key, figures)

    def _slow_question(self, measure: Measure) -> Callable[[_Answer], Figures]:
        if measure in self._slow.pair:
            score = self._slow.pair[measure]
            return lambda answer: Figures({measure: score(answer.delivered, answer.face.target)})
        return lambda answer: self._describe(measure, answer)

    def _describe(self, measure: Measure, answer: _Answer) -> Figures:
        describe, truth = self._slow.describe[measure], answer.face.target
        known = measure, digest_of(truth)
        if known not in self._truths:
            self._truths[known] = describe(truth, truth)
        pair = np.stack([describe(answer.delivered, truth), self._truths[known]])
        distance = {measure: float(np.linalg.norm(pair[0] - pair[1]))} if measure == IDENTITY else {}
        return Figures(distance, {measure: pair})


def _ask_quick(answer: _Answer) -> Figures:
    values = compare(answer.face, answer.raw, answer.delivered, answer.alpha, answer.interval)
    return Figures(values, milliseconds=answer.milliseconds)


def _answer(system: System, faces: Sequence[OccludedFace]) -> list[_Answer]:
    """Reconstructs faces in one batch."""
    if not faces:
        return []
    start = time.perf_counter()
    delivery = system.run(faces)
    milliseconds = 1000 * (time.perf_counter() - start) / len(faces)
    alphas = [None] * len(faces) if delivery.alpha is None else list(delivery.alpha)
    intervals = [None] * len(faces) if delivery.interval is None else list(delivery.interval)
    parts = zip(faces, delivery.raw, delivery.composite, alphas, intervals, strict=True)
    return [_Answer(*part, milliseconds) for part in parts]


def _together(figures: Sequence[Figures]) -> Figures:
    """Several figures of one picture as one; the first knows the time."""
    first, *others = figures
    for other in others:
        first = replace(
            first, values={**first.values, **other.values}, vectors={**first.vectors, **other.vectors}
        )
    return first

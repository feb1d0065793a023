"""Scores of one system, picture by picture."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facemend.datasets import FaceRecord
from facemend.evaluation.results import AS_DRAWN, CacheBuffer, Measure, Scores, key_of
from facemend.evaluation.systems import System
from facemend.images import Alpha, Image, digest_of
from facemend.metrics.image import (
    find_edge,
    interval_coverage,
    ms_ssim,
    occlusion_iou,
    seam_gradient,
    seam_ssim,
    sharpness,
    ssim,
)
from facemend.metrics.network import FeatureNetwork, PairNetwork
from facemend.metrics.psnr import psnr
from facemend.occlusion import OccludedFace

EDITED_SHARE = 0.01
"""A larger share of changed pixels in a picture without occlusion is a false edit."""

Vector = npt.NDArray[np.float32]
MS_SSIM: Measure = ("composite", "ms_ssim")
LPIPS: Measure = ("composite", "lpips")
FID: Measure = ("composite", "fid")
IDENTITY: Measure = ("composite", "identity")
FRECHET_IDENTITY: Measure = ("composite", "frechet_identity")
FRECHET = {IDENTITY: FRECHET_IDENTITY, FID: FID}
"""Measures of a set of pictures, by the measure whose features they need."""


@dataclass(frozen=True)
class SlowMetrics:
    """Slow metrics, measured on the first pictures only.

    Attributes:
        pair: delivered picture, truth -> score; by measure.
        describe: picture, truth -> features of the picture; by measure.
        sources: the sha256 of a measure's network, on which its scores depend.
        left_out: metrics that are not measured, and the reason.
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
    """MS-SSIM and the requested metrics.

    Args:
        identity: whether to measure the distance of dlib's descriptors; requires the extra `identity`.
        lpips, fid: the user's own exports of those networks (see `metrics.network`).
        threads: of the processor. None for all cores.

    Raises:
        FacemendError: dlib is missing.
        ModelError: a file is not such a network.
    """
    pair: dict[Measure, Callable[[Image, Image], float]] = {MS_SSIM: ms_ssim}
    describe: dict[Measure, Callable[[Image, Image], Vector]] = {}
    sources: dict[Measure, str] = {}
    left_out = {}
    if identity:
        from facemend.metrics.network import IdentityNetwork

        describe[IDENTITY] = IdentityNetwork().describe
    else:
        left_out["identity distance"] = "not requested: --identity"
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
    """The quick metrics of one input.

    Args:
        face: the input and its truth, of side S.
        raw, delivered: uint8 (S, S, 3), the system's own picture and the picture that a user gets.
        alpha: float32 (S, S), 0-1, the occlusion found, or None if the system does not look for one.
        interval: float32 (S, S), how far `raw` may be off, in levels of 255, or None if unknown.
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
"""Stands for the metrics that are measured on every input; the slow ones stand for themselves."""


@dataclass(frozen=True)
class EvaluationInput:
    """One input of a protocol.

    Attributes:
        record: the picture that it is made of.
        face: the input, its truth and its occlusion.
        digest: over all of them (`protocol.input_digest`).
        condition: what the input went through.
    """

    record: FaceRecord
    face: OccludedFace
    digest: bytes
    condition: str = AS_DRAWN


@dataclass(frozen=True)
class _Output:
    """What a system makes of one input."""

    face: OccludedFace
    raw: Image
    delivered: Image
    alpha: Alpha | None
    interval: Alpha | None
    milliseconds: float


class Scorer:
    """Scores systems. Scores that the cache has are not measured again."""

    def __init__(self, cache: CacheBuffer | None, slow: SlowMetrics, pool: ThreadPoolExecutor) -> None:
        self._cache, self._slow, self._pool = cache, slow, pool
        self._truths: dict[tuple[Measure, str], Vector] = {}

    def score(self, system: System, inputs: Sequence[EvaluationInput], *, slow: bool) -> list[Scores]:
        """The scores of a system on some inputs, in their order.

        Args:
            slow: whether to measure the slow metrics as well.

        Raises:
            ModelError: the system fails, or its output has another shape, type or range.
            OutputError: the cache cannot be read.
        """
        metrics: dict[str, Callable[[_Output], Scores]] = {_QUICK: _score_quick}
        if slow:
            metrics |= {" ".join(measure): self._slow_metric(measure) for measure in self._slow.measures}
        keys = {
            (index, metric): self._key(system, item.digest.hex(), metric)
            for index, item in enumerate(inputs)
            for metric in metrics
        }
        found = {wanted: known for wanted, key in keys.items() if (known := self._get(key)) is not None}
        missing = [wanted for wanted in keys if wanted not in found]
        indices = sorted({index for index, _ in missing})
        outputs = dict(zip(indices, _run(system, [inputs[i].face for i in indices]), strict=True))
        new = self._pool.map(lambda wanted: metrics[wanted[1]](outputs[wanted[0]]), missing)
        for wanted, scores in zip(missing, new, strict=True):
            found[wanted] = scores
            self._put(keys[wanted], scores)
        return [_joined([found[index, metric] for metric in metrics]) for index in range(len(inputs))]

    def score_unoccluded(self, system: System, crop: Image) -> Scores | None:
        """The scores of a system on a face without occlusion, uint8 (S, S, 3).

        None if the system does not look for occlusions.
        """
        if system.repair is None:
            return None
        key = self._key(system, digest_of(crop), "unoccluded")
        scores = self._get(key)
        if scores is None:
            scores = Scores(false_edits(crop, system.repair(crop[None])[0]))
            self._put(key, scores)
        return scores

    def _key(self, system: System, digest: str, metric: str) -> str | None:
        if self._cache is None or system.fingerprint is None:
            return None
        sources = {" ".join(measure): source for measure, source in self._slow.sources.items()}
        return key_of(system.fingerprint, digest, metric, sources.get(metric, ""))

    def _get(self, key: str | None) -> Scores | None:
        return None if self._cache is None or key is None else self._cache.get(key)

    def _put(self, key: str | None, scores: Scores) -> None:
        if self._cache is not None and key is not None:
            self._cache.put(key, scores)

    def _slow_metric(self, measure: Measure) -> Callable[[_Output], Scores]:
        if measure in self._slow.pair:
            metric = self._slow.pair[measure]
            return lambda output: Scores({measure: metric(output.delivered, output.face.target)})
        return lambda output: self._describe(measure, output)

    def _describe(self, measure: Measure, output: _Output) -> Scores:
        describe, truth = self._slow.describe[measure], output.face.target
        known = measure, digest_of(truth)
        if known not in self._truths:
            self._truths[known] = describe(truth, truth)
        pair = np.stack([describe(output.delivered, truth), self._truths[known]])
        distance = {measure: float(np.linalg.norm(pair[0] - pair[1]))} if measure == IDENTITY else {}
        return Scores(distance, {measure: pair})


def _score_quick(output: _Output) -> Scores:
    values = compare(output.face, output.raw, output.delivered, output.alpha, output.interval)
    return Scores(values, milliseconds=output.milliseconds)


def _run(system: System, faces: Sequence[OccludedFace]) -> list[_Output]:
    """Reconstructs faces in one batch."""
    if not faces:
        return []
    start = time.perf_counter()
    delivery = system.run(faces)
    milliseconds = 1000 * (time.perf_counter() - start) / len(faces)
    alphas = [None] * len(faces) if delivery.alpha is None else list(delivery.alpha)
    intervals = [None] * len(faces) if delivery.interval is None else list(delivery.interval)
    parts = zip(faces, delivery.raw, delivery.composite, alphas, intervals, strict=True)
    return [_Output(*part, milliseconds) for part in parts]


def _joined(scores: Sequence[Scores]) -> Scores:
    """All scores of one picture. The first ones have the time."""
    first, *others = scores
    for other in others:
        first = replace(
            first, values={**first.values, **other.values}, vectors={**first.vectors, **other.vectors}
        )
    return first

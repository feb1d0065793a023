"""The figures of one picture: what every system is asked, and what takes long and is asked of a few."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facemend.evaluation.results import Measure
from facemend.images import Alpha, Image
from facemend.metrics.interval_coverage import interval_coverage
from facemend.metrics.ms_ssim import ms_ssim
from facemend.metrics.network import FeatureNetwork, PairNetwork
from facemend.metrics.occlusion_iou import occlusion_iou
from facemend.metrics.psnr import psnr
from facemend.metrics.seam import find_edge, seam_gradient, seam_ssim
from facemend.metrics.sharpness import sharpness
from facemend.metrics.ssim import ssim
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


def digest_of(picture: npt.NDArray[np.generic]) -> str:
    """The sha256 of a picture's values, hexadecimal."""
    return hashlib.sha256(np.ascontiguousarray(picture).tobytes()).hexdigest()

"""A quick look at a generator during training: the same faces under the same occlusions each time."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from facemend.datasets import FaceSource
from facemend.frame import canonical_landmarks
from facemend.images import Image, from_network, to_network
from facemend.metrics.psnr import psnr
from facemend.occlusion import OccludedFace, occlude, seed_of
from facemend.reconstruction.composite import composite

_SAMPLES = 8


@dataclass(frozen=True)
class _Delivered:
    raw: Image
    composite: Image


class Validator:
    """Measures a generator on a few faces of the val split, blind, kind by kind in turn.

    Args:
        faces: each gets one occlusion around the canonical landmarks, the kinds taking turns.
        kinds: shares of the training's kinds; those with a share above 0 are used.
    """

    def __init__(self, faces: FaceSource, kinds: Mapping[str, float]) -> None:
        self._faces = faces
        self._kinds = [kind for kind, share in kinds.items() if share > 0]
        self._pairs: dict[int, list[OccludedFace]] = {}

    def measure(self, generator: nn.Module, size_px: int) -> dict[str, float]:
        """PSNR in dB: hole/KIND, hole (mean over kinds), composite, copy_hole."""
        pairs = self._occluded(size_px)
        delivered = _deliver(generator, pairs)
        holes = [
            psnr(d.composite, p.target, p.occlusion.mask) for d, p in zip(delivered, pairs, strict=True)
        ]
        copies = [psnr(p.image, p.target, p.occlusion.mask) for p in pairs]
        wholes = [psnr(d.composite, p.target) for d, p in zip(delivered, pairs, strict=True)]
        by_kind = {
            f"hole/{kind}": _mean(
                [h for h, p in zip(holes, pairs, strict=True) if p.occlusion.kind == kind]
            )
            for kind in self._kinds[: len(pairs)]
        }
        return {
            "hole": float(np.mean(list(by_kind.values()))),
            "copy_hole": _mean(copies),
            "composite": _mean(wholes),
            **by_kind,
        }

    def draw_samples(self, generator: nn.Module, size_px: int) -> Image:
        """A grid, a face a row: occluded | target | raw | composite."""
        pairs = self._occluded(size_px)[:_SAMPLES]
        rows = [
            np.hstack([p.image, p.target, d.raw, d.composite])
            for p, d in zip(pairs, _deliver(generator, pairs), strict=True)
        ]
        return np.vstack(rows)

    def _occluded(self, size_px: int) -> list[OccludedFace]:
        if size_px not in self._pairs:
            self._pairs[size_px] = [
                occlude(
                    self._faces.crop(record, size_px),
                    canonical_landmarks(size_px),
                    (kind := self._kinds[place % len(self._kinds)]),
                    seed_of("validation", record.name, kind),
                )
                for place, record in enumerate(self._faces.records)
            ]
        return self._pairs[size_px]


def _deliver(generator: nn.Module, pairs: list[OccludedFace]) -> list[_Delivered]:
    """What a user would get: the composite where the network looks for occlusions, else its raw picture."""
    delivered = []
    training = generator.training
    generator.eval()
    for pair in pairs:
        image = torch.from_numpy(to_network(pair.image[None]))
        with torch.inference_mode():
            raw, logits = generator(image, torch.zeros_like(image[:, :1]))
        drawn = from_network(raw.numpy())[0]
        if logits is None:
            delivered.append(_Delivered(drawn, drawn))
            continue
        alpha: npt.NDArray[np.float32] = logits.sigmoid().amax(dim=1)[0].numpy()
        delivered.append(_Delivered(drawn, composite(pair.image, drawn, alpha).image))
    generator.train(training)
    return delivered


def _mean(values: list[float | None]) -> float:
    """The mean of the values that there are (a perfect picture has no PSNR)."""
    return float(np.mean([value for value in values if value is not None]))

"""Validation during training: the same pictures under the same occlusions each time."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from facemend.alignment import canonical_landmarks, repeat_below, tall_height
from facemend.datasets import FaceSource
from facemend.files import seed_of
from facemend.images import Image, Mask, from_network, to_network
from facemend.metrics.image import ssim
from facemend.metrics.psnr import psnr
from facemend.occlusion import kinds_with, occlude
from facemend.reconstruction.blending import composite, wanted_alpha
from facemend.reconstruction.options import Remove
from facemend.training.config import DataConfig
from facemend.training.data import decode_pair, halves

_SAMPLES = 8


@dataclass(frozen=True)
class Case:
    """One picture to reconstruct.

    Attributes:
        kind: of its occlusion, or "pair".
        image, target: uint8 (H, W, 3) RGB.
        hole: bool (H, W), the masked area.
    """

    kind: str
    image: Image
    target: Image
    hole: Mask


def occluded_cases(faces: FaceSource, data: DataConfig, size_px: int) -> list[Case]:
    """Each face under one occlusion around the canonical landmarks, the kinds in turn."""
    used = list(data.shares)
    kinds = kinds_with(data.shares, None if data.cutouts is None else Path(data.cutouts))
    cases = []
    for index, record in enumerate(faces.records):
        kind = used[index % len(used)]
        seed = seed_of("validation", record.name, kind)
        face = occlude(faces.crop(record, size_px), canonical_landmarks(size_px), kind, seed, kinds)
        cases.append(Case(kind, face.image, face.target, face.occlusion.mask))
    return cases


def paired_cases(pairs: FaceSource, size_px: int) -> list[Case]:
    """Each pair as it is. The masked area is the whole picture."""
    pictures = [halves(decode_pair(pairs, record, size_px)) for record in pairs.records]
    everywhere = np.ones((size_px, size_px), dtype=bool)
    return [Case("pair", image, target, everywhere) for image, target in pictures]


@dataclass(frozen=True)
class _Result:
    raw: Image
    composite: Image


class Validator:
    """Measures a generator on a few pictures of the val split, without a hint where the masked area is.

    Args:
        make_cases: makes them for a size in pixels.
        tall: pass each square as a tall crop that ends at the square.
    """

    def __init__(self, make_cases: Callable[[int], list[Case]], *, tall: bool = False) -> None:
        self._make_cases, self._tall = make_cases, tall
        self._made: dict[int, list[Case]] = {}

    def measure(self, generator: nn.Module, size_px: int) -> dict[str, float]:
        """PSNR in dB: hole/KIND, hole (their mean), composite, copy_hole. And ssim, of the composite."""
        cases = self._cases(size_px)
        results = self._reconstruct(generator, cases)
        both = list(zip(results, cases, strict=True))
        holes = [(c.kind, psnr(d.composite, c.target, c.hole)) for d, c in both]
        by_kind = {
            f"hole/{kind}": _mean([value for each, value in holes if each == kind])
            for kind in dict.fromkeys(case.kind for case in cases)
        }
        return {
            "hole": float(np.mean(list(by_kind.values()))),
            "copy_hole": _mean([psnr(c.image, c.target, c.hole) for c in cases]),
            "composite": _mean([psnr(d.composite, c.target) for d, c in both]),
            "ssim": _mean([ssim(d.composite, c.target) for d, c in both]),
            **by_kind,
        }

    def sample_grid(self, generator: nn.Module, size_px: int) -> Image:
        """A grid, one picture per row: occluded | target | raw | composite."""
        cases = self._cases(size_px)[:_SAMPLES]
        rows = [
            np.hstack([c.image, c.target, d.raw, d.composite])
            for c, d in zip(cases, self._reconstruct(generator, cases), strict=True)
        ]
        return np.vstack(rows)

    def _cases(self, size_px: int) -> list[Case]:
        if size_px not in self._made:
            self._made[size_px] = self._make_cases(size_px)
        return self._made[size_px]

    def _reconstruct(self, generator: nn.Module, cases: list[Case]) -> list[_Result]:
        """What a user would get: the composite if the network detects occlusions, else its raw output."""
        results = []
        device = next(generator.parameters()).device
        training = generator.training
        generator.eval()
        for case in cases:
            side_px = len(case.image)
            crop = repeat_below(case.image, tall_height(side_px)) if self._tall else case.image
            image = torch.from_numpy(to_network(crop[None])).to(device)
            with torch.inference_mode():
                raw, logits, _ = generator(image, torch.zeros_like(image[:, :1]))
            picture = from_network(raw.cpu().numpy())[0, :side_px]
            if logits is None:
                results.append(_Result(picture, picture))
                continue
            alpha = wanted_alpha(logits.sigmoid()[0, :, :side_px].cpu().numpy(), Remove.ALL)
            results.append(_Result(picture, composite(case.image, picture, alpha).image))
        generator.train(training)
        return results


def _mean(values: list[float | None]) -> float:
    """The mean without None (a perfect picture has no PSNR)."""
    return float(np.mean([value for value in values if value is not None]))

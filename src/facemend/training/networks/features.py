"""A small network that tells faces apart by their attributes: the yardstick of the deep-feature loss."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

SIDE_PX = 128
"""The side of the pictures that it sees; larger ones are brought to it by means over squares."""
WIDTHS = (32, 64, 96, 160, 256)


class FaceFeatures(NamedTuple):
    """What the network makes of faces.

    Attributes:
        layers: of every stage (N, width, side, side), from half of `SIDE_PX` down.
        logits: (N, attributes), positive for yes.
    """

    layers: Sequence[Tensor]
    logits: Tensor


class FeatureNet(nn.Module):
    """Five stages of two 3×3 convolutions, each at half the resolution of the one before.

    Next to nothing beside a generator's step: 0.15 GMACs a face.

    Args:
        attributes: how many it tells.
    """

    def __init__(self, attributes: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            nn.Sequential(_convolve(before, width, stride=2), _convolve(width, width, stride=1))
            for before, width in pairwise((3, *WIDTHS))
        )
        self.attributes = nn.Linear(WIDTHS[-1], attributes)

    def forward(self, faces: Tensor) -> FaceFeatures:
        """Faces (N, 3, H, W) in [-1, 1], H = W a multiple of `SIDE_PX` or smaller."""
        x = faces
        if x.shape[-1] != SIDE_PX:
            x = F.interpolate(x, size=(SIDE_PX, SIDE_PX), mode="area")
        layers = []
        for stage in self.stages:
            x = stage(x)
            layers.append(x)
        return FaceFeatures(layers, self.attributes(x.mean(dim=(2, 3))))


def _convolve(before: int, width: int, *, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
    )

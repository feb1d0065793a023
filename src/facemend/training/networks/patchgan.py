"""PatchGANs: discriminators that classify every patch of a picture on its own.

Isola et al., CVPR 2017 (arXiv 1611.07004), section 3.2.2. `forward` returns the features of every
layer, for feature matching (Wang et al., CVPR 2018, arXiv 1711.11585). The last are the logits, one per
patch, positive for real.
"""

from collections.abc import Iterable

import torch.nn.functional as F
from torch import Tensor, nn

from facemend.training.networks.generators import initialise


class _PatchGAN(nn.Module):
    layers: nn.ModuleList

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, C, H, W) to the outputs of all layers, the logits (N, 1, h, w) last."""
        features = []
        for layer in self.layers:
            x = layer(x)
            features.append(x)
        return features


class PatchGAN70(_PatchGAN):
    """The paper's 70×70 PatchGAN on the occluded picture and a real or fake one: C64-C128-C256-C512."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            [
                nn.Sequential(nn.Conv2d(6, 64, 4, 2, 1), nn.LeakyReLU(0.2)),
                _normalised(64, 128, stride=2),
                _normalised(128, 256, stride=2),
                _normalised(256, 512, stride=1),
                nn.Conv2d(512, 1, 4, 1, 1),
            ]
        )
        self.apply(initialise)


class CropPatchGAN(_PatchGAN):
    """A small PatchGAN for a square around the masked area: occluded, real or fake, and the true mask.

    Its channels cost a quarter of the paper's, and no time goes into pixels outside the square.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            [
                nn.Sequential(nn.Conv2d(7, 48, 4, 2, 1), nn.LeakyReLU(0.2)),
                _grouped(48, 96, kernel=4, stride=2),
                _grouped(96, 192, kernel=4, stride=2),
                _grouped(192, 192, kernel=3, stride=1),
                nn.Conv2d(192, 1, 3, 1, 1),
            ]
        )


class MultiScale(nn.Module):
    """Several PatchGANs, each at half the resolution of the one before.

    Wang et al., CVPR 2018 (pix2pixHD), section 3.2: the coarsest has the largest receptive field.
    """

    def __init__(self, scales: Iterable[nn.Module]) -> None:
        super().__init__()
        self.judges = nn.ModuleList(scales)  # the name of these weights in every checkpoint

    def forward(self, x: Tensor) -> list[list[Tensor]]:
        """(N, C, H, W) to the features of every scale, the finest first."""
        features = []
        for discriminator in self.judges:
            features.append(discriminator(x))
            x = F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)
        return features


def _normalised(before: int, width: int, *, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, width, 4, stride, 1, bias=False),
        nn.InstanceNorm2d(width, affine=True),
        nn.LeakyReLU(0.2),
    )


def _grouped(before: int, width: int, *, kernel: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, width, kernel, stride, 1), nn.GroupNorm(8, width), nn.LeakyReLU(0.2)
    )

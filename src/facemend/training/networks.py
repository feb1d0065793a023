"""Generators and discriminators: our light U-Net, the paper's U-Net, and PatchGANs."""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facemend.alignment import CROP_SIZE_PX
from facemend.training.config import DiscriminatorConfig, GeneratorConfig


class GeneratorOutput(NamedTuple):
    """What a generator returns.

    Attributes:
        raw: (N, 3, H, W), the reconstruction, colours in [-1, 1]. Values a little beyond are clipped later.
        alpha_logits: (N, 2, H, W) for covers and accessories. None: it does not detect occlusions.
        interval: (N, 1, H, W), ≥ 0: nine in ten of a pixel's true colour values lie within ± this of `raw`.
            None: it does not predict one.
    """

    raw: Tensor
    alpha_logits: Tensor | None = None
    interval: Tensor | None = None


class Generator(Protocol):
    """A network that reconstructs the face.

    It takes the occluded picture (N, 3, H, W) in [-1, 1] and the hint (N, 1, H, W): 1 = occluded, 0 =
    unknown.
    """

    def __call__(self, image: Tensor, hint: Tensor) -> GeneratorOutput:
        """Reconstructs the face."""


def make_generator(config: GeneratorConfig) -> nn.Module:
    """A fresh generator with the `forward` of `Generator`."""
    return Pix2PixUNet() if config.kind == "pix2pix" else LightUNet(config.widths)


def make_discriminator(config: DiscriminatorConfig) -> nn.Module:
    """A fresh discriminator: (N, 3 + 3 [+ 1], H, W) to its features, the last of them the logits.

    With several scales it returns a list of features for each.
    """
    network = PatchGAN70 if config.kind == "patch70" else CropPatchGAN
    return network() if config.scales == 1 else MultiScale([network() for _ in range(config.scales)])


def parameter_count(network: nn.Module) -> int:
    """Number of weights that a network learns."""
    return sum(parameter.numel() for parameter in network.parameters())


class LightUNet(nn.Module):
    """A residual U-Net without normalisation, about 2 GMACs at 256×256, trained on small pictures first.

    Level k works on squares of 4·2**k pixels of the 256 px crop, whatever the picture's size: 256 px
    enter at level 0, 128 px at level 1, 64 px at level 2. A level's features are those of the level above
    plus a stem's features of the picture at its own resolution. Its output is that of the level below,
    enlarged, plus a head's. The layers that a larger picture adds start at zero. So when a run goes from
    128 to 256 px, the network returns what it returned before, enlarged, and forgets nothing.

    One residual block per level and side, two at the bottom. Pixel-unshuffle in, pixel-shuffle out. Skips
    are concatenated and fused by 1×1 convolutions. Two coordinate channels, since faces are aligned and the
    location says much. Plain convolutions and ReLUs, which ONNX Runtime fuses. Fully convolutional: any
    side that 4 · 2 ** (len(widths) - 1) divides.

    Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020, section 4 (input
    and output skips in place of progressive growing); Shi et al., "Real-Time Single Image and Video
    Super-Resolution Using an Efficient Sub-Pixel Convolutional Neural Network", CVPR 2016
    (pixel-shuffle); Liu et al., "An Intriguing Failing of Convolutional Neural Networks and the CoordConv
    Solution", NeurIPS 2018.

    Args:
        widths: channels of each level, from a quarter of the resolution down.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        levels = list(pairwise(widths))
        entries = widths[: min(_ENTRIES, len(levels))]
        self.stems = nn.ModuleList(nn.Conv2d(_INPUTS * _CELL**2, w, 3, padding=1) for w in entries)
        self.encode = nn.ModuleList(ResidualBlock(width) for width in widths[:-1])
        self.down = nn.ModuleList(nn.Conv2d(high, low, 2, stride=2) for high, low in levels)
        self.bottom = nn.Sequential(ResidualBlock(widths[-1]), ResidualBlock(widths[-1]))
        self.up = nn.ModuleList(
            nn.Sequential(nn.Conv2d(low, 4 * high, 1), nn.PixelShuffle(2)) for high, low in levels
        )
        self.fuse = nn.ModuleList(nn.Conv2d(2 * high, high, 1) for high, _ in levels)
        self.decode = nn.ModuleList(ResidualBlock(width) for width in widths[:-1])
        self.heads = nn.ModuleList(nn.Conv2d(w, _OUTPUTS * _CELL**2, 3, padding=1) for w in entries)
        for grown in range(len(entries) - 1):
            _zero(self.down[grown])
            _zero(self.heads[grown])

    def forward(self, image: Tensor, hint: Tensor) -> GeneratorOutput:
        """Reconstruction, alpha of the occlusion, and interval. See `networks.Generator`."""
        entry = self._entry(image.shape[-1])
        x, skips, seen = None, [], torch.cat([image, hint], dim=1)
        for level in range(entry, len(self.encode)):
            if level < len(self.stems):
                if level > entry:
                    seen = F.avg_pool2d(seen, 2)
                cells = F.pixel_unshuffle(torch.cat([seen, coordinates(seen)], dim=1), _CELL)
                stem = self.stems[level](cells)
                x = stem if x is None else x + stem
            x = self.encode[level](x)
            skips.append(x)
            x = self.down[level](x)
        x, output = self.bottom(x), None
        for level in reversed(range(entry, len(self.encode))):
            x = self.fuse[level](torch.cat([self.up[level](x), skips[level - entry]], dim=1))
            x = self.decode[level](x)
            if level < len(self.heads):
                here = F.pixel_shuffle(self.heads[level](x), _CELL)
                if output is None:
                    output = here
                else:
                    output = here + F.interpolate(output, scale_factor=2, mode="bilinear")
        assert output is not None  # there is at least one head
        raw, alpha_logits, interval = torch.split(output, [3, 2, 1], dim=1)
        return GeneratorOutput(raw, alpha_logits, F.softplus(interval))

    def _entry(self, side_px: int) -> int:
        """The level at which a picture of this side enters."""
        return min(max(round(math.log2(CROP_SIZE_PX / side_px)), 0), len(self.stems) - 1)


_CELL = 4
"""Side of the squares of pixels that become one location of the level at which a picture enters."""
_ENTRIES = 3
"""How many levels pictures can enter at: 256, 128 and 64 px."""
_INPUTS = 3 + 1 + 2
_OUTPUTS = 3 + 2 + 1


class ResidualBlock(nn.Module):
    """x + conv(relu(conv(x))), 3×3."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, H, W) to the same shape."""
        total: Tensor = x + self.second(F.relu(self.first(x)))
        return total


def _zero(layer: nn.Module) -> None:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def coordinates(image: Tensor) -> Tensor:
    """x and y for every pixel, (N, 2, H, W): -1 to 1 over the width, and on in the same steps below."""
    height, width = image.shape[-2:]
    # Added to zeros of a batch of any length, so that the export keeps two lines and no picture of them.
    nowhere = torch.zeros_like(image[:, :1])
    x = torch.linspace(-1, 1, width).to(image).view(1, 1, 1, width)
    y = (torch.arange(height) * (2 / (width - 1)) - 1).to(image).view(1, 1, height, 1)
    return torch.cat([nowhere + x, nowhere + y], dim=1)


class Pix2PixUNet(nn.Module):
    """U-Net 256: C64-C128-C256-C512-C512-C512-C512-C512 and back, with skips; 54.4M parameters.

    The paper trains with batch 1 and normalises by the statistics of that batch in training and test,
    which is instance normalisation; written so, it computes the same in both. As in the authors' own
    later erratum, the 1×1 bottleneck is not normalised (it would be set to zero). Dropout (0.5, the
    first three decoder layers) is on in training and off in use, so that a file gives one answer.
    """

    def __init__(self) -> None:
        super().__init__()
        widths = (64, 128, 256, 512, 512, 512, 512, 512)
        self.encode = nn.ModuleList()
        for level, width in enumerate(widths):
            before = widths[level - 1] if level else 3
            layers: list[nn.Module] = [nn.LeakyReLU(0.2)] if level else []
            normalised = 0 < level < len(widths) - 1
            layers.append(nn.Conv2d(before, width, 4, stride=2, padding=1, bias=not normalised))
            if normalised:
                layers.append(nn.InstanceNorm2d(width, affine=True))
            self.encode.append(nn.Sequential(*layers))
        self.decode = nn.ModuleList()
        for depth, width in enumerate((512, 512, 512, 512, 256, 128, 64)):
            before = 512 if depth == 0 else 2 * widths[-1 - depth]
            layers = [
                nn.ReLU(),
                nn.ConvTranspose2d(before, width, 4, stride=2, padding=1, bias=False),
                nn.InstanceNorm2d(width, affine=True),
            ]
            if depth < 3:
                layers.append(nn.Dropout(0.5))
            self.decode.append(nn.Sequential(*layers))
        self.head = nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(128, 3, 4, stride=2, padding=1), nn.Tanh())
        self.apply(initialise)

    def forward(self, image: Tensor, hint: Tensor) -> GeneratorOutput:
        """Reconstructs the whole picture. The hint is not used. See `networks.Generator`."""
        x, skips = image, []
        for encode in self.encode:
            x = encode(x)
            skips.append(x)
        x = skips.pop()
        for decode in self.decode:
            x = torch.cat([decode(x), skips.pop()], dim=1)
        return GeneratorOutput(self.head(x))


def initialise(module: nn.Module) -> None:
    """The paper's initialisation: weights from N(0, 0.02), scales from N(1, 0.02), biases 0."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0, 0.02)
    elif isinstance(module, nn.InstanceNorm2d) and module.affine:
        nn.init.normal_(module.weight, 1, 0.02)
    else:
        return
    if module.bias is not None:
        nn.init.zeros_(module.bias)


class _PatchGAN(nn.Module):
    """A discriminator that classifies every patch of a picture on its own.

    Isola et al., CVPR 2017 (arXiv 1611.07004), section 3.2.2. `forward` returns the features of every
    layer, for feature matching (Wang et al., CVPR 2018, arXiv 1711.11585). The last are the logits, one per
    patch, positive for real.
    """

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

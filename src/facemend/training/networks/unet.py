"""Our light generator: a residual U-Net at half resolution that also finds the occlusion."""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facemend.training.networks import Drawing


class LightUNet(nn.Module):
    """A residual U-Net, about 2 GMACs at 256×256.

    Pixel-unshuffle brings RGB, hint and two coordinate channels (faces are aligned, so the place says
    much) to half resolution; a residual block a level and side, two at the bottom; skips are
    concatenated and fused by 1×1 convolutions; pixel-shuffle brings RGB and two alphas back. Fully
    convolutional: any side that 2 ** len(widths) divides.

    Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel
    Convolutional Neural Network", CVPR 2016 (pixel-shuffle); Liu et al., "An Intriguing Failing of
    Convolutional Neural Networks and the CoordConv Solution", NeurIPS 2018.

    Args:
        widths: channels a level, from half resolution down.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        levels = list(pairwise(widths))
        self.stem = nn.Conv2d(_INPUTS * 4, widths[0], 3, padding=1)
        self.encode = nn.ModuleList(ResidualBlock(width) for width in widths[:-1])
        self.down = nn.ModuleList(nn.Conv2d(high, low, 2, stride=2) for high, low in levels)
        self.bottom = nn.Sequential(ResidualBlock(widths[-1]), ResidualBlock(widths[-1]))
        self.up = nn.ModuleList(
            nn.Sequential(nn.Conv2d(low, 4 * high, 1), nn.PixelShuffle(2)) for high, low in levels
        )
        self.fuse = nn.ModuleList(nn.Conv2d(2 * high, high, 1) for high, _ in levels)
        self.decode = nn.ModuleList(ResidualBlock(width) for width in widths[:-1])
        self.head = nn.Conv2d(widths[0], _OUTPUTS * 4, 3, padding=1)

    def forward(self, image: Tensor, hint: Tensor) -> Drawing:
        """Draws the face and finds what hides it. See `networks.Generator`."""
        x = torch.cat([image, hint, coordinates(image)], dim=1)
        x = self.stem(F.pixel_unshuffle(x, 2))
        skips = []
        for encode, down in zip(self.encode, self.down, strict=True):
            x = encode(x)
            skips.append(x)
            x = down(x)
        x = self.bottom(x)
        for level in reversed(range(len(skips))):
            x = self.fuse[level](torch.cat([self.up[level](x), skips[level]], dim=1))
            x = self.decode[level](x)
        drawn = F.pixel_shuffle(self.head(x), 2)
        return Drawing(drawn[:, :3], drawn[:, 3:])


_INPUTS = 3 + 1 + 2
_OUTPUTS = 3 + 2


class ResidualBlock(nn.Module):
    """x + conv(gelu(conv(norm(x)))), 3×3, normalised over the whole picture (one group)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, width)
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, H, W) to the same shape."""
        drawn: Tensor = x + self.second(F.gelu(self.first(self.norm(x))))
        return drawn


def coordinates(image: Tensor) -> Tensor:
    """x and y in [-1, 1] for every pixel: (N, 2, H, W)."""
    n, _, height, width = image.shape
    y = torch.linspace(-1, 1, height).to(image).view(1, 1, height, 1).expand(n, 1, height, width)
    x = torch.linspace(-1, 1, width).to(image).view(1, 1, 1, width).expand(n, 1, height, width)
    return torch.cat([x, y], dim=1)

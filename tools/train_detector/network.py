"""The detector's network: at every cell of three grids over a picture a score, a box and five points.

Anchor-free as FCOS (Tian et al., ICCV 2019) and YuNet (Wu, Peng, Yu, Machine Intelligence Research 20,
2023): every cell near the middle of a face says where its edges and landmarks are. Not depthwise-separable
as YuNet: where bf16 matrix products are fast, dense convolutions learn in half the time, and the file stays
under 1 MB.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from facemend.detection.detector import STRIDES_PX

_STEM, _FINE, _WIDTH, _SHARED = 16, 32, 64, 48
_SAID = 15  # score, box, five points


class Convolution(nn.Module):
    """A 3×3 convolution, normalised; with a way around it where the shapes allow it."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.around = inputs == outputs and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        y = self.norm(self.convolution(x))
        return functional.relu(x + y if self.around else y)


class DetectorNetwork(nn.Module):
    """The whole network."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            Convolution(3, _STEM, 2), Convolution(_STEM, _FINE, 2), Convolution(_FINE, _FINE)
        )
        self.stages = nn.ModuleList(
            nn.Sequential(
                Convolution(inputs, _WIDTH, 2), *(Convolution(_WIDTH, _WIDTH) for _ in range(more))
            )
            for inputs, more in ((_FINE, 1), (_WIDTH, 1), (_WIDTH, 2))
        )
        self.across = nn.ModuleList(nn.Conv2d(_WIDTH, _SHARED, 1) for _ in STRIDES_PX)
        self.mixed = nn.ModuleList(Convolution(_SHARED, _SHARED) for _ in STRIDES_PX)
        self.last = nn.ModuleList(Convolution(_SHARED, _SHARED) for _ in STRIDES_PX)
        self.heads = nn.ModuleList(nn.Conv2d(_SHARED, _SAID, 1) for _ in STRIDES_PX)
        for head in self.heads:
            assert isinstance(head, nn.Conv2d)
            nn.init.normal_(head.weight, std=0.01)
            assert head.bias is not None
            nn.init.zeros_(head.bias)
            nn.init.constant_(head.bias[:1], -4.0)  # faces are rare

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) in [-1, 1], H and W multiples of 32, to (N, cells, 15) in the order of `targets`."""
        x = self.stem(images)
        levels = []
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        said, coarser = [], None
        for level in reversed(range(len(STRIDES_PX))):
            y = self.across[level](levels[level])
            if coarser is not None:
                y = y + functional.interpolate(coarser, scale_factor=2.0, mode="nearest")
            coarser = self.mixed[level](y)
            said.append(self.heads[level](self.last[level](coarser)).flatten(2).transpose(1, 2))
        return torch.cat(said[::-1], dim=1)


def loss_of(said: Tensor, wanted: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of a batch, and its parts.

    Args:
        said: (N, cells, 15), float32.
        wanted: (N, cells, 16) as `targets.targets_of` makes it.
    """
    is_face, counts = wanted[..., 0], wanted[..., 15]
    positive = is_face > 0
    number = positive.sum().clamp(min=1)
    logits = said[..., 0]
    # Focal loss (Lin et al., ICCV 2017): the many easy cells without a face weigh next to nothing.
    probability = torch.sigmoid(logits)
    wrong = torch.where(positive, 1 - probability, probability)
    balance = torch.where(positive, 0.4, 0.6)
    entropy = functional.binary_cross_entropy_with_logits(logits, is_face, reduction="none")
    score = (balance * wrong**2 * entropy * counts).sum() / number
    box, truth = said[positive][:, 1:5], wanted[positive][:, 1:5]
    boxes = (1 - _overlap(box, truth)).mean() if len(box) else said.sum() * 0
    sizes = truth[:, 2:].exp().prod(dim=1).sqrt()[:, None]
    points = (said[positive][:, 5:] - wanted[positive][:, 5:15]).abs() / sizes
    # Huber's: noise in the labels is not chased.
    near = 0.02
    points = torch.where(points < near, points**2 / (2 * near), points - near / 2)
    landmarks = points.mean() if len(box) else said.sum() * 0
    return 4 * score + 2 * boxes + 10 * landmarks, {"score": score, "boxes": boxes, "landmarks": landmarks}


def _overlap(box: Tensor, truth: Tensor) -> Tensor:
    """Generalised IoU (Rezatofighi et al., CVPR 2019) of (N, 4) middles and log sizes: (N,)."""
    low, high = _edges(box)
    true_low, true_high = _edges(truth)
    common = (torch.minimum(high, true_high) - torch.maximum(low, true_low)).clamp(min=0).prod(dim=1)
    together = (high - low).prod(dim=1) + (true_high - true_low).prod(dim=1) - common
    around = (torch.maximum(high, true_high) - torch.minimum(low, true_low)).prod(dim=1)
    return common / together - (around - together) / around


def _edges(box: Tensor) -> tuple[Tensor, Tensor]:
    half = box[:, 2:].clamp(-6, 6).exp() / 2
    return box[:, :2] - half, box[:, :2] + half

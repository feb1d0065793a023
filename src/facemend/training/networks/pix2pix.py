"""The paper's generator, the baseline that everything is measured against.

Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017
(arXiv 1611.07004), section 6.1.1: the U-Net for 256×256.
"""

import torch
from torch import Tensor, nn

from facemend.training.networks import Drawing


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

    def forward(self, image: Tensor, hint: Tensor) -> Drawing:
        """Draws the whole picture again; the hint is not used. See `networks.Generator`."""
        x, skips = image, []
        for encode in self.encode:
            x = encode(x)
            skips.append(x)
        x = skips.pop()
        for decode in self.decode:
            x = torch.cat([decode(x), skips.pop()], dim=1)
        return Drawing(self.head(x))


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

"""Generators and discriminators, one a file."""

from typing import NamedTuple, Protocol

from torch import Tensor, nn

from facemend.training.config import DiscriminatorConfig, GeneratorConfig


class Drawing(NamedTuple):
    """What a generator returns.

    Attributes:
        raw: (N, 3, H, W), colours in [-1, 1] (a little beyond is clipped when it becomes a picture).
        alpha_logits: (N, 2, H, W) for covers and accessories; None if it does not look for any.
        interval: (N, 1, H, W), ≥ 0: nine in ten of a pixel's true colour values shall lie within ± this
            of `raw`; None if it does not say.
    """

    raw: Tensor
    alpha_logits: Tensor | None = None
    interval: Tensor | None = None


class Generator(Protocol):
    """A network that draws the face again.

    It takes the occluded picture (N, 3, H, W) in [-1, 1] and the hint (N, 1, H, W), 0 = find it
    yourself, 1 = occluded.
    """

    def __call__(self, image: Tensor, hint: Tensor) -> Drawing:
        """Draws the face."""


def make_generator(config: GeneratorConfig) -> nn.Module:
    """A fresh generator; its `forward` is that of `Generator`."""
    from facemend.training.networks.generators import LightUNet, Pix2PixUNet

    return Pix2PixUNet() if config.kind == "pix2pix" else LightUNet(config.widths)


def make_discriminator(config: DiscriminatorConfig) -> nn.Module:
    """A fresh discriminator: (N, 3 + 3 [+ 1], H, W) to its features, the last of them the logits.

    With several scales, to a list of features for each.
    """
    from facemend.training.networks.patchgan import CropPatchGAN, MultiScale, PatchGAN70

    judge = PatchGAN70 if config.kind == "patch70" else CropPatchGAN
    return judge() if config.scales == 1 else MultiScale([judge() for _ in range(config.scales)])


def parameter_count(network: nn.Module) -> int:
    """How many numbers a network learns."""
    return sum(parameter.numel() for parameter in network.parameters())

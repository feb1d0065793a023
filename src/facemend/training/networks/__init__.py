"""Generators and discriminators: what they take and return, and how one is made from a config."""

from typing import NamedTuple, Protocol

from torch import Tensor, nn

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
    from facemend.training.networks.generators import LightUNet, Pix2PixUNet

    return Pix2PixUNet() if config.kind == "pix2pix" else LightUNet(config.widths)


def make_discriminator(config: DiscriminatorConfig) -> nn.Module:
    """A fresh discriminator: (N, 3 + 3 [+ 1], H, W) to its features, the last of them the logits.

    With several scales it returns a list of features for each.
    """
    from facemend.training.networks.patchgan import CropPatchGAN, MultiScale, PatchGAN70

    network = PatchGAN70 if config.kind == "patch70" else CropPatchGAN
    return network() if config.scales == 1 else MultiScale([network() for _ in range(config.scales)])


def parameter_count(network: nn.Module) -> int:
    """Number of weights that a network learns."""
    return sum(parameter.numel() for parameter in network.parameters())

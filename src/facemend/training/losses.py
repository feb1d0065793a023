"""Losses, one function each, with formula and source. Colours are in [-1, 1]; every result is a scalar."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def l1_image(drawn: Tensor, target: Tensor) -> Tensor:
    """mean |drawn - target| over all values, (N, 3, H, W) each. Isola et al. 2017, equation 3."""
    return (drawn - target).abs().mean()


def l1_where(drawn: Tensor, target: Tensor, where: Tensor) -> Tensor:
    """sum(where · |drawn - target|) / sum(where): the mean over a region, so that small holes count.

    Args:
        drawn, target: (N, 3, H, W).
        where: (N, 1, H, W), 0-1.
    """
    error = (drawn - target).abs().mean(dim=1, keepdim=True)
    return (error * where).sum() / where.sum().clamp(min=1)


def alpha_loss(logits: Tensor, alpha: Tensor) -> Tensor:
    """Binary cross-entropy between predicted and true alpha, (N, 2, H, W) each, mean over all."""
    return F.binary_cross_entropy_with_logits(logits, alpha)


def fools(fake_logits: Tensor) -> Tensor:
    """The generator's side: mean softplus(-D(fake)) = BCE of the fakes called real.

    Goodfellow et al., "Generative Adversarial Nets", NeurIPS 2014, section 3 (the non-saturating form),
    as Isola et al. 2017 use it.
    """
    return F.softplus(-fake_logits).mean()


def tells_apart(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """The discriminator's side: (BCE of real called real + BCE of fake called fake) / 2.

    Isola et al. 2017, section 3.3, which divides by 2 to slow the discriminator down.
    """
    return (F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()) / 2


def feature_matching(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """mean over layers of mean |D_i(real) - D_i(fake)|. Wang et al. 2018 (pix2pixHD), equation 4.

    Args:
        real, fake: the discriminator's features of every layer but the last; real ones carry no gradient.
    """
    return torch.stack([(r.detach() - f).abs().mean() for r, f in zip(real, fake, strict=True)]).mean()


def blend(image: Tensor, drawn: Tensor, alpha: Tensor) -> Tensor:
    """alpha · drawn + (1 - alpha) · image; alpha (N, 1, H, W) or (N, 2, H, W), one channel a class."""
    visible = (1 - alpha).prod(dim=1, keepdim=True)
    return drawn + visible * (image - drawn)

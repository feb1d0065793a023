"""Losses, one function each, with formula and source. Colours are in [-1, 1]; every result is a scalar."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


def l1_image(drawn: Tensor, target: Tensor) -> Tensor:
    """mean |drawn - target| over all values, (N, 3, H, W) each. Isola et al. 2017, equation 3."""
    return (drawn - target).abs().mean()


def l1_where(apart: Tensor, where: Tensor, area: Tensor) -> Tensor:
    """sum(where · mean over colours of |drawn - target|) / area: the mean over a region, so that small
    holes count.

    Args:
        apart: (N, 1, H, W), mean |drawn - target| over the colours.
        where: (N, 1, H, W), 0-1.
        area: scalar, sum(where); of a batch that is computed in parts, its mean over the parts, so that
            the mean of the parts' losses is the whole batch's loss.
    """
    return (apart * where).sum() / area.clamp(min=1)


def psnr_where(drawn: Tensor, target: Tensor, where: Tensor) -> Tensor:
    """mean over pictures of ln(mse + 1e-3), mse over a region: what raises each picture's PSNR alike.

    Up to a constant, 10 / ln 10 times this is the negative of the mean PSNR in dB, as in NAFNet (Chen et
    al., "Simple Baselines for Image Restoration", ECCV 2022). Without it, the pictures that are hardest
    to guess weigh most. Pictures without such a region count 0.

    Args:
        drawn, target: (N, 3, H, W).
        where: (N, 1, H, W), 0-1.
    """
    squares = F.mse_loss(drawn, target, reduction="none").mean(dim=1, keepdim=True)
    error, area = (squares * where).sum(dim=(1, 2, 3)), where.sum(dim=(1, 2, 3))
    return ((error / area.clamp(min=1) + 1e-3).log() * (area > 0)).mean()


def interval_where(apart: Tensor, interval: Tensor, where: Tensor, area: Tensor) -> Tensor:
    """The pinball loss of |drawn - target| at 0.9: at its least, nine in ten errors are below `interval`.

    Koenker and Bassett, "Regression Quantiles", Econometrica 1978: 0.9 · x where x > 0, else -0.1 · x, of
    x = |drawn - target| - interval. It trains the interval alone: what is drawn gets no gradient.

    Args:
        apart: (N, 3, H, W), |drawn - target|.
        interval: (N, 1, H, W), ≥ 0.
        where, area: see `l1_where`.
    """
    apart = apart.detach()
    beyond = F.relu(apart - interval).mean(dim=1, keepdim=True)
    loss = beyond - 0.1 * (apart.mean(dim=1, keepdim=True) - interval)
    return (loss * where).sum() / area.clamp(min=1)


def alpha_loss(logits: Tensor, alpha: Tensor) -> Tensor:
    """Binary cross-entropy between predicted and true alpha, (N, 2, H, W) each, mean over all."""
    return F.binary_cross_entropy_with_logits(logits, alpha)


def alpha_overlap(logits: Tensor, alpha: Tensor) -> Tensor:
    """mean over pictures of 1 - Σ p·t / Σ (p + t - p·t): one minus a soft IoU, (N, 2, H, W) each.

    Cross-entropy counts pixels, so that a large hole weighs more than a small one, and where the network is
    in doubt a little is lost at either answer. This counts occlusions and makes it decide.
    Rahman and Wang, "Optimizing Intersection-Over-Union in Deep Neural Networks for Image Segmentation",
    ISVC 2016, equation 3. Pictures without an occlusion count 0.
    """
    found = logits.sigmoid()
    both = (found * alpha).sum(dim=(1, 2, 3))
    either = (found + alpha).sum(dim=(1, 2, 3)) - both
    hidden = alpha.amax(dim=(1, 2, 3)) > 0
    return ((1 - both / either.clamp(min=1)) * hidden).mean()


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


def fools_least_squares(fake_logits: Tensor) -> Tensor:
    """The generator's side of LSGAN: mean (D(fake) - 1)² / 2.

    Mao et al., "Least Squares Generative Adversarial Networks", ICCV 2017, equation 9 (a = 0, b = c = 1).
    """
    return (fake_logits - 1).square().mean() / 2


def tells_apart_least_squares(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """The discriminator's side of LSGAN: (mean (D(real) - 1)² + mean D(fake)²) / 2. See above."""
    return ((real_logits - 1).square().mean() + fake_logits.square().mean()) / 2


def fools_hinge(fake_logits: Tensor) -> Tensor:
    """The generator's side of the hinge loss: -mean D(fake).

    Lim and Ye, "Geometric GAN", 2017 (arXiv 1705.02894); Miyato et al., "Spectral Normalization for
    Generative Adversarial Networks", ICLR 2018, equation 17.
    """
    return -fake_logits.mean()


def tells_apart_hinge(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """The discriminator's side: mean max(0, 1 - D(real)) + mean max(0, 1 + D(fake)). Equation 16."""
    return F.relu(1 - real_logits).mean() + F.relu(1 + fake_logits).mean()


class AdversarialLoss(NamedTuple):
    """Both sides of a GAN's game: each takes logits, one a patch, positive for real."""

    fools: Callable[[Tensor], Tensor]
    tells_apart: Callable[[Tensor, Tensor], Tensor]


ADVERSARIAL: Mapping[str, AdversarialLoss] = {
    "bce": AdversarialLoss(fools, tells_apart),
    "lsgan": AdversarialLoss(fools_least_squares, tells_apart_least_squares),
    "hinge": AdversarialLoss(fools_hinge, tells_apart_hinge),
}
"""The games by their names in a config; `bce` is the non-saturating one. R1 can be added to each."""


def r1_penalty(real_logits: Tensor, seen: Tensor) -> Tensor:
    """mean over pictures of ‖∇ D(x)‖² / 2, D(x) the mean of a picture's logits, x what D sees as real.

    Mescheder, Geiger, Nowozin, "Which Training Methods for GANs do actually Converge?", ICML 2018,
    equation 9; the weight is its γ.

    Args:
        real_logits: (N, 1, h, w), computed from `seen`, which requires its gradient.
        seen: (N, C, H, W).
    """
    judged = real_logits.mean(dim=(1, 2, 3)).sum()
    (gradient,) = torch.autograd.grad(judged, seen, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3)).mean() / 2


def feature_matching(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """mean over layers of mean |D_i(real) - D_i(fake)|. Wang et al. 2018 (pix2pixHD), equation 4.

    Args:
        real, fake: the discriminator's features of every layer but the last; real ones carry no gradient.
    """
    return torch.stack([(r.detach() - f).abs().mean() for r, f in zip(real, fake, strict=True)]).mean()


def deep_features(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """mean over layers of mean |F_i(real) - F_i(fake)| / mean |F_i(real)|: how differently two faces look.

    Johnson, Alahi, Fei-Fei, "Perceptual Losses for Real-Time Style Transfer and Super-Resolution", ECCV
    2016, equation 2, with L1 in place of squares and every layer brought to the same scale.

    Args:
        real, fake: a feature network's layers; real ones carry no gradient.
    """
    return torch.stack(
        [(r - f).abs().mean() / r.abs().mean().clamp(min=1e-6) for r, f in zip(real, fake, strict=True)]
    ).mean()


def anchor(drawn: Tensor, before: Tensor, where: Tensor, area: Tensor) -> Tensor:
    """|drawn - before| over a region, both averaged over squares of 4 px: what is coarse stays as it was.

    The mean of all faces that fit is the best guess in dB, a single face the best to look at. An
    adversarial loss shall add detail, and need not move what a network that guessed the mean knew of tone
    and shape. Unlike the distance from the target, this one has no noise, so that it can weigh much.

    Args:
        drawn, before: (N, 3, H, W), now and by the network at the phase's beginning.
        where, area: see `l1_where`.
    """
    apart = F.avg_pool2d(drawn - before, _COARSE_PX).abs().mean(dim=1, keepdim=True)
    return l1_where(apart, F.avg_pool2d(where, _COARSE_PX), area / _COARSE_PX**2)


_COARSE_PX = 4


def blend(image: Tensor, drawn: Tensor, alpha: Tensor) -> Tensor:
    """alpha · drawn + (1 - alpha) · image; alpha (N, 1, H, W) or (N, 2, H, W), one channel a class."""
    return torch.lerp(drawn, image, (1 - alpha).prod(dim=1, keepdim=True))

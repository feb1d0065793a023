"""Losses, and what generator and discriminator are trained for in a phase."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facemend.training import losses
from facemend.training.batches import PairBatch
from facemend.training.config import LossConfig, TrainingConfig
from facemend.training.distributed import autocast
from facemend.training.networks import Drawing


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


class Objective:
    """The losses of both networks on a batch, or on a part of one.

    Args:
        config: says what the discriminator sees and in which precision it computes.
        weights: of the losses; those of weight 0 are not computed.
        device: where batches and networks are.
        features: the network behind the loss `deep_features`, if that has a weight.
        before: the generator as it was, behind the loss `anchor`, if that has a weight.
    """

    def __init__(
        self,
        config: TrainingConfig,
        weights: LossConfig,
        device: torch.device,
        features: nn.Module | None = None,
        before: nn.Module | None = None,
    ) -> None:
        if weights.deep_features and features is None:
            raise ValueError("the loss deep_features needs its network")
        if weights.anchor and before is None:
            raise ValueError("the loss anchor needs the generator as it was")
        self._config, self._weights, self._device = config, weights, device
        self._features, self._before = features, before

    def of_discriminator(self, discriminator: nn.Module, part: PairBatch, drawn: Tensor) -> Tensor:
        """The discriminator's loss; `drawn` (N, 3, H, W) carries no gradient."""
        weights = self._weights
        seen = self._view(part, part.target).requires_grad_(weights.r1 > 0)
        real = self._judge(discriminator, seen)
        fake = self._judge(discriminator, self._view(part, drawn))
        game = losses.ADVERSARIAL[weights.game]
        loss = _mean(game.tells_apart(r[-1], f[-1]) for r, f in zip(real, fake, strict=True))
        if weights.r1:
            loss = loss + weights.r1 * _mean(losses.r1_penalty(r[-1], seen) for r in real)
        return loss

    def of_generator(
        self, discriminator: nn.Module, part: PairBatch, drawing: Drawing, area: Tensor
    ) -> dict[str, Tensor]:
        """The generator's losses by name, and as `generator` their weighted sum.

        Args:
            area: pixels in the holes, see `losses.l1_where`.
        """
        terms = self._drawn_terms(part, drawing, area)
        if self._weights.judged:
            terms |= self._judged_terms(discriminator, part, drawing.raw)
        if self._weights.deep_features:
            terms["deep_features"] = self._deep_term(part, drawing.raw)
        if self._weights.anchor:
            terms["anchor"] = self._anchor_term(part, drawing.raw, area)
        weighted = [getattr(self._weights, name) * term for name, term in terms.items()]
        return terms | {"generator": torch.stack(weighted).sum()}

    def _drawn_terms(self, part: PairBatch, drawing: Drawing, area: Tensor) -> dict[str, Tensor]:
        # Passes over whole pictures cost as much time as convolutions do: what several share is made once.
        weights, terms, hole = self._weights, {}, part.hole
        apart = (drawing.raw - part.target).abs()
        distance = apart.mean(dim=1, keepdim=True)
        if weights.l1_image:
            terms["l1_image"] = distance.mean()
        if weights.l1_hole:
            terms["l1_hole"] = losses.l1_where(distance, hole, area)
        if weights.l1_outside:
            terms["l1_outside"] = losses.l1_where(distance, 1 - hole, hole.numel() - area)
        if weights.alpha and drawing.alpha_logits is not None:
            terms["alpha"] = losses.alpha_loss(drawing.alpha_logits, part.alpha)
        if weights.alpha_overlap and drawing.alpha_logits is not None:
            terms["alpha_overlap"] = losses.alpha_overlap(drawing.alpha_logits, part.alpha)
        if drawing.alpha_logits is not None and (weights.l1_composite or weights.psnr_hole):
            composite = losses.blend(part.occluded, drawing.raw, drawing.alpha_logits.sigmoid())
            if weights.l1_composite:
                terms["l1_composite"] = losses.l1_image(composite, part.target)
            if weights.psnr_hole:
                terms["psnr_hole"] = losses.psnr_where(composite, part.target, hole)
        if weights.interval and drawing.interval is not None:
            terms["interval"] = losses.interval_where(apart, drawing.interval, hole, area)
        return terms

    def _judged_terms(self, discriminator: nn.Module, part: PairBatch, drawn: Tensor) -> dict[str, Tensor]:
        weights, terms = self._weights, {}
        fake = self._judge(discriminator, self._view(part, drawn))
        if weights.adversarial:
            game = losses.ADVERSARIAL[weights.game]
            terms["adversarial"] = _mean(game.fools(features[-1]) for features in fake)
        if weights.feature_matching:
            with torch.no_grad():
                real = self._judge(discriminator, self._view(part, part.target))
            terms["feature_matching"] = _mean(
                losses.feature_matching(r[:-1], f[:-1]) for r, f in zip(real, fake, strict=True)
            )
        return terms

    def _deep_term(self, part: PairBatch, drawn: Tensor) -> Tensor:
        assert self._features is not None  # checked when it was made
        square = slice(part.target.shape[-1])  # its network knows squares
        target, drawn, hole = (x[:, :, square] for x in (part.target, drawn, part.hole))
        with autocast(self._config.precision, self._device):
            with torch.no_grad():
                real = self._features(target).layers
            # As with the PatchGAN: outside the hole both are the target.
            fake = self._features(torch.lerp(target, drawn, hole)).layers
        return losses.deep_features([r.float() for r in real], [f.float() for f in fake])

    def _anchor_term(self, part: PairBatch, drawn: Tensor, area: Tensor) -> Tensor:
        assert self._before is not None  # checked when it was made
        with torch.no_grad(), autocast(self._config.precision, self._device):
            before = self._before(part.occluded.contiguous(memory_format=torch.channels_last), part.hint)[0]
        return losses.anchor(drawn, before.float(), part.hole, area)

    def _view(self, part: PairBatch, picture: Tensor) -> Tensor:
        """What the discriminator sees of a real or drawn picture: the occluded one beside it."""
        if self._config.discriminator.kind == "patch70":
            seen = torch.cat([part.occluded, picture], dim=1)
        else:
            side = self._config.discriminator.crop_px
            occluded, target, drawn, hole = (
                _cut_squares(x, part.focus, side) for x in (part.occluded, part.target, picture, part.hole)
            )
            # Only the hole is judged: elsewhere both pictures are the target's.
            seen = torch.cat([occluded, torch.lerp(target, drawn, hole), hole], dim=1)
        return seen.contiguous(memory_format=torch.channels_last)

    def _judge(self, discriminator: nn.Module, seen: Tensor) -> list[list[Tensor]]:
        """The discriminator's features, scale by scale, the logits last in each."""
        with autocast(self._config.precision, self._device):
            judged = discriminator(seen)
        scales = [judged] if self._config.discriminator.scales == 1 else judged
        return [[feature.float() for feature in features] for features in scales]


def _mean(values: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(values)).mean()


def _cut_squares(x: Tensor, focus: Tensor, side: int) -> Tensor:
    """Squares (N, C, side, side) around the points (x, y) of focus, moved inside the picture."""
    side = min(side, x.shape[-1])
    last = torch.tensor([x.shape[-1] - side, x.shape[-2] - side])
    corners = (focus - side // 2).clamp(torch.zeros(2, dtype=torch.long), last).tolist()
    return torch.stack(
        [
            picture[:, top : top + side, left : left + side]
            for picture, (left, top) in zip(x.unbind(), corners, strict=True)
        ]
    )

"""What generator and discriminator are trained for: a phase's losses, weighted."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from facemend.training import losses
from facemend.training.batches import PairBatch
from facemend.training.config import LossConfig, TrainingConfig
from facemend.training.networks import Drawing
from facemend.training.precision import autocast


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

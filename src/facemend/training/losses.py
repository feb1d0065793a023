"""Losses of generator and discriminator, their weighted sum in a phase, the network of `deep_features`."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import trange

from facemend.datasets import FaceSource
from facemend.errors import TrainingError
from facemend.files import fingerprint_of, written_whole
from facemend.images import to_network
from facemend.training.batches import PairBatch
from facemend.training.config import LossConfig, TrainingConfig
from facemend.training.data import Crops
from facemend.training.distributed import autocast
from facemend.training.networks import GeneratorOutput


def l1_image(image: Tensor, target: Tensor) -> Tensor:
    """mean |image - target| over all values, (N, 3, H, W) each. Isola et al. 2017, equation 3."""
    return (image - target).abs().mean()


def l1_where(error: Tensor, where: Tensor, area: Tensor) -> Tensor:
    """sum(where · error) / area: the mean over a region, so that small masked areas count.

    Args:
        error: (N, 1, H, W), |raw - target| averaged over the colours.
        where: (N, 1, H, W), 0-1.
        area: scalar, sum(where). Of a batch that is computed in parts, its mean over the parts, so that
            the mean of the parts' losses is the whole batch's loss.
    """
    return (error * where).sum() / area.clamp(min=1)


def psnr_where(image: Tensor, target: Tensor, where: Tensor) -> Tensor:
    """mean over pictures of ln(mse + 1e-3), mse over a region: every picture's PSNR counts the same.

    Up to a constant, 10 / ln 10 times this is the negative of the mean PSNR in dB, as in NAFNet (Chen et
    al., "Simple Baselines for Image Restoration", ECCV 2022). Without it, the pictures that are hardest
    to guess weigh most. Pictures without such a region count 0.

    Args:
        image, target: (N, 3, H, W).
        where: (N, 1, H, W), 0-1.
    """
    squares = F.mse_loss(image, target, reduction="none").mean(dim=1, keepdim=True)
    error, area = (squares * where).sum(dim=(1, 2, 3)), where.sum(dim=(1, 2, 3))
    return ((error / area.clamp(min=1) + 1e-3).log() * (area > 0)).mean()


def interval_where(error: Tensor, interval: Tensor, where: Tensor, area: Tensor) -> Tensor:
    """The pinball loss of |raw - target| at 0.9: at its minimum, nine in ten errors are below `interval`.

    Koenker and Bassett, "Regression Quantiles", Econometrica 1978: 0.9 · x where x > 0, else -0.1 · x, of
    x = |raw - target| - interval. It trains the interval alone: `raw` gets no gradient.

    Args:
        error: (N, 3, H, W), |raw - target|.
        interval: (N, 1, H, W), ≥ 0.
        where, area: see `l1_where`.
    """
    error = error.detach()
    beyond = F.relu(error - interval).mean(dim=1, keepdim=True)
    loss = beyond - 0.1 * (error.mean(dim=1, keepdim=True) - interval)
    return (loss * where).sum() / area.clamp(min=1)


def alpha_loss(logits: Tensor, alpha: Tensor) -> Tensor:
    """Binary cross-entropy between predicted and true alpha, (N, 2, H, W) each, mean over all."""
    return F.binary_cross_entropy_with_logits(logits, alpha)


def alpha_overlap(logits: Tensor, alpha: Tensor) -> Tensor:
    """mean over pictures of 1 - Σ p·t / Σ (p + t - p·t): one minus a soft IoU, (N, 2, H, W) each.

    Cross-entropy counts pixels, so that a large masked area weighs more than a small one. Where the network
    is in doubt, cross-entropy costs little either way. This loss counts occlusions and makes it decide.
    Rahman and Wang, "Optimizing Intersection-Over-Union in Deep Neural Networks for Image Segmentation",
    ISVC 2016, equation 3. Pictures without an occlusion count 0.
    """
    found = logits.sigmoid()
    both = (found * alpha).sum(dim=(1, 2, 3))
    either = (found + alpha).sum(dim=(1, 2, 3)) - both
    hidden = alpha.amax(dim=(1, 2, 3)) > 0
    return ((1 - both / either.clamp(min=1)) * hidden).mean()


def bce_g_loss(fake_logits: Tensor) -> Tensor:
    """mean softplus(-D(fake)) = BCE of the fakes classified as real.

    Goodfellow et al., "Generative Adversarial Nets", NeurIPS 2014, section 3 (the non-saturating form),
    as Isola et al. 2017 use it.
    """
    return F.softplus(-fake_logits).mean()


def bce_d_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """(BCE of real classified as real + BCE of fake classified as fake) / 2.

    Isola et al. 2017, section 3.3, which divides by 2 to slow the discriminator down.
    """
    return (F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()) / 2


def hinge_g_loss(fake_logits: Tensor) -> Tensor:
    """-mean D(fake).

    Lim and Ye, "Geometric GAN", 2017 (arXiv 1705.02894); Miyato et al., "Spectral Normalization for
    Generative Adversarial Networks", ICLR 2018, equation 17.
    """
    return -fake_logits.mean()


def hinge_d_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """mean max(0, 1 - D(real)) + mean max(0, 1 + D(fake)). Miyato et al. 2018, equation 16."""
    return F.relu(1 - real_logits).mean() + F.relu(1 + fake_logits).mean()


class AdversarialLoss(NamedTuple):
    """Both sides of a GAN's loss. Each takes logits, one per patch, positive for real."""

    g_loss: Callable[[Tensor], Tensor]
    d_loss: Callable[[Tensor, Tensor], Tensor]


GAN_MODES: Mapping[str, AdversarialLoss] = {
    "bce": AdversarialLoss(bce_g_loss, bce_d_loss),
    "hinge": AdversarialLoss(hinge_g_loss, hinge_d_loss),
}
"""By their names in a config. `bce` is the non-saturating loss. R1 can be added to each."""


def r1_penalty(real_logits: Tensor, real_input: Tensor) -> Tensor:
    """mean over pictures of ‖∇ D(x)‖² / 2 of D(x), the mean of a picture's logits.

    Mescheder, Geiger, Nowozin, "Which Training Methods for GANs do actually Converge?", ICML 2018,
    equation 9. The weight is its γ.

    Args:
        real_logits: (N, 1, h, w), computed from `real_input`, which requires its gradient.
        real_input: (N, C, H, W).
    """
    logits = real_logits.mean(dim=(1, 2, 3)).sum()
    (gradient,) = torch.autograd.grad(logits, real_input, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3)).mean() / 2


def feature_matching(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """mean over layers of mean |D_i(real) - D_i(fake)|. Wang et al. 2018 (pix2pixHD), equation 4.

    Args:
        real, fake: the discriminator's features of every layer but the last. Real ones carry no gradient.
    """
    return torch.stack([(r.detach() - f).abs().mean() for r, f in zip(real, fake, strict=True)]).mean()


def deep_features(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """mean over layers of mean |F_i(real) - F_i(fake)| / mean |F_i(real)|: a perceptual distance.

    Johnson, Alahi, Fei-Fei, "Perceptual Losses for Real-Time Style Transfer and Super-Resolution", ECCV
    2016, equation 2, with L1 in place of squares and every layer brought to the same scale.

    Args:
        real, fake: a feature network's layers. Real ones carry no gradient.
    """
    return torch.stack(
        [(r - f).abs().mean() / r.abs().mean().clamp(min=1e-6) for r, f in zip(real, fake, strict=True)]
    ).mean()


def blend(image: Tensor, raw: Tensor, alpha: Tensor) -> Tensor:
    """alpha · raw + (1 - alpha) · image. alpha is (N, 1, H, W) or (N, 2, H, W), a channel per class."""
    return torch.lerp(raw, image, (1 - alpha).prod(dim=1, keepdim=True))


class Objective:
    """The losses of both networks on a batch, or on a part of one.

    Args:
        config: says what the discriminator's input is, and in which precision it computes.
        weights: of the losses. A loss of weight 0 is not computed.
        device: of batches and networks.
        features: the network behind the loss `deep_features`, required if that has a weight.
    """

    def __init__(
        self,
        config: TrainingConfig,
        weights: LossConfig,
        device: torch.device,
        features: nn.Module | None = None,
    ) -> None:
        if weights.deep_features and features is None:
            raise ValueError("the loss deep_features needs its network")
        self._config, self._weights, self._device, self._features = config, weights, device, features

    def d_loss(self, discriminator: nn.Module, part: PairBatch, raw: Tensor) -> Tensor:
        """The discriminator's loss. `raw` (N, 3, H, W) carries no gradient."""
        weights = self._weights
        real_input = self._discriminator_input(part, part.target).requires_grad_(weights.r1 > 0)
        real = self._discriminate(discriminator, real_input)
        fake = self._discriminate(discriminator, self._discriminator_input(part, raw))
        d_loss = GAN_MODES[weights.gan_mode].d_loss
        loss = _mean(d_loss(r[-1], f[-1]) for r, f in zip(real, fake, strict=True))
        if weights.r1:
            loss = loss + weights.r1 * _mean(r1_penalty(r[-1], real_input) for r in real)
        return loss

    def g_losses(
        self, discriminator: nn.Module, part: PairBatch, output: GeneratorOutput, area: Tensor
    ) -> dict[str, Tensor]:
        """The generator's losses by name, and as `generator` their weighted sum.

        Args:
            area: pixels in the masked areas, see `l1_where`.
        """
        terms = self._reconstruction_losses(part, output, area)
        if self._weights.use_discriminator:
            terms |= self._adversarial_losses(discriminator, part, output.raw)
        if self._weights.deep_features:
            terms["deep_features"] = self._deep_features_loss(part, output.raw)
        weighted = [getattr(self._weights, name) * term for name, term in terms.items()]
        return terms | {"generator": torch.stack(weighted).sum()}

    def _reconstruction_losses(
        self, part: PairBatch, output: GeneratorOutput, area: Tensor
    ) -> dict[str, Tensor]:
        # Passes over whole pictures cost as much time as convolutions do: what several share is made once.
        weights, terms, hole, logits = self._weights, {}, part.hole, output.alpha_logits
        errors = (output.raw - part.target).abs()
        error = errors.mean(dim=1, keepdim=True)
        if weights.l1_image:
            terms["l1_image"] = error.mean()
        if weights.l1_hole:
            terms["l1_hole"] = l1_where(error, hole, area)
        if weights.l1_outside:
            terms["l1_outside"] = l1_where(error, 1 - hole, hole.numel() - area)
        if weights.alpha and logits is not None:
            terms["alpha"] = alpha_loss(logits, part.alpha)
        if weights.alpha_overlap and logits is not None:
            terms["alpha_overlap"] = alpha_overlap(logits, part.alpha)
        if logits is not None and (weights.l1_composite or weights.psnr_hole):
            composite = blend(part.occluded, output.raw, logits.sigmoid())
            if weights.l1_composite:
                terms["l1_composite"] = l1_image(composite, part.target)
            if weights.psnr_hole:
                terms["psnr_hole"] = psnr_where(composite, part.target, hole)
        if weights.interval and output.interval is not None:
            terms["interval"] = interval_where(errors, output.interval, hole, area)
        return terms

    def _adversarial_losses(
        self, discriminator: nn.Module, part: PairBatch, raw: Tensor
    ) -> dict[str, Tensor]:
        weights, terms = self._weights, {}
        fake = self._discriminate(discriminator, self._discriminator_input(part, raw))
        if weights.adversarial:
            g_loss = GAN_MODES[weights.gan_mode].g_loss
            terms["adversarial"] = _mean(g_loss(features[-1]) for features in fake)
        if weights.feature_matching:
            with torch.no_grad():
                real = self._discriminate(discriminator, self._discriminator_input(part, part.target))
            terms["feature_matching"] = _mean(
                feature_matching(r[:-1], f[:-1]) for r, f in zip(real, fake, strict=True)
            )
        return terms

    def _deep_features_loss(self, part: PairBatch, raw: Tensor) -> Tensor:
        assert self._features is not None  # checked by __init__
        square = slice(part.target.shape[-1])  # its network takes squares
        target, raw, hole = (x[:, :, square] for x in (part.target, raw, part.hole))
        with autocast(self._config.precision, self._device):
            with torch.no_grad():
                real = self._features(target).layers
            # As with the PatchGAN: outside the masked area both are the target.
            fake = self._features(torch.lerp(target, raw, hole)).layers
        return deep_features([r.float() for r in real], [f.float() for f in fake])

    def _discriminator_input(self, part: PairBatch, picture: Tensor) -> Tensor:
        """A real or reconstructed picture beside the occluded one, (N, 6 or 7, h, w)."""
        if self._config.discriminator.kind == "patch70":
            channels = torch.cat([part.occluded, picture], dim=1)
        else:
            side_px = self._config.discriminator.crop_px
            occluded, target, fake, hole = (
                _cut_squares(x, part.focus, side_px)
                for x in (part.occluded, part.target, picture, part.hole)
            )
            # Only the masked area is discriminated: elsewhere both pictures are the target.
            channels = torch.cat([occluded, torch.lerp(target, fake, hole), hole], dim=1)
        return channels.contiguous(memory_format=torch.channels_last)

    def _discriminate(self, discriminator: nn.Module, channels: Tensor) -> list[list[Tensor]]:
        """The discriminator's features, scale by scale, the logits last in each."""
        with autocast(self._config.precision, self._device):
            features = discriminator(channels)
        scales = [features] if self._config.discriminator.scales == 1 else features
        return [[layer.float() for layer in layers] for layers in scales]


def _mean(values: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(values)).mean()


def _cut_squares(x: Tensor, focus: Tensor, side_px: int) -> Tensor:
    """Squares (N, C, side, side) around the points (x, y) of focus, moved inside the picture."""
    side_px = min(side_px, x.shape[-1])
    last = torch.tensor([x.shape[-1] - side_px, x.shape[-2] - side_px])
    corners = (focus - side_px // 2).clamp(torch.zeros(2, dtype=torch.long), last).tolist()
    return torch.stack(
        [
            picture[:, top : top + side_px, left : left + side_px]
            for picture, (left, top) in zip(x.unbind(), corners, strict=True)
        ]
    )


FEATURES_SIDE_PX = 128
"""Side of the pictures that it takes. Larger ones are reduced by means over squares."""
_FEATURES_WIDTHS = (32, 64, 96, 160, 256)


class FaceFeatures(NamedTuple):
    """What the network returns.

    Attributes:
        layers: of every stage (N, width, side, side), from half of `FEATURES_SIDE_PX` down.
        logits: (N, attributes), positive for yes.
    """

    layers: Sequence[Tensor]
    logits: Tensor


class FeatureNet(nn.Module):
    """Five stages of two 3×3 convolutions, each at half the resolution of the one before.

    It takes 0.15 GMACs per face, little beside a generator's step.

    Args:
        attributes: how many it classifies.
    """

    def __init__(self, attributes: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            nn.Sequential(_convolve(before, width, stride=2), _convolve(width, width, stride=1))
            for before, width in pairwise((3, *_FEATURES_WIDTHS))
        )
        self.attributes = nn.Linear(_FEATURES_WIDTHS[-1], attributes)

    def forward(self, faces: Tensor) -> FaceFeatures:
        """Faces (N, 3, H, W) in [-1, 1], H = W a multiple of `FEATURES_SIDE_PX` or smaller."""
        x = faces
        if x.shape[-1] != FEATURES_SIDE_PX:
            x = F.interpolate(x, size=(FEATURES_SIDE_PX, FEATURES_SIDE_PX), mode="area")
        layers = []
        for stage in self.stages:
            x = stage(x)
            layers.append(x)
        return FaceFeatures(layers, self.attributes(x.mean(dim=(2, 3))))


def _convolve(before: int, width: int, *, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
    )


_BATCH, _RATE, _SHIFT_PX = 64, 2e-3, 6
_SEED = 0  # not the run's, so that runs with other seeds share the network


def cached_features(
    config: TrainingConfig, faces: FaceSource, crops: Crops, folder: Path, *, quiet: bool
) -> Path:
    """The file of the network for these faces. It is trained first if there is none yet.

    Args:
        crops: of the faces, at the size that the network takes.

    Raises:
        TrainingError: there are faces without attributes.
        OutputError: the folder cannot be written.
    """
    names = (record.name for record in faces.records)
    settings = (config.features.images, _SEED, config.precision)
    path = (
        folder / f"features-{fingerprint_of(faces.name, faces.fingerprint, *settings, *names)}.safetensors"
    )
    if not path.exists():
        network = train_features(config, crops, quiet=quiet)
        with written_whole(path) as temporary:
            save_file({key: value.contiguous() for key, value in network.state_dict().items()}, temporary)
    return path


def open_features(path: Path, device: torch.device) -> FeatureNet:
    """The network in a file, in evaluation mode and without gradients for its weights."""
    weights = load_file(path)
    network = FeatureNet(len(weights["attributes.bias"]))
    network.load_state_dict(weights)
    network.eval().requires_grad_(requires_grad=False)
    return network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def train_features(config: TrainingConfig, crops: Crops, *, quiet: bool) -> FeatureNet:
    """A network that classifies the faces' attributes, trained on the CPU.

    Raises:
        TrainingError: there are faces without attributes.
    """
    truths = attribute_table(crops)
    torch.manual_seed(_SEED)
    rng = np.random.default_rng(_SEED)
    network = FeatureNet(truths.shape[1])
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    steps = -(-config.features.images // _BATCH)
    optimizer = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=steps)
    for _ in trange(steps, desc="training deep features", disable=quiet or None, leave=False):
        chosen = np.sort(rng.integers(len(crops), size=_BATCH))
        images = np.stack([_shifted(crops.images[row], rng) for row in chosen])
        pictures = torch.from_numpy(to_network(images)).contiguous(memory_format=torch.channels_last)
        with autocast(config.precision, torch.device("cpu")):
            logits = network(pictures).logits
        loss = F.binary_cross_entropy_with_logits(logits.float(), torch.from_numpy(truths[chosen]))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return network


def attribute_table(crops: Crops) -> npt.NDArray[np.float32]:
    """(N, attributes), 1 for yes and 0 for no, the attributes in order of their names.

    Raises:
        TrainingError: the faces have none, or not all have the same.
    """
    names = sorted(crops.attributes[0])
    if not names or any(sorted(each) != names for each in crops.attributes):
        raise TrainingError(
            "the loss deep_features needs the attributes of every face, as in CelebA's "
            "list_attr_celeba.txt; set its weight to 0"
        )
    return np.array([[each[name] for name in names] for each in crops.attributes], dtype=np.float32)


def _shifted(image: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """The square, mirrored or not, and shifted a little. Pixels from beyond the border repeat it."""
    image = image[: image.shape[1]]
    x, y = rng.integers(-_SHIFT_PX, _SHIFT_PX + 1, 2)
    side = np.arange(len(image))
    moved: npt.NDArray[np.uint8] = image[(side + y).clip(0, len(image) - 1)]
    moved = moved[:, (side + x).clip(0, len(image) - 1)]
    return moved[:, ::-1] if rng.random() < 0.5 else moved

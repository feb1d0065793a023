"""One step of generator and discriminator, and everything that has to survive between two steps."""

import math
import subprocess
import time
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from facemend.datasets import FaceSource, hash_identity
from facemend.errors import TrainingError
from facemend.training import losses
from facemend.training.checkpoint import Checkpoint, Progress, flatten_optimizer, restore_optimizer
from facemend.training.config import PhaseConfig, TrainingConfig
from facemend.training.data import PairBatch
from facemend.training.networks import Drawing, make_discriminator, make_generator
from facemend.training.precision import autocast


class Trainer:
    """Generator, discriminator and their optimisers, and one step of all of them."""

    def __init__(self, config: TrainingConfig, faces: FaceSource) -> None:
        torch.manual_seed(config.seed)
        self.config = config
        self.generator = _channels_last(make_generator(config.generator))
        self.discriminator = _channels_last(make_discriminator(config.discriminator))
        self.ema: nn.Module = deepcopy(self.generator).requires_grad_(requires_grad=False).eval()
        self.images_seen, self.seconds = 0, 0.0
        identities = {record.identity for record in faces.records}
        self._people = (
            None
            if None in identities
            else tuple(sorted(hash_identity(identity) for identity in identities if identity))
        )
        self._data = f"{faces.name}, {len(faces)} pictures of {len(identities)} people"
        self._optimizer_state: Checkpoint | None = None

    @property
    def shown(self) -> nn.Module:
        """The generator that is validated and exported."""
        return self.ema if self.config.ema else self.generator

    def enter(self, phase: PhaseConfig, start: int) -> None:
        """Makes the phase's optimisers; takes their state from a checkpoint made inside the phase."""
        self.phase, self.phase_start = phase, start
        self.generator_optimizer = _make_optimizer(self.generator, phase, phase.learning_rate)
        self.discriminator_optimizer = _make_optimizer(
            self.discriminator, phase, phase.discriminator_learning_rate
        )
        saved, self._optimizer_state = self._optimizer_state, None
        if saved is not None and self.images_seen > start:
            restore_optimizer(self.generator_optimizer, saved.part("generator_optimizer"))
            restore_optimizer(self.discriminator_optimizer, saved.part("discriminator_optimizer"))

    def step(self, batch: PairBatch) -> dict[str, Tensor]:
        """One update of the discriminator, if the phase has one, and of the generator."""
        began = time.monotonic()
        phase, weights = self.phase, self.phase.losses
        rate = _rate(phase, self.images_seen - self.phase_start)
        _set_rate(self.generator_optimizer, phase.learning_rate * rate)
        _set_rate(self.discriminator_optimizer, phase.discriminator_learning_rate * rate)
        adversarial = weights.adversarial > 0 or weights.feature_matching > 0
        self.generator.train()
        with autocast(self.config.precision):
            drawing = self.generator(
                batch.occluded.contiguous(memory_format=torch.channels_last), batch.hint
            )
        drawing = Drawing(
            drawing.raw.float(), None if drawing.alpha_logits is None else drawing.alpha_logits.float()
        )
        figures: dict[str, Tensor] = {}
        if adversarial:
            figures["discriminator"] = self._step_discriminator(batch, drawing)
        terms = self._generator_terms(batch, drawing, adversarial=adversarial)
        total = torch.stack([getattr(weights, name) * term for name, term in terms.items()]).sum()
        self.generator_optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        if phase.clip_norm:
            nn.utils.clip_grad_norm_(self.generator.parameters(), phase.clip_norm)
        self.generator_optimizer.step()
        self._follow()
        figures |= {name: term.detach() for name, term in terms.items()} | {"generator": total.detach()}
        self.images_seen += len(batch.target)
        if not math.isfinite(float(figures["generator"])):
            raise TrainingError(
                f"the loss is no number any more after {self.images_seen} images; the last checkpoint "
                "is from before; try a lower learning_rate"
            )
        self.seconds += time.monotonic() - began
        return figures

    def _generator_terms(
        self, batch: PairBatch, drawing: Drawing, *, adversarial: bool
    ) -> dict[str, Tensor]:
        weights, terms = self.phase.losses, {}
        if weights.l1_image:
            terms["l1_image"] = losses.l1_image(drawing.raw, batch.target)
        if weights.l1_hole:
            terms["l1_hole"] = losses.l1_where(drawing.raw, batch.target, batch.hole)
        if weights.l1_outside:
            terms["l1_outside"] = losses.l1_where(drawing.raw, batch.target, 1 - batch.hole)
        if weights.alpha and drawing.alpha_logits is not None:
            terms["alpha"] = losses.alpha_loss(drawing.alpha_logits, batch.alpha)
        if weights.l1_composite and drawing.alpha_logits is not None:
            composite = losses.blend(batch.occluded, drawing.raw, drawing.alpha_logits.sigmoid())
            terms["l1_composite"] = losses.l1_image(composite, batch.target)
        if adversarial:
            fake = self._judge(batch, drawing.raw)
            if weights.adversarial:
                terms["adversarial"] = losses.fools(fake[-1])
            if weights.feature_matching:
                with torch.no_grad():
                    real = self._judge(batch, batch.target)
                terms["feature_matching"] = losses.feature_matching(real[:-1], fake[:-1])
        return terms

    def _step_discriminator(self, batch: PairBatch, drawing: Drawing) -> Tensor:
        real = self._judge(batch, batch.target)[-1]
        fake = self._judge(batch, drawing.raw.detach())[-1]
        loss = losses.tells_apart(real, fake)
        self.discriminator_optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.discriminator_optimizer.step()
        return loss.detach()

    def _judge(self, batch: PairBatch, drawn: Tensor) -> list[Tensor]:
        """The discriminator's features of a real or drawn picture beside the occluded one."""
        if self.config.discriminator.kind == "patch70":
            seen = torch.cat([batch.occluded, drawn], dim=1)
        else:
            # Only the hole is judged: elsewhere both pictures are the target's.
            hole = batch.hole
            pasted = hole * drawn + (1 - hole) * batch.target
            seen = torch.cat([batch.occluded, pasted, hole], dim=1)
            seen = _cut_squares(seen, batch.focus, self.config.discriminator.crop_px)
        with autocast(self.config.precision):
            features: list[Tensor] = self.discriminator(seen.contiguous(memory_format=torch.channels_last))
        return [feature.float() for feature in features]

    def _follow(self) -> None:
        """The running mean of the weights; early on it forgets faster, so that it starts quickly."""
        steps = self.images_seen / self.phase.batch
        decay = min(self.config.ema, (1 + steps) / (10 + steps))
        with torch.no_grad():
            mean: list[Tensor] = list(self.ema.parameters())
            now: list[Tensor] = list(self.generator.parameters())
            torch._foreach_lerp_(mean, now, 1 - decay)

    def checkpoint(self) -> Checkpoint:
        """Everything, as it is now."""
        tensors: dict[str, Tensor] = {"rng/torch": torch.get_rng_state()}
        networks = {"generator": self.generator, "ema": self.ema, "discriminator": self.discriminator}
        for name, network in networks.items():
            tensors |= {f"{name}/{key}": value for key, value in network.state_dict().items()}
        tensors |= flatten_optimizer("generator_optimizer", self.generator_optimizer)
        tensors |= flatten_optimizer("discriminator_optimizer", self.discriminator_optimizer)
        return Checkpoint(
            config=self.config.model_dump(mode="json"),
            progress=Progress(self.images_seen, self.seconds),
            training_people=self._people,
            data=self._data,
            commit=current_commit(),
            tensors=tensors,
        )

    def restore(self, saved: Checkpoint) -> None:
        """Goes on from a checkpoint of the same people and, as far as it has come, the same config.

        Phases that have not begun may have changed, as may the length of the one that has, and what
        changes no result (how often to save and to validate, workers).

        Raises:
            TrainingError: it was made by another config, or on other faces.
        """
        seen = saved.progress.images_seen
        old, new = (
            _past(config.model_dump(mode="json"), seen) for config in (saved.settings(), self.config)
        )
        if changed := _differences(old, new):
            raise TrainingError(
                f"the run's config has changed ({', '.join(changed[:3])}); choose another folder, or "
                "start anew with --fresh"
            )
        if saved.training_people != self._people:
            raise TrainingError("the run was begun on other faces; choose another folder, or add --fresh")
        self.generator.load_state_dict(saved.part("generator"))
        self.discriminator.load_state_dict(saved.part("discriminator"))
        self.ema.load_state_dict(saved.part("ema"))
        torch.set_rng_state(saved.tensors["rng/torch"])
        self.images_seen, self.seconds = seen, saved.progress.seconds
        self._optimizer_state = saved

    def start_from(self, saved: Checkpoint) -> None:
        """Takes over the weights of another run; optimisers and clock start anew.

        Raises:
            TrainingError: its networks have another shape.
        """
        weights = saved.part("ema") or saved.part("generator")
        try:
            self.generator.load_state_dict(weights)
            self.ema.load_state_dict(weights)
            if saved.part("discriminator"):
                self.discriminator.load_state_dict(saved.part("discriminator"))
        except RuntimeError as error:
            raise TrainingError(f"the weights to start from are of another network: {error}") from error


def _channels_last(network: nn.Module) -> nn.Module:
    """The layout in which convolutions run fastest on CPUs and GPUs."""
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _make_optimizer(network: nn.Module, phase: PhaseConfig, rate: float) -> torch.optim.Optimizer:
    if phase.optimizer == "adam":
        return torch.optim.Adam(network.parameters(), lr=rate, betas=phase.betas, fused=True)
    return torch.optim.AdamW(
        network.parameters(), lr=rate, betas=phase.betas, weight_decay=phase.weight_decay, fused=True
    )


def _rate(phase: PhaseConfig, images: int) -> float:
    """Share of the peak learning rate after so many images of a phase."""
    warmup = min(1.0, (images + phase.batch) / phase.warmup_images) if phase.warmup_images else 1.0
    if phase.schedule == "constant":
        return warmup
    done = min(1.0, images / phase.images)
    return warmup * (0.02 + 0.98 * (1 + math.cos(math.pi * done)) / 2)


def _set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def _cut_squares(x: Tensor, focus: Tensor, side: int) -> Tensor:
    """Squares (N, C, side, side) around the points (x, y) of focus, moved inside the picture."""
    side = min(side, x.shape[-1])
    corners = (focus - side // 2).clamp(0, x.shape[-1] - side).tolist()
    return torch.stack(
        [x[n, :, top : top + side, left : left + side] for n, (left, top) in enumerate(corners)]
    )


_CHANGES_NOTHING = ("checkpoint_minutes", "validate_images", "validation_faces", "workers")


def _past(config: Mapping[str, Any], images_seen: int) -> dict[str, Any]:
    """What of a config (as JSON-like data) has had its effect after so many images."""
    phases, start = [], 0
    for phase in config["phases"]:
        if start >= images_seen:
            break
        start += phase["images"]
        over = start <= images_seen
        phases.append(phase if over else {key: value for key, value in phase.items() if key != "images"})
    kept = {key: value for key, value in config.items() if key not in _CHANGES_NOTHING}
    return {**kept, "phases": phases}


def _differences(old: object, new: object, place: str = "") -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(old.keys() | new.keys())
        return [
            d for key in keys for d in _differences(old.get(key), new.get(key), f"{place}.{key}".strip("."))
        ]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [
            d
            for n, pair in enumerate(zip(old, new, strict=True))
            for d in _differences(*pair, f"{place}.{n}")
        ]
    return [] if old == new else [f"{place}: {old} -> {new}"]


def current_commit() -> str:
    """The git commit of the code that runs, "unknown" outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"

"""A training run, described completely. Every default lives here and nowhere else."""

import difflib
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from facemend.errors import ConfigError
from facemend.files import read_named
from facemend.occlusion import KINDS

_MOST_BYTES = 1 << 20

Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Precision = Literal["auto", "fp32", "bf16", "fp16"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GeneratorConfig(_Section):
    """Which network draws.

    Attributes:
        kind: `unet`, our light one (RGB, alpha, hint), or `pix2pix`, the paper's U-Net 256 (RGB).
        widths: channels a level of `unet`, from a quarter of the resolution down.
    """

    kind: Literal["unet", "pix2pix"] = "unet"
    widths: tuple[Count, ...] = (64, 96, 160, 256, 256)


class DiscriminatorConfig(_Section):
    """Which PatchGAN judges.

    Attributes:
        kind: `patch70`, the paper's on the whole picture, or `patch_crop`, a small one on a square
            around the hole that is told where the hole is.
        crop_px: that square's side.
        scales: how many of them judge, each at half the resolution of the one before (pix2pixHD: 3).
    """

    kind: Literal["patch70", "patch_crop"] = "patch_crop"
    crop_px: Count = 128
    scales: Count = 1


class DataConfig(_Section):
    """What is shown to the network.

    Attributes:
        images: use the first so many training faces (None: all).
        kinds: share of every kind of occlusion.
        unoccluded: share of faces that are shown as they are, so that nothing is found in them.
        hinted: share of faces for which the hint channel tells where the occlusion is.
        flip: mirror every other face.
        misaligned: share of faces whose crop is a little turned, scaled and shifted.
        degraded: share of pairs that go through scaling, noise, a tint or JPEG, both pictures alike.
        jitter_px: enlarge faces to this side and cut the picture's size out of it (0: do not).
        pairs: the data are pairs of any pictures and nothing is occluded: `folders`, pictures of the
            same names in `occluded/` and `target/`, or `side_by_side`, what is shown to the left of
            what shall be drawn in one picture; None: the data are faces, see `kinds`. Of the keys above,
            pairs heed `images`, `flip` and `jitter_px`.
    """

    images: Count | None = None
    kinds: dict[str, Weight] = {}
    unoccluded: Share = 0.05
    hinted: Share = 0.2
    flip: bool = True
    misaligned: Share = 0
    degraded: Share = 0
    jitter_px: Annotated[int, Field(ge=0)] = 0
    pairs: Literal["folders", "side_by_side"] | None = None

    @model_validator(mode="after")
    def _known_kinds(self) -> "DataConfig":
        for kind in self.kinds:
            if kind not in KINDS:
                raise ValueError(f"unknown occlusion {kind!r}{_nearest(kind, list(KINDS))}")
        if self.pairs and self.kinds:
            raise ValueError("pairs are not occluded: leave out pairs or kinds")
        if not self.pairs and not any(self.kinds.values()):
            raise ValueError("no kind of occlusion has a share above 0")
        return self


class LossConfig(_Section):
    """Weights of the losses (see losses.py); 0 leaves one out.

    Attributes:
        anchor: distance, in what is coarse, from what the network drew at the beginning of the phase.
        deep_features: distance between what a network that knows faces sees in both, see `FeaturesConfig`.
        game: what `adversarial` plays: `bce` (non-saturating), `lsgan` or `hinge`.
        r1: penalty on the discriminator's gradient at real pictures.
    """

    l1_image: Weight = 0
    l1_hole: Weight = 0
    l1_outside: Weight = 0
    l1_composite: Weight = 0
    psnr_hole: Weight = 0
    alpha: Weight = 0
    alpha_overlap: Weight = 0
    interval: Weight = 0
    adversarial: Weight = 0
    feature_matching: Weight = 0
    deep_features: Weight = 0
    anchor: Weight = 0
    game: Literal["bce", "lsgan", "hinge"] = "bce"
    r1: Weight = 0

    @property
    def judged(self) -> bool:
        """Whether there is a discriminator in these losses."""
        return self.adversarial > 0 or self.feature_matching > 0


class FeaturesConfig(_Section):
    """How the network behind `deep_features` learns the training faces' attributes, once, before the run.

    Attributes:
        images: how many faces it is shown.
        seed: its own, so that runs with other seeds share it.
    """

    images: Count = 64_000
    seed: int = 0


class PhaseConfig(_Section):
    """A stretch of training with one picture size, batch and set of losses.

    Attributes:
        name: for logs.
        images: how many pictures it lasts.
        size_px: side of the square crops; the network is fully convolutional.
        batch: pictures a step, over all processes together.
        echo: how often each picture is shown once it is drawn, in other company; for machines that compute
            faster than they draw.
        accumulate: parts in which each process computes its share of a batch, one after the other, to
            need less memory; the result is the same up to rounding.
        optimizer: Adam; AdamW with decoupled weight decay; or Muon, at AdamW's learning rates, for the
            generator, with AdamW for the discriminator.
        learning_rate, discriminator_learning_rate: at their peak.
        schedule: `constant`, or a `cosine` from the peak to 2% of it.
        warmup_images: learning rates rise linearly over so many pictures.
        clip_norm: bound on the norm of the generator's gradient (0: none).
    """

    name: str
    images: Count
    size_px: Annotated[int, Field(ge=64, multiple_of=64)] = 256
    batch: Count = 8
    echo: Count = 1
    accumulate: Count = 1
    optimizer: Literal["adam", "adamw", "muon"] = "adamw"
    learning_rate: Annotated[float, Field(gt=0)]
    discriminator_learning_rate: Annotated[float, Field(gt=0)] = 2e-4
    betas: tuple[Share, Share] = (0.9, 0.99)
    weight_decay: Weight = 0.01
    schedule: Literal["constant", "cosine"] = "cosine"
    warmup_images: Annotated[int, Field(ge=0)] = 0
    clip_norm: Weight = 1.0
    losses: LossConfig


class TrainingConfig(_Section):
    """One training run.

    Attributes:
        name: of the model that comes out.
        seed: everything random follows from it.
        ema: decay of the running mean of the generator's weights that is validated and exported
            (0: the weights themselves).
        precision: `auto` is bf16 where the processor computes in it, else fp32; fp16 is for GPUs.
        workers: processes that read and occlude pictures (0: none, the trainer does it itself).
        checkpoint_minutes: a checkpoint at least so often.
        validate_images: every so many pictures seen, validate and save a grid of samples.
        validation_faces: how many faces of `val` that takes.
        log_seconds: losses are written so often (0: every step).
        trackers: where figures go beside TensorBoard and JSON lines, by Accelerate's names ("wandb").
    """

    name: str
    seed: int = 0
    ema: Share = 0.999
    precision: Precision = "auto"
    workers: Annotated[int, Field(ge=0)] = 1
    checkpoint_minutes: Annotated[float, Field(gt=0)] = 5
    validate_images: Count = 10_000
    validation_faces: Count = 64
    log_seconds: Annotated[float, Field(ge=0)] = 5
    trackers: tuple[str, ...] = ()
    generator: GeneratorConfig = GeneratorConfig()
    discriminator: DiscriminatorConfig = DiscriminatorConfig()
    features: FeaturesConfig = FeaturesConfig()
    data: DataConfig
    phases: Annotated[tuple[PhaseConfig, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _sizes_fit(self) -> "TrainingConfig":
        for phase in self.phases:
            if phase.echo > 1 and (phase.batch % phase.echo or phase.images % phase.batch):
                raise ValueError(
                    f"phase {phase.name}: echo has to divide batch, and batch to divide images"
                )
            if self.generator.kind == "pix2pix" and phase.size_px != 256:
                raise ValueError(f"phase {phase.name}: the paper's U-Net 256 takes size_px = 256 only")
            if self.data.jitter_px and self.data.jitter_px < phase.size_px:
                raise ValueError(f"phase {phase.name}: jitter_px is smaller than size_px")
            finds = (phase.losses.alpha, phase.losses.l1_composite, phase.losses.psnr_hole)
            if self.generator.kind == "pix2pix" and (any(finds) or phase.losses.interval):
                raise ValueError(f"phase {phase.name}: pix2pix has no alpha and no interval to train")
            if self.data.pairs and phase.losses.deep_features:
                raise ValueError(f"phase {phase.name}: deep_features are of faces, not of pairs")
        return self


def read_config(path: Path, overrides: Sequence[str] = ()) -> TrainingConfig:
    """Reads a TOML file and checks it.

    Args:
        overrides: "key=value", with dots for sections and numbers for places in a list, for example
            "data.unoccluded=0.1" or "phases.0.images=500"; values are TOML, or else text.

    Raises:
        ConfigError: no such file, no TOML, an unknown key (the nearest one is named) or a bad value.
    """
    try:
        content = tomllib.loads(read_named(path, _MOST_BYTES).decode())
    except OSError as error:
        raise ConfigError(f"cannot read the config {path}: {error.strerror or error}") from error
    except RecursionError as error:
        raise ConfigError(f"{path} is nested too deeply") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no valid TOML: {error}") from error
    for override in overrides:
        _set(content, override)
    try:
        return TrainingConfig.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"{path}: {_explain(error)}") from error


def _set(content: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals:
        raise ConfigError(f"--set {override}: write key=value")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    except RecursionError as error:
        raise ConfigError(f"--set {key}: the value is nested too deeply") from error
    *path, last = key.split(".")
    place: Any = content
    try:
        for step in path:
            place = place[int(step)] if isinstance(place, list) else place.setdefault(step, {})
        if isinstance(place, list):
            place[int(last)] = value
        else:
            place[last] = value
    except (TypeError, ValueError, IndexError, AttributeError) as error:
        raise ConfigError(f"--set {override}: there is no such place in the config") from error


def _explain(error: ValidationError) -> str:
    """The first problem in one line, with the nearest key where one is unknown."""
    problem = error.errors()[0]
    place = ".".join(map(str, problem["loc"])) or "the config"
    if problem["type"] != "extra_forbidden":
        return f"{place}: {problem['msg'].removeprefix('Value error, ')}"
    section: Any = TrainingConfig
    for step in problem["loc"][:-1]:
        if isinstance(step, str):
            section = _section_of(section, step)
    known = list(section.model_fields) if section else []
    return f"unknown key {place}{_nearest(str(problem['loc'][-1]), known)}"


def _section_of(section: type[_Section] | None, key: str) -> type[_Section] | None:
    sections: dict[str, type[_Section]] = {
        "generator": GeneratorConfig,
        "discriminator": DiscriminatorConfig,
        "data": DataConfig,
        "phases": PhaseConfig,
        "losses": LossConfig,
        "features": FeaturesConfig,
    }
    return sections.get(key) if section else None


def _nearest(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else f"; known: {', '.join(known)}"

"""A training run, described completely. Every default lives here and nowhere else."""

import difflib
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from facemend.datasets.faces import GROUPS, MEASURE
from facemend.errors import ConfigError
from facemend.files import read_named
from facemend.occlusion import FOLDER_KINDS, KINDS

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


class SourceConfig(_Section):
    """One source of faces among several.

    Attributes:
        share: of what is shown; the shares of all sources need not add up to 1.
        path: what `open_source` opens, from the folder in which facemend is run. None: what --data names.
        use: take the faces whose column `use` says so; needed where a source says `measure` of some.
        oversample: how often faces of a group of `datasets.traits` are shown, compared with others; who is
            in several groups is shown as often as the largest factor says.
        zoom: the pictures are framed tighter than CelebA's; their faces are found once, and each is shown
            in a framing between CelebA's and its own.
    """

    share: Annotated[float, Field(gt=0)]
    path: str | None = None
    use: str | None = None
    oversample: dict[str, Annotated[float, Field(ge=1)]] = {}
    zoom: bool = False

    @model_validator(mode="after")
    def _taken_for_training(self) -> "SourceConfig":
        for group in self.oversample:
            if group not in GROUPS:
                raise ValueError(f"unknown group {group!r}{_nearest(group, list(GROUPS))}")
        if self.use == MEASURE:
            raise ValueError(f"faces for {MEASURE} are never trained on")
        return self


class DataConfig(_Section):
    """What is shown to the network.

    Attributes:
        images: use the first so many training faces of every source (None: all).
        sources: where the faces come from, see `SourceConfig`; one of them has no path (empty: all come
            from --data).
        kinds: share of every kind of occlusion.
        cutouts: folder of RGBA cut-outs that the kinds `cutouts` and `real_mask` are drawn from; a relative
            one is relative to the current folder.
        unoccluded: share of faces that are shown as they are, so that nothing is found in them.
        hinted: share of faces for which the hint channel tells where the occlusion is.
        flip: mirror every other face.
        misaligned: share of faces whose crop is turned, scaled and shifted: a little, now and then more.
        degraded: share of occluded faces whose whole picture went through a poor camera: out of focus,
            grey, dark, grainy, scaled, compressed; both pictures alike.
        degraded_unoccluded: the same share of the faces that are shown as they are, with stronger blur, so
            that a poor photo is nothing to be found.
        tall: show the tall crop, which goes on below the canonical square (see frame.py).
        square: share of tall crops that end at the square, whose last row is repeated below.
        jitter_px: enlarge faces to this side and cut the picture's size out of it (0: do not).
        pairs: the data are pairs of any pictures and nothing is occluded: `folders`, pictures of the
            same names in `occluded/` and `target/`, or `side_by_side`, what is shown to the left of
            what shall be drawn in one picture; None: the data are faces, see `kinds`. Of the keys above,
            pairs heed `images`, `flip` and `jitter_px`.
    """

    images: Count | None = None
    sources: dict[str, SourceConfig] = {}
    kinds: dict[str, Weight] = {}
    cutouts: str | None = None
    unoccluded: Share = 0.05
    hinted: Share = 0.2
    flip: bool = True
    misaligned: Share = 0
    degraded: Share = 0
    degraded_unoccluded: Share = 0
    tall: bool = False
    square: Share = 0.25
    jitter_px: Annotated[int, Field(ge=0)] = 0
    pairs: Literal["folders", "side_by_side"] | None = None

    @model_validator(mode="after")
    def _known_kinds(self) -> "DataConfig":
        known = [*KINDS, *FOLDER_KINDS]
        for kind in self.kinds:
            if kind not in known:
                raise ValueError(f"unknown occlusion {kind!r}{_nearest(kind, known)}")
        if self.pairs and self.kinds:
            raise ValueError("pairs are not occluded: leave out pairs or kinds")
        if self.tall and (self.pairs or self.jitter_px):
            raise ValueError("only faces without jitter_px have a tall crop: leave out tall")
        if not self.pairs and not any(self.kinds.values()):
            raise ValueError("no kind of occlusion has a share above 0")
        if self.pairs and self.sources:
            raise ValueError("sources are of faces: leave out pairs or sources")
        if self.sources and [each.path for each in self.sources.values()].count(None) != 1:
            raise ValueError("exactly one of the sources has no path: the one that --data names")
        if self.from_folder and self.cutouts is None:
            raise ValueError(
                f"the kind {self.from_folder[0]} is drawn from a folder of cut-outs: name it, for example "
                "--set data.cutouts=FOLDER, or give the kind no share"
            )
        return self

    @property
    def shares(self) -> dict[str, float]:
        """The kinds that are drawn: those with a share above 0."""
        return {kind: share for kind, share in self.kinds.items() if share > 0}

    @property
    def from_folder(self) -> list[str]:
        """Those of them that are drawn from the folder of cut-outs."""
        return [kind for kind in self.shares if kind in FOLDER_KINDS]


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
            if self.generator.kind == "pix2pix" and self.data.tall:
                raise ValueError("the paper's U-Net 256 takes squares only: leave out tall")
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
        ConfigError: no such file, no TOML, an unknown key (the nearest one is named), a bad value, or no
            such folder of cut-outs.
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
        config = TrainingConfig.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"{path}: {_explain(error)}") from error
    # Not a check of the config itself: a run's config is read again where its folder need not be.
    if config.data.from_folder and not Path(str(config.data.cutouts)).is_dir():
        raise ConfigError(
            f"{path}: data.cutouts is {config.data.cutouts}, which is no folder; name one of cut-outs"
        )
    return config


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
    known = list(_type_at(problem["loc"][:-1]).model_fields)
    return f"unknown key {place}{_nearest(str(problem['loc'][-1]), known)}"


def _type_at(location: Sequence[int | str]) -> Any:
    """The type of the config's value at a location: through sections, lists and tables of sections."""
    kind: Any = TrainingConfig
    for step in location:
        inner = [each for each in get_args(kind) if each is not Ellipsis]
        kind = inner[-1] if inner else kind.model_fields[step].annotation
    return kind


def _nearest(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else f"; known: {', '.join(known)}"

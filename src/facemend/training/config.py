"""The configuration of a training run: every key, its default, and how files are read and extended."""

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from facemend.datasets.faces import GROUPS, MEASURE
from facemend.errors import ConfigError
from facemend.files import parse_toml, read_named, real_path
from facemend.occlusion import FOLDER_KINDS, KINDS

_MOST_BYTES = 1 << 20

Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Precision = Literal["auto", "fp32", "bf16", "fp16"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GeneratorConfig(_Section):
    """Which network reconstructs the face.

    Attributes:
        kind: `unet`, our light one (RGB, alpha, interval), or `pix2pix`, the paper's U-Net 256 (RGB).
        widths: channels of each level of `unet`, from a quarter of the resolution down.
    """

    kind: Literal["unet", "pix2pix"] = "unet"
    widths: tuple[Count, ...] = (64, 96, 160, 256, 256)


class DiscriminatorConfig(_Section):
    """Which PatchGAN discriminates real from reconstructed.

    Attributes:
        kind: `patch70`, the paper's on the whole picture, or `patch_crop`, a small one on a square
            around the masked area. The latter gets the mask as an input.
        crop_px: side of that square.
        scales: number of PatchGANs, each at half the resolution of the one before (pix2pixHD: 3).
    """

    kind: Literal["patch70", "patch_crop"] = "patch_crop"
    crop_px: Count = 128
    scales: Count = 1


class SourceConfig(_Section):
    """One source of faces among several.

    Attributes:
        share: of the training samples. The shares of all sources need not add up to 1.
        path: what `open_source` opens, from the folder in which facemend is run. None: what --data names.
        use: take the faces whose column `use` has this value. Required where some are marked `measure`.
        oversample: how often faces of a group of `datasets.faces.GROUPS` are sampled, compared with others.
            A face of several groups gets the largest factor.
        zoom: the pictures are framed tighter than CelebA's. Their faces are detected once, and each sample
            has a framing between CelebA's and its own.
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
    """Which training samples the network sees.

    Attributes:
        images: use only the first training faces of every source, this many (None: all).
        sources: where the faces come from, see `SourceConfig`. One of them has no path. Empty: all come
            from --data.
        kinds: share of every kind of occlusion.
        cutouts: folder of RGBA cut-outs for the kinds `cutouts` and `real_mask`. A relative one is relative
            to the current folder.
        unoccluded: share of faces without an occlusion, so that the network learns to find none.
        hinted: share of faces whose hint channel says where the occlusion is.
        flip: mirror every other face.
        misaligned: share of faces whose crop is rotated, scaled and shifted, as if badly aligned.
        degraded: share of occluded faces whose whole picture went through a poor camera: defocus, low
            light, noise, tint, scaling, compression. The target goes through the same.
        degraded_unoccluded: the same share of faces without an occlusion, with stronger blur, so that the
            network does not take a poor photo for an occlusion.
        look_alikes: share of occluded faces with the cover's own cloth beside the head, which is kept.
        tall: use tall crops, which go on below the canonical square (see alignment.py).
        square: share of tall crops that end at the square, whose last row is repeated below.
        jitter_px: enlarge faces to this side and cut a random crop out of it (0: do not).
        pairs: the data are pairs of any pictures, and nothing is occluded. `folders`: pictures of the same
            names in `occluded/` and `target/`. `side_by_side`: input left and target right in one picture.
            None: the data are faces, see `kinds`. Pairs heed only `images`, `flip` and `jitter_px`.
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
    look_alikes: Share = 0
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
        """The kinds in use: those with a share above 0."""
        return {kind: share for kind, share in self.kinds.items() if share > 0}

    @property
    def from_folder(self) -> list[str]:
        """Those of them that need the folder of cut-outs."""
        return [kind for kind in self.shares if kind in FOLDER_KINDS]


class LossConfig(_Section):
    """Weights of the losses (see losses.py). A loss of weight 0 is not computed.

    Attributes:
        deep_features: distance between the features of a face network, see `FeaturesConfig`.
        gan_mode: form of the `adversarial` loss: `bce` (non-saturating) or `hinge`.
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
    gan_mode: Literal["bce", "hinge"] = "bce"
    r1: Weight = 0

    @property
    def use_discriminator(self) -> bool:
        """Whether any of these losses needs the discriminator."""
        return self.adversarial > 0 or self.feature_matching > 0


class FeaturesConfig(_Section):
    """Training of the network behind `deep_features`, on the faces' attributes, once before the run.

    Attributes:
        images: how many faces it sees.
    """

    images: Count = 64_000


class PhaseConfig(_Section):
    """A part of the run with one picture size, one batch size and one set of losses.

    Attributes:
        name: for logs.
        images: how many images it lasts.
        size_px: side of the square crops. The network is fully convolutional.
        batch: images of a step, over all processes together.
        echo: how often each sample is used once it is made, in other batches. For machines that train
            faster than they make samples.
        accumulate: parts in which each process computes its share of a batch, to need less memory. The
            result is the same up to rounding.
        optimizer: of the generator: Adam, AdamW, or Muon at AdamW's learning rates. The discriminator
            gets AdamW with Muon.
        learning_rate, discriminator_learning_rate: at their peak.
        schedule: `constant`, or a `cosine` from the peak to 2% of it.
        warmup_images: learning rates rise linearly over this many images.
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
        ema: decay of the running mean of the generator's weights, which is validated and exported
            (0: the weights themselves).
        precision: `auto` is bf16 where the processor computes in it, else fp32. fp16 is for GPUs.
        workers: processes that read and occlude pictures (0: the trainer does it itself).
        checkpoint_minutes: longest time between two checkpoints.
        validate_images: validate and save a grid of samples each time that this many images were seen.
        validation_faces: how many faces of `val` that takes.
        log_seconds: time between two lines of the log (0: log every step).
        trackers: where scores go beside TensorBoard and JSON lines, by Accelerate's names ("wandb").
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
    """Reads a TOML file, and the files that it extends, and checks the result.

    `extends = "base.toml"` starts from another file, relative to this one. Tables merge key by key, with
    one exception: `data.kinds` replaces the base's, since its shares belong together. A file that names
    phases makes those, in its order, each from the base's phase of that name. A file that names none makes
    the base's phases.

    Args:
        overrides: "key=value", applied last. Dots separate sections, and a phase is chosen by its name or
            number: "data.unoccluded=0.1", "phases.low.images=500", "phases.0.images=500". Values are TOML,
            or else text.

    Raises:
        ConfigError: no such file, not TOML, files that extend each other in a circle, an unknown key (the
            nearest one is named), a bad value, or no such folder of cut-outs.
    """
    content = _read_extended(path, ())
    for override in overrides:
        _set(content, override)
    try:
        config = TrainingConfig.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"{path}: {_explain(error)}") from error
    # Not a check of the config itself: a run's config is read again where its folder need not exist.
    if config.data.from_folder and not Path(str(config.data.cutouts)).is_dir():
        raise ConfigError(
            f"{path}: data.cutouts is {config.data.cutouts}, which is no folder; name one of cut-outs"
        )
    return config


def _read_extended(path: Path, extended_by: tuple[Path, ...]) -> dict[str, Any]:
    """What a file and its bases say together, with the phases as a list."""
    tables, names = _read_tables(path, extended_by)
    if names is not None:
        tables["phases"] = [{"name": name, **tables["phases"][name]} for name in names]
    return tables


def _read_tables(path: Path, extended_by: tuple[Path, ...]) -> tuple[dict[str, Any], list[str] | None]:
    """The merged tables, with all phases by name, and the names of those that the run makes."""
    content = _parse(path)
    names = _name_phases(content)
    base = content.pop("extends", None)
    if base is None:
        return content, names
    if not isinstance(base, str):
        raise ConfigError(f'{path}: extends names one file, for example extends = "base.toml"')
    chain = (*extended_by, real_path(path))
    base_path = path.parent / base
    if real_path(base_path) in chain:
        raise ConfigError(f"{path} extends {base}, which extends it again; take out one of the two")
    merged, base_names = _read_tables(base_path, chain)
    _merge(merged, content)
    return merged, base_names if "phases" not in content else names


def _parse(path: Path) -> dict[str, Any]:
    try:
        return parse_toml(read_named(path, _MOST_BYTES))
    except OSError as error:
        raise ConfigError(f"cannot read the config {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise ConfigError(f"{path} is no valid TOML: {error}") from error


def _name_phases(content: dict[str, Any]) -> list[str] | None:
    """Turns `[[phases]]` with names into tables by name; None where there are no such phases."""
    phases = content.get("phases")
    if isinstance(phases, list):
        named = {each.get("name"): each for each in phases if isinstance(each, dict)}
        if len(named) < len(phases) or not all(isinstance(name, str) for name in named):
            return None
        content["phases"] = phases = named
    if not isinstance(phases, dict) or not all(isinstance(each, dict) for each in phases.values()):
        return None
    return list(phases)


_REPLACED = "kinds"


def _merge(base: dict[str, Any], content: Mapping[str, Any]) -> None:
    """Puts a file's values into its base's, table by table."""
    for key, value in content.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict) and key != _REPLACED:
            _merge(base[key], value)
        else:
            base[key] = value


def _set(content: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals:
        raise ConfigError(f"--set {override}: write key=value")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except ValueError:
        value = text
    except RecursionError as error:
        raise ConfigError(f"--set {key}: the value is nested too deeply") from error
    *path, last = key.split(".")
    table: Any = content
    try:
        for step in path:
            table = table[_index(table, step)] if isinstance(table, list) else table.setdefault(step, {})
        table[_index(table, last) if isinstance(table, list) else last] = value
    except (TypeError, ValueError, IndexError, AttributeError) as error:
        raise ConfigError(f"--set {override}: there is no such key in the config") from error


def _index(tables: Sequence[Any], step: str) -> int:
    """The place in a list of tables, by a table's name or by number."""
    names = [each.get("name") if isinstance(each, dict) else None for each in tables]
    return names.index(step) if step in names else int(step)


def _explain(error: ValidationError) -> str:
    """One problem in one line: an unknown key, with the nearest one that is known, or else the first."""
    problems = error.errors()
    problem = next((each for each in problems if each["type"] == "extra_forbidden"), problems[0])
    key = ".".join(map(str, problem["loc"])) or "the config"
    if problem["type"] != "extra_forbidden":
        return f"{key}: {problem['msg'].removeprefix('Value error, ')}"
    *section, last = problem["loc"]
    known = [*_type_at(section).model_fields, *([] if section else ["extends"])]
    return f"unknown key {key}{_nearest(str(last), known)}"


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

"""Checkpoints, the check that a run may resume from one, and weights in a model file.

Quantised weights are turned back into fp32 by nodes of the graph, which ONNX Runtime computes once, on
loading.
"""

import copy
import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
import safetensors
import torch
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper, numpy_helper
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from torch import Tensor

from facemend.errors import TrainingError, reason_of
from facemend.files import open_named, parse_json, written_whole
from facemend.reconstruction.model import shipped_discriminator_path, shipped_model_path
from facemend.training.config import TrainingConfig

_KEEP = 3
_MOST_IMAGES, _MOST_SECONDS = 10**15, 10**12
"""More than any run has seen or lasted."""
_NUMBERED = "[0-9]*.safetensors"


@dataclass(frozen=True)
class Progress:
    """How far a run is: the clock is images seen.

    Attributes:
        images_seen: over all phases.
        seconds: of training, without checkpoints and validation.
    """

    images_seen: int
    seconds: float


@dataclass(frozen=True)
class Checkpoint:
    """A run at one moment.

    Attributes:
        config: the resolved configuration, as JSON-like data.
        progress: images seen and seconds.
        training_people: hashed identities of everybody it is trained on. None if unknown.
        data: where the faces came from.
        commit: of the code.
        tensors: generator/…, ema/…, discriminator/…, generator_optimizer/…, discriminator_optimizer/…, and
            scaler/… in fp16. No random state: all randomness follows from the seed and the position.
    """

    config: Mapping[str, Any]
    progress: Progress
    training_people: tuple[str, ...] | None
    data: str
    commit: str
    tensors: Mapping[str, Tensor]

    def settings(self) -> TrainingConfig:
        """The config. Keys that are newer than the checkpoint have their defaults.

        Raises:
            TrainingError: it has keys or values that this facemend does not know.
        """
        try:
            return TrainingConfig.model_validate(_renew(self.config))
        except (ValidationError, AttributeError, TypeError) as error:
            raise TrainingError(
                f"the checkpoint was made by another facemend ({self.commit}), and this one does not know "
                "its config; start a new run from its weights: --init CHECKPOINT"
            ) from error

    def exported(self) -> dict[str, Tensor]:
        """The weights of the generator that is validated and exported: its running mean, if it has one."""
        return self.part("ema" if self.config.get("ema", True) else "generator")

    def part(self, name: str) -> dict[str, Tensor]:
        """The tensors under one name, without that name."""
        start = f"{name}/"
        return {
            key.removeprefix(start): value for key, value in self.tensors.items() if key.startswith(start)
        }


def _renew(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config with today's keys: one was renamed, and two that had no effect were taken out."""
    renewed: dict[str, Any] = copy.deepcopy(dict(config))
    if isinstance(features := renewed.get("features"), dict) and features.get("seed") == 0:
        del features["seed"]
    for phase in renewed.get("phases", ()):
        losses = phase.get("losses", {})
        if "game" in losses:
            losses["gan_mode"] = losses.pop("game")
        if losses.get("anchor") == 0:
            del losses["anchor"]
    return renewed


def save_checkpoint(run: Path, checkpoint: Checkpoint) -> Path:
    """Writes a checkpoint whole, then removes all numbered ones but the newest three.

    Raises:
        TrainingError: a network has weights that are NaN or infinite. Nothing is written or removed.
        OutputError: the file cannot be written.
    """
    path = numbered_checkpoint(run, checkpoint.progress.images_seen)
    _write(path, checkpoint)
    for old in sorted(path.parent.glob(_NUMBERED))[:-_KEEP]:
        old.unlink()
    return path


def save_best(run: Path, checkpoint: Checkpoint) -> Path:
    """Writes the best checkpoint so far, which only a better one replaces.

    Raises:
        TrainingError, OutputError: see `save_checkpoint`.
    """
    path = best_checkpoint(run)
    _write(path, checkpoint)
    return path


def _write(path: Path, checkpoint: Checkpoint) -> None:
    tensors = {key: value.detach().cpu().contiguous() for key, value in checkpoint.tensors.items()}
    for key, value in tensors.items():
        if not bool(torch.isfinite(value).all()):
            raise TrainingError(
                f"{key} is no number any more after {checkpoint.progress.images_seen} images; the last "
                "checkpoint is from before; try a lower learning_rate"
            )
    with written_whole(path, force=True) as temporary:
        save_file(tensors, temporary, metadata={"facemend": header_of(checkpoint)})


def header_of(checkpoint: Checkpoint) -> str:
    """Everything but the tensors, as JSON for the file's header."""
    return json.dumps(
        {
            "config": checkpoint.config,
            "progress": asdict(checkpoint.progress),
            "training_people": checkpoint.training_people,
            "data": checkpoint.data,
            "commit": checkpoint.commit,
        }
    )


def numbered_checkpoint(run: Path, images_seen: int) -> Path:
    """Path of the checkpoint after this many images."""
    return run / "checkpoints" / f"{images_seen:010d}.safetensors"


def newest_checkpoint(run: Path) -> Path | None:
    """The last checkpoint of a run, or None."""
    return max((run / "checkpoints").glob(_NUMBERED), default=None)


def best_checkpoint(run: Path) -> Path:
    """Path of the best checkpoint of a run, if it has been validated."""
    return run / "checkpoints" / "best.safetensors"


def load_checkpoint(path: Path) -> Checkpoint:
    """Reads a checkpoint.

    Raises:
        TrainingError: the file is damaged, or not a checkpoint of facemend.
    """
    try:
        open_named(path).close()  # neither a pipe nor a device
        with safetensors.safe_open(path, framework="pt") as file:
            state = parse_json((file.metadata() or {})["facemend"])
        _check_types(state)
        return Checkpoint(
            config=state["config"],
            progress=Progress(**state["progress"]),
            training_people=None if state["training_people"] is None else tuple(state["training_people"]),
            data=state["data"],
            commit=state["commit"],
            tensors=load_file(path),
        )
    except (OSError, KeyError, TypeError, ValueError, safetensors.SafetensorError) as error:
        raise TrainingError(f"{path} is no readable checkpoint: {error}") from error


@contextmanager
def fitting() -> Iterator[None]:
    """Around the use of a checkpoint's tensors. Raises TrainingError: they are not of these networks."""
    try:
        yield
    except (RuntimeError, ValueError, LookupError, TypeError) as error:
        raise TrainingError(
            f"the tensors of the checkpoint are not of its networks: {reason_of(error)}"
        ) from error


def _check_types(state: Mapping[str, Any]) -> None:
    """Raises TypeError: a header's value is of another type than `header_of` writes."""
    progress, people = state["progress"], state["training_people"]
    fits = (
        isinstance(state["config"], dict)
        and isinstance(progress["images_seen"], int)
        and 0 <= progress["images_seen"] < _MOST_IMAGES
        and isinstance(progress["seconds"], int | float)
        and 0 <= progress["seconds"] < _MOST_SECONDS
        and isinstance(people, list | None)
        and all(isinstance(text, str) for text in (state["data"], state["commit"], *(people or ())))
    )
    if not fits:
        raise TypeError("its header is of another kind")


def flatten_optimizer(name: str, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """An optimiser's state as tensors named NAME/PARAMETER/WHAT."""
    state = optimizer.state_dict()["state"]
    return {
        f"{name}/{index}/{what}": torch.as_tensor(value)
        for index, entry in state.items()
        for what, value in entry.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Restores what `flatten_optimizer` returned, without its name. Groups stay as they were made."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, what = key.split("/")
        parameter = parameters[int(index)]
        # The fused kernels walk through memory: a moment must lie there in its parameter's layout.
        laid_out = torch.empty_like(parameter).copy_(value) if value.shape == parameter.shape else value
        state.setdefault(int(index), {})[what] = laid_out
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


_CHANGES_NOTHING = (
    "checkpoint_minutes",
    "log_seconds",
    "trackers",
    "validate_images",
    "validation_faces",
    "workers",
)


def check_same_run(saved: Checkpoint, config: TrainingConfig, people: tuple[str, ...] | None) -> None:
    """Checks that a checkpoint is of the same people and, up to its images seen, of the same config.

    Phases that have not begun may have changed, and so may the length of the one that has. Keys that do
    not change the result may differ: how often to save and to validate, workers.

    Args:
        people: hashed identities of everybody that is trained on. None if unknown.

    Raises:
        TrainingError: it was made by another config, or on other faces.
    """
    seen = saved.progress.images_seen
    old, new = (_past(each.model_dump(mode="json"), seen) for each in (saved.settings(), config))
    if changed := _differences(old, new):
        raise TrainingError(
            f"the run's config has changed ({', '.join(changed[:3])}); choose another folder, or "
            "start anew with --fresh"
        )
    if saved.training_people != people:
        raise TrainingError("the run was begun on other faces; choose another folder, or add --fresh")


def _past(config: Mapping[str, Any], images_seen: int) -> dict[str, Any]:
    """The part of a config (as JSON-like data) that has had its effect after this many images."""
    phases, start = [], 0
    for phase in config["phases"]:
        if start >= images_seen:
            break
        start += phase["images"]
        over = start <= images_seen
        phases.append(phase if over else {key: value for key, value in phase.items() if key != "images"})
    kept = {key: value for key, value in config.items() if key not in _CHANGES_NOTHING}
    return {**kept, "phases": phases}


def _differences(old: object, new: object, key: str = "") -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        names = sorted(old.keys() | new.keys())
        return [
            d
            for name in names
            for d in _differences(old.get(name), new.get(name), f"{key}.{name}".strip("."))
        ]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [
            d
            for n, pair in enumerate(zip(old, new, strict=True))
            for d in _differences(*pair, f"{key}.{n}")
        ]
    return [] if old == new else [f"{key}: {old} -> {new}"]


def current_commit() -> str:
    """The git commit of the code that runs, "unknown" outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


WeightFormat = Literal["fp32", "fp16", "int8"]
"""fp32 as trained, fp16 in half the size, int8 in half of fp16 (the large weights, see `quantise`)."""

Weights = npt.NDArray[np.float32]

GENERATOR_PREFIX = "generator."
"""Prefix of a weight of the network, before its name in torch."""
_SMALLEST_FP16 = 256
"""Weights with fewer numbers stay fp32: they cost no space."""
_SMALLEST_INT8 = 100_000
"""Weights with fewer numbers stay fp16 beside int8. They are a small part of the file, and would cause most
of the error."""
_LEVELS = 127
_FP16, _INT8, _SCALE = "_fp16", "_int8", "_scale"
"""Suffixes of a quantised weight, after its name in the traced graph."""


def quantise(graph: onnx.ModelProto, weights: WeightFormat) -> onnx.ModelProto:
    """The same graph with its weights in another format.

    int8: w ≈ s · q with whole numbers q from -127 to 127 and one scale s for each output channel (the
    weight's first axis), the largest |w| of the channel at 127. Activations stay fp32, and nothing is
    computed in int8. Jacob et al., "Quantization and Training of Neural Networks for Efficient
    Integer-Arithmetic-Only Inference", CVPR 2018, section 2.1, with symmetric scales; Krishnamoorthi,
    "Quantizing deep convolutional networks for efficient inference", 2018 (arXiv 1806.08342), section 3.1.2
    (weights only, a scale a channel).
    """
    small = onnx.ModelProto()
    small.CopyFrom(graph)
    if weights == "fp32":
        return small
    tensors, nodes = [], []
    for tensor in graph.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < _SMALLEST_FP16:
            tensors.append(tensor)
        elif weights == "int8" and values.size >= _SMALLEST_INT8:
            whole, scale = _in_levels(values)
            tensors += _named({_INT8: whole, _SCALE: scale}, tensor.name)
            quantised, cast = f"{tensor.name}{_INT8}", f"{tensor.name}_levels"
            nodes.append(helper.make_node("Cast", [quantised], [cast], to=TensorProto.FLOAT))
            nodes.append(helper.make_node("Mul", [cast, f"{tensor.name}{_SCALE}"], [tensor.name]))
        else:
            tensors += _named({_FP16: values.astype(np.float16)}, tensor.name)
            quantised = f"{tensor.name}{_FP16}"
            nodes.append(helper.make_node("Cast", [quantised], [tensor.name], to=TensorProto.FLOAT))
    nodes += graph.graph.node
    del small.graph.initializer[:], small.graph.node[:]
    small.graph.initializer.extend(tensors)
    small.graph.node.extend(nodes)
    onnx.checker.check_model(small)
    return small


def _in_levels(values: Weights) -> tuple[npt.NDArray[np.int8], Weights]:
    """The whole numbers, and the scale of every output channel, in a shape that broadcasts to them."""
    rest = tuple(range(1, values.ndim))
    scale = np.abs(values).max(axis=rest, keepdims=True) / np.float32(_LEVELS)
    scale[scale == 0] = 1  # a channel of zeros alone
    return np.rint(values / scale).astype(np.int8), scale


def _named(arrays: Mapping[str, npt.NDArray[np.generic]], name: str) -> list[TensorProto]:
    return [numpy_helper.from_array(array, f"{name}{suffix}") for suffix, array in arrays.items()]


def read_weights(graph: onnx.ModelProto, prefix: str) -> dict[str, Weights]:
    """The weights whose names begin with a prefix, without it, as the graph computes with them."""
    return {name.removeprefix(prefix): values for name, values in _read(graph) if name.startswith(prefix)}


def _read(graph: onnx.ModelProto) -> Iterator[tuple[str, Weights]]:
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.graph.initializer}
    for name, values in tensors.items():
        if name.endswith(_INT8):
            plain = name.removesuffix(_INT8)
            yield plain, values.astype(np.float32) * tensors[f"{plain}{_SCALE}"]
        elif not name.endswith(_SCALE):
            yield name.removesuffix(_FP16), values.astype(np.float32)


SHIPPED = "facemend"
"""The name of the shipped model, in place of a path."""


@dataclass(frozen=True)
class StartingWeights:
    """Weights by their names in the networks. A network without any starts at random."""

    generator: Mapping[str, Tensor] = field(default_factory=dict)
    discriminator: Mapping[str, Tensor] = field(default_factory=dict)


def starting_weights(init: Path) -> StartingWeights:
    """The weights that `--init` names: a checkpoint's, an exported model's (generator only), or the shipped
    ones (`facemend`).

    Raises:
        TrainingError: the file cannot be read, or has no weights of facemend.
        ModelError: this copy of facemend contains no model.
    """
    if str(init) == SHIPPED:
        discriminator = load_checkpoint(shipped_discriminator_path()).part("discriminator")
        return StartingWeights(_weights_in(shipped_model_path()), discriminator)
    if init.suffix.lower() == ".onnx":
        return StartingWeights(_weights_in(init))
    saved = load_checkpoint(init)
    return StartingWeights(saved.exported(), saved.part("discriminator"))


def _weights_in(model: Path) -> dict[str, Tensor]:
    """The generator in an ONNX file. torch's exporter keeps the names of the weights."""
    try:
        graph = onnx.load(model)
    except (OSError, DecodeError) as error:
        raise TrainingError(f"{model} is no readable model: {error}") from error
    read = read_weights(graph, GENERATOR_PREFIX)
    weights = {name: torch.from_numpy(values.copy()) for name, values in read.items()}
    if not weights:
        raise TrainingError(f"{model} holds no generator of facemend; start from a checkpoint")
    return weights

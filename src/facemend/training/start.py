"""The weights that a run can start from: a checkpoint's, an exported model's, or those that are shipped."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import onnx
import torch
from google.protobuf.message import DecodeError
from torch import Tensor

from facemend.errors import TrainingError
from facemend.training.checkpoint import load_checkpoint
from facemend.training.stored import GENERATOR_PREFIX, read_weights
from facemend.weights import shipped_discriminator_path, shipped_model_path

SHIPPED = "facemend"
"""The name of the shipped model, in place of a path."""


@dataclass(frozen=True)
class StartingWeights:
    """Weights by the names that the networks give them; a network without any starts at random."""

    generator: Mapping[str, Tensor] = field(default_factory=dict)
    discriminator: Mapping[str, Tensor] = field(default_factory=dict)


def starting_weights(init: Path) -> StartingWeights:
    """What `--init` names: a checkpoint, an exported model (its generator), or `facemend` (both).

    Raises:
        TrainingError: the file cannot be read, or holds no weights of ours.
        ModelError: this copy of facemend carries no model.
    """
    if str(init) == SHIPPED:
        discriminator = load_checkpoint(shipped_discriminator_path()).part("discriminator")
        return StartingWeights(_weights_in(shipped_model_path()), discriminator)
    if init.suffix.lower() == ".onnx":
        return StartingWeights(_weights_in(init))
    saved = load_checkpoint(init)
    return StartingWeights(saved.served(), saved.part("discriminator"))


def _weights_in(model: Path) -> dict[str, Tensor]:
    """The generator in an ONNX file: torch's exporter keeps the names of the weights."""
    try:
        graph = onnx.load(model)
    except (OSError, DecodeError) as error:
        raise TrainingError(f"{model} is no readable model: {error}") from error
    read = read_weights(graph, GENERATOR_PREFIX)
    weights = {name: torch.from_numpy(values.copy()) for name, values in read.items()}
    if not weights:
        raise TrainingError(f"{model} holds no generator of facemend; start from a checkpoint")
    return weights

"""Quantised weights in a model file, and weights that a run starts from.

Quantised weights are turned back into fp32 by nodes of the graph, which ONNX Runtime computes once, on
loading.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import onnx
import torch
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from facemend.errors import TrainingError
from facemend.reconstruction.model import shipped_discriminator_path, shipped_model_path
from facemend.training.checkpoint import load_checkpoint

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

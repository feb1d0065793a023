"""How weights lie in a model file."""

from pathlib import Path
from typing import get_args

import click
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from facemend.cli.export import export
from facemend.training.checkpoint import WeightFormat, quantise, read_weights

_LARGE, _SMALL, _BIAS = (256, 256, 3, 3), (8, 256, 1, 1), (256,)


@pytest.fixture(scope="module")
def graph() -> onnx.ModelProto:
    """A large convolution with a bias and a small one without; one channel of the first is silent."""
    rng = np.random.default_rng(0)
    large = rng.normal(0, 0.02, _LARGE).astype(np.float32)
    large *= rng.uniform(0.1, 10, (256, 1, 1, 1)).astype(np.float32)
    large[3] = 0
    weights: dict[str, npt.NDArray[np.floating]] = {
        "g.large": large,
        "g.bias": rng.normal(0, 1, _BIAS),
        "g.small": rng.normal(0, 0.1, _SMALL),
    }
    nodes = [
        helper.make_node("Conv", ["x", "g.large", "g.bias"], ["h"], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["h", "g.small"], ["y"]),
    ]
    whole = helper.make_graph(
        nodes,
        "two convolutions",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 256, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8, 8, 8])],
        [numpy_helper.from_array(each.astype(np.float32), name) for name, each in weights.items()],
    )
    return helper.make_model(whole, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def _draw(model: onnx.ModelProto) -> npt.NDArray[np.float32]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.random.default_rng(1).normal(0, 1, (1, 256, 8, 8)).astype(np.float32)
    drawn: npt.NDArray[np.float32] = session.run(["y"], {"x": x})[0]
    return drawn


@pytest.mark.parametrize(("storage", "share", "difference"), [("fp16", 0.51, 1e-3), ("int8", 0.26, 0.02)])
def test_a_small_file_computes_nearly_the_same(
    graph: onnx.ModelProto, storage: WeightFormat, share: float, difference: float
) -> None:
    small, truth = quantise(graph, storage), _draw(graph)
    assert small.ByteSize() < share * graph.ByteSize()
    apart = np.abs(_draw(small) - truth).mean() / np.abs(truth).mean()
    assert 0 < apart < difference


@pytest.mark.parametrize("storage", get_args(WeightFormat))
def test_the_weights_that_are_read_are_those_that_it_computes_with(
    graph: onnx.ModelProto, storage: WeightFormat
) -> None:
    small = quantise(graph, storage)
    weights = read_weights(small, "g.")
    assert {name: each.shape for name, each in weights.items()} == {
        "large": _LARGE,
        "bias": _BIAS,
        "small": _SMALL,
    }
    assert all(each.dtype == np.float32 for each in weights.values())
    again = onnx.ModelProto()
    again.CopyFrom(graph)
    for tensor in again.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(weights[tensor.name.removeprefix("g.")], tensor.name))
    np.testing.assert_allclose(_draw(again), _draw(small), rtol=1e-5, atol=1e-5)


def test_every_channel_has_a_scale_of_its_own(graph: onnx.ModelProto) -> None:
    whole = read_weights(graph, "g.")["large"]
    apart = np.abs(read_weights(quantise(graph, "int8"), "g.")["large"] - whole).max(axis=(1, 2, 3))
    assert (apart <= np.abs(whole).max(axis=(1, 2, 3)) / 127 / 2 * 1.001).all()
    assert not apart[3].any()


def test_whoever_loads_it_computes_in_fp32(graph: onnx.ModelProto, tmp_path: Path) -> None:
    """Neither the casts nor the scales are left to be computed for every face."""
    small = quantise(graph, "int8")
    assert {"Cast", "Mul"} <= {node.op_type for node in small.graph.node}
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(tmp_path / "loaded.onnx")
    onnxruntime.InferenceSession(small.SerializeToString(), options, providers=["CPUExecutionProvider"])
    assert {node.op_type for node in onnx.load(tmp_path / "loaded.onnx").graph.node} == {"Conv"}


def test_the_command_offers_them_all() -> None:
    (weights,) = (option for option in export.params if option.name == "weights")
    assert isinstance(weights.type, click.Choice)
    assert tuple(weights.type.choices) == get_args(WeightFormat)


def test_small_weights_keep_more_of_themselves(graph: onnx.ModelProto) -> None:
    types = {tensor.name: tensor.data_type for tensor in quantise(graph, "int8").graph.initializer}
    assert types == {
        "g.large_int8": TensorProto.INT8,
        "g.large_scale": TensorProto.FLOAT,
        "g.bias_fp16": TensorProto.FLOAT16,
        "g.small_fp16": TensorProto.FLOAT16,
    }

"""Converts the last of the three MTCNN networks, of the package mtcnn 1.0.0, into the detector's ONNX file.

    pip download mtcnn==1.0.0 --no-deps && python -m zipfile -e mtcnn-1.0.0-py3-none-any.whl mtcnn-1.0.0
    pip install joblib lz4
    python tools/convert_mtcnn.py mtcnn-1.0.0 [OUT]

Writes detector_onet.onnx, the same bytes each time, and not at all unless ONNX Runtime computes what a
NumPy forward pass over the package's own arrays does.

Zhang, Zhang, Li, Qiao, "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional
Networks", IEEE Signal Processing Letters 23(10), 2016. Three things differ from the package's networks,
none of them a result: the file takes colours in [-1, 1] as every network of facemend does, a fully
connected layer is a convolution over the whole of its input, and the softmax of the two classes is a
sigmoid of their difference.
"""

import argparse
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from facemend.files import written_whole
from facemend.images import to_network

Array = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]

_OUT = Path(__file__).resolve().parents[1] / "src" / "facemend" / "weights"
_TOLERANCE = 2e-5
_LAYER_ARRAYS = 3  # kernel, bias, slopes of the PReLU


@dataclass(frozen=True)
class Network:
    """A network, as the package defines it.

    Attributes:
        name: the package's.
        sha256: of its file; joblib's files are pickles, and no other pickle is opened.
        pools: side of the max-pooling (stride 2) after each convolution; 0 where there is none.
        heads: what it says, in the order of its arrays; the last one is its two classes, face second.
        side_px: of its input.
    """

    name: str
    sha256: str
    pools: tuple[int, ...]
    heads: tuple[str, ...]
    side_px: int


ONET = Network(
    "onet",
    "94f6ea2f4cf985275ee958cdd762d17b6009348a4fb9d8c6be39ba73ffd22ca3",
    (3, 3, 2, 0),
    ("offsets", "landmarks", "confidence"),
    48,
)


def main() -> None:
    """Reads the command line, converts, compares and writes."""
    parser = argparse.ArgumentParser(description="MTCNN's last network as an ONNX file.")
    parser.add_argument("package", type=Path, help="the unpacked wheel of mtcnn 1.0.0")
    parser.add_argument("out", type=Path, nargs="?", default=_OUT, help="a folder (default: the package's)")
    options = parser.parse_args()
    arrays = read_arrays(options.package / "mtcnn/assets/weights" / f"{ONET.name}.lz4", ONET)
    data = convert(ONET, arrays).SerializeToString(deterministic=True)
    error = largest_difference(ONET, arrays, data)
    if error > _TOLERANCE:
        raise SystemExit(f"ONNX Runtime differs from NumPy by {error:.1e}; nothing was written")
    path = options.out / f"detector_{ONET.name}.onnx"
    with written_whole(path, force=True) as temporary:
        temporary.write_bytes(data)
    print(f"{path.name}: {len(data)} bytes, within {error:.1e} of NumPy")


def read_arrays(path: Path, network: Network) -> list[Array]:
    """The arrays of one network, layer by layer: kernel (H, W, in, out), bias, slopes; then the heads."""
    if hashlib.sha256(path.read_bytes()).hexdigest() != network.sha256:
        raise SystemExit(f"{path} is not the file of mtcnn 1.0.0")
    import joblib  # type: ignore[import-not-found, import-untyped, unused-ignore]

    arrays: list[Array] = joblib.load(path)
    return arrays


def convert(network: Network, arrays: list[Array]) -> onnx.ModelProto:
    """The network as ONNX: image float32 (N, 3, H, W) RGB in [-1, 1] to its heads, each (N, C, h, w)."""
    nodes: list[onnx.NodeProto] = []
    weights: dict[str, Array] = {}

    def add(kind: str, source: str, target: str, *constants: Array, **attributes: Any) -> str:
        names = [f"{target}_{number}" for number in range(len(constants))]
        weights.update(zip(names, constants, strict=True))
        nodes.append(helper.make_node(kind, [source, *names], [target], **attributes))
        return target

    hidden, heads = _split(network, arrays)
    value = "image"
    for number, (kernel, bias, slopes) in enumerate(hidden):
        # The package takes (x - 127.5) / 128, facemend's networks x / 127.5 - 1.
        scaled = kernel * np.float32(127.5 / 128) if number == 0 else kernel
        value = add("Conv", value, f"conv{number}", _oihw(scaled), bias)
        value = add("PRelu", value, f"prelu{number}", slopes.reshape(-1, 1, 1))
        side = network.pools[number] if number < len(network.pools) else 0
        if side:
            shape = {"kernel_shape": [side, side], "strides": [2, 2], "ceil_mode": 1}
            value = add("MaxPool", value, f"pool{number}", **shape)
    *plain, (kernel, bias) = heads
    for name, head in zip(network.heads, plain, strict=False):
        add("Conv", value, name, _oihw(head[0]), head[1])
    logit = add("Conv", value, "logit", _oihw(kernel[..., 1:] - kernel[..., :1]), bias[1:] - bias[:1])
    add("Sigmoid", logit, "confidence")
    return _model(network, nodes, weights)


def _split(
    network: Network, arrays: list[Array]
) -> tuple[list[tuple[Array, ...]], list[tuple[Array, Array]]]:
    """The layers before the heads (kernel, bias, slopes), and the heads (kernel, bias), all as kernels.

    The package flattens what reaches a fully connected layer column by column.
    """
    layers = len(network.pools) + 1
    hidden = [tuple(arrays[3 * n : 3 * n + 3]) for n in range(layers)]
    flat, bias, slopes = hidden[-1]
    channels = hidden[-2][0].shape[3]
    side = round((flat.shape[0] / channels) ** 0.5)
    hidden[-1] = (flat.reshape(side, side, channels, -1).transpose(1, 0, 2, 3), bias, slopes)
    rest = arrays[3 * layers :]
    kernels = [kernel.reshape(1, 1, *kernel.shape[-2:]) for kernel in rest[::2]]
    return hidden, list(zip(kernels, rest[1::2], strict=True))


def _oihw(kernel: Array) -> Array:
    """A kernel (H, W, in, out) in ONNX's order."""
    return np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))


def _model(network: Network, nodes: list[onnx.NodeProto], weights: dict[str, Array]) -> onnx.ModelProto:
    sides, cells = [network.side_px, network.side_px], [1, 1]
    channels = {"offsets": 4, "landmarks": 10, "confidence": 1}
    kind = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        network.name,
        [helper.make_tensor_value_info("image", kind, ["batch", 3, *sides])],
        [helper.make_tensor_value_info(n, kind, ["batch", channels[n], *cells]) for n in network.heads],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model.producer_name = "facemend tools/convert_mtcnn.py"
    model.doc_string = "From mtcnn 1.0.0, MIT, copyright 2019-2024 Iván de Paz Centeno; see NOTICE."
    onnx.checker.check_model(model, full_check=True)
    return model


def largest_difference(network: Network, arrays: list[Array], model: bytes) -> float:
    """How far ONNX Runtime is from NumPy, over every value of every head on random pictures."""
    shape = (7, network.side_px, network.side_px, 3)
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    found = session.run(list(network.heads), {"image": to_network(images)})
    expected = forward(network, arrays, images)
    return max(float(np.abs(a - b).max()) for a, b in zip(found, expected, strict=True))


def forward(network: Network, arrays: list[Array], images: Pixels) -> list[Array]:
    """What the package's layers compute from uint8 (N, H, W, 3) RGB, written down anew in NumPy.

    Returns:
        float32 (N, C, h, w) for each head; of the two classes the share of the second, (N, 1, h, w).
    """
    value = (images.astype(np.float32) - np.float32(127.5)) / np.float32(128)
    rest = list(arrays)
    for pool in network.pools:
        kernel, bias, slopes = (rest.pop(0) for _ in range(_LAYER_ARRAYS))
        windows = np.lib.stride_tricks.sliding_window_view(value, kernel.shape[:2], axis=(1, 2))
        summed: Array = np.einsum("nyxihw,hwio->nyxo", windows, kernel, optimize=True)
        value = _prelu(summed + bias, slopes)
        value = _max_pool(value, pool) if pool else value
    kernel, bias, slopes = (rest.pop(0) for _ in range(_LAYER_ARRAYS))
    flat = value.transpose(0, 2, 1, 3).reshape(len(value), -1)
    value = _prelu(np.asarray(flat @ kernel + bias, dtype=np.float32), slopes)[:, None, None]
    *plain, classes = [
        value @ kernel.reshape(kernel.shape[-2:]) + bias
        for kernel, bias in zip(rest[::2], rest[1::2], strict=True)
    ]
    raised = np.exp(classes - classes.max(axis=3, keepdims=True))
    share = raised[..., 1:] / raised.sum(axis=3, keepdims=True)
    return [head.transpose(0, 3, 1, 2) for head in (*plain, share)]


def _prelu(value: Array, slopes: Array) -> Array:
    return np.maximum(value, 0) + slopes.reshape(-1) * np.minimum(value, 0)


def _max_pool(value: Array, side: int) -> Array:
    """Stride 2; a window that reaches over the far border takes what there is."""
    rows, columns = (-(-(length - side) // 2) + 1 for length in value.shape[1:3])
    result = np.empty((len(value), rows, columns, value.shape[3]), dtype=np.float32)
    for y in range(rows):
        for x in range(columns):
            result[:, y, x] = value[:, 2 * y : 2 * y + side, 2 * x : 2 * x + side].max(axis=(1, 2))
    return result


if __name__ == "__main__":
    main()

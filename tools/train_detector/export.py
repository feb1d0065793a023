"""From the trained network to facemend's file: it computes what torch computes, or is not written."""

import logging
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from facemend.errors import ExportError
from facemend.files import written_whole
from facemend.training.checkpoint import quantise
from facemend.training.export import forget_origins
from tools.train_detector.network import DetectorNetwork

_OPSET = 18
# fp16 weights move a score in [0, 1], and places in units of their cell.
_MOST_FP32, _MOST_FP16 = 1e-3, 0.1


class _Served(nn.Module):
    """The network with its scores as confidence."""

    def __init__(self, network: DetectorNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(N, 3, H, W) to confidence (N, cells), boxes (N, cells, 4) and landmarks (N, cells, 10)."""
        said = self.network(image)
        return said[..., 0].sigmoid(), said[..., 1:5], said[..., 5:]


def export(network: DetectorNetwork, output: Path) -> None:
    """Writes the ONNX file, weights in fp16; height and width are dynamic multiples of 32.

    Raises:
        ExportError: ONNX Runtime computes something else than torch.
    """
    served = _Served(network).eval()
    graph = _trace(served)
    _compare(served, graph, _MOST_FP32)
    small = quantise(graph, "fp16")
    _compare(served, small, _MOST_FP16)
    with written_whole(output, force=True) as temporary:
        temporary.write_bytes(small.SerializeToString())


def _trace(served: _Served) -> onnx.ModelProto:
    rows, columns = (
        32 * torch.export.Dim("rows", min=1, max=256),
        32 * torch.export.Dim("columns", min=1, max=256),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        program = torch.onnx.export(
            served,
            (torch.zeros(1, 3, 96, 160),),
            input_names=["image"],
            output_names=["confidence", "boxes", "landmarks"],
            dynamic_shapes=({2: rows, 3: columns},),
            opset_version=_OPSET,
            dynamo=True,
            verbose=False,
        )
        logging.disable(logging.NOTSET)
    if program is None:
        raise ExportError("torch could not turn the detector into ONNX; nothing was written")
    graph: onnx.ModelProto = program.model_proto
    forget_origins(graph)
    return graph


def _compare(served: _Served, graph: onnx.ModelProto, most: float) -> None:
    coarse = np.random.default_rng(0).uniform(-1, 1, (1, 3, 8, 12))
    image = coarse.repeat(16, axis=2).repeat(16, axis=3).astype(np.float32)
    with torch.inference_mode():
        expected = served(torch.from_numpy(image))
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    for ours, theirs in zip(session.run(None, {"image": image}), expected, strict=True):
        difference = float(np.abs(ours - theirs.numpy()).max())
        if difference > most:
            raise ExportError(f"ONNX Runtime differs from torch by {difference:.2g}; nothing was written")

"""Time a face: the shipped generator against the paper's U-Net 256, both in ONNX Runtime, in one run.

    python benchmarks/inference.py [--threads 2] [--rounds 10]

The two take turns, so that whatever else the machine does slows both. A turn is several faces, of which the
first does not count: the threads of the network that went before still spin for a while, waiting for more
work, and nobody runs two networks by turns. The paper's network is exported untrained: its weights do not
change its speed. Writes benchmarks/results/inference.json.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from facemend.reconstruction.model import shipped_model_path
from facemend.training.config import GeneratorConfig
from facemend.training.networks import make_generator, parameter_count

_TURN = 6
_RESULT = Path(__file__).parent / "results" / "inference.json"


def main() -> None:
    """Measures, prints and writes the ratio."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=10)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paper = Path(folder) / "paper.onnx"
        network = make_generator(GeneratorConfig(kind="pix2pix")).eval()
        crop = torch.zeros(1, 3, 256, 256)
        torch.onnx.export(network, (crop, crop[:, :1]), str(paper), dynamo=True, verbose=False)
        sessions = {
            "ours": _open(shipped_model_path(), arguments.threads),
            "paper": _open(paper, arguments.threads),
        }
        times: dict[str, list[float]] = {name: [] for name in sessions}
        for _ in range(arguments.rounds):
            for name, session in sessions.items():
                times[name] += [_run(session) for _ in range(_TURN)][1:]
    milliseconds = {name: round(1000 * statistics.median(taken), 1) for name, taken in times.items()}
    result = {
        "milliseconds_a_face": milliseconds,
        "ratio": round(milliseconds["ours"] / milliseconds["paper"], 3),
        "threads": arguments.threads,
        "rounds": arguments.rounds,
        "onnxruntime": onnxruntime.__version__,
        "paper_parameters": parameter_count(network),
    }
    print(json.dumps(result, indent=2))
    _RESULT.parent.mkdir(exist_ok=True)
    _RESULT.write_text(json.dumps(result, indent=2) + "\n")


def _open(path: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    _run(session)
    return session


def _run(session: onnxruntime.InferenceSession) -> float:
    rng = np.random.default_rng(0)
    inputs = {}
    for each in session.get_inputs():
        shape = [side if isinstance(side, int) else 1 for side in each.shape]
        inputs[each.name] = rng.uniform(-1, 1, shape).astype(np.float32)
    began = time.perf_counter()
    session.run(None, inputs)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()

"""Time training at 256 px: our networks against the paper's, against TensorFlow, and against the machine.

    python benchmarks/training.py [--threads 2] [--rounds 5] [--quick] [--tensorflow-python PYTHON]

Everything is timed in one run and in turns, so that whatever else the machine does slows all of it; each
rate is the median of the rounds. Rows:

- the generator's step (L1 only), ours and the paper's, at equal precision, each at its best batch;
- the whole step: ours as configs/facemend/01_start.toml trains, the paper's as published (fp32, batch 1),
  here and in TensorFlow (in a Python of its own; without it that row says why it is missing);
- the share of the matrix products' peak that our steps reach;
- two processes with a thread each against one with a thread, with a batch of 4 for each process.

Writes benchmarks/results/training.json.
"""

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from facemend.datasets import FaceRecord, FaceSource
from facemend.images import Image
from facemend.training.batches import PairBatch
from facemend.training.config import LossConfig, TrainingConfig, read_config
from facemend.training.distributed import has_fast_bf16, join_processes
from facemend.training.networks import parameter_count
from facemend.training.trainer import Trainer, TrainingState

_ROOT = Path(__file__).parents[1]
_SIDE_PX = 256
_SHARE = 4  # pictures a process and step, where processes are compared


@dataclass
class Contender:
    """One way to train, and how fast its rounds were.

    Attributes:
        trainer: has entered its phase.
        batch: what every step is shown.
        rates: images/s, one a round.
    """

    trainer: Trainer
    batch: PairBatch
    rates: list[float]

    @property
    def rate(self) -> float:
        """Images/s."""
        return statistics.median(self.rates)

    def time_round(self, steps: int) -> None:
        """Makes so many steps and notes their rate."""
        began = time.perf_counter()
        for _ in range(steps):
            self.trainer.step(self.batch)
        self.rates.append(steps * len(self.batch) / (time.perf_counter() - began))


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one round of one step, small batches")
    parser.add_argument("--tensorflow-python", help="a Python that has tensorflow-cpu")
    parser.add_argument("--process", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.tensorflow_python and not shutil.which(arguments.tensorflow_python):
        parser.error(f"there is no Python at {arguments.tensorflow_python}")
    rounds, steps = (1, 1) if arguments.quick else (arguments.rounds, 3)
    if arguments.process:
        print(json.dumps(_time_process(rounds, steps)))
        return
    torch.set_num_threads(arguments.threads)
    batches = (1, 2) if arguments.quick else (1, 2, 4, 8, 16)
    contenders = _contenders(batches)
    peaks: dict[str, list[float]] = {"fp32": [], "bf16": []}
    for _ in range(rounds + 1):  # the first round warms up
        for contender in contenders.values():
            contender.time_round(steps)
        for precision, found in peaks.items():
            found.append(_matrix_gflops(getattr(torch, {"fp32": "float32", "bf16": "bfloat16"}[precision])))
    for contender in contenders.values():
        del contender.rates[0]
    tensorflow = _time_tensorflow(arguments.tensorflow_python, arguments.threads, rounds * steps)
    alone, together = (_time_processes(count, arguments) for count in (1, 2))
    result = {
        **_report(contenders, {name: max(found) for name, found in peaks.items()}, tensorflow),
        "processes": {"one": alone, "two": together, "ratio": round(together / alone, 2)},
        "threads": arguments.threads,
        "rounds": rounds,
        "torch": torch.__version__,
    }
    print(json.dumps(result, indent=2))
    path = _ROOT / "benchmarks/results/training.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n")


def _contenders(batches: Sequence[int]) -> dict[str, Contender]:
    """By name: generator/NETWORK/PRECISION/BATCH, whole/ours and whole/paper."""
    ours, paper = (read_config(_ROOT / f"configs/{name}.toml") for name in ("facemend/01_start", "pix2pix"))
    precisions = ["fp32", "bf16"] if has_fast_bf16(torch.device("cpu")) else ["fp32"]
    contenders = {}
    for name, config in {"ours": ours, "paper": paper}.items():
        for precision in precisions:
            trainer = _trainer(config, precision, LossConfig(l1_image=1))
            for batch in batches:
                contenders[f"generator/{name}/{precision}/{batch}"] = Contender(trainer, _batch(batch), [])
    for name, config, precision in (("ours", ours, "auto"), ("paper", paper, "fp32")):
        phase = config.phases[-1]
        trainer = _trainer(config, precision, phase.losses)
        contenders[f"whole/{name}"] = Contender(trainer, _batch(phase.batch), [])
    return contenders


def _trainer(config: TrainingConfig, precision: str, losses: LossConfig) -> Trainer:
    """In the config's last phase, with other losses; every step takes any batch."""
    phase = config.phases[-1].model_copy(update={"size_px": _SIDE_PX, "losses": losses})
    config = config.model_copy(update={"phases": (phase,), "precision": precision})
    nobody = FaceSource("none", [FaceRecord("none", "none")], _read_nothing, "")
    state = TrainingState(config, nobody, join_processes(Path(tempfile.gettempdir())))
    return Trainer(state, phase, 0)


def _batch(count: int) -> PairBatch:
    """Noise; the lower half of every picture is the hole."""
    target = torch.rand(count, 3, _SIDE_PX, _SIDE_PX) * 2 - 1
    alpha = torch.zeros(count, 2, _SIDE_PX, _SIDE_PX)
    alpha[:, 0, _SIDE_PX // 2 :] = 1
    focus = torch.full((count, 2), 3 * _SIDE_PX // 4)
    return PairBatch(target, target, alpha, torch.zeros_like(alpha[:, :1]), focus)


def _read_nothing(name: str) -> Image:
    raise NotImplementedError(name)  # the pictures are made up here


def _matrix_gflops(dtype: torch.dtype, side: int = 2048) -> float:
    x = torch.randn(side, side).to(dtype)
    x @ x
    began = time.perf_counter()
    for _ in range(3):
        x @ x
    return 3 * 2 * side**3 / (time.perf_counter() - began) / 1e9


def _report(
    contenders: Mapping[str, Contender], peaks: Mapping[str, float], tensorflow: Mapping[str, object]
) -> dict[str, object]:
    generators: dict[str, object] = {}
    for precision in ("fp32", "bf16"):
        best = {}
        for name in ("ours", "paper"):
            start = f"generator/{name}/{precision}/"
            found = {key.removeprefix(start): c for key, c in contenders.items() if key.startswith(start)}
            if found:
                batch, contender = max(found.items(), key=lambda item: item[1].rate)
                best[name] = contender
                generators[f"{name}_{precision}"] = {
                    "images_per_s": round(contender.rate, 2),
                    "batch": int(batch),
                    "share_of_peak": round(_gflops_a_second(contender) / peaks[precision], 3),
                }
        if best:
            generators[f"ratio_{precision}"] = round(best["ours"].rate / best["paper"].rate, 2)
    ours, paper = contenders["whole/ours"], contenders["whole/paper"]
    precision = "bf16" if has_fast_bf16(torch.device("cpu")) else "fp32"
    whole: dict[str, object] = {
        "ours_images_per_s": round(ours.rate, 2),
        "ours_batch": len(ours.batch),
        "ours_share_of_peak": round(_gflops_a_second(ours) / peaks[precision], 3),
        "paper_images_per_s": round(paper.rate, 2),
        "ratio_to_paper": round(ours.rate / paper.rate, 2),
        "tensorflow": dict(tensorflow),
    }
    if isinstance(rate := tensorflow.get("images_per_s"), float):
        whole["ratio_to_tensorflow"] = round(ours.rate / rate, 2)
    return {
        "generator_step": generators,
        "whole_step": whole,
        "peak_gflops": {name: round(value) for name, value in peaks.items()},
        "parameters": {"ours": _parameters(ours), "paper": _parameters(paper)},
    }


def _parameters(contender: Contender) -> dict[str, int]:
    networks = {
        "generator": contender.trainer.state.generator,
        "discriminator": contender.trainer.state.discriminator,
    }
    return {name: parameter_count(network) for name, network in networks.items()}


def _gflops_a_second(contender: Contender) -> float:
    """What a contender computes in matrix products and convolutions, at its rate."""
    with FlopCounterMode(display=False) as counter:
        contender.trainer.step(contender.batch)
    return float(counter.get_total_flops()) / len(contender.batch) * contender.rate / 1e9


def _time_tensorflow(python: str | None, threads: int, steps: int) -> dict[str, object]:
    if python is None:
        return {"missing": "pass --tensorflow-python, a Python that has tensorflow-cpu"}
    script = _ROOT / "benchmarks/other_framework/pix2pix_tensorflow.py"
    command = [python, str(script), str(threads), str(steps)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"missing": done.stderr.strip().splitlines()[-1]}
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def _time_processes(count: int, arguments: argparse.Namespace) -> float:
    """Images/s of so many processes together, a thread each, all steps of ours with the discriminator."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    team = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
    command = [sys.executable, __file__, "--process", "--rounds", str(arguments.rounds)]
    command += ["--quick"] if arguments.quick else []
    started = []
    for rank in range(count):
        places = team | {"RANK": rank, "LOCAL_RANK": rank, "OMP_NUM_THREADS": 1} if count > 1 else {}
        environment = os.environ | {key: str(value) for key, value in places.items()}
        started.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
    said = [process.communicate()[0] for process in started]
    if any(process.returncode for process in started):
        sys.exit(f"one of {count} processes failed")
    return round(float(json.loads(said[0].splitlines()[-1])), 2)


def _time_process(rounds: int, steps: int) -> float:
    torch.set_num_threads(1)
    config = read_config(_ROOT / "configs/facemend/01_start.toml")
    contender = Contender(_trainer(config, "auto", config.phases[-1].losses), _batch(_SHARE), [])
    for _ in range(rounds + 1):
        contender.time_round(steps)
    del contender.rates[0]
    return contender.rate * int(os.environ.get("WORLD_SIZE", "1"))


if __name__ == "__main__":
    main()

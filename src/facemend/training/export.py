"""Exports a checkpoint as an ONNX file, which is written only if it computes what torch computes."""

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
from onnx import helper
from safetensors.torch import save_file
from torch import Tensor, nn

from facemend.errors import ExportError, TrainingError
from facemend.files import real_path, written_whole
from facemend.reconstruction.model import METADATA_KEY, ModelDescription
from facemend.training.checkpoint import (
    Checkpoint,
    WeightFormat,
    best_checkpoint,
    fitting,
    header_of,
    load_checkpoint,
    newest_checkpoint,
    quantise,
)
from facemend.training.config import PhaseConfig, TrainingConfig
from facemend.training.logging import read_log
from facemend.training.networks import make_generator

_OPSET = 18
_MAX_DIFFERENCE = 1e-3
"""Largest allowed difference between ONNX Runtime and torch in fp32, in the range [-1, 1] (0.13 of 255)."""
_MEAN_DIFFERENCE = 1 / 127.5
"""Largest allowed mean difference of the file with quantised weights from torch: 1 of 255 levels."""


@dataclass(frozen=True)
class Exported:
    """What was written, and how far it differs from torch.

    Attributes:
        path: the ONNX file.
        megabytes: its size.
        max_difference: of the fp32 graph from torch, range [-1, 1].
        mean_difference: of the file as written from torch, range [-1, 1].
    """

    path: Path
    megabytes: float
    max_difference: float
    mean_difference: float


def export(
    run: Path,
    output: Path,
    *,
    best: bool = False,
    weights: WeightFormat = "fp16",
    discriminator: Path | None = None,
    blend: tuple[Path, float] | None = None,
    interval_factor: float = 1.0,
    force: bool = False,
) -> Exported:
    """Writes the newest checkpoint of a run as an ONNX file, with a description of how it was made.

    The batch is dynamic. The picture's side is the size of the phase that the run is in.

    Args:
        best: the checkpoint that validated best in the last phase, instead of the newest.
        weights: how they are quantised. ONNX Runtime computes in fp32.
        discriminator: also write that network, as fp16 safetensors. The model file has the generator.
        blend: another run of the same network, and the share of its newest weights, see `blended`.
        interval_factor: multiplies the interval. A blend reconstructs better than either of its networks,
            which learnt their own errors, so its interval is a little wide. Choose the factor on `val`.

    Raises:
        TrainingError: a run has no checkpoint, the two have different networks, or the network predicts no
            interval.
        ExportError: ONNX Runtime's output differs from torch's.
        OutputError: a file exists and `force` is not set, or cannot be written.
    """
    checkpoint = load_checkpoint(_chosen(run, best=best))
    description = describe(checkpoint.settings(), checkpoint, run)
    if blend is not None:
        other, share = blend
        checkpoint, made_of = blended(checkpoint, load_checkpoint(_chosen(other, best=False)), share)
        description = replace(
            description, training_people=checkpoint.training_people, metrics={}, blend=made_of
        )
    if interval_factor != 1:
        if not description.says_interval:
            raise TrainingError("this network predicts no interval; leave out its factor")
        description = replace(description, interval_factor=interval_factor)
    network = _ExportedGenerator(_generator(checkpoint.settings(), checkpoint), interval_factor).eval()
    with written_whole(output, force=force) as temporary:
        graph = _trace(network, description)
        max_difference = float(np.max(_differences(network, description, graph)))
        if max_difference > _MAX_DIFFERENCE:
            raise ExportError(
                f"ONNX Runtime differs from torch by {max_difference:.2g} (allowed: {_MAX_DIFFERENCE}); "
                "nothing was written"
            )
        graph = quantise(graph, weights)
        mean_difference = float(np.mean(_differences(network, description, graph)))
        if mean_difference > _MEAN_DIFFERENCE:
            raise ExportError(
                f"in {weights} the output differs by {mean_difference * 127.5:.2g} of 255 levels on "
                "average; export with --weights fp32; nothing was written"
            )
        helper.set_model_props(graph, {METADATA_KEY: description.to_json()})
        temporary.write_bytes(graph.SerializeToString())
    if discriminator is not None:
        _write_discriminator(checkpoint, discriminator, force=force)
    return Exported(output, output.stat().st_size / 1e6, max_difference, mean_difference)


def _chosen(run: Path, *, best: bool) -> Path:
    newest = newest_checkpoint(run)
    if newest is None:
        raise TrainingError(
            f"{run} has no checkpoint to export; train first: facemend train CONFIG -o {run}"
        )
    if not best:
        return newest
    if not best_checkpoint(run).exists():
        raise TrainingError(f"{run} has not been validated yet, so no checkpoint is best; leave out --best")
    return best_checkpoint(run)


def describe(config: TrainingConfig, checkpoint: Checkpoint, run: Path) -> ModelDescription:
    """The description that the file contains. Its scores are the last validation up to there."""
    light = config.generator.kind == "unet"
    return ModelDescription(
        name=config.name,
        size_px=phase_at(config, checkpoint.progress.images_seen).size_px,
        tall=config.data.tall,
        takes_hint=light,
        finds_occlusion=light,
        says_interval=light,
        images_seen=checkpoint.progress.images_seen,
        hours=round(checkpoint.progress.seconds / 3600, 2),
        data=checkpoint.data,
        training_people=checkpoint.training_people,
        config=_without_folders(checkpoint.config),
        commit=checkpoint.commit,
        metrics=_last_validation(run / "log.jsonl", checkpoint.progress.images_seen),
    )


def blended(one: Checkpoint, other: Checkpoint, share: float) -> tuple[Checkpoint, dict[str, float | int]]:
    """(1 - share) · one + share · other, weight by weight, of the generators.

    Between a model and the one that its adversarial phase made of it lies, at every share, a model of its
    own, with most of the detail and little of the noise. Wang et al., "ESRGAN", ECCV 2018 workshops,
    section 3.4 (network interpolation). All else, the discriminator included, comes from `one`.

    Returns:
        the checkpoint, with the people of both, and the `blend` of its description.

    Raises:
        TrainingError: the networks differ, or the share is not between 0 and 1.
    """
    if not 0 < share < 1:
        raise TrainingError(f"a blend's share is between 0 and 1, not {share}")
    ours, theirs = one.exported(), other.exported()
    if {key: value.shape for key, value in ours.items()} != {k: v.shape for k, v in theirs.items()}:
        raise TrainingError(
            "only weights of the same network can be blended; the two runs' networks differ"
        )
    part = "ema" if one.settings().ema else "generator"
    mixed = {f"{part}/{key}": torch.lerp(ours[key], theirs[key].to(ours[key]), share) for key in ours}
    people = (
        None
        if one.training_people is None or other.training_people is None
        else tuple(sorted({*one.training_people, *other.training_people}))
    )
    made_of = {"share": share, "images_seen": other.progress.images_seen}
    return replace(one, tensors={**one.tensors, **mixed}, training_people=people), made_of


def _without_folders(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config for a model file: of a folder on this machine only the name."""
    data = dict(config.get("data", {}))
    if data.get("cutouts"):
        data["cutouts"] = real_path(Path(data["cutouts"])).name
    return {**config, "data": data}


def phase_at(config: TrainingConfig, images_seen: int) -> PhaseConfig:
    """The phase in which the last of this many images was seen."""
    for phase in config.phases:
        images_seen -= phase.images
        if images_seen <= 0:
            return phase
    return config.phases[-1]


class _ExportedGenerator(nn.Module):
    """The generator with the inputs and outputs of `ModelDescription`."""

    def __init__(self, generator: nn.Module, interval_factor: float = 1.0) -> None:
        super().__init__()
        self.generator, self._interval_factor = generator, interval_factor

    def forward(self, image: Tensor, hint: Tensor | None = None) -> tuple[Tensor, ...]:
        raw, logits, interval = self.generator(image, hint)
        if self._interval_factor != 1:
            interval = interval * self._interval_factor
        outputs = (raw, None if logits is None else logits.sigmoid(), interval)
        return tuple(output for output in outputs if output is not None)


def _generator(config: TrainingConfig, checkpoint: Checkpoint) -> nn.Module:
    generator = make_generator(config.generator)
    with fitting():
        generator.load_state_dict(checkpoint.exported())
    return generator.eval()


def _trace(network: nn.Module, description: ModelDescription) -> onnx.ModelProto:
    crops = _fixed_crops(description)
    batch = torch.export.Dim("n")
    with _quiet_exporter():
        program = torch.onnx.export(
            network,
            tuple(torch.from_numpy(value) for value in crops.values()),
            input_names=list(crops),
            output_names=list(description.outputs),
            dynamic_shapes=tuple({0: batch} for _ in crops),
            opset_version=_OPSET,
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise ExportError("torch could not turn the network into ONNX; nothing was written")
    graph: onnx.ModelProto = program.model_proto
    forget_origins(graph)
    return graph


def forget_origins(graph: onnx.ModelProto) -> None:
    """Removes torch's notes on the file and line on this machine that each node came from."""
    for node in graph.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for value in (*graph.graph.input, *graph.graph.output, *graph.graph.initializer):
        value.doc_string = ""
        del value.metadata_props[:]
    del graph.graph.value_info[:]
    del graph.graph.metadata_props[:]


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """torch's exporter warns of its own deprecations, and logs that torchvision is missing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)


def _fixed_crops(description: ModelDescription) -> dict[str, npt.NDArray[np.float32]]:
    """Two fixed pictures of smooth noise, without and with a hint, in the network's range."""
    rng = np.random.default_rng(0)
    side, height = description.size_px, description.height_px
    coarse = rng.uniform(-1, 1, (2, 3, height // 16, side // 16))
    crops = {"image": coarse.repeat(16, axis=2).repeat(16, axis=3).astype(np.float32)}
    if description.takes_hint:
        crops["hint"] = np.zeros((2, 1, height, side), dtype=np.float32)
        crops["hint"][1, :, side // 2 :] = 1
    return crops


def _differences(
    network: nn.Module, description: ModelDescription, graph: onnx.ModelProto
) -> npt.NDArray[np.float32]:
    """|ONNX Runtime - torch| on the fixed crops, of all outputs, flat."""
    crops = _fixed_crops(description)
    with torch.inference_mode():
        expected = network(*(torch.from_numpy(value) for value in crops.values()))
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    computed = session.run(None, crops)
    pairs = zip(computed, expected, strict=True)
    return np.concatenate([np.abs(ours - theirs.numpy()).ravel() for ours, theirs in pairs])


def _write_discriminator(checkpoint: Checkpoint, path: Path, *, force: bool) -> None:
    weights = checkpoint.part("discriminator").items()
    with written_whole(path, force=force) as temporary:
        save_file(
            {f"discriminator/{key}": value.half().contiguous() for key, value in weights},
            temporary,
            metadata={"facemend": header_of(checkpoint)},
        )


def _last_validation(log: Path, images_seen: int) -> dict[str, float]:
    if not log.exists():
        return {}
    try:
        rows = read_log(log)
    except OSError as error:
        raise TrainingError(f"cannot read {log}: {error.strerror or error}") from error
    validations = [row for row in rows if "validation/hole" in row and row["images_seen"] <= images_seen]
    if not validations:
        return {}
    start = "validation/"
    last = validations[-1].items()
    return {key.removeprefix(start): round(value, 3) for key, value in last if key.startswith(start)}

"""A model file in ONNX Runtime, and what it says about itself."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from facemend.alignment import tall_height
from facemend.errors import ModelError, UsageError
from facemend.files import parse_json
from facemend.images import Batch, from_network, levels_from_network, to_network
from facemend.onnx_model import CPU, OnnxModel, Provider
from facemend.reconstruction.options import Device

METADATA_KEY = "facemend"
FORMAT = 1
_MOST_PX = 8192
_WEIGHTS = Path(__file__).parents[1] / "weights"
_TYPES: Mapping[str, tuple[type, ...]] = {
    "name": (str,),
    "size_px": (int,),
    "takes_hint": (bool,),
    "finds_occlusion": (bool,),
    "says_interval": (bool,),
    "images_seen": (int,),
    "hours": (float, int),
    "data": (str,),
    "config": (dict,),
    "commit": (str,),
    "metrics": (dict,),
    "blend": (dict,),
    "interval_factor": (float, int),
    "tall": (bool,),
}


@dataclass(frozen=True)
class ModelDescription:
    """Carried as JSON in the metadata of a model's ONNX file, under METADATA_KEY.

    The network's inputs are `image`, float32 (N, 3, H, W) RGB in [-1, 1], and, if `takes_hint`,
    `hint`, float32 (N, 1, H, W): 0 = find the occlusion yourself, 1 = the user says occluded.
    Its outputs are `raw`, (N, 3, H, W) in [-1, 1], and, if `finds_occlusion`, `alpha`,
    (N, 2, H, W) in [0, 1]: covers, accessories. If `says_interval`, there is also `interval`,
    (N, 1, H, W) ≥ 0: inside the occlusion, nine in ten of a pixel's true colour values lie within
    ± this of `raw`, in the range of `raw`.

    Attributes:
        name: what people call it.
        size_px: the width of the crop that it works on: the side of the canonical square.
        tall: it works on the tall crop, which goes on below the square (see alignment.py).
        takes_hint, finds_occlusion, says_interval: see above.
        images_seen, hours: how much it was trained.
        data: where its training faces came from, in words.
        training_people: hashes of the people it was trained on (`datasets.hash_identity`). None if
            nobody knows.
        config: the resolved training configuration.
        commit: the git commit of the code that trained it, or "unknown".
        metrics: scores on the val split at export, by name.
        blend: if its weights lie between those of two runs (`facemend export --blend`): the other run's
            share and how many images that had seen.
        interval_factor: by how much the network's interval was widened to calibrate it.
        format: version of this description.
    """

    name: str
    size_px: int
    takes_hint: bool
    finds_occlusion: bool
    images_seen: int
    hours: float
    data: str
    training_people: tuple[str, ...] | None
    config: Mapping[str, Any] = field(default_factory=dict)
    commit: str = "unknown"
    metrics: Mapping[str, float] = field(default_factory=dict)
    says_interval: bool = False
    blend: Mapping[str, float] = field(default_factory=dict)
    interval_factor: float = 1.0
    tall: bool = False
    format: int = FORMAT

    @cached_property
    def height_px(self) -> int:
        """The height of the crop that it works on."""
        return tall_height(self.size_px) if self.tall else self.size_px

    @property
    def inputs(self) -> dict[str, int]:
        """What the network takes: names and their channels."""
        return {"image": 3} | ({"hint": 1} if self.takes_hint else {})

    @property
    def outputs(self) -> dict[str, int]:
        """What the network gives: names and their channels, in this order."""
        alpha = {"alpha": 2} if self.finds_occlusion else {}
        return {"raw": 3} | alpha | ({"interval": 1} if self.says_interval else {})

    def check_types(self) -> None:
        """Raises TypeError: a field holds a value of another type, or a number that cannot be."""
        for name, kinds in _TYPES.items():
            value = getattr(self, name)
            # To Python, True is a number.
            if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
                raise TypeError(f"{name} is {type(value).__name__}, not {kinds[0].__name__}")
        if not 0 < self.size_px <= _MOST_PX or self.images_seen < 0:
            raise TypeError(f"size_px {self.size_px} or images_seen {self.images_seen} cannot be")
        scores = (*self.metrics.values(), *self.blend.values())
        if not all(isinstance(value, int | float | str) for value in scores):
            raise TypeError("metrics or blend holds what is not a score")
        if not all(isinstance(person, str) for person in self.training_people or ()):
            raise TypeError("training_people are no hashes")

    def to_json(self) -> str:
        """The description as JSON text."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "ModelDescription":
        """Reads what `to_json` wrote.

        Raises:
            ModelError: not such a text, or one of another format.
        """
        try:
            fields = parse_json(text)
            if not isinstance(fields, dict):
                raise TypeError("it is no table of keys and values")
            if fields["format"] != FORMAT:
                raise ModelError(
                    f"the model file has format {fields['format']}, this facemend reads {FORMAT}; "
                    "export it again"
                )
            people = fields["training_people"]
            fields["training_people"] = None if people is None else tuple(people)
            described = cls(**fields)
            described.check_types()
            return described
        except (ValueError, TypeError, KeyError) as error:
            raise ModelError(f"the model file's description cannot be read: {error!r}") from error


@dataclass(frozen=True)
class ModelOutput:
    """What a model says about a batch of N canonical crops, H by S pixels.

    Attributes:
        raw: uint8 (N, H, S, 3) RGB, the whole crop as the model reconstructs it.
        alpha: float32 (N, 2, H, S), 0-1, the occlusion found, by class in the order covers,
            accessories. None if the model finds none.
        interval: float32 (N, H, S), ≥ 0, in levels of 255: where the picture was occluded, nine in ten
            of the true values lie within ± this of `raw`. None if the model does not say.
    """

    raw: npt.NDArray[np.uint8]
    alpha: npt.NDArray[np.float32] | None
    interval: npt.NDArray[np.float32] | None = None

    def first_rows(self, count: int) -> "ModelOutput":
        """The same for the first rows of the crops alone."""
        return ModelOutput(
            raw=self.raw[:, :count],
            alpha=None if self.alpha is None else self.alpha[:, :, :count],
            interval=None if self.interval is None else self.interval[:, :count],
        )

    def mirrored(self) -> "ModelOutput":
        """The same for the crops in a mirror."""
        return ModelOutput(
            raw=self.raw[:, :, ::-1],
            alpha=None if self.alpha is None else self.alpha[:, :, :, ::-1],
            interval=None if self.interval is None else self.interval[:, :, ::-1],
        )

    def each(self) -> "Iterator[ModelOutput]":
        """What it says about each crop, in order, as batches of one."""
        for place in range(len(self.raw)):
            one = slice(place, place + 1)
            alpha, interval = (None if part is None else part[one] for part in (self.alpha, self.interval))
            yield ModelOutput(self.raw[one], alpha, interval)


class Model:
    """A model file, ready to be called, from several threads if need be.

    Attributes:
        description: what the file says about itself.
        sha256: of the file, hexadecimal.
    """

    def __init__(
        self, path: Path | str, *, device: Device | str = Device.AUTO, threads: int | None = None
    ) -> None:
        """Opens a model file.

        Args:
            threads: how many threads one call may use. None for all cores.

        Raises:
            ModelError: the file is missing, damaged or not a facemend model, or the device is
                missing.
            UsageError: an unknown device, or less than one thread.
        """
        providers = _providers(device, threads)
        self._model = OnnxModel(Path(path), threads=threads, providers=providers)
        self.sha256 = self._model.sha256
        if METADATA_KEY not in self._model.texts:
            raise ModelError(f"{path} is not a facemend model; make one with facemend export")
        self.description = ModelDescription.from_json(self._model.texts[METADATA_KEY])
        self._check_shapes()
        if device not in (Device.AUTO, Device.CPU) and self._model.providers[0] == CPU:
            raise ModelError(f'ONNX Runtime cannot start {device} on this machine; use device="cpu"')

    def __call__(
        self, images: npt.NDArray[np.uint8], hints: npt.NDArray[np.bool_] | None = None
    ) -> ModelOutput:
        """Reconstructs a batch of canonical crops.

        Args:
            images: uint8 (N, H, S, 3) RGB, `description.height_px` by `description.size_px`.
            hints: bool (N, H, S), True where the user says occluded. None where nobody says anything.
                A model that takes no hint does without.

        Raises:
            ValueError: other shapes or types.
            ModelError: the model fails, or a value that it computes is not finite.
        """
        height, width = self.description.height_px, self.description.size_px
        if images.dtype != np.uint8 or images.shape[1:] != (height, width, 3):
            raise ValueError(
                f"images are {images.dtype} {images.shape}, not uint8 (N, {height}, {width}, 3)"
            )
        if hints is not None and (hints.dtype != np.bool_ or hints.shape != images.shape[:3]):
            raise ValueError(f"hints are {hints.dtype} {hints.shape}, not bool {images.shape[:3]}")
        feeds = {"image": to_network(images)}
        if self.description.takes_hint:
            said = np.zeros(images.shape[:3], dtype=np.bool_) if hints is None else hints
            feeds["hint"] = said[:, None].astype(np.float32)
        outputs = self._run(feeds)
        alpha, interval = outputs.get("alpha"), outputs.get("interval")
        return ModelOutput(
            raw=from_network(outputs["raw"]),
            alpha=None if alpha is None else alpha.clip(0, 1),
            interval=None if interval is None else levels_from_network(interval[:, 0]),
        )

    def _run(self, feeds: dict[str, Batch]) -> dict[str, Batch]:
        described = self.description
        outputs = self._model.run(feeds, list(described.outputs))
        for name, output in outputs.items():
            wanted = (len(feeds["image"]), described.outputs[name], described.height_px, described.size_px)
            if output.shape != wanted:
                raise ModelError(
                    f"{self._model.path} computes {name} as {output.shape}, not {wanted}; export it again"
                )
        return outputs

    def _check_shapes(self) -> None:
        """Compares what the file takes and gives with what its description promises."""
        described = self.description
        for promised, found in (
            (described.inputs, self._model.inputs),
            (described.outputs, self._model.outputs),
        ):
            if found.keys() != promised.keys():
                raise ModelError(
                    f"{self._model.path} has {', '.join(found)} where its description promises "
                    f"{', '.join(promised)}; export it again"
                )
            for name, channels in promised.items():
                shape, kind = found[name].shape, found[name].type
                wanted = (None, channels, described.height_px, described.size_px)
                fits = len(shape) == 4 and all(
                    want is None or have is None or have == want
                    for have, want in zip(shape, wanted, strict=True)
                )
                if not fits or kind != "tensor(float)":
                    raise ModelError(
                        f"{self._model.path}: {name} is {kind} {shape}, which does not fit its "
                        "description; export it again"
                    )


@dataclass(frozen=True)
class Hardware:
    """What a device is called in ONNX Runtime.

    Attributes:
        provider: its execution provider.
        package: the package of ONNX Runtime that has it.
        options: of the provider, for a number of threads (None: all cores).
    """

    provider: str
    package: str
    options: Callable[[int | None], Mapping[str, str]] = lambda threads: {}


def _openvino_options(threads: int | None) -> dict[str, str]:
    # Without the hint it computes in bfloat16 where the processor can.
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    if threads is not None:
        settings["INFERENCE_NUM_THREADS"] = str(threads)
    return {"device_type": "CPU", "load_config": json.dumps({"CPU": settings})}


HARDWARE: Mapping[Device, Hardware] = {
    Device.CUDA: Hardware("CUDAExecutionProvider", "onnxruntime-gpu"),
    Device.OPENVINO: Hardware("OpenVINOExecutionProvider", "onnxruntime-openvino", _openvino_options),
    Device.COREML: Hardware("CoreMLExecutionProvider", "onnxruntime for macOS"),
    Device.DIRECTML: Hardware("DmlExecutionProvider", "onnxruntime-directml"),
    Device.ROCM: Hardware("ROCMExecutionProvider", "onnxruntime-rocm"),
}
"""Every device but the CPU. `auto` takes CUDA or the CPU."""


def _providers(device: Device | str, threads: int | None) -> list[Provider]:
    if device not in list(Device):
        raise UsageError(f"unknown device {device!r}; choose from {', '.join(Device)}")
    available = onnxruntime.get_available_providers()
    if device == Device.AUTO:
        device = Device.CUDA if HARDWARE[Device.CUDA].provider in available else Device.CPU
    if device == Device.CPU:
        return [CPU]
    chosen = HARDWARE[Device(device)]
    if chosen.provider not in available:
        raise ModelError(
            f"this ONNX Runtime cannot use {device}; install {chosen.package} in place of onnxruntime, "
            'or use device="cpu"'
        )
    return [(chosen.provider, dict(chosen.options(threads))), CPU]


def shipped_model_path() -> Path:
    """The model file that is used when nobody names another.

    Raises:
        ModelError: this copy of facemend carries none.
    """
    return _shipped("facemend.onnx", "name a model file of your own")


def shipped_discriminator_path() -> Path:
    """The discriminator of that model, as safetensors. Training resumes from both.

    Raises:
        ModelError: this copy of facemend carries none.
    """
    return _shipped("discriminator.safetensors", "start from a checkpoint")


def _shipped(name: str, instead: str) -> Path:
    path = _WEIGHTS / name
    if not path.is_file():
        raise ModelError(f"this copy of facemend carries no {name}; {instead}")
    return path

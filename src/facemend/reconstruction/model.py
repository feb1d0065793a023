"""A model file in ONNX Runtime: uint8 pictures in, uint8 pictures and the occlusion found out."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from facemend.errors import ModelError, UsageError
from facemend.files import sha256_of
from facemend.frame import repeat_below
from facemend.images import Batch, from_network, levels_from_network, to_network
from facemend.reconstruction.description import METADATA_KEY, ModelDescription
from facemend.reconstruction.options import Device
from facemend.sessions import CPU, first_line, open_session

_CUDA = "CUDAExecutionProvider"


@dataclass(frozen=True)
class ModelOutput:
    """What a model says about a batch of N canonical crops, H by S pixels.

    Attributes:
        raw: uint8 (N, H, S, 3) RGB, the whole crop as the model draws it.
        alpha: float32 (N, 2, H, S), 0-1, the occlusion found, by class in the order covers,
            accessories; None if the model finds none.
        interval: float32 (N, H, S), ≥ 0, in levels of 255: where the picture was occluded, nine in ten
            of the true values lie within ± this of `raw`; None if the model does not say.
    """

    raw: npt.NDArray[np.uint8]
    alpha: npt.NDArray[np.float32] | None
    interval: npt.NDArray[np.float32] | None = None

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
            threads: how many threads one call may use; None leaves it to ONNX Runtime.

        Raises:
            ModelError: the file is missing, damaged or not a facemend model, or CUDA is asked for and
                missing.
            UsageError: an unknown device, or less than one thread.
        """
        self._path = Path(path)
        self.sha256 = _sha256(self._path)  # of a regular file: nothing waits for a pipe here
        self._session = open_session(self._path, threads, _providers(device))
        texts = self._session.get_modelmeta().custom_metadata_map
        if METADATA_KEY not in texts:
            raise ModelError(f"{path} is not a facemend model; make one with facemend export")
        self.description = ModelDescription.from_json(texts[METADATA_KEY])
        self._check_shapes()
        if device == Device.CUDA and self._session.get_providers()[0] != _CUDA:
            raise ModelError("ONNX Runtime cannot start CUDA on this machine; use --device cpu")

    def __call__(
        self, images: npt.NDArray[np.uint8], hints: npt.NDArray[np.bool_] | None = None
    ) -> ModelOutput:
        """Reconstructs a batch of canonical crops.

        Args:
            images: uint8 (N, H, S, 3) RGB, `description.height_px` by `description.size_px`.
            hints: bool (N, H, S), True where the user says occluded; None where nobody says anything.
                A model that takes no hint does without.

        Raises:
            ValueError: other shapes or types.
            ModelError: the model fails, or computes what is no number.
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

    def on_squares(
        self, images: npt.NDArray[np.uint8], hints: npt.NDArray[np.bool_] | None = None
    ) -> ModelOutput:
        """The same for squares (N, S, S, 3): to a model of tall crops they end there. Returns squares."""
        side, height = self.description.size_px, self.description.height_px
        if height == side:
            return self(images, hints)
        below = None if hints is None else np.stack([repeat_below(hint, height) for hint in hints])
        output = self(np.stack([repeat_below(image, height) for image in images]), below)
        return ModelOutput(
            raw=output.raw[:, :side],
            alpha=None if output.alpha is None else output.alpha[:, :, :side],
            interval=None if output.interval is None else output.interval[:, :side],
        )

    def _run(self, feeds: dict[str, Batch]) -> dict[str, Batch]:
        names = list(self.description.outputs)
        try:
            outputs: list[Batch] = self._session.run(names, feeds)
        except Exception as error:
            raise ModelError(f"{self._path} cannot be run: {first_line(error)}") from error
        described, count = self.description, len(feeds["image"])
        for name, output in zip(names, outputs, strict=True):
            wanted = (count, described.outputs[name], described.height_px, described.size_px)
            if output.dtype != np.float32 or output.shape != wanted:
                raise ModelError(
                    f"{self._path} computes {name} as {output.dtype} {output.shape}, not {wanted}; "
                    "export it again"
                )
        if not all(np.isfinite(output).all() for output in outputs):
            raise ModelError(f"{self._path} computes values that are no numbers; export it again")
        return dict(zip(names, outputs, strict=True))

    def _check_shapes(self) -> None:
        """Compares what the file takes and gives with what its description promises."""
        described = self.description
        for promised, nodes in (
            (described.inputs, self._session.get_inputs()),
            (described.outputs, self._session.get_outputs()),
        ):
            found = {node.name: node for node in nodes}
            if found.keys() != promised.keys():
                raise ModelError(
                    f"{self._path} has {', '.join(found)} where its description promises "
                    f"{', '.join(promised)}; export it again"
                )
            for name, channels in promised.items():
                shape, kind = found[name].shape, found[name].type
                wanted = (None, channels, described.height_px, described.size_px)
                # A named dimension (a string) takes any length.
                fits = len(shape) == 4 and all(
                    want is None or have == want or not isinstance(have, int)
                    for have, want in zip(shape, wanted, strict=True)
                )
                if not fits or kind != "tensor(float)":
                    raise ModelError(
                        f"{self._path}: {name} is {kind} {shape}, which does not fit its description; "
                        "export it again"
                    )


def _sha256(path: Path) -> str:
    try:
        return sha256_of(path)
    except FileNotFoundError as error:
        raise ModelError(f"the model file {path} does not exist") from error
    except OSError as error:
        raise ModelError(f"the model file {path} cannot be read: {error.strerror or error}") from error


def _providers(device: Device | str) -> list[str]:
    if device not in list(Device):
        raise UsageError(f"unknown device {device!r}; choose from {', '.join(Device)}")
    has_cuda = _CUDA in onnxruntime.get_available_providers()
    if device == Device.CUDA and not has_cuda:
        raise ModelError(
            "this ONNX Runtime has no CUDA; install onnxruntime-gpu in place of onnxruntime, "
            "or use --device cpu"
        )
    return [_CUDA, CPU] if has_cuda and device != Device.CPU else [CPU]

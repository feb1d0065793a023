"""Batches of samples: stacked, packed for transfer, echoed, unpacked for the network."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from facemend.files import seed_of
from facemend.images import Image


@dataclass(frozen=True)
class Sample:
    """One picture of a `PairBatch`, before it becomes tensors; pictures are uint8 (H, W, 3) RGB."""

    occluded: Image
    target: Image
    alpha: npt.NDArray[np.float32]
    hint: npt.NDArray[np.float32]
    focus: npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Tensors:
    """The fields of all batches. `focus` is int64 (N, 2): a point in the masked area, or the middle."""

    occluded: Tensor
    target: Tensor
    alpha: Tensor
    hint: Tensor
    focus: Tensor

    def to(self, device: torch.device) -> Self:
        """The same batch on a device. The focus stays on the CPU, which crops by it."""
        names = [field.name for field in fields(self) if field.name != "focus"]
        return replace(self, **{name: getattr(self, name).to(device, non_blocking=True) for name in names})


@dataclass(frozen=True)
class PairBatch(_Tensors):
    """A batch in the network's range.

    Attributes:
        occluded, target: float32 (N, 3, H, W) in [-1, 1].
        alpha: float32 (N, 2, H, W), 0-1: covers, accessories.
        hint: float32 (N, 1, H, W): 1 where the network is told that the face is occluded.
    """

    @property
    def hole(self) -> Tensor:
        """(N, 1, H, W), 1 where anything is occluded."""
        return (self.alpha.amax(dim=1, keepdim=True) > 0).to(self.alpha.dtype)

    def __len__(self) -> int:
        return len(self.target)

    def split(self, parts: int) -> "list[PairBatch]":
        """The same pictures in this many equal parts, in order."""
        if parts == 1:
            return [self]
        chunks = [getattr(self, field.name).chunk(parts) for field in fields(self)]
        return [PairBatch(*part) for part in zip(*chunks, strict=True)]


@dataclass(frozen=True)
class PackedBatch(_Tensors):
    """A `PairBatch` as it travels from the worker processes: a quarter of the bytes.

    Attributes:
        occluded, target: uint8 (N, H, W, 3) RGB.
        alpha: float16 (N, 2, H, W), 0-1.
        hint: uint8 (N, 1, H, W), 0 or 1.
    """

    def pin_memory(self) -> "PackedBatch":
        """The same in memory that a GPU can fetch from while it computes. torch's loader calls this."""
        return PackedBatch(*(getattr(self, field.name).pin_memory() for field in fields(self)))

    def unpack(self) -> PairBatch:
        """The batch in the network's range."""
        return PairBatch(
            occluded=_to_network(self.occluded),
            target=_to_network(self.target),
            alpha=self.alpha.float(),
            hint=self.hint.float(),
            focus=self.focus,
        )

    def mirror(self) -> "PackedBatch":
        """Left and right exchanged."""
        width = self.alpha.shape[-1]
        return PackedBatch(
            occluded=self.occluded.flip(2),
            target=self.target.flip(2),
            alpha=self.alpha.flip(3),
            hint=self.hint.flip(3),
            focus=torch.tensor([width - 1, 0]) + self.focus * torch.tensor([-1, 1]),
        )

    @staticmethod
    def join(batches: "Sequence[PackedBatch]") -> "PackedBatch":
        """One batch of all, in order."""
        return PackedBatch(
            *(torch.cat([getattr(each, field.name) for each in batches]) for field in fields(PackedBatch))
        )


def stack(samples: Sequence[Sample]) -> PackedBatch:
    """Samples to a batch."""
    return PackedBatch(
        occluded=torch.from_numpy(np.stack([s.occluded for s in samples])),
        target=torch.from_numpy(np.stack([s.target for s in samples])),
        alpha=torch.from_numpy(np.stack([s.alpha for s in samples]).astype(np.float16)),
        hint=torch.from_numpy(np.stack([s.hint for s in samples]).astype(np.uint8)),
        focus=torch.from_numpy(np.stack([s.focus for s in samples])),
    )


def _to_network(images: Tensor) -> Tensor:
    """As `images.to_network`, wherever the tensor is."""
    return images.permute(0, 3, 1, 2).float() / 127.5 - 1


ECHO_BUFFER = 64
"""Number of the newest batches from which echoed samples are drawn. They stay on the device."""


def echo_batches(
    fresh: Iterable[PackedBatch], times: int, *, first: int, skip: int, seed: int, mirror: bool
) -> Iterator[PackedBatch]:
    """Each fresh batch together with `times` - 1 of the newest `ECHO_BUFFER`, at random (data echoing).

    Args:
        fresh: batches in order, on the device.
        first: number of the first of them in its phase. The draws follow from the seed and the number.
        skip: the first batches, this many, only fill the buffer: a run that resumes has used them before.
        mirror: mirror half of the echoed batches.
    """
    kept: deque[PackedBatch] = deque(maxlen=ECHO_BUFFER)
    for number, batch in enumerate(fresh, first):
        kept.append(batch)
        if number < first + skip:
            continue
        rng = np.random.default_rng(seed_of("echo", seed, number))
        again = [kept[index] for index in rng.integers(len(kept), size=times - 1)]
        mirrored = rng.random(len(again)) < (0.5 if mirror else 0)
        echoed = [each.mirror() if turned else each for each, turned in zip(again, mirrored, strict=True)]
        yield PackedBatch.join([batch, *echoed])

"""The training loop: scenes in, checkpoints out; run again, it goes on where it ended."""

import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, IterableDataset

from facemend.degradations import tint
from facemend.images import to_network
from tools.train_detector.network import DetectorNetwork, loss_of
from tools.train_detector.scenes import Scenes
from tools.train_detector.targets import Targets, mirrored, targets_of

_WARMUP_SCENES = 3000
_CHECKPOINT_S = 120.0
_EMA = 0.99
_SEEN_AGAIN, _REMEMBERED = 2, 2000


@dataclass(frozen=True)
class Plan:
    """How long and how fast.

    Attributes:
        scenes: in all.
        side_px: of a scene, a multiple of 32.
        batch: scenes a step.
        learning_rate: the highest, after a warm-up and before a cosine down to nothing.
        seed: the same one draws the same scenes, if a run is not interrupted.
        workers: processes that make scenes, 0 or 1; several would make the same ones.
    """

    scenes: int = 160_000
    side_px: int = 256
    batch: int = 24
    learning_rate: float = 3e-3
    seed: int = 0
    workers: int = 1

    def rate_at(self, seen: int) -> float:
        """The learning rate after so many scenes."""
        cosine = (1 + math.cos(math.pi * min(1.0, seen / self.scenes))) / 2
        return self.learning_rate * min(1.0, (seen + self.batch) / _WARMUP_SCENES) * max(cosine, 0.002)


class _Replay:
    """The last scenes drawn: making one costs as much as learning from it, so each serves thrice."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._images: list[npt.NDArray[np.uint8]] = []
        self._wanted: list[Targets] = []

    def __call__(
        self, images: npt.NDArray[np.uint8], wanted: Targets
    ) -> tuple[npt.NDArray[np.uint8], Targets]:
        """New scenes, and for each _SEEN_AGAIN old ones, mirrored and tinted at random."""
        kept = len(self._images)
        chosen = (
            self._rng.integers(kept, size=_SEEN_AGAIN * len(images)) if kept else np.empty(0, dtype=int)
        )
        old = [self._changed(self._images[i], self._wanted[i]) for i in chosen]
        for image, targets in zip(images, wanted, strict=True):
            if len(self._images) < _REMEMBERED:
                self._images.append(image)
                self._wanted.append(targets)
            else:
                place = int(self._rng.integers(_REMEMBERED))
                self._images[place], self._wanted[place] = image, targets
        if not old:
            return images, wanted
        return (
            np.concatenate([images, np.stack([image for image, _ in old])]),
            np.concatenate([wanted, np.stack([targets for _, targets in old])]),
        )

    def _changed(
        self, image: npt.NDArray[np.uint8], wanted: Targets
    ) -> tuple[npt.NDArray[np.uint8], Targets]:
        if self._rng.random() < 0.5:
            image, wanted = image[:, ::-1], mirrored(wanted[None], *image.shape[:2])[0]
        gains = np.exp(self._rng.normal(0, 0.2)) * np.exp(self._rng.normal(0, 0.08, 3))
        return tint(image, gains.astype(np.float32)), wanted


class _Batches(IterableDataset[tuple[Tensor, Tensor]]):
    """Batches of scenes, uint8 (N, H, W, 3), and their targets, float32 (N, cells, 16), without end."""

    def __init__(self, scenes: Scenes, plan: Plan, seen: int) -> None:
        super().__init__()
        self._scenes, self._plan, self._seen = scenes, plan, seen

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        cv2.setNumThreads(1)
        rng = np.random.default_rng((self._plan.seed, self._seen))
        side_px = self._plan.side_px
        while True:
            images: list[npt.NDArray[np.uint8]] = []
            wanted: list[Targets] = []
            for _ in range(self._plan.batch // (1 + _SEEN_AGAIN)):
                scene = self._scenes(rng, side_px)
                images.append(scene.image)
                wanted.append(targets_of(scene.faces, side_px, side_px))
            yield torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(wanted))


def train(scenes: Scenes, plan: Plan, folder: Path) -> DetectorNetwork:
    """Trains as planned; `folder` keeps the state, and a line of losses every 1,000 scenes."""
    torch.manual_seed(plan.seed)
    network = DetectorNetwork().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    averaging = get_ema_multi_avg_fn(_EMA)  # type: ignore[no-untyped-call]
    average = AveragedModel(network, multi_avg_fn=averaging, use_buffers=True)
    optimizer = torch.optim.AdamW(network.parameters(), betas=(0.9, 0.99), weight_decay=0.01)
    state, seen = folder / "state.pt", 0
    if state.is_file():
        kept = torch.load(state, weights_only=True)
        network.load_state_dict(kept["network"])
        average.load_state_dict(kept["average"])
        optimizer.load_state_dict(kept["optimizer"])
        seen = kept["seen"]
    saved, said = time.monotonic(), seen
    sums: dict[str, float] = {}
    network.train()
    loader = DataLoader(
        _Batches(scenes, plan, seen),
        batch_size=None,
        num_workers=plan.workers,
        prefetch_factor=3 if plan.workers else None,
    )
    replay = _Replay(np.random.default_rng((plan.seed, seen, 1)))
    for new_images, new_wanted in loader:
        if seen >= plan.scenes:
            break
        for group in optimizer.param_groups:
            group["lr"] = plan.rate_at(seen)
        images, targets = replay(new_images.numpy(), new_wanted.numpy())
        wanted = torch.from_numpy(targets)
        batch = torch.from_numpy(to_network(images)).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            answer = network(batch)
        loss, parts = loss_of(answer.float(), wanted)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        average.update_parameters(network)
        seen += len(images)
        for name, value in parts.items():
            sums[name] = sums.get(name, 0.0) + float(value.detach()) * len(images)
        if seen - said >= 1000:
            line = {name: round(value / (seen - said), 4) for name, value in sums.items()}
            with (folder / "log.jsonl").open("a") as log:
                log.write(json.dumps({"seen": seen, "time": round(time.time()), **line}) + "\n")
            said, sums = seen, {}
        if time.monotonic() - saved > _CHECKPOINT_S:
            _save(state, network, average, optimizer, seen)
            saved = time.monotonic()
    _save(state, network, average, optimizer, seen)
    return averaged(state)


def averaged(state: Path) -> DetectorNetwork:
    """The averaged network of a state, ready to be used."""
    network = DetectorNetwork()
    average = AveragedModel(network, use_buffers=True)
    average.load_state_dict(torch.load(state, weights_only=True)["average"])
    network.load_state_dict(average.module.state_dict())
    return network.eval()


def _save(
    state: Path,
    network: DetectorNetwork,
    average: AveragedModel,
    optimizer: torch.optim.Optimizer,
    seen: int,
) -> None:
    temporary = state.with_suffix(".part")
    torch.save(
        {
            "network": network.state_dict(),
            "average": average.state_dict(),
            "optimizer": optimizer.state_dict(),
            "seen": seen,
        },
        temporary,
    )
    temporary.rename(state)

"""The network behind the loss `deep_features`, trained on the attributes of the training faces."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import trange

from facemend.datasets import FaceSource
from facemend.errors import TrainingError
from facemend.files import fingerprint_of, written_whole
from facemend.images import to_network
from facemend.training.config import TrainingConfig
from facemend.training.data import Crops
from facemend.training.distributed import autocast

SIDE_PX = 128
"""Side of the pictures that it takes. Larger ones are reduced by means over squares."""
WIDTHS = (32, 64, 96, 160, 256)


class FaceFeatures(NamedTuple):
    """What the network returns.

    Attributes:
        layers: of every stage (N, width, side, side), from half of `SIDE_PX` down.
        logits: (N, attributes), positive for yes.
    """

    layers: Sequence[Tensor]
    logits: Tensor


class FeatureNet(nn.Module):
    """Five stages of two 3×3 convolutions, each at half the resolution of the one before.

    It takes 0.15 GMACs per face, little beside a generator's step.

    Args:
        attributes: how many it classifies.
    """

    def __init__(self, attributes: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            nn.Sequential(_convolve(before, width, stride=2), _convolve(width, width, stride=1))
            for before, width in pairwise((3, *WIDTHS))
        )
        self.attributes = nn.Linear(WIDTHS[-1], attributes)

    def forward(self, faces: Tensor) -> FaceFeatures:
        """Faces (N, 3, H, W) in [-1, 1], H = W a multiple of `SIDE_PX` or smaller."""
        x = faces
        if x.shape[-1] != SIDE_PX:
            x = F.interpolate(x, size=(SIDE_PX, SIDE_PX), mode="area")
        layers = []
        for stage in self.stages:
            x = stage(x)
            layers.append(x)
        return FaceFeatures(layers, self.attributes(x.mean(dim=(2, 3))))


def _convolve(before: int, width: int, *, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
    )


_BATCH, _RATE, _SHIFT_PX = 64, 2e-3, 6
_SEED = 0  # not the run's, so that runs with other seeds share the network


def cached_features(
    config: TrainingConfig, faces: FaceSource, crops: Crops, folder: Path, *, quiet: bool
) -> Path:
    """The file of the network for these faces. It is trained first if there is none yet.

    Args:
        crops: of the faces, at the size that the network takes.

    Raises:
        TrainingError: there are faces without attributes.
        OutputError: the folder cannot be written.
    """
    names = (record.name for record in faces.records)
    settings = (config.features.images, _SEED, config.precision)
    path = (
        folder / f"features-{fingerprint_of(faces.name, faces.fingerprint, *settings, *names)}.safetensors"
    )
    if not path.exists():
        network = train_features(config, crops, quiet=quiet)
        with written_whole(path) as temporary:
            save_file({key: value.contiguous() for key, value in network.state_dict().items()}, temporary)
    return path


def open_features(path: Path, device: torch.device) -> FeatureNet:
    """The network in a file, in evaluation mode and without gradients for its weights."""
    weights = load_file(path)
    network = FeatureNet(len(weights["attributes.bias"]))
    network.load_state_dict(weights)
    network.eval().requires_grad_(requires_grad=False)
    return network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def train_features(config: TrainingConfig, crops: Crops, *, quiet: bool) -> FeatureNet:
    """A network that classifies the faces' attributes, trained on the CPU.

    Raises:
        TrainingError: there are faces without attributes.
    """
    truths = attribute_table(crops)
    torch.manual_seed(_SEED)
    rng = np.random.default_rng(_SEED)
    network = FeatureNet(truths.shape[1])
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    steps = -(-config.features.images // _BATCH)
    optimizer = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=steps)
    for _ in trange(steps, desc="training deep features", disable=quiet or None, leave=False):
        chosen = np.sort(rng.integers(len(crops), size=_BATCH))
        images = np.stack([_shifted(crops.images[row], rng) for row in chosen])
        pictures = torch.from_numpy(to_network(images)).contiguous(memory_format=torch.channels_last)
        with autocast(config.precision, torch.device("cpu")):
            logits = network(pictures).logits
        loss = F.binary_cross_entropy_with_logits(logits.float(), torch.from_numpy(truths[chosen]))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return network


def attribute_table(crops: Crops) -> npt.NDArray[np.float32]:
    """(N, attributes), 1 for yes and 0 for no, the attributes in order of their names.

    Raises:
        TrainingError: the faces have none, or not all have the same.
    """
    names = sorted(crops.attributes[0])
    if not names or any(sorted(each) != names for each in crops.attributes):
        raise TrainingError(
            "the loss deep_features needs the attributes of every face, as in CelebA's "
            "list_attr_celeba.txt; set its weight to 0"
        )
    return np.array([[each[name] for name in names] for each in crops.attributes], dtype=np.float32)


def _shifted(image: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """The square, mirrored or not, and shifted a little. Pixels from beyond the border repeat it."""
    image = image[: image.shape[1]]
    x, y = rng.integers(-_SHIFT_PX, _SHIFT_PX + 1, 2)
    side = np.arange(len(image))
    moved: npt.NDArray[np.uint8] = image[(side + y).clip(0, len(image) - 1)]
    moved = moved[:, (side + x).clip(0, len(image) - 1)]
    return moved[:, ::-1] if rng.random() < 0.5 else moved

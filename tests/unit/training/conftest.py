from collections.abc import Callable

import numpy as np
import pytest

from facemend.datasets import FaceRecord
from facemend.datasets.faces import FaceSource
from facemend.images import Image
from facemend.training.config import TrainingConfig

Faces = Callable[..., FaceSource]


@pytest.fixture(scope="session")
def faces() -> Faces:
    """Makes a source of so many pictures, each of another person."""

    def make(count: int, name: str = "made up") -> FaceSource:
        def read(name: str) -> Image:
            rng = np.random.default_rng(int(name))
            coarse = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
            return coarse.repeat(16, axis=0).repeat(16, axis=1)

        records = [FaceRecord(str(n), f"{name}:{n}") for n in range(count)]
        return FaceSource(name, records, read, "1")

    return make


@pytest.fixture(scope="session")
def tiny_config() -> TrainingConfig:
    """Two short phases at 64 px: L1 only, then adversarial."""
    losses = {"l1_hole": 1.0, "l1_outside": 0.3, "l1_composite": 2.0, "alpha": 0.5}
    phase = {"images": 16, "size_px": 64, "batch": 4, "learning_rate": 1e-3}
    return TrainingConfig.model_validate(
        {
            "name": "tiny",
            "workers": 0,
            "validate_images": 1000,
            "validation_faces": 2,
            "precision": "fp32",
            "generator": {"widths": [4, 8]},
            "discriminator": {"crop_px": 32},
            "data": {"kinds": {"nose_mask": 1.0, "blur": 1.0}, "hinted": 0.5, "unoccluded": 0.2},
            "phases": [
                {"name": "low", **phase, "losses": losses},
                {
                    "name": "adversarial",
                    **phase,
                    "losses": {**losses, "adversarial": 0.05, "feature_matching": 1.0},
                },
            ],
        }
    )

from pathlib import Path

import numpy as np
import pytest

from facemend.errors import ModelError
from facemend.reconstruction.apply import Fit, apply_model
from facemend.reconstruction.model import Model
from tests.stand_in import write_model
from tests.tiny_celeba import gradient


@pytest.mark.parametrize("size", [(256, 256), (300, 100), (520, 700), (20, 30)])
@pytest.mark.parametrize("fit", list(Fit))
def test_a_picture_of_any_size_goes_through_and_keeps_it(
    stand_in_model: Path, size: tuple[int, int], fit: Fit
) -> None:
    image = gradient(*size)
    made = apply_model(Model(stand_in_model), image, fit)
    assert made.shape == image.shape
    away = np.abs(made.astype(int) - (255 - image.astype(int)))  # the stand-in draws negatives
    assert away.max() <= (1 if fit is Fit.TILES else 12)


def test_a_model_of_tall_crops_is_one_of_faces(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="works on crops of faces; use reconstruct"):
        apply_model(Model(write_model(tmp_path / "m.onnx", tall=True)), gradient(64, 64))

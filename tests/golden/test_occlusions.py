import numpy as np
import pytest

from facemend.images import read_image
from facemend.occlusion import KINDS
from tests.golden.occlusions import FOLDER, draw


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_drawn_as_its_golden_picture_shows(kind: str) -> None:
    golden = read_image(FOLDER / f"{kind}.png")
    drawn = draw(kind)
    assert drawn.shape == golden.shape
    # Pillow's releases may round a blur another way; more than one level is another drawing.
    assert np.abs(drawn.astype(int) - golden).max() <= 1


def test_no_golden_picture_is_left_of_a_kind_that_is_gone() -> None:
    assert {path.stem for path in FOLDER.glob("*.png")} == set(KINDS)

import base64
import re
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from facemend.images import Image as Pixels
from facemend.reconstruction.reconstructor import Reconstructor
from tests.stand_in import COVER
from tests.tiny_celeba import gradient


@pytest.fixture
def reconstructor(stand_in_model: str) -> Reconstructor:
    return Reconstructor(stand_in_model, device="cpu")


def _covered() -> Pixels:
    image = gradient(178, 218)
    image[80:150, 30:150] = COVER  # over the eyes
    return image


def test_a_result_says_in_one_line_what_it_is(reconstructor: Reconstructor) -> None:
    result = reconstructor(_covered(), aligned=True)
    assert repr(result) == "Reconstruction('the array', 178×218, 1 face, 1 reconstructed)"


def test_a_notebook_shows_before_after_and_what_was_found(reconstructor: Reconstructor) -> None:
    image = _covered()
    result = reconstructor(image, aligned=True)
    html = result._repr_html_()
    pictures = [
        np.asarray(Image.open(BytesIO(base64.b64decode(data))))
        for data in re.findall(r"base64,([^\"]+)", html)
    ]
    for shown, expected in zip(pictures[:2], (image, result.array), strict=True):
        np.testing.assert_array_equal(shown, expected)
    np.testing.assert_array_equal(pictures[2][:, :, 0], result.removed_levels)
    assert f"{result.faces[0].coverage:.1%} of the picture reconstructed" in html


def test_a_notebook_obeys_nothing_that_a_files_name_says(
    reconstructor: Reconstructor, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("x") / "<script>.png"
    Image.fromarray(gradient(64, 64)).save(path)
    html = reconstructor(path, aligned=True)._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;.png" in html
    assert "unchanged" in html

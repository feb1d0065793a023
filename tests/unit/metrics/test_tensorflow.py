"""The original project measured with TensorFlow, and so do its values, which are kept beside this file.

They were taken once on the reference pictures: `tf.image.ssim`, `tf.image.ssim_multiscale` and
`tf.image.psnr`, each with max_val=255.
"""

import json
from pathlib import Path

import pytest

from facemend.metrics.image import ms_ssim, ssim
from facemend.metrics.psnr import psnr
from tests.reference_pictures import read_pairs

VALUES = json.loads(Path(__file__).with_name("tensorflow.json").read_text(encoding="utf-8"))["pairs"]


@pytest.mark.parametrize("name", read_pairs())
def test_the_values_are_those_of_tensorflow(name: str) -> None:
    image, truth = read_pairs()[name]
    # TensorFlow computes in float32.
    assert ssim(image, truth) == pytest.approx(VALUES[name]["ssim"], abs=1e-4)
    assert ms_ssim(image, truth) == pytest.approx(VALUES[name]["ms_ssim"], abs=1e-4)
    assert psnr(image, truth) == pytest.approx(VALUES[name]["psnr"], abs=1e-4)

import numpy as np
import pytest

from facemend.images import Image
from facemend.metrics.image import ms_ssim
from tests.reference_pictures import read_pairs


@pytest.mark.parametrize("name", ["noise", "face with noise", "face at half resolution"])
def test_the_value_is_that_of_torchmetrics(name: str) -> None:
    torch = pytest.importorskip("torch", reason="torch is missing")
    image_metrics = pytest.importorskip("torchmetrics.functional.image", reason="torchmetrics is missing")
    pair = [torch.from_numpy(p.transpose(2, 0, 1)[None].astype(np.float64)) for p in read_pairs()[name]]
    # Each channel by itself: torchmetrics multiplies the scales after the mean over channels. Its windows
    # leave the picture, so that it agrees only where the border is as wrong as the middle.
    channels = [
        float(
            image_metrics.multiscale_structural_similarity_index_measure(
                pair[0][:, [c]], pair[1][:, [c]], data_range=255.0, normalize="relu"
            )
        )
        for c in range(3)
    ]
    assert ms_ssim(*read_pairs()[name]) == pytest.approx(np.mean(channels), abs=1e-3)


def test_equal_pictures_score_1_and_a_negative_0() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (176, 176, 3), dtype=np.uint8)
    assert ms_ssim(noise, noise.copy()) == pytest.approx(1)
    assert ms_ssim(255 - noise, noise) == 0


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((175, 200, 3), dtype=np.uint8), "at least 176×176"),
        (np.zeros((200, 200, 3), dtype=np.float32), "uint8"),
    ],
)
def test_other_sizes_and_ranges_are_refused(image: Image, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ms_ssim(image, image)

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facemend.alignment import canonical_landmarks
from facemend.errors import PictureError, SourceError
from facemend.occlusion import KINDS, Extent, OcclusionClass, cutout_kind, occlude
from tests.tiny_celeba import gradient


def _cutout(path: Path, width: int = 60, height: int = 40, margin: int = 10) -> Path:
    """A red box with a transparent margin of another colour."""
    pixels = np.zeros((height + 2 * margin, width + 2 * margin, 4), np.uint8)
    pixels[..., 1] = 255
    pixels[margin:-margin, margin:-margin] = (220, 20, 20, 255)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def test_a_cutout_lies_where_its_folder_says(tmp_path: Path) -> None:
    _cutout(tmp_path / "eyes" / "band.png")
    kinds = {**KINDS, "mine": cutout_kind(tmp_path)}
    for seed in range(6):
        face = occlude(gradient(256, 256), canonical_landmarks(), "mine", seed, kinds)
        rows, columns = np.nonzero(face.occlusion.alpha > 0.99)
        assert rows.mean() == pytest.approx(133.5, abs=5)
        assert columns.mean() == pytest.approx(127, abs=5)
        assert np.ptp(columns) == pytest.approx(120, rel=0.2)
        assert (face.image[rows, columns] == (220, 20, 20)).all()
        assert face.occlusion.parameters["file"] == "eyes/band.png"
        assert face.occlusion.occlusion_class is OcclusionClass.ACCESSORIES


def test_a_half_transparent_cutout_keeps_its_alpha(tmp_path: Path) -> None:
    pixels = np.full((20, 20, 4), (0, 0, 255, 128), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "veil.png")
    face = occlude(gradient(256, 256), None, "mine", 1, {"mine": cutout_kind(tmp_path)})
    inside = face.occlusion.alpha[face.occlusion.alpha > 0.4]
    assert np.median(inside) == pytest.approx(128 / 255, abs=1e-6)


def test_a_cutout_over_the_whole_face_is_full_and_of_the_class_asked_for(tmp_path: Path) -> None:
    _cutout(tmp_path / "full" / "hood.webp", 80, 90)
    kind = cutout_kind(tmp_path, OcclusionClass.COVERS)
    occlusion = occlude(gradient(256, 256), None, "mine", 2, {"mine": kind}).occlusion
    assert occlusion.extent is Extent.FULL
    assert occlusion.occlusion_class is OcclusionClass.COVERS


def test_cutouts_keep_their_size_in_every_picture(tmp_path: Path) -> None:
    _cutout(tmp_path / "mask.png", 900, 500)
    kinds = {"mine": cutout_kind(tmp_path)}
    shares = [
        occlude(gradient(size, size), canonical_landmarks(size), "mine", 5, kinds).occlusion.alpha.mean()
        for size in (64, 256, 1024)
    ]
    assert shares == pytest.approx([shares[1]] * 3, rel=0.05)


@pytest.mark.parametrize(
    "landmarks", [np.zeros((5, 2)), canonical_landmarks() * 1e6, np.full((5, 2), np.nan)]
)
def test_strange_landmarks_crash_nothing(tmp_path: Path, landmarks: np.ndarray) -> None:
    _cutout(tmp_path / "mask.png")
    picture = gradient(128, 96)
    face = occlude(picture, landmarks, "mine", 3, {"mine": cutout_kind(tmp_path)})
    untouched = face.occlusion.alpha == 0
    np.testing.assert_array_equal(face.image[untouched], picture[untouched])


def test_a_kind_of_cutouts_travels_to_other_processes(tmp_path: Path) -> None:
    _cutout(tmp_path / "mask.png")
    kind = cutout_kind(tmp_path)
    copy = pickle.loads(pickle.dumps(kind))
    one, two = (occlude(gradient(128, 128), None, "mine", 4, {"mine": k}).image for k in (kind, copy))
    np.testing.assert_array_equal(one, two)


def test_folders_that_cannot_be_used_are_refused_with_a_reason(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is not a folder"):
        cutout_kind(tmp_path / "nowhere")
    with pytest.raises(SourceError, match="holds no PNG"):
        cutout_kind(tmp_path)
    _cutout(tmp_path / "ear" / "ring.png")
    with pytest.raises(SourceError, match="names no location on a face; use eyes, nose"):
        cutout_kind(tmp_path)


def test_pictures_that_cannot_be_used_are_refused_with_a_reason(tmp_path: Path) -> None:
    Image.fromarray(gradient(20, 20)).save(tmp_path / "a.png")
    with pytest.raises(PictureError, match="no transparency; cut its object out"):
        cutout_kind(tmp_path)
    Image.new("RGBA", (20, 20)).save(tmp_path / "a.png")
    with pytest.raises(PictureError, match="transparent everywhere"):
        cutout_kind(tmp_path)
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(PictureError, match="not a picture that can be read"):
        cutout_kind(tmp_path)

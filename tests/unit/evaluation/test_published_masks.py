import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from facemend.datasets import Split
from facemend.errors import PictureError, SourceError
from facemend.evaluation.protocol import Protocol
from facemend.evaluation.published_masks import (
    KIND,
    homography,
    open_on_frames,
    open_templates,
    published_masks,
    read_frame,
)
from facemend.io import write_png
from tests.stand_in import COVER
from tests.tiny_celeba import gradient, make_celeba, write_split

CORNERS = np.array(
    [(10.0, 20.0), (200.0, 8.0), (390.0, 20.0), (40.0, 180.0), (200.0, 290.0), (360.0, 180.0)]
)
SPLITS = ("test", "test", "test", "train", "test", "test")  # by person: see tiny_celeba.PEOPLE


def write_templates(folder: Path, points: Sequence[Sequence[float]] = CORNERS.tolist()) -> Path:
    """One template, 400×300: opaque green within a clear border of 5 px."""
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((300, 400, 4), dtype=np.uint8)
    pixels[5:-5, 5:-5] = (*COVER, 255)
    PillowImage.fromarray(pixels).save(folder / "green.png")
    names = [f"{point}_{axis}_px" for point in "abcdef" for axis in "xy"]
    with (folder / "points.csv").open("w", encoding="utf-8", newline="") as file:
        values = [value for point in points for value in point]
        csv.writer(file).writerows([("template", *names), ("green.png", *values)])
    return folder


@pytest.fixture(scope="module")
def protocol(tmp_path_factory: pytest.TempPathFactory) -> Protocol:
    return published_masks(write_templates(tmp_path_factory.mktemp("templates")))


@pytest.fixture(scope="module")
def celeba(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_celeba(tmp_path_factory.mktemp("celeba"))


@pytest.fixture(scope="module")
def split_file(celeba: Path) -> Path:
    return write_split(celeba, SPLITS)


def test_a_homography_is_found_from_points_that_it_moved() -> None:
    true = np.array([(1.2, 0.1, 30.0), (-0.05, 0.9, 12.0), (0.0004, -0.0002, 1.0)])
    mapped = np.column_stack([CORNERS, np.ones(6)]) @ true.T
    np.testing.assert_allclose(homography(CORNERS, mapped[:, :2] / mapped[:, 2:]), true, atol=1e-9)


def test_pictures_are_the_same_500_at_most_of_the_split_in_an_order_of_their_own(
    protocol: Protocol, celeba: Path, split_file: Path
) -> None:
    faces = protocol.open_faces([str(celeba)], Split.TEST, split_file)
    names = [record.name for record in faces.records]
    assert sorted(names) == [f"{n:06d}.jpg" for n, split in enumerate(SPLITS, 1) if split == "test"]
    again = protocol.open_faces([str(celeba)], Split.TEST, split_file)
    assert names == [record.name for record in again.records]


def test_a_picture_is_the_whole_frame_and_the_mask_lies_where_the_protocol_puts_it(
    protocol: Protocol, celeba: Path, split_file: Path
) -> None:
    faces = protocol.open_faces([str(celeba)], Split.TEST, split_file)
    record = faces.records[0]
    picture = protocol.read_picture(faces, record)
    assert picture.shape == (256, 256, 3)
    face = protocol.occlude(picture, record, KIND)
    hidden = face.occlusion.alpha > 0.5
    rows, columns = (np.flatnonzero(hidden.any(axis=axis)) for axis in (1, 0))
    # The points lie at 47 to 129 of 178 columns and 122 to 180 of 218 rows, give or take the jitter.
    assert columns[0] == pytest.approx(47 * 256 / 178, abs=15)
    assert columns[-1] == pytest.approx(129 * 256 / 178, abs=15)
    assert rows[0] == pytest.approx(122 * 256 / 218, abs=15)
    assert rows[-1] == pytest.approx(180 * 256 / 218, abs=15)
    assert (face.image[face.occlusion.alpha == 1] == COVER).all()
    np.testing.assert_array_equal(face.image[~face.occlusion.mask], picture[~face.occlusion.mask])
    again = protocol.occlude(picture, record, KIND)
    np.testing.assert_array_equal(again.image, face.image)


def test_the_product_gets_the_frame_and_only_what_it_changed_changes(
    protocol: Protocol,
    celeba: Path,
    split_file: Path,
    stand_in_model: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # These pictures show no face; the product is to think that theirs lies where CelebA's do.
    monkeypatch.setattr(
        "facemend.reconstruction.aligned.find_face", lambda image, canonical, detector: canonical
    )
    faces = protocol.open_faces([str(celeba)], Split.TEST, split_file)
    record = faces.records[0]
    face = protocol.occlude(read_frame(faces, record), record, KIND)
    system = open_on_frames(stand_in_model, 1)
    delivery = system.run([face])
    changed = (delivery.composite[0] != face.image).any(axis=2)
    assert delivery.alpha is not None
    hidden = face.occlusion.alpha > 0.5
    assert ((delivery.alpha[0] > 0.5) & hidden).sum() > 0.9 * hidden.sum()
    # The stand-in draws the negative of green; nothing far from the mask changes.
    assert changed[hidden].mean() > 0.95
    near = np.zeros_like(hidden)
    y, x = np.nonzero(face.occlusion.mask)
    near[max(y.min() - 10, 0) : y.max() + 11, max(x.min() - 10, 0) : x.max() + 11] = True
    assert not changed[~near].any()


def test_a_picture_without_a_mask_comes_back_as_it_was(celeba: Path, stand_in_model: Path) -> None:
    system = open_on_frames(stand_in_model, 1)
    picture = gradient(256, 256)[None]
    assert system.repair is not None
    np.testing.assert_array_equal(system.repair(picture), picture)


def test_templates_are_checked(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"points\.csv cannot be read"):
        open_templates(tmp_path)
    folder = write_templates(tmp_path / "templates")
    (folder / "green.png").unlink()
    with pytest.raises(SourceError, match=r"green\.png is missing"):
        open_templates(folder)
    (folder / "points.csv").write_text("template,a_x_px\ngreen.png,1\n")
    with pytest.raises(SourceError, match="has no line"):
        open_templates(folder)


def test_a_square_crop_is_no_frame(tmp_path: Path) -> None:
    from facemend.datasets import open_source

    write_png(tmp_path / "faces" / "ann" / "1.png", gradient(100, 100))
    faces = open_source(tmp_path / "faces")
    with pytest.raises(PictureError, match="published-masks needs 178×218"):
        read_frame(faces, faces.records[0])

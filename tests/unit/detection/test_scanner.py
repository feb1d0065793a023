from pathlib import Path

import numpy as np
import pytest

from facemend.detection.detector import Candidates, Scanner, cells_of, concatenate
from facemend.errors import ModelError
from facemend.images import Image
from facemend.reconstruction.demo import read_portraits
from facemend.reconstruction.model import shipped_model_path

WEIGHTS = Path(__file__).parents[3] / "src/facemend/weights"


@pytest.fixture(scope="module")
def scanner() -> Scanner:
    return Scanner(WEIGHTS / "detector.onnx", threads=1)


def test_cells_lie_grid_by_grid_and_row_by_row() -> None:
    middles, strides = cells_of(64, 96)
    assert len(middles) == len(strides) == 8 * 12 + 4 * 6 + 2 * 3
    assert middles[[0, 1, 12, 96, -1]].tolist() == [[4, 4], [12, 4], [4, 12], [8, 8], [80, 48]]
    assert strides[[0, 95, 96, 119, 120]].ravel().tolist() == [8, 8, 16, 16, 32]


def test_a_larger_picture_has_larger_faces() -> None:
    one = Candidates(np.ones(1), np.array([[0.0, 0, 10, 20]]), np.full((1, 5, 2), 4.5))
    larger = one.scaled(np.array([2.0, 3.0]))
    assert larger.boxes.tolist() == [[0, 0, 20, 60]]
    assert larger.landmarks_px[0, 0].tolist() == [9.5, 14.5]
    assert len(concatenate([one, larger]).confidence) == 2
    assert concatenate([one, larger])[[1]].boxes.tolist() == larger.boxes.tolist()


def shrunk(photo: Image, step: int) -> Image:
    return np.ascontiguousarray(photo[::step, ::step])


def test_the_surest_cells_of_a_portrait_agree_on_its_face(scanner: Scanner) -> None:
    portrait = read_portraits()[0]
    photo = shrunk(portrait.photo, 2)
    (found,) = scanner([photo], 0.7)
    assert len(found.confidence) > 1
    spread = np.ptp(found.boxes, axis=0) / (found.boxes[0, 2] - found.boxes[0, 0])
    assert spread.max() < 0.4
    away = np.abs(found.landmarks_px.mean(axis=0) - portrait.landmarks_px / 2)
    assert away.max() < 0.3 * np.ptp(portrait.landmarks_px[:2, 0]) / 2


def test_what_is_added_to_fill_a_cell_holds_no_face(scanner: Scanner) -> None:
    photo = shrunk(read_portraits()[0].photo, 3)[:, :-7]
    height, width = photo.shape[:2]
    (found,) = scanner([photo], 0.3)
    middles = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2
    assert (middles < (width, height)).all()
    assert len(scanner([photo], 1.0)[0].confidence) == 0


def test_another_network_is_no_scanner() -> None:
    with pytest.raises(ModelError, match="is not this network"):
        Scanner(shipped_model_path())

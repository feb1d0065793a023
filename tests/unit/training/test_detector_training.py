from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from facemend.alignment import FRAME_LANDMARKS_PX
from facemend.datasets import open_source
from facemend.detection.detector import Scanner, cells_of
from tests.tiny_celeba import make_celeba
from tools.train_detector.export import export
from tools.train_detector.labels import LabelledFace
from tools.train_detector.network import DetectorNetwork, loss_of
from tools.train_detector.scenes import Scenes
from tools.train_detector.targets import SceneFace, mirrored, targets_of
from tools.train_detector.training import Plan, averaged, train

SIDE_PX = 128
POINTS = np.array([(30.0, 40), (50, 40), (40, 50), (32, 62), (48, 62)])


def face(x1: float, y1: float, x2: float, y2: float, *, counts: bool = True) -> SceneFace:
    return SceneFace(np.array([x1, y1, x2, y2]), POINTS, counts)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Scenes:
    source = open_source(make_celeba(tmp_path_factory.mktemp("celeba")))
    box = np.array([45.0, 65, 132, 183])
    return Scenes(source, [LabelledFace(record.name, box, FRAME_LANDMARKS_PX) for record in source.records])


def test_the_cells_in_the_middle_of_a_face_say_its_box_and_landmarks() -> None:
    wanted = targets_of([face(20, 25, 60, 75)], SIDE_PX, SIDE_PX)
    middles, strides = cells_of(SIDE_PX, SIDE_PX)
    saying = wanted[:, 0] > 0
    assert saying.sum() > 1
    centres = middles[saying] + wanted[saying, 1:3] * strides[saying]
    sizes = np.exp(wanted[saying, 3:5]) * strides[saying]
    assert np.allclose(centres, (40, 50), atol=1e-4)
    assert np.allclose(sizes, (40, 50), atol=1e-4)
    points = wanted[saying, 5:15].reshape(-1, 5, 2) * strides[saying][:, None] + middles[saying][:, None]
    assert np.allclose(points - 0.5, POINTS, atol=1e-4)


def test_a_large_face_is_none_on_the_finest_grid() -> None:
    wanted = targets_of([face(4, 4, 124, 124)], SIDE_PX, SIDE_PX)
    finest = wanted[: (SIDE_PX // 8) ** 2]
    assert (finest[:, 0] == 0).all()
    assert (finest[:, 15] == 1).all()
    assert (wanted[len(finest) :, 0] > 0).any()


def test_a_face_that_hardly_shows_is_neither_right_nor_wrong() -> None:
    wanted = targets_of([face(20, 25, 60, 75, counts=False)], SIDE_PX, SIDE_PX)
    assert (wanted[:, 0] == 0).all()
    assert (wanted[:, 15] == 0).any()


def test_mirrored_targets_are_those_of_the_mirrored_face() -> None:
    turned = POINTS[[1, 0, 2, 4, 3]] * (-1, 1) + (SIDE_PX - 1, 0)
    mirror = SceneFace(np.array([SIDE_PX - 60.0, 25, SIDE_PX - 20, 75]), turned, True)
    expected = targets_of([mirror], SIDE_PX, SIDE_PX)
    assert np.allclose(
        mirrored(targets_of([face(20, 25, 60, 75)], SIDE_PX, SIDE_PX)[None], SIDE_PX, SIDE_PX)[0], expected
    )


def test_the_right_answer_costs_little_and_a_wrong_one_much() -> None:
    wanted = torch.from_numpy(targets_of([face(20, 25, 60, 75)], SIDE_PX, SIDE_PX))[None]
    right = wanted[..., :15].clone()
    right[..., 0] = torch.where(wanted[..., 0] > 0, 12.0, -12.0)
    assert float(loss_of(right, wanted)[0]) < 1e-3
    moved = right.clone()
    moved[..., 1:3] += 1
    assert float(loss_of(moved, wanted)[0]) > 0.3
    unseen = right.clone()
    unseen[..., 0] = -12
    assert float(loss_of(unseen, wanted)[0]) > 1


def test_faces_lie_where_scenes_say(scenes: Scenes) -> None:
    rng = np.random.default_rng(4)
    drawn = [scenes(rng, SIDE_PX) for _ in range(12)]
    assert all(scene.image.shape == (SIDE_PX, SIDE_PX, 3) for scene in drawn)
    faces = [each for scene in drawn for each in scene.faces]
    assert len(faces) > 6
    for each in faces:
        middle = each.landmarks_px.mean(axis=0)
        size = each.box_px[2:] - each.box_px[:2]
        assert (np.abs(middle - (each.box_px[:2] + each.box_px[2:]) / 2) < 0.3 * size).all()


def test_a_training_goes_on_and_its_file_finds_what_torch_finds(scenes: Scenes, tmp_path: Path) -> None:
    plan = Plan(scenes=12, side_px=SIDE_PX, batch=6, workers=0)
    train(scenes, plan, tmp_path)
    network = train(scenes, Plan(scenes=24, side_px=SIDE_PX, batch=6, workers=0), tmp_path)
    assert torch.load(tmp_path / "state.pt", weights_only=True)["seen"] >= 24
    kept = averaged(tmp_path / "state.pt").state_dict()
    assert all(torch.equal(value, kept[key]) for key, value in network.state_dict().items())
    path = tmp_path / "detector.onnx"
    export(network, path)
    Scanner(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    image = np.random.default_rng(0).uniform(-1, 1, (1, 3, 64, 160)).astype(np.float32)
    with torch.inference_mode():
        expected = network(torch.from_numpy(image))
    confidence, boxes, _ = session.run(None, {"image": image})
    assert np.allclose(confidence, expected[..., 0].sigmoid().numpy(), atol=0.01)
    assert np.allclose(boxes, expected[..., 1:5].numpy(), atol=0.05)


def test_the_network_stays_small() -> None:
    assert sum(each.numel() for each in DetectorNetwork().parameters()) < 400_000

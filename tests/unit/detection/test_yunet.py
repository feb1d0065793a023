"""YuNet's file is the user's: these tests need the team's copy, or a file that is not YuNet."""

from pathlib import Path

import numpy as np
import pytest

from facemend.detection.yunet import YuNet
from facemend.errors import ModelError, UsageError
from facemend.reconstruction.demo import read_portraits
from facemend.reconstruction.reconstructor import Reconstructor

_FILE = Path("models/face_detection_yunet.onnx")


def test_another_network_is_one_line(stand_in_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is not YuNet of 2023 or later"):
        YuNet(stand_in_model)
    with pytest.raises(ModelError, match=r"no\.onnx does not exist"):
        YuNet(tmp_path / "no.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"no network")
    with pytest.raises(ModelError, match="is not a model that can be read"):
        YuNet(tmp_path / "bad.onnx")


@pytest.mark.needs_shared
@pytest.mark.parametrize("which", [0, 1])
def test_a_portrait_is_found_where_it_is(shared: Path, which: int) -> None:
    portrait = read_portraits()[which]
    detector = YuNet(shared / _FILE, threads=1)
    (face, *_) = detector(portrait.photo)
    eyes = np.hypot(*(portrait.landmarks_px[1] - portrait.landmarks_px[0]))
    assert np.abs(face.landmarks_px - portrait.landmarks_px).max() < 0.3 * eyes
    assert face.confidence > 0.8
    assert detector(portrait.photo, min_confidence=1.0) == ()


@pytest.mark.needs_shared
def test_it_decodes_as_opencv_does(shared: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    photo = np.ascontiguousarray(read_portraits()[0].photo[:480, :480])  # a multiple of 32: no black beside
    theirs = cv2.FaceDetectorYN.create(str(shared / _FILE), "", (480, 480), 0.6, 0.3)
    (expected,) = theirs.detect(photo[:, :, ::-1].copy())[1]
    (face,) = YuNet(shared / _FILE, threads=1)(photo)
    x, y, width, height = expected[:4]
    box = np.array([x, y, x + width, y + height]) - 0.5
    np.testing.assert_allclose(face.box_px, box, atol=0.6)
    np.testing.assert_allclose(face.landmarks_px, expected[4:14].reshape(5, 2) - 0.5, atol=0.6)
    assert face.confidence == pytest.approx(expected[14], abs=0.01)


@pytest.mark.needs_shared
def test_a_reconstructor_takes_it_and_says_so(shared: Path, stand_in_model: Path) -> None:
    result = Reconstructor(stand_in_model, detector=shared / _FILE, threads=1)(read_portraits()[0].photo)
    assert len(result.faces) == 1
    assert len(result.provenance.options["detector_sha256"]) == 64


@pytest.mark.needs_shared
def test_values_that_cannot_be_are_refused(shared: Path) -> None:
    detector = YuNet(shared / _FILE, threads=1)
    photo = np.zeros((32, 32, 3), dtype=np.uint8)
    assert detector(photo) == ()
    with pytest.raises(UsageError, match="a confidence of 2 cannot be"):
        detector(photo, min_confidence=2)
    with pytest.raises(UsageError, match="faces of 0 px cannot be"):
        detector(photo, min_size_px=0)
    with pytest.raises(ValueError, match="not uint8"):
        detector(photo[:, :, 0])

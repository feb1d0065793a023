from pathlib import Path

import numpy as np
import pytest

from facemend.alignment import FRAME_LANDMARKS_PX, crop_face
from facemend.datasets import FaceRecord, FaceSource
from facemend.detection import Detector
from facemend.errors import SourceError
from facemend.files import fingerprint_of
from facemend.images import Image
from facemend.reconstruction.demo import read_portraits
from facemend.training.sources import zoomed

_PORTRAITS = read_portraits()


def _tight(number: int, name: str) -> Image:
    """A portrait cut as tight as UTKFace: the middle of a wider crop."""
    portrait = _PORTRAITS[number % 2]
    wide = crop_face(portrait.photo, portrait.landmarks_px, 360).image
    return np.ascontiguousarray(wide[130:330, 80:280])


def _source(count: int = 2) -> FaceSource:
    records = [FaceRecord(str(n), f"tight:{n}") for n in range(count)]
    return FaceSource("tight", records, lambda name: _tight(int(name), name), "1")


@pytest.mark.parametrize(
    "text", ["[]", "{}", "[" * 100_000, '{"0": "x"}', '{"0": [[1]]}', '{"0": [["a"]]}']
)
def test_a_cache_that_was_tampered_with_is_refused(tmp_path: Path, text: str) -> None:
    source = _source(1)
    path = tmp_path / f"landmarks-{fingerprint_of(source.name, source.fingerprint, '0')}.json"
    path.write_text(text)
    with pytest.raises(SourceError, match="delete it"):
        zoomed(source, tmp_path)
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(SourceError, match="is a link"):
        zoomed(source, tmp_path)


def test_tight_faces_become_frames_whose_landmarks_lie_on_the_face(tmp_path: Path) -> None:
    source = zoomed(_source(6))
    for record in source.records:
        frame, points = source.read(record.name), record.frame_landmarks_px
        assert frame.shape == (218, 178, 3)
        assert points is not None
        width = np.ptp(points[:2, 0]) / np.ptp(FRAME_LANDMARKS_PX[:2, 0])
        assert 1.2 < width < 2.2  # the face is larger than CelebA's, and no larger than in its picture
        assert 0.4 < record.traits["coverage"] <= 1
        # The same face, found anew in the frame that is shown, has its landmarks there.
        (found, *_) = Detector(threads=1)(frame)
        assert np.abs(found.landmarks_px - points).mean() < 3


def test_every_picture_has_a_framing_of_its_own_and_keeps_it() -> None:
    widths = [np.ptp(r.frame_landmarks_px[:2, 0]) for r in zoomed(_source(6)).records]  # type: ignore[index]
    again = [np.ptp(r.frame_landmarks_px[:2, 0]) for r in zoomed(_source(6)).records]  # type: ignore[index]
    assert widths == again
    assert len({round(float(width), 2) for width in widths}) == 6


def test_faces_are_found_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = zoomed(_source(), tmp_path)
    monkeypatch.setattr("facemend.training.sources.Detector", lambda threads: pytest.fail("found again"))
    again = zoomed(_source(), tmp_path)
    for one, other in zip(first.records, again.records, strict=True):
        np.testing.assert_array_equal(one.frame_landmarks_px, other.frame_landmarks_px)
        np.testing.assert_array_equal(first.read(one.name), again.read(other.name))


def test_a_picture_without_a_face_is_left_out_with_a_warning() -> None:
    def read(name: str) -> Image:
        return _tight(0, name) if name == "0" else np.full((200, 200, 3), 90, dtype=np.uint8)

    source = FaceSource("tight", _source(2).records, read, "1")
    with pytest.warns(UserWarning, match="1 of 2 pictures of tight do not show a face"):
        assert [record.name for record in zoomed(source).records] == ["0"]
    with pytest.raises(SourceError, match="no face is found"):
        zoomed(source.where(lambda record: record.name == "1"))

import numpy as np
import pytest

from facemend.alignment import crop_face
from facemend.datasets import FaceRecord, FaceSource
from facemend.evaluation.evaluate import Plan, evaluate
from facemend.evaluation.scoring import open_slow_metrics
from facemend.evaluation.systems import BASELINES
from facemend.images import Image
from facemend.metrics.network import frechet_distance
from facemend.reconstruction.demo import read_portraits

pytest.importorskip("dlib", reason='the identity distance needs pip install "facemend[identity]"')

from facemend.metrics.network import IdentityNetwork

PORTRAITS = {p.name: crop_face(p.photo, p.landmarks_px).image for p in read_portraits()}
FIRST, SECOND = PORTRAITS.values()


def test_another_photo_of_a_person_is_near_and_another_person_far() -> None:
    network = IdentityNetwork()
    own = network.describe(FIRST, FIRST)
    assert own.shape == (128,)
    darker = (FIRST * 0.8).astype(np.uint8)
    assert np.linalg.norm(network.describe(darker, FIRST) - own) < 0.3
    assert np.linalg.norm(network.describe(SECOND, SECOND) - own) > 0.6


def test_the_report_has_the_distance_and_that_of_the_sets() -> None:
    def read(name: str) -> Image:
        return PORTRAITS[name]

    source = FaceSource("Portraits", [FaceRecord(name, name) for name in PORTRAITS], read, "portraits")
    plan = Plan(open_slow_metrics(identity=True))
    report = evaluate([BASELINES["copy"]], source, ["mask_full"], split="test", plan=plan).report
    distance, apart = (
        report.find("copy", ("composite", metric)) for metric in ("identity", "frechet_identity")
    )
    assert distance is not None
    assert distance.mean is not None
    assert 0.4 < distance.mean < 1.5
    assert apart is not None
    assert apart.mean is not None
    assert (apart.mean > 0, apart.low, apart.n) == (True, None, 2)
    assert "identity distance" not in report.left_out
    assert frechet_distance(np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32)) < apart.mean

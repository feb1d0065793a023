"""LPIPS and FID through stand-in networks, small enough to compute by hand."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from facemend.errors import ModelError
from facemend.evaluation.evaluate import Plan, evaluate
from facemend.evaluation.protocol import make_input
from facemend.evaluation.scoring import open_slow_metrics
from facemend.evaluation.systems import BASELINES
from facemend.images import Image, resize
from facemend.metrics.network import FeatureNetwork, PairNetwork
from tests.unit.evaluation.test_evaluate import SOURCE

BLACK, WHITE = np.zeros((8, 8, 3), dtype=np.uint8), np.full((8, 8, 3), 255, dtype=np.uint8)


def write(path: Path, inputs: list[str], *nodes: onnx.NodeProto, side: int | str = "side") -> Path:
    graph = helper.make_graph(
        list(nodes),
        "stand-in",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 3, side, side]) for n in inputs],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.array([1, 2, 3]), "axes")],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), str(path)
    )
    return path


def write_lpips(path: Path) -> Path:
    """The mean squared difference of the two pictures."""
    return write(
        path,
        ["a", "b"],
        helper.make_node("Sub", ["a", "b"], ["difference"]),
        helper.make_node("Mul", ["difference", "difference"], ["square"]),
        helper.make_node("ReduceMean", ["square", "axes"], ["out"], keepdims=0),
    )


def write_inception(path: Path, side: int | str = "side") -> Path:
    """The mean of each channel: three features."""
    return write(path, ["x"], helper.make_node("GlobalAveragePool", ["x"], ["out"]), side=side)


def features(image: Image) -> npt.NDArray[np.float64]:
    return np.asarray((image / 127.5 - 1).mean(axis=(0, 1)))


def test_a_pair_network_gets_both_pictures_from_black_at_minus_1_to_white_at_1(tmp_path: Path) -> None:
    network = PairNetwork(write_lpips(tmp_path / "lpips.onnx"))
    assert network(WHITE, BLACK) == pytest.approx(4)
    assert network(BLACK, BLACK) == 0


def test_a_feature_network_gets_the_picture_at_its_own_size(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    free = FeatureNetwork(write_inception(tmp_path / "free.onnx"))
    np.testing.assert_allclose(free(picture), features(picture), atol=1e-6)
    fixed = FeatureNetwork(write_inception(tmp_path / "fixed.onnx", side=4))
    np.testing.assert_allclose(fixed(picture), features(resize(picture, 4, 4)), atol=1e-6)


def test_the_report_has_lpips_and_fid_as_computed_by_hand(tmp_path: Path) -> None:
    slow = open_slow_metrics(
        lpips=write_lpips(tmp_path / "lpips.onnx"), fid=write_inception(tmp_path / "fid.onnx"), threads=1
    )
    assert set(slow.left_out) == {"identity distance"}
    report = evaluate([BASELINES["copy"]], SOURCE, ["blur"], split="test", plan=Plan(slow)).report
    faces = [make_input(SOURCE.crop(record), record.name, "blur") for record in SOURCE.records]
    distances = [((f.image / 127.5 - f.target / 127.5) ** 2).mean() for f in faces]
    lpips = report.find("copy", ("composite", "lpips"))
    assert lpips is not None
    assert lpips.mean == pytest.approx(np.mean(distances), abs=1e-6)
    assert lpips.low is not None
    own, true = (
        np.stack([features(p) for p in side])
        for side in zip(*((f.image, f.target) for f in faces), strict=True)
    )
    # Three features: the root of the product of the covariances by its eigenvalues.
    covariances = np.cov(own, rowvar=False), np.cov(true, rowvar=False)
    root = np.sqrt(np.linalg.eigvals(covariances[0] @ covariances[1]).astype(complex)).real.sum()
    expected = ((own.mean(0) - true.mean(0)) ** 2).sum() + np.trace(sum(covariances)) - 2 * root
    fid = report.find("copy", ("composite", "fid"))
    assert fid is not None
    assert fid.mean == pytest.approx(expected, abs=1e-5)
    assert (fid.low, fid.n) == (None, 4)


def test_without_their_networks_there_is_neither_lpips_nor_fid_but_a_reason() -> None:
    slow = open_slow_metrics()
    report = evaluate([BASELINES["copy"]], SOURCE, ["blur"], split="test", plan=Plan(slow)).report
    assert {row.metric for row in report.rows} & {"lpips", "fid", "identity"} == set()
    assert report.left_out["LPIPS"] == "no network given: --lpips FILE"
    assert report.left_out["FID"] == "no network given: --fid FILE"
    assert report.find("copy", ("composite", "ms_ssim")) is not None


def test_a_network_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="takes 1 inputs; LPIPS compares two"):
        PairNetwork(write_inception(tmp_path / "fid.onnx"))
    with pytest.raises(ModelError, match="takes 2 inputs; FID needs one"):
        FeatureNetwork(write_lpips(tmp_path / "lpips.onnx"))
    nothing = write(tmp_path / "sum.onnx", ["a", "b"], helper.make_node("Add", ["a", "b"], ["out"]))
    with pytest.raises(ModelError, match="LPIPS is one number"):
        PairNetwork(nothing)(BLACK, BLACK)
    infinite = write(tmp_path / "log.onnx", ["x"], helper.make_node("Log", ["x"], ["out"]))
    with pytest.raises(ModelError, match="not finite"):
        FeatureNetwork(infinite)(BLACK)
    with pytest.raises(ModelError, match="does not exist"):
        PairNetwork(tmp_path / "missing.onnx")
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(ModelError, match="not a model"):
        PairNetwork(tmp_path / "text.onnx")

from dataclasses import replace

import numpy as np
import pytest

from facemend.evaluation.evaluate import Plan, evaluate
from facemend.evaluation.protocol import CONDITIONS, UNCHANGED, make_input
from facemend.evaluation.results import EVERYTHING, Group
from facemend.evaluation.systems import BASELINES, Delivery, Images, Masks, copy_input
from facemend.images import Image
from tests.tiny_celeba import gradient
from tests.unit.evaluation.test_evaluate import SOURCE

FACE = make_input(gradient(256, 256), "1.png", "nose_mask")
CUT_WRONG = [name for name in CONDITIONS if "rotated" in name or "10%" in name]
DEGRADED = [name for name in CONDITIONS if name not in [*CUT_WRONG, UNCHANGED]]


@pytest.mark.parametrize("name", DEGRADED)
def test_a_degraded_input_keeps_its_clean_truth_and_its_occlusion(name: str) -> None:
    face = CONDITIONS[name]("1.png", FACE)
    assert (face.image != FACE.image).any()
    np.testing.assert_array_equal(face.target, FACE.target)
    np.testing.assert_array_equal(face.occlusion.alpha, FACE.occlusion.alpha)
    np.testing.assert_array_equal(CONDITIONS[name]("1.png", FACE).image, face.image)


@pytest.mark.parametrize("name", CUT_WRONG)
def test_a_crop_cut_wrong_moves_input_truth_and_occlusion_alike(name: str) -> None:
    face = CONDITIONS[name]("1.png", FACE)
    assert (face.target != FACE.target).any()
    assert (face.occlusion.alpha != FACE.occlusion.alpha).any()
    changed = np.asarray((face.image != face.target).any(axis=2))
    assert not (changed & ~face.occlusion.mask).any()
    assert changed[face.occlusion.alpha == 1].mean() > 0.99


def test_sizes_and_turns_are_what_they_are_called() -> None:
    cover = {name: float(CONDITIONS[name]("1.png", FACE).occlusion.alpha.mean()) for name in CUT_WRONG}
    own = float(FACE.occlusion.alpha.mean())
    assert cover["10% larger"] == pytest.approx(own * 1.21, rel=0.05)
    assert cover["10% smaller"] == pytest.approx(own * 0.81, rel=0.05)
    there, back = "rotated by 10°", "rotated by -10°"
    twice = CONDITIONS[back]("1.png", CONDITIONS[there]("1.png", FACE))
    middle = np.s_[60:-60, 60:-60]
    assert np.abs(twice.target[middle].astype(int) - FACE.target[middle]).mean() < 2


def test_conditions_are_rows_of_their_own_for_systems_that_are_blind_and_can_be_asked() -> None:
    fixed_inputs = replace(BASELINES["copy"], name="fixed_inputs", fixed_inputs=True)
    systems = [BASELINES["copy"], BASELINES["telea"], fixed_inputs]
    report = evaluate(systems, SOURCE, ["blur"], split="test", plan=Plan(robustness=True)).report
    for name in CONDITIONS:
        row = report.find("copy", ("hole", "psnr"), Group(condition=name))
        assert row is not None
        assert row.n == len(SOURCE)
        assert report.find("telea", ("hole", "psnr"), Group(condition=name)) is None
        assert report.find("fixed_inputs", ("hole", "psnr"), Group(condition=name)) is None
    plain = evaluate(systems, SOURCE, ["blur"], split="test").report
    assert report.find("copy", ("hole", "psnr")) == plain.find("copy", ("hole", "psnr"), EVERYTHING)
    unchanged = report.find("copy", ("hole", "psnr"), Group(condition=UNCHANGED))
    assert unchanged is not None
    assert unchanged.mean == report.find("copy", ("hole", "psnr")).mean  # type: ignore[union-attr]


def test_the_input_that_a_condition_makes_is_what_the_system_gets() -> None:
    shown: list[Image] = []

    def deliver(images: Images, masks: Masks | None) -> Delivery:
        shown.append(images[0])
        return copy_input(images, masks)

    system = replace(BASELINES["copy"], deliver=deliver)
    evaluate([system], SOURCE.first(1), ["blur"], split="test", plan=Plan(robustness=True))
    face = make_input(SOURCE.crop(SOURCE.records[0]), "0", "blur")
    expected = [face.image, *(change("0", face).image for change in CONDITIONS.values())]
    np.testing.assert_array_equal(np.stack(shown), np.stack(expected))

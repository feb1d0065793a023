from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from facemend.evaluation.results import AS_DRAWN, Comparison, Gap, Measurement
from facemend.evaluation.statistics import PeopleBootstrap, compare_systems, find_gaps

HOLE = ("hole", "psnr")
RNG = np.random.default_rng(0)
HARD = RNG.normal(20, 5, 60)
"""How hard each picture is, for every system alike."""


def measure(system: str, values: Sequence[float | None], kind: str = "blur") -> list[Measurement]:
    return [
        Measurement(system, f"{n}.png", f"person {n}", kind, "partial", 0.1, {HOLE: value})
        for n, value in enumerate(values)
    ]


def compare(*measurements: Measurement) -> dict[tuple[str, str, str], Comparison]:
    found = compare_systems(measurements, PeopleBootstrap(m.person for m in measurements))
    return {(c.system, c.other, c.kind): c for c in found}


def test_what_is_hard_for_both_does_not_widen_the_interval() -> None:
    gain = RNG.normal(1, 0.2, 60)
    pair = compare(*measure("ours", list(HARD + gain)), *measure("theirs", list(HARD)))
    found = pair["ours", "theirs", "all"]
    assert found.difference == pytest.approx(gain.mean(), abs=1e-6)
    assert found.low is not None
    assert found.high is not None
    # 60 people of one picture each: ±1.96 standard errors of the gain, not of the figures.
    assert found.high - found.low == pytest.approx(2 * 1.96 * gain.std() / np.sqrt(60), rel=0.15)
    assert found.n == 60


def test_the_first_meets_every_other_and_every_other_meets_copy() -> None:
    names = "ours", "copy", "telea"
    found = compare(*(m for name in names for m in measure(name, [1.0, 2.0])))
    pairs = dict.fromkeys((own, other) for own, other, _ in found)
    assert list(pairs) == [("ours", "copy"), ("ours", "telea"), ("telea", "copy")]
    alone = compare(*measure("copy", [1.0, 2.0]), *measure("telea", [2.0, 3.0]))
    assert dict.fromkeys((own, other) for own, other, _ in alone) == {("telea", "copy"): None}
    assert alone["telea", "copy", "all"].difference == 1
    assert compare(*measure("ours", [1.0, 2.0])) == {}


def test_only_pictures_that_both_have_a_figure_for_are_compared() -> None:
    ours = measure("ours", [10.0, None, 12.0, 13.0]) + measure("ours", [1.0] * 4, "nose_mask")
    theirs = measure("theirs", [9.0, 9.0, 9.0])
    harder = [replace(m, condition="JPEG 50", values={HOLE: 0.0}) for m in ours]
    found = compare(*ours, *harder, *theirs)
    assert (found["ours", "theirs", "all"].difference, found["ours", "theirs", "all"].n) == (2, 2)
    assert found["ours", "theirs", "blur"].n == 2
    empty = found["ours", "theirs", "nose_mask"]
    assert (empty.difference, empty.low, empty.n) == (None, None, 0)
    assert ours[0].condition == AS_DRAWN


def gaps_of(measurements: Sequence[Measurement], attributes: Mapping[str, Mapping[str, bool]]) -> list[Gap]:
    return list(find_gaps(measurements, attributes, PeopleBootstrap(m.person for m in measurements)))


def test_a_gap_is_the_difference_of_the_means_with_its_interval() -> None:
    values = list(RNG.normal(20, 1, 40)) + list(RNG.normal(18, 1, 20))
    (gap,) = gaps_of(measure("ours", values), {f"{n}.png": {"Young": n < 40} for n in range(60)})
    assert (gap.attribute, gap.n_with, gap.n_without) == ("Young", 40, 20)
    assert gap.gap == pytest.approx(np.mean(values[:40]) - np.mean(values[40:]), abs=1e-6)
    assert gap.low is not None
    assert gap.high is not None
    error = np.sqrt(np.var(values[:40]) / 40 + np.var(values[40:]) / 20)
    assert gap.high - gap.low == pytest.approx(2 * 1.96 * error, rel=0.2)
    assert gap.low < gap.gap < gap.high


def test_groups_are_compared_under_the_occlusions_that_both_wear() -> None:
    measurements = measure("ours", [20.0] * 4) + measure("ours", [5.0, 5.0], "sunglasses")
    attributes = {f"{n}.png": {"Eyeglasses": n >= 2} for n in range(4)}
    (gap,) = gaps_of(measurements, attributes)
    assert (gap.gap, gap.n_with, gap.n_without) == (0, 2, 2)


def test_a_group_of_one_person_has_no_interval_and_an_empty_one_no_gap() -> None:
    (gap,) = gaps_of(
        measure("ours", [1.0, 2.0, 4.0]), {f"{n}.png": {"Male": n == 2, "Young": True} for n in range(3)}
    )
    assert (gap.attribute, gap.gap, gap.low, gap.high) == ("Male", 2.5, None, None)
    assert gaps_of(measure("ours", [1.0]), {"0.png": {}}) == []

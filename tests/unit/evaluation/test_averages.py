import numpy as np
import pytest

from facemend.evaluation.results import EVERYTHING, Measure, Measurement
from facemend.evaluation.statistics import PeopleBootstrap, average

HOLE = ("hole", "psnr")


def test_an_interval_holds_the_mean_and_is_wider_the_fewer_people_there_are() -> None:
    values = np.random.default_rng(0).normal(20, 2, 200).tolist()
    widths = []
    for people in (4, 200):
        who = [f"person {number * people // 200}" for number in range(200)]
        interval = PeopleBootstrap(who).interval(sorted(values), who)
        assert interval is not None
        assert interval[0] < np.mean(values) < interval[1]
        widths.append(interval[1] - interval[0])
    # 200 people of one picture each: ±1.96 standard errors.
    assert widths[1] == pytest.approx(2 * 1.96 * np.std(values) / np.sqrt(200), rel=0.15)
    assert widths[0] > 3 * widths[1]


def test_one_person_has_no_interval() -> None:
    assert PeopleBootstrap(["ann", "bob"]).interval([1, 2], ["ann", "ann"]) is None


def test_people_without_a_value_leave_the_interval_to_the_others() -> None:
    people = ["ann", "bob", *(f"stranger {number}" for number in range(20))]
    interval = PeopleBootstrap(people).interval([1, 3], ["ann", "bob"])
    assert interval == (1, 3)


def test_systems_meet_the_same_draws() -> None:
    rng = np.random.default_rng(0)
    people = [f"person {number}" for number in range(50)]
    values = rng.normal(20, 5, 50)
    own, other = (PeopleBootstrap(people).means(list(v), people) for v in (values, values + 1))
    np.testing.assert_allclose(other - own, 1)


def test_rows_stand_in_the_order_of_the_systems_and_unmeasured_ones_are_left_out() -> None:
    figures: dict[str, dict[Measure, float | None]] = {
        "b": {HOLE: 20.0},
        "a": {HOLE: 10.0, ("occlusion", "iou"): None},
    }
    measurements = [
        Measurement(system, "1.png", "ann", "blur", "partial", 0.15, values)
        for system, values in figures.items()
    ]
    bootstrap = PeopleBootstrap(m.person for m in measurements)
    rows = [row for row in average(measurements, bootstrap) if row.group == EVERYTHING]
    assert [(row.system, row.metric, row.mean, row.n, row.apart) for row in rows] == [
        ("b", "psnr", 20, 1, 0),
        ("a", "psnr", 10, 1, 0),
        ("a", "iou", None, 0, 1),
    ]


def measured(values: list[float], people: list[str], groups: tuple[str, ...] = ()) -> list[Measurement]:
    seam = ("seam", "gradient")
    return [
        Measurement("a", f"{n}.png", person, "blur", "partial", 0.15, {seam: value}, people=groups)
        for n, (value, person) in enumerate(zip(values, people, strict=True))
    ]


def test_the_seam_has_a_95th_percentile_beside_its_mean() -> None:
    values = np.linspace(0.5, 1.5, 101).tolist()
    people = [f"person {number}" for number in range(101)]
    rows = average(measured(values, people), PeopleBootstrap(people))
    mean, high = (row for row in rows if row.group == EVERYTHING)
    assert (mean.metric, high.metric) == ("gradient", "gradient_p95")
    assert mean.mean == pytest.approx(1)
    assert high.mean == pytest.approx(1.45)
    assert high.low is not None
    assert high.high is not None
    assert 1.35 < high.low < 1.45 < high.high <= 1.5


def test_the_percentile_of_every_draw_is_that_of_the_people_drawn() -> None:
    people = ["ann", "bob"]
    bootstrap = PeopleBootstrap(people)
    highs = bootstrap.high_percentiles([3.0, 1.0], people)
    # Whenever the larger value is drawn at all, it is the highest of two.
    assert set(highs.tolist()) == {1.0, 3.0}
    assert (highs == 3).mean() == pytest.approx(0.75, abs=0.05)


def test_groups_of_people_have_rows_of_their_own() -> None:
    people = ["ann", "bob"]
    some = measured([1.0], ["ann"], ("skin: dark", "age: under 13")) + measured([3.0], ["bob"])
    rows = {row.people: row for row in average(some, PeopleBootstrap(people)) if row.metric == "gradient"}
    assert {"skin: dark", "age: under 13"} <= rows.keys()
    assert (rows["skin: dark"].mean, rows["skin: dark"].n, rows["skin: dark"].low) == (1, 1, None)

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from facemend.errors import OutputError
from facemend.evaluation.evaluate import Plan, evaluate
from facemend.evaluation.results import EvaluationReport, ScoreCache, Scores, key_of
from facemend.evaluation.scoring import SlowMetrics
from facemend.evaluation.systems import BASELINES, Delivery, Images, Masks, System, copy_input
from facemend.images import Image
from tests.unit.evaluation.test_evaluate import SOURCE

SCORES = Scores(
    {("hole", "psnr"): 20.5, ("occlusion", "iou"): None},
    {("composite", "identity"): np.array([(1, 2), (3, 4)], dtype=np.float32)},
    7.5,
)


def test_scores_come_back_as_they_were_put(tmp_path: Path) -> None:
    with ScoreCache(tmp_path) as cache:
        assert cache.get("key") is None
        cache.put("key", SCORES)
    with ScoreCache(tmp_path) as cache:
        found = cache.get("key")
    assert found is not None
    assert (found.values, found.milliseconds) == (SCORES.values, 7.5)
    np.testing.assert_array_equal(
        found.vectors["composite", "identity"], SCORES.vectors["composite", "identity"]
    )


def test_a_key_tells_its_parts_apart() -> None:
    keys = {key_of(*parts) for parts in (("a", "b"), ("ab",), ("ab", ""), ("b", "a"))}
    assert len(keys) == 4
    assert key_of("a", "b") == key_of("a", "b")


def test_a_file_that_is_not_a_cache_is_refused(tmp_path: Path) -> None:
    (tmp_path / "scores.sqlite").write_text("not a cache" * 100)
    with pytest.raises(OutputError, match="cannot cache scores in"):
        ScoreCache(tmp_path).get("key")


def counting(calls: list[int], limit: int = 1000) -> System:
    """Copies its input, notes how many faces it got, and dies after some."""

    def deliver(images: Images, masks: Masks | None) -> Delivery:
        if sum(calls) >= limit:
            raise KeyboardInterrupt
        calls.append(len(images))
        return copy_input(images, masks)

    return System("counting", blind=True, deliver=deliver, fingerprint="counting")


def run(system: System, folder: Path, *kinds: str, plan: Plan | None = None) -> EvaluationReport:
    with ScoreCache(folder) as cache:
        return evaluate(
            [system], SOURCE, kinds or ("nose_mask", "blur"), split="test", plan=plan, cache=cache
        ).report


def test_a_killed_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    calls: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        run(counting(calls, limit=4), tmp_path)
    assert calls == [2, 2]
    report = run(counting(calls), tmp_path)
    assert calls == [2, 2, 2, 2]
    assert run(counting(calls), tmp_path) == report  # the latency, too: it is that of the first run
    assert len(calls) == 4
    afresh = evaluate([counting([])], SOURCE, ("nose_mask", "blur"), split="test").report
    assert afresh.rows == report.rows


def test_only_what_is_missing_is_measured(tmp_path: Path) -> None:
    calls: list[int] = []
    run(counting(calls), tmp_path, "blur")
    run(counting(calls), tmp_path, "blur", "nose_mask")
    assert calls == [1] * 8
    asked: list[str] = []
    slow = Plan(SlowMetrics(pair={("composite", "ms_ssim"): score("half", asked)}))
    report = run(counting(calls), tmp_path, "blur", plan=slow)
    assert asked == ["half"] * 4
    row = report.find("counting", ("composite", "ms_ssim"))
    assert row is not None
    assert row.mean == 0.5


def score(name: str, asked: list[str]) -> Callable[[Image, Image], float]:
    def half(image: Image, truth: Image) -> float:
        asked.append(name)
        return 0.5

    return half


@pytest.mark.parametrize("change", [{"fingerprint": "another"}, {"fingerprint": None}])
def test_another_system_and_one_that_cannot_be_known_again_are_measured_anew(
    tmp_path: Path, change: dict[str, str | None]
) -> None:
    calls: list[int] = []
    run(counting(calls), tmp_path, "blur")
    run(replace(counting(calls), **change), tmp_path, "blur")  # type: ignore[arg-type]
    assert len(calls) == 8


def test_another_network_of_a_metric_is_asked_anew(tmp_path: Path) -> None:
    asked: list[str] = []
    measure = ("composite", "lpips")
    for sha256 in ("one", "one", "two"):
        plan = Plan(SlowMetrics({measure: score(sha256, asked)}, sources={measure: sha256}))
        run(BASELINES["copy"], tmp_path, "blur", plan=plan)
    assert asked == ["one"] * 4 + ["two"] * 4

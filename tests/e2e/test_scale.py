"""The same commands on Ray: the same bytes, whatever dies in between."""

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from facemend.datasets import FaceSource, open_source
from facemend.datasets.build import PairResult, build_dataset
from facemend.datasets.pairs import PictureFormat, Recipe
from facemend.datasets.remote import Place
from facemend.datasets.shards import SHARD_PAIRS, ShardFormat, build_shards
from facemend.errors import OutputError, PictureError
from facemend.evaluation.evaluate import Plan, Setup, evaluate
from facemend.evaluation.results import EvaluationReport, ScoreCache
from facemend.evaluation.systems import BASELINES
from facemend.io import write_png
from facemend.parallel import LocalEngine, RayEngine
from facemend.reconstruction.batch import ReconstructorSetup, run_tasks
from facemend.reconstruction.options import Options
from facemend.reconstruction.outputs import plan_tasks
from tests.stand_in import COVER
from tests.tiny_celeba import contents_of, gradient, make_celeba

ray: Any = pytest.importorskip("ray", reason="needs the extra scale: pip install 'facemend[scale]'")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.*", "ignore::ResourceWarning:ray.*")


@pytest.fixture(scope="module")
def engine() -> Iterator[RayEngine]:
    """A Ray of two workers, started once for these tests."""
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    options = {"include_dashboard": False, "log_to_driver": False, "logging_level": logging.ERROR}
    ray.init(address="local", num_cpus=2, **options)
    yield RayEngine()
    ray.shutdown()


@pytest.fixture
def source(tmp_path: Path) -> FaceSource:
    return open_source(make_celeba(tmp_path / "celeba"))


def _kill_a_worker() -> None:
    """Kills one of the actors, a process below this one."""
    below = psutil.Process().children(recursive=True)
    workers = [process for process in below if "ray::MapWorker" in " ".join(process.cmdline())]
    os.kill(workers[0].pid, signal.SIGKILL)


def test_a_build_on_ray_has_the_bytes_of_a_local_one_though_a_worker_dies(
    engine: RayEngine, source: FaceSource, tmp_path: Path
) -> None:
    recipe = Recipe(150, size_px=32)
    build_dataset(source, tmp_path / "local", recipe)

    def kill_once(results: Iterable[PairResult]) -> Iterator[PairResult]:
        for place, result in enumerate(results):
            if place == 20:
                _kill_a_worker()
            yield result

    report = build_dataset(source, tmp_path / "ray", recipe, engine=engine, progress=kill_once)
    assert report.made == 150
    assert contents_of(tmp_path / "ray") == contents_of(tmp_path / "local")


def test_a_damaged_picture_is_listed_by_ray_as_well(engine: RayEngine, tmp_path: Path) -> None:
    home = make_celeba(tmp_path / "celeba", archive=False)
    (home / "img_align_celeba" / "000002.jpg").write_bytes(b"no picture")
    with pytest.raises(PictureError, match=r"000002\.jpg is not a picture.*: 1 of 6 pairs are missing"):
        build_dataset(open_source(home), tmp_path / "out", Recipe(6, size_px=32), engine=engine)
    assert len(list((tmp_path / "out/target").iterdir())) == 5


def test_what_the_work_raises_is_raised_here(engine: RayEngine) -> None:
    with pytest.raises(ZeroDivisionError):
        list(engine.run(lambda: lambda place: 1 // place, 3))


def test_photos_on_ray_come_out_as_they_do_here(
    engine: RayEngine, stand_in_model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "crops"
    for number in range(5):
        picture = gradient(256, 256, number)
        picture[100:150, 80:160] = COVER
        write_png(folder / f"{number}.png", picture)
    (folder / "bad.png").write_bytes(b"no picture")
    outcomes = {}
    for name, options in (("here", {"jobs": 1}), ("ray", {"engine": engine})):
        tasks = plan_tasks([folder], tmp_path / name, aligned=True, save_occlusion=True)
        done = list(run_tasks(ReconstructorSetup(stand_in_model), tasks, Options(aligned=True), **options))
        outcomes[name] = [(one.task.source, one.outcome, one.error) for one in done]
    assert outcomes["ray"] == outcomes["here"]
    assert [outcome for _, outcome, _ in outcomes["ray"]] == [*["reconstructed"] * 5, "failed"]
    assert len(contents_of(tmp_path / "ray")) == 10
    assert contents_of(tmp_path / "ray") == contents_of(tmp_path / "here")
    again = run_tasks(ReconstructorSetup(stand_in_model), tasks, Options(aligned=True), engine=engine)
    assert [one.outcome for one in again] == [*["skipped"] * 5, "failed"]


def test_scores_on_ray_are_those_taken_here_and_are_kept(
    engine: RayEngine, source: FaceSource, stand_in_model: Path, tmp_path: Path
) -> None:
    setup = Setup([stand_in_model], [BASELINES["copy"], BASELINES["telea"]])
    systems, slow = setup()

    def measure(cache: ScoreCache, **options: Any) -> EvaluationReport:
        kinds, plan = ("nose_mask", "sunglasses"), Plan(slow)
        return evaluate(systems, source, kinds, split="test", plan=plan, cache=cache, **options).report

    with ScoreCache(tmp_path / "here") as cache:
        here = measure(cache)
    with ScoreCache(tmp_path / "ray") as cache:
        there = measure(cache, engine=engine, open_setup=setup)
        again = measure(cache, engine=engine, open_setup=setup)
    assert _without_times(there) == _without_times(here)
    assert again == there  # times and all: they were kept


def _without_times(report: EvaluationReport) -> EvaluationReport:
    return replace(report, systems=tuple(replace(system, latency_ms=None) for system in report.systems))


def test_shards_on_ray_have_the_bytes_of_local_ones(
    engine: RayEngine, source: FaceSource, tmp_path: Path
) -> None:
    for name, where in (("here", LocalEngine(1)), ("ray", engine)):
        place, recipe = Place(str(tmp_path / name)), Recipe(SHARD_PAIRS + 4, size_px=16)
        build_shards(source, place, recipe, ShardFormat.PARQUET, PictureFormat.PNG, engine=where)
    assert len(contents_of(tmp_path / "ray")) == 6
    assert contents_of(tmp_path / "ray") == contents_of(tmp_path / "here")


def test_a_full_disk_ends_the_work_in_one_line_and_it_goes_on_from_there(
    engine: RayEngine, source: FaceSource, tmp_path: Path
) -> None:
    recipe, disk = Recipe(40, size_px=128), tmp_path / "disk"
    build_dataset(source, tmp_path / "here", recipe)
    disk.mkdir()
    if (
        os.geteuid()
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "none", disk], check=False).returncode
    ):
        pytest.skip("needs the right to mount a small disk")
    try:
        with pytest.raises(OutputError, match=r"cannot write .*: No space left on device"):
            build_dataset(source, disk / "out", recipe, engine=engine)
        assert not [name for name in contents_of(disk) if "manifest.jsonl" in name.split("/")]
        subprocess.run(["mount", "-o", "remount,size=60m", disk], check=True)
        report = build_dataset(source, disk / "out", recipe, engine=engine)
        assert report.kept < 40  # how many batches were whole before the first failed is Ray's affair
        assert contents_of(disk / "out") == contents_of(tmp_path / "here")
    finally:
        subprocess.run(["umount", disk], check=True)


def test_the_command_starts_a_ray_of_its_own_and_ctrl_c_ends_it(tmp_path: Path) -> None:
    home = make_celeba(tmp_path / "celeba")
    command = [
        sys.executable,
        "-m",
        "facemend",
        "dataset",
        "build",
        home,
        tmp_path / "out",
        "--engine",
        "ray",
    ]
    words = [*map(str, command), "--count", "100000", "--size", "64", "--workers", "1", "--quiet"]
    running = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while not (tmp_path / "out/manifest.jsonl.part").exists() or not (tmp_path / "out/target").exists():
        assert running.poll() is None
    below = psutil.Process(running.pid).children(recursive=True)
    os.killpg(running.pid, signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    assert said.splitlines()[-1] == "facemend: interrupted"
    _gone, alive = psutil.wait_procs(below, timeout=30)
    assert not alive
    assert not (tmp_path / "out/manifest.jsonl").exists()

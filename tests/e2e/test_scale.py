"""The same commands on Ray: the same bytes, whatever dies in between."""

import logging
import os
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from facemend.datasets import FaceSource, open_source
from facemend.datasets.build import Finished, build_dataset
from facemend.datasets.pairs import Recipe
from facemend.engine.ray import RayEngine
from facemend.errors import FacemendError, PictureError
from tests.tiny_celeba import make_celeba

ray: Any = pytest.importorskip("ray", reason="needs the extra scale: pip install 'facemend[scale]'")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.*", "ignore::ResourceWarning:ray.*")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two Ray nodes with a worker each, started once for all of these tests."""
    from ray.cluster_utils import Cluster

    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    nodes.add_node(num_cpus=1)
    ray.init(address=nodes.address, log_to_driver=False, logging_level=logging.ERROR)
    yield nodes
    ray.shutdown()
    nodes.shutdown()


@pytest.fixture
def engine(cluster: Any) -> RayEngine:
    return RayEngine(cluster.address)


@pytest.fixture
def source(tmp_path: Path) -> FaceSource:
    return open_source(make_celeba(tmp_path / "celeba"))


def _contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


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

    def kill_once(results: Iterable[Finished]) -> Iterator[Finished]:
        for place, result in enumerate(results):
            if place == 20:
                _kill_a_worker()
            yield result

    report = build_dataset(source, tmp_path / "ray", recipe, engine=engine, progress=kill_once)
    assert report.made == 150
    assert _contents(tmp_path / "ray") == _contents(tmp_path / "local")


def test_a_damaged_picture_is_listed_by_ray_as_well(engine: RayEngine, tmp_path: Path) -> None:
    home = make_celeba(tmp_path / "celeba", archive=False)
    (home / "img_align_celeba" / "000002.jpg").write_bytes(b"no picture")
    with pytest.raises(PictureError, match=r"000002\.jpg is not a picture.*: 1 of 6 pairs are missing"):
        build_dataset(open_source(home), tmp_path / "out", Recipe(6, size_px=32), engine=engine)
    assert len(list((tmp_path / "out/target").iterdir())) == 5


def test_what_the_work_did_not_expect_is_one_line(engine: RayEngine) -> None:
    with pytest.raises(FacemendError, match=r"^Ray could not finish the work: .*division by zero"):
        list(engine.run(lambda: lambda place: 1 // place, 3))


def test_a_build_goes_on_when_a_node_is_lost(
    cluster: Any, engine: RayEngine, source: FaceSource, tmp_path: Path
) -> None:
    recipe = Recipe(300, size_px=32)
    build_dataset(source, tmp_path / "local", recipe)

    def lose_a_node(results: Iterable[Finished]) -> Iterator[Finished]:
        for place, result in enumerate(results):
            if place == 40:
                cluster.remove_node(cluster.worker_nodes[0], allow_graceful=False)
            yield result

    report = build_dataset(source, tmp_path / "ray", recipe, engine=engine, progress=lose_a_node)
    assert report.made == 300
    assert len(cluster.worker_nodes) == 0
    assert _contents(tmp_path / "ray") == _contents(tmp_path / "local")

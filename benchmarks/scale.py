"""Ray against the local engine: what it costs, what it holds in memory, and what it survives.

    python benchmarks/scale.py [--source ../shared/celeba] [--pairs 5000] [--photos 200]
        [--only NAME,...] [--tiny]

overhead: the same build by both engines on two cores, after Ray's start. kills: the same with three
workers killed on the way. lost_node: two Ray nodes with a core each, one of them lost in the middle.
memory: the most that the command itself and one worker hold, at 1,000 and at 10,000 pairs. workers: one
against two. photos: the same photos by both engines. Every output has to have the bytes of the local one.
--tiny makes small pairs of six pictures that the script draws. Writes benchmarks/results/scale.json.
"""

import argparse
import hashlib
import json
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
from PIL import Image as PillowImage

from facemend.datasets import FaceSource, open_source
from facemend.datasets.build import PairResult, build_dataset
from facemend.datasets.pairs import Recipe
from facemend.io import write_png
from facemend.occlusion import occlude
from facemend.parallel import Engine, LocalEngine, RayEngine
from facemend.reconstruction.batch import ReconstructorSetup, run_tasks
from facemend.reconstruction.demo import read_portraits
from facemend.reconstruction.options import Options
from facemend.reconstruction.outputs import Task

_ROOT = Path(__file__).resolve().parents[1]
_NAMES = ("overhead", "kills", "workers", "memory", "lost_node", "photos")
_QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}


def main() -> None:
    """Measures, prints and writes the figures; exits with 1 where a byte differs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--source", type=Path, default=_ROOT.parent / "shared" / "celeba")
    parser.add_argument("--pairs", type=int, default=5000)
    parser.add_argument("--photos", type=int, default=200)
    parser.add_argument("--only", default=",".join(_NAMES))
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--result", type=Path, default=_ROOT / "benchmarks/results/scale.json")
    arguments = parser.parse_args()
    if not arguments.tiny and not arguments.source.exists():
        print(f"skipped: no CelebA at {arguments.source}; name it with --source")
        return
    names = arguments.only.split(",")
    known = json.loads(arguments.result.read_text()) if arguments.result.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        source = open_source(_draw_faces(home / "faces") if arguments.tiny else arguments.source)
        recipe = Recipe(arguments.pairs, size_px=32 if arguments.tiny else 256)
        bench = _Bench(source, home, recipe, arguments.photos)
        for name in names:
            found = getattr(bench, name)()
            print(name, json.dumps(found), flush=True)
            known[name] = found
            arguments.result.parent.mkdir(exist_ok=True)
            arguments.result.write_text(json.dumps(known, indent=2) + "\n")
    sys.exit(any(each.get("equal") is False for each in known.values()))


class _Bench:
    def __init__(self, source: FaceSource, home: Path, recipe: Recipe, photos: int) -> None:
        self._source, self._home, self._recipe, self._photos = source, home, recipe, photos
        self._local: tuple[float, str] | None = None

    def overhead(self) -> dict[str, Any]:
        """Wall time of both engines; Ray's start is told apart."""
        wall_s, digest = self._build_here()
        began = time.perf_counter()
        with _ray(num_cpus=2):
            start_s = time.perf_counter() - began
            ray_s, ray_digest = self._build(RayEngine(), "ray")
        return {
            "pairs": self._recipe.count,
            "local_s": wall_s,
            "ray_s": ray_s,
            "ray_start_s": round(start_s, 1),
            "overhead": round(ray_s / wall_s - 1, 3),
            "pairs_an_hour_and_core": round(self._recipe.count / ray_s * 3600 / 2),
            "equal": digest == ray_digest,
        }

    def kills(self) -> dict[str, Any]:
        """Three workers killed, at a quarter, a half and three quarters of the way."""
        _, digest = self._build_here()
        at = [self._recipe.count * part // 4 for part in (1, 2, 3)]
        killed: list[int] = []

        def kill(place: int) -> None:
            if place in at:
                killed.append(_kill_a_worker())

        with _ray(num_cpus=2):
            wall_s, ray_digest = self._build(RayEngine(), "kills", kill)
        return {
            "pairs": self._recipe.count,
            "kills": len(killed),
            "ray_s": wall_s,
            "equal": digest == ray_digest,
        }

    def workers(self) -> dict[str, Any]:
        """One worker against two, a fifth of the pairs."""
        recipe, self._recipe = self._recipe, Recipe(self._recipe.count // 5, size_px=self._recipe.size_px)
        found = {}
        with _ray(num_cpus=2):
            for workers in (1, 2):
                found[f"{workers}_s"], _ = self._build(RayEngine(workers=workers), f"workers-{workers}")
        self._recipe = recipe
        return {"pairs": recipe.count // 5, **found, "speedup": round(found["1_s"] / found["2_s"], 2)}

    def memory(self) -> dict[str, Any]:
        """The most that the driver and a worker hold, in MB, by pairs."""
        found = {}
        recipe = self._recipe
        for pairs in (recipe.count // 5, recipe.count * 2):
            self._recipe = Recipe(pairs, size_px=recipe.size_px)
            most = {"driver_mb": 0, "worker_mb": 0}

            def look(place: int, most: dict[str, int] = most) -> None:
                if place % 100 == 0:
                    worker_mb = max([_mb(worker) for worker in _workers()], default=0)
                    most["driver_mb"] = max(most["driver_mb"], _mb(psutil.Process()))
                    most["worker_mb"] = max(most["worker_mb"], worker_mb)

            with _ray(num_cpus=2):
                self._build(RayEngine(), f"memory-{pairs}", look)
            found[str(pairs)] = most
        self._recipe = recipe
        return found

    def lost_node(self) -> dict[str, Any]:
        """Two nodes with a core each; the second is lost after a third of the pairs."""
        import ray
        from ray.cluster_utils import Cluster

        _, digest = self._build_here()
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        node = cluster.add_node(num_cpus=1)
        ray.init(address=cluster.address, **_QUIET)

        def lose(place: int) -> None:
            if place == self._recipe.count // 3:
                cluster.remove_node(node, allow_graceful=False)

        try:
            wall_s, ray_digest = self._build(RayEngine(cluster.address), "lost", lose)
        finally:
            ray.shutdown()
            cluster.shutdown()  # type: ignore[no-untyped-call]
        return {"pairs": self._recipe.count, "ray_s": wall_s, "equal": digest == ray_digest}

    def photos(self) -> dict[str, Any]:
        """Photos of the two portraits under masks, one after the other of another size, by both engines."""
        sources = _take_photos(self._home / "photos", self._photos)
        local_s, digest, outcomes = self._mend(sources, "local", LocalEngine(2, "spawn"))
        with _ray(num_cpus=2):
            ray_s, ray_digest, ray_outcomes = self._mend(sources, "ray", RayEngine())
        megapixels = (
            sum(PillowImage.open(path).width * PillowImage.open(path).height for path in sources) / 1e6
        )
        return {
            "photos": len(sources),
            "megapixels_each": round(megapixels / len(sources), 2),
            "outcomes": outcomes,
            "local_s": local_s,
            "ray_s": ray_s,
            "photos_an_hour_and_core": round(len(sources) / local_s * 3600 / 2),
            "equal": (digest, outcomes) == (ray_digest, ray_outcomes),
        }

    def _mend(
        self, sources: Sequence[Path], name: str, engine: Engine
    ) -> tuple[float, str, dict[str, int]]:
        """Seconds, a digest of all that was written, and how many photos came to what."""
        out = self._home / f"mended-{name}"
        tasks = [Task(path, out / path.name, None) for path in sources]
        began = time.perf_counter()
        done = [each.outcome for each in run_tasks(ReconstructorSetup(), tasks, Options(), engine=engine)]
        wall_s = round(time.perf_counter() - began, 1)
        digest = _digest_of(out, "*.jpg")
        shutil.rmtree(out)
        return wall_s, digest, dict(Counter(done))

    def _build_here(self) -> tuple[float, str]:
        if self._local is None:
            self._local = self._build(LocalEngine(2), "local")
        return self._local

    def _build(
        self, engine: Engine, name: str, watch: Callable[[int], None] = lambda place: None
    ) -> tuple[float, str]:
        """Seconds, and a digest over the names and bytes of all that was written."""

        def watched(results: Iterable[PairResult]) -> Iterator[PairResult]:
            for place, result in enumerate(results):
                watch(place)
                yield result

        out = self._home / name
        began = time.perf_counter()
        build_dataset(self._source, out, self._recipe, engine=engine, progress=watched)
        wall_s = round(time.perf_counter() - began, 1)
        digest = _digest_of(out, "*")
        shutil.rmtree(out)
        return wall_s, digest


def _digest_of(folder: Path, pattern: str) -> str:
    """Of the names and bytes of the files that lie below a folder."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob(pattern) if path.is_file()):
        name = path.relative_to(folder).as_posix().encode()
        digest.update(name + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _take_photos(home: Path, count: int) -> list[Path]:
    """The two portraits that come with facemend under masks, 0.2 to 2 megapixels, as JPEG."""
    portraits, kinds = read_portraits(), ("nose_mask", "textured_mask", "mask_full", "blur")
    home.mkdir()
    paths = []
    for seed in range(count):
        portrait = portraits[seed % len(portraits)]
        occluded = occlude(portrait.photo, portrait.landmarks_px, kinds[seed // 2 % len(kinds)], seed).image
        scale = 1 + seed % 5 / 2
        size = round(occluded.shape[1] * scale), round(occluded.shape[0] * scale)
        paths.append(home / f"{seed:04}.jpg")
        PillowImage.fromarray(occluded).resize(size, PillowImage.Resampling.BICUBIC).save(
            paths[-1], quality=92
        )
    return paths


class _ray:  # noqa: N801
    """A Ray on this machine while the block runs."""

    def __init__(self, **options: Any) -> None:
        self._options = options

    def __enter__(self) -> None:
        import ray

        ray.init(address="local", include_dashboard=False, **_QUIET, **self._options)

    def __exit__(self, *_: object) -> None:
        import ray

        ray.shutdown()


def _workers() -> list[psutil.Process]:
    below = psutil.Process().children(recursive=True)
    return [process for process in below if "ray::MapWorker" in " ".join(process.cmdline())]


def _kill_a_worker() -> int:
    worker: int = _workers()[0].pid
    os.kill(worker, signal.SIGKILL)
    return worker


def _mb(process: psutil.Process) -> int:
    """What a process holds for itself: what it shares with Ray's object store does not count."""
    info = process.memory_info()
    return int(info.rss - info.shared) >> 20


def _draw_faces(home: Path) -> Path:
    """Six pictures of nobody."""
    import numpy as np

    rng = np.random.default_rng(0)
    for number in range(6):
        coarse = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        write_png(home / f"{number}/face.png", coarse.repeat(16, axis=0).repeat(16, axis=1))
    return home


if __name__ == "__main__":
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    main()

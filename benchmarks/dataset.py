"""Time a build of pairs beside the least that it could take, and one draw of every kind.

    python benchmarks/dataset.py [--source ../shared/celeba] [--count 20000] [--size 256] [--workers 2]

The least is to decode and crop the same faces, to encode as many pictures, and to write the files: in as
many processes and with the same encoder, but without draws, checksums, a manifest or a way to resume.
Both run one after the other; cpu_s says what they took if the machine had other work. Then the encoder is
held against Pillow's, both at level 1. Writes benchmarks/results/dataset.json.
"""

import argparse
import io
import json
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage
from PIL import __version__ as pillow_version

from facemend.datasets import FaceSource, open_source
from facemend.datasets.build import build_dataset
from facemend.datasets.pairs import Recipe, faces_for, make_pair
from facemend.images import Image
from facemend.io.png import encode_png_quickly
from facemend.occlusion import KINDS
from facemend.parallel import LocalEngine

_ROOT = Path(__file__).resolve().parents[1]
_RESULT = _ROOT / "benchmarks" / "results" / "dataset.json"
_DRAWS, _ENCODED = 200, 300


def main() -> None:
    """Measures, prints and writes the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--source", type=Path, default=_ROOT.parent / "shared" / "celeba")
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    if not arguments.source.exists():
        print(f"skipped: no CelebA at {arguments.source}; name it with --source")
        return
    recipe = Recipe(arguments.count, size_px=arguments.size)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "pairs"
        build = _time(lambda: _build(arguments.source, out, recipe, arguments.workers))
        sizes = {each.name: _mean_size(each) for each in sorted(out.iterdir()) if each.is_dir()}
        least = Path(folder) / "least"
        least.mkdir()
        limit = _time(lambda: _decode_and_encode(arguments.source, least, recipe, arguments.workers))
    source = open_source(arguments.source)
    draws = {kind: _time_draws(source, kind, arguments.size) for kind in KINDS}
    result = {
        "pairs": arguments.count,
        "size_px": arguments.size,
        "workers": arguments.workers,
        "build": build,
        "decode_and_encode_only": limit,
        "ratio": round(build["wall_s"] / limit["wall_s"], 3),
        "bytes_a_picture": sizes,
        "encoder": _compare_encoders(source, recipe),
        "milliseconds_a_draw": draws,
        "milliseconds_of_the_average_kind": round(sum(draws.values()) / len(draws), 2),
        "pillow": pillow_version,
    }
    print(json.dumps(result, indent=2))
    _RESULT.parent.mkdir(exist_ok=True)
    _RESULT.write_text(json.dumps(result, indent=2) + "\n")


def _build(path: Path, out: Path, recipe: Recipe, workers: int) -> None:
    build_dataset(open_source(path), out, recipe, engine=LocalEngine(workers))


def _decode_and_encode(path: Path, out: Path, recipe: Recipe, workers: int) -> None:
    work = _DecodeAndEncode(faces_for(open_source(path), recipe), out, recipe.size_px)
    assert sum(LocalEngine(workers).run(work.open, recipe.count)) > 0


@dataclass(frozen=True)
class _DecodeAndEncode:
    faces: FaceSource
    out: Path
    size_px: int

    def open(self) -> Callable[[int], int]:
        """The work, for an engine."""
        return self._write

    def _write(self, index: int) -> int:
        """The bytes of two colour pictures and a gray one, written."""
        crop = self.faces.crop(self.faces.records[index % len(self.faces)], self.size_px)
        written = 0
        for number, picture in enumerate((crop, crop, np.zeros_like(crop[:, :, 0]))):
            written += (self.out / f"{index}-{number}.png").write_bytes(encode_png_quickly(picture))
        return written


def _time(work: Callable[[], None]) -> dict[str, float]:
    before, began = _cpu_s(), time.perf_counter()
    work()
    taken, spent = time.perf_counter() - began, _cpu_s() - before
    return {"wall_s": round(taken, 1), "cpu_s": round(spent, 1)}


def _cpu_s() -> float:
    """Of this process and of those that it started and waited for."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _mean_size(folder: Path) -> int:
    sizes = [path.stat().st_size for path in folder.iterdir()]
    return sum(sizes) // len(sizes)


def _time_draws(source: FaceSource, kind: str, size_px: int) -> float:
    """Mean CPU milliseconds of one draw: a pair less its decoding and cropping."""
    recipe = Recipe(_DRAWS, {kind: 1.0}, size_px)
    faces = faces_for(source, recipe).first(_DRAWS)
    pictures = {record.name: faces.read(record.name) for record in faces.records}
    known = FaceSource(faces.name, faces.records, lambda name: pictures[name], faces.fingerprint)
    make_pair(known, 0, recipe)
    drawing = _cpu_ms(lambda index: make_pair(known, index, recipe))
    cropping = _cpu_ms(lambda index: known.crop(known.records[index % len(known)], size_px))
    return round(drawing - cropping, 2)


def _cpu_ms(work: Callable[[int], object], count: int = _DRAWS) -> float:
    began = time.process_time()
    for index in range(count):
        work(index)
    return 1000 * (time.process_time() - began) / count


def _compare_encoders(source: FaceSource, recipe: Recipe) -> dict[str, dict[str, float]]:
    """Mean CPU milliseconds and bytes of a colour picture, ours and Pillow's."""
    crops = [source.crop(record, recipe.size_px) for record in source.first(_ENCODED).records]
    return {
        "facemend": _time_encoder(encode_png_quickly, crops),
        "pillow": _time_encoder(_encode_with_pillow, crops),
    }


def _time_encoder(encoder: Callable[[Image], bytes], pictures: Sequence[Image]) -> dict[str, float]:
    sizes: list[int] = []
    taken_ms = _cpu_ms(lambda index: sizes.append(len(encoder(pictures[index]))), len(pictures))
    return {"milliseconds": round(taken_ms, 2), "bytes": sum(sizes) // len(sizes)}


def _encode_with_pillow(picture: Image) -> bytes:
    buffer = io.BytesIO()
    PillowImage.fromarray(picture).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


if __name__ == "__main__":
    main()

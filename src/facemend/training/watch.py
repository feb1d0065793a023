"""What a person sees of a run: JSON lines, TensorBoard, sample grids, the progress line's numbers."""

import json
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TextIO

from torch import Tensor

from facemend.files import write_text
from facemend.images import Image, write_png


class Watch:
    """Writes `log.jsonl`, `tensorboard/` and `samples/` into a run's folder.

    Args:
        run: the folder.
        images_seen: where the run goes on; what was logged beyond it, before a crash, is dropped.
    """

    _EVERY_S = 5.0

    def __init__(self, run: Path, images_seen: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._samples = run / "samples"
        run.mkdir(parents=True, exist_ok=True)
        self._log = _reopened(run / "log.jsonl", images_seen)
        self._board = SummaryWriter(str(run / "tensorboard"), purge_step=images_seen or None)
        self._means: dict[str, float] = {}
        self._validation: Mapping[str, float] = {}
        self._logged_at = time.monotonic()

    def __enter__(self) -> "Watch":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._log.close()
        self._board.close()

    def log_step(self, images_seen: int, phase: str, figures: Mapping[str, Tensor]) -> None:
        """Takes a step's losses into running means, and writes those every few seconds."""
        for name, value in figures.items():
            now = float(value)
            self._means[name] = 0.95 * self._means.get(name, now) + 0.05 * now
        if time.monotonic() - self._logged_at < self._EVERY_S:
            return
        self._logged_at = time.monotonic()
        self._write(images_seen, {"phase": phase}, {f"loss/{name}": v for name, v in self._means.items()})

    def log_validation(self, images_seen: int, figures: Mapping[str, float]) -> None:
        """Writes the figures of a validation."""
        self._validation = figures
        self._write(images_seen, {}, {f"validation/{name}": value for name, value in figures.items()})

    def save_samples(self, images_seen: int, grid: Image) -> None:
        """Writes a grid of samples as PNG."""
        write_png(self._samples / f"{images_seen:010d}.png", grid, force=True)

    def summary(self) -> str:
        """The few numbers that fit into a progress line."""
        parts = [f"G {self._means.get('generator', 0):.3f}"]
        if "discriminator" in self._means:
            parts.append(f"D {self._means['discriminator']:.3f}")
        if self._validation:
            parts.append(f"hole {self._validation['hole']:.2f} dB")
        return ", ".join(parts)

    def _write(self, images_seen: int, words: Mapping[str, str], figures: Mapping[str, float]) -> None:
        row = {"images_seen": images_seen, "time": round(time.time(), 1), **words, **figures}
        self._log.write(json.dumps(row) + "\n")
        self._log.flush()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tensorboard's own deprecations are not ours to mend
            for name, value in figures.items():
                self._board.add_scalar(name, value, images_seen)


def _reopened(path: Path, images_seen: int) -> TextIO:
    if path.exists():
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if json.loads(line)["images_seen"] <= images_seen]
        write_text(path, "".join(kept), force=True)
    return path.open("a", encoding="utf-8")

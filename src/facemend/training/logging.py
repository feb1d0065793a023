"""What a run logs: losses, scores and samples; and the check that stops a run that diverges."""

import json
import math
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO, TypeVar

from accelerate import Accelerator

from facemend.errors import OutputError, TrainingError
from facemend.files import open_log, parse_json, read_own, write_text
from facemend.images import Image
from facemend.io import write_png
from facemend.training.config import TrainingConfig

_Batch = TypeVar("_Batch")


class RunLogger:
    """Writes `log.jsonl`, `tensorboard/` and `samples/` into a run's folder, and to its trackers.

    Of the processes that train together, only the first writes.

    Args:
        run: the folder.
        images_seen: where the run resumes. What was logged beyond it, before a crash, is dropped.
        accelerator: knows the trackers that the config names.
    """

    def __init__(
        self, run: Path, images_seen: int, config: TrainingConfig, accelerator: Accelerator
    ) -> None:
        self._samples, self._every_s = run / "samples", config.log_seconds
        self._accelerator = accelerator
        self._means: dict[str, float] = {}
        self._validation: Mapping[str, float] = {}
        self._holes: list[tuple[int, float]] = []
        self._logged_at, self._waited_s, self._wait_share = time.monotonic(), 0.0, 0.0
        self._log: TextIO | None = None
        if accelerator.is_main_process:
            self._open(run, images_seen, config)

    def _open(self, run: Path, images_seen: int, config: TrainingConfig) -> None:
        from torch.utils.tensorboard import SummaryWriter

        run.mkdir(parents=True, exist_ok=True)
        rows, self._log = _reopened(run / "log.jsonl", images_seen)
        validations = [row for row in rows if "validation/hole" in row]
        self._holes = [(row["images_seen"], row["validation/hole"]) for row in validations]
        self._board = SummaryWriter(str(run / "tensorboard"), purge_step=images_seen or None)
        if config.trackers:
            self._accelerator.init_trackers(config.name, {"config": config.model_dump_json()})

    def __enter__(self) -> "RunLogger":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._log is not None:
            self._log.close()
            self._board.close()
            for tracker in self._accelerator.trackers:
                tracker.finish()

    def wait_for(self, batches: Iterable[_Batch]) -> Iterator[_Batch]:
        """The same batches, while it counts the time that the run waits for each."""
        began = time.monotonic()
        for batch in batches:
            self._waited_s += time.monotonic() - began
            yield batch
            began = time.monotonic()

    def best_hole(self, since_images: int) -> float:
        """The best `hole` in dB of the validations after so many images; minus infinity without any."""
        return max((hole for seen, hole in self._holes if seen > since_images), default=float("-inf"))

    def log_step(self, images_seen: int, phase: str, losses: Mapping[str, float]) -> None:
        """Adds a step's losses to running means, and writes those every few seconds."""
        for name, now in losses.items():
            self._means[name] = 0.95 * self._means.get(name, now) + 0.05 * now
        now_s = time.monotonic()
        if now_s - self._logged_at < self._every_s:
            return
        self._wait_share = self._waited_s / (now_s - self._logged_at)
        self._logged_at, self._waited_s = now_s, 0.0
        means = {f"loss/{name}": mean for name, mean in self._means.items()}
        self._write(images_seen, {"phase": phase}, {"data_wait": self._wait_share, **means})

    def log_validation(self, images_seen: int, scores: Mapping[str, float]) -> None:
        """Writes the scores of a validation."""
        self._validation = scores
        self._holes.append((images_seen, scores["hole"]))
        self._write(images_seen, {}, {f"validation/{name}": value for name, value in scores.items()})

    def save_samples(self, images_seen: int, grid: Image) -> None:
        """Writes a grid of samples as PNG."""
        write_png(self._samples / f"{images_seen:010d}.png", grid, force=True)

    def summary(self) -> str:
        """The few numbers that fit into a progress line."""
        parts = [f"waits {self._wait_share:.1%}", f"G {self._means.get('generator', 0):.3f}"]
        if "discriminator" in self._means:
            parts.append(f"D {self._means['discriminator']:.3f}")
        if self._validation:
            hole, whole, ssim = (self._validation[name] for name in ("hole", "composite", "ssim"))
            parts.append(f"hole {hole:.2f} dB, all {whole:.2f} dB / {ssim:.3f}")
        return ", ".join(parts)

    def _write(self, images_seen: int, words: Mapping[str, str], values: Mapping[str, float]) -> None:
        if self._log is None:
            return
        row = {"images_seen": images_seen, "time": round(time.time(), 1), **words, **values}
        self._log.write(json.dumps(row) + "\n")
        self._log.flush()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tensorboard's own deprecations are not ours to fix
            for name, value in values.items():
                self._board.add_scalar(name, value, images_seen)
        self._accelerator.log(dict(values), step=images_seen)


def _reopened(path: Path, images_seen: int) -> tuple[list[dict[str, Any]], TextIO]:
    """The rows up to there, and the file with these rows, open for more. A torn last line is dropped."""
    rows = []
    try:
        if path.exists():
            rows = [row for row in read_log(path) if row["images_seen"] <= images_seen]
            write_text(path, "".join(json.dumps(row) + "\n" for row in rows), force=True)
        return rows, open_log(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error


def read_log(path: Path) -> list[dict[str, Any]]:
    """The rows of a run's log. A line that is torn, or not a row, is skipped.

    Raises:
        OSError: it is a link, not a regular file, or cannot be read.
    """
    rows = []
    for line in read_own(path).splitlines():
        with suppress(ValueError):
            row = parse_json(line)
            if isinstance(row, dict) and isinstance(row.get("images_seen"), int):
                # Numbers have a slash in their names (loss/l1), words such as the phase have none.
                rows.append({k: v for k, v in row.items() if isinstance(v, int | float) or "/" not in k})
    return rows


_SETTLED_STEPS = 50
_EXPLODED = 100.0
"""A loss may reach this many times its usual size. A loss that is usually below 1 may jump to this."""


class DivergenceCheck:
    """Keeps a running mean of each loss's size, and ends the run when a loss goes far beyond it."""

    def __init__(self) -> None:
        self._usual: dict[str, float] = {}
        self._steps = 0

    def check(self, losses: Mapping[str, float], images_seen: int) -> None:
        """Checks one step's losses.

        Raises:
            TrainingError: one is NaN or infinite, or far beyond its running mean.
        """
        for name, loss in losses.items():
            size, usual = abs(loss), self._usual.get(name, abs(loss))
            if not math.isfinite(loss):
                self._stop(f"the loss {name} is no number any more", images_seen)
            if self._steps >= _SETTLED_STEPS and size > _EXPLODED * max(usual, 1):
                self._stop(f"the loss {name} has exploded from {usual:.3g} to {size:.3g}", images_seen)
            self._usual[name] = 0.98 * usual + 0.02 * size
        self._steps += 1

    def _stop(self, what: str, images_seen: int) -> None:
        raise TrainingError(
            f"{what} in the step after {images_seen} images; the last checkpoint is from before; try a "
            "lower learning_rate"
        )

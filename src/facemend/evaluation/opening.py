"""Opens what a user wants measured: model files, other systems' networks, and folders of pictures."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from facemend.evaluation.figures import SlowMetrics, open_slow_metrics
from facemend.evaluation.foreign import open_foreign
from facemend.evaluation.submission import open_submission
from facemend.evaluation.systems import OpenModel, System, open_model


def open_systems(
    paths: Sequence[Path], threads: int | None = None, open_model: OpenModel = open_model
) -> list[System]:
    """What stands behind each path: a facemend model, a TOML file about a network, or a folder.

    Systems of one name get the beginning of their sha256 into it.

    Args:
        threads: of the processor; None lets ONNX Runtime choose.
        open_model: opens a facemend model file (see `protocol.Protocol`).

    Raises:
        ModelError: a file is no model, or a folder no system's pictures.
        ConfigError: a TOML file does not describe a network.
    """
    systems = [_open(path, threads, open_model) for path in paths]
    times = Counter(system.name for system in systems)
    return [
        system
        if times[system.name] == 1
        else replace(system, name=f"{system.name} {str(system.sha256)[:8]}")
        for system in systems
    ]


def _open(path: Path, threads: int | None, open_model: OpenModel) -> System:
    if path.is_dir():
        return open_submission(path)
    return open_foreign(path, threads) if path.suffix == ".toml" else open_model(path, threads)


@dataclass(frozen=True)
class Bench:
    """All that measures and is measured; each worker of an engine opens it for itself.

    Attributes:
        models: as `open_systems` takes them.
        baselines: beside them.
        identity, lpips, fid: as `open_slow_metrics` takes them.
        threads: of the processor, for each; None lets ONNX Runtime choose.
        open_model: as `open_systems` takes it.
    """

    models: Sequence[Path]
    baselines: Sequence[System] = ()
    identity: bool = False
    lpips: Path | None = None
    fid: Path | None = None
    threads: int | None = None
    open_model: OpenModel = open_model

    def __call__(self) -> tuple[list[System], SlowMetrics]:
        """Opens them. Raises what `open_systems` and `open_slow_metrics` do."""
        slow = open_slow_metrics(
            identity=self.identity, lpips=self.lpips, fid=self.fid, threads=self.threads
        )
        return [*open_systems(self.models, self.threads, self.open_model), *self.baselines], slow

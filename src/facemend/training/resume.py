"""Which runs may go on from which checkpoints, and which code made them."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from facemend.errors import TrainingError
from facemend.training.checkpoint import Checkpoint
from facemend.training.config import TrainingConfig

_CHANGES_NOTHING = (
    "checkpoint_minutes",
    "log_seconds",
    "trackers",
    "validate_images",
    "validation_faces",
    "workers",
)


def check_same_run(saved: Checkpoint, config: TrainingConfig, people: tuple[str, ...] | None) -> None:
    """Makes sure that a checkpoint is of the same people and, as far as it has come, the same config.

    Phases that have not begun may have changed, as may the length of the one that has, and what changes
    no result (how often to save and to validate, workers).

    Args:
        people: hashed identities of everybody that is trained on; None if unknown.

    Raises:
        TrainingError: it was made by another config, or on other faces.
    """
    seen = saved.progress.images_seen
    old, new = (_past(each.model_dump(mode="json"), seen) for each in (saved.settings(), config))
    if changed := _differences(old, new):
        raise TrainingError(
            f"the run's config has changed ({', '.join(changed[:3])}); choose another folder, or "
            "start anew with --fresh"
        )
    if saved.training_people != people:
        raise TrainingError("the run was begun on other faces; choose another folder, or add --fresh")


def _past(config: Mapping[str, Any], images_seen: int) -> dict[str, Any]:
    """What of a config (as JSON-like data) has had its effect after so many images."""
    phases, start = [], 0
    for phase in config["phases"]:
        if start >= images_seen:
            break
        start += phase["images"]
        over = start <= images_seen
        phases.append(phase if over else {key: value for key, value in phase.items() if key != "images"})
    kept = {key: value for key, value in config.items() if key not in _CHANGES_NOTHING}
    return {**kept, "phases": phases}


def _differences(old: object, new: object, place: str = "") -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(old.keys() | new.keys())
        return [
            d for key in keys for d in _differences(old.get(key), new.get(key), f"{place}.{key}".strip("."))
        ]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [
            d
            for n, pair in enumerate(zip(old, new, strict=True))
            for d in _differences(*pair, f"{place}.{n}")
        ]
    return [] if old == new else [f"{place}: {old} -> {new}"]


def current_commit() -> str:
    """The git commit of the code that runs, "unknown" outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"

"""Occlusions: what hides a face, drawn with its exact alpha. Each family has a file.

The names below are imported when they are first used: who reconstructs a photo draws no occlusion.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    from facemend.occlusion.cutouts import cutout_kind
    from facemend.occlusion.kinds import (
        BENCHMARK_KINDS,
        CUTOUTS,
        FOLDER_KINDS,
        KINDS,
        REAL_MASK,
        SEED_SET,
        allowed_kinds,
        choose_kind,
        kinds_with,
        occlude,
    )
    from facemend.occlusion.real_masks import real_mask_kind
    from facemend.occlusion.types import Extent, Kind, OccludedFace, Occlusion, OcclusionClass

__all__ = [
    "BENCHMARK_KINDS",
    "CUTOUTS",
    "FOLDER_KINDS",
    "KINDS",
    "REAL_MASK",
    "SEED_SET",
    "Extent",
    "Kind",
    "OccludedFace",
    "Occlusion",
    "OcclusionClass",
    "allowed_kinds",
    "choose_kind",
    "cutout_kind",
    "kinds_with",
    "occlude",
    "real_mask_kind",
]

_TYPES = ("Extent", "Kind", "OccludedFace", "Occlusion", "OcclusionClass")
_ELSEWHERE = {"cutout_kind": "cutouts", "real_mask_kind": "real_masks"} | dict.fromkeys(_TYPES, "types")


def __getattr__(name: str) -> "Any":
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = _ELSEWHERE.get(name, "kinds")
    return getattr(import_module(f"facemend.occlusion.{module}"), name)


def __dir__() -> list[str]:
    return __all__

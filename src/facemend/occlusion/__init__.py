"""Occlusions: what hides a face, drawn with its exact alpha. Each family has a file."""

from facemend.occlusion.cutouts import cutout_kind
from facemend.occlusion.real_masks import real_mask_kind
from facemend.occlusion.sampling import (
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
    seed_of,
)
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
    "seed_of",
]

"""Occlusions: what hides a face, drawn with its exact alpha. One file a family."""

from facemend.occlusion.sampler import KINDS, SEED_SET, Kind, choose_kind, occlude, seed_of
from facemend.occlusion.types import Extent, OccludedFace, Occlusion, OcclusionClass

__all__ = [
    "KINDS",
    "SEED_SET",
    "Extent",
    "Kind",
    "OccludedFace",
    "Occlusion",
    "OcclusionClass",
    "choose_kind",
    "occlude",
    "seed_of",
]

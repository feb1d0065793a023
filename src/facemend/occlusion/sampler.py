"""Draws an occlusion onto a face: picture + landmarks + seed -> occluded picture and exact alpha."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from facemend.errors import UsageError
from facemend.frame import Points
from facemend.images import Image
from facemend.occlusion import blur, masks
from facemend.occlusion.geometry import FaceGeometry, face_geometry
from facemend.occlusion.types import Layer, OccludedFace, Occlusion, OcclusionClass


@dataclass(frozen=True)
class Kind:
    """One kind of occlusion: how it is drawn, and which class it belongs to."""

    draw: Callable[[Image, FaceGeometry, np.random.Generator], Layer]
    occlusion_class: OcclusionClass


KINDS: Mapping[str, Kind] = {
    "nose_mask": Kind(masks.nose_mask, OcclusionClass.COVERS),
    "blur": Kind(blur.blur, OcclusionClass.COVERS),
    "blur_full": Kind(blur.blur_full, OcclusionClass.COVERS),
    "mask_full": Kind(masks.mask_full, OcclusionClass.COVERS),
}
"""Every kind by its name. A new one is a function, a line here and a golden picture."""


def seed_of(*parts: str | int) -> int:
    """A seed that depends on the parts alone: the same on every machine and in every process."""
    text = "\0".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def occlude(image: Image, landmarks_px: Points | None, kind: str, seed: int) -> OccludedFace:
    """Draws one occlusion of the given kind.

    Args:
        image: (H, W, 3) uint8 RGB, a face crop of any size.
        landmarks_px: (5, 2) in its pixels, in the order of `frame.LANDMARK_NAMES`, or None for the
            canonical ones.
        kind: a key of KINDS.
        seed: the same seed gives the same bytes.

    Raises:
        UsageError: an unknown kind.
    """
    if kind not in KINDS:
        raise UsageError(f"unknown occlusion {kind!r}; choose from {', '.join(KINDS)}")
    height_px, width_px = image.shape[:2]
    face = face_geometry(landmarks_px, width_px, height_px)
    layer = KINDS[kind].draw(image, face, np.random.default_rng(seed))
    occlusion = Occlusion(
        kind, KINDS[kind].occlusion_class, layer.extent, layer.alpha, seed, layer.parameters
    )
    return OccludedFace(blend(image, layer), image, occlusion)


def blend(image: Image, layer: Layer) -> Image:
    """Paints a layer onto a picture; where alpha is 0 the picture keeps its bytes."""
    touched = layer.alpha > 0
    weight = layer.alpha[touched][:, None]
    below = image[touched].astype(np.float32)
    paint = layer.paint if layer.paint.ndim == 1 else layer.paint[touched]
    result = image.copy()
    result[touched] = np.rint(below + weight * (paint.astype(np.float32) - below)).astype(np.uint8)
    return result


def choose_kind(shares: Mapping[str, float], rng: np.random.Generator) -> str:
    """Draws a kind by its share; shares need not add up to 1, and their order does not matter.

    Raises:
        UsageError: an unknown kind, a negative share, or nothing to choose from.
    """
    unknown = [kind for kind in shares if kind not in KINDS]
    if unknown:
        raise UsageError(f"unknown occlusion {unknown[0]!r}; choose from {', '.join(KINDS)}")
    kinds = sorted(shares)
    weights = np.array([shares[kind] for kind in kinds], dtype=np.float64)
    if not np.isfinite(weights).all() or (weights < 0).any() or weights.sum() <= 0:
        raise UsageError("occlusion shares must be positive, for example nose_mask=0.5,blur=0.5")
    return kinds[int(rng.choice(len(weights), p=weights / weights.sum()))]

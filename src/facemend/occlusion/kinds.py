"""Draws an occlusion onto a face: picture + landmarks + seed -> occluded picture and exact alpha."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from facemend.alignment import Points
from facemend.errors import UsageError
from facemend.images import Image
from facemend.occlusion import blurs, flat, glasses, masks, objects, worn_masks
from facemend.occlusion.canvas import blend
from facemend.occlusion.cutouts import cutout_kind
from facemend.occlusion.geometry import face_geometry
from facemend.occlusion.real_masks import real_mask_kind
from facemend.occlusion.types import Kind, OccludedFace, Occlusion, OcclusionClass

KINDS: Mapping[str, Kind] = {
    "nose_mask": Kind(flat.nose_mask, OcclusionClass.COVERS),
    "blur": Kind(blurs.blur, OcclusionClass.COVERS),
    "blur_full": Kind(blurs.blur_full, OcclusionClass.COVERS),
    "mask_full": Kind(flat.mask_full, OcclusionClass.COVERS),
    "textured_mask": Kind(worn_masks.textured_mask, OcclusionClass.COVERS),
    "balaclava": Kind(masks.balaclava, OcclusionClass.COVERS),
    "blur_soft": Kind(blurs.blur_soft, OcclusionClass.COVERS),
    "pixelate": Kind(blurs.pixelate, OcclusionClass.COVERS),
    "patch_full": Kind(flat.patch_full, OcclusionClass.COVERS),
    "eye_bar": Kind(flat.eye_bar, OcclusionClass.COVERS),
    "eye_patch": Kind(flat.eye_patch, OcclusionClass.COVERS),
    "sunglasses": Kind(glasses.sunglasses, OcclusionClass.ACCESSORIES),
    "object": Kind(objects.object_, OcclusionClass.ACCESSORIES),
}
"""Every kind by its name. A new one is a function, a line here and a golden picture."""

BENCHMARK_KINDS: Mapping[str, Kind] = {
    **KINDS,
    "textured_mask": Kind(masks.benchmark_mask, OcclusionClass.COVERS),
    "object": Kind(objects.benchmark_object, OcclusionClass.ACCESSORIES),
}
"""The same names with patterns that KINDS never draws, so that no model was trained on them."""

SEED_SET = ("nose_mask", "blur", "blur_full", "mask_full")
"""The kinds that the original project occludes with."""


CUTOUTS, REAL_MASK = "cutouts", "real_mask"
FOLDER_KINDS: Mapping[str, Callable[[Path], Kind]] = {
    CUTOUTS: cutout_kind,
    REAL_MASK: partial(real_mask_kind, part="train"),
}
"""The kinds that need a folder of cut-outs, by name. `real_mask` leaves out the photographs that are held
out for measuring."""


def kinds_with(shares: Mapping[str, float], cutouts: Path | None) -> Mapping[str, Kind]:
    """KINDS, and those of FOLDER_KINDS that have a share.

    Args:
        cutouts: the folder that they are drawn from.

    Raises:
        SourceError, PictureError: the folder cannot be used.
    """
    if cutouts is None:
        return KINDS
    return {**KINDS, **{name: make(cutouts) for name, make in FOLDER_KINDS.items() if name in shares}}


def occlude(
    image: Image, landmarks_px: Points | None, kind: str, seed: int, kinds: Mapping[str, Kind] = KINDS
) -> OccludedFace:
    """Draws one occlusion of the given kind.

    Args:
        image: (H, W, 3) uint8 RGB, a face crop of any size.
        landmarks_px: (5, 2) in its pixels, in the order of `frame.LANDMARK_NAMES`, or None for the
            canonical ones.
        kind: a key of `kinds`.
        seed: the same seed gives the same bytes.
        kinds: what can be drawn. Your own pictures join it as
            `{**KINDS, "mine": cutout_kind(folder)}`.

    Raises:
        UsageError: an unknown kind.
    """
    if kind not in kinds:
        raise UsageError(f"unknown occlusion {kind!r}; choose from {', '.join(kinds)}")
    height_px, width_px = image.shape[:2]
    face = face_geometry(landmarks_px, width_px, height_px)
    layer = kinds[kind].draw(image, face, np.random.default_rng(seed))
    below = image if layer.underlay is None else blend(image, layer.underlay)
    occluded, target, alpha = blend(below, layer), below, layer.alpha
    if layer.overlay is not None:
        occluded, target = blend(occluded, layer.overlay), blend(target, layer.overlay)
        alpha = alpha * (1 - layer.overlay.alpha)
    occlusion = Occlusion(kind, kinds[kind].occlusion_class, layer.extent, alpha, seed, layer.parameters)
    return OccludedFace(occluded, target, occlusion)


def allowed_kinds(shares: Mapping[str, float], attributes: Mapping[str, bool]) -> dict[str, float]:
    """The shares of the kinds that a face can take. A face with glasses takes no sunglasses.

    Args:
        shares: how often each kind is to be drawn.
        attributes: CelebA's, by name. Empty where nothing is known.

    Returns:
        May be empty, or all 0: then no kind in `shares` fits this face.
    """
    glasses = attributes.get("Eyeglasses", False)
    return {kind: share for kind, share in shares.items() if not (glasses and kind == "sunglasses")}


def choose_kind(
    shares: Mapping[str, float], rng: np.random.Generator, kinds: Mapping[str, Kind] = KINDS
) -> str:
    """Draws a kind by its share. Shares need not add up to 1, and their order does not matter.

    Raises:
        UsageError: an unknown kind, a negative share, or nothing to choose from.
    """
    unknown = [kind for kind in shares if kind not in kinds]
    if unknown:
        raise UsageError(f"unknown occlusion {unknown[0]!r}; choose from {', '.join(kinds)}")
    names = sorted(shares)
    weights = np.array([shares[name] for name in names], dtype=np.float64)
    if not np.isfinite(weights).all() or (weights < 0).any() or weights.sum() <= 0:
        raise UsageError("occlusion shares must be positive, for example nose_mask=0.5,blur=0.5")
    return names[int(rng.choice(len(weights), p=weights / weights.sum()))]

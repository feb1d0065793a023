"""Types: an occlusion, its kind, and the layer that a drawing function returns."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from facemend.images import Alpha, Image, Mask

if TYPE_CHECKING:
    from facemend.occlusion.geometry import FaceGeometry

Parameter = float | int | str | tuple[float, ...] | tuple[int, ...]


class Extent(StrEnum):
    """How much of the face an occlusion hides."""

    PARTIAL = "partial"
    FULL = "full"


class OcclusionClass(StrEnum):
    """What a user wants removed: covers by default, accessories (glasses, hands) on request."""

    COVERS = "covers"
    ACCESSORIES = "accessories"


@dataclass(frozen=True)
class Layer:
    """What a drawing function paints, before it is blended onto the face.

    Attributes:
        alpha: float32 (H, W), 0-1.
        paint: uint8 (H, W, 3) RGB, or one colour (3,).
        extent: partial or full.
        parameters: the random choices, for the manifest.
        overlay: what lies over the occlusion and is not part of it (hair, glasses, a hand). It is painted
            onto the occluded picture and the target. Its own extent and parameters are not used.
        underlay: what lies under and beside the occlusion and is not part of it (a cap, a collar, a scarf).
            It is painted onto the occluded picture and the target before the occlusion, whose paint must
            take it into account.
    """

    alpha: Alpha
    paint: npt.NDArray[np.uint8]
    extent: Extent
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    overlay: "Layer | None" = None
    underlay: "Layer | None" = None


@dataclass(frozen=True)
class Kind:
    """One kind of occlusion.

    Attributes:
        draw: draws it onto a picture (H, W, 3) with a face at the given location.
        occlusion_class: covers or accessories.
    """

    draw: "Callable[[Image, FaceGeometry, np.random.Generator], Layer]"
    occlusion_class: OcclusionClass


@dataclass(frozen=True)
class Occlusion:
    """What hides a part of a face, with its exact alpha.

    Attributes:
        kind: a key of `facemend.occlusion.KINDS`.
        occlusion_class: covers or accessories.
        extent: partial or full.
        alpha: float32 (H, W), 0 = visible, 1 = hidden.
        seed: draws the same occlusion again.
        parameters: the random choices.
    """

    kind: str
    occlusion_class: OcclusionClass
    extent: Extent
    alpha: Alpha
    seed: int
    parameters: Mapping[str, Parameter]

    def __post_init__(self) -> None:
        if self.alpha.ndim != 2 or self.alpha.dtype != np.float32:
            raise ValueError(f"alpha is {self.alpha.dtype} {self.alpha.shape}, not float32 (H, W)")
        if self.alpha.size and not 0 <= float(self.alpha.min()) <= float(self.alpha.max()) <= 1:
            raise ValueError("alpha leaves [0, 1]")

    @property
    def mask(self) -> Mask:
        """bool (H, W): every pixel that the occlusion touches (the hole)."""
        return self.alpha > 0

    @property
    def coverage(self) -> float:
        """Share of the picture that the hole takes, 0-1."""
        return float(self.mask.mean())


@dataclass(frozen=True)
class OccludedFace:
    """The occluded picture, the picture that a reconstruction should give, and the exact occlusion.

    Attributes:
        image: uint8 (H, W, 3) RGB, occluded. Equal to `target` wherever alpha is 0.
        target: uint8 (H, W, 3) RGB: the face without the occlusion, but with what lay over it.
        occlusion: the difference between the two.
    """

    image: Image
    target: Image
    occlusion: Occlusion

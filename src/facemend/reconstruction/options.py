"""What a user may choose. Light to import, so that the command line can name the choices in its help."""

from enum import StrEnum

THRESHOLD = 0.5
"""An alpha above it is an occlusion."""


class Device(StrEnum):
    """Where a model computes; `auto` takes CUDA where ONNX Runtime has it, else the CPU."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class Remove(StrEnum):
    """What to reconstruct: covers (masks, blur), accessories (glasses, hands), or all that hides a face."""

    COVERS = "covers"
    ACCESSORIES = "accessories"
    ALL = "all"

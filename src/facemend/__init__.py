"""facemend reconstructs what hides a face: `facemend.reconstruct("photo.jpg").image`.

Nothing heavy is imported before it is used, and here nothing that Python has not loaded at its own start:
`python -m facemend` imports this before it can leave the current folder out (`safe_path`).
"""

from importlib import import_module

from facemend.errors import FacemendError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from facemend.detection import Face
    from facemend.reconstruction.reconstructor import Reconstruction, Reconstructor, find, reconstruct
    from facemend.video.outputs import reconstruct_video
    from facemend.video.reconstructor import reconstruct_frames

__version__ = "0.1.0"

__all__ = [
    "Face",
    "FacemendError",
    "Reconstruction",
    "Reconstructor",
    "__version__",
    "find",
    "reconstruct",
    "reconstruct_frames",
    "reconstruct_video",
]

_HOMES = {
    "Face": "facemend.detection",
    "Reconstruction": "facemend.reconstruction.reconstructor",
    "Reconstructor": "facemend.reconstruction.reconstructor",
    "find": "facemend.reconstruction.reconstructor",
    "reconstruct": "facemend.reconstruction.reconstructor",
    "reconstruct_frames": "facemend.video.reconstructor",
    "reconstruct_video": "facemend.video.outputs",
}


def __getattr__(name: str) -> "Any":
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__

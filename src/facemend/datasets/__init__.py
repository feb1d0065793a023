"""Datasets: faces from CelebA or from any folder, their splits, and occluded pairs made of them."""

from pathlib import Path

from facemend.datasets.celeba import is_celeba, open_celeba
from facemend.datasets.faces import FaceRecord, FaceSource, hash_identity, known_identities
from facemend.datasets.folder import open_folder
from facemend.datasets.splits import Split, check_no_leak, take_split

__all__ = [
    "FaceRecord",
    "FaceSource",
    "Split",
    "check_no_leak",
    "hash_identity",
    "known_identities",
    "open_source",
    "take_split",
]


def open_source(path: Path) -> FaceSource:
    """Opens CelebA in its official layout, or any folder of face crops.

    Raises:
        SourceError: neither is there.
    """
    return open_celeba(path) if is_celeba(path) else open_folder(path)

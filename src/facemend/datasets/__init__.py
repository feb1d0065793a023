"""Datasets: faces from CelebA or any folder, their splits, and occluded pairs made of them."""

from collections.abc import Iterable
from pathlib import Path

from facemend.datasets.celeba import is_celeba, open_celeba
from facemend.datasets.faces import FaceRecord, FaceSource, hash_identity, known_identities
from facemend.datasets.folder import open_folder, open_table, table_of
from facemend.datasets.remote import ARCHIVES, is_url, open_stored
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


def open_source(where: Path | str, *, leave_out: Iterable[Path] = ()) -> FaceSource:
    """Opens CelebA in its official layout, any folder of face crops, or a URL or archive of them.

    Args:
        where: a path, or the text of a path or a URL, such as s3://bucket/faces.
        leave_out: output folders. Pictures in them are not faces of a folder that holds them.

    Raises:
        SourceError: it does not hold faces.
    """
    path = Path(where)
    if is_url(str(where)) or (path.suffix.lower() in ARCHIVES and not is_celeba(path)):
        return open_stored(str(where))
    if is_celeba(path):
        return open_celeba(path)
    return open_folder(path, leave_out) if table_of(path) is None else open_table(path)

"""Any folder of pairs as training data: pix2pix is a general method, faces are one use of it.

What is shown becomes `occluded`, what shall be drawn becomes `target`, and the hole is everything: so
every loss and every network works as it does on faces.
"""

from pathlib import Path
from typing import Literal

import numpy as np

from facemend.datasets import FaceRecord, FaceSource
from facemend.datasets.faces import fingerprint_of
from facemend.errors import PictureError, SourceError
from facemend.images import PICTURE_SUFFIXES, Image, resize
from facemend.occlusion import OcclusionClass
from facemend.photos import read_image
from facemend.training.batches import Sample
from facemend.training.data import CLASSES, Shown, cut_enlarged

Form = Literal["folders", "side_by_side"]
_SHOWN, _TARGET = "occluded", "target"


def open_pairs(root: Path, form: Form) -> FaceSource:
    """Opens a folder of pairs; each is a record, and nobody's picture but its own.

    Args:
        form: `folders`, pictures of the same names in `occluded/` and `target/`, or `side_by_side`, both
            in one picture, what is shown on the left.

    Raises:
        SourceError: no such folder, no pictures in it, or one of a pair is missing.
    """
    shown = root / _SHOWN if form == "folders" else root
    if not shown.is_dir():
        raise SourceError(f"{shown} is no folder; see data.pairs in docs/training.md")
    paths = sorted(path for path in shown.rglob("*") if path.suffix.lower() in PICTURE_SUFFIXES)
    if not paths:
        raise SourceError(f"{shown} holds no pictures")
    names = [path.relative_to(shown).as_posix() for path in paths]
    if form == "folders":
        targets = [root / _TARGET / name for name in names]
        if missing := [path for path in targets if not path.exists()]:
            raise SourceError(f"{missing[0]} is missing: every picture of {_SHOWN}/ needs its {_TARGET}/")
        paths += targets
    newest = max(path.stat().st_mtime_ns for path in paths)
    records = [FaceRecord(name, f"{root.name}:{name}") for name in names]
    reader = _Reader(root, form)
    return FaceSource(root.name, records, reader, fingerprint_of(form, newest, *names))


class _Reader:
    """Reads a pair as one picture (H, 2 · W, 3), what is shown on the left."""

    def __init__(self, root: Path, form: Form) -> None:
        self._root, self._form = root, form

    def __call__(self, name: str) -> Image:
        if self._form == "side_by_side":
            return read_image(self._root / name)
        shown, target = (read_image(self._root / part / name) for part in (_SHOWN, _TARGET))
        if shown.shape != target.shape:
            raise PictureError(f"{name} has another size in {_SHOWN}/ than in {_TARGET}/")
        return np.hstack([shown, target])


def decode_pair(source: FaceSource, record: FaceRecord, size_px: int) -> Image:
    """A pair with both pictures resized to squares: uint8 (size, 2 · size, 3) RGB, see `data.Decode`.

    Raises:
        PictureError: it cannot be read, or has an odd width.
    """
    pair = source.read(record.name)
    if pair.shape[1] % 2:
        raise PictureError(f"{record.name} is {pair.shape[1]} pixels wide and so has no two equal halves")
    return np.hstack([resize(half, size_px, size_px) for half in halves(pair)])


def halves(pair: Image) -> tuple[Image, Image]:
    """What is shown and what shall be drawn, of a picture that holds both side by side."""
    middle = pair.shape[1] // 2
    return np.ascontiguousarray(pair[:, :middle]), np.ascontiguousarray(pair[:, middle:])


class PairedPictures(Shown):
    """Pairs of pictures, jittered and mirrored alike."""

    def _show(self, record: int, rng: np.random.Generator) -> Sample:
        size_px, jitter_px = self._size_px, self._config.jitter_px
        shown, target = halves(np.asarray(self._crops.images[record]))
        if jitter_px:
            corner = rng.integers(0, jitter_px - size_px + 1, 2)
            shown, target = (cut_enlarged(half, jitter_px, corner, size_px) for half in (shown, target))
        if self._config.flip and rng.random() < 0.5:
            shown, target = shown[:, ::-1], target[:, ::-1]
        alpha = np.zeros((len(CLASSES), size_px, size_px), dtype=np.float32)
        alpha[CLASSES.index(OcclusionClass.COVERS)] = 1
        hint = np.zeros((1, size_px, size_px), dtype=np.float32)
        return Sample(shown, target, alpha, hint, rng.integers(0, size_px, 2))

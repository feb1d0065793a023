"""A CelebA of a few procedural pictures in the official layout, for tests of everything that reads it."""

import csv
import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from facemend.alignment import FRAME_HEIGHT_PX, FRAME_LANDMARKS_PX, FRAME_WIDTH_PX

PEOPLE = (11, 12, 11, 13, 14, 12)
"""Who the pictures show, one number a picture."""


def gradient(width_px: int, height_px: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    """A smooth colour gradient with waves: (H, W, 3) uint8, another one for each seed."""
    y, x = np.mgrid[0:height_px, 0:width_px] / max(width_px, height_px)
    waves = [np.sin((3 + c) * x + (2 + seed % 5) * y * (c + 1) + seed + c) for c in range(3)]
    return np.rint(127.5 + 120 * np.stack(waves, axis=2)).astype(np.uint8)


def contents_of(folder: Path) -> dict[str, bytes]:
    """The bytes of all files below a folder, by their paths in it."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def make_celeba(home: Path, people: Sequence[int] = PEOPLE, *, archive: bool = True) -> Path:
    """Writes pictures 000001.jpg, 000002.jpg … and all four annotation files; returns `home`."""
    home.mkdir(parents=True, exist_ok=True)
    names = [f"{number:06d}.jpg" for number in range(1, len(people) + 1)]
    pictures = {
        name: _jpeg(gradient(FRAME_WIDTH_PX, FRAME_HEIGHT_PX, seed)) for seed, name in enumerate(names)
    }
    if archive:
        with zipfile.ZipFile(home / "img_align_celeba.zip", "w") as file:
            file.mkdir("img_align_celeba")
            for name, data in pictures.items():
                file.writestr(f"img_align_celeba/{name}", data)
    else:
        (home / "img_align_celeba").mkdir()
        for name, data in pictures.items():
            (home / "img_align_celeba" / name).write_bytes(data)
    points = " ".join(f"{value:.0f}" for value in FRAME_LANDMARKS_PX.ravel())
    count = len(names)
    _write(home / "identity_CelebA.txt", [f"{n} {p}" for n, p in zip(names, people, strict=True)])
    _write(home / "list_eval_partition.txt", [f"{n} {i % 3}" for i, n in enumerate(names)])
    _write(
        home / "list_landmarks_align_celeba.txt",
        [str(count), "lefteye_x lefteye_y …", *(f"{n} {points}" for n in names)],
    )
    _write(home / "list_attr_celeba.txt", [str(count), "Male Young", *(f"{n}  1 -1" for n in names)])
    return home


def write_split(home: Path, splits: Sequence[str]) -> Path:
    """A split file beside the pictures of `make_celeba`: the split of each, in order."""
    path = home / "split.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = [(f"{number:06d}.jpg", split) for number, split in enumerate(splits, 1)]
        csv.writer(file).writerows([("file", "split"), *rows])
    return path


def _jpeg(image: npt.NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def _write(path: Path, lines: list[str]) -> None:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")

"""Draws contact sheets of occlusions over a source's val faces, to be looked at.

    python tools/contact_sheet.py SOURCE OUT [--kinds textured_mask,object] [--size 128] [--faces 56]

OUT gets a picture a kind. Keep OUT outside the repository: nobody may publish CelebA's faces.
"""

import argparse
from pathlib import Path

import numpy as np

from facemend.datasets import FaceSource, Split, open_source, take_split
from facemend.frame import CROP_SIZE_PX, frame_to_crop
from facemend.images import Image, resize, write_png
from facemend.occlusion import KINDS, occlude, seed_of

_ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Reads the command line and writes the sheets."""
    parser = argparse.ArgumentParser(description="Contact sheets of occlusions over val faces.")
    parser.add_argument("source", type=Path, help="CelebA, or a folder of face crops")
    parser.add_argument("out", type=Path, help="a folder outside the repository")
    parser.add_argument("--kinds", default=",".join(KINDS), help="separated by commas (default: all)")
    parser.add_argument("--size", type=int, default=128, help="side of a face in pixels (default: 128)")
    parser.add_argument("--faces", type=int, default=56, help="faces a sheet (default: 56)")
    parser.add_argument("--columns", type=int, default=8, help="faces a row (default: 8)")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other occlusions (default: 0)")
    options = parser.parse_args()
    if options.out.resolve().is_relative_to(_ROOT):
        parser.error(f"{options.out} lies in the repository; choose a folder outside of it")
    if unknown := set(options.kinds.split(",")) - set(KINDS):
        parser.error(f"no such kind: {', '.join(sorted(unknown))}; choose from {', '.join(KINDS)}")
    faces = take_split(open_source(options.source), Split.VAL).first(options.faces)
    for kind in options.kinds.split(","):
        sheet = draw_sheet(faces, kind, options.size, options.columns, options.seed)
        write_png(options.out / f"{kind}.png", sheet, force=True)


def draw_sheet(faces: FaceSource, kind: str, size_px: int, columns: int, seed: int) -> Image:
    """Every face under one occlusion of a kind, drawn at 256 px and shrunk: one picture."""
    rows = -(-len(faces) // columns)
    sheet = np.zeros((rows * size_px, columns * size_px, 3), dtype=np.uint8)
    for index, record in enumerate(faces.records):
        landmarks_px = record.frame_landmarks_px
        if landmarks_px is not None:
            landmarks_px = frame_to_crop(landmarks_px, CROP_SIZE_PX)
        face = occlude(faces.crop(record), landmarks_px, kind, seed_of(seed, record.name, kind))
        y, x = (index // columns) * size_px, (index % columns) * size_px
        sheet[y : y + size_px, x : x + size_px] = resize(face.image, size_px, size_px)
    return sheet


if __name__ == "__main__":
    main()

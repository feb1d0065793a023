"""What whole photos get: portraits under every kind of cover, and as they are.

    python benchmarks/covers.py --portraits FOLDER [--every N]

Each photo's surest face is covered once a kind, by the landmarks that the detector sees in the uncovered
photo; then `Reconstructor` is given the photo as a user would. A cover (alpha above 0.5) counts as `found`
if half of its pixels are reconstructed, as `gone` if 95% are; `beside` are photos in which as much as 30%
of the cover's area was reconstructed where it is not. `uncovered` are the photos as they are: `changed`
should be none. Writes benchmarks/results/covers.json.
"""

import argparse
import json
from collections import Counter
from pathlib import Path

from facemend.files import seed_of
from facemend.images import Image, Mask
from facemend.io import find_pictures, read_image
from facemend.occlusion import KINDS, OcclusionClass, occlude
from facemend.reconstruction.reconstructor import Reconstructor

_RESULT = Path(__file__).parent / "results" / "covers.json"
_FOUND, _GONE, _BESIDE = 0.5, 0.95, 0.3
_COVERS = [name for name, kind in KINDS.items() if kind.occlusion_class is OcclusionClass.COVERS]


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--portraits", type=Path, required=True)
    parser.add_argument("--every", type=int, default=1, help="of the photos under a kind")
    options = parser.parse_args()
    reconstructor = Reconstructor(threads=1)
    result: dict[str, Counter[str]] = {name: Counter() for name in ("uncovered", *_COVERS)}
    paths = find_pictures(options.portraits, recursive=False)
    for number, path in enumerate(paths):
        photo = read_image(path)
        plain = reconstructor(photo)
        result["uncovered"] += Counter(photos=1, changed=int(plain.changed))
        if not plain.faces:
            continue
        landmarks_px = max((face.face for face in plain.faces), key=lambda f: f.confidence).landmarks_px
        for place, kind in enumerate(_COVERS):
            if (number + place) % options.every == 0:
                seed = seed_of("covers", path.name, kind)
                hidden = occlude(photo, landmarks_px, kind, seed)
                result[kind] += _counted(reconstructor, hidden.image, hidden.occlusion.alpha > 0.5)
    for kind, counts in result.items():
        print(f"{kind:16}", dict(counts))
    _RESULT.parent.mkdir(exist_ok=True)
    _RESULT.write_text(json.dumps(result, indent=1) + "\n")


def _counted(reconstructor: Reconstructor, photo: Image, cover: Mask) -> Counter[str]:
    removed = reconstructor(photo).removed > 0.5
    share, beside = removed[cover].mean(), (removed & ~cover).sum() / cover.sum()
    return Counter(
        photos=1, found=int(share > _FOUND), gone=int(share > _GONE), beside=int(beside > _BESIDE)
    )


if __name__ == "__main__":
    main()

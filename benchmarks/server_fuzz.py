"""Mutate photos and send them through what the server does to a stranger's file.

    python benchmarks/server_fuzz.py [--count 20000] [--seed 0]

Every file is cut, changed in some bytes, filled, doubled or glued to another one, in every format that
facemend reads. What comes back must be a photo within the limits or one of our own errors; anything else
fails. It runs in one process, so that a crash of a decoder ends it. Writes
benchmarks/results/server_fuzz.json.
"""

import argparse
import io
import json
import resource
import time
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from facemend.errors import FacemendError
from facemend.io import read_photo
from facemend.reconstruction.demo import read_portraits
from facemend.server.schemas import Problem
from facemend.server.service import check_head, read_mask
from facemend.server.settings import Limits

_RESULT = Path(__file__).parent / "results" / "server_fuzz.json"
LIMITS = Limits(pixels=300_000, side_px=2_000)
_INTERESTING = (0, 1, 0x7F, 0x80, 0xFE, 0xFF)


def main() -> None:
    """Fuzzes, prints and writes what came of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    began = time.perf_counter()
    outcomes, slowest_s = fuzz(arguments.count, np.random.default_rng(arguments.seed))
    result = {
        "files": arguments.count,
        "seed": arguments.seed,
        "outcomes": dict(outcomes.most_common()),
        "slowest_s": round(slowest_s, 3),
        "seconds": round(time.perf_counter() - began, 1),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    print(json.dumps(result, indent=2))
    _RESULT.write_text(json.dumps(result, indent=2) + "\n")


def fuzz(count: int, rng: np.random.Generator) -> tuple[Counter[str], float]:
    """Reads so many mutated files: what came of them by name, and the longest that one took.

    Raises:
        Exception: whatever is neither a photo within the limits nor an error of ours.
    """
    files = seeds()
    outcomes: Counter[str] = Counter()
    slowest_s = 0.0
    for _ in range(count):
        data = mutate(files[rng.integers(len(files))], files, rng)
        began = time.perf_counter()
        try:
            outcomes[_read(data, as_mask=bool(rng.random() < 0.1))] += 1
        except (FacemendError, Problem) as error:
            code = error.code if isinstance(error, Problem) else type(error).__name__
            outcomes[code] += 1
        slowest_s = max(slowest_s, time.perf_counter() - began)
    return outcomes, slowest_s


def _read(data: bytes, *, as_mask: bool) -> str:
    """Does what the server does, up to the networks: "photo" or "mask"."""
    if as_mask:
        height_px, width_px = read_mask(data, LIMITS).shape
    else:
        check_head(data, "the photo", LIMITS)
        height_px, width_px = read_photo(data, max_pixels=LIMITS.pixels).pixels.shape[:2]
    assert height_px * width_px <= LIMITS.pixels, "a picture over the limits was decoded"
    assert max(height_px, width_px) <= LIMITS.side_px, "a picture over the limits was decoded"
    return "mask" if as_mask else "photo"


def seeds() -> list[bytes]:
    """Files of every format, mode and kind of metadata that the server reads, and some over its limits."""
    portrait = PillowImage.fromarray(read_portraits()[0].photo).resize((160, 160))
    exif = PillowImage.Exif()
    exif[274], exif[271] = 6, "a camera"
    exif.get_ifd(34853)[2] = (1.0, 2.0, 3.0)
    with_all = {"exif": exif.tobytes(), "dpi": (300, 300)}
    made = [
        _encode(portrait, "JPEG", quality=80, **with_all),
        _encode(portrait, "JPEG", progressive=True, **with_all),
        _encode(portrait.convert("L"), "JPEG"),
        _encode(portrait, "PNG", **with_all),
        _encode(portrait.convert("RGBA"), "PNG"),
        _encode(portrait.convert("P"), "PNG"),
        _encode(portrait.convert("1"), "PNG"),
        _encode(portrait, "WEBP", exif=exif.tobytes()),
        _encode(portrait, "WEBP", lossless=True),
        _encode(portrait, "TIFF", compression="tiff_lzw"),
        _encode(portrait, "TIFF", compression="jpeg"),
        _encode(portrait.convert("RGBA"), "TIFF", compression="tiff_deflate"),
        _encode(portrait, "AVIF", exif=exif.tobytes()),
        _encode(portrait, "BMP"),
        _encode(PillowImage.new("RGB", (1_000, 1_000)), "PNG"),
        _encode(PillowImage.new("L", (100_000, 3)), "PNG"),
    ]
    try:
        from pillow_heif import from_pillow
    except ImportError:
        return made
    file = io.BytesIO()
    from_pillow(portrait).save(file)
    return [*made, file.getvalue()]


def _encode(picture: PillowImage.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def mutate(data: bytes, others: list[bytes], rng: np.random.Generator) -> bytes:
    """The file with one to four things wrong; most of them near its head, where its sizes stand."""
    changed = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        end = len(changed) if rng.random() < 0.5 else min(len(changed), 300)
        at = int(rng.integers(max(1, end)))
        match rng.integers(8):
            case 0:
                del changed[at:]
            case 1:
                changed[at : at + 1] = bytes([int(rng.integers(256))])
            case 2:
                changed[at : at + 4] = int(rng.integers(2**32)).to_bytes(4, "big")
            case 3:
                changed[at : at + 2] = bytes([_INTERESTING[rng.integers(len(_INTERESTING))]] * 2)
            case 4:
                changed[at:at] = changed[at : at + int(rng.integers(1, 200))]
            case 5:
                del changed[at : at + int(rng.integers(1, 50))]
            case 6:
                changed[at:] = others[rng.integers(len(others))][at:]
            case _:
                changed[at : at + 1] = bytes(
                    [changed[at] ^ (1 << int(rng.integers(8)))] if changed else b""
                )
    return bytes(changed)


if __name__ == "__main__":
    main()

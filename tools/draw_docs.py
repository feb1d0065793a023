"""Draws the pictures of the documents anew.

These are gallery.jpg, occlusions.jpg and find.jpg in docs, and the page's examples.

    python tools/draw_docs.py

They show the two portraits in the public domain that come along, and nobody else.
"""

import io
from operator import mul
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from facemend.alignment import crop_face
from facemend.datasets import FaceRecord, FaceSource
from facemend.datasets.pairs import Recipe
from facemend.datasets.stats import draw_preview
from facemend.files import seed_of
from facemend.images import Image
from facemend.io import Photo, read_photo, write_photo
from facemend.occlusion import KINDS, occlude
from facemend.reconstruction.demo import demo_provenance, read_portraits
from facemend.reconstruction.reconstructor import Reconstructor

_ROOT = Path(__file__).resolve().parents[1]
_DOCS, _PAGE = _ROOT / "docs", _ROOT / "src/facemend/server/page"
_EXAMPLES = {
    "mask": ("Eileen Collins", "textured_mask", 3),
    "blur": ("Eileen Collins", "blur", 1),
    "glasses": ("Grace Hopper", "sunglasses", 2),
}
"""Of the server's page: whose portrait, and the kind and the seed of the occlusion drawn on it."""
_DRAWS, _TILE_PX, _QUALITY = 3, 140, 82
_GALLERY = ("textured_mask", "nose_mask", "blur", "pixelate", "mask_full")
_SHOWN_PX, _GAP_PX, _HEAD_PX = 208, 6, 26


def main() -> None:
    """Writes all pictures."""
    write_examples()
    write_icons()
    reconstructor = Reconstructor()
    note = demo_provenance(reconstructor).to_note()
    write_photo(_DOCS / "gallery.jpg", _small(draw_gallery(reconstructor)), note=note, force=True)
    write_photo(_DOCS / "find.jpg", _small(draw_find(reconstructor)), note=note, force=True)
    recipe = Recipe(count=2 * _DRAWS, shares=dict.fromkeys(KINDS, 1.0))
    sheet = draw_preview(portraits_as_source(), recipe, _TILE_PX)
    write_photo(_DOCS / "occlusions.jpg", _small(np.asarray(sheet)), force=True)


def write_examples() -> None:
    """Writes the covered portraits that the server's page shows as examples."""
    portraits = {portrait.name: portrait for portrait in read_portraits()}
    for name, (person, kind, seed) in _EXAMPLES.items():
        portrait = portraits[person]
        covered = occlude(portrait.photo, portrait.landmarks_px, kind, seed).image
        PillowImage.fromarray(covered).save(_PAGE / f"example-{name}.jpg", quality=90)


def write_icons() -> None:
    """The page's icons for a phone's home screen, as the vector icon is: half drawn, half guessed."""
    for name, side_px, round_ in (("192", 192, True), ("512", 512, True), ("maskable", 512, False)):
        draw_icon(side_px, round_).save(_PAGE / f"icon-{name}.png", optimize=True)


def draw_icon(side_px: int, round_: bool) -> PillowImage.Image:
    """An icon in RGBA. One that is not round fills its square, and systems cut it to their own shape."""
    scale = 4 * side_px / 32
    inner = scale if round_ else 0.75 * scale
    picture = PillowImage.new("RGBA", (4 * side_px, 4 * side_px), (15, 107, 98, 0 if round_ else 255))
    pen = ImageDraw.Draw(picture)
    if round_:
        pen.rounded_rectangle((0, 0, 32 * scale - 1, 32 * scale - 1), 8 * scale, (15, 107, 98, 255))

    def dot(x: float, y: float, radius: float, colour: str) -> None:
        x, y = (16 * scale + (each - 16) * inner for each in (x, y))
        reach = radius * inner
        pen.ellipse((x - reach, y - reach, x + reach, y + reach), colour)

    for x in (11.0, 21.0):
        dot(x, 12.0, 2.2, "white")
    for step in range(201):  # the curve of the smile, from left to right, as two quadratic ones
        share = step / 100
        left = share <= 1
        a, b, c = ((9, 19.5), (12.5, 24.5), (16, 24.5)) if left else ((16, 24.5), (19.5, 24.5), (23, 19.5))
        at = share if left else share - 1
        weights = (1 - at) ** 2, 2 * at * (1 - at), at**2
        x, y = (sum(map(mul, weights, along)) for along in zip(a, b, c, strict=True))
        if left:
            dot(x, y, 1.3, "white")
        elif step % 50 == 0 or step == 200:
            dot(x, y, 1.3, "#8fe0d4")
    return picture.resize((side_px, side_px), PillowImage.Resampling.LANCZOS)


def draw_gallery(reconstructor: Reconstructor) -> Image:
    """The portraits, uncovered and under some kinds, each above what facemend makes of it, blind.

    Nothing is chosen: the occlusions follow from the names alone. uint8 (H, W, 3) RGB.
    """
    portraits, step = read_portraits(), _SHOWN_PX + _GAP_PX
    size = step * (1 + len(_GALLERY)) - _GAP_PX, _HEAD_PX + step * 2 * len(portraits) - _GAP_PX
    sheet = PillowImage.new("RGB", size, "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for column, kind in enumerate((None, *_GALLERY)):
        left_px = step * column
        pen.text((left_px + _SHOWN_PX // 2, _HEAD_PX // 2), kind or "nothing hidden", "black", font, "mm")
        for row, portrait in enumerate(portraits):
            image = crop_face(portrait.photo, portrait.landmarks_px).image
            if kind is not None:
                image = occlude(image, None, kind, seed_of("gallery", portrait.name, kind)).image
            done = np.asarray(reconstructor(image, aligned=True).image)
            for below, tile in enumerate((image, done)):
                top_px = _HEAD_PX + step * (2 * row + below)
                shown = PillowImage.fromarray(tile).resize((_SHOWN_PX, _SHOWN_PX))
                sheet.paste(shown, (left_px, top_px))
    return np.asarray(sheet)


_FIND = ("nose_mask", "sunglasses")
_FIND_PX = 256


def draw_find(reconstructor: Reconstructor) -> Image:
    """A portrait each with a cover and with an accessory, what both nodes for ComfyUI make of it.

    Input, masks of both classes, reconstruction with `--remove all`. uint8 (H, W, 3) RGB.
    """
    titles = ("image", "find: covers", "find: accessories", "reconstruct: all")
    step = _FIND_PX + _GAP_PX
    size = step * len(titles) - _GAP_PX, _HEAD_PX + step * len(_FIND) - _GAP_PX
    sheet = PillowImage.new("RGB", size, "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for row, (portrait, kind) in enumerate(zip(read_portraits(), _FIND, strict=True)):
        crop = crop_face(portrait.photo, portrait.landmarks_px).image
        image = occlude(crop, None, kind, seed_of("find", portrait.name, kind)).image
        found = reconstructor.find(image)
        done = reconstructor(image, remove="all").array
        masks = [np.rint(255 * found.alpha(name)).astype(np.uint8) for name in ("covers", "accessories")]
        for column, tile in enumerate((image, *masks, done)):
            place = step * column, _HEAD_PX + step * row
            sheet.paste(PillowImage.fromarray(tile).convert("RGB").resize((_FIND_PX, _FIND_PX)), place)
    for column, title in enumerate(titles):
        pen.text((step * column + _FIND_PX // 2, _HEAD_PX // 2), title, "black", font, "mm")
    return np.asarray(sheet)


def _small(picture: Image) -> Photo:
    """A picture as a JPEG file of moderate quality, which keeps its tables where it is written again."""
    file = io.BytesIO()
    PillowImage.fromarray(picture).save(file, "JPEG", quality=_QUALITY)
    file.seek(0)
    return read_photo(file).with_pixels(picture)


def portraits_as_source() -> FaceSource:
    """The portraits' crops, each under several names, so that a kind is drawn on it several times."""
    crops: dict[str, Image] = {}

    def read(name: str) -> Image:
        return crops[name]

    for portrait in read_portraits():
        crop = crop_face(portrait.photo, portrait.landmarks_px).image
        crops |= {f"{portrait.name} {number}": crop for number in range(_DRAWS)}
    return FaceSource("portraits", [FaceRecord(name, None) for name in crops], read, "docs")


if __name__ == "__main__":
    main()

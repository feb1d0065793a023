"""A contact sheet: what each kind of occlusion looks like on faces of a source, to be judged by eye."""

from dataclasses import replace

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from facemend.datasets.faces import FaceSource
from facemend.datasets.pairs import Recipe, faces_for, make_pair
from facemend.images import Image, resize
from facemend.occlusion import FOLDER_KINDS, seed_of

_MARGIN_PX, _GAP_PX, _TEXT_PX = 130, 4, 15
_PAPER, _INK = "white", "black"


def draw_preview(source: FaceSource, recipe: Recipe, tile_px: int) -> Image:
    """A row for every kind that the recipe has a share for, with its name.

    Each row shows `recipe.count` faces, chosen by the recipe's seed: the same in every row, but for
    those that cannot take the kind. They are occluded as a build does it, then shrunk.

    Args:
        tile_px: side of a face on the sheet.

    Returns:
        uint8 (H, W, 3) RGB.

    Raises:
        SourceError: no face can take one of the kinds.
        PictureError: a picture cannot be read.
    """
    kinds = [kind for kind, share in recipe.shares.items() if share > 0]
    step_px = tile_px + _GAP_PX
    columns = min(recipe.count, len(source))
    size_px = (_MARGIN_PX + step_px * columns, step_px * len(kinds) - _GAP_PX)
    sheet = PillowImage.new("RGB", size_px, _PAPER)
    shuffled = _shuffled(source, recipe.seed)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(_TEXT_PX)
    for row, kind in enumerate(kinds):
        top_px = row * step_px
        label = f"{kind}\n{recipe.kinds[kind].occlusion_class}"
        pen.text((_MARGIN_PX // 2, top_px + tile_px // 2), label, _INK, font, "mm", align="center")
        for column, tile in enumerate(_draw_row(shuffled, kind, recipe)):
            picture = PillowImage.fromarray(resize(tile, tile_px, tile_px))
            sheet.paste(picture, (_MARGIN_PX + column * step_px, top_px))
    return np.asarray(sheet, dtype=np.uint8)


def _shuffled(source: FaceSource, seed: int) -> FaceSource:
    """The faces in an order of the seed's own."""
    records = sorted(source.records, key=lambda record: seed_of("preview", seed, record.name))
    return FaceSource(source.name, records, source.read, source.fingerprint)


def _draw_row(source: FaceSource, kind: str, recipe: Recipe) -> list[Image]:
    alone = replace(recipe, shares={kind: 1.0}, cutouts=recipe.cutouts if kind in FOLDER_KINDS else None)
    faces = faces_for(source, alone).first(recipe.count)
    return [make_pair(faces, index, alone).occluded for index in range(len(faces))]

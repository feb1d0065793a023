from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from facemend.datasets import FaceSource, open_source
from facemend.datasets.pairs import Recipe, make_pair
from facemend.datasets.stats import draw_preview
from facemend.errors import SourceError
from facemend.images import Image
from tests.tiny_celeba import make_celeba

MARGIN_PX, GAP_PX = 130, 4


@pytest.fixture
def source(tmp_path: Path) -> FaceSource:
    return open_source(make_celeba(tmp_path / "celeba"))


def _tile(sheet: Image, row: int, column: int, side_px: int) -> Image:
    step = side_px + GAP_PX
    left = MARGIN_PX + column * step
    return sheet[row * step : row * step + side_px, left : left + side_px]


def test_a_sheet_has_a_labelled_row_a_kind_of_faces_as_a_build_occludes_them(source: FaceSource) -> None:
    recipe = Recipe(3, {"mask_full": 1.0, "nose_mask": 0.0, "blur": 2.0}, size_px=40)
    sheet = draw_preview(source, recipe, 40)
    assert sheet.shape == (2 * 44 - 4, MARGIN_PX + 3 * 44, 3)
    assert (sheet[:40, :MARGIN_PX] < 128).any()
    for row, kind in enumerate(("mask_full", "blur")):
        alone = Recipe(6, {kind: 1.0}, size_px=40)
        drawn = [make_pair(source, index, alone).occluded for index in range(6)]
        for column in range(3):
            tile = _tile(sheet, row, column, 40)
            assert sum(np.array_equal(tile, face) for face in drawn) == 1


def test_tiles_are_shrunk_from_the_size_they_are_drawn_in(source: FaceSource) -> None:
    sheet = draw_preview(source, Recipe(2, {"blur": 1.0}, size_px=64), 32)
    assert sheet.shape == (32, MARGIN_PX + 2 * 36, 3)
    assert _tile(sheet, 0, 1, 32).std() > 5


def test_rows_show_the_same_faces_and_another_seed_others(source: FaceSource) -> None:
    def corners(seed: int, row: int) -> list[bytes]:
        recipe = Recipe(3, {"blur": 1.0, "nose_mask": 1.0}, size_px=32, seed=seed)
        sheet = draw_preview(source, recipe, 32)
        return [_tile(sheet, row, column, 32)[0].tobytes() for column in range(3)]

    assert corners(0, 0) == corners(0, 1)
    assert corners(0, 0) != corners(1, 0)


def test_a_source_with_fewer_faces_shows_all_of_them(source: FaceSource) -> None:
    sheet = draw_preview(source, Recipe(50, {"blur": 1.0}, size_px=32), 32)
    assert sheet.shape[1] == MARGIN_PX + 6 * 36


def test_a_row_of_sunglasses_leaves_out_who_wears_glasses(source: FaceSource) -> None:
    records = [replace(record, attributes={"Eyeglasses": True}) for record in source.records]
    records[4] = source.records[4]
    faces = FaceSource("CelebA", records, source.read, "")
    sheet = draw_preview(faces, Recipe(6, {"sunglasses": 1.0}, size_px=32), 32)
    assert (_tile(sheet, 0, 1, 32) == 255).all()
    expected = make_pair(
        faces.where(lambda r: not r.attributes.get("Eyeglasses")), 0, Recipe(1, {"sunglasses": 1.0}, 32)
    )
    np.testing.assert_array_equal(_tile(sheet, 0, 0, 32), expected.occluded)
    with pytest.raises(SourceError, match="no face of CelebA can take sunglasses"):
        draw_preview(faces.first(3), Recipe(6, {"sunglasses": 1.0}, size_px=32), 32)

from pathlib import Path

import numpy as np
import pytest

from facemend.alignment import canonical_landmarks, crop_face, similarity
from facemend.io import write_png
from facemend.reconstruction.demo import (
    KINDS,
    demo_provenance,
    draw_demo,
    is_demo,
    read_portraits,
    run_demo,
)
from facemend.reconstruction.provenance import Provenance
from facemend.reconstruction.reconstructor import Reconstructor


def test_two_portraits_come_with_facemend_and_are_credited(repo_root: Path) -> None:
    portraits = read_portraits()
    assert [portrait.name for portrait in portraits] == ["Eileen Collins", "Grace Hopper"]
    notice = (repo_root / "NOTICE").read_text(encoding="utf-8")
    assert all(portrait.name in notice for portrait in portraits)


def test_the_portraits_faces_lie_where_celebas_do() -> None:
    for portrait in read_portraits():
        to_crop = similarity(portrait.landmarks_px, canonical_landmarks())
        placed = portrait.landmarks_px @ to_crop[:, :2].T + to_crop[:, 2]
        assert np.abs(placed - canonical_landmarks()).max() < 5
        crop = crop_face(portrait.photo, portrait.landmarks_px).image
        assert crop.min(axis=2).mean() > 30  # nothing black from beyond the photo's border


def test_the_demo_occludes_every_portrait_with_every_kind(stand_in_model: Path) -> None:
    rows = run_demo(Reconstructor(stand_in_model))
    assert [row.occluded.occlusion.kind for row in rows] == [*KINDS, *KINDS]
    assert [row.name for row in rows] == ["Eileen Collins"] * 4 + ["Grace Hopper"] * 4
    for row in rows:
        assert row.copy_db is not None
        assert 5 < row.copy_db < 35


def test_the_demo_is_the_same_each_time(stand_in_model: Path) -> None:
    first, second = (run_demo(Reconstructor(stand_in_model)) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert np.array_equal(one.occluded.image, other.occluded.image)


def test_the_grid_shows_input_truth_and_reconstruction(stand_in_model: Path) -> None:
    rows = run_demo(Reconstructor(stand_in_model))
    grid = draw_demo(rows)
    for number, row in enumerate(rows):
        pictures = (row.occluded.image, row.occluded.target, row.reconstruction)
        for column, picture in enumerate(pictures):
            top, left = 28 + 264 * number, 150 + 264 * column
            assert np.array_equal(grid[top : top + 256, left : left + 256], picture)
        assert grid[28 + 264 * number :, :150].min() < 100  # its label


@pytest.mark.parametrize("options", [{"input": "demo"}, {"input": "aligned", "remove": "covers"}])
def test_an_earlier_demo_is_known_again(
    tmp_path: Path, stand_in_model: Path, options: dict[str, str]
) -> None:
    made = demo_provenance(Reconstructor(stand_in_model))
    assert made.options == {"input": "demo"}
    other = Provenance(made.model, made.model_sha256, None, options)
    write_png(tmp_path / "a.png", np.zeros((2, 2, 3), dtype=np.uint8), text=other.to_text())
    assert is_demo(tmp_path / "a.png") == (options == made.options)
    assert not is_demo(tmp_path / "missing.png")

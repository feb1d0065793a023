import json
from pathlib import Path

import numpy as np
import pytest

from facemend.datasets import FaceSource, open_source
from facemend.datasets.build import build_dataset
from facemend.datasets.pairs import Files, Layout, Recipe, make_pair
from facemend.datasets.stats import draw_histograms, measure_dataset
from facemend.errors import SourceError
from tests.tiny_celeba import make_celeba

RECIPE = Recipe(12, {"mask_full": 3.0, "blur": 1.0}, size_px=48)


@pytest.fixture
def source(tmp_path: Path) -> FaceSource:
    return open_source(make_celeba(tmp_path / "celeba"))


@pytest.fixture
def built(source: FaceSource, tmp_path: Path) -> Path:
    build_dataset(source, tmp_path / "out", RECIPE)
    return tmp_path / "out"


def test_the_numbers_are_those_of_the_pairs(source: FaceSource, built: Path) -> None:
    pairs = [make_pair(source, index, RECIPE) for index in range(12)]
    stats = measure_dataset(built)
    assert (stats.pairs, stats.pictures, stats.landmarks) == (12, 12, {"annotated": 12})
    for kind in ("mask_full", "blur"):
        ours = [pair for pair in pairs if pair.occlusion.kind == kind]
        found = stats.kinds[kind]
        assert found.pairs == len(ours)
        coverages = [pair.occlusion.coverage for pair in ours]
        np.testing.assert_allclose(found.coverages, coverages, atol=1e-6)
        hidden = [pair.occluded[(pair.occluded != pair.target).any(axis=2)] for pair in ours]
        np.testing.assert_allclose(found.colours, [pixels.mean(axis=0) for pixels in hidden])
        levels = [np.histogram(np.concatenate(hidden)[:, c], 32, (0, 256))[0] for c in range(3)]
        np.testing.assert_array_equal(found.levels, levels)


def test_the_most_frequent_kind_comes_first(built: Path) -> None:
    counts = [kind.pairs for kind in measure_dataset(built).kinds.values()]
    assert counts == sorted(counts, reverse=True)


def test_a_flat_mask_has_one_colour(source: FaceSource, tmp_path: Path) -> None:
    recipe = Recipe(1, {"mask_full": 1.0}, size_px=48)
    build_dataset(source, tmp_path / "out", recipe)
    pair = make_pair(source, 0, recipe)
    colour = pair.occluded[pair.occlusion.alpha == 1][0]
    found = measure_dataset(tmp_path / "out").kinds["mask_full"]
    np.testing.assert_allclose(found.colours, colour[None], atol=3)  # its edge is soft
    assert found.levels.argmax(axis=1).tolist() == (colour // 8).tolist()


def test_pictures_are_read_in_even_steps_where_there_are_many(built: Path) -> None:
    stats = measure_dataset(built, most_pictures=5)
    assert (stats.pictures, stats.pairs) == (4, 12)
    assert sum(len(kind.colours) for kind in stats.kinds.values()) == 4
    assert sum(len(kind.coverages) for kind in stats.kinds.values()) == 12


def test_every_layout_has_the_same_numbers(source: FaceSource, built: Path, tmp_path: Path) -> None:
    build_dataset(source, tmp_path / "side", RECIPE, Files(Layout.PIX2PIX))
    assert measure_dataset(tmp_path / "side").to_json() == measure_dataset(built).to_json()


def test_the_numbers_are_json(built: Path) -> None:
    numbers = json.loads(json.dumps(measure_dataset(built).to_json()))
    masks = numbers["kinds"]["mask_full"]
    assert numbers["pairs"] == 12
    assert masks["share"] == round(masks["pairs"] / 12, 4)
    assert sum(masks["coverage"]["histogram"]) == masks["pairs"]
    assert masks["coverage"]["p5"] <= masks["coverage"]["median"] <= masks["coverage"]["p95"]
    assert set(masks["level_histograms"]) == {"r", "g", "b"}


def test_an_occlusion_that_changed_no_pixel_has_no_colour(built: Path) -> None:
    for path in (built / "occluded").iterdir():
        path.write_bytes((built / "target" / path.name).read_bytes())
    stats = measure_dataset(built)
    assert stats.to_json()["kinds"]["blur"]["mean_rgb"] is None
    assert " -\n" in stats.to_table()
    draw_histograms(stats, "nothing")


def test_a_folder_without_a_finished_dataset_says_what_to_do(built: Path, tmp_path: Path) -> None:
    (built / "manifest.jsonl").unlink()
    with pytest.raises(SourceError, match="build is not finished; run the same command again"):
        measure_dataset(built)
    with pytest.raises(SourceError, match="holds no dataset; pass what `facemend dataset build` wrote"):
        measure_dataset(tmp_path)
    (built / "dataset.json").write_text("{}")
    with pytest.raises(SourceError, match="holds no dataset"):
        measure_dataset(built)


def test_the_folder_above_a_split_names_the_split(source: FaceSource, tmp_path: Path) -> None:
    build_dataset(source, tmp_path / "out" / "val", RECIPE, Files(Layout.PIX2PIX))
    with pytest.raises(SourceError, match=r"holds no dataset; pass .*out.val"):
        measure_dataset(tmp_path / "out")


def test_the_picture_has_a_row_a_kind_and_shows_the_numbers(built: Path) -> None:
    stats = measure_dataset(built)
    both = draw_histograms(stats, "out")
    names = list(stats.kinds)
    alone = draw_histograms(type(stats)({names[0]: stats.kinds[names[0]]}, {}, 12), "out")
    assert both.shape[1:] == alone.shape[1:]
    assert both.shape[0] - alone.shape[0] == 90
    colour = stats.kinds[names[0]].colours[0].round().astype(np.uint8)
    assert (both == colour).all(axis=2).sum() > 64  # its line in the strip of colours
    assert (both[:70] != 255).any()

import numpy as np
import pytest

from facemend.occlusion.textures import BENCHMARK_PATTERNS, PATTERNS, Pattern, Texture

_ALL = pytest.mark.parametrize("pattern", [*PATTERNS, *BENCHMARK_PATTERNS], ids=lambda p: p.__name__)


@_ALL
def test_a_tile_has_sides_that_are_powers_of_two(pattern: Pattern) -> None:
    for seed in range(6):
        texture = pattern(np.random.default_rng(seed))
        height, width = texture.tile.shape[:2]
        assert height & (height - 1) == 0
        assert width & (width - 1) == 0
        assert texture.tile.dtype == np.uint8


@_ALL
def test_a_pattern_is_named_after_its_function(pattern: Pattern) -> None:
    assert pattern(np.random.default_rng(0)).name == pattern.__name__.rstrip("_")


@pytest.mark.parametrize("pattern", [p for p in PATTERNS if p.__name__ not in ("plain", "heather")])
def test_a_pattern_shows_at_least_two_colours(pattern: Pattern) -> None:
    tile = pattern(np.random.default_rng(3)).tile.reshape(-1, 3).astype(int)
    assert np.ptp(tile, axis=0).max() > 30


def test_a_texture_repeats_and_is_where_it_is_looked_up() -> None:
    tile = np.zeros((4, 4, 3), np.uint8)
    tile[1, 2] = 200
    texture = Texture("test", tile, 1.0, 0.0)
    u, v = np.meshgrid(np.arange(-8, 8, dtype=np.float32) + 0.5, np.arange(8, dtype=np.float32) + 0.5)
    colours = texture.colours(u, v, 1.0)
    assert colours.shape == (3, 8, 16)
    rows, columns = np.nonzero(colours[0] == 200)
    assert set(rows.tolist()) == {1, 5}
    assert set((columns % 4).tolist()) == {2}


def test_a_tile_too_fine_for_the_picture_is_averaged() -> None:
    tile = np.zeros((8, 8, 3), np.uint8)
    tile[::2] = 200
    u, v = np.meshgrid(np.arange(8, dtype=np.float32), np.arange(8, dtype=np.float32))
    assert set(np.unique(Texture("test", tile, 4.0, 0.0).colours(u, v, 1.0))) == {100}

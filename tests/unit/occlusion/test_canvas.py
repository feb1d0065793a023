import numpy as np
import pytest

from facemend.alignment import canonical_landmarks
from facemend.occlusion.canvas import (
    Canvas,
    Region,
    blurred,
    coverage_of,
    grain,
    noise_table,
    pick,
    region_around,
)
from facemend.occlusion.geometry import box, curve, ellipse, face_geometry, line
from facemend.occlusion.types import Extent

_PICTURE = np.full((256, 256, 3), 90, np.uint8)
_FACE = face_geometry(canonical_landmarks(), 256, 256).rigid


def _region() -> Region:
    region = region_around(_FACE, box(100, 120, 160, 200), _PICTURE)
    assert region is not None
    return region


def test_a_region_knows_the_canonical_place_of_its_pixels() -> None:
    region = _region()
    rows, columns = region.box
    assert abs(region.x[0, 0] - columns.start) < 1.5
    assert abs(region.y[-1, 0] - (rows.stop - 1)) < 1.5


def test_what_lies_outside_the_picture_has_no_region() -> None:
    assert region_around(_FACE, box(400, 400, 500, 500), _PICTURE) is None
    assert region_around(_FACE, np.full((3, 2), np.nan), _PICTURE) is None


def test_a_cover_has_the_area_of_its_outline() -> None:
    assert coverage_of(_region(), box(110, 130, 150, 190)).sum() == pytest.approx(40 * 60, rel=0.03)
    assert coverage_of(_region(), ellipse(130, 160, 20, 30, 60)).sum() == pytest.approx(
        np.pi * 600, rel=0.03
    )


def test_the_edge_of_a_drawn_shape_has_the_shapes_colour_and_no_dark_fringe() -> None:
    canvas = Canvas(_region())
    canvas.lay_parts([(ellipse(130, 160, 20, 30), (200, 40, 10))])
    layer = canvas.finish(_PICTURE, Extent.PARTIAL, {})
    edge = (layer.alpha > 0.1) & (layer.alpha < 0.9)
    assert edge.sum() > 50
    assert np.abs(layer.paint[edge].astype(int) - (200, 40, 10)).max() <= 12
    assert np.abs(layer.paint[layer.alpha == 1].astype(int) - (200, 40, 10)).max() <= 1


def test_later_layers_lie_over_earlier_ones_and_alpha_adds_up() -> None:
    region = _region()
    canvas = Canvas(region)
    half = np.full(region.x.shape, 0.5, np.float32)
    canvas.lay(half, (200, 0, 0))
    canvas.lay(half, (0, 0, 200))
    layer = canvas.finish(_PICTURE, Extent.PARTIAL, {})
    inside = layer.alpha[region.box]
    assert inside.min() == pytest.approx(0.75, abs=0.01)
    # Blue covers half of all; red shows through the other half, half covered itself: 2 parts to 1.
    assert np.abs(layer.paint[region.box][5, 5].astype(int) - (67, 0, 133)).max() <= 2


def test_what_is_hidden_leaves_the_layer() -> None:
    region = _region()
    canvas = Canvas(region)
    canvas.lay(np.ones(region.x.shape, np.float32), (10, 20, 30))
    canvas.hide((region.x > 130).astype(np.float32))
    alpha = canvas.finish(_PICTURE, Extent.PARTIAL, {}).alpha[region.box]
    assert (alpha[region.x > 131] == 0).all()
    assert (alpha[region.x < 129] == 1).all()


@pytest.mark.parametrize("cells", [8, 32, 64, 128, 256])
def test_noise_is_seamless_and_has_no_bias(cells: int) -> None:
    table = noise_table(cells)
    assert table.shape == (256, 256)
    assert abs(float(table.mean())) < 0.1
    inside = np.abs(np.diff(table, axis=0)).mean()
    across = np.abs(table[0] - table[-1]).mean()
    assert across < 1.5 * inside


def test_grain_is_as_strong_as_asked_and_follows_the_seed() -> None:
    one, two = (grain(_region(), np.random.default_rng(1), 4.0) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert 3 < np.abs(one).max() <= 4


def test_a_blur_keeps_what_it_spreads() -> None:
    field = np.zeros((80, 90), np.float32)
    field[30:50, 30:60] = 1
    for sigma in (1.0, 3.0, 6.0):
        assert blurred(field, sigma).sum() == pytest.approx(field.sum(), rel=0.05)


def test_pick_draws_by_weight() -> None:
    rng = np.random.default_rng(0)
    drawn = [pick(rng, {"a": 3.0, "b": 1.0, "c": 0.0}) for _ in range(400)]
    assert 250 < drawn.count("a") < 350
    assert "c" not in drawn


def test_a_line_has_its_width_on_both_sides() -> None:
    points = curve((0.0, 0.0), (50.0, 0.0), (100.0, 0.0), 11)
    outline = line(points, 6.0)
    assert outline[:, 1].min() == pytest.approx(-3)
    assert outline[:, 1].max() == pytest.approx(3)
    assert len(outline) == 22

import numpy as np
import pytest

from facemend.errors import UsageError
from facemend.evaluation import protocol
from facemend.evaluation.protocol import (
    AREAS,
    HOLE_BINS,
    SEED_SET,
    bench_face,
    choose_kinds,
    hole_bin,
    input_digest,
    join_digests,
    protocol_kinds,
)
from facemend.occlusion import KINDS
from tests.tiny_celeba import gradient

CROP = gradient(256, 256)


@pytest.mark.parametrize("kind", SEED_SET)
def test_an_input_depends_on_the_name_and_the_kind_alone(kind: str) -> None:
    face = bench_face(CROP, "000001.jpg", kind)
    bench_face(CROP, "000002.jpg", kind)
    again = bench_face(CROP, "000001.jpg", kind)
    assert input_digest("000001.jpg", face) == input_digest("000001.jpg", again)
    other_crop = bench_face(255 - CROP, "000001.jpg", kind)
    np.testing.assert_array_equal(other_crop.occlusion.alpha, face.occlusion.alpha)
    other_name = bench_face(CROP, "000002.jpg", kind)
    assert (other_name.occlusion.alpha != face.occlusion.alpha).any()


@pytest.mark.parametrize("kind", protocol_kinds())
def test_areas_keep_to_the_protocol(kind: str) -> None:
    areas = [bench_face(CROP, f"{number}.jpg", kind).occlusion.coverage for number in range(150)]
    assert AREAS[kind][0] <= min(areas)
    assert max(areas) <= AREAS[kind][1]
    assert np.std(areas) > 0


def test_a_kind_that_cannot_keep_to_its_area_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "AREAS", dict(AREAS) | {"blur": (0.9, 1.0)})
    with pytest.raises(RuntimeError, match="blur misses its area of 90%-100%"):
        bench_face(CROP, "000001.jpg", "blur")


def test_the_kinds_are_those_of_the_protocol_that_can_be_drawn() -> None:
    assert set(SEED_SET) <= set(protocol_kinds()) == AREAS.keys() & KINDS.keys()


def test_kinds_are_chosen_by_name_and_by_set() -> None:
    assert choose_kinds("blur,nose_mask,blur") == ("blur", "nose_mask")
    assert choose_kinds("seed") == SEED_SET
    assert choose_kinds("all") == protocol_kinds()
    with pytest.raises(UsageError, match="no kind 'blurr'; choose from nose_mask"):
        choose_kinds("blurr")
    with pytest.raises(UsageError, match="no kind 'blurr'"):
        bench_face(CROP, "000001.jpg", "blurr")


def test_bins_begin_with_their_lower_end() -> None:
    coverages = (0.0, 0.0999, 0.1, 0.1999, 0.2, 0.3999, 0.4, 1.0)
    assert [HOLE_BINS.index(hole_bin(coverage)) for coverage in coverages] == [0, 0, 1, 1, 2, 2, 3, 3]


def test_a_digest_changes_with_the_name_and_with_every_byte() -> None:
    face = bench_face(CROP, "000001.jpg", "blur")
    digests = {input_digest("000001.jpg", face), input_digest("000002.jpg", face)}
    for part in (face.image, face.target, face.occlusion.alpha):
        part[128, 0] += 1
        digests.add(input_digest("000001.jpg", face))
    assert len(digests) == 5


def test_joined_digests_depend_on_the_order() -> None:
    first, second = b"1" * 32, b"2" * 32
    assert join_digests([first, second]) != join_digests([second, first])
    assert join_digests([first, second]) == join_digests([first, second])

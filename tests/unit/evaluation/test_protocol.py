import json
from pathlib import Path

import numpy as np
import pytest

from facemend.errors import UsageError
from facemend.evaluation import protocol
from facemend.evaluation.protocol import (
    AREAS,
    HOLE_BINS,
    SEED_SET,
    V1,
    hole_bin,
    input_digest,
    is_frozen,
    join_digests,
    kinds_for,
    make_input,
    protocol_kinds,
)
from facemend.images import Image
from facemend.occlusion import BENCHMARK_KINDS
from tests.tiny_celeba import gradient

CROP = gradient(256, 256)


@pytest.mark.parametrize("kind", SEED_SET)
def test_an_input_depends_on_the_name_and_the_kind_alone(kind: str) -> None:
    face = make_input(CROP, "000001.jpg", kind)
    make_input(CROP, "000002.jpg", kind)
    again = make_input(CROP, "000001.jpg", kind)
    assert input_digest("000001.jpg", face) == input_digest("000001.jpg", again)
    other_crop = make_input(255 - CROP, "000001.jpg", kind)
    np.testing.assert_array_equal(other_crop.occlusion.alpha, face.occlusion.alpha)
    other_name = make_input(CROP, "000002.jpg", kind)
    assert (other_name.occlusion.alpha != face.occlusion.alpha).any()


@pytest.mark.parametrize("kind", protocol_kinds())
def test_areas_keep_to_the_protocol(kind: str) -> None:
    areas = [make_input(CROP, f"{number}.jpg", kind).occlusion.coverage for number in range(150)]
    assert AREAS[kind][0] <= min(areas)
    assert max(areas) <= AREAS[kind][1]
    assert np.std(areas) > 0


def _ramps() -> Image:
    """Whole numbers alone, which every machine computes alike: uint8 (256, 256, 3)."""
    y, x = np.mgrid[0:256, 0:256]
    return np.stack([x, 255 - y, (x + y) // 2], axis=2).astype(np.uint8)


_FROZEN = {
    "nose_mask": "ff4ccc9c03d548cedf9301662f10127036b0d646277129c4a1360dabfbb34f85",
    "blur": "d9bf7b51d962a2985e89a4821d6d5b09e4ff069d096ab89e06282ab4ecdb00f2",
    "blur_full": "b1001ca38c7b158b98bbf7335793eb91cb7064218e3f5861fb818a499467e8ff",
    "mask_full": "c362439e32128040ba9d4df3b8ab684ae5a9789eae732f2d30896040b4e7bd4d",
    "textured_mask": "36f61b17717f574894052f87b1433769dbb3dbdcc96fa46d57125892590d0b4f",
    "sunglasses": "fc36d29fcb9d8c6fd1e7a4edf69c6b4e241d0f41c3581cbd5219ccec4ebfb06a",
    "object": "1234b2dd06703f5b6d440c2934c75a871cf38324f5c788f96098198df54b2b87",
    "pixelate": "cdbec40c7e84644e80c186c82f545607238afcdfe863bed1432f64dfe3fffb80",
}


@pytest.mark.parametrize("kind", protocol_kinds())
def test_the_inputs_are_frozen(kind: str) -> None:
    """A change here is another protocol: v2, and every figure anew."""
    names = [f"{number:06d}.jpg" for number in range(1, 21)]
    digests = (input_digest(name, make_input(_ramps(), name, kind)) for name in names)
    assert join_digests(digests) == _FROZEN[kind]


@pytest.mark.parametrize("split", ["val", "test"])
def test_the_frozen_inputs_of_celeba_are_known_by_their_hash(split: str) -> None:
    hashes = json.loads((Path(protocol.__file__).parent / "bench_v1.json").read_text())[split]
    assert tuple(hashes) == protocol_kinds()
    assert len(set(hashes.values())) == len(hashes)
    assert all(is_frozen(split, kind, sha256) for kind, sha256 in hashes.items())
    assert not is_frozen(split, "blur", hashes["nose_mask"])
    assert not is_frozen("train", "blur", hashes["blur"])


def test_who_wears_glasses_is_not_measured_under_sunglasses() -> None:
    assert kinds_for({"Eyeglasses": True}, ["blur", "sunglasses"]) == ["blur"]
    assert kinds_for({}, ["blur", "sunglasses"]) == ["blur", "sunglasses"]


def test_a_kind_that_cannot_keep_to_its_area_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "AREAS", dict(AREAS) | {"blur": (0.9, 1.0)})
    with pytest.raises(RuntimeError, match="blur misses its area of 90%-100%"):
        make_input(CROP, "000001.jpg", "blur")


def test_every_kind_of_the_protocol_can_be_drawn() -> None:
    assert set(SEED_SET) <= set(protocol_kinds()) == set(AREAS) <= BENCHMARK_KINDS.keys()


def test_kinds_are_chosen_by_name_and_by_set() -> None:
    assert V1.choose_kinds("blur,nose_mask,blur") == ("blur", "nose_mask")
    assert V1.choose_kinds("seed") == SEED_SET
    assert V1.choose_kinds("all") == protocol_kinds()
    with pytest.raises(UsageError, match="no kind 'blurr'; choose from nose_mask"):
        V1.choose_kinds("blurr")
    with pytest.raises(UsageError, match="no kind 'blurr'"):
        make_input(CROP, "000001.jpg", "blurr")


def test_bins_begin_with_their_lower_end() -> None:
    coverages = (0.0, 0.0999, 0.1, 0.1999, 0.2, 0.3999, 0.4, 1.0)
    assert [HOLE_BINS.index(hole_bin(coverage)) for coverage in coverages] == [0, 0, 1, 1, 2, 2, 3, 3]


def test_a_digest_changes_with_the_name_and_with_every_byte() -> None:
    face = make_input(CROP, "000001.jpg", "blur")
    digests = {input_digest("000001.jpg", face), input_digest("000002.jpg", face)}
    for part in (face.image, face.target, face.occlusion.alpha):
        part[128, 0] += 1
        digests.add(input_digest("000001.jpg", face))
    assert len(digests) == 5


def test_joined_digests_depend_on_the_order() -> None:
    first, second = b"1" * 32, b"2" * 32
    assert join_digests([first, second]) != join_digests([second, first])
    assert join_digests([first, second]) == join_digests([first, second])

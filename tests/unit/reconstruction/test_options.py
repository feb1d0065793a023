from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from facemend.errors import UsageError
from facemend.reconstruction.options import Options, options_of


def _options(**changes: Any) -> Options:
    return options_of(None, changes)


def test_a_default_is_not_named_and_every_other_choice_is() -> None:
    assert _options().to_texts() == {"input": "photo", "remove": "covers"}
    mask = np.ones((4, 4), dtype=np.bool_)
    asked = _options(
        faces=[(1, 2, 3, 4.5)],
        keep=[(0, 0, 9, 9), (5, 5, 1, 1)],
        occlusion_threshold=0.7,
        min_confidence=0.9,
        strip=True,
        primary_only=True,
        grow="-5%",
        feather=0,
        only=[3, 1],
        largest=4,
        min_face="2.5%",
        max_face=600.0,
    )
    assert asked.to_texts() == {
        "input": "photo",
        "remove": "covers",
        "faces": "1,2,3,4.5",
        "keep": "0,0,9,9 5,5,1,1",
        "occlusion_threshold": "0.7",
        "min_confidence": "0.9",
        "strip": "yes",
        "primary_only": "yes",
        "grow": "-5%",
        "feather": "0",
        "only": "3,1",
        "largest": "4",
        "min_face": "2.5%",
        "max_face": "600",
    }
    assert _options(keep=mask).to_texts().keys() == {"input", "remove", "keep_sha256"}
    assert _options(mask=mask).to_texts().keys() == {"input", "mask_sha256"}


def test_a_region_keeps_every_pixel_that_it_touches_and_is_cut_to_the_photo() -> None:
    free = _options(keep=[(1.5, -3, 1, 4), (6, 4, 99, 99)]).free_of(8, 6, "it")
    expected = np.ones((6, 8), dtype=np.bool_)
    expected[0, 1:3] = False
    expected[4:, 6:] = False
    np.testing.assert_array_equal(free, expected)
    assert _options().free_of(8, 6, "it").all()


def test_a_mask_of_the_photos_shape_fits_at_any_size() -> None:
    mask = np.zeros((10, 20), dtype=np.bool_)
    mask[5:, 10:] = True
    fitted = _options(mask=mask).mask_of(40, 20, "it")
    assert fitted is not None
    expected = np.zeros((20, 40), dtype=np.bool_)
    expected[10:, 20:] = True
    np.testing.assert_array_equal(fitted, expected)
    with pytest.raises(
        UsageError, match=r"the mask is 20×10 pixels and it is 20×20; a mask has the photo's shape"
    ):
        _options(keep=mask).free_of(20, 20, "it")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"occlusion_threshold": 1.5}, "a threshold of 1.5 cannot be"),
        ({"min_confidence": -1}, "a confidence of -1 cannot be"),
        ({"faces": [(0, 0, 0, 5)]}, "0,0,0,5 is not a region"),
        ({"keep": [(0, 0, float("nan"), 5)]}, "is not a region"),
        ({"faces": [(0, 0, 5, 5)], "aligned": True}, "shows one face alone"),
        ({"remove": "hats"}, "unknown class 'hats'"),
        ({"grow": "much"}, "'much' is not a length; give pixels such as 8"),
        ({"grow": True}, "'True' is not a length"),
        ({"grow": -65}, "grow -65 cannot be; use -64 to 64 pixels of the crop"),
        ({"grow": "50%"}, "grow 50% cannot be"),
        ({"feather": -1}, "feather -1 cannot be; use 0 to 64"),
        ({"only": [0]}, "faces are numbered from 1"),
        ({"only": "1,3"}, "faces are numbered from 1"),
        ({"largest": "2"}, "the 2 largest faces cannot be"),
        ({"largest": 0}, "the 0 largest faces cannot be"),
        ({"min_face": 0}, "a face's width is more than 0"),
        ({"min_face": 90, "max_face": 80}, "no face is wider than 90 and narrower than 80"),
        ({"largest": 1, "aligned": True}, "shows one face alone"),
    ],
)
def test_what_cannot_be_is_refused(words: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        _options(**words)


def test_a_region_and_a_mask_are_kept_together() -> None:
    mask = np.zeros((4, 4), dtype=np.bool_)
    mask[3] = True
    both = _options(keep=[(0, 0, 1, 1), mask])
    assert both.to_texts().keys() == {"input", "remove", "keep", "keep_sha256"}
    assert (~both.free_of(4, 4, "it")).sum() == 5
    with pytest.raises(UsageError, match="only one mask can be kept"):
        _options(keep=[mask, mask])


def test_a_misspelled_option_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(UsageError, match="unknown option primaryonly; did you mean primary_only"):
        _options(primaryonly=True)
    with pytest.raises(UsageError, match="unknown option x; use one of aligned, mask"):
        _options(x=1)


def test_every_option_has_a_text_for_its_help() -> None:
    assert all(field.metadata["help"].endswith(".") for field in fields(Options))

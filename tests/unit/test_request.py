import numpy as np
import pytest

from facemend.errors import UsageError
from facemend.reconstruction.options import Request, make_request


def test_a_default_is_not_named_and_every_other_choice_is() -> None:
    assert make_request().texts() == {"input": "photo", "remove": "covers"}
    mask = np.ones((4, 4), dtype=np.bool_)
    asked = make_request(
        faces=[(1, 2, 3, 4.5)],
        keep=[(0, 0, 9, 9), (5, 5, 1, 1)],
        occlusion_threshold=0.7,
        min_confidence=0.9,
        strip=True,
        primary_only=True,
    )
    assert asked.texts() == {
        "input": "photo",
        "remove": "covers",
        "faces": "1,2,3,4.5",
        "keep": "0,0,9,9 5,5,1,1",
        "occlusion_threshold": "0.7",
        "min_confidence": "0.9",
        "strip": "yes",
        "primary_only": "yes",
    }
    assert make_request(keep=mask).texts().keys() == {"input", "remove", "keep_sha256"}
    assert make_request(mask=mask).texts().keys() == {"input", "mask_sha256"}


def test_a_region_keeps_every_pixel_that_it_touches_and_is_cut_to_the_photo() -> None:
    kept = make_request(keep=[(1.5, -3, 1, 4), (6, 4, 99, 99)]).kept(8, 6, "it")
    assert kept is not None
    expected = np.zeros((6, 8), dtype=np.bool_)
    expected[0, 1:3] = True
    expected[4:, 6:] = True
    np.testing.assert_array_equal(kept, expected)
    assert Request().kept(8, 6, "it") is None


def test_a_mask_of_the_photos_shape_fits_at_any_size() -> None:
    mask = np.zeros((10, 20), dtype=np.bool_)
    mask[5:, 10:] = True
    fitted = make_request(mask=mask).mask_for(40, 20, "it")
    assert fitted is not None
    expected = np.zeros((20, 40), dtype=np.bool_)
    expected[10:, 20:] = True
    np.testing.assert_array_equal(fitted, expected)
    with pytest.raises(UsageError, match=r"it needs bool \(20, 20\), or that shape at another size"):
        make_request(keep=mask).kept(20, 20, "it")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"occlusion_threshold": 1.5}, "a threshold of 1.5 cannot be"),
        ({"min_confidence": -1}, "a confidence of -1 cannot be"),
        ({"faces": [(0, 0, 0, 5)]}, "0,0,0,5 is no region"),
        ({"keep": [(0, 0, float("nan"), 5)]}, "is no region"),
        ({"faces": [(0, 0, 5, 5)], "aligned": True}, "shows one face alone"),
        ({"remove": "hats"}, "unknown class 'hats'"),
    ],
)
def test_what_cannot_be_is_refused(words: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_request(**words)  # type: ignore[arg-type]

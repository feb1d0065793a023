"""Do no harm: any file in, the same picture out but for the occlusion that is reported."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from facemend.images import Mask
from facemend.io import encode_photo, read_photo
from facemend.reconstruction.demo import read_portraits
from facemend.reconstruction.reconstructor import Reconstruction, Reconstructor
from tests.photo_files import MODES, file_of
from tests.stand_in import COVER, write_model


@pytest.fixture(scope="module")
def reconstructor(tmp_path_factory: pytest.TempPathFactory) -> Reconstructor:
    return Reconstructor(write_model(tmp_path_factory.mktemp("model") / "stand-in.onnx"), threads=1)


@st.composite
def _photos(draw: st.DrawFn) -> tuple[bytes, str]:
    """A file of any kind and mode: a face under a cover or not, cut, and stored in any orientation."""
    portrait = read_portraits()[0]
    image = portrait.photo[:320].copy()
    x, y = portrait.landmarks_px[2:].mean(axis=0).astype(int)
    if draw(st.booleans()):
        half = draw(st.integers(18, 34))
        image[y - half : y + half, x - half : x + half] = COVER
    image = image[:, draw(st.integers(0, 60)) : 500 - draw(st.integers(0, 60))]
    kind = draw(st.sampled_from(tuple(MODES)))
    mode = draw(st.sampled_from(MODES[kind]))
    picture = Image.fromarray(image)
    if mode in ("RGBA", "LA"):
        picture.putalpha(draw(st.integers(0, 255)))
    options = {"lossless": True} if kind == "WEBP" else {}
    return file_of(picture.convert(mode), kind, orientation=draw(st.integers(1, 8)), **options), kind


def _reported(result: Reconstruction) -> Mask:
    """The pixels that the result says it reconstructed."""
    reported = np.zeros(result.photo.pixels.shape[:2], dtype=np.bool_)
    for face in result.faces:
        reported[face.box] |= face.weight > 0
    return reported


@settings(max_examples=25)
@given(file=_photos(), keep=st.booleans(), strip=st.booleans())
def test_outside_the_reported_occlusion_every_pixel_stays(
    reconstructor: Reconstructor, file: tuple[bytes, str], keep: bool, strip: bool
) -> None:
    data, kind = file
    before = read_photo(data)
    kept = [(0.0, 0.0, before.pixels.shape[1] / 2, 400.0)] if keep else []
    result = reconstructor(BytesIO(data), keep=kept, strip=strip)
    after, reported = result.photo, _reported(result)
    np.testing.assert_array_equal(after.pixels[~reported], before.pixels[~reported])
    assert (before.opacity is None) == (after.opacity is None)
    if before.opacity is not None and after.opacity is not None:
        np.testing.assert_array_equal(after.opacity, before.opacity)
    if keep:
        assert not reported[:400, : before.pixels.shape[1] // 2].any()
    written = encode_photo(after, note=result.provenance.to_note())
    if not result.changed and not strip:
        assert written == data
    if kind in ("PNG", "TIFF", "WEBP"):
        np.testing.assert_array_equal(read_photo(written).pixels, after.pixels)
    assert result.changed == bool(result.provenance.regions)


@pytest.mark.parametrize(("kind", "mode"), [("PNG", "RGBA"), ("TIFF", "RGB"), ("WEBP", "RGB")])
def test_a_cover_is_reconstructed_in_every_lossless_kind_of_file(
    reconstructor: Reconstructor, kind: str, mode: str
) -> None:
    portrait = read_portraits()[0]
    image = portrait.photo.copy()
    x, y = portrait.landmarks_px[2:].mean(axis=0).astype(int)
    image[y - 24 : y + 24, x - 24 : x + 24] = COVER
    options = {"lossless": True} if kind == "WEBP" else {}
    result = reconstructor(BytesIO(file_of(Image.fromarray(image).convert(mode), kind, **options)))
    assert len(result.faces) == 1
    assert result.changed


@pytest.mark.needs_shared
def test_unoccluded_portraits_come_back_identical(shared: Path) -> None:
    """At least 97% of them: a portrait that is changed is a cover that is not there."""
    reconstructor = Reconstructor()
    paths = sorted((shared / "portraits").glob("*.jpg"))
    assert len(paths) == 76
    changed = []
    for path in paths:
        result = reconstructor(path)
        if result.changed:
            changed.append(path.name)
        else:
            assert encode_photo(result.photo) == path.read_bytes()
    print(f"identical: {1 - len(changed) / len(paths):.1%}; changed: {', '.join(changed)}")
    assert len(changed) <= 0.03 * len(paths), changed

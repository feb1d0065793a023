import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from facemend.io import Format, encode_photo, photo_of_pixels, read_photo, write_photo, write_png
from facemend.reconstruction.provenance import NOTICE, SOURCE_TYPE, Provenance, Region, read_provenance

MADE = Provenance(
    model="größe",
    model_sha256="a" * 64,
    input_sha256="b" * 64,
    options={"input": "aligned", "remove": "covers"},
    regions=(Region((1, 2, 30, 40), 0.125),),
)
PIXELS = np.zeros((4, 4, 3), dtype=np.uint8)


def test_a_written_picture_says_how_it_was_made(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    write_png(path, PIXELS, text=MADE.to_text())
    assert read_provenance(path) == MADE


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.tif", "a.avif"])
def test_a_written_photo_says_how_it_was_made_in_every_format(tmp_path: Path, name: str) -> None:
    write_photo(tmp_path / name, photo_of_pixels(PIXELS), note=MADE.to_note())
    assert read_provenance(tmp_path / name) == MADE


def test_programs_that_know_iptc_see_that_a_model_made_parts_of_it(tmp_path: Path) -> None:
    for made, said in ((MADE, True), (replace(MADE, regions=()), False)):
        data = encode_photo(photo_of_pixels(PIXELS), Format.JPEG, note=made.to_note())
        packet = read_photo(data).metadata.xmp or b""
        assert (b"DigitalSourceType>" + SOURCE_TYPE.encode() + b"<" in packet) == said
        assert f"CreatorTool>{MADE.software}<".encode() in packet


def test_any_viewer_sees_the_software_and_the_notice(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", PIXELS, text=MADE.to_text())
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.info["Software"] == MADE.software
        assert picture.info["Comment"] == NOTICE
        assert "guess, not evidence" in json.loads(picture.info["facemend"])["notice"]


def test_other_files_say_nothing(tmp_path: Path) -> None:
    write_png(tmp_path / "plain.png", PIXELS)
    (tmp_path / "text.png").write_text("no picture")
    assert read_provenance(tmp_path / "plain.png") is None
    assert read_provenance(tmp_path / "text.png") is None
    assert read_provenance(tmp_path / "missing.png") is None
    for text in ("", "{", "[]", "{}", '{"notice": ""}', '{"notice": "", "regions": [1]}'):
        chunks = PngImagePlugin.PngInfo()
        chunks.add_itxt("facemend", text)
        Image.fromarray(PIXELS).save(tmp_path / "damaged.png", pnginfo=chunks)
        assert read_provenance(tmp_path / "damaged.png") is None, text


def test_the_same_work_is_the_same_input_model_and_options() -> None:
    assert MADE.same_work(replace(MADE, regions=(), software="facemend 9"))
    assert not MADE.same_work(replace(MADE, input_sha256="c"))
    assert not MADE.same_work(replace(MADE, model_sha256="c"))
    assert not MADE.same_work(replace(MADE, options={"input": "aligned", "remove": "all"}))


def test_work_on_no_file_is_never_known_again() -> None:
    made = replace(MADE, input_sha256=None)
    assert not made.same_work(made)

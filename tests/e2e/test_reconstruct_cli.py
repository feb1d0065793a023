"""facemend reconstruct, demo and info, from the command line."""

import errno
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click.testing
import numpy as np
import pytest
from PIL import Image

from facemend.cli.main import main
from facemend.io import read_image, read_photo
from facemend.reconstruction.demo import read_portraits
from tests.photo_files import file_of
from tests.stand_in import ACCESSORY, COVER
from tests.tiny_celeba import gradient

Run = Callable[..., click.testing.Result]

NO_PICTURE = "is not a picture that can be read; use PNG, JPEG, WebP, TIFF, AVIF, HEIC or BMP"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs facemend in an empty folder; checks that nothing half-written stays there."""
    monkeypatch.chdir(tmp_path)

    def invoke(*words: str | Path, stdin: bytes = b"") -> click.testing.Result:
        result = click.testing.CliRunner().invoke(main, list(map(str, words)), input=stdin)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        assert not [path for path in tmp_path.rglob(".*") if path.is_file()]
        return result

    return invoke


@pytest.fixture
def model(stand_in_model: Path) -> tuple[str, ...]:
    return ("--aligned", "--model", str(stand_in_model))


def draw(path: Path, *, covered: bool = True, size: tuple[int, int] = (178, 218), seed: int = 0) -> Path:
    """Writes a picture, with a green cover if `covered` and a blue accessory always beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = gradient(*size, seed)
    if covered:
        image[100:140, 40:120] = COVER
    Image.fromarray(image).save(path)
    return path


def one_line(result: click.testing.Result, code: int) -> str:
    """The error of a run that must have said nothing else."""
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("facemend: ")
    return result.stderr


def test_a_picture_is_written_beside_itself(run: Run, model: tuple[str, ...]) -> None:
    draw(Path("a.png"))
    result = run("reconstruct", "a.png", *model)
    assert (result.exit_code, result.stdout) == (0, "1 photo reconstructed (1 face): a_reconstructed.png\n")
    before, after = read_image(Path("a.png")), read_image(Path("a_reconstructed.png"))
    assert after.shape == before.shape
    assert np.array_equal(after[:90], before[:90])
    assert tuple(after[120, 80]) == (255, 0, 255)


def test_a_folder_keeps_names_sizes_and_subfolders(run: Run, model: tuple[str, ...]) -> None:
    draw(Path("in/a.png"))
    draw(Path("in/sub/b.bmp"), size=(200, 200))
    draw(Path("in/c.PNG"), covered=False, size=(160, 160))
    flat = run("reconstruct", "in", *model, "-o", "flat")
    assert flat.stdout == "1 photo reconstructed (1 face), 1 photo without a cover, written unchanged\n"
    result = run("reconstruct", "in", *model, "-o", "out", "--recursive")
    assert result.exit_code == 0
    assert result.stdout == "2 photos reconstructed (2 faces), 1 photo without a cover, written unchanged\n"
    written = {path.relative_to("out").as_posix() for path in Path("out").rglob("*.png")}
    assert written == {"a.png", "sub/b.png", "c.png"}
    with Image.open("out/sub/b.png") as picture:
        assert (picture.format, picture.size) == ("PNG", (200, 200))
    assert np.array_equal(read_image(Path("out/c.png")), read_image(Path("in/c.PNG")))


def test_several_files_and_one_named_output(run: Run, model: tuple[str, ...]) -> None:
    draw(Path("a.png"))
    draw(Path("b.jpg"))
    assert run("reconstruct", "a.png", "b.jpg", *model, "-o", "out").exit_code == 0
    assert run("reconstruct", "a.png", *model, "-o", "new/name.png").exit_code == 0
    assert run("reconstruct", "b.jpg", *model, "-o", "new").exit_code == 0
    found = {path.as_posix() for path in Path().rglob("*.png")}
    assert found == {"a.png", "out/a.png", "out/b.png", "new/name.png", "new/b.png"}


def test_finished_work_is_skipped_and_other_options_are_other_work(
    run: Run, model: tuple[str, ...]
) -> None:
    draw(Path("in/a.png"), seed=1)
    draw(Path("in/b.png"), seed=2)
    assert run("reconstruct", "in/a.png", *model, "-o", "out/a.png").exit_code == 0
    first = Path("out/a.png").stat().st_mtime_ns
    result = run("reconstruct", "in", *model, "-o", "out")
    assert result.stdout == "1 photo reconstructed (1 face), 1 photo finished before, skipped\n"
    assert Path("out/a.png").stat().st_mtime_ns == first
    refused = run("reconstruct", "in", *model, "-o", "out", "--remove", "all")
    assert "out/a.png exists already and is not this reconstruction" in one_line(refused, 1)
    forced = run("reconstruct", "in", *model, "-o", "out", "--remove", "all", "--force")
    assert forced.stdout == "2 photos reconstructed (2 faces)\n"


def test_a_changed_input_is_other_work(run: Run, model: tuple[str, ...]) -> None:
    draw(Path("a.png"))
    run("reconstruct", "a.png", *model)
    draw(Path("a.png"), seed=5)
    assert "--force" in one_line(run("reconstruct", "a.png", *model), 1)


def test_a_folder_is_not_fed_its_own_outputs(run: Run, model: tuple[str, ...]) -> None:
    draw(Path("in/a.png"))
    for expected in ("1 photo reconstructed (1 face)", "1 photo finished before, skipped"):
        assert run("reconstruct", "in", *model, "--save-occlusion").stdout.startswith(expected)
    names = sorted(path.name for path in Path("in").iterdir())
    assert names == ["a.png", "a_occlusion.png", "a_reconstructed.png"]


def test_the_occlusion_is_saved_and_a_missing_one_made_up_for(run: Run, model: tuple[str, ...]) -> None:
    draw(Path("a.png"))
    run("reconstruct", "a.png", *model, "-o", "out.png")
    result = run("reconstruct", "a.png", *model, "-o", "out.png", "--save-occlusion")
    assert result.stdout == "1 photo reconstructed (1 face): out.png\n"
    with Image.open("out_occlusion.png") as picture:
        assert (picture.mode, picture.size) == ("L", (178, 218))
        occlusion = np.asarray(picture)
    assert occlusion[105:135, 45:115].min() == 255
    assert occlusion[:95].max() == 0


def test_a_foreign_file_is_never_overwritten_unasked(run: Run, model: tuple[str, ...]) -> None:
    draw(Path("in/a.png"))
    draw(Path("in/b.png"))
    draw(Path("out/b.png"), covered=False)
    before = Path("out/b.png").read_bytes()
    assert "out/b.png exists already" in one_line(run("reconstruct", "in", *model, "-o", "out"), 1)
    assert not Path("out/a.png").exists()
    assert Path("out/b.png").read_bytes() == before


def test_an_input_is_never_overwritten_even_with_force(run: Run, model: tuple[str, ...]) -> None:
    draw(Path("in/a.png"))
    before = Path("in/a.png").read_bytes()
    result = run("reconstruct", "in", *model, "-o", "in", "--force")
    assert "would overwrite an input" in one_line(result, 1)
    assert Path("in/a.png").read_bytes() == before


@pytest.mark.parametrize("name", ["out.jpg", "out.webp", "out.tif", "out.avif"])
def test_the_outputs_suffix_names_its_format(run: Run, model: tuple[str, ...], name: str) -> None:
    draw(Path("a.png"))
    assert (
        run("reconstruct", "a.png", *model, "-o", name).stdout
        == f"1 photo reconstructed (1 face): {name}\n"
    )
    made = json.loads(run("info", name, "--json").stdout)
    assert (made["picture"], made["options"]) == (name, {"input": "aligned", "remove": "covers"})
    assert run("reconstruct", "a.png", *model, "-o", name).stdout.startswith("1 photo finished before")
    assert "is not this reconstruction" in one_line(
        run("reconstruct", "a.png", *model, "-o", name, "--remove", "all"), 1
    )


def test_what_a_photo_says_of_itself_stays(run: Run, model: tuple[str, ...]) -> None:
    pixels = gradient(178, 218)
    pixels[100:140, 40:120] = COVER
    Path("a.jpg").write_bytes(file_of(Image.fromarray(pixels), "JPEG", quality=90))
    assert run("reconstruct", "a.jpg", *model, "-o", "out.jpg").exit_code == 0
    before, after = read_photo(Path("a.jpg")), read_photo(Path("out.jpg"))
    assert after.metadata.exif == before.metadata.exif
    assert after.metadata.icc == before.metadata.icc
    assert b'dc:format="image/any"' in (after.metadata.xmp or b"")


def test_without_an_occlusion_the_output_is_the_input_and_no_input_later(
    run: Run, model: tuple[str, ...]
) -> None:
    draw(Path("in/a.png"), covered=False)
    for words in ([], [], ["--remove", "all"]):
        result = run("reconstruct", "in", *model, *words)
        assert result.stdout.startswith("1 photo without a cover, written unchanged")
        assert Path("in/a_reconstructed.png").read_bytes() == Path("in/a.png").read_bytes()


def test_a_bad_picture_fails_alone(run: Run, model: tuple[str, ...]) -> None:
    draw(Path("in/a.png"))
    draw(Path("in/c.png"), size=(160, 200))
    Path("in/b.jpg").write_text("no picture")
    result = run("reconstruct", "in", *model, "-o", "out")
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        f"facemend: in/b.jpg {NO_PICTURE}",
        "facemend: in/c.png is 160×200; a ready crop is square or 178×218 (CelebA's frame)",
    ]
    assert result.stdout == "1 photo reconstructed (1 face), 2 photos failed\n"
    assert [path.name for path in Path("out").iterdir()] == ["a.png"]


def test_a_single_bad_picture_is_one_line(run: Run, model: tuple[str, ...]) -> None:
    Path("a.png").write_bytes(b"")
    assert "a.png is not a picture" in one_line(run("reconstruct", "a.png", *model), 1)
    assert "b.png does not exist" in one_line(run("reconstruct", "b.png", *model), 1)


def test_an_empty_folder_is_one_line(run: Run, model: tuple[str, ...]) -> None:
    Path("in").mkdir()
    result = run("reconstruct", "in", *model, "-o", "out")
    assert "in holds no pictures" in one_line(result, 1)
    assert not Path("out").exists()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_an_output_folder_that_refuses_is_one_line(
    run: Run, model: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    draw(Path("in/a.png"))
    draw(Path("in/b.png"))

    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, "refused by the disk")

    where = "pathlib.Path.write_bytes" if code == errno.ENOSPC else "facemend.files._new_file_beside"
    with monkeypatch.context() as patched:
        patched.setattr(where, refuse)
        result = run("reconstruct", "in", *model, "-o", "out")
    assert one_line(result, 1) == "facemend: cannot write out/a.png: refused by the disk\n"
    assert not list(Path("out").iterdir())


def test_a_file_in_the_place_of_the_output_folder_is_one_line(run: Run, model: tuple[str, ...]) -> None:
    draw(Path("in/a.png"))
    Path("out").write_text("a file")
    assert "cannot write out/a.png" in one_line(run("reconstruct", "in", *model, "-o", "out"), 1)


def test_two_inputs_with_one_output_are_refused_before_anything_is_written(
    run: Run, model: tuple[str, ...]
) -> None:
    draw(Path("in/a.png"))
    draw(Path("in/b.png"))
    draw(Path("other/b.png"))
    message = one_line(run("reconstruct", "in", "other", *model, "-o", "out"), 2)
    assert "in/b.png and other/b.png would both be written to out/b.png" in message
    assert not Path("out").exists()


def test_what_was_done_can_be_read_as_json(run: Run, model: tuple[str, ...]) -> None:
    draw(Path("in/a.png"))
    draw(Path("in/b.png"), covered=False)
    Path("in/c.png").write_text("no picture")
    result = run("reconstruct", "in", *model, "-o", "out", "--json")
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert document["model"]["name"] == "stand-in"
    a, b, c = document["pictures"]
    assert (a["input"], a["outcome"], a["outputs"]) == ("in/a.png", "reconstructed", ["out/a.png"])
    (region,) = a["regions"]
    assert region["coverage"] == pytest.approx(40 * 80 / (178 * 218), rel=0.3)
    assert region["box_px"] == pytest.approx([40, 100, 80, 40], abs=6)
    assert (b["outcome"], b["regions"]) == ("unchanged", [])
    assert (c["outcome"], c["error"]) == ("failed", f"in/c.png {NO_PICTURE}")


def test_quiet_says_nothing_but_errors(run: Run, model: tuple[str, ...]) -> None:
    draw(Path("a.png"))
    result = run("reconstruct", "a.png", *model, "--quiet")
    assert (result.exit_code, result.output) == (0, "")
    assert "b.png does not exist" in one_line(run("reconstruct", "b.png", *model, "-q"), 1)


def test_a_mask_says_where_to_reconstruct(run: Run, model: tuple[str, ...]) -> None:
    draw(Path("a.png"), covered=False)
    mask = np.zeros((218, 178), dtype=np.uint8)
    mask[50:80, 60:90] = 255
    Image.fromarray(mask).save("mask.png")
    assert run("reconstruct", "a.png", *model, "--mask", "mask.png", "-o", "out.png").exit_code == 0
    before, after = read_image(Path("a.png")), read_image(Path("out.png"))
    assert np.array_equal((before != after).any(axis=2), mask > 0)
    draw(Path("b.png"))
    many = run("reconstruct", "a.png", "b.png", *model, "--mask", "mask.png", "-o", "out")
    assert "--mask is for one photo, and here are 2" in one_line(many, 2)
    many = run("reconstruct", "a.png", "b.png", *model[1:], "--only", "1", "-o", "out")
    assert "--only is for one photo, and here are 2" in one_line(many, 2)
    draw(Path("c.png"), size=(64, 64), covered=False)
    other = run("reconstruct", "c.png", *model, "--mask", "mask.png")
    assert "the mask is 178×218 pixels and c.png is 64×64" in one_line(other, 2)


def test_accessories_stay_unless_they_are_asked_for(run: Run, model: tuple[str, ...]) -> None:
    image = gradient(178, 178)
    image[75:105, 30:140] = ACCESSORY  # over the eyes
    Image.fromarray(image).save("a.png")
    assert "1 photo without a cover" in run("reconstruct", "a.png", *model).stdout
    asked = run("reconstruct", "a.png", *model, "--remove", "accessories", "-o", "b.png")
    assert asked.stdout == "1 photo reconstructed (1 face): b.png\n"


def test_a_picture_goes_through_a_pipe(run: Run, model: tuple[str, ...]) -> None:
    data = draw(Path("a.png")).read_bytes()
    result = run("reconstruct", "-", *model, stdin=data)
    assert (result.exit_code, result.stderr) == (0, "1 photo reconstructed (1 face)\n")
    Path("piped.png").write_bytes(result.stdout_bytes)
    run("reconstruct", "a.png", *model, "-o", "file.png")
    assert np.array_equal(read_image(Path("piped.png")), read_image(Path("file.png")))
    named = run("reconstruct", "-", *model, "-o", "named.png", stdin=data)
    assert named.stdout == "1 photo reconstructed (1 face): named.png\n"
    assert Path("named.png").exists()
    assert "is not a picture" in one_line(run("reconstruct", "-", *model, stdin=b"x"), 1)
    words = ("reconstruct", "-", *model, "--save-occlusion")
    assert "no --save-occlusion" in one_line(run(*words, stdin=data), 2)


def draw_photo(path: Path, *, covered: bool = True) -> Path:
    """A portrait, with a green cover over nose and mouth if `covered`; the suffix names the format."""
    portrait = read_portraits()[0]
    image = portrait.photo.copy()
    x, y = portrait.landmarks_px[2:].mean(axis=0).astype(int)
    if covered:
        image[y - 24 : y + 24, x - 24 : x + 24] = COVER
    Image.fromarray(image).save(path)
    return path


def test_whole_photos_keep_their_format_and_every_pixel_elsewhere(run: Run, stand_in_model: Path) -> None:
    Path("photos").mkdir()
    draw_photo(Path("photos/masked.tif"))
    draw_photo(Path("photos/compressed.jpg"))
    Image.fromarray(gradient(120, 90)).save("photos/nobody.jpg")
    words = ("reconstruct", "photos", "--model", str(stand_in_model), "-o", "out")
    result = run(*words, "--json", "--save-occlusion", "--save-doubt")
    assert result.exit_code == 0, result.output
    told = {Path(p["input"]).name: p for p in json.loads(result.stdout)["pictures"]}
    assert [told[name]["outcome"] for name in sorted(told)] == ["reconstructed", "reconstructed", "no face"]
    (face,) = told["masked.tif"]["faces"]
    assert face["reconstructed"]
    x1, y1, wide, high = told["masked.tif"]["regions"][0]["box_px"]
    x2, y2 = x1 + wide, y1 + high
    before, after = read_image(Path("photos/masked.tif")), read_image(Path("out/masked.tif"))
    changed = (before != after).any(axis=2)
    assert changed.any()
    changed[y1:y2, x1:x2] = False
    assert not changed.any()
    occlusion, doubt = (read_image(Path(f"out/masked_{name}.png")) for name in ("occlusion", "doubt"))
    assert occlusion.any()
    assert np.array_equal((doubt != doubt[:, :, :1]).any(axis=2), occlusion.any(axis=2)), "colours"
    assert (face["face"], face["chosen"]) == (1, True)
    assert face["doubt"].startswith(f"about ±{face['interval_levels']:.0f} levels: ")
    assert "finished before" in run(*words, "--save-occlusion", "--save-doubt").stdout
    assert read_photo(Path("out/compressed.jpg")).format == "JPEG"
    assert "a guess, not evidence" in run("info", "out/compressed.jpg").stdout
    assert Path("out/nobody.jpg").read_bytes() == Path("photos/nobody.jpg").read_bytes()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["a.png", "--mask", "a.png"], 1, "a.png has no face to reconstruct under the mask"),
        (
            ["a.png", "--aligned", "-o", "out.gif"],
            2,
            "facemend writes PNG, JPEG, WebP, TIFF, AVIF and HEIC; name the output out.png",
        ),
        (["a.png", "--aligned", "--model", "no.onnx"], 1, "the model file no.onnx does not exist"),
        (["a.png", "--aligned", "--model", "a.png"], 1, "a.png is not a model that can be read"),
        (["a.png", "--aligned", "--mask", "no.png"], 1, "no.png does not exist"),
        (["a.png", "--remove", "hats"], 2, "'hats' is not one of 'covers', 'accessories', 'all'"),
        ([], 2, "Missing argument 'PHOTO...'; see facemend reconstruct --help"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_do(
    run: Run, words: list[str], code: int, message: str
) -> None:
    draw(Path("a.png"))
    assert message in one_line(run("reconstruct", *words), code)
    assert [path.name for path in Path().iterdir()] == ["a.png"]


def test_an_unknown_command_is_one_line(run: Run) -> None:
    assert "No such command 'mend'" in one_line(run("mend"), 2)


def test_ctrl_c_is_one_line_and_130(
    run: Run, model: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def press(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("facemend.reconstruction.outputs.plan_tasks", press)
    assert one_line(run("reconstruct", "a.png", *model), 130) == "facemend: interrupted\n"


def test_info_reads_a_model_and_a_picture_back(
    run: Run, model: tuple[str, ...], stand_in_model: Path
) -> None:
    about = run("info", stand_in_model)
    assert about.exit_code == 0
    assert "name             stand-in\n" in about.stdout
    assert "finds_occlusion  yes\n" in about.stdout
    facts = json.loads(run("info", stand_in_model, "--json").stdout)
    assert (facts["name"], facts["size_px"], facts["training_people"]) == ("stand-in", 256, 0)
    draw(Path("a.png"))
    run("reconstruct", "a.png", *model)
    made = json.loads(run("info", "a_reconstructed.png", "--json").stdout)
    assert made["model_sha256"] == facts["sha256"]
    assert made["options"] == {"input": "aligned", "remove": "covers"}
    assert "options.remove  covers\n" in run("info", "a_reconstructed.png").stdout


def test_info_on_anything_else_is_one_line(run: Run, stand_in_model: Path) -> None:
    draw(Path("a.png"))
    draw(Path("a.jpg"))
    Path("half.onnx").write_bytes(stand_in_model.read_bytes()[:200])
    assert "facemend did not write it" in one_line(run("info", "a.png"), 1)
    Path("a.txt").write_text("no picture")
    assert "a.txt is neither a facemend model nor a photo" in one_line(run("info", "a.txt"), 1)
    assert "a.jpg says nothing about its making" in one_line(run("info", "a.jpg"), 1)
    assert "half.onnx is not a model that can be read" in one_line(run("info", "half.onnx"), 1)
    assert "no.onnx does not exist" in one_line(run("info", "no.onnx"), 1)
    assert ". cannot be read: Is a directory" in one_line(run("info", "."), 1)


def test_the_demo_draws_its_picture_and_replaces_only_its_own(run: Run, stand_in_model: Path) -> None:
    for _ in range(2):
        result = run("demo", "--model", stand_in_model)
        assert result.exit_code == 0
        assert len(result.stdout.splitlines()) == 1 + 8 + 1
        assert result.stdout.endswith(f"wrote {Path('facemend-demo.png').resolve()}\n")
    draw(Path("mine.png"))
    before = Path("mine.png").read_bytes()
    assert "mine.png exists already" in one_line(
        run("demo", "--model", stand_in_model, "-o", "mine.png"), 1
    )
    assert Path("mine.png").read_bytes() == before
    assert run("demo", "--model", stand_in_model, "-o", "mine.png", "--force", "-q").output == ""
    assert Path("mine.png").read_bytes() != before


def test_the_shipped_model_gives_the_portraits_their_faces_back(run: Run) -> None:
    result = run("demo")
    assert result.exit_code == 0, result.stderr
    rows = [line.split() for line in result.stdout.splitlines()[1:9]]
    gains = [float(row[5]) - float(row[3]) for row in rows]
    assert min(gains) > 0
    assert np.mean(gains) > 2  # two people measure no model; one that is broken has nothing to gain


def test_the_command_line_loads_nothing_heavy_for_its_help() -> None:
    script = (
        "import sys, facemend.cli.main;"
        "print(sorted({'numpy', 'PIL', 'onnxruntime', 'torch', 'cv2', 'tqdm'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_verbose_says_why_a_face_was_left_alone_and_its_photo(tmp_path: Path) -> None:
    Image.fromarray(read_portraits()[0].photo).save(tmp_path / "a.png")
    command = [sys.executable, "-m", "facemend", "reconstruct", "a.png"]
    lines = [
        subprocess.run(
            [*command, *words], cwd=tmp_path, capture_output=True, text=True, check=True
        ).stderr.splitlines()
        for words in ([], ["--verbose", "--force"])
    ]
    assert lines[0] == []
    assert any(re.match(r"facemend: a\.png: face at .* is left alone: ", line) for line in lines[1])

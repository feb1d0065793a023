"""Situations that people reported of programs like this one, by kind. Each test makes its own inputs."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import click.testing
import numpy as np
import pytest
from PIL import Image

import facemend
from facemend.cli.main import main
from facemend.cli.options import _ADVICE
from facemend.errors import FacemendError, PictureError, UsageError
from facemend.images import Image as Pixels
from facemend.io import read_image
from facemend.reconstruction.demo import read_portraits
from facemend.reconstruction.reconstructor import Reconstructor
from tests.stand_in import ACCESSORY, COVER, draw_crop
from tests.tiny_celeba import gradient

Run = Callable[..., click.testing.Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stand_in_model: Path) -> Run:
    """Runs facemend reconstruct in an empty folder, with a model that needs no training."""
    monkeypatch.chdir(tmp_path)

    def invoke(*words: str | Path, stdin: bytes = b"") -> click.testing.Result:
        line = ["reconstruct", *map(str, words), "--model", str(stand_in_model)]
        result = click.testing.CliRunner().invoke(main, line, input=stdin)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        return result

    return invoke


@pytest.fixture(scope="module")
def reconstructor(stand_in_model: Path) -> Reconstructor:
    return Reconstructor(stand_in_model, threads=1)


def portrait(colour: tuple[int, int, int] | None = COVER) -> Pixels:
    """A portrait with a square of a colour over nose and mouth."""
    found = read_portraits()[0]
    image = found.photo.copy()
    x, y = found.landmarks_px[2:].mean(axis=0).astype(int)
    if colour is not None:
        image[y - 24 : y + 24, x - 24 : x + 24] = colour
    return image


def closed_file() -> BytesIO:
    file = BytesIO()
    file.close()
    return file


# B. Colour where the photo has none


def toned(image: Pixels, tone: str) -> Pixels:
    """A photo in one colour for each lightness. Its cover keeps its colour."""
    light = np.asarray(Image.fromarray(image).convert("L"), dtype=np.float32)[:, :, None] / 255
    curve = {
        "gray": light * [255, 255, 255],
        "sepia": np.concatenate([light**0.8 * 255, light * 235, light**1.2 * 200], axis=2),
        "night vision": light * [110, 255, 130],
    }[tone]
    result: Pixels = np.rint(curve).astype(np.uint8)
    cover = (image == COVER).all(axis=2)
    result[cover] = COVER
    return result


@pytest.mark.parametrize("tone", ["gray", "sepia", "night vision"])
def test_a_photo_without_colours_gets_none(reconstructor: Reconstructor, tone: str) -> None:
    before = toned(portrait(), tone)
    result = reconstructor(before)
    made = result.removed > 0
    assert made.any()
    curve = toned(np.repeat(np.arange(256, dtype=np.uint8)[:, None, None], 3, axis=2), tone)[:, 0].astype(
        int
    )
    away = np.abs(result.array[made].astype(int)[:, None] - curve[None]).max(axis=2).min(axis=1)
    assert np.quantile(away, 0.9) <= 12  # the negative of the cover would be pure magenta
    if tone == "gray":
        assert np.ptp(result.array[made].astype(int), axis=1).max() == 0


def test_a_photo_with_colours_keeps_them(reconstructor: Reconstructor) -> None:
    result = reconstructor(portrait())
    made = result.array[result.removed == 1].astype(int)
    assert np.abs(made - (255, 0, 255)).max(axis=1).min() < 60


# D. The map is what changed


def test_every_changed_pixel_is_in_the_map_and_no_other(run: Run) -> None:
    Image.fromarray(portrait()).save("a.png")
    told = json.loads(run("a.png", "-o", "b.png", "--save-occlusion", "--json").stdout)
    changed = (read_image(Path("a.png")) != read_image(Path("b.png"))).any(axis=2)
    shown = np.asarray(Image.open("b_occlusion.png")) > 0
    assert changed.any()
    assert not changed[~shown].any()
    x, y, width, height = told["pictures"][0]["regions"][0]["box_px"]
    assert shown[y : y + height, x : x + width].sum() == shown.sum()
    (face,) = told["pictures"][0]["faces"]
    left, top, wide, high = face["box_px"]
    assert 0 < left < left + wide < changed.shape[1]
    assert 0 < top < top + high < changed.shape[0]


# E. Writing a file


def test_in_place_the_photo_behind_a_link_is_replaced_and_the_link_stays(run: Run) -> None:
    Path("photos").mkdir()
    Image.fromarray(portrait()).save("photos/real.png")
    Path("link.png").symlink_to("photos/real.png")
    before = Path("photos/real.png").read_bytes()
    assert run("link.png", "--in-place").exit_code == 0
    assert Path("link.png").is_symlink()
    assert Path("photos/real.png").read_bytes() != before
    # A photo and a link to it are one photo.
    Path("photos/again.png").symlink_to("real.png")
    assert run("photos", "--in-place").stdout == "1 photo finished before, skipped: photos/real.png\n"


def test_in_place_a_photo_keeps_all_its_names_its_mode_and_its_owner(run: Run) -> None:
    Image.fromarray(portrait()).save("a.png")
    Path("second.png").hardlink_to("a.png")
    Path("a.png").chmod(0o640)
    before = Path("a.png").stat()
    assert run("a.png", "--in-place").exit_code == 0
    after = Path("a.png").stat()
    assert (after.st_ino, after.st_uid, after.st_gid) == (before.st_ino, before.st_uid, before.st_gid)
    assert stat.S_IMODE(after.st_mode) == 0o640
    assert Path("second.png").read_bytes() == Path("a.png").read_bytes()
    assert sorted(path.name for path in Path().iterdir()) == ["a.png", "second.png"]


def test_names_go_up_to_the_limit_of_the_file_system(run: Run) -> None:
    name = "ä" * 125 + ".png"  # 254 bytes
    draw_crop(Path("in") / name)
    assert run("in", "--aligned", "-o", "out").exit_code == 0
    assert (Path("out") / name).exists()


def test_nothing_plays_with_the_umask(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> int:
        raise AssertionError("another thread would make a file that all may write")

    draw_crop(Path("a.png"))
    monkeypatch.setattr(os, "umask", refuse)
    assert run("a.png", "--aligned", "-o", "b.png").exit_code == 0


# F. One output that cannot be written fails alone


def test_an_output_that_cannot_be_written_fails_alone(run: Run) -> None:
    for number in range(3):
        draw_crop(Path(f"in/{number}.png"), seed=number)
    Path("out/1.png/full").mkdir(parents=True)
    for words in ([], ["--force"]):
        result = run("in", "--aligned", "-o", "out", "--json", "--jobs", "1", *words)
        assert result.exit_code == 1
        outcomes = [one["outcome"] for one in json.loads(result.stdout)["pictures"]]
        assert outcomes[1] == "failed"
        assert "failed" not in outcomes[::2]
        assert len(result.stderr.splitlines()) == 1


def test_a_full_disk_ends_the_run_and_json_says_what_was_done(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        draw_crop(Path(f"in/{number}.png"), seed=number)
    real = Path.write_bytes

    def write(path: Path, data: bytes) -> int:
        if len(list(Path("out").glob("*.png"))) > 1:  # the first is there, and a new one is begun
            raise OSError(28, "No space left on device")
        return real(path, data)

    monkeypatch.setattr(Path, "write_bytes", write)
    result = run("in", "--aligned", "-o", "out", "--json", "--jobs", "1")
    assert result.exit_code == 1
    assert [one["outcome"] for one in json.loads(result.stdout)["pictures"]] == ["reconstructed"]
    assert result.stderr.startswith("facemend: cannot write out/1.png: No space left")


# G. Which files are pictures


def test_stems_that_collide_are_told_apart(run: Run) -> None:
    draw_crop(Path("in/a.png"))
    draw_crop(Path("in/a.bmp"), seed=1)
    draw_crop(Path("in/b.png"), seed=2)
    result = run("in", "--aligned", "-o", "out", "--save-occlusion")
    assert result.exit_code == 0, result.stderr
    names = {path.name for path in Path("out").iterdir()}
    assert names == {
        "a.png", "a.bmp.png", "b.png", "a.png_occlusion.png", "a.bmp_occlusion.png", "b_occlusion.png"
    }  # fmt: skip


def test_one_picture_is_not_a_folder_for_two(run: Run) -> None:
    draw_crop(Path("a.png"))
    draw_crop(Path("b.png"))
    result = run("a.png", "b.png", "--aligned", "-o", "single.png")
    assert result.exit_code == 2
    assert result.stderr == (
        "facemend: single.png names one picture, and there are 2; name a folder to write them into\n"
    )
    assert not Path("single.png").exists()


# H. One reader


def test_a_mask_of_zero_and_one_or_with_opacity_marks_what_it_shows(reconstructor: Reconstructor) -> None:
    from facemend.io import read_mask

    marked = np.zeros((4, 6), dtype=np.uint8)
    marked[1:3, 2:5] = 1
    clear = np.dstack([np.full((4, 6), 255, dtype=np.uint8), marked * 255])
    for picture in (marked, marked * 255, clear):
        file = BytesIO()
        Image.fromarray(picture).save(file, "PNG")
        np.testing.assert_array_equal(read_mask(file.getvalue()), marked == 1)


# I. Answers that tell apart


def test_no_face_a_face_without_a_cover_and_an_empty_mask_are_three_answers(run: Run) -> None:
    Image.fromarray(gradient(160, 160)).save("nobody.png")
    Image.fromarray(portrait(None)).save("bare.png")
    Image.new("L", (160, 160)).save("empty.png")
    assert "1 photo without a face, written unchanged" in run("nobody.png", "-o", "1.png").stdout
    assert "1 photo without a cover, written unchanged" in run("bare.png", "-o", "2.png").stdout
    nothing = run("nobody.png", "--aligned", "--mask", "empty.png", "-o", "3.png")
    assert (nothing.exit_code, nothing.stdout) == (2, "")
    assert nothing.stderr == "facemend: the mask marks nothing; paint white what is to be reconstructed\n"


def test_what_hides_a_face_and_stays_is_said(run: Run) -> None:
    Image.fromarray(portrait(ACCESSORY)).save("a.png")
    result = run("a.png", "-o", "b.png")
    assert "--remove all takes it away" in result.stdout
    told = json.loads(run("a.png", "-o", "b.png", "--json", "--force").stdout)["pictures"][0]
    assert (told["outcome"], told["faces"][0]["stays"]) == ("unchanged", ["accessories"])
    assert "stays" not in run("a.png", "-o", "c.png", "--remove", "all").stdout


def test_a_mask_of_another_shape_is_told_in_pixels(run: Run) -> None:
    draw_crop(Path("a.png"))
    Image.new("L", (30, 20), 255).save("m.png")
    said = run("a.png", "--aligned", "--mask", "m.png", "-o", "b.png").stderr
    assert (
        "the mask is 30×20 pixels and a.png is 128×128; a mask has the photo's shape, at any size" in said
    )


# K. No traceback at the edge


def _facemend(*words: str | Path, cwd: Path, shell: str = "") -> subprocess.CompletedProcess[str]:
    command = ["bash", "-c", f'"$0" -m facemend "$@" {shell}', sys.executable, *map(str, words)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_closed_and_full_streams_are_no_tracebacks(tmp_path: Path, stand_in_model: Path) -> None:
    draw_crop(tmp_path / "a.png")
    words = ("reconstruct", "a.png", "--aligned", "--model", stand_in_model, "-o")
    silent = _facemend(*words, "b.png", cwd=tmp_path, shell="2>&-")
    assert silent.returncode == 0
    assert read_image(tmp_path / "b.png").shape == (128, 128, 3)
    full = _facemend(*words, "c.png", cwd=tmp_path, shell="> /dev/full")
    assert (full.returncode, full.stderr) == (1, "facemend: No space left on device\n")


def test_a_folder_that_was_removed_and_a_closed_stdin_are_one_line(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    said = _facemend("reconstruct", "a.png", "-o", "b.png", cwd=tmp_path, shell="; true")
    assert "Traceback" not in said.stderr
    moved = subprocess.run(
        ["bash", "-c", 'cd gone && rmdir ../gone && "$0" -m facemend reconstruct ../a.png -o b.png; true',
         sys.executable],
        cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert "Traceback" not in moved.stderr
    assert "facemend: " in moved.stderr
    closed = _facemend("reconstruct", "-", cwd=tmp_path, shell="<&-")
    assert closed.returncode == 1
    assert len(closed.stderr.splitlines()) == 1


def test_names_that_are_not_utf8_are_printed_and_written(run: Run) -> None:
    name = os.fsdecode(b"in/\xff\xfe.png")
    draw_crop(Path("in/plain.png"))
    os.rename("in/plain.png", name)  # noqa: PTH104 (a name that no text has)
    told = run("in", "--aligned", "-o", "out", "--json")
    assert told.exit_code == 0, told.stderr
    assert json.loads(told.stdout)["pictures"][0]["outcome"] == "reconstructed"
    assert run("in", "--aligned", "-o", "out").exit_code == 0


# L. Advice that can be followed


def test_what_errors_advise_exists_on_the_command_line() -> None:
    options = {
        word
        for parameter in main.commands["reconstruct"].params
        for word in (*parameter.opts, *parameter.secondary_opts)
    }
    assert {option.split(" ")[0] for option in _ADVICE.values()} <= options


def test_python_is_advised_its_own_arguments(
    tmp_path: Path, reconstructor: Reconstructor, run: Run
) -> None:
    result = reconstructor(gradient(64, 64), aligned=True)
    result.save(tmp_path / "a.png")
    with pytest.raises(facemend.errors.OutputError, match=r"add force=True$"):
        result.save(tmp_path / "a.png")
    draw_crop(Path("b.png"))
    run("b.png", "--aligned", "-o", "c.png")
    again = run("b.png", "--aligned", "-o", "c.png", "--remove", "all")
    assert again.stderr.endswith("choose another output or add --force\n")


# Python


@pytest.mark.parametrize("axes", [(), (1,), (3,), (4,)])
def test_an_array_comes_back_as_it_was(reconstructor: Reconstructor, axes: tuple[int, ...]) -> None:
    image = gradient(64, 64)
    given = {
        (): image[..., 0], (1,): image[..., :1], (3,): image, (4,): np.dstack([image, image[..., 1]])
    }[axes]  # fmt: skip
    result = reconstructor(given, aligned=True)
    np.testing.assert_array_equal(result.array, given)
    mask = np.zeros((64, 64), dtype=np.bool_)
    mask[20:40, 20:40] = True
    changed = reconstructor(given, aligned=True, mask=mask).array
    assert changed.shape == given.shape
    assert changed.dtype == np.uint8
    assert (changed != given).any()
    if axes == (4,):
        np.testing.assert_array_equal(changed[..., 3], given[..., 3])


def test_bytes_are_taken_and_files_in_memory_written(reconstructor: Reconstructor) -> None:
    file = BytesIO()
    Image.fromarray(gradient(64, 64)).save(file, "PNG")
    result = reconstructor(file.getvalue(), aligned=True)
    out = BytesIO()
    result.save(out)
    assert out.getvalue() == file.getvalue()


def test_what_is_no_source_and_no_target_is_said(reconstructor: Reconstructor) -> None:
    with pytest.raises(UsageError, match="a photo is a path, an open binary file"):
        reconstructor(None)  # type: ignore[arg-type]
    with pytest.raises(PictureError, match=r"float64 \(8, 8\); pass uint8"):
        reconstructor(np.zeros((8, 8)))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="save takes a path or an open binary file, not int"):
        reconstructor(gradient(64, 64), aligned=True).save(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("a\0.png", "no name holds a zero byte"),
        (StringIO("text"), "a file of text; open it with mode 'rb'"),
        (closed_file(), "a file that was closed; open it again"),
    ],
)
def test_a_source_that_cannot_be_read_is_one_line(
    reconstructor: Reconstructor, source: Any, said: str
) -> None:
    with pytest.raises(PictureError, match=said):
        reconstructor(source)


@pytest.mark.parametrize("target", [".", "a\0.png", StringIO(), closed_file()])
def test_a_target_that_cannot_be_written_is_one_line(reconstructor: Reconstructor, target: Any) -> None:
    with pytest.raises(FacemendError, match=r"name a file in it|no name holds a zero|open binary file"):
        reconstructor(gradient(64, 64), aligned=True).save(target)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mask": "mask.png"}, "the mask is of type str; pass a bool array"),
        ({"mask": Image.new("1", (64, 64))}, "the mask is of type Image; pass a bool array"),
        ({"faces": (1, 2, 3, 4)}, "1 is not a region; give"),
        ({"faces": "all"}, "'all' is not a list of regions"),
        ({"keep": 5}, "5 is not a list of regions"),
        ({"occlusion_threshold": "high"}, "a threshold of high cannot be"),
    ],
)
def test_options_of_another_type_are_one_line(
    reconstructor: Reconstructor, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        reconstructor(gradient(64, 64), aligned="faces" not in options, **options)


# The unclear ones


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_photo_on_its_side_is_searched_all_the_same(reconstructor: Reconstructor, quarters: int) -> None:
    lying = np.ascontiguousarray(np.rot90(portrait(), quarters))
    result = reconstructor(lying)
    (done,) = (face for face in result.faces if face.changed)
    assert not (result.array == COVER).all(axis=2).any()
    upright = reconstructor(portrait()).faces[0].face
    assert sorted(done.face.box[2:]) == pytest.approx(sorted(upright.box[2:]), rel=0.15)


def test_small_faces_in_a_panorama_are_found(reconstructor: Reconstructor) -> None:
    small = np.asarray(Image.fromarray(portrait()).resize((150, 150), Image.Resampling.BOX))
    wide = np.full((400, 6000, 3), 120, dtype=np.uint8)
    for left in (100, 2950, 5800):
        wide[200:350, left : left + 150] = small
    assert len(reconstructor(wide).faces) == 3


def test_a_jpeg_without_its_end_is_read_as_viewers_show_it() -> None:
    file = BytesIO()
    Image.fromarray(gradient(128, 128)).save(file, "JPEG", quality=90)
    data = file.getvalue()
    whole = read_image(data).astype(int)
    for cut in (data[:-2], data[:-6]):
        assert np.abs(read_image(cut).astype(int) - whole)[:96].max() == 0
    with pytest.raises(PictureError, match="its lower part is missing"):
        read_image(data[: len(data) * 2 // 3])


# The command


def test_stdin_says_what_was_done_beside_the_picture(run: Run) -> None:
    data = draw_crop(Path("a.png"), covered=False).read_bytes()
    plain = run("-", "--aligned", stdin=data)
    assert plain.stdout_bytes.startswith(b"\x89PNG")
    assert plain.stderr == "1 photo without a cover, written unchanged\n"
    told = run("-", "--aligned", "--json", "-o", "b.png", stdin=data)
    assert json.loads(told.stdout)["pictures"][0]["outcome"] == "unchanged"
    beside = run("-", "--aligned", "--json", stdin=data)
    assert json.loads(beside.stderr)["pictures"][0]["input"] == "-"


def test_a_file_goes_to_stdout_where_the_output_is_a_dash(run: Run) -> None:
    draw_crop(Path("a.png"))
    plain = run("a.png", "--aligned", "-o", "-")
    assert plain.stdout_bytes.startswith(b"\x89PNG")
    assert plain.stderr == "1 photo reconstructed (1 face)\n"
    assert run("-", "--aligned", "-o", "-", stdin=Path("a.png").read_bytes()).stdout_bytes == (
        plain.stdout_bytes
    )
    several = run("a.png", "a.png", "-o", "-")
    assert several.exit_code == 2
    assert several.stderr.endswith("stdout takes one picture; name a folder to write several into\n")
    assert list(Path().iterdir()) == [Path("a.png")]


@pytest.mark.parametrize("words", [("",), ("a.png", "-o", ""), ("a.png", "--mask", "")])
def test_the_name_of_a_variable_that_is_not_set_is_no_current_folder(
    run: Run, words: tuple[str, ...]
) -> None:
    draw_crop(Path("a.png"))
    told = run(*words)
    assert told.exit_code == 2
    assert "the name of a file is empty" in told.stderr
    assert list(Path().iterdir()) == [Path("a.png")]


def test_completion_is_installed_by_one_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("SHELL", "/bin/bash")
    for words, path in (
        ([], "data/bash-completion/completions/facemend"),
        (["zsh"], "data/zsh/site-functions/_facemend"),
        (["fish"], "config/fish/completions/facemend.fish"),
    ):
        result = click.testing.CliRunner().invoke(main, ["completion", *words])
        assert result.exit_code == 0, result.output
        assert "_FACEMEND_COMPLETE" in (tmp_path / path).read_text()


def test_info_is_for_people(run: Run) -> None:
    Image.fromarray(portrait()).save("a.png")
    run("a.png", "-o", "b.png")
    told = click.testing.CliRunner().invoke(main, ["info", "b.png"]).stdout
    assert "% of the picture" in told
    assert "{" not in told
    assert "[" not in told


def test_long_work_says_where_it_is_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:

    from facemend import terminal

    monkeypatch.setattr(terminal, "_EVERY_S", 0)
    assert list(terminal.progress(range(3), unit="photos")) == [0, 1, 2]
    said = capsys.readouterr().err
    assert "2 of 3 photos" in said
    assert "\r" not in said
    assert list(terminal.progress(range(3), unit="photos", quiet=True)) == [0, 1, 2]
    assert capsys.readouterr().err == ""

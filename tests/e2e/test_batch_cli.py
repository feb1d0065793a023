"""facemend reconstruct over many photos: patterns, workers, what is skipped, what is replaced."""

import json
from collections.abc import Callable
from pathlib import Path

import click.testing
import numpy as np
import pytest
from PIL import Image

from facemend.cli.main import main
from facemend.io import read_image
from facemend.reconstruction.batch import RECORD_NAME
from tests.stand_in import draw_crop
from tests.tiny_celeba import gradient

Run = Callable[..., click.testing.Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stand_in_model: Path) -> Run:
    """Runs facemend reconstruct in an empty folder, with a model that needs no training."""
    monkeypatch.chdir(tmp_path)

    def invoke(*words: str | Path) -> click.testing.Result:
        line = ["reconstruct", *map(str, words), "--model", str(stand_in_model)]
        result = click.testing.CliRunner().invoke(main, line)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        return result

    return invoke


def test_workers_write_what_one_process_writes_and_report_the_bad(run: Run) -> None:
    for number in range(5):
        draw_crop(Path(f"in/{number}.png"), covered=number != 2, seed=number)
    Path("in/3.png").write_text("no picture")
    one = run("in", "--aligned", "-o", "one", "--jobs", "1", "--save-occlusion")
    two = run("in", "--aligned", "-o", "two", "--jobs", "2", "--save-occlusion")
    assert one.exit_code == two.exit_code == 1
    assert one.stdout == two.stdout
    assert (
        one.stdout
        == "3 photos reconstructed (3 faces), 1 photo without a cover, written unchanged, 1 photo failed\n"
    )
    assert two.stderr.startswith("facemend: in/3.png is not a picture")
    names = {path.name for path in Path("one").iterdir()}
    assert names == {path.name for path in Path("two").iterdir()}
    assert all(Path("one", name).read_bytes() == Path("two", name).read_bytes() for name in names)


def test_an_error_in_a_worker_is_one_line(run: Run) -> None:
    for number in range(4):
        draw_crop(Path(f"in/{number}.png"))
    Path("out").write_text("a file")
    result = run("in", "--aligned", "-o", "out", "--jobs", "2")
    assert result.exit_code == 1
    assert result.stderr.startswith("facemend: cannot write out/")


def test_a_copy_is_noted_and_not_looked_at_again(run: Run) -> None:
    Path("in").mkdir()
    for number in range(2):
        Image.fromarray(gradient(90, 80, number)).save(f"in/{number}.jpg")
    assert run("in", "-o", "out").stdout == "2 photos without a face, written unchanged\n"
    assert run("in", "-o", "out").stdout == "2 photos finished before, skipped\n"
    assert len((Path("out") / RECORD_NAME).read_text().splitlines()) == 2
    assert run("in", "-o", "out", "--min-confidence", "0.9").stdout.startswith("2 photos without a face")
    Image.fromarray(gradient(90, 80, 7)).save("in/1.jpg")
    Path("out/1.jpg").unlink()
    again = run("in", "-o", "out")
    assert again.stdout == "1 photo without a face, written unchanged, 1 photo finished before, skipped\n"


def test_half_a_line_of_the_record_is_passed_over(run: Run) -> None:
    draw_crop(Path("in/a.png"), covered=False)
    draw_crop(Path("in/b.png"), covered=False)
    run("in", "--aligned", "-o", "out")
    record = Path("out") / RECORD_NAME
    record.write_text(record.read_text()[:-40])
    result = run("in", "--aligned", "-o", "out")
    assert result.stdout == "1 photo without a cover, written unchanged, 1 photo finished before, skipped\n"


def test_a_pattern_is_expanded_and_keeps_subfolders(run: Run) -> None:
    draw_crop(Path("in/a.png"))
    draw_crop(Path("in/sub/b.png"))
    draw_crop(Path("in/sub/c.jpg"))
    assert run("in/**/*.png", "--aligned", "-o", "out").stdout == "2 photos reconstructed (2 faces)\n"
    assert sorted(p.relative_to("out").as_posix() for p in Path("out").rglob("*.png")) == [
        "a.png",
        "sub/b.png",
    ]
    draw_crop(Path("in/[1].png"))
    assert run("in/[1].png", "--aligned", "-o", "one.png").exit_code == 0  # a file is itself first
    nothing = run("in/*.webp", "--aligned", "-o", "out")
    assert (nothing.exit_code, nothing.stderr) == (
        1,
        "facemend: in/*.webp matches no pictures to reconstruct\n",
    )


def test_earlier_outputs_among_the_files_named_are_left_out(run: Run) -> None:
    draw_crop(Path("a.png"))
    draw_crop(Path("b.png"), covered=False)
    words = ["a.png", "b.png", "--aligned", "--save-occlusion"]
    assert run(*words).exit_code == 0
    result = run(*sorted(Path().glob("*.png")), "--aligned", "--save-occlusion")
    assert result.stdout == "2 photos finished before, skipped\n"


def test_a_folder_alone_is_not_searched_below(run: Run) -> None:
    draw_crop(Path("in/sub/a.png"))
    result = run("in", "--aligned", "-o", "out")
    assert "in holds no pictures to reconstruct; --recursive looks into its subfolders" in result.stderr
    assert run("in", "--aligned", "-o", "out", "--recursive").stdout.startswith(
        "1 photo reconstructed (1 face)"
    )


def test_photos_are_replaced_in_place_once(run: Run) -> None:
    from tests.e2e.test_reconstruct_cli import draw_photo

    Path("in").mkdir()
    masked, plain = draw_photo(Path("in/masked.png")), draw_photo(Path("in/plain.png"), covered=False)
    before, untouched = read_image(masked), plain.read_bytes()
    done = run("in", "--in-place")
    assert done.stdout == "1 photo reconstructed (1 face), 1 photo without a cover, written unchanged\n"
    after = read_image(masked)
    assert (after != before).any()
    assert plain.read_bytes() == untouched
    assert run("in", "--in-place").stdout == "2 photos finished before, skipped\n"
    np.testing.assert_array_equal(read_image(masked), after)
    other = run("in", "--in-place", "--remove", "all")
    assert "is not this reconstruction" in other.stderr
    assert run("in", "--in-place", "-o", "out").exit_code == 2
    assert run("in", "--in-place", "--aligned").exit_code == 2
    told = json.loads(run("in", "--in-place", "--json").stdout)
    assert [picture["outcome"] for picture in told["pictures"]] == ["skipped", "skipped"]

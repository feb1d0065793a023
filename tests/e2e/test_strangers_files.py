"""What strangers may put into a folder, and what the commands make of it: one line, the right exit code."""

import io
import json
import os
import sqlite3
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click.testing
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image, PngImagePlugin

from facemend.cli.main import main
from facemend.reconstruction.batch import RECORD_NAME
from facemend.reconstruction.model import METADATA_KEY
from tests.stand_in import COVER, DESCRIPTION, write_model
from tests.tiny_celeba import gradient, make_celeba

Run = Callable[..., click.testing.Result]
Refuse = Callable[..., str]

_ESCAPE = "\x1b]0;pwned\x07\x1b[2J\x9b31m\u202e"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs facemend in an empty folder; a traceback fails the test."""
    monkeypatch.chdir(tmp_path)

    def invoke(*words: str | Path, stdin: bytes | None = None) -> click.testing.Result:
        result = click.testing.CliRunner().invoke(main, list(map(str, words)), stdin)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        return result

    return invoke


@pytest.fixture
def refuse(run: Run) -> Refuse:
    """Runs facemend, which has to end with an exit code and one line, and gives the line."""

    def invoke(code: int, *words: str | Path) -> str:
        result = run(*words)
        assert (result.exit_code, result.stderr.count("\n")) == (code, 1), result.output
        assert result.stderr.startswith("facemend: ")
        assert result.stderr[:-1].isprintable()
        return result.stderr

    return invoke


def draw(path: Path, *, covered: bool = False, mode: int = 0o644) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = gradient(128, 128)
    if covered:
        image[60:90, 40:80] = COVER
    Image.fromarray(image).save(path)
    path.chmod(mode)
    return path


def looping_model(path: Path) -> Path:
    """A model that computes for ever, and whose description is in order."""
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["d"]), helper.make_node("Neg", ["x"], ["y"])],
        "body",
        [value("i", TensorProto.INT64, []), value("c", TensorProto.BOOL, []), value("x", 1, None)],
        [value("d", TensorProto.BOOL, []), value("y", 1, None)],
    )
    graph = helper.make_graph(
        [helper.make_node("Loop", ["times", "", "image"], ["raw"], body=body)],
        "loop",
        [value("image", TensorProto.FLOAT, ["n", 3, 256, 256])],
        [value("raw", TensorProto.FLOAT, ["n", 3, 256, 256])],
        [numpy_helper.from_array(np.array(2**62), "times")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    plain = replace(DESCRIPTION, takes_hint=False, finds_occlusion=False, says_interval=False)
    helper.set_model_props(model, {METADATA_KEY: plain.to_json()})
    onnx.save(model, str(path))
    return path


# Kind 2: bookkeeping files


@pytest.mark.parametrize("kind", ["link", "link to a device", "hard link", "pipe", "folder"])
def test_the_record_of_a_strangers_folder_is_no_way_out_of_it(
    refuse: Refuse, stand_in_model: Path, kind: str
) -> None:
    for name in ("$(touch pwned).png", "b.png"):
        draw(Path("in") / name)
    Path("out").mkdir()
    Path(".profile").write_text("theirs\n")
    record = Path("out") / RECORD_NAME
    match kind:
        case "link":
            record.symlink_to("../.profile")
        case "link to a device":
            record.symlink_to("/dev/zero")
        case "hard link":
            record.hardlink_to(".profile")
        case "pipe":
            os.mkfifo(record)
        case "folder":
            record.mkdir()
    words = ("reconstruct", "in", "-o", "out", "--aligned", "--model", stand_in_model)
    assert RECORD_NAME in refuse(1, *words)
    assert Path(".profile").read_text() == "theirs\n"


def test_lines_of_a_record_that_are_not_ours_do_not_count(run: Run, stand_in_model: Path) -> None:
    draw(Path("in/a.png"))
    draw(Path("in/b.png"))
    words = ("reconstruct", "in", "-o", "out", "--aligned", "--model", stand_in_model)
    run(*words)
    record = Path("out") / RECORD_NAME
    ours = record.read_text()
    wrong = [
        "[" * 100_000,
        "{}",
        "[]",
        '{"name": 1}',
        ours.splitlines()[0].replace('"a.png"', "[]"),
        "\xff",
    ]
    record.write_bytes(("\n".join(wrong) + "\n" + ours).encode("latin-1"))
    assert run(*words).stdout == "2 photos finished before, skipped\n"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("dataset.json", "is a link"),
        ("occluded", "is a link"),
        ("manifest.jsonl", "manifest.jsonl already"),
    ],
)
def test_a_dataset_is_not_built_through_links(refuse: Refuse, tmp_path: Path, name: str, said: str) -> None:
    celeba = make_celeba(tmp_path / "celeba", tuple(range(11, 41)))
    Path("elsewhere").mkdir()
    Path("pairs").mkdir()
    Path("pairs", name).symlink_to("../elsewhere" if name == "occluded" else "/dev/zero")
    assert said in refuse(1, "dataset", "build", celeba, "pairs", "--count", "1", "--workers", "1", "-q")
    assert not list(Path("elsewhere").iterdir())


def test_the_log_of_a_build_is_not_written_through_a_link(run: Run, tmp_path: Path) -> None:
    celeba = make_celeba(tmp_path / "celeba", tuple(range(11, 41)))
    words = ("dataset", "build", celeba, "pairs", "--count", "1", "--workers", "1", "-q")
    run(*words)
    Path(".profile").write_text("theirs\n")
    Path("pairs/manifest.jsonl.part").symlink_to("../.profile")
    assert "is a link" in run(*words).stderr
    assert Path(".profile").read_text() == "theirs\n"


def test_a_manifest_names_no_file_outside_its_folder(refuse: Refuse) -> None:
    Path("pairs").mkdir()
    Path("pairs/dataset.json").write_text('{"layout": "folders", "format": "png"}')
    row = {"file": "../../secret.png", "kind": "\x1b[2J", "landmarks": "x", "coverage": 0.5}
    Path("pairs/manifest.jsonl").write_text(json.dumps(row) + "\n[]\n1\n")
    result = click.testing.CliRunner().invoke(main, ["dataset", "stats", "pairs"])
    assert "\x1b" not in result.output
    assert "0 pairs" in result.output


def test_a_pattern_leads_through_no_link(run: Run, stand_in_model: Path) -> None:
    draw(Path("private/mine.png"))
    draw(Path("theirs/a.png"))
    Path("theirs/more").symlink_to("../private")
    run("reconstruct", "theirs/**", "--aligned", "--model", stand_in_model)
    assert [path.name for path in Path("private").iterdir()] == ["mine.png"]


# Kind 6: terminals and reports


def test_a_terminal_obeys_neither_a_picture_nor_its_name(run: Run, refuse: Refuse) -> None:
    info = PngImagePlugin.PngInfo()
    fields: dict[str, object] = {
        "notice": "",
        "software": "s",
        "model": _ESCAPE,
        "model_sha256": "0\nfake: line",
    }
    fields |= {"input_sha256": None, "options": {_ESCAPE: "\r\n"}, "regions": []}
    info.add_itxt("facemend", json.dumps(fields))
    name = Path("a\x1b[2J\nfacemend: all is well.png")
    Image.fromarray(gradient(32, 32)).save(name, pnginfo=info)
    shown = run("info", name)
    assert shown.exit_code == 0
    assert all(line.isprintable() for line in shown.stdout.splitlines())
    assert "fake: line" in shown.stdout
    assert not any(line.startswith(("fake", "facemend: all")) for line in shown.stdout.splitlines())
    printed = run("info", name, "--json").stdout
    assert all(line.isprintable() for line in printed.splitlines())
    assert json.loads(printed)["model"] == _ESCAPE
    refuse(1, "info", "gone\x1b[2J\n.png")
    refuse(2, "info", "--no\x1b[2J")
    name.write_text("no picture")
    refuse(1, "reconstruct", name)


def test_a_name_that_is_not_utf8_is_shown(run: Run, refuse: Refuse, stand_in_model: Path) -> None:
    name = os.fsdecode(b"\xff.png")
    draw(Path("in") / name)
    draw(Path("in/b.png"))
    words = ("reconstruct", "in", "-o", "out", "--aligned", "--model", stand_in_model, "--json")
    assert len(json.loads(run(*words).stdout)["pictures"]) == 2
    assert "not UTF-8; rename it" in refuse(1, "dataset", "build", "in", "pairs", "--count", "1", "-q")


def test_a_report_shows_names_and_no_markup(run: Run, tmp_path: Path) -> None:
    celeba = make_celeba(tmp_path / "celeba", tuple(range(11, 41)))
    name = f"a|b <img src=x> [click](http://x) `{_ESCAPE}\n# Title"
    write_model(tmp_path / "m.onnx", text=replace(DESCRIPTION, name=name).to_json())
    words = ("--kinds", "nose_mask", "--baselines", "none", "--limit", "1", "-o", "```\nreport")
    done = run("evaluate", "m.onnx", "--data", celeba, *words)
    assert done.exit_code == 0, done.output
    report = Path("```\nreport/report.md").read_text()
    for text in (report, done.stdout, Path("```\nreport/report.json").read_text()):
        assert all(line.isprintable() for line in text.splitlines())
    assert "\n# Title" not in report
    assert "<img" not in report.replace("\\<img", "")
    assert "](http" not in report
    assert report.count("\n````\n") == 1


# Kind 8: models are programs


def test_info_runs_no_model(run: Run, tmp_path: Path) -> None:
    looping_model(tmp_path / "loop.onnx")
    assert "stand-in" in run("info", "loop.onnx").stdout


@pytest.mark.parametrize(
    "change",
    [
        {"name": 5}, {"size_px": "256"}, {"size_px": True}, {"size_px": 10**9}, {"size_px": -1},
        {"training_people": "abc", "takes_hint": 1}, {"training_people": [[]]}, {"config": []},
        {"metrics": {"a": []}}, {"hours": "1"}, {"format": [1]}, {"name": "\ud800"}, {"blend": None},
    ],
)  # fmt: skip
def test_descriptions_of_other_types_are_one_line(
    refuse: Refuse, tmp_path: Path, change: dict[str, object]
) -> None:
    fields = json.loads(DESCRIPTION.to_json()) | change
    write_model(tmp_path / "m.onnx", text=json.dumps(fields))
    refuse(1, "info", "m.onnx")
    refuse(1, "reconstruct", draw(Path("a.png")), "--aligned", "--model", "m.onnx")


@pytest.mark.parametrize("text", ["[" * 100_000, "null", "3", '"', "[]", '{"format": NaN}'])
def test_descriptions_that_are_none_are_one_line(refuse: Refuse, tmp_path: Path, text: str) -> None:
    write_model(tmp_path / "m.onnx", text=text)
    refuse(1, "info", "m.onnx")


def test_files_that_are_no_models_are_one_line(refuse: Refuse, stand_in_model: Path) -> None:
    model = stand_in_model.read_bytes()
    for number, data in enumerate((b"", b"\x72\xff", b"\x00" * 50_000, b"\x08\x01" * 50_000, model[:300])):
        Path(f"{number}.onnx").write_bytes(data)
        refuse(1, "info", f"{number}.onnx")
    os.mkfifo("pipe.onnx")
    for path in ("pipe.onnx", "/dev/zero"):
        assert "not a regular file" in refuse(1, "info", path)
        assert "not a regular file" in refuse(1, "demo", "--model", path)


def test_an_evaluation_of_a_model_that_never_answers_is_ended(tmp_path: Path) -> None:
    celeba = make_celeba(tmp_path / "celeba", tuple(range(11, 41)))
    model = looping_model(tmp_path / "loop.onnx")
    words = ["evaluate", str(model), "--data", str(celeba), "--limit", "1", "--kinds", "nose_mask"]
    words += ["--baselines", "none", "-o", str(tmp_path / "report"), "-q", "--timeout", "0.5"]
    command = [sys.executable, "-c", "from facemend.cli.main import main; main()", *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "took more than 0.5 s and was ended" in done.stderr
    assert done.stderr.count("\n") == 1


# Kind 9: permissions


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o400])
def test_what_is_made_of_a_private_photo_is_private(run: Run, stand_in_model: Path, mode: int) -> None:
    for name in ("a.png", "b.png", "c.png"):
        draw(Path("in") / name, covered=name != "c.png", mode=mode)
    run("reconstruct", "in", "-o", "out", "--aligned", "--model", stand_in_model, "--save-occlusion")
    made = [path for path in Path("out").iterdir() if path.name != RECORD_NAME]
    assert len(made) == 6
    assert {path.stat().st_mode & 0o777 for path in made} == {mode}
    draw(Path("out/a.png"), mode=0o644).write_bytes(Path("in/a.png").read_bytes())
    run("reconstruct", "in/a.png", "-o", "out/a.png", "--aligned", "--model", stand_in_model, "--force")
    assert Path("out/a.png").stat().st_mode & 0o777 == mode


@pytest.mark.parametrize("mode", [0o600, 0o660])
def test_a_photo_that_is_replaced_keeps_its_permissions(run: Run, mode: int) -> None:
    model = write_model(Path("m.onnx"), text=None)
    photo = draw(Path("a.png"), mode=mode)
    before = photo.read_bytes()
    done = run(
        "reconstruct", photo, "--in-place", "--model", model, "--mask", _white(), "--face", "9,9,99,99"
    )
    assert done.exit_code == 0, done.output
    assert photo.read_bytes() != before
    assert photo.stat().st_mode & 0o777 == mode


def _white() -> Path:
    mask = np.zeros((128, 128), dtype=np.uint8)
    mask[40:80, 40:80] = 255
    Image.fromarray(mask).save("white.png")
    return Path("white.png")


# Kinds 5, 7 and 10: what datasets and evaluations are given


def test_a_mask_that_is_a_program_is_no_picture(refuse: Refuse, stand_in_model: Path) -> None:
    Path("mask.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 128 128\n(pwned) print\n")
    words = ("--aligned", "--model", stand_in_model)
    for option in ("--mask", "--keep"):
        said = refuse(1, "reconstruct", draw(Path("a.png")), option, "mask.png", *words)
        assert "not a picture that can be read" in said


def _zip(data: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ann/a.png", data)
    return file.getvalue()


def _tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for info, data in members:
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


def _link(name: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "nothing"
    return info


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("bomb.zip", _zip(bytes(300 << 20))),
        ("small-bomb.zip", _zip(bytes(8 << 20))),
        ("no.zip", b"PK\x05\x06" + b"\xff" * 40),
        ("link.tar", _tar((_link("a.png"), b""), (_link("a.json", tarfile.LNKTYPE), b""))),
        ("deep.tar", _tar((tarfile.TarInfo("a.json"), b"[" * 100_000), (tarfile.TarInfo("a.png"), b"x"))),
        ("list.tar", _tar((tarfile.TarInfo("a.json"), b"[]"), (tarfile.TarInfo("a.png"), b"x"))),
        ("half.tar", _tar((tarfile.TarInfo("a.json"), b'{"source": "\\ud800"}'))),
        ("wide.tar", _tar((tarfile.TarInfo("a.json"), bytes(2 << 20)))),
        ("no.tar", b"\0\xff" * 600),
        ("no.parquet", b"PAR1" + b"\xff" * 60 + b"PAR1"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_archives_of_strangers_are_one_line(refuse: Refuse, name: str, data: bytes) -> None:
    Path(name).write_bytes(data)
    refuse(1, "dataset", "build", name, "pairs", "--count", "1", "--workers", "1", "-q")


def _parquet(path: Path, picture: bytes, name: str, rows: int) -> Path:
    """A file of one row group, in which a value that comes in every row lies once."""
    import pyarrow
    from pyarrow import parquet

    def often(value: object) -> object:
        places = pyarrow.array(np.zeros(rows, dtype=np.int32))
        return pyarrow.DictionaryArray.from_arrays(places, pyarrow.array([value]))

    table = pyarrow.table({"image": often(picture), "file": often(name), "identity": often("ann")})
    parquet.write_table(table, path, row_group_size=rows)
    return path


def test_a_row_group_of_gigabytes_is_not_unpacked(refuse: Refuse) -> None:
    # 6 GB in less than one MB.
    assert _parquet(Path("a.parquet"), bytes(500_000), "a.png", 12_000).stat().st_size < 1_000_000
    said = refuse(1, "dataset", "build", "a.parquet", "pairs", "--count", "1", "--workers", "1", "-q")
    assert "not a picture" in said
    _parquet(Path("b.parquet"), b"x", "n" * 100_000, 12_000)
    said = refuse(1, "dataset", "build", "b.parquet", "pairs", "--count", "1", "--workers", "1", "-q")
    assert "more than 4096 letters" in said


@pytest.mark.parametrize(
    "table",
    [b"file,identity\na.png,%s\n" % (b"x" * 200_000), b"file,identity\n\xff,\xfe\n", b"file\0,\n\0\n", b""],
)
def test_tables_of_strangers_are_one_line(refuse: Refuse, table: bytes) -> None:
    draw(Path("in/a.png"))
    Path("in/identities.csv").write_bytes(table)
    refuse(1, "dataset", "build", "in", "pairs", "--count", "1", "--workers", "1", "-q")


@pytest.mark.parametrize(
    "text",
    ["a = " + "[" * 100_000, "\xff", 'name = "x"', 'image = "x"', "name = 1\nfile = 2\nsize_px = []",
     "[image]\nname = 'a'\nrange = 5\n[output]\nname = 'b'\nrange = [0, 1]\n",
     "name = 'a'\nfile = {}\nsize_px = 9\n[image]\nname = []\norder = {}\nrange = [0, 1]\n"
     "[output]\nname = 'b'\nrange = [0, 1]\n"],
)  # fmt: skip
def test_descriptions_of_networks_and_configs_are_one_line(
    refuse: Refuse, tmp_path: Path, text: str
) -> None:
    celeba = make_celeba(tmp_path / "celeba", tuple(range(11, 41)))
    Path("a.toml").write_bytes(text.encode("latin-1"))
    refuse(2, "evaluate", "a.toml", "--data", celeba, "-o", "report", "--baselines", "none", "-q")
    refuse(2, "train", "a.toml", "--data", celeba, "-o", "run", "-q")
    assert "nested" in refuse(2, "train", "a.toml", "--data", celeba, "--set", "x=" + "[" * 100_000) or text


def _cache(text: str) -> None:
    Path("report/cache").mkdir(parents=True)
    with sqlite3.connect("report/cache/scores.sqlite") as file:
        file.executescript(text)
    file.close()


_COLUMNS = "key TEXT PRIMARY KEY, scores TEXT NOT NULL, vectors BLOB NOT NULL"
_ROW = f"CREATE TABLE scores ({_COLUMNS}) WITHOUT ROWID"


@pytest.mark.parametrize(
    "text",
    [
        "CREATE VIEW scores AS WITH RECURSIVE n(key) AS (SELECT 1 UNION ALL SELECT key FROM n)"
        " SELECT key, '' AS scores, '' AS vectors FROM n",
        f"{_ROW}; CREATE TRIGGER t AFTER INSERT ON scores BEGIN DELETE FROM scores; END",
        "CREATE TABLE scores (key, scores, vectors)",
        "CREATE TABLE other (a)",
    ],
)
def test_a_cache_that_was_tampered_with_is_refused(refuse: Refuse, tmp_path: Path, text: str) -> None:
    celeba = make_celeba(tmp_path / "celeba", tuple(range(11, 41)))
    _cache(text)
    words = ("--kinds", "nose_mask", "--baselines", "copy", "--limit", "1", "-o", "report", "-q")
    assert "delete it" in refuse(1, "evaluate", "--data", celeba, *words)


def test_a_cache_that_is_a_link_is_refused(refuse: Refuse, tmp_path: Path) -> None:
    celeba = make_celeba(tmp_path / "celeba", tuple(range(11, 41)))
    _cache(_ROW)
    Path("report/cache/scores.sqlite").rename("mine.sqlite")
    before = Path("mine.sqlite").read_bytes()
    Path("report/cache/scores.sqlite").symlink_to("../../mine.sqlite")
    words = ("--kinds", "nose_mask", "--baselines", "copy", "--limit", "1", "-o", "report", "-q")
    assert "is a link" in refuse(1, "evaluate", "--data", celeba, *words)
    assert Path("mine.sqlite").read_bytes() == before


@pytest.mark.parametrize(
    "manifest",
    ["[" * 100_000, "[]", '{"format": 1, "protocol": "x", "inputs": 3}', "link",
     '{"format": 1, "protocol": "bench-v1", "inputs": [{"file": "../../x", "image_sha256": "", '
     '"mask_sha256": ""}]}'],
)  # fmt: skip
def test_manifests_of_submissions_are_one_line(refuse: Refuse, tmp_path: Path, manifest: str) -> None:
    celeba = make_celeba(tmp_path / "celeba", tuple(range(11, 41)))
    Path("theirs/system").mkdir(parents=True)
    if manifest == "link":
        Path("theirs/manifest.json").symlink_to("/dev/zero")
    else:
        Path("theirs/manifest.json").write_text(manifest)
    refuse(1, "evaluate", "theirs/system", "--data", celeba, "-o", "report", "--baselines", "none", "-q")


def test_a_checkpoint_of_another_kind_is_one_line(refuse: Refuse, tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    folder = tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    wrong = {"config": 1, "progress": {"images_seen": "x", "seconds": 1}, "training_people": 3}
    for header in ("[" * 100_000, "[]", "{}", json.dumps(wrong | {"data": 1, "commit": []})):
        save_file({"a": np.zeros(1)}, folder / "0000000001.safetensors", {"facemend": header})
        assert "no readable checkpoint" in refuse(1, "export", "run", "-o", "m.onnx")

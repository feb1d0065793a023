"""What strangers may put into a folder, and what the commands make of it: one line, the right exit code."""

import io
import json
import os
import sqlite3
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import click.testing
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image, PngImagePlugin

from facemend.cli.main import main
from facemend.errors import SourceError, TrainingError
from facemend.occlusion.cutouts import find_masks
from facemend.reconstruction.batch import RECORD_NAME
from facemend.reconstruction.model import METADATA_KEY
from facemend.training.config import read_config
from tests.e2e.conftest import Refuse, Run, draw
from tests.stand_in import DESCRIPTION, write_model
from tests.tiny_celeba import gradient, make_celeba
from tests.tiny_training import tiny_training

_ESCAPE = "\x1b]0;pwned\x07\x1b[2J\x9b31m\u202e"


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


@pytest.mark.parametrize(
    ("link", "words"),
    [
        ("out/sub", ("reconstruct", "in", "-o", "out", "--recursive", "--aligned", "--model", "MODEL")),
        ("out/train", ("dataset", "build", "CELEBA", "out", "--count", "1", "--layout", "imagefolder")),
        ("out/train", ("dataset", "build", "CELEBA", "out", "--count", "1", "--layout", "pix2pix")),
        ("out/shards", ("dataset", "build", "CELEBA", "out", "--count", "1", "--layout", "webdataset")),
        ("out/manifest", ("dataset", "build", "CELEBA", "out", "--count", "1", "--layout", "parquet")),
        ("out/cache", ("evaluate", "--data", "CELEBA", "--limit", "1", "--baselines", "copy", "-o", "out")),
        ("out/inputs", ("evaluate", "--data", "CELEBA", "--limit", "1", "--export-inputs", "out")),
        ("out/masks", ("evaluate", "--data", "CELEBA", "--limit", "1", "--export-inputs", "out")),
        ("out/tensorboard", ("train", "tiny.toml", "--data", "CELEBA", "-o", "out")),
        ("out/checkpoints", ("train", "tiny.toml", "--data", "CELEBA", "-o", "out")),
        ("out/samples", ("train", "tiny.toml", "--data", "CELEBA", "-o", "out")),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_a_linked_folder_below_an_output_is_no_way_out_of_it(
    refuse: Refuse, tmp_path: Path, stand_in_model: Path, link: str, words: tuple[str, ...]
) -> None:
    draw(Path("in/sub/a.png"))
    Path("tiny.toml").write_text(tiny_training(0))
    names = {"MODEL": stand_in_model, "CELEBA": make_celeba(tmp_path / "celeba", tuple(range(11, 41)))}
    Path("mine").mkdir()
    Path("mine/letter.txt").write_text("mine")
    Path("out").mkdir()
    Path(link).symlink_to("../mine")
    workers = ("--workers", "1") if words[0] == "dataset" else ()
    quick = ("--kinds", "nose_mask") if words[0] == "evaluate" else ()
    said = refuse(1, *(names.get(word, word) for word in words), *workers, *quick, "-q")
    assert f"{link} is a link" in said
    assert [path.name for path in Path("mine").iterdir()] == ["letter.txt"]


def test_a_dataset_that_is_built_anew_removes_nothing_behind_a_link(run: Run, tmp_path: Path) -> None:
    celeba = make_celeba(tmp_path / "celeba", tuple(range(11, 41)))
    Path("mine").mkdir()
    Path("mine/letter.txt").write_text("mine")
    Path("pairs").mkdir()
    Path("pairs/shards").symlink_to("../mine")
    Path("pairs/dataset.json").write_text("{}")
    words = ("--layout", "webdataset", "--count", "1", "--workers", "1", "-q", "--force")
    assert "is a link" in run("dataset", "build", celeba, "pairs", *words).stderr
    assert Path("mine/letter.txt").read_text() == "mine"


def test_a_run_that_is_a_link_is_not_deleted(refuse: Refuse, tmp_path: Path) -> None:
    celeba = make_celeba(tmp_path / "celeba", tuple(range(11, 41)))
    Path("mine/checkpoints").mkdir(parents=True)
    Path("run").symlink_to("mine")
    Path("tiny.toml").write_text(tiny_training(0))
    assert "is a link" in refuse(2, "train", "tiny.toml", "--data", celeba, "-o", "run", "--fresh", "-q")
    assert Path("mine/checkpoints").is_dir()


@pytest.mark.parametrize("path", ["photo", "mask", "zip", "points"])
def test_nothing_waits_for_a_pipe(refuse: Refuse, tmp_path: Path, stand_in_model: Path, path: str) -> None:
    words: tuple[str | Path, ...] = ("--aligned", "--model", stand_in_model)
    match path:
        case "photo":
            os.mkfifo("a.png")
            words = ("reconstruct", "a.png", *words)
        case "mask":
            os.mkfifo("mask.png")
            words = ("reconstruct", draw(Path("a.png")), "--mask", "mask.png", *words)
        case "zip":
            Path("celeba").mkdir()
            os.mkfifo("celeba/img_align_celeba.zip")
            words = ("dataset", "build", "celeba", "pairs", "--count", "1", "-q")
        case "points":
            celeba = make_celeba(tmp_path / "celeba", tuple(range(11, 41)))
            Path("masks").mkdir()
            os.mkfifo("masks/points.csv")
            words = ("evaluate", "--data", celeba, "--protocol", "published-masks")
            words += ("--templates", "masks", "-o", "report", "-q")
    assert "regular file" in refuse(1, *words) or path == "points"


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


def _lzma_zip(start: int) -> bytes:
    """An archive whose picture is packed by LZMA and damaged from a place on."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("ann/a.png", bytes(3000))
    data = bytearray(file.getvalue())
    at = data.find(b"ann/a.png") + len(b"ann/a.png") + start
    data[at : at + 5] = b"\xff" * 5
    return bytes(data)


def _header(info: tarfile.TarInfo, size: int) -> bytes:
    """A header of a tar with any size, a negative one too."""
    data = bytearray(info.tobuf())
    data[124:136] = size.to_bytes(12, "big", signed=True) if size < 0 else b"%011o\0" % size
    data[148:156] = b"%06o\0 " % (256 + sum(data[:148]) + sum(data[156:512]))
    return bytes(data)


def _extended(text: bytes) -> bytes:
    """A tar whose one member has an extended header of this text."""
    info = tarfile.TarInfo("x")
    info.type = tarfile.XHDTYPE
    padding = bytes(-len(text) % 512)
    return _header(info, len(text)) + text + padding + tarfile.TarInfo("a.png").tobuf() + bytes(1024)


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
        ("lzma.zip", _lzma_zip(4)),
        ("more-lzma.zip", _lzma_zip(20)),
        ("back.tar", _header(tarfile.TarInfo("a.png"), -512) + bytes(1024)),
        ("digits.tar", _extended(b"1" * 500_000)),
        ("long.tar", _extended(b"1 a=b\n" * 400_000)),
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
    _parquet(Path("b.parquet"), b"x", "n" * 100_000, 1_000)
    said = refuse(1, "dataset", "build", "b.parquet", "pairs", "--count", "1", "--workers", "1", "-q")
    assert "more than 4096 letters" in said


@pytest.mark.parametrize("column", ["image", "file"])
def test_a_value_that_lies_nowhere_in_a_parquet_file_is_one_line(refuse: Refuse, column: str) -> None:
    import pyarrow
    from pyarrow import parquet

    place = pyarrow.array([91], pyarrow.int32())
    nowhere = pyarrow.DictionaryArray.from_arrays(place, pyarrow.array([b"x"]), safe=False)
    table = pyarrow.table({"image": [b"x"], "file": ["a.png"]} | {column: nowhere})
    parquet.write_table(table, "a.parquet")
    refuse(1, "dataset", "build", "a.parquet", "pairs", "--count", "1", "--workers", "1", "-q")


@pytest.mark.parametrize(
    "table",
    [b"file,identity\na.png,%s\n" % (b"x" * 200_000), b"file,identity\n\xff,\xfe\n", b"file\0,\n\0\n", b"",
     b"file,identity" + b",c" * 1000 + b"\na.png,ann\n"],
)  # fmt: skip
def test_tables_of_strangers_are_one_line(refuse: Refuse, table: bytes) -> None:
    draw(Path("in/a.png"))
    Path("in/identities.csv").write_bytes(table)
    refuse(1, "dataset", "build", "in", "pairs", "--count", "1", "--workers", "1", "-q")


@pytest.mark.parametrize(
    "table", [b"template,a\n" + b"x" * 200_000, b"template\n\xff\n", b"", b"template\n", b"OUTSIDE"]
)
def test_tables_of_templates_are_one_line(refuse: Refuse, tmp_path: Path, table: bytes) -> None:
    celeba = make_celeba(tmp_path / "celeba", tuple(range(11, 41)))
    Path("masks").mkdir()
    points = ",".join(f"{point}_{axis}_px" for point in "abcdef" for axis in "xy")
    outside = f"template,{points}\n../secret.png{',1' * 12}\n".encode()
    draw(Path("secret.png"))
    Path("masks/points.csv").write_bytes(outside if table == b"OUTSIDE" else table)
    words = ("--protocol", "published-masks", "--templates", "masks", "-o", "report", "-q")
    said = refuse(1, "evaluate", "--data", celeba, *words)
    assert "outside" in said or table != b"OUTSIDE"


@pytest.mark.parametrize("table", [b"file,a\n" + b"x" * 200_000, b"file\n\xff\n", b"a\n1\n"])
def test_tables_of_cutouts_are_errors(tmp_path: Path, table: bytes) -> None:
    (tmp_path / "cut").mkdir()
    Image.fromarray(np.full((218, 178, 4), 200, dtype=np.uint8)).save(tmp_path / "cut/a.png")
    (tmp_path / "cut.csv").write_bytes(table)
    with pytest.raises(SourceError, match=r"cut\.csv"):
        find_masks(tmp_path / "cut")


def test_a_table_that_names_a_picture_twice_is_read_once(refuse: Refuse) -> None:
    # Counting each name in the whole list took time that grew with the square of 20,000.
    Path("faces/images").mkdir(parents=True)
    names = "".join(f"{number}.png\n" for number in range(20_000))
    Path("faces/faces.csv").write_text(f"file\n{names}19999.png\n")
    said = refuse(1, "dataset", "build", "faces", "pairs", "--count", "1", "-q")
    assert "names 19999.png twice" in said


@pytest.mark.parametrize(
    "text",
    ["a." * 50_000 + "b = 1", "seed = " + "1" * 5000,
     "a = " + "[" * 100_000, "\xff", 'name = "x"', 'image = "x"', "name = 1\nfile = 2\nsize_px = []",
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


def test_a_journal_beside_a_cache_deletes_nothing(refuse: Refuse, tmp_path: Path) -> None:
    # A journal names a further one by its path, and SQLite deletes that file once it has rolled back.
    celeba = make_celeba(tmp_path / "celeba", tuple(range(11, 41)))
    Path("mine.txt").write_text("mine\n")
    _cache(_ROW)
    pages = Path("report/cache/scores.sqlite").stat().st_size // 4096
    name = str(Path("mine.txt").resolve()).encode()
    magic = bytes.fromhex("d9d505f920a163d7")
    head = magic + b"".join(number.to_bytes(4, "big") for number in (0, 0, pages, 512, 4096))
    place = (1 << 30) // 4096 + 1
    tail = place.to_bytes(4, "big") + name + len(name).to_bytes(4, "big") + sum(name).to_bytes(4, "big")
    Path("report/cache/scores.sqlite-journal").write_bytes(head.ljust(512, b"\0") + tail + magic)
    words = ("--kinds", "nose_mask", "--baselines", "copy", "--limit", "1", "-o", "report", "-q")
    assert "delete both" in refuse(1, "evaluate", "--data", celeba, *words)
    assert Path("mine.txt").exists()


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


@pytest.mark.parametrize(
    "change",
    [
        {"config": {"phases": 5}}, {"config": {"phases": [5]}}, {"config": {"phases": [{"losses": 5}]}},
        {"progress": {"images_seen": -5, "seconds": 1}},
        {"progress": {"images_seen": 4, "seconds": 10**400}},
        {"progress": {"images_seen": 10**30, "seconds": 1}}, {},
    ],
)  # fmt: skip
def test_a_checkpoint_that_was_tampered_with_is_one_line(
    refuse: Refuse, tmp_path: Path, change: dict[str, object]
) -> None:
    from safetensors.numpy import save_file

    celeba = make_celeba(tmp_path / "celeba", tuple(range(11, 41)))
    Path("tiny.toml").write_text(tiny_training(0))
    config = read_config(Path("tiny.toml")).model_dump(mode="json")
    fields = {
        "config": config,
        "progress": {"images_seen": 2, "seconds": 1},
        "training_people": None,
        "data": "x",
        "commit": "x",
    }
    Path("run/checkpoints").mkdir(parents=True)
    path = Path("run/checkpoints/0000000002.safetensors")
    save_file({"generator/a": np.zeros(1)}, path, {"facemend": json.dumps(fields | change)})
    refuse(1, "export", "run", "-o", "m.onnx")
    refuse(1, "train", "tiny.toml", "--data", celeba, "-o", "run", "-q")


def test_tensors_of_another_network_are_one_line() -> None:
    import torch

    from facemend.training.checkpoint import fitting, restore_optimizer

    optimizer = torch.optim.Adam(torch.nn.Linear(2, 2).parameters())
    for name, value in (("x/y", 1), ("a", 1), ("99/exp_avg", 1), ("0/exp_avg/z", 1)):
        with pytest.raises(TrainingError, match="not of its networks"), fitting():
            restore_optimizer(optimizer, {name: torch.full((1,), float(value))})
    with pytest.raises(TrainingError, match="not of its networks"), fitting():
        torch.nn.Linear(2, 2).load_state_dict({"weight": torch.zeros(3)})

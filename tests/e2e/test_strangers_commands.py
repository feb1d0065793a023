"""A stranger's clips, folders and leftovers, and the commands find, watch, apply and info, and signing."""

import io
import json
import os
import struct
import tarfile
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from facemend.datasets.remote import open_stored
from facemend.errors import OutputError, SourceError, UsageError
from facemend.evaluation.results import read_arrays
from facemend.io.limits import CostlyFile, refuse_costly_clip
from facemend.reconstruction.options import Options
from facemend.reconstruction.outputs import plan_tasks
from facemend.reconstruction.provenance import Provenance, read_provenance
from facemend.reconstruction.reconstructor import Reconstructor, search_faces
from facemend.reconstruction.watch import Inbox, watch_folder
from tests.e2e.conftest import Refuse, Run, draw
from tests.tiny_celeba import gradient
from tests.video_clips import write_clip

_ESCAPE = "\x1b]0;pwned\x07"
_ALIGNED = ("--aligned", "--model")
needs_av = pytest.mark.skipif(find_spec("av") is None, reason="needs the extra video")


def clip(name: str, **more: Any) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_clip(path, [gradient(64, 64, number) for number in range(2)], **more)


def unclosed_links(folder: Path) -> None:
    for name in ("a", "b"):
        (folder / name).symlink_to(".")


# Kind 2: links


def test_a_link_below_the_output_of_a_watch_is_no_way_out_of_it(
    stand_in_model: Path, tmp_path: Path
) -> None:
    draw(tmp_path / "in/sub/a.png", covered=True)
    for name in ("out", "mine"):
        (tmp_path / name).mkdir()
    (tmp_path / "out/sub").symlink_to("../mine")
    inbox, stop = Inbox(tmp_path / "in", tmp_path / "out", recursive=True, settle_s=0), threading.Event()
    looks = [inbox.look(0.0)]
    assert looks == [[]]
    done = list(
        watch_folder(
            Reconstructor(stand_in_model), inbox, Options(aligned=True), stop, lambda _: stop.set()
        )
    )
    assert [type(one) for one in done] == [OutputError]
    assert "out/sub is a link" in str(done[0])
    assert not list((tmp_path / "mine").iterdir())


@needs_av
def test_a_link_below_the_output_of_clips_is_no_way_out_of_it(refuse: Refuse, stand_in_model: Path) -> None:
    clip("in/sub/a.mp4")
    for name in ("out", "mine"):
        Path(name).mkdir()
    Path("out/sub").symlink_to("../mine")
    words = ("reconstruct", "in", "-o", "out", "--recursive", "--model", stand_in_model)
    assert "out/sub is a link" in refuse(1, *words)
    assert not list(Path("mine").iterdir())


@pytest.mark.parametrize("words", ["theirs", "theirs/*.png"])
def test_no_photo_is_replaced_that_a_strangers_folder_links_to(refuse: Refuse, words: str) -> None:
    mine = draw(Path("mine/photo.png"))
    draw(Path("theirs/a.png"))
    before = mine.read_bytes()
    Path("theirs/b.png").symlink_to("../mine/photo.png")
    assert "outside of theirs" in refuse(1, "reconstruct", words, "--in-place")
    assert mine.read_bytes() == before


def test_links_to_the_folder_itself_do_not_multiply_what_a_pattern_finds(tmp_path: Path) -> None:
    # Two links made Python's own search look at 2^40 folders.
    photo = draw(tmp_path / "in/deep/a.png")
    unclosed_links(tmp_path / "in")
    unclosed_links(tmp_path / "in/deep")
    tasks = plan_tasks([tmp_path / "in/**/*.png"], None, aligned=True, save_occlusion=False)
    assert [task.source for task in tasks] == [photo]


def test_a_link_to_itself_is_one_line(refuse: Refuse, run: Run, stand_in_model: Path) -> None:
    draw(Path("in/a.png"), covered=True)
    Path("loop.png").symlink_to("loop.png")
    Path("out").mkdir()
    Path("out/a.png").symlink_to("a.png")
    refuse(1, "reconstruct", "loop.png", *_ALIGNED, stand_in_model)
    refuse(1, "find", "loop.png", *_ALIGNED, stand_in_model)
    assert run("reconstruct", "in", "-o", "out", *_ALIGNED, stand_in_model).exit_code == 0
    assert not Path("out/a.png").is_symlink()


# Kinds 4 and 7: what costs more than it is


def test_files_of_gigabytes_are_not_read_to_see_whether_they_are_photos(run: Run) -> None:
    for name, start in (("a.png", b"\x89PNG\r\n\x1a\n"), ("b.jpg", b"\xff\xd8\xff\xe0")):
        path = Path("in") / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(start)
        os.truncate(path, 1 << 40)
        assert read_provenance(path) is None
        copy = path.with_name(f"{path.stem}_reconstructed{path.suffix}")
        copy.write_bytes(start)
        os.truncate(copy, 1 << 40)
    assert plan_tasks([Path("in")], Path("out"), aligned=True, save_occlusion=False)


@pytest.mark.parametrize("shape", [(1, 300_000), (2_000_000, 1), (4, 300_000)])
def test_a_line_of_pixels_is_no_panorama(shape: tuple[int, int]) -> None:
    calls = []

    def detect(photo: Any, **_: float) -> tuple[()]:
        calls.append(photo.shape)
        return ()

    assert search_faces(np.zeros((*shape, 3), np.uint8), detect, 0.5) == ()
    assert len(calls) == 4  # and turned by quarters


def _bomb(count: int) -> bytes:
    """A clip of which one number says how many frames there are."""

    def box(name: bytes, *parts: bytes) -> bytes:
        inside = b"".join(parts)
        return struct.pack(">L4s", 8 + len(inside), name) + inside

    sizes = box(b"stsz", struct.pack(">LLL", 0, 1, count))
    times = box(b"stts", struct.pack(">LLLL", 0, 1, count, 1))
    track = box(b"trak", box(b"mdia", box(b"minf", box(b"stbl", sizes, times))))
    return box(b"ftyp", b"isom\0\0\0\0") + box(b"moov", track)


@pytest.mark.parametrize(
    "data",
    [
        _bomb(10**9),
        _bomb(1)[:24]
        + b"\0\0\0\x24moof"
        + b"\0\0\0\x1ctraf"
        + struct.pack(">L4sLLL", 20, b"trun", 0, 10**9, 0),
        struct.pack(">L4s", 8, b"free") * 200_000,
    ],
    ids=["sizes", "fragment", "boxes"],
)
def test_a_clip_lists_no_more_frames_than_it_has_bytes(data: bytes) -> None:
    with pytest.raises(CostlyFile):
        refuse_costly_clip(io.BytesIO(data))
    refuse_costly_clip(io.BytesIO(_bomb(20)))


@needs_av
def test_a_frame_of_hundreds_of_megapixels_is_not_decoded(refuse: Refuse) -> None:
    path = write_clip(Path("a.mkv"), [np.zeros((300, 300, 3), np.uint8)], codec="ffv1")
    said, claimed = bytes.fromhex("b082012cba82012c"), bytes.fromhex("b0822ee0ba822ee0")
    assert path.read_bytes().count(said) == 1
    path.write_bytes(path.read_bytes().replace(said, claimed))
    assert "12000×12000" in refuse(1, "reconstruct", path, "-o", "b.mkv")


def test_more_rows_than_bytes_are_not_listed(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="needs the extra scale")
    from pyarrow import parquet

    count = 2_000_000
    table = pyarrow.table({"image": pyarrow.nulls(count, pyarrow.binary())})
    parquet.write_table(table, tmp_path / "a.parquet", row_group_size=count)
    with pytest.raises(SourceError, match="more rows than bytes"):
        open_stored(str(tmp_path / "a.parquet"))


def test_an_index_beyond_a_dictionary_is_an_error_of_ours(tmp_path: Path) -> None:
    # Found by the fuzzer: PyArrow raises an IndexError.
    pyarrow = pytest.importorskip("pyarrow", reason="needs the extra scale")
    from pyarrow import parquet

    from facemend.datasets import remote

    def refuse(*_: object) -> None:
        raise pyarrow.ArrowIndexError("index with value of 91 is out-of-bounds")

    parquet.write_table(pyarrow.table({"image": [b"x"], "file": ["a.png"]}), tmp_path / "a.parquet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(remote, "_notes", refuse)
        with pytest.raises(SourceError, match="out-of-bounds"):
            open_stored(str(tmp_path / "a.parquet"))


def test_a_name_of_megabytes_in_a_tar_is_an_error(tmp_path: Path) -> None:
    head = tarfile.TarInfo("././@LongLink")
    head.type, head.size = b"L", 2 << 20
    data = head.tobuf(tarfile.GNU_FORMAT) + b"a" * head.size + tarfile.TarInfo("a.png").tobuf()
    (tmp_path / "a.tar").write_bytes(data + bytes(1024))
    with pytest.raises(SourceError, match="longer than any"):
        open_stored(str(tmp_path / "a.tar"))


# Kind 5: decoders that were never meant


@needs_av
@pytest.mark.parametrize("kind", ["list of clips", "playlist", "address", "codec", "pipe"])
def test_a_clip_is_opened_as_a_clip(refuse: Refuse, kind: str) -> None:
    path, said = Path("a.mp4"), "not a clip"
    secret = clip("mine.mkv")
    match kind:
        case "list of clips":
            path.write_text(f"ffconcat version 1.0\nfile {secret}\n")
        case "playlist":
            path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n")
        case "address":  # FFmpeg takes this name for two files that are put together
            path = Path(f"concat:{secret}|b.mp4")
            path.write_text("no clip")
            secret.rename("b.mp4")
        case "codec":
            clip("a.mov", codec="qtrle", pix_fmt="rgb24").rename(path)
            said = "coded in a way that is not read"
        case _:
            os.mkfifo(path)
    assert said in refuse(1, "info", path)
    refuse(1, "reconstruct", path, "-o", "b.mkv")


# Kind 6: terminals believe what they print


def _earlier(run: Run, model: Path, **changes: object) -> None:
    """An output of find, as a stranger would have it."""
    draw(Path("in/a.png"), covered=True)
    run("find", "in", "-o", "out", *_ALIGNED, model)
    document = json.loads(Path("out/a.json").read_text())
    Path("out/a.json").write_text(json.dumps(document | changes))


_FACE = {"face": 1, "box_px": [1, 2, 3, 4], "occlusions": {}}


@pytest.mark.parametrize(
    "faces",
    [
        5, [5], [{}], [_FACE | {"box_px": ["x"] * 4}], [_FACE | {"face": f"1\nfacemend: fine{_ESCAPE}"}],
        [_FACE | {"occlusions": {f"{_ESCAPE}\n": {"found": True, "probability": None}}}],
        [_FACE | {"occlusions": []}], [_FACE | {"box_px": [10**400] * 4}],
        [_FACE | {"occlusions": {"covers": {"found": True, "probability": "x"}}}],
    ],
)  # fmt: skip
def test_findings_that_a_stranger_wrote_are_not_printed(
    run: Run, stand_in_model: Path, faces: object
) -> None:
    _earlier(run, stand_in_model, faces=faces)
    done = run("find", "in", "-o", "out", *_ALIGNED, stand_in_model)
    assert "exists already" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not done.stdout


def test_findings_are_not_read_through_a_link(run: Run, stand_in_model: Path) -> None:
    _earlier(run, stand_in_model)
    Path("out/a.json").rename("elsewhere.json")
    Path("out/a.json").symlink_to("../elsewhere.json")
    assert "exists already" in run("find", "in", "-o", "out", *_ALIGNED, stand_in_model).stderr


@needs_av
def test_a_clip_whose_name_is_not_utf8_is_reconstructed(run: Run, stand_in_model: Path) -> None:
    name = os.fsdecode(b"a\xff.mp4")
    clip("a.mp4").rename(name)
    assert run("reconstruct", name, "-o", "out", "--model", stand_in_model).exit_code == 0
    assert json.loads(Path("out", f"{name}.facemend.json").read_text())["input"] == name


# Kind 9: permissions


def test_masks_and_pictures_of_a_private_photo_are_private(run: Run, stand_in_model: Path) -> None:
    draw(Path("in/a.png"), covered=True, mode=0o600)
    run("find", "in", "-o", "found", *_ALIGNED, stand_in_model)
    run("apply", stand_in_model, "in", "-o", "applied")
    made = [*Path("found").iterdir(), *Path("applied").iterdir()]
    assert [oct(path.stat().st_mode & 0o777) for path in made] == ["0o600"] * 4


@needs_av
def test_a_clip_of_a_private_clip_is_private(run: Run, stand_in_model: Path) -> None:
    clip("in/a.mp4").chmod(0o600)
    run("reconstruct", "in/a.mp4", "-o", "out", "--model", stand_in_model)
    assert [oct(path.stat().st_mode & 0o777) for path in Path("out").iterdir()] == ["0o600"] * 2


# Kind 10: one line, the right code


_PROVENANCES: list[dict[str, object]] = [
    {"options": []}, {"options": None}, {"options": {"a": {}}}, {"regions": "abc"}, {"regions": [5]},
    {"regions": [{"box_px": [0, 0, 1, 1], "coverage": 10**400}]},
    {"regions": [{"box_px": [-(10**4299), 0, 10**4299, 1], "coverage": 1}]},
]  # fmt: skip


def _record(changes: dict[str, object]) -> dict[str, str]:
    texts = Provenance("m", "a", "b", {}).to_text()
    (key,) = (key for key, text in texts.items() if text.startswith("{"))
    return texts | {key: json.dumps(json.loads(texts[key]) | changes)}


@pytest.mark.parametrize("changes", _PROVENANCES)
def test_a_provenance_that_was_tampered_with_is_none(
    run: Run, refuse: Refuse, stand_in_model: Path, changes: dict[str, object]
) -> None:
    chunks = PngImagePlugin.PngInfo()
    for key, text in _record(changes).items():
        chunks.add_text(key, text)
    draw(Path("in/b.png"))
    Image.fromarray(gradient(128, 128)).save("in/a.png", pnginfo=chunks)
    assert "says nothing about its making" in refuse(1, "info", "in/a.png")
    assert run("reconstruct", "in", "-o", "out", *_ALIGNED, stand_in_model).exit_code == 0


@needs_av
def test_what_a_clip_says_of_its_making_is_checked(refuse: Refuse) -> None:
    tampered: list[dict[str, object]] = [*_PROVENANCES, {"options": {"regions": [1]}}]
    for number, changes in enumerate(tampered):
        text = next(text for text in _record(changes).values() if text.startswith("{"))
        path = clip(f"{number}.mp4", texts={"facemend": text})
        assert "says nothing about its making" in refuse(1, "info", path)


@needs_av
def test_folders_deeper_than_functions_and_names_too_long_are_passed_over(
    run: Run, refuse: Refuse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stand_in_model: Path
) -> None:
    clip("in/a.mp4")
    clip("in/b.mp4").rename(f"in/{'b' * 250}.mp4")
    (tmp_path / "deep").mkdir()
    for _ in range(1200):
        monkeypatch.chdir("deep" if Path("deep").exists() else "d")
        Path("d").mkdir()
    monkeypatch.chdir(tmp_path)
    words = ("--recursive", "-o", "out", "--model", stand_in_model)
    try:
        assert "no pictures" in refuse(1, "reconstruct", "deep", *words)
    finally:
        while Path("deep/d").is_dir():  # too deep to be removed at once
            Path("deep/d").rename("rest")
            Path("deep").rmdir()
            Path("rest").rename("deep")
    done = run("reconstruct", "in", *words)
    assert (done.exit_code, done.stderr.count("File name too long")) == (1, 1)
    assert Path("out/a.mp4").exists()


def test_a_region_far_away_is_one_line(refuse: Refuse) -> None:
    draw(Path("a.png"))
    for option in ("--keep", "--face"):
        assert "is not a region" in refuse(2, "reconstruct", "a.png", f"{option}=1e308,1e308,1e308,1e308")
    with pytest.raises(UsageError, match="cannot be"):
        Options(occlusion_threshold="x")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["bytes", "claims", "encrypted", "cut"])
def test_arrays_that_are_none_are_a_value_error(kind: str) -> None:
    file = io.BytesIO()
    np.savez(file, **{"hole psnr": np.zeros((2, 30), np.float32)})  # type: ignore[arg-type]
    data = bytearray(file.getvalue())
    match kind:
        case "bytes":  # numpy gives these as they are
            data = data.replace(b"\x93NUMPY", b"\x93NUMPX")
        case "claims":
            data = data.replace(b"(2, 30), }        ", b"(2, 3" + b"0" * 10 + b"),}")
        case "encrypted":
            data[data.index(b"PK\x01\x02") + 8] |= 1
        case _:
            del data[-40:]
    with pytest.raises((ValueError, OSError, Exception), match=r".") as caught:
        read_arrays(io.BytesIO(bytes(data)), 1 << 20)
    assert type(caught.value).__name__ in ("ValueError", "BadZipFile")


def test_not_enough_memory_is_one_line(refuse: Refuse, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Path) -> None:
        raise MemoryError

    monkeypatch.setattr("facemend.reconstruction.provenance.describe_file", fail)
    assert "not enough memory" in refuse(1, "info", "a.png")

"""Fuzzers for the loaders that strangers feed: seeds that we make, bytes changed, one kind of error.

A loader may take a file or refuse it with an error of ours. Anything else is a failure.
"""

import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

from facemend.cli.find import lines_of as find_lines
from facemend.datasets.faces import parse_table
from facemend.datasets.remote import open_stored
from facemend.errors import FacemendError
from facemend.evaluation.external import read_external
from facemend.evaluation.results import ScoreCache, Scores, read_arrays
from facemend.files import parse_json
from facemend.io import encode_photo, photo_of_pixels, read_image, read_photo, read_record
from facemend.io.formats import Format
from facemend.io.xmp import RECORD, XmpError, read_property, with_properties
from facemend.onnx_model import read_texts
from facemend.reconstruction.batch import RECORD_NAME, Copy, FindResult, Records
from facemend.reconstruction.find import read_document
from facemend.reconstruction.model import ModelDescription
from facemend.reconstruction.provenance import Provenance, Region, provenance_of
from facemend.training.checkpoint import load_checkpoint
from facemend.video.clips import ClipReader, ClipWriter, Codec, pixels_of
from tests.stand_in import DESCRIPTION, write_model
from tests.tiny_celeba import gradient
from tests.video_clips import write_clip

REFUSED = (FacemendError, XmpError)


@dataclass(frozen=True)
class Fuzzer:
    """A loader and what it starts from.

    Attributes:
        seeds: files that it takes.
        load: reads a file's bytes; raises one of REFUSED. A folder is there for those that need a path.
    """

    seeds: Sequence[bytes]
    load: Callable[[bytes, Path], object]


def mutated(seed: bytes, rng: np.random.Generator) -> bytes:
    """A seed with up to eight changes: bytes set, cut out, doubled, or a run of one byte put in."""
    data = bytearray(seed)
    for _ in range(int(rng.integers(1, 9))):
        at = int(rng.integers(0, len(data) + 1))
        length = int(rng.geometric(0.1))
        match int(rng.integers(0, 5)):
            case 0:
                data[at : at + length] = rng.bytes(length)
            case 1:
                del data[at : at + length * 4]
            case 2:
                data[at:at] = data[at : at + length * 8]
            case 3:
                data[at:at] = bytes([int(rng.choice([0, 255, 32, 91, 34, 92]))]) * length * 16
            case 4:
                data[at : at + 4] = int(rng.choice([0, 1, 0x7FFFFFFF, 0xFFFFFFFF])).to_bytes(4, "big")
    return bytes(data)


def fuzz(fuzzer: Fuzzer, folder: Path, rng: np.random.Generator) -> bool:
    """Loads one changed seed. Returns whether it was taken; raises what is no error of ours."""
    seed = fuzzer.seeds[int(rng.integers(len(fuzzer.seeds)))]
    try:
        fuzzer.load(mutated(seed, rng), folder)
    except REFUSED:
        return False
    return True


def fuzzers(folder: Path) -> Mapping[str, Fuzzer]:
    """Every loader by name. The folder is for seeds that need a file."""
    model = write_model(folder / "seed.onnx").read_bytes()
    toml = b'name = "a"\nfile = "a.onnx"\nsize_px = 9\n[image]\nname = "i"\nrange = [0, 1]\n[output]\n'
    toml += b'name = "o"\nrange = [0, 1]\n'
    packet = with_properties(None, {RECORD: "x<&"})
    model_texts = _more_texts()
    return {
        **({} if find_spec("av") is None else {"clips": Fuzzer(_clips(folder), _rewritten_clip)}),
        "checkpoints": Fuzzer([_checkpoint(folder)], _load_checkpoint),
        "scores": Fuzzer([_scores(folder)], _load_scores),
        "arrays": Fuzzer([_arrays()], _load_arrays),
        "findings": Fuzzer([model_texts["findings"]], _load_findings),
        "records": Fuzzer([model_texts["records"]], _load_records),
        "provenances": Fuzzer(
            [model_texts["provenances"]], lambda data, _: provenance_of(data.decode(errors="replace"))
        ),
        "photos": Fuzzer(_photos(), lambda data, _: encode_photo(read_photo(data), strip=True)),
        "pictures": Fuzzer(_photos(), lambda data, _: read_image(data)),
        "notes": Fuzzer(_photos(), lambda data, home: read_record(_file(home, "a.jpg", data))),
        "packets": Fuzzer([packet], _reread),
        "models": Fuzzer([model], lambda data, home: read_texts(_file(home, "a.onnx", data))),
        "descriptions": Fuzzer(
            [DESCRIPTION.to_json().encode()],
            lambda data, _: ModelDescription.from_json(data.decode(errors="replace")),
        ),
        "json": Fuzzer([b'{"a": [1, "\\u00e4", null]}'], _json),
        "tables": Fuzzer(
            [b"file,identity\na.png,ann\n"], lambda data, _: parse_table(data, "t", ("file",))
        ),
        "networks": Fuzzer([toml], lambda data, home: read_external(_file(home, "a.toml", data))),
        "zips": Fuzzer([_zip()], lambda data, home: _faces(_file(home, "a.zip", data))),
        "tars": Fuzzer([_tar()], lambda data, home: _faces(_file(home, "a.tar", data))),
        "parquet": Fuzzer([_parquet()], lambda data, home: _faces(_file(home, "a.parquet", data))),
    }


def _more_texts() -> dict[str, bytes]:
    """What commands leave beside their outputs and in them, by loader."""
    made = Provenance("m", "a", "b", {"input": "photo"}, (Region((1, 2, 3, 4), 0.5),))
    found = {"found": True, "probability": 0.5, "box_px": [1, 2, 3, 4], "share": 0.1}
    face = {"face": 1, "box_px": [1.0, 2.0, 3.0, 4.0], "occlusions": {"covers": found}}
    findings = {"input_sha256": "b", "model": {"sha256": "a"}, "options": {"input": "photo"}}
    copy = Copy("a.png", "no face", "b", "a", {"input": "photo"})
    return {
        "provenances": made.to_note().record.encode(),
        "findings": json.dumps(findings | {"faces": [face]}).encode(),
        "records": json.dumps(asdict(copy)).encode() + b"\n",
    }


def _load_findings(data: bytes, home: Path) -> None:
    made = Provenance("m", "a", "b", {"input": "photo"})
    document = read_document([_file(home, "a.json", data)], made)
    if document is None:
        raise FacemendError("not of this work")
    find_lines(FindResult(home, document=document))


def _load_records(data: bytes, home: Path) -> None:
    _file(home, RECORD_NAME, data)
    Records().find(home / "a.png", "b", "a", {"input": "photo"})


def _clips(folder: Path) -> list[bytes]:
    frames = [gradient(32, 32, number) for number in range(2)]
    written = [
        write_clip(folder / "a.mp4", frames, codec="mpeg4", audio=True, texts={"title": "t"}),
        write_clip(folder / "a.mkv", frames, codec="ffv1", rotation=90),
        write_clip(folder / "a.avi", frames, codec="mjpeg", pix_fmt="yuvj420p"),
    ]
    return [path.read_bytes() for path in written]


def _rewritten_clip(data: bytes, home: Path) -> None:
    with ClipReader(_file(home, "in.mp4", data)) as reader:
        writer = ClipWriter(home / "out.mkv", reader, Codec.FFV1, {"facemend": "{}"})
        try:
            for frame in reader.frames(writer.copy):
                pixels_of(frame)
                writer.write(frame)
            writer.close()
        finally:
            writer.abandon()


def _checkpoint(folder: Path) -> bytes:
    fields = {"config": {}, "progress": {"images_seen": 2, "seconds": 1}, "training_people": ["a"]}
    header = json.dumps(fields | {"data": "x", "commit": "x"})
    save_file({"generator/a": np.zeros(1)}, folder / "a.safetensors", {"facemend": header})
    return (folder / "a.safetensors").read_bytes()


def _load_checkpoint(data: bytes, home: Path) -> None:
    checkpoint = load_checkpoint(_file(home, "a.safetensors", data))
    checkpoint.settings  # noqa: B018 - reads the config


def _arrays() -> bytes:
    file = io.BytesIO()
    np.savez(file, **{"whole lpips": np.zeros((2, 3), np.float32)})  # type: ignore[arg-type]
    return file.getvalue()


def _load_arrays(data: bytes, home: Path) -> None:
    try:
        read_arrays(_file(home, "a.npz", data), 1 << 20)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise FacemendError("no arrays") from error


_SCORES = {("hole", "psnr"): 30.5}


def _scores(folder: Path) -> bytes:
    with ScoreCache(folder / "scores") as cache:
        cache.put("key", Scores(_SCORES, {("hole", "psnr"): np.zeros((2, 3), np.float32)}))
    return (folder / "scores" / "scores.sqlite").read_bytes()


def _load_scores(data: bytes, home: Path) -> None:
    for left in (home / "scores").glob("*"):
        left.unlink()
    (home / "scores").mkdir(exist_ok=True)
    _file(home / "scores", "scores.sqlite", data)
    with ScoreCache(home / "scores") as cache:
        if cache.get("key") is None:
            raise FacemendError("not there")


def _file(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def _photos() -> list[bytes]:
    photo = photo_of_pixels(gradient(40, 30))
    kinds = [kind for kind in Format if kind not in (Format.BMP, Format.HEIC)]
    return [encode_photo(photo, kind) for kind in kinds]


def _picture() -> bytes:
    file = io.BytesIO()
    Image.fromarray(gradient(16, 16)).save(file, "PNG")
    return file.getvalue()


def _reread(data: bytes, _: Path) -> None:
    read_property(with_properties(data, {RECORD: "new"}), RECORD)


def _json(data: bytes, _: Path) -> None:
    try:
        parse_json(data)
    except ValueError as error:
        raise FacemendError("no JSON") from error


def _faces(path: Path) -> None:
    source = open_stored(str(path))
    for record in source.records[:3]:
        source.read(record.name)


def _zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ann/a.png", _picture())
    return file.getvalue()


def _tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, data in (("a.png", _picture()), ("a.json", json.dumps({"identity": "ann"}).encode())):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


def _parquet() -> bytes:
    import pyarrow
    from pyarrow import parquet

    file = io.BytesIO()
    parquet.write_table(
        pyarrow.table({"image": [_picture()], "file": ["a.png"], "identity": ["ann"]}), file
    )
    return file.getvalue()

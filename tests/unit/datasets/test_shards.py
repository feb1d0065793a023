"""Shards on this machine and in S3 (moto's, on loopback): pairs as in folders, whatever is interrupted."""

import io
import json
import os
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from facemend.datasets import FaceSource, open_source
from facemend.datasets.build import build_dataset
from facemend.datasets.faces import FaceRecord
from facemend.datasets.pairs import PictureFormat, Recipe
from facemend.datasets.remote import Place
from facemend.datasets.shards import ShardFormat, build_shards
from facemend.errors import OutputError, PictureError, SourceError
from facemend.parallel import LocalEngine
from tests.tiny_celeba import make_celeba

pa: Any = pytest.importorskip("pyarrow", reason="needs the extra scale: pip install 'facemend[scale]'")
parquet: Any = pytest.importorskip("pyarrow.parquet")
moto: Any = pytest.importorskip("moto.server", reason="needs moto, of the extra dev")

RECIPE = Recipe(8, size_px=32)
ONE = LocalEngine(1)


@pytest.fixture
def source(tmp_path: Path) -> FaceSource:
    return open_source(make_celeba(tmp_path / "celeba"))


@pytest.fixture
def short_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facemend.datasets.shards.SHARD_PAIRS", 3)


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """The URL of an empty bucket; {} stands where a folder goes."""
    import boto3

    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    keys = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_EC2_METADATA_DISABLED": "true"}
    before = dict(os.environ)
    os.environ.update(keys)
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1")
    client.create_bucket(Bucket="faces")
    yield f"s3://faces/{{}}?endpoint_override={host}:{port}&scheme=http&region=us-east-1"
    server.stop()
    os.environ.clear()
    os.environ.update(before)


def _build(
    source: FaceSource, url: str, shard_format: ShardFormat, recipe: Recipe = RECIPE, **options: Any
) -> Any:
    options = {"engine": ONE, **options}
    return build_shards(source, Place(url), recipe, shard_format, PictureFormat.PNG, **options)


def _contents(url: str) -> dict[str, bytes]:
    return {name: Place(url).read(name) for name, _, _ in Place(url).files()}


@pytest.mark.usefixtures("short_shards")
def test_tar_shards_hold_the_bytes_of_the_folders(source: FaceSource, tmp_path: Path) -> None:
    build_dataset(source, tmp_path / "folders", RECIPE)
    report = _build(source, str(tmp_path / "out"), ShardFormat.WEBDATASET)
    assert (report.made, sum(report.kinds.values())) == (8, 8)
    seen = 0
    for shard in sorted((tmp_path / "out/shards").iterdir()):
        with tarfile.open(shard) as archive:
            members = {member.name: archive.extractfile(member) for member in archive}
        with tarfile.open(shard) as archive:
            for member in archive:
                key, what, *_ = member.name.split(".")
                data = archive.extractfile(member)
                assert data is not None
                if what != "json":
                    seen += 1
                    assert data.read() == (tmp_path / f"folders/{what}/{key}.png").read_bytes()
        assert list(members) == sorted(members, key=lambda name: name.partition(".")[0])
    assert seen == 24


@pytest.mark.usefixtures("short_shards")
def test_parquet_shards_and_either_manifest_hold_the_same_pairs(source: FaceSource, tmp_path: Path) -> None:
    build_dataset(source, tmp_path / "folders", RECIPE)
    rows = [json.loads(line) for line in (tmp_path / "folders/manifest.jsonl").read_text().splitlines()]
    for shard_format in ShardFormat:
        _build(source, str(tmp_path / shard_format), shard_format)
        manifest = parquet.read_table(tmp_path / shard_format / "manifest").to_pylist()
        found = [{**line, "parameters": json.loads(line["parameters"])} for line in manifest]
        found = [{**line, "sha256": json.loads(line["sha256"])} for line in found]
        assert [{key: line[key] for key in rows[0]} for line in found] == rows
    table = parquet.read_table(tmp_path / "parquet/shards").to_pylist()
    for line in table:
        for what in ("occluded", "target", "alpha"):
            assert line[what] == (tmp_path / "folders" / what / line["file"]).read_bytes()


@pytest.mark.usefixtures("short_shards")
@pytest.mark.parametrize("shard_format", ShardFormat)
def test_only_what_is_missing_or_damaged_is_made_again(
    source: FaceSource, tmp_path: Path, shard_format: ShardFormat
) -> None:
    url = str(tmp_path / "out")
    _build(source, url, shard_format, engine=LocalEngine(2) if shard_format == "parquet" else ONE)
    whole = _contents(url)
    shards = sorted(name for name in whole if name.startswith("shards/"))
    assert len(shards) == 3
    (tmp_path / "out" / shards[1]).write_bytes(whole[shards[1]][:100])
    (tmp_path / "out" / "manifest/000002.parquet").unlink()
    (tmp_path / "out" / "shards/.unfinished-0a").write_bytes(b"half")
    report = _build(source, url, shard_format)
    assert (report.made, report.kept) == (5, 3)
    assert _contents(url) == whole
    assert not list((tmp_path / "out").rglob(".unfinished-*"))


@pytest.mark.usefixtures("short_shards")
def test_another_recipe_in_the_same_place_needs_force(source: FaceSource, tmp_path: Path) -> None:
    _build(source, str(tmp_path / "out"), ShardFormat.PARQUET)
    smaller = replace(RECIPE, count=2)
    with pytest.raises(OutputError, match=r"made with another count and layout; .*--force"):
        _build(source, str(tmp_path / "out"), ShardFormat.WEBDATASET, smaller)
    (tmp_path / "out/notes.txt").write_text("mine")
    _build(source, str(tmp_path / "out"), ShardFormat.PARQUET, smaller, force=True)
    _build(source, str(tmp_path / "fresh"), ShardFormat.PARQUET, smaller)
    assert _contents(str(tmp_path / "out")) == _contents(str(tmp_path / "fresh")) | {"notes.txt": b"mine"}


@pytest.mark.usefixtures("short_shards")
def test_a_damaged_picture_costs_its_shard_alone_and_is_listed(tmp_path: Path) -> None:
    home = make_celeba(tmp_path / "celeba", archive=False)
    (home / "img_align_celeba/000005.jpg").write_bytes(b"no picture")
    with pytest.raises(PictureError, match=r"000005\.jpg .*: 1 of 6 pairs are missing"):
        _build(open_source(home), str(tmp_path / "out"), ShardFormat.PARQUET)
    assert sorted(path.name for path in (tmp_path / "out/shards").iterdir()) == [
        "000000.parquet",
        "000002.parquet",
    ]
    assert json.loads((tmp_path / "out/missing.jsonl").read_text())["source"] == "000005.jpg"
    assert not (tmp_path / "out/complete.json").exists()


@pytest.mark.usefixtures("short_shards")
@pytest.mark.parametrize("shard_format", ShardFormat)
def test_a_bucket_gets_the_bytes_of_a_local_folder_and_goes_on(
    source: FaceSource, tmp_path: Path, bucket: str, shard_format: ShardFormat
) -> None:
    url, local = bucket.format(f"pairs/{shard_format}"), (tmp_path / "local").as_uri()
    _build(source, local, shard_format)
    assert _build(source, url, shard_format).made == 8
    assert _contents(url) == _contents(local)
    Place(url).remove("manifest/000000.parquet")
    report = _build(source, url, shard_format)
    assert (report.made, report.kept) == (3, 5)
    assert _contents(url) == _contents(local)


@pytest.mark.usefixtures("short_shards")
@pytest.mark.parametrize("kind", ["folder", "zip", "webdataset", "parquet"])
@pytest.mark.parametrize("where", ["file", "s3"])
def test_faces_are_the_same_wherever_and_however_they_are_stored(
    source: FaceSource, tmp_path: Path, bucket: str, kind: str, where: str
) -> None:
    url = bucket.format(f"faces-{kind}") if where == "s3" else (tmp_path / kind).as_uri()
    for name, data in _stored(source, kind).items():
        Place(url).write(name, data)
    stored = open_source(url)
    assert [record.name.rpartition("/")[2] for record in stored.records] == [r.name for r in source.records]
    for record, same in zip(stored.records, source.records, strict=True):
        assert (stored.read(record.name) == source.read(same.name)).all()
        if kind in ("webdataset", "parquet"):
            assert str(record.identity).endswith(str(same.identity))
            assert record.frame_landmarks_px is not None
            assert (record.frame_landmarks_px == same.frame_landmarks_px).all()
    recipe = Recipe(4, size_px=32)
    one = build_dataset(stored, tmp_path / "one", recipe)
    two = build_dataset(stored, tmp_path / "two", recipe, engine=LocalEngine(2))
    assert one == two
    assert _contents(str(tmp_path / "one")) == _contents(str(tmp_path / "two"))


def _stored(source: FaceSource, kind: str) -> dict[str, bytes]:
    """The files of a source in a shape, by name."""
    import zipfile

    pictures = {record.name: _png(source, record) for record in source.records}
    buffer = io.BytesIO()
    if kind == "folder":
        return {f"person/{name}": data for name, data in pictures.items()}
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, data in pictures.items():
                archive.writestr(f"person/{name}", data)
        return {"faces.zip": buffer.getvalue()}
    notes = [{"file": r.name, "identity": r.identity, "landmarks": _points(r)} for r in source.records]
    if kind == "parquet":
        columns = {key: [note[key] for note in notes] for key in notes[0]}
        table = pa.table({**columns, "image": [{"bytes": data} for data in pictures.values()]})
        parquet.write_table(table, buffer, row_group_size=2)
        return {"train-0.parquet": buffer.getvalue()}
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for note, (name, data) in zip(notes, pictures.items(), strict=True):
            for member, content in ((name, data), (f"{name[:-4]}.json", json.dumps(note).encode())):
                info = tarfile.TarInfo(member)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return {"shard-0.tar": buffer.getvalue()}


def _png(source: FaceSource, record: FaceRecord) -> bytes:
    from facemend.io.png import encode_png_quickly

    return encode_png_quickly(source.read(record.name))


def _points(record: FaceRecord) -> list[float]:
    assert record.frame_landmarks_px is not None
    return [float(value) for value in record.frame_landmarks_px.ravel()]


def test_a_built_dataset_is_a_source_of_its_own_targets(source: FaceSource, tmp_path: Path) -> None:
    for shard_format in ShardFormat:
        url = str(tmp_path / shard_format)
        _build(source, url, shard_format, Recipe(6, size_px=64))
        again = open_source((tmp_path / shard_format).as_uri())
        assert [record.name for record in again.records] == [record.name for record in source.records]
        for record in again.records:
            assert (again.read(record.name) == source.crop(record, 64)).all()


@pytest.mark.parametrize("url", ["file:///nowhere/at/all", "nonsense://bucket/faces"])
def test_a_place_without_faces_is_a_source_error(url: str) -> None:
    with pytest.raises(SourceError, match=r"nowhere|nonsense"):
        open_source(url)


def test_a_place_that_refuses_is_an_output_error(source: FaceSource, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OutputError, match="cannot write"):
        _build(source, str(tmp_path / "out"), ShardFormat.PARQUET)


def test_a_manifest_of_a_stranger_is_not_unpacked_and_its_shard_is_made_again(
    source: FaceSource, tmp_path: Path
) -> None:
    import pyarrow

    url = str(tmp_path / "out")
    _build(source, url, ShardFormat.PARQUET)
    before = _contents(url)
    part = tmp_path / "out/manifest/000000.parquet"
    metadata = parquet.read_schema(part).metadata
    for column in (pyarrow.nulls(3_000_000, pyarrow.string()), pyarrow.array([[1]] * 8)):
        table = pyarrow.table({"kind": column, "landmarks": column})
        parquet.write_table(table.replace_schema_metadata(metadata), part)
        _build(source, url, ShardFormat.PARQUET)
        assert _contents(url) == before

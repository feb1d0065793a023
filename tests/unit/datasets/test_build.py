import errno
import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from facemend.datasets import FaceRecord, FaceSource, open_source
from facemend.datasets.build import PairResult, build_dataset
from facemend.datasets.pairs import FOLDERS, Files, Layout, PictureFormat, Recipe, make_pair
from facemend.errors import OutputError, PictureError, SourceError
from facemend.io import read_image
from facemend.occlusion import occlude
from facemend.parallel import LocalEngine
from tests.tiny_celeba import contents_of, make_celeba

RECIPE = Recipe(count=8, size_px=64)


@pytest.fixture
def source(tmp_path: Path) -> FaceSource:
    return open_source(make_celeba(tmp_path / "celeba"))


def _rows(out: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text("utf-8").splitlines()]


def _interrupt_after(count: int, results: Iterable[PairResult]) -> Iterator[PairResult]:
    for number, result in enumerate(results):
        if number == count:
            raise KeyboardInterrupt
        yield result


def test_a_build_writes_pairs_alpha_and_manifest(source: FaceSource, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = build_dataset(source, out, RECIPE)
    assert report.made == 8
    assert sum(report.kinds.values()) == 8
    rows = _rows(out)
    assert [row["file"] for row in rows] == [f"{n:06d}.png" for n in range(1, 9)]
    assert [row["source"] for row in rows[5:]] == ["000006.jpg", "000001.jpg", "000002.jpg"]
    for index, row in enumerate(rows):
        pair = make_pair(source, index, RECIPE)
        occluded, target, alpha = (read_image(out / folder / str(row["file"])) for folder in FOLDERS)
        np.testing.assert_array_equal(occluded, pair.occluded)
        np.testing.assert_array_equal(target, pair.target)
        np.testing.assert_allclose(alpha[:, :, 0] / 255, pair.occlusion.alpha, atol=1e-6)
        assert row["coverage"] == pytest.approx(pair.occlusion.coverage, abs=1e-6)
        assert row["identity"] == pair.identity
        assert (row["kind"], row["extent"]) == (pair.occlusion.kind, pair.occlusion.extent)
    assert sorted(path.name for path in out.iterdir()) == sorted(
        [*FOLDERS, "dataset.json", "manifest.jsonl"]
    )


def test_a_row_of_the_manifest_draws_its_occlusion_again(source: FaceSource, tmp_path: Path) -> None:
    bare = FaceSource("CelebA", [FaceRecord("000001.jpg", "a")], source.read, "")
    build_dataset(bare, tmp_path / "out", Recipe(count=1, size_px=64))
    (row,) = _rows(tmp_path / "out")
    seed = row["seed"]
    assert isinstance(seed, int)
    target = read_image(tmp_path / "out/target/000001.png")
    again = occlude(target, None, str(row["kind"]), seed)
    np.testing.assert_array_equal(again.image, read_image(tmp_path / "out/occluded/000001.png"))


def test_the_number_of_workers_does_not_change_a_byte(source: FaceSource, tmp_path: Path) -> None:
    recipe = Recipe(count=20, size_px=32)
    build_dataset(source, tmp_path / "one", recipe)
    build_dataset(source, tmp_path / "two", recipe, engine=LocalEngine(2))
    assert contents_of(tmp_path / "one") == contents_of(tmp_path / "two")


def test_the_same_call_again_keeps_everything(source: FaceSource, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = build_dataset(source, out, RECIPE)
    before, times = contents_of(out), {p: p.stat().st_mtime_ns for p in out.rglob("*.png")}
    second = build_dataset(source, out, RECIPE)
    assert second == replace(first, made=0, kept=8)
    assert contents_of(out) == before
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*.png")} == times


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupted_build_goes_on_to_the_same_bytes(
    source: FaceSource, tmp_path: Path, workers: int
) -> None:
    build_dataset(source, tmp_path / "whole", RECIPE)
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        build_dataset(
            source,
            out,
            RECIPE,
            engine=LocalEngine(workers),
            progress=lambda results: _interrupt_after(5, results),
        )
    assert not (out / "manifest.jsonl").exists()
    report = build_dataset(source, out, RECIPE, engine=LocalEngine(workers))
    assert (report.made, report.kept) == (3, 5)
    assert contents_of(out) == contents_of(tmp_path / "whole")


def test_a_torn_line_of_an_interrupted_build_costs_one_pair(source: FaceSource, tmp_path: Path) -> None:
    build_dataset(source, tmp_path / "whole", RECIPE)
    out = tmp_path / "out"
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            build_dataset(source, out, RECIPE, progress=lambda results: _interrupt_after(3, results))
        log = out / "manifest.jsonl.part"
        log.write_bytes(log.read_bytes()[:-20])
    report = build_dataset(source, out, RECIPE)
    assert (report.made, report.kept) == (6, 2)
    assert contents_of(out) == contents_of(tmp_path / "whole")


def test_what_a_killed_run_left_half_written_is_swept_up(source: FaceSource, tmp_path: Path) -> None:
    out = tmp_path / "out"
    build_dataset(source, out, RECIPE)
    before = contents_of(out)
    names = ".facemend-ba9876543210.jsonl", ".facemend-00112233aabb.json"
    for half in ("occluded/.facemend-0123456789ab.png", *names):
        (out / half).write_bytes(b"half")
    build_dataset(source, out, RECIPE)
    assert contents_of(out) == before


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_missing_or_damaged_file_is_made_again(source: FaceSource, tmp_path: Path, folder: str) -> None:
    out = tmp_path / "out"
    build_dataset(source, out, RECIPE)
    before = contents_of(out)
    (out / folder / "000002.png").unlink()
    damaged = out / folder / "000005.png"
    damaged.write_bytes(damaged.read_bytes()[:100])
    report = build_dataset(source, out, RECIPE)
    assert (report.made, report.kept) == (2, 6)
    assert contents_of(out) == before


def test_another_recipe_in_the_same_folder_needs_force(source: FaceSource, tmp_path: Path) -> None:
    out = tmp_path / "out"
    build_dataset(source, out, RECIPE)
    before = contents_of(out)
    smaller = Recipe(count=3, size_px=32)
    with pytest.raises(OutputError, match=r"holds a dataset made with another count and size_px.*--force"):
        build_dataset(source, out, smaller)
    assert contents_of(out) == before
    build_dataset(source, out, smaller, force=True)
    build_dataset(source, tmp_path / "fresh", smaller)
    assert contents_of(out) == contents_of(tmp_path / "fresh")


def test_force_deletes_nothing_but_what_a_build_wrote(source: FaceSource, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "target").mkdir(parents=True)
    (out / "target" / "my notes.png").write_text("keep me")
    with pytest.raises(OutputError, match="holds target already"):
        build_dataset(source, out, RECIPE)
    build_dataset(source, out, RECIPE, force=True)
    assert (out / "target" / "my notes.png").read_text() == "keep me"


def test_other_pictures_under_the_same_recipe_need_force(source: FaceSource, tmp_path: Path) -> None:
    build_dataset(source, tmp_path / "out", RECIPE)
    with pytest.raises(OutputError, match="made with another pictures and fingerprint"):
        build_dataset(source.first(3), tmp_path / "out", RECIPE)


def test_missing_landmarks_and_profiles_are_counted(source: FaceSource, tmp_path: Path) -> None:
    landmarks_px = source.records[0].frame_landmarks_px
    assert landmarks_px is not None
    beside = landmarks_px + [(0, 0), (0, 0), (40, 0), (0, 0), (0, 0)]
    records = [
        source.records[0],
        FaceRecord("000002.jpg", "x"),
        FaceRecord("000003.jpg", "x", np.full((5, 2), np.nan)),
        FaceRecord("000004.jpg", "x", beside),
    ]
    faces = FaceSource("CelebA", records, source.read, "")
    report = build_dataset(faces, tmp_path / "out", Recipe(8, size_px=32))
    assert report.landmarks == {"annotated": 2, "canonical": 4, "profile": 2}
    words = [row["landmarks"] for row in _rows(tmp_path / "out")]
    assert words == ["annotated", "canonical", "canonical", "profile"] * 2


def _wears_glasses(source: FaceSource, *places: int) -> FaceSource:
    """The source, with glasses on the faces at some places."""
    records = [
        replace(record, attributes={"Eyeglasses": place in places})
        for place, record in enumerate(source.records)
    ]
    return FaceSource(source.name, records, source.read, source.fingerprint)


def test_a_face_that_can_take_no_kind_is_passed_over_and_the_next_takes_its_place(
    source: FaceSource, tmp_path: Path
) -> None:
    faces = _wears_glasses(source, 0, 2, 5)
    recipe = Recipe(2, {"sunglasses": 1.0, "blur": 0.0}, size_px=32)
    report = build_dataset(faces, tmp_path / "two", recipe)
    assert (report.skipped, report.made) == (2, 2)
    assert [row["source"] for row in _rows(tmp_path / "two")] == ["000002.jpg", "000004.jpg"]
    report = build_dataset(faces, tmp_path / "all", replace(recipe, count=5))
    assert report.skipped == 3
    names = ["000002.jpg", "000004.jpg", "000005.jpg"]
    assert [row["source"] for row in _rows(tmp_path / "all")] == [*names, *names[:2]]


def test_who_wears_glasses_takes_another_kind_where_there_is_one(
    source: FaceSource, tmp_path: Path
) -> None:
    recipe = Recipe(30, {"sunglasses": 1.0, "blur": 1.0}, size_px=32)
    report = build_dataset(_wears_glasses(source, 1, 3), tmp_path / "out", recipe)
    assert report.skipped == 0
    drawn = {(row["source"], row["kind"]) for row in _rows(tmp_path / "out")}
    assert {kind for name, kind in drawn if name in ("000002.jpg", "000004.jpg")} == {"blur"}
    assert {kind for _, kind in drawn} == {"blur", "sunglasses"}


def test_a_source_without_a_face_for_the_kinds_is_refused_by_name(
    source: FaceSource, tmp_path: Path
) -> None:
    faces = _wears_glasses(source, *range(6))
    with pytest.raises(SourceError, match="no face of CelebA can take sunglasses"):
        build_dataset(faces, tmp_path / "out", Recipe(2, {"sunglasses": 1.0}))
    assert not (tmp_path / "out").exists()


def test_other_glasses_are_another_dataset(source: FaceSource, tmp_path: Path) -> None:
    build_dataset(source, tmp_path / "out", RECIPE)
    with pytest.raises(OutputError, match="made with another fingerprint"):
        build_dataset(_wears_glasses(source, 1), tmp_path / "out", RECIPE)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_damaged_picture_is_listed_and_costs_its_own_pairs_alone(tmp_path: Path, workers: int) -> None:
    home = make_celeba(tmp_path / "celeba", archive=False)
    picture = home / "img_align_celeba" / "000002.jpg"
    whole = picture.read_bytes()
    build_dataset(open_source(home), tmp_path / "whole", RECIPE)
    picture.write_bytes(b"no picture")
    out = tmp_path / "out"
    said = (
        r"000002\.jpg is not a picture.*, and 1 more: 2 of 8 pairs are missing, listed in .*missing\.jsonl"
    )
    for _ in range(2):
        with pytest.raises(PictureError, match=said):
            build_dataset(open_source(home), out, RECIPE, engine=LocalEngine(workers))
        assert not (out / "manifest.jsonl").exists()
        missing = [json.loads(line) for line in (out / "missing.jsonl").read_text("utf-8").splitlines()]
        assert [(row["file"], row["source"]) for row in missing] == [
            ("000002.png", "000002.jpg"),
            ("000008.png", "000002.jpg"),
        ]
    picture.write_bytes(whole)
    report = build_dataset(open_source(home), out, RECIPE, engine=LocalEngine(workers))
    assert (report.made, report.kept) == (2, 6)
    assert contents_of(out) == contents_of(tmp_path / "whole")


def test_an_output_folder_that_is_a_file_is_an_output_error(source: FaceSource, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        build_dataset(source, tmp_path / "out", RECIPE)


def test_a_build_does_not_need_the_folder_it_was_made_in(source: FaceSource, tmp_path: Path) -> None:
    build_dataset(source, tmp_path / "out", RECIPE)
    before = contents_of(tmp_path / "out")
    shutil.move(tmp_path / "out", tmp_path / "moved")
    assert build_dataset(source, tmp_path / "moved", RECIPE).kept == 8
    assert contents_of(tmp_path / "moved") == before


def _refuse(monkeypatch: pytest.MonkeyPatch, method: str, allowed: int) -> None:
    """A disk that is full after so many files."""
    write, count = getattr(Path, method), 0

    def write_or_refuse(path: Path, *arguments: object, **options: object) -> object:
        nonlocal count
        count += 1
        if count > allowed:
            if method == "write_bytes":
                write(path, arguments[0][:10])  # type: ignore[index]
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, *arguments, **options)

    monkeypatch.setattr(Path, method, write_or_refuse)


@pytest.mark.parametrize(
    ("method", "allowed", "kept"),
    [("write_text", 0, 0), ("write_bytes", 0, 0), ("write_bytes", 10, 3), ("replace", 25, 8)],
    ids=["at the options", "at the first pair", "at the fourth pair", "at the manifest"],
)
def test_a_full_disk_stops_a_build_which_then_goes_on_to_the_same_bytes(
    source: FaceSource,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    allowed: int,
    kept: int,
) -> None:
    build_dataset(source, tmp_path / "whole", RECIPE)
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        _refuse(patch, method, allowed)
        with pytest.raises(OutputError, match=r"cannot write .*: No space left on device"):
            build_dataset(source, out, RECIPE)
    assert not (out / "manifest.jsonl").exists()
    assert not [name for name in contents_of(out) if "/." in f"/{name}"]
    assert build_dataset(source, out, RECIPE).kept == kept
    assert contents_of(out) == contents_of(tmp_path / "whole")


def test_webp_holds_the_same_pixels_as_png(source: FaceSource, tmp_path: Path) -> None:
    build_dataset(source, tmp_path / "png", RECIPE)
    build_dataset(source, tmp_path / "webp", RECIPE, Files(picture_format=PictureFormat.WEBP))
    assert len(list((tmp_path / "webp").glob("*/*.webp"))) == 24
    for path in (tmp_path / "webp").glob("*/*.webp"):
        twin = tmp_path / "png" / path.parent.name / f"{path.stem}.png"
        np.testing.assert_array_equal(read_image(path), read_image(twin))


def test_another_layout_or_format_in_the_same_folder_needs_force_and_leaves_no_old_picture(
    source: FaceSource, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    build_dataset(source, out, RECIPE, Files(Layout.IMAGEFOLDER, PictureFormat.WEBP))
    with pytest.raises(OutputError, match="made with another layout and format"):
        build_dataset(source, out, RECIPE, Files(Layout.PIX2PIX))
    build_dataset(source, out, RECIPE, Files(Layout.PIX2PIX), force=True)
    build_dataset(source, tmp_path / "fresh", RECIPE, Files(Layout.PIX2PIX))
    assert contents_of(out) == contents_of(tmp_path / "fresh")


def test_numbered_pictures_that_lie_there_already_are_not_overwritten(
    source: FaceSource, tmp_path: Path
) -> None:
    mine = tmp_path / "out" / "000001.png"
    mine.parent.mkdir()
    mine.write_bytes(b"mine")
    with pytest.raises(OutputError, match=r"holds 000001\.png already"):
        build_dataset(source, tmp_path / "out", RECIPE, Files(Layout.PIX2PIX))
    assert mine.read_bytes() == b"mine"


def test_the_metadata_of_an_imagefolder_names_its_pictures_and_has_one_type_a_column(
    source: FaceSource, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    faces = FaceSource("CelebA", [*source.records, FaceRecord("000001.jpg", None)], source.read, "")
    recipe = Recipe(28, {"nose_mask": 1, "blur": 1, "object": 1}, size_px=32)
    build_dataset(faces, out, recipe, Files(Layout.IMAGEFOLDER))
    lines = [json.loads(line) for line in (out / "metadata.jsonl").read_text("utf-8").splitlines()]
    rows = _rows(out)
    assert [line["occluded_file_name"] for line in lines] == [f"occluded/{row['file']}" for row in rows]
    for line, row in zip(lines, rows, strict=True):
        for what in FOLDERS:
            assert (out / line[f"{what}_file_name"]).is_file()
        assert line["identity"] == (row["identity"] or "")
        assert json.loads(line["parameters"]) == row["parameters"]
        assert (line["kind"], line["seed"], line["coverage"]) == (row["kind"], row["seed"], row["coverage"])
    types = {tuple((key, type(value)) for key, value in line.items()) for line in lines}
    assert len(types) == 1
    assert {kind for _, kind in types.pop()} == {str, int, float}


def _cutouts(folder: Path, level: int) -> Path:
    picture = np.full((12, 20, 4), level, dtype=np.uint8)
    picture[:, :, 3] = 255
    picture[0, 0, 3] = 0
    (folder / "mouth").mkdir(parents=True, exist_ok=True)
    PillowImage.fromarray(picture).save(folder / "mouth" / "a.png")
    return folder


def test_cutouts_join_the_kinds_and_their_bytes_belong_to_the_dataset(
    source: FaceSource, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    recipe = Recipe(8, {"blur": 1, "cutouts": 1}, size_px=32, cutouts=_cutouts(tmp_path / "mine", 90))
    build_dataset(source, out, recipe, engine=LocalEngine(2))
    parameters = [row["parameters"] for row in _rows(out) if row["kind"] == "cutouts"]
    assert 0 < len(parameters) < 8
    assert all(isinstance(each, dict) and each["file"] == "mouth/a.png" for each in parameters)
    moved = replace(recipe, cutouts=Path(shutil.copytree(tmp_path / "mine", tmp_path / "moved")))
    assert build_dataset(source, out, moved).kept == 8
    _cutouts(tmp_path / "moved", 91)
    with pytest.raises(OutputError, match="made with another cutouts"):
        build_dataset(source, out, moved)

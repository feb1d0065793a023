import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

from facemend.datasets import FaceRecord, FaceSource, open_source
from facemend.datasets.build import FOLDERS, BuildReport, Result, build_dataset
from facemend.datasets.pairs import Recipe, make_pair, parse_shares
from facemend.errors import FacemendError, OutputError, PictureError, UsageError
from facemend.images import Image, read_image
from facemend.occlusion import occlude
from tests.tiny_celeba import make_celeba

RECIPE = Recipe(count=8, size_px=64)


@pytest.fixture
def source(tmp_path: Path) -> FaceSource:
    return open_source(make_celeba(tmp_path / "celeba"))


def _contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def _rows(out: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text("utf-8").splitlines()]


def _interrupt_after(count: int, results: Iterable[Result]) -> Iterator[Result]:
    for number, result in enumerate(results):
        if number == count:
            raise KeyboardInterrupt
        yield result


def test_a_pair_is_equal_outside_its_occlusion(source: FaceSource) -> None:
    pair = make_pair(source, 1, RECIPE)
    assert (pair.name, pair.identity) == ("000002.jpg", "celeba:12")
    np.testing.assert_array_equal(pair.target, source.crop(source.records[1], 64))
    outside = pair.occlusion.alpha == 0
    np.testing.assert_array_equal(pair.occluded[outside], pair.target[outside])
    assert (pair.occluded != pair.target).any()


def test_a_pair_depends_on_seed_picture_and_round_alone(source: FaceSource) -> None:
    pair = make_pair(source, 3, RECIPE)
    alone = FaceSource("CelebA", source.records[3:4], source.read, "")
    same = make_pair(alone, 0, Recipe(count=500, size_px=64))
    np.testing.assert_array_equal(pair.occluded, same.occluded)
    seeds = {
        pair.occlusion.seed,
        make_pair(source, 3 + len(source), RECIPE).occlusion.seed,
        make_pair(source, 2, RECIPE).occlusion.seed,
        make_pair(source, 3, Recipe(count=8, size_px=64, seed=1)).occlusion.seed,
    }
    assert len(seeds) == 4


def test_faces_repeat_with_new_draws(source: FaceSource) -> None:
    first, again = make_pair(source, 0, RECIPE), make_pair(source, 6, RECIPE)
    np.testing.assert_array_equal(first.target, again.target)
    assert (first.occluded != again.occluded).any()


def test_kinds_come_by_their_shares(source: FaceSource) -> None:
    recipe = Recipe(count=60, shares={"blur": 3, "mask_full": 1, "nose_mask": 0}, size_px=16)
    kinds = [make_pair(source, index, recipe).occlusion.kind for index in range(60)]
    assert set(kinds) == {"blur", "mask_full"}
    assert 30 < kinds.count("blur") < 56


def test_the_order_of_shares_does_not_matter(source: FaceSource) -> None:
    one = Recipe(count=6, shares={"blur": 1, "mask_full": 1}, size_px=16)
    two = Recipe(count=6, shares={"mask_full": 1, "blur": 1}, size_px=16)
    for index in range(6):
        assert make_pair(source, index, one).occlusion.kind == make_pair(source, index, two).occlusion.kind


def test_a_landmark_moves_the_occlusion(source: FaceSource) -> None:
    record = source.records[0]
    assert record.frame_landmarks_px is not None
    moved = FaceRecord(record.name, record.identity, record.frame_landmarks_px + (20, 0))
    recipe = Recipe(count=1, shares={"mask_full": 1}, size_px=178)
    here, there = (
        make_pair(FaceSource("CelebA", [r], source.read, ""), 0, recipe).occlusion.mask
        for r in (record, moved)
    )
    np.testing.assert_array_equal(np.roll(here, 20, axis=1), there)


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
    build_dataset(source, tmp_path / "two", recipe, workers=2)
    assert _contents(tmp_path / "one") == _contents(tmp_path / "two")


def test_the_same_call_again_keeps_everything(source: FaceSource, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = build_dataset(source, out, RECIPE)
    before, times = _contents(out), {p: p.stat().st_mtime_ns for p in out.rglob("*.png")}
    second = build_dataset(source, out, RECIPE)
    assert second == BuildReport(0, 8, first.without_landmarks, first.kinds)
    assert _contents(out) == before
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*.png")} == times


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupted_build_goes_on_to_the_same_bytes(
    source: FaceSource, tmp_path: Path, workers: int
) -> None:
    build_dataset(source, tmp_path / "whole", RECIPE)
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        build_dataset(
            source, out, RECIPE, workers=workers, progress=lambda results: _interrupt_after(5, results)
        )
    assert not (out / "manifest.jsonl").exists()
    report = build_dataset(source, out, RECIPE, workers=workers)
    assert (report.made, report.kept) == (3, 5)
    assert _contents(out) == _contents(tmp_path / "whole")


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
    assert _contents(out) == _contents(tmp_path / "whole")


def test_what_a_killed_run_left_half_written_is_swept_up(source: FaceSource, tmp_path: Path) -> None:
    out = tmp_path / "out"
    build_dataset(source, out, RECIPE)
    before = _contents(out)
    (out / "occluded" / ".000003.k2j4x.png").write_bytes(b"half")
    build_dataset(source, out, RECIPE)
    assert _contents(out) == before


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_missing_or_damaged_file_is_made_again(source: FaceSource, tmp_path: Path, folder: str) -> None:
    out = tmp_path / "out"
    build_dataset(source, out, RECIPE)
    before = _contents(out)
    (out / folder / "000002.png").unlink()
    damaged = out / folder / "000005.png"
    damaged.write_bytes(damaged.read_bytes()[:100])
    report = build_dataset(source, out, RECIPE)
    assert (report.made, report.kept) == (2, 6)
    assert _contents(out) == before


def test_another_recipe_in_the_same_folder_needs_force(source: FaceSource, tmp_path: Path) -> None:
    out = tmp_path / "out"
    build_dataset(source, out, RECIPE)
    before = _contents(out)
    smaller = Recipe(count=3, size_px=32)
    with pytest.raises(OutputError, match=r"holds a dataset made with another count and size_px.*--force"):
        build_dataset(source, out, smaller)
    assert _contents(out) == before
    build_dataset(source, out, smaller, force=True)
    build_dataset(source, tmp_path / "fresh", smaller)
    assert _contents(out) == _contents(tmp_path / "fresh")


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


def test_pairs_without_landmarks_are_counted(source: FaceSource, tmp_path: Path) -> None:
    records = [*source.records[:2], FaceRecord("000003.jpg", "x")]
    report = build_dataset(
        FaceSource("CelebA", records, source.read, ""), tmp_path / "out", Recipe(6, size_px=32)
    )
    assert report.without_landmarks == 2
    assert [row["landmarks"] for row in _rows(tmp_path / "out")] == [
        "annotated",
        "annotated",
        "canonical",
    ] * 2


@pytest.mark.parametrize("workers", [1, 2])
def test_a_damaged_picture_stops_the_build_by_name(tmp_path: Path, workers: int) -> None:
    home = make_celeba(tmp_path / "celeba", archive=False)
    (home / "img_align_celeba" / "000004.jpg").write_bytes(b"no picture")
    with pytest.raises(PictureError, match=r"000004\.jpg is not a picture"):
        build_dataset(open_source(home), tmp_path / "out", RECIPE, workers=workers)
    assert not (tmp_path / "out" / "manifest.jsonl").exists()


def test_an_output_folder_that_is_a_file_is_an_output_error(source: FaceSource, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        build_dataset(source, tmp_path / "out", RECIPE)


def _killed(name: str) -> Image:
    import os

    os._exit(9)


def test_a_worker_that_dies_ends_the_build_with_advice(tmp_path: Path) -> None:
    source = FaceSource("faces", [FaceRecord("a.png", "a")], _killed, "")
    with pytest.raises(FacemendError, match="a worker died"):
        build_dataset(source, tmp_path / "out", RECIPE, workers=2)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"count": 0}, "a dataset of 0 pairs cannot be made"),
        ({"count": 1, "size_px": 8}, "size 8 is not in 16 to 2048"),
        ({"count": 1, "shares": {"beard": 1.0}}, "unknown occlusion 'beard'; choose from nose_mask"),
        ({"count": 1, "shares": {}}, "shares must be positive"),
        ({"count": 1, "shares": {"blur": -1.0, "nose_mask": 2.0}}, "shares must be positive"),
        ({"count": 1, "shares": {"blur": 0.0}}, "shares must be positive"),
        ({"count": 1, "shares": {"blur": float("nan")}}, "shares must be positive"),
        ({"count": 1, "shares": {"blur": float("inf")}}, "shares must be positive"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_wrong_use(recipe: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Recipe(**recipe)  # type: ignore[arg-type]


def test_fewer_than_one_worker_is_wrong_use(source: FaceSource, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="0 workers"):
        build_dataset(source, tmp_path / "out", RECIPE, workers=0)


def test_shares_are_read_from_a_line() -> None:
    assert parse_shares("nose_mask=0.4, blur=2") == {"nose_mask": 0.4, "blur": 2.0}
    assert parse_shares("nose_mask,blur") == {"nose_mask": 1.0, "blur": 1.0}


def test_a_share_that_is_no_number_is_named() -> None:
    with pytest.raises(UsageError, match=r"'blur=much' is no share of a kind; write kind=0\.5"):
        parse_shares("nose_mask=1,blur=much")


def test_by_default_the_seed_set_is_drawn_in_equal_shares() -> None:
    assert Recipe(1).shares == dict.fromkeys(["nose_mask", "blur", "blur_full", "mask_full"], 1.0)


def test_a_build_does_not_need_the_folder_it_was_made_in(source: FaceSource, tmp_path: Path) -> None:
    build_dataset(source, tmp_path / "out", RECIPE)
    before = _contents(tmp_path / "out")
    shutil.move(tmp_path / "out", tmp_path / "moved")
    assert build_dataset(source, tmp_path / "moved", RECIPE).kept == 8
    assert _contents(tmp_path / "moved") == before

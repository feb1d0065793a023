from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from facemend.datasets import FaceRecord, Split, known_identities, open_source, take_split
from facemend.datasets.faces import FaceSource
from facemend.errors import LeakError, SourceError
from facemend.training import loop
from facemend.training.checkpoint import load_checkpoint
from facemend.training.config import DataConfig, TrainingConfig
from facemend.training.data import OccludedFaces, mixed_crops
from facemend.training.run import open_parts
from facemend.training.sources import Mixture, Part
from tests.tiny_celeba import make_celeba
from tests.tiny_table import make_table

Faces = Callable[..., FaceSource]
_PLAIN = DataConfig(kinds={"blur": 1.0}, unoccluded=1, flip=False)


def _with_sources(config: TrainingConfig, sources: Mapping[str, object]) -> TrainingConfig:
    content = config.model_dump()
    content["data"]["sources"] = sources
    return TrainingConfig.model_validate(content)


@pytest.fixture
def celeba(tmp_path: Path) -> Path:
    return make_celeba(tmp_path / "celeba", range(200, 240))


@pytest.fixture
def split_file(tmp_path: Path) -> Path:
    rows = [f"{n:06d}.jpg,{'val' if n % 4 == 0 else 'train'}" for n in range(1, 41)]
    path = tmp_path / "split.csv"
    path.write_text("\n".join(["file,split", *rows]))
    return path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rows: list[dict[str, object]] = [
        {"person": n, "use": "train", "ITA": -20 if n % 5 == 0 else 30} for n in range(40)
    ]
    rows += [{"person": f"m{n}", "use": "measure"} for n in range(9)]
    return make_table(tmp_path / "faces", rows)


def test_sources_are_mixed_and_what_is_to_be_measured_on_never_reaches_training(
    tiny_config: TrainingConfig, celeba: Path, split_file: Path, table: Path
) -> None:
    sources = {"celeba": {"share": 0.6}, "faces": {"share": 0.3, "path": str(table), "use": "train"}}
    mixture, val = open_parts(_with_sources(tiny_config, sources), celeba, split_file)
    assert mixture.name == "CelebA + faces"
    assert [part.share for part in mixture.parts] == [0.6, 0.3]
    assert {record.use for record in mixture.records} == {None, "train"}
    assert len(mixture.parts[0].faces) == 30
    assert val.name == "CelebA"
    assert not {r.identity for r in mixture.records} & known_identities(val)


def test_faces_marked_measure_are_refused_unless_a_use_is_said(
    tiny_config: TrainingConfig, celeba: Path, split_file: Path, table: Path
) -> None:
    sources = {"celeba": {"share": 0.6}, "faces": {"share": 0.3, "path": str(table)}}
    with pytest.raises(SourceError, match=r'9 of 49 .* set data\.sources\.faces\.use = "train"'):
        open_parts(_with_sources(tiny_config, sources), celeba, split_file)


def test_a_split_file_puts_nothing_marked_measure_into_training(
    tiny_config: TrainingConfig, table: Path, tmp_path: Path
) -> None:
    path = tmp_path / "all.csv"
    path.write_text("\n".join(["file,split", "0.png,val", *(f"{n}.png,train" for n in range(1, 49))]))
    with pytest.raises(SourceError, match=r"9 of 48 .* the split file"):
        open_parts(tiny_config, table, path)


def test_a_table_alone_trains_without_its_measured_faces(tiny_config: TrainingConfig, table: Path) -> None:
    mixture, val = open_parts(tiny_config, table, None)
    assert {record.use for record in (*mixture.records, *val.records)} == {"train"}
    assert len(mixture.records) + len(val) == 40


def test_a_use_that_no_picture_has_names_those_that_there_are(
    tiny_config: TrainingConfig, celeba: Path, split_file: Path, table: Path
) -> None:
    sources = {"celeba": {"share": 0.6}, "faces": {"share": 0.3, "path": str(table), "use": "trian"}}
    with pytest.raises(SourceError, match="no picture is for 'trian', they are for measure, train"):
        open_parts(_with_sources(tiny_config, sources), celeba, split_file)


def test_a_path_that_is_missing_is_one_clear_line(
    tiny_config: TrainingConfig, celeba: Path, split_file: Path
) -> None:
    sources = {"celeba": {"share": 0.6}, "faces": {"share": 0.3, "path": "no/where"}}
    with pytest.raises(SourceError, match=r"data\.sources\.faces\.path: no/where does not exist"):
        open_parts(_with_sources(tiny_config, sources), celeba, split_file)


def test_a_person_of_the_val_split_in_another_source_is_a_leak(
    tiny_config: TrainingConfig, celeba: Path, split_file: Path, tmp_path: Path
) -> None:
    everybody = take_split(open_source(celeba), Split.VAL, split_file)
    people = [str(record.identity).removeprefix("celeba:") for record in everybody.records]
    # A folder of the name "celeba" gives its people the identities that CelebA does.
    copy = make_table(tmp_path / "other" / "celeba", [{"person": person} for person in people])
    sources = {"celeba": {"share": 0.6}, "copy": {"share": 0.3, "path": str(copy)}}
    with pytest.raises(LeakError, match="val set are among the training people"):
        open_parts(_with_sources(tiny_config, sources), celeba, split_file)


def _part(faces: Faces, count: int, name: str, share: float, dark: int = 0, factor: float = 1.0) -> Part:
    source = faces(count, name)
    records = [
        FaceRecord(r.name, r.identity, traits={"ita": -20.0 if n < dark else 20.0})
        for n, r in enumerate(source.records)
    ]
    return Part(FaceSource(name, records, source.read, "1"), share, {"dark_skin": factor, "turned": 4.0})


def test_weights_add_up_to_the_share_and_groups_weigh_their_factor(faces: Faces) -> None:
    weights = _part(faces, 10, "a", 0.3, dark=2, factor=3.0).weights
    assert weights.sum() == pytest.approx(0.3)
    assert weights[0] == pytest.approx(3 * weights[9])


def test_a_face_of_two_groups_weighs_the_larger_factor(faces: Faces) -> None:
    record = FaceRecord("0", "a:0", traits={"ita": -20.0, "yaw": 0.5})
    plain = FaceRecord("1", "a:1")
    source = FaceSource("a", [record, plain], faces(2).read, "1")
    weights = Part(source, 1.0, {"dark_skin": 3.0, "turned": 2.0}).weights
    assert weights.tolist() == pytest.approx([0.75, 0.25])


def test_epochs_show_every_source_and_group_as_often_as_its_share_says(
    faces: Faces, tmp_path: Path
) -> None:
    mixture = Mixture((_part(faces, 30, "a", 0.6), _part(faces, 10, "b", 0.4, dark=2, factor=3.0)))
    crops = mixed_crops(mixture, 64, tmp_path, quiet=True)
    pictures = np.arange(40, dtype=np.uint8)[:, None, None, None] + np.zeros((64, 64, 3), dtype=np.uint8)
    shown = OccludedFaces(replace(crops, images=pictures), _PLAIN, 64, seed=2)
    turns = np.bincount([shown[position].target[0, 0, 0] for position in range(800)], minlength=40) / 20
    assert turns[:30].sum() == pytest.approx(0.6 * 40, abs=0.1)
    assert (np.abs(turns[:30] - 0.6 * 40 / 30) < 0.3).all()
    assert turns[30:32].mean() == pytest.approx(3 * turns[32:].mean(), rel=0.1)


def test_a_position_of_a_mixture_shows_the_same_in_any_order_and_faces_come_from_all_files(
    faces: Faces, tmp_path: Path
) -> None:
    mixture = Mixture((_part(faces, 5, "a", 0.6), _part(faces, 3, "b", 0.4)))
    crops = mixed_crops(mixture, 64, tmp_path, quiet=True)
    forwards, backwards = (OccludedFaces(crops, _PLAIN, 64, seed=1) for _ in range(2))
    one = [forwards[p].target.tobytes() for p in range(24)]
    other = [backwards[p].target.tobytes() for p in reversed(range(24))]
    assert one == other[::-1]
    for row, record in enumerate(mixture.records):
        part = mixture.parts[row >= 5].faces
        np.testing.assert_array_equal(crops.images[row], part.crop(record, 64))


def test_a_mixture_of_one_source_shows_what_the_source_alone_does(faces: Faces, tmp_path: Path) -> None:
    crops = mixed_crops(Mixture.of(faces(6)), 64, tmp_path, quiet=True)
    alone = OccludedFaces(crops, _PLAIN, 64, seed=1)
    for epoch in range(2):
        expected = np.random.default_rng([1, 1, epoch]).permutation(6)
        for place, row in enumerate(expected):
            np.testing.assert_array_equal(alone[6 * epoch + place].target, crops.images[int(row)])


def test_deep_features_are_learnt_from_the_source_that_has_attributes(faces: Faces) -> None:
    bare, described = faces(2, "a"), faces(2, "b")
    records = [FaceRecord(r.name, r.identity, attributes={"Smiling": True}) for r in described.records]
    described = FaceSource("b", records, described.read, "1")
    assert Mixture((Part(bare), Part(described))).described is described


def test_a_mixture_trains_and_goes_on_exactly(
    faces: Faces, tiny_config: TrainingConfig, tmp_path: Path
) -> None:
    mixture = Mixture((_part(faces, 6, "a", 0.6), _part(faces, 4, "b", 0.4, dark=1, factor=3.0)))

    def train(run: str, config: TrainingConfig) -> loop.Outcome:
        return loop.train(
            config, mixture, faces(2, "others"), tmp_path / run, cache=tmp_path / "cache", quiet=True
        )

    train("halves", tiny_config.model_copy(update={"phases": tiny_config.phases[:1]}))
    resumed, whole = (load_checkpoint(train(run, tiny_config).checkpoint) for run in ("halves", "whole"))
    assert resumed.progress.images_seen == whole.progress.images_seen == 32
    assert resumed.tensors.keys() == whole.tensors.keys()
    assert all(torch.equal(resumed.tensors[name], whole.tensors[name]) for name in whole.tensors)

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage

from facemend.alignment import canonical_landmarks
from facemend.datasets.faces import FaceSource
from facemend.errors import PictureError, TrainingError
from facemend.images import Image
from facemend.training.batches import stack
from facemend.training.config import DataConfig
from facemend.training.data import Crops, OccludedFaces, _misaligned, cached_crops, load_batches

Faces = Callable[..., FaceSource]
_CONFIG = DataConfig(kinds={"nose_mask": 1.0, "mask_full": 1.0}, unoccluded=0.3, hinted=0.5)


@pytest.fixture
def crops(faces: Faces, tmp_path: Path) -> Crops:
    return cached_crops(faces(7), 64, tmp_path, quiet=True)


def test_crops_are_decoded_once_and_reread(faces: Faces, tmp_path: Path) -> None:
    source = faces(3)
    first = cached_crops(source, 64, tmp_path, quiet=True)
    (file,) = tmp_path.glob("*.npy")
    made = file.stat().st_mtime_ns
    again = cached_crops(source, 64, tmp_path, quiet=True)
    assert file.stat().st_mtime_ns == made
    assert np.array_equal(list(first.images), list(again.images))
    assert np.array_equal(first.images[2], source.crop(source.records[2], 64))


def test_a_few_broken_pictures_are_left_out_and_many_end_the_run(faces: Faces, tmp_path: Path) -> None:
    source = faces(7)
    broken = {source.records[0].name, source.records[4].name}

    def read(name: str) -> Image:
        if name in broken:
            raise PictureError(f"{name} cannot be read")
        return source.read(name)

    torn = FaceSource(source.name, source.records, read, "torn")
    with pytest.raises(PictureError, match="2 of 7 pictures cannot be read"):
        cached_crops(torn, 64, tmp_path, quiet=True)
    broken.pop()
    (bad,) = broken
    with pytest.warns(UserWarning, match=f"left out of training: .*{bad} cannot be read"):
        crops = cached_crops(torn, 64, tmp_path, quiet=True)
    row = next(row for row, record in enumerate(source.records) if record.name == bad)
    stand_in = source.records[row - 1 if row else 1]
    for again in (crops, cached_crops(torn, 64, tmp_path, quiet=True)):
        assert np.array_equal(again.images[row], source.crop(stand_in, 64))


def test_a_changed_source_is_decoded_anew(faces: Faces, tmp_path: Path) -> None:
    source = faces(2)
    cached_crops(source, 64, tmp_path, quiet=True)
    changed = FaceSource(source.name, source.records, source.read, "2")
    cached_crops(changed, 64, tmp_path, quiet=True)
    assert len(list(tmp_path.glob("*.npy"))) == 2


def test_a_position_shows_the_same_whoever_draws_it(crops: Crops) -> None:
    alone = OccludedFaces(crops, _CONFIG, 64, seed=3)
    batches = list(load_batches(OccludedFaces(crops, _CONFIG, 64, seed=3), 5, 13, 4, workers=1))
    together = torch.cat([batch.occluded for batch in batches])
    expected = torch.cat([stack([alone[position]]).occluded for position in range(5, 13)])
    assert torch.equal(together, expected)


def test_processes_share_a_batch_and_leave_nothing_out(crops: Crops) -> None:
    def shown(process: int, processes: int) -> list[torch.Tensor]:
        dataset = OccludedFaces(crops, _CONFIG, 64, seed=3)
        batches = load_batches(dataset, 4, 14, 4, workers=0, process=process, processes=processes)
        return [batch.occluded for batch in batches]

    shares = zip(shown(0, 2), shown(1, 2), strict=True)
    assert all(torch.equal(torch.cat(both), w) for both, w in zip(shares, shown(0, 1), strict=True))


def test_the_parts_of_a_batch_are_the_batch(crops: Crops) -> None:
    dataset = OccludedFaces(crops, _CONFIG, 64, seed=3)
    batch = stack([dataset[position] for position in range(6)]).unpack()
    parts = batch.split(3)
    assert [len(part) for part in parts] == [2, 2, 2]
    assert torch.equal(torch.cat([part.alpha for part in parts]), batch.alpha)
    assert torch.equal(torch.cat([part.focus for part in parts]), batch.focus)


def test_nothing_to_train_on_is_said(faces: Faces, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no faces"):
        cached_crops(faces(0), 64, tmp_path)


def test_an_epoch_shows_every_face_once(crops: Crops) -> None:
    config = DataConfig(kinds={"blur": 1.0}, unoccluded=1, flip=False)
    dataset = OccludedFaces(crops, config, 64, seed=0)
    for epoch in (0, 1):
        shown = {dataset[epoch * 7 + place].target.tobytes() for place in range(7)}
        assert shown == {image.tobytes() for image in crops.images}


def test_pairs_differ_in_the_hole_only_and_hints_tell_it(crops: Crops) -> None:
    dataset = OccludedFaces(crops, _CONFIG, 64, seed=1)
    batch = stack([dataset[position] for position in range(40)]).unpack()
    visible = batch.hole == 0
    assert torch.equal((batch.occluded * visible), (batch.target * visible))
    hinted = batch.hint.amax(dim=(1, 2, 3)) > 0
    occluded = batch.hole.amax(dim=(1, 2, 3)) > 0
    assert 0 < int(hinted.sum()) < int(occluded.sum()) < 40
    assert torch.equal(batch.hint[hinted], batch.hole[hinted])
    assert batch.alpha[:, 1].max() == 0  # no accessories among these kinds


def test_the_focus_lies_in_the_hole(crops: Crops) -> None:
    dataset = OccludedFaces(crops, DataConfig(kinds={"nose_mask": 1.0}, unoccluded=0), 64, seed=1)
    batch = stack([dataset[position] for position in range(8)]).unpack()
    for n, (x, y) in enumerate(batch.focus.tolist()):
        assert batch.hole[n, 0, y, x] == 1


def test_jitter_keeps_the_size_and_moves_the_face(crops: Crops) -> None:
    config = DataConfig(kinds={"blur": 1.0}, unoccluded=1, flip=False, jitter_px=72)
    dataset = OccludedFaces(crops, config, 64, seed=0)
    views = {dataset[position].target.tobytes() for position in range(7 * 3)}
    assert dataset[0].target.shape == (64, 64, 3)
    assert len(views) > 7


def test_a_crooked_crop_takes_its_occlusion_along(crops: Crops) -> None:
    config = DataConfig(kinds={"nose_mask": 1.0}, unoccluded=0, hinted=0, flip=False, misaligned=1)
    straight = config.model_copy(update={"misaligned": 0})
    dataset = OccludedFaces(crops, config, 64, seed=0)
    views = {dataset[7 * epoch].target.tobytes() for epoch in range(5)}
    assert len(views) == 5
    for position in range(8):
        sample = dataset[position]
        visible = sample.alpha.max(axis=0) == 0
        assert np.array_equal(sample.occluded[visible], sample.target[visible])
        assert not np.array_equal(
            sample.target, OccludedFaces(crops, straight, 64, seed=0)[position].target
        )


def test_both_pictures_are_degraded_alike(crops: Crops) -> None:
    config = DataConfig(kinds={"nose_mask": 1.0}, unoccluded=0, hinted=0, flip=False, degraded=1)
    dataset = OccludedFaces(crops, config, 64, seed=0)
    differences, changes = [], []
    plain = np.stack(list(crops.images)).astype(int)
    for position in range(24):
        sample = dataset[position]
        above = np.s_[:24]  # far from the mask, whose surroundings JPEG and scaling smear
        assert not sample.alpha[:, above].any()
        differences.append(np.abs(sample.occluded[above].astype(int) - sample.target[above]).mean())
        changes.append(np.abs(sample.target - plain).mean(axis=(1, 2, 3)).min())
    assert np.mean(differences) < 0.2 * np.mean(changes)
    assert np.mean(np.array(changes) > 0) > 0.7


def test_real_masks_are_drawn_by_workers_too(crops: Crops, tmp_path: Path) -> None:
    pixels = np.zeros((218, 178, 4), np.uint8)
    pixels[126:186, 52:126] = (90, 150, 210, 255)
    for number in range(12):
        PillowImage.fromarray(pixels).save(tmp_path / f"{number}.png")
    config = DataConfig(kinds={"real_mask": 1.0}, cutouts=str(tmp_path), unoccluded=0)
    alone = OccludedFaces(crops, config, 64, seed=3)
    (batch,) = load_batches(OccludedFaces(crops, config, 64, seed=3), 0, 4, 4, workers=1)
    assert torch.equal(batch.occluded, stack([alone[position] for position in range(4)]).occluded)
    assert all(0.04 < (alone[position].alpha[0] > 0.5).mean() < 0.35 for position in range(4))


def test_a_poor_photo_is_nothing_to_be_found(crops: Crops) -> None:
    config = DataConfig(kinds={"blur": 1.0}, unoccluded=1, flip=False, degraded_unoccluded=0.5)
    dataset = OccludedFaces(crops, config, 64, seed=0)
    plain = {image.tobytes() for image in crops.images}
    samples = [dataset[position] for position in range(60)]
    assert all(np.array_equal(each.occluded, each.target) and not each.alpha.any() for each in samples)
    untouched = sum(each.target.tobytes() in plain for each in samples)
    assert 15 < untouched < 45


def test_what_the_lens_spreads_of_an_occlusion_belongs_to_its_alpha() -> None:
    gray = np.full((3, 128, 128, 3), 100, dtype=np.uint8)
    crops = Crops(gray, np.stack([canonical_landmarks(128)] * 3), [{}] * 3)
    config = DataConfig(kinds={"nose_mask": 1.0}, unoccluded=0, hinted=1, flip=False, degraded=1)
    dataset = OccludedFaces(crops, config, 128, seed=0)
    straight = OccludedFaces(crops, config.model_copy(update={"degraded": 0}), 128, seed=0)
    wider = 0
    for position in range(30):
        sample, sharp = dataset[position], straight[position]
        assert (sample.alpha >= sharp.alpha).all()
        wider += bool((sample.alpha > sharp.alpha).any())
        assert np.array_equal(sample.hint[0] > 0, sample.alpha.max(axis=0) > 0)
    assert 5 < wider < 25  # those that went through a lens that blurs


def test_crooked_crops_are_now_and_then_far_off() -> None:
    rng = np.random.default_rng(0)
    image = np.zeros((64, 64, 3), dtype=np.uint8)
    ends = np.array([(0.0, 32.0), (63.0, 32.0)] + [(32.0, 32.0)] * 3)
    angles = []
    for _ in range(400):
        _, moved = _misaligned(image, ends, rng)
        across = moved[1] - moved[0]
        angles.append(abs(np.degrees(np.arctan2(across[1], across[0]))))
    assert 2 < np.mean(angles) < 4
    assert 7 < np.percentile(angles, 97) < max(angles) < 15


def test_crops_need_not_be_square() -> None:
    tall = np.random.default_rng(0).integers(0, 256, (2, 80, 64, 3), dtype=np.uint8)
    crops = Crops(tall, np.stack([canonical_landmarks(64)] * 2), [{}] * 2)
    config = DataConfig(
        kinds={"nose_mask": 1.0, "blur": 1.0},
        unoccluded=0.3,
        misaligned=0.5,
        degraded=0.5,
        degraded_unoccluded=0.5,
    )
    for position in range(24):
        sample = OccludedFaces(crops, config, 64, seed=0)[position]
        assert sample.occluded.shape == sample.target.shape == (80, 64, 3)
        assert sample.alpha.shape == (2, 80, 64)
        assert sample.hint.shape == (1, 80, 64)

"""Data echoing: what is shown again, and that a run which goes on shows the same."""

from collections.abc import Iterator
from itertools import islice, pairwise

import pytest
import torch

from facemend.training.batches import ECHO_BUFFER, PackedBatch, echo_batches
from facemend.training.config import TrainingConfig


def _fresh(first: int, stop: int) -> Iterator[PackedBatch]:
    for number in range(first, stop):
        picture = torch.full((2, 8, 8, 3), number, dtype=torch.uint8)
        picture[:, :, :4] = 0  # the left half is black
        alpha = torch.zeros(2, 2, 8, 8, dtype=torch.float16)
        alpha[:, 0, :, 4:] = 1
        focus = torch.tensor([[5, 1], [7, 3]])
        yield PackedBatch(picture, picture, alpha, alpha[:, :1].byte(), focus)


def _numbers(batch: PackedBatch) -> list[int]:
    return batch.target.flatten(1).amax(1).tolist()[::2]


def test_each_batch_is_fresh_first_and_then_from_the_newest() -> None:
    batches = list(echo_batches(_fresh(0, 200), 3, first=0, skip=0, seed=1, mirror=False))
    assert [_numbers(batch)[0] for batch in batches] == list(range(200))
    again = [number for batch in batches for number in _numbers(batch)[1:]]
    assert len(again) == 400
    assert all(now - ECHO_BUFFER < old <= now for now, old in zip(range(200), again[::2], strict=True))
    assert len(set(again)) > 120


def test_a_run_that_goes_on_shows_the_same() -> None:
    whole = list(echo_batches(_fresh(0, 150), 2, first=0, skip=0, seed=4, mirror=True))
    first = 100 - ECHO_BUFFER + 1
    rest = list(echo_batches(_fresh(first, 150), 2, first=first, skip=100 - first, seed=4, mirror=True))
    assert len(rest) == 50
    assert all(torch.equal(a.target, b.target) for a, b in zip(whole[100:], rest, strict=True))


def test_half_of_what_is_shown_again_is_mirrored_whole() -> None:
    turned = 0
    for batch in islice(echo_batches(_fresh(1, 100), 2, first=1, skip=0, seed=2, mirror=True), 99):
        pictures = batch.unpack()
        assert torch.equal(pictures.hole[:, 0] == 1, pictures.target[:, 0] > -1)
        assert torch.equal(pictures.hint, pictures.hole)
        for n, (x, y) in enumerate(batch.focus.tolist()):
            assert pictures.hole[n, 0, y, x] == 1
        assert pictures.hole[0, 0, 0, 7] == 1  # the fresh one is as it was
        turned += int(pictures.hole[2, 0, 0, 0])
    assert 30 < turned < 70


def test_other_seeds_show_other_pictures_again() -> None:
    runs = [
        [_numbers(b)[1] for b in echo_batches(_fresh(0, 64), 2, first=0, skip=0, seed=seed, mirror=True)]
        for seed in (1, 2, 3)
    ]
    assert all(a != b for a, b in pairwise(runs))


def test_what_cannot_be_shared_is_said(tiny_config: TrainingConfig) -> None:
    content = tiny_config.model_dump()
    phase = content["phases"][0]
    for wrong, said in (
        ({"batch": 4, "echo": 3, "images": 8}, "echo has to divide batch"),
        ({"batch": 4, "echo": 2, "images": 10}, "batch to divide images"),
    ):
        with pytest.raises(ValueError, match=said):
            TrainingConfig.model_validate(content | {"phases": [phase | wrong]})

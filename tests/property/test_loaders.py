"""Changed files are taken or refused, by every loader that strangers feed. `make bench` tries far more."""

from pathlib import Path

import numpy as np
import pytest

from tests.fuzzing import Fuzzer, fuzz, fuzzers

_INPUTS = 150
_TAKEN = ("notes", "records", "provenances")
"""A file without a note says nothing, whatever it is. A damaged line of a record is passed over."""


@pytest.fixture(scope="module")
def loaders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Fuzzer]:
    return dict(fuzzers(tmp_path_factory.mktemp("seeds")))


@pytest.mark.filterwarnings("ignore")  # Pillow's, on files that are damaged
@pytest.mark.parametrize(
    "name",
    ["photos", "pictures", "notes", "packets", "models", "descriptions", "json", "tables", "networks"]
    + ["zips", "tars", "parquet", "clips", "checkpoints", "scores", "arrays", "findings", "records"]
    + ["provenances"],
)
def test_changed_files_are_taken_or_refused(loaders: dict[str, Fuzzer], tmp_path: Path, name: str) -> None:
    if name not in loaders:
        pytest.skip("needs the extra video: pip install '.[video]'")
    fuzzer = loaders[name]
    for seed in fuzzer.seeds:
        fuzzer.load(seed, tmp_path)
    taken = [fuzz(fuzzer, tmp_path, np.random.default_rng([20, number])) for number in range(_INPUTS)]
    assert all(taken) == (name in _TAKEN)


def test_every_loader_is_named_above(loaders: dict[str, Fuzzer]) -> None:
    assert len(loaders) == 18 + ("clips" in loaders)

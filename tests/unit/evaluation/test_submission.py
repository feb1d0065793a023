import json
import shutil
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from facemend.errors import ModelError
from facemend.evaluation.evaluate import evaluate
from facemend.evaluation.external import export_inputs, open_systems
from facemend.evaluation.results import EvaluationReport
from facemend.evaluation.systems import BASELINES
from facemend.images import digest_of
from facemend.io import read_image, write_png
from tests.unit.evaluation.test_evaluate import SOURCE

KINDS = ("nose_mask", "blur")


FACES = SOURCE.first(2)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Exported inputs, and the mean colour in their holes as another system's pictures."""
    home = tmp_path_factory.mktemp("bench")
    assert export_inputs(home, FACES, KINDS) == 4
    fill = BASELINES["mean-colour"].deliver
    for path in (home / "inputs").iterdir():
        mask = read_image(home / "masks" / path.name)[None, ..., 0] > 0
        write_png(home / "theirs" / path.name, fill(read_image(path)[None], mask).composite[0])
    return home


@pytest.fixture
def home(exported: Path, tmp_path: Path) -> Path:
    """A copy to be spoilt."""
    return Path(shutil.copytree(exported, tmp_path / "bench"))


def measure(home: Path) -> EvaluationReport:
    systems = [*open_systems([home / "theirs"]), BASELINES["mean-colour"]]
    return evaluate(systems, FACES, KINDS, split="test").report


def test_a_folder_of_pictures_is_measured_as_the_system_that_made_them(home: Path) -> None:
    report = measure(home)
    theirs, ours = report.systems
    assert (theirs.name, theirs.blind, theirs.training_people, theirs.latency_ms) == (
        "theirs",
        False,
        "unknown",
        None,
    )
    for measured in (("hole", "psnr"), ("composite", "ssim")):
        rows = [report.find(entry.name, measured) for entry in (theirs, ours)]
        assert rows[0] is not None
        assert rows[1] is not None
        assert rows[0].mean == rows[1].mean


def test_the_truth_is_not_exported(home: Path) -> None:
    truths = {digest_of(SOURCE.crop(record)) for record in FACES.records}
    exported = {digest_of(read_image(path)) for path in home.rglob("*.png")}
    assert not truths & exported


def shrink(home: Path) -> None:
    for path in (home / "theirs").iterdir():
        write_png(path, np.zeros((8, 8, 3), dtype=np.uint8), force=True)


def jpeg(home: Path) -> None:
    """Re-encodes an input: a system that learnt to spot edits would see it."""
    path = next((home / "inputs").iterdir())
    file = BytesIO()
    PillowImage.open(path).save(file, "JPEG", quality=75)
    write_png(path, read_image(file, name="jpeg"), force=True)


def swap_masks(home: Path) -> None:
    first, second = sorted((home / "masks").iterdir())[:2]
    kept = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(kept)


def invert_masks(home: Path) -> None:
    path = next((home / "masks").iterdir())
    write_png(path, 255 - read_image(path), force=True)


def forge(home: Path) -> None:
    """Makes the manifest agree with whatever lies there."""
    manifest = json.loads((home / "manifest.json").read_text())
    for entry in manifest["inputs"]:
        entry["image_sha256"] = digest_of(read_image(home / "inputs" / entry["file"]))
        entry["mask_sha256"] = digest_of(read_image(home / "masks" / entry["file"])[..., 0] == 255)
    (home / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("cheat", [jpeg, swap_masks, invert_masks])
def test_reencoded_inputs_and_swapped_masks_are_refused(home: Path, cheat: Callable[[Path], None]) -> None:
    cheat(home)
    with pytest.raises(ModelError, match="is not as it was exported"):
        measure(home)
    forge(home)
    with pytest.raises(ModelError, match=r"made from other inputs|made with another mask"):
        measure(home)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda home: (home / "manifest.json").unlink(), "no manifest.json"),
        (lambda home: (home / "manifest.json").write_text("{}"), "no manifest.json that can be read"),
        (lambda home: next((home / "theirs").iterdir()).unlink(), "needs a PNG for every input"),
        (lambda home: next((home / "masks").iterdir()).unlink(), "does not exist"),
        (shrink, r"delivers uint8 \(2, 8, 8, 3\)"),
    ],
    ids=["no manifest", "empty manifest", "missing picture", "missing mask", "small pictures"],
)
def test_an_incomplete_folder_is_refused(home: Path, spoil: Callable[[Path], object], message: str) -> None:
    spoil(home)
    with pytest.raises(ModelError, match=message):
        measure(home)


def test_a_manifest_of_another_protocol_is_refused(home: Path) -> None:
    path = home / "manifest.json"
    path.write_text(path.read_text().replace("bench v1", "bench v2"))
    with pytest.raises(ModelError, match="export the inputs again"):
        open_systems([home / "theirs"])

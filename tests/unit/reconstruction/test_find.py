"""Finding without reconstructing: the same decisions, as arrays, files and JSON."""

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image as PillowImage

from facemend.cli.main import main
from facemend.detection import Face
from facemend.errors import ModelError, UsageError
from facemend.images import Alpha, Image
from facemend.io import read_mask
from facemend.occlusion import OcclusionClass
from facemend.reconstruction.demo import read_portraits
from facemend.reconstruction.options import Options
from facemend.reconstruction.provenance import describe_file
from facemend.reconstruction.reconstructor import Reconstruction, Reconstructor
from tests.stand_in import ACCESSORY, COVER, write_model


@pytest.fixture(scope="module")
def reconstructor(stand_in_model: Path) -> Reconstructor:
    return Reconstructor(stand_in_model, threads=1)


@pytest.fixture(scope="module")
def photo() -> Image:
    """Grace Hopper, her chin under a cover and one eye under an accessory."""
    photo = next(each.photo for each in read_portraits() if each.name == "Grace Hopper").copy()
    photo[305:370, 205:305] = COVER
    photo[205:235, 205:250] = ACCESSORY
    return photo


@pytest.fixture
def file(photo: Image, tmp_path: Path) -> Path:
    path = tmp_path / "photos" / "grace.png"
    path.parent.mkdir()
    PillowImage.fromarray(photo).save(path)
    return path


def test_each_class_has_its_own_mask(reconstructor: Reconstructor, photo: Image) -> None:
    found = reconstructor.find(photo, faces=[(195, 130, 125, 240)])
    for name, colour in (("covers", COVER), ("accessories", ACCESSORY)):
        mask, truth = found.mask(name), (photo == colour).all(axis=2)
        assert (mask & truth).sum() / (mask | truth).sum() > 0.9, name


def _without_rim(done: Reconstruction) -> Alpha:
    """What was reconstructed, without the rim into which it fades."""
    whole = np.zeros(done.array.shape[:2], dtype=np.float32)
    for face in done.faces:
        whole[face.box] = np.maximum(whole[face.box], face.removed)
    return whole


def test_what_is_found_is_what_would_be_reconstructed(reconstructor: Reconstructor, photo: Image) -> None:
    found, done = reconstructor.find(photo), reconstructor(photo)
    assert done.changed
    np.testing.assert_array_equal(found.alpha("covers"), _without_rim(done))
    covers = found.faces[0].occlusions[OcclusionClass.COVERS]
    assert covers.probability is not None
    assert 0.6 <= covers.probability <= 1


def test_an_uncovered_face_has_a_probability_and_an_empty_mask(reconstructor: Reconstructor) -> None:
    (portrait, *_) = read_portraits()
    found = reconstructor.find(portrait.photo)
    (face,) = found.faces
    assert not found.mask("covers").any()
    assert all(each.probability is not None and each.probability < 0.6 for each in face.occlusions.values())


def test_a_box_of_the_json_names_the_same_face_again(reconstructor: Reconstructor, photo: Image) -> None:
    (face,) = reconstructor.find(photo).to_json()["faces"]
    (again,) = reconstructor.find(photo, faces=[face["box_px"]]).to_json()["faces"]
    assert again["box_px"] == face["box_px"]
    assert again["confidence"] == 1


def test_a_ready_crop_is_found_in_as_it_is_reconstructed(reconstructor: Reconstructor) -> None:
    crop = np.full((256, 256, 3), 90, dtype=np.uint8)
    crop[120:220, 70:190] = COVER
    found, done = reconstructor.find(crop, aligned=True), reconstructor(crop, aligned=True)
    assert done.changed
    np.testing.assert_array_equal(found.alpha("covers"), _without_rim(done))
    (face,) = found.faces
    assert face.occlusions[OcclusionClass.COVERS].probability is None


def test_options_of_the_reconstruction_are_refused(reconstructor: Reconstructor, photo: Image) -> None:
    mask = np.zeros(photo.shape[:2], dtype=np.bool_)
    for changes in ({"mask": mask}, {"remove": "all"}, {"keep": mask}, {"strip": True}):
        with pytest.raises(UsageError, match="is about the reconstruction"):
            reconstructor.find(photo, **changes)
    with pytest.raises(UsageError, match="unknown option"):
        reconstructor.find(photo, confidence=0.2)


def test_a_model_that_finds_nothing_is_refused(tmp_path: Path, photo: Image) -> None:
    model = write_model(tmp_path / "blind.onnx", finds_occlusion=False)
    with pytest.raises(ModelError, match="finds no occlusion"):
        Reconstructor(model).find(photo)


def test_a_doubtful_face_is_listed_only_if_it_is_hidden(
    reconstructor: Reconstructor, photo: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    (known,) = reconstructor.find(photo).faces
    doubtful = replace(known.face, confidence=0.3)

    def detect(*_: object, **__: object) -> tuple[Face, ...]:
        return (doubtful,)

    monkeypatch.setattr(reconstructor, "_yunet", detect)
    assert reconstructor.find(np.full_like(photo, 128), Options()).faces == ()


def _run(*words: object) -> str:
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return done.output


def test_the_command_writes_masks_and_json(stand_in_model: Path, file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    said = _run("find", file, "-o", out, "--model", stand_in_model)
    assert "grace.png: face 1 at " in said
    assert sorted(path.name for path in out.iterdir()) == [
        "grace.json",
        "grace_accessories.png",
        "grace_covers.png",
    ]
    document = json.loads((out / "grace.json").read_text())
    assert document["masks"] == {"covers": "grace_covers.png", "accessories": "grace_accessories.png"}
    x, y, width, height = document["faces"][0]["occlusions"]["covers"]["box_px"]
    mask = read_mask(out / "grace_covers.png")
    assert mask.sum() == mask[y : y + height, x : x + width].sum() > 5000
    facts = describe_file(out / "grace_covers.png")
    assert facts["notice"].startswith("A mask")
    # What is written once is not written again, and what other options found is not written over.
    before = (out / "grace.json").stat().st_mtime_ns
    _run("find", file, "-o", out, "--model", stand_in_model)
    assert (out / "grace.json").stat().st_mtime_ns == before
    words = ["find", file, "-o", out, "--model", stand_in_model, "--occlusion-threshold", "0.9"]
    assert CliRunner().invoke(main, [str(word) for word in words]).exit_code == 1
    _run(*words, "--force")


def test_masks_are_not_taken_for_photos(stand_in_model: Path, file: Path, tmp_path: Path) -> None:
    _run("find", file, "-o", file.parent / "masks", "--model", stand_in_model)
    for mask in (file.parent / "masks").glob("*.png"):
        mask.rename(file.parent / mask.name)
    said = json.loads(_run("find", file.parent, "--json", "--model", stand_in_model))
    assert [Path(each["input"]).name for each in said["pictures"]] == ["grace.png"]


def test_without_an_output_nothing_is_written(stand_in_model: Path, file: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    said = json.loads(_run("find", file, "--json", "--model", stand_in_model))
    assert said["pictures"][0]["faces"][0]["occlusions"]["covers"]["found"] is True
    assert sorted(tmp_path.rglob("*")) == before


def test_bad_files_fail_alone_and_names_that_meet_are_refused(
    stand_in_model: Path, file: Path, tmp_path: Path
) -> None:
    bad = file.with_name("bad.png")
    bad.write_bytes(b"no picture")
    runner = CliRunner()
    words = ["find", str(file.parent), "-o", str(tmp_path / "out"), "--model", str(stand_in_model)]
    done = runner.invoke(main, words)
    assert done.exit_code == 1
    assert "bad.png" in done.stderr
    assert (tmp_path / "out" / "grace.json").exists()
    data = io.BytesIO(file.read_bytes())
    PillowImage.open(data).save(file.with_suffix(".jpg"))
    done = runner.invoke(main, words)
    assert (done.exit_code, "grace.json" in done.stderr) == (2, True)

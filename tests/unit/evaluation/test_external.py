from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from facemend.datasets import hash_identity
from facemend.errors import ConfigError, LeakError, ModelError
from facemend.evaluation.evaluate import evaluate
from facemend.evaluation.external import open_systems
from facemend.images import Image
from facemend.occlusion import OccludedFace, occlude
from tests.tiny_celeba import gradient
from tests.unit.evaluation.test_evaluate import SOURCE

FACE = occlude(gradient(64, 64), None, "nose_mask", 0)
HOLE = FACE.occlusion.mask

NEGATIVE = """
name = "negative"
file = "network.onnx"
size_px = 64
[image]
name = "image"
range = [0, 1]
[output]
name = "out"
range = [0, 255]
"""
FILLED = NEGATIVE.replace("[output]", '[mask]\nname = "mask"\n[output]\ncomposite = true')


def write(path: Path, text: str, inputs: Mapping[str, int], *steps: tuple[str, list[str], str]) -> Path:
    """A network of ONNX operators over its inputs (name and channels) and a few constants, and its TOML."""
    constants = {"one": 1.0, "255": 255.0, "nan": np.nan, "half": 0.5, "two": 2.0, "0": 0.0}
    sizes = ["n", "h", "w"]
    graph = helper.make_graph(
        [helper.make_node(operator, names, [out]) for operator, names, out in steps],
        "foreign",
        [
            helper.make_tensor_value_info(n, TensorProto.FLOAT, ["b", c, *sizes[1:]])
            for n, c in inputs.items()
        ],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.array(v, dtype=np.float32), n) for n, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(path / "network.onnx"))
    toml = path / "network.toml"
    toml.write_text(text)
    return toml


NEGATE = (("Sub", ["one", "image"], "negative"), ("Mul", ["negative", "255"], "out"))


def deliver(path: Path, face: OccludedFace = FACE) -> Image:
    (system,) = open_systems([path])
    delivered: Image = system.run([face]).composite[0]
    return delivered


def test_a_blind_network_gets_and_gives_its_own_range(tmp_path: Path) -> None:
    path = write(tmp_path, NEGATIVE, {"image": 3}, *NEGATE)
    (system,) = open_systems([path])
    assert (system.name, system.blind, system.training_people) == ("negative", True, None)
    np.testing.assert_array_equal(system.run([FACE]).raw[0], 255 - FACE.image)


def test_the_order_of_channels_is_the_networks_own(tmp_path: Path) -> None:
    text = NEGATIVE.replace("range = [0, 1]", 'range = [0, 1]\norder = "BGR"')
    path = write(tmp_path, text, {"image": 3}, *NEGATE)
    np.testing.assert_array_equal(deliver(path), 255 - FACE.image[..., ::-1])
    path.write_text(text.replace("range = [0, 255]", 'range = [0, 255]\norder = "BGR"'))
    np.testing.assert_array_equal(deliver(path), 255 - FACE.image)


@pytest.mark.parametrize("occluded", [1, 0])
def test_a_mask_goes_in_as_the_network_wants_it(tmp_path: Path, occluded: int) -> None:
    text = FILLED.replace('name = "mask"', f'name = "mask"\noccluded = {occluded}')
    paint = ("Mul", ["mask", "255"], "white"), ("Mul", ["image", "0"], "none")
    path = write(tmp_path, text, {"image": 3, "mask": 1}, *paint, ("Add", ["white", "none"], "out"))
    (system,) = open_systems([path])
    delivery = system.run([FACE])
    assert not system.blind
    assert (delivery.raw[0][HOLE] == 255 * occluded).all()
    assert (delivery.raw[0][~HOLE] == 255 * (1 - occluded)).all()
    np.testing.assert_array_equal(delivery.composite[0][~HOLE], FACE.image[~HOLE])


def test_a_mask_of_the_images_name_is_its_fourth_channel(tmp_path: Path) -> None:
    text = FILLED.replace('name = "mask"', 'name = "image"').replace("range = [0, 1]", "range = [-1, 1]")
    kernel = numpy_helper.from_array(np.array([[0, 0, 0, 255]] * 3, np.float32)[..., None, None], "kernel")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "kernel"], ["out"])],
        "fourth",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 4, 64, 64])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [kernel],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9),
        str(tmp_path / "network.onnx"),
    )
    (tmp_path / "network.toml").write_text(text)
    (system,) = open_systems([tmp_path / "network.toml"])
    np.testing.assert_array_equal(system.run([FACE]).raw[0][..., 0] == 255, HOLE)


@pytest.mark.parametrize(("hole", "level"), [("black", 0), ("white", 255)])
def test_the_hole_is_painted_over_where_the_network_expects_it(
    tmp_path: Path, hole: str, level: int
) -> None:
    text = FILLED.replace("range = [0, 1]", f'range = [0, 1]\nhole = "{hole}"').replace(
        "composite = true", ""
    )
    shown = (
        ("Mul", ["mask", "0"], "none"),
        ("Add", ["image", "none"], "sum"),
        ("Mul", ["sum", "255"], "out"),
    )
    path = write(tmp_path, text, {"image": 3, "mask": 1}, *shown)
    expected = np.where(HOLE[..., None], np.uint8(level), FACE.image)
    np.testing.assert_array_equal(deliver(path), expected)


def test_crops_are_resized_to_the_network_and_back(tmp_path: Path) -> None:
    face = occlude(gradient(128, 128), None, "blur", 0)
    path = write(tmp_path, NEGATIVE, {"image": 3}, *NEGATE)
    shown = deliver(path, face)
    assert shown.shape == (128, 128, 3)
    assert np.abs(shown.astype(int) - (255 - face.image.astype(int))).mean() < 3


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ((("Sub", ["one", "image"], "out"),), r"not the range \[0, 255\]"),
        (
            (*NEGATE[:1], ("Mul", ["negative", "255"], "big"), ("Mul", ["big", "two"], "out")),
            "not the range",
        ),
        ((*NEGATE[:1], ("Mul", ["negative", "nan"], "out")), "not finite"),
        ((("GlobalAveragePool", ["image"], "out"),), r"delivers \(1, 3, 1, 1\)"),
    ],
    ids=["0-1 for 0-255", "0-510 for 0-255", "NaN", "size"],
)
def test_a_wrong_range_size_and_nan_are_refused(
    tmp_path: Path, steps: tuple[tuple[str, list[str], str], ...], message: str
) -> None:
    path = write(tmp_path, NEGATIVE, {"image": 3}, *steps)
    with pytest.raises(ModelError, match=message):
        deliver(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("size_px = 64", "size = 64", r"unknown key 'size'; did you mean 'size_px'\?"),
        ("[0, 1]", "[1, 0]", "black below white"),
        ("[0, 1]", '[0, 1]\norder = "GBR"', "order is RGB or BGR"),
        ("[0, 1]", '[0, 1]\nhole = "black"', r"without \[mask\]"),
        ('name = "image"\n', "", r"\[image\]: missing"),
        ("size_px = 64", 'size_px = "64"', "size_px is a number"),
        ("[image]", "[image", "cannot be read"),
        ('[image]\nname = "image"\nrange = [0, 1]', "image = 1", "is not a table"),
    ],
)
def test_a_description_that_makes_no_sense_is_refused(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    path = write(tmp_path, NEGATIVE.replace(old, new, 1), {"image": 3}, *NEGATE)
    with pytest.raises(ConfigError, match=message):
        open_systems([path])


def test_an_input_that_the_network_has_not_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, NEGATIVE, {"picture": 3}, ("Neg", ["picture"], "out"))
    with pytest.raises(ModelError, match=r"takes picture; network\.toml names image"):
        open_systems([path])
    (tmp_path / "network.onnx").unlink()
    with pytest.raises(ModelError, match="does not exist"):
        open_systems([path])


def test_people_that_a_description_names_are_checked_for_leaks(tmp_path: Path) -> None:
    people = f'training_people = ["{hash_identity("bob")}"]\n'
    path = write(tmp_path, people + NEGATIVE, {"image": 3}, *NEGATE)
    with pytest.raises(LeakError, match="1 of 3 people"):
        evaluate(open_systems([path]), SOURCE, ["blur"], split="test")

"""A model file that needs no training: it draws the negative, and takes pure colours for occlusions.

Pure green (0, 255, 0) is a cover, pure blue (0, 0, 255) an accessory; a hint is a cover as well. Its
interval is a pixel's largest colour value in the network's range, without its sign. Every
pixel of a negative differs from the input's, so that a test sees where the reconstruction went.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from facemend.reconstruction.model import METADATA_KEY, ModelDescription
from tests.tiny_celeba import gradient

COVER, ACCESSORY = (0, 255, 0), (0, 0, 255)

DESCRIPTION = ModelDescription(
    name="stand-in",
    size_px=256,
    takes_hint=True,
    finds_occlusion=True,
    says_interval=True,
    images_seen=0,
    hours=0.0,
    data="none",
    training_people=(),
)


def draw_crop(path: Path, *, covered: bool = True, seed: int = 0) -> Path:
    """Writes a ready crop of 128×128, with a cover or without."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = gradient(128, 128, seed)
    if covered:
        image[60:90, 40:80] = COVER
    Image.fromarray(image).save(path)
    return path


def write_model(
    path: Path,
    *,
    takes_hint: bool = True,
    finds_occlusion: bool = True,
    says_interval: bool = True,
    tall: bool = False,
    text: str | None = None,
) -> Path:
    """Writes the file; `text` replaces the description in it ("" leaves it out)."""
    described = replace(
        DESCRIPTION,
        takes_hint=takes_hint,
        finds_occlusion=finds_occlusion,
        says_interval=says_interval,
        tall=tall,
    )
    side, height = described.size_px, described.height_px
    inputs = [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, height, side])]
    outputs = [helper.make_tensor_value_info("raw", TensorProto.FLOAT, ["n", 3, height, side])]
    nodes = [helper.make_node("Neg", ["image"], ["raw"])]
    constants = []
    if takes_hint:
        inputs.append(helper.make_tensor_value_info("hint", TensorProto.FLOAT, ["n", 1, height, side]))
    if finds_occlusion:
        outputs.append(helper.make_tensor_value_info("alpha", TensorProto.FLOAT, ["n", 2, height, side]))
        constants.append(numpy_helper.from_array(np.array(2.95, dtype=np.float32), "nearly"))
        for name, colour in (("cover", COVER), ("accessory", ACCESSORY)):
            # A 1×1 convolution: 3 for this very colour, less for any other.
            weights = np.where(np.array(colour) > 0, 1, -1).astype(np.float32).reshape(1, 3, 1, 1)
            constants.append(numpy_helper.from_array(weights, f"{name}_colour"))
            nodes += [
                helper.make_node("Conv", ["image", f"{name}_colour"], [f"{name}_sum"]),
                helper.make_node("Greater", [f"{name}_sum", "nearly"], [f"{name}_bool"]),
                helper.make_node("Cast", [f"{name}_bool"], [name], to=TensorProto.FLOAT),
            ]
        if takes_hint:
            nodes.append(helper.make_node("Max", ["cover", "hint"], ["cover_or_hint"]))
        covers = "cover_or_hint" if takes_hint else "cover"
        nodes.append(helper.make_node("Concat", [covers, "accessory"], ["alpha"], axis=1))
    if says_interval:
        outputs.append(helper.make_tensor_value_info("interval", TensorProto.FLOAT, ["n", 1, height, side]))
        nodes += [
            helper.make_node("ReduceMax", ["image"], ["brightest"], axes=[1]),
            helper.make_node("Abs", ["brightest"], ["interval"]),
        ]
    graph = helper.make_graph(nodes, "stand-in", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    if text != "":
        helper.set_model_props(model, {METADATA_KEY: text or described.to_json()})
    onnx.save(model, str(path))
    return path

"""The nodes for ComfyUI, held to its documented contract. ComfyUI itself is not needed."""

import importlib.util
import json
import sys
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs torch, as ComfyUI does")

import torch

from facemend.errors import UsageError
from facemend.reconstruction.demo import read_portraits
from facemend.reconstruction.options import Options
from facemend.reconstruction.reconstructor import Reconstructor
from tests.stand_in import COVER


@pytest.fixture(scope="module")
def pack(repo_root: Path, stand_in_model: Path) -> ModuleType:
    """The folder, loaded as ComfyUI loads it, with the stand-in as its model."""
    folder = repo_root / "integrations" / "comfyui"
    spec = importlib.util.spec_from_file_location(
        "facemend_comfyui", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    reconstructor = Reconstructor(stand_in_model, threads=1)
    module._reconstructor = lambda: reconstructor  # type: ignore[attr-defined]
    return module


@pytest.fixture(scope="module")
def image() -> Any:
    """A batch of one: Grace Hopper with a cover, in levels that are no multiple of 1/255."""
    photo = next(each.photo for each in read_portraits() if each.name == "Grace Hopper").copy()
    photo[305:370, 205:305] = COVER
    noise = torch.rand((1, *photo.shape), generator=torch.Generator().manual_seed(0)) * 0.001
    return (torch.from_numpy(photo)[None].float() / 255 + noise - 0.0005).clamp(0, 1)


def _values(node: Any) -> dict[str, Any]:
    """The inputs of a node as ComfyUI passes them where a user changes nothing."""
    values = {}
    for name, (kind, *more) in node.INPUT_TYPES()["required"].items():
        if kind != "IMAGE":
            values[name] = more[0]["default"]
    return values


def test_every_node_keeps_the_contract(pack: ModuleType) -> None:
    assert pack.NODE_CLASS_MAPPINGS.keys() == pack.NODE_DISPLAY_NAME_MAPPINGS.keys()
    for node in pack.NODE_CLASS_MAPPINGS.values():
        inputs = node.INPUT_TYPES()
        assert inputs["required"]["image"] == ("IMAGE",)
        assert callable(getattr(node(), node.FUNCTION))
        assert len(node.RETURN_TYPES) == len(node.RETURN_NAMES) == len(node.OUTPUT_TOOLTIPS)
        assert set(node.RETURN_TYPES) <= {"IMAGE", "MASK", "STRING"}
        for group in inputs.values():
            for kind, *more in group.values():
                assert isinstance(kind, list) or kind in {
                    "IMAGE",
                    "MASK",
                    "BOOLEAN",
                    "FLOAT",
                    "INT",
                    "STRING",
                }
                assert len(more) <= 1
        json.dumps(inputs)  # ComfyUI sends it to the browser


def test_every_option_about_pixels_is_an_input(pack: ModuleType) -> None:
    inputs = pack.FacemendReconstruct.INPUT_TYPES()
    names = inputs["required"].keys() | inputs["optional"].keys()
    assert names - {"image"} == {each.name for each in fields(Options)} - {"strip", "primary_only"}


def test_no_pixel_outside_the_mask_changes(pack: ModuleType, image: Any) -> None:
    node = pack.FacemendReconstruct
    after, removed, answers = node().run(image=image, **_values(node))
    assert after.shape == image.shape
    assert after.dtype == image.dtype
    assert removed.shape == image.shape[:3]
    assert float(removed.max()) <= 1
    changed = (after != image).any(dim=3)
    assert 5000 < int(changed.sum()) < 20000
    rim = torch.nn.functional.max_pool2d(removed, 61, stride=1, padding=30) > 0
    assert not changed[~rim].any()
    ((face,),) = [entry["faces"] for entry in json.loads(answers)]
    assert face["reconstructed"] is True
    assert set(face) >= {"box_px", "landmarks_px", "confidence", "interval_levels"}


def test_a_batch_keeps_its_order_and_its_fourth_channel(pack: ModuleType, image: Any) -> None:
    opacity = torch.full((*image.shape[:3], 1), 0.25)
    batch = torch.cat([torch.cat([image, opacity], 3), torch.full((1, *image.shape[1:3], 4), 0.5)])
    after, removed, answers = pack.reconstruct(batch)
    assert torch.equal(after[..., 3], batch[..., 3])
    assert bool(removed[0].any())
    assert torch.equal(after[1], batch[1])
    assert [len(entry["faces"]) for entry in json.loads(answers)] == [1, 0]


def test_a_mask_decides_and_an_empty_one_does_not(pack: ModuleType, image: Any) -> None:
    mask = torch.zeros(image.shape[:3])
    mask[:, 310:330, 230:270] = 1
    after, removed, _ = pack.reconstruct(image, mask=mask)
    assert torch.equal(removed > 0, mask > 0)
    assert torch.equal((after != image).any(dim=3), mask > 0)
    found = pack.reconstruct(image)[0]
    assert torch.equal(pack.reconstruct(image, mask=torch.zeros(1, 64, 64))[0], found)
    kept = pack.reconstruct(image, keep=torch.ones(image.shape[:3]))[0]
    assert torch.equal(kept, image)


def test_texts_choose_faces_and_move_the_edge(pack: ModuleType, image: Any) -> None:
    usual = pack.reconstruct(image, feather="", only="", largest=0, min_face="", max_face="", grow="0")
    assert torch.equal(usual[0], pack.reconstruct(image)[0])
    _, removed, _ = pack.reconstruct(image, grow="10%", only="1", largest=1)
    assert bool((removed > 0).sum() > (usual[1] > 0).sum())
    assert torch.equal(pack.reconstruct(image, max_face="5")[0], image)
    with pytest.raises(UsageError, match="names no faces"):
        pack.find(image, only="one")


def test_find_gives_a_mask_a_class(pack: ModuleType, image: Any) -> None:
    node = pack.FacemendFind
    covers, accessories, answers = node().run(image=image, **_values(node), faces="180,120,150,250\n")
    truth = np.all((image[0] * 255).round().numpy() == COVER, axis=2)
    assert covers.shape == accessories.shape == image.shape[:3]
    assert ((covers[0].numpy() > 0.5) & truth).sum() / truth.sum() > 0.9
    assert not bool(accessories.any())
    (entry,) = json.loads(answers)
    assert entry["faces"][0]["occlusions"]["covers"]["found"] is True


def test_what_is_wrong_is_said_in_one_line(pack: ModuleType, image: Any) -> None:
    with pytest.raises(UsageError, match="2 masks for 1 images"):
        pack.reconstruct(image, mask=torch.ones(2, 10, 10))
    with pytest.raises(UsageError, match="is not a face"):
        pack.find(image, faces="somewhere")
    with pytest.raises(UsageError, match=r"takes \(B, H, W, 3\)"):
        pack.find(image[..., :1])
    with pytest.raises(UsageError, match=r"takes \(B, H, W, 3\)"):
        pack.reconstruct(image[:0])
    with pytest.raises(UsageError, match="cannot be"):
        pack.reconstruct(image, occlusion_threshold="high")


def test_the_workflow_fits_the_nodes(pack: ModuleType, repo_root: Path) -> None:
    workflow = json.loads((repo_root / "integrations/comfyui/workflow.json").read_text())
    nodes = {node["id"]: node for node in workflow["nodes"]}
    ours = {node["type"] for node in nodes.values()} & pack.NODE_CLASS_MAPPINGS.keys()
    assert ours == pack.NODE_CLASS_MAPPINGS.keys()
    for number, source, out, target, into, kind in workflow["links"]:
        assert number in nodes[source]["outputs"][out]["links"]
        assert nodes[source]["outputs"][out]["type"] == kind
        assert (
            nodes[target]["inputs"][into] | {"link": number, "type": kind} == nodes[target]["inputs"][into]
        )
    for node in nodes.values():
        if node["type"] not in ours:
            continue
        known = pack.NODE_CLASS_MAPPINGS[node["type"]]
        assert [out["type"] for out in node["outputs"]] == list(known.RETURN_TYPES)
        groups = known.INPUT_TYPES()
        both = {**groups["required"], **groups["optional"]}
        widgets = [more[0]["default"] for kind, *more in both.values() if kind not in ("IMAGE", "MASK")]
        assert node["widgets_values"] == widgets

"""facemend's nodes for ComfyUI. Copy this folder into ComfyUI/custom_nodes and restart ComfyUI.

The contract of ComfyUI (docs.comfy.org, "Custom nodes"): an IMAGE is a float tensor (B, H, W, C) from 0 to
1, a MASK is a float tensor (B, H, W) from 0 to 1, and `NODE_CLASS_MAPPINGS` names the classes. The
functions need torch and facemend, not ComfyUI.
"""

import json
from dataclasses import fields
from enum import StrEnum
from functools import cache
from typing import Any, ClassVar

import numpy as np
import torch

from facemend import Reconstructor
from facemend.errors import UsageError
from facemend.images import Image
from facemend.reconstruction.options import FIND_OPTIONS, Length, Options

_LEFT_OUT = frozenset({"strip", "primary_only"})
"""Options about files. ComfyUI reads and writes those."""
_FACES = (
    "STRING",
    {
        "default": "",
        "multiline": True,
        "tooltip": "Covered faces that are not found: x,y,width,height in pixels, one a line.",
    },
)


_TEXTS = ("feather", "only", "min_face", "max_face")
"""Options that are texts on the node. An empty one leaves the option out, and so does a `largest` of 0."""


def reconstruct(image: torch.Tensor, **values: Any) -> tuple[torch.Tensor, torch.Tensor, str]:
    """Reconstructs what hides the faces of every image of a batch.

    Args:
        image: float (B, H, W, C), 0-1, RGB. A fourth channel is kept as it is.
        values: inputs of the node, by the names of `Options`. A mask is a float (B or 1, h, w). One that
            is 0 everywhere marks nothing, and facemend finds the occlusion itself.

    Returns:
        The images, where no other pixel changed. What was reconstructed, float (B, H, W), 0-1. What was
        done, as JSON text: one entry an image, one face an entry in it.

    Raises:
        FacemendError: as `Reconstructor.__call__` does.
    """
    images, removed, answers = [], [], []
    for place, pixels in enumerate(_pixels_of(image)):
        result = _reconstructor()(pixels, **_options_of(values, place, len(image)))
        changed = torch.from_numpy((result.array != pixels).any(axis=2)).to(image.device)
        drawn = torch.from_numpy(result.array).to(image.device, image.dtype) / 255
        whole = image[place].clone()
        whole[..., :3] = torch.where(changed[..., None], drawn, whole[..., :3])
        images.append(whole)
        removed.append(torch.from_numpy(result.removed))
        answers.append({"faces": [_answer(face) for face in result.faces]})
    return torch.stack(images), torch.stack(removed), json.dumps(answers)


def find(image: torch.Tensor, **values: Any) -> tuple[torch.Tensor, torch.Tensor, str]:
    """Finds what hides the faces of every image of a batch.

    Args:
        image, values: as `reconstruct` takes them.

    Returns:
        The scores for covers and for accessories, each float (B, H, W), 0-1. What was found, as JSON text.

    Raises:
        FacemendError: as `Reconstructor.find` does.
    """
    found = [
        _reconstructor().find(pixels, **_options_of(values, place, len(image)))
        for place, pixels in enumerate(_pixels_of(image))
    ]
    covers, accessories = (
        torch.stack([torch.from_numpy(one.alpha(name)) for one in found])
        for name in ("covers", "accessories")
    )
    return covers, accessories, json.dumps([{"faces": one.to_json()["faces"]} for one in found])


class FacemendReconstruct:
    """The node for `reconstruct`."""

    CATEGORY = "facemend"
    DESCRIPTION = (
        "Finds what hides faces and reconstructs it. The result is a guess, not evidence of who it is."
    )
    FUNCTION = "run"
    RETURN_TYPES = ("IMAGE", "MASK", "STRING")
    RETURN_NAMES = ("image", "reconstructed", "answers")
    OUTPUT_TOOLTIPS: ClassVar = (
        "The images. No pixel outside the mask changed.",
        "What was reconstructed.",
        "What was done to each face, as JSON.",
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, dict[str, Any]]:  # noqa: N802 - ComfyUI's name
        """The inputs, built from the fields of `Options`."""
        return _inputs([each.name for each in fields(Options) if each.name not in _LEFT_OUT])

    def run(self, image: torch.Tensor, **values: Any) -> tuple[torch.Tensor, torch.Tensor, str]:
        """Called by ComfyUI."""
        return reconstruct(image, **values)


class FacemendFind:
    """The node for `find`."""

    CATEGORY = "facemend"
    DESCRIPTION = "Finds what hides faces, as one mask a class. Nothing is reconstructed."
    FUNCTION = "run"
    RETURN_TYPES = ("MASK", "MASK", "STRING")
    RETURN_NAMES = ("covers", "accessories", "answers")
    OUTPUT_TOOLTIPS: ClassVar = (
        "Masks, blur, mosaics and patches.",
        "Glasses, hands and objects.",
        "What was found at each face, as JSON.",
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, dict[str, Any]]:  # noqa: N802 - ComfyUI's name
        """The inputs, built from the fields of `Options` that decide about what is found."""
        return _inputs(list(FIND_OPTIONS))

    def run(self, image: torch.Tensor, **values: Any) -> tuple[torch.Tensor, torch.Tensor, str]:
        """Called by ComfyUI."""
        return find(image, **values)


NODE_CLASS_MAPPINGS = {"FacemendReconstruct": FacemendReconstruct, "FacemendFind": FacemendFind}
NODE_DISPLAY_NAME_MAPPINGS = {
    "FacemendReconstruct": "Reconstruct occluded faces (facemend)",
    "FacemendFind": "Find face occlusions (facemend)",
}
__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"]


@cache
def _reconstructor() -> Reconstructor:
    return Reconstructor()


def _inputs(names: list[str]) -> dict[str, dict[str, Any]]:
    required: dict[str, Any] = {"image": ("IMAGE",)}
    optional: dict[str, Any] = {}
    for each in fields(Options):
        if each.name not in names:
            continue
        text = {"tooltip": each.metadata["help"]}
        if each.name in ("mask", "keep"):
            optional[each.name] = ("MASK", text)
        elif each.name == "faces":
            optional[each.name] = _FACES
        elif each.name == "largest":
            optional[each.name] = ("INT", {"default": 0, "min": 0, "max": 1000, **text})
        elif each.name in _TEXTS or isinstance(each.default, Length):
            optional[each.name] = ("STRING", {"default": str(each.default or ""), **text})
        elif isinstance(each.default, StrEnum):
            choices = [member.value for member in type(each.default)]
            required[each.name] = (choices, {"default": each.default.value, **text})
        elif isinstance(each.default, bool):
            required[each.name] = ("BOOLEAN", {"default": each.default, **text})
        else:
            numbers = {"default": each.default, "min": 0.0, "max": 1.0, "step": 0.01}
            required[each.name] = ("FLOAT", {**numbers, **text})
    return {"required": required, "optional": optional}


def _pixels_of(image: torch.Tensor) -> list[Image]:
    """uint8 (H, W, 3) RGB of each image of a batch. Raises UsageError: it is not an IMAGE of colours."""
    if image.ndim != 4 or image.shape[3] not in (3, 4) or not image.numel():
        raise UsageError(f"the image is {tuple(image.shape)}; facemend takes (B, H, W, 3) or (B, H, W, 4)")
    levels = (image[..., :3].detach().float().cpu().clamp(0, 1) * 255).round().to(torch.uint8)
    return list(levels.numpy())


def _options_of(values: dict[str, Any], place: int, count: int) -> dict[str, Any]:
    """The values of a node's inputs as fields of `Options`, for one image of a batch."""
    options = dict(values)
    options["faces"] = tuple(
        _box_of(line) for line in str(options.get("faces") or "").split("\n") if line.strip()
    )
    for name in ("largest", *_TEXTS):
        if name in options and options[name] in (0, ""):
            del options[name]
    if "only" in options:
        options["only"] = _numbers_of(str(options["only"]))
    for name in ("mask", "keep"):
        marked = options.pop(name, None)
        if marked is None or not bool(marked.any()):
            continue
        planes = marked if marked.ndim == 3 else marked[None]
        if len(planes) not in (1, count):
            raise UsageError(f"there are {len(planes)} masks for {count} images; give one, or one an image")
        mask = (planes[place % len(planes)].detach().float().cpu() > 0.5).numpy().astype(np.bool_)
        options[name] = mask if name == "mask" else (mask,)
    return options


def _box_of(line: str) -> list[float]:
    try:
        return [float(value) for value in line.split(",")]
    except ValueError as error:
        raise UsageError(f"{line!r} is not a face; write x,y,width,height in pixels") from error


def _numbers_of(text: str) -> tuple[int, ...]:
    try:
        return tuple(map(int, text.split(",")))
    except ValueError as error:
        raise UsageError(f"{text!r} names no faces; give their numbers, such as 1,3") from error


def _answer(done: Any) -> dict[str, Any]:
    x1, y1, x2, y2 = done.face.box_px
    levels = done.interval_levels
    return {
        "face": done.number,
        "chosen": done.chosen,
        "box_px": [round(value, 1) for value in (x1 + 0.5, y1 + 0.5, x2 - x1, y2 - y1)],
        "landmarks_px": done.face.landmarks_px.round(1).tolist(),
        "confidence": round(done.face.confidence, 3),
        "reconstructed": done.changed,
        "coverage": done.coverage,
        "interval_levels": None if levels is None else round(levels, 1),
        "doubt": done.doubt,
    }

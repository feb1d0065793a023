"""Other people's networks: any ONNX file, with a small TOML file that says what goes in and comes out.

docs/evaluation.md has an example; the keys are the fields of the dataclasses below.
"""

import tomllib
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar

import numpy as np

from facemend.errors import ConfigError, ModelError
from facemend.evaluation.systems import Delivery, Images, Masks, System
from facemend.files import read_named, sha256_of
from facemend.images import Batch, Image, Mask, from_network, resize, to_network
from facemend.metrics.network import Network
from facemend.reconstruction.composite import resize_alpha

_ORDERS = {"RGB": slice(None), "BGR": slice(None, None, -1)}
_HOLES = {"keep": None, "black": -1.0, "white": 1.0}
_MOST_BYTES = 4 << 20
"""Of a TOML file, which may name thousands of people."""
_OUTSIDE = 0.1
"""How far, as a share of the range, an output may leave it: networks overshoot a little."""
_FLAT = 0.02
"""An output that spans less of its range than this is in another range than it says."""

T = TypeVar("T")


@dataclass(frozen=True)
class ImageInput:
    """How a picture goes in.

    Attributes:
        name: of the network's input.
        range: what black and white become.
        order: of the channels, RGB or BGR.
        hole: what stands in it: keep (the occlusion), black or white.
    """

    name: str
    range: tuple[float, float]
    order: str = "RGB"
    hole: str = "keep"


@dataclass(frozen=True)
class MaskInput:
    """How the mask goes in.

    Attributes:
        name: of the network's input; the image's own name makes it the image's fourth channel.
        occluded: 1, or 0 for a network that wants to be told what is visible.
    """

    name: str
    occluded: int = 1


@dataclass(frozen=True)
class ImageOutput:
    """How a picture comes out.

    Attributes:
        name, range, order: as they go in.
        composite: whether it is delivered in the hole only, which needs the mask.
    """

    name: str
    range: tuple[float, float]
    order: str = "RGB"
    composite: bool = False


@dataclass(frozen=True)
class ForeignModel:
    """What a TOML file says of a network.

    Attributes:
        name: what the report calls it.
        file: the ONNX file, from the TOML file's folder.
        size_px: the side of its square; crops are resized to it and back.
        image, output, mask: see above; without a mask it is blind.
        training_people: hashes of them (`datasets.hash_identity`); None if nobody knows.
    """

    name: str
    file: str
    size_px: int
    image: ImageInput
    output: ImageOutput
    mask: MaskInput | None = None
    training_people: tuple[str, ...] | None = None


def open_foreign(path: Path, threads: int | None = None) -> System:
    """The network that a TOML file describes, as a system; blind if it takes no mask.

    Args:
        threads: of the processor; None lets ONNX Runtime choose.

    Raises:
        ConfigError: a key is missing or unknown, or a value makes no sense.
        ModelError: the ONNX file is missing, cannot be read, or has no such input.
    """
    model = read_foreign(path)
    network = Network(path.parent / model.file, threads)
    wanted = {model.image.name} | ({model.mask.name} if model.mask else set())
    if wanted != network.inputs.keys():
        raise ModelError(
            f"{network.path} takes {', '.join(network.inputs)}; "
            f"{path.name} names {', '.join(sorted(wanted))}"
        )

    def deliver(images: Images, masks: Masks | None) -> Delivery:
        raws = [
            _reconstruct(model, network, *pair)
            for pair in zip(images, [None] * len(images) if masks is None else masks, strict=True)
        ]
        raw = np.stack(raws)
        if not model.output.composite or masks is None:
            return Delivery(raw, raw, None)
        return Delivery(raw, np.where(masks[..., None], raw, images), None)

    people = model.training_people
    return System(
        model.name,
        blind=model.mask is None,
        deliver=deliver,
        sha256=network.sha256,
        training_people=None if people is None else frozenset(people),
        fingerprint=f"{network.sha256} {sha256_of(path)}",
        file=path,
    )


def read_foreign(path: Path) -> ForeignModel:
    """Reads the description of a network.

    Raises:
        ConfigError: it is no TOML, a key is missing or unknown, or a value makes no sense.
    """
    try:
        table = tomllib.loads(read_named(path, _MOST_BYTES).decode())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    except RecursionError as error:
        raise ConfigError(f"{path} cannot be read: it is nested too deeply") from error
    image = _build(ImageInput, table.pop("image", {}), f"{path}, [image]")
    output = _build(ImageOutput, table.pop("output", {}), f"{path}, [output]")
    mask = table.pop("mask", None)
    given = None if mask is None else _build(MaskInput, mask, f"{path}, [mask]")
    model = _build(ForeignModel, table | {"image": image, "output": output, "mask": given}, str(path))
    for rule, holds in _rules(model).items():
        if not holds:
            raise ConfigError(f"{path}: {rule}")
    return model


def _rules(model: ForeignModel) -> dict[str, bool]:
    """What a description has to keep to, in words, and whether it does."""
    image, output, mask = model.image, model.output, model.mask
    needs_mask = image.hole != "keep" or output.composite
    texts = (model.name, model.file, image.name, image.order, image.hole, output.name, output.order)
    names = texts if mask is None else (*texts, mask.name)
    if not all(isinstance(text, str) for text in (*names, *(model.training_people or ()))):
        return {"names, file, order, hole and training_people are texts": False}
    return {
        "order is RGB or BGR": {image.order, output.order} <= _ORDERS.keys(),
        f"hole is one of {', '.join(_HOLES)}": image.hole in _HOLES,
        "a range is [black, white], black below white": all(map(_is_range, (image.range, output.range))),
        "occluded is 0 or 1": mask is None or mask.occluded in (0, 1),
        "size_px is a number of pixels": isinstance(model.size_px, int) and model.size_px > 0,
        "without [mask], hole is keep and composite is false": mask is not None or not needs_mask,
    }


def _is_range(ends: object) -> bool:
    return (
        isinstance(ends, tuple)
        and len(ends) == 2
        and all(isinstance(end, int | float) for end in ends)
        and ends[0] < ends[1]
    )


def _build(kind: type[T], table: object, where: str) -> T:
    """A dataclass out of a table whose keys are its fields; lists become tuples."""
    if not isinstance(table, dict):
        raise ConfigError(f"{where}: it is a table of keys and values, not {table!r}")
    known = [entry.name for entry in fields(kind)]  # type: ignore[arg-type]
    for key in table:
        if key not in known:
            near = get_close_matches(key, known, 1, 0) or known
            raise ConfigError(f"{where}: unknown key {key!r}; did you mean {near[0]!r}?")
    try:
        return kind(**{key: tuple(v) if isinstance(v, list) else v for key, v in table.items()})
    except TypeError as error:
        raise ConfigError(f"{where}: {str(error).partition('() ')[2]}") from error


def _reconstruct(model: ForeignModel, network: Network, image: Image, mask: Mask | None) -> Image:
    """The network's own picture, at the picture's size."""
    side, size = image.shape[0], model.size_px
    picture = to_network(resize(image, size, size)[None])[:, _ORDERS[model.image.order]]
    feeds: dict[str, Batch] = {}
    if model.mask is not None and mask is not None:
        # A pixel that the mask touches at all is occluded.
        hidden = resize_alpha(mask.astype(np.float32), size, size)[None, None] > 0
        colour = _HOLES[model.image.hole]
        picture = picture if colour is None else np.where(hidden, np.float32(colour), picture)
        feeds[model.mask.name] = (hidden == bool(model.mask.occluded)).astype(np.float32)
    low, high = model.image.range
    scaled = ((picture + 1) / 2 * (high - low) + low).astype(np.float32)
    # A mask under the image's own name is its fourth channel.
    parts = [scaled, feeds[model.image.name]] if model.image.name in feeds else [scaled]
    feeds[model.image.name] = np.concatenate(parts, axis=1)
    output = _to_network_range(network.run(feeds, model.output.name), model, network.path)
    return resize(from_network(output[:, _ORDERS[model.output.order]])[0], side, side)


def _to_network_range(output: Batch, model: ForeignModel, path: Path) -> Batch:
    """An output in [-1, 1].

    Raises:
        ModelError: it has another size, or is in another range than the description says.
    """
    size, (low, high) = model.size_px, model.output.range
    if output.shape != (1, 3, size, size):
        raise ModelError(f"{path} delivers {output.shape}, not (1, 3, {size}, {size})")
    share = (output - low) / (high - low)
    least, most = float(share.min()), float(share.max())
    if least < -_OUTSIDE or most > 1 + _OUTSIDE or most - least < _FLAT:
        raise ModelError(
            f"{path} delivers {output.min():.3g} to {output.max():.3g}, which is not the range "
            f"[{low:g}, {high:g}] that its description gives"
        )
    return (2 * share - 1).astype(np.float32)

"""Systems from a path: a model file, any ONNX network with a description, or a folder of pictures."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar

import numpy as np

from facemend.datasets import FaceSource
from facemend.errors import ConfigError, ModelError, PictureError
from facemend.evaluation.protocol import PROTOCOL, kinds_for, make_input
from facemend.evaluation.systems import Delivery, Images, Masks, OpenModel, System, open_model
from facemend.files import (
    parse_json,
    parse_toml,
    read_named,
    read_own,
    refuse_links,
    sha256_of,
    write_text,
)
from facemend.images import Batch, Image, Mask, digest_of, from_network, resize, to_network
from facemend.io import read_image, write_png
from facemend.onnx_model import OnnxModel
from facemend.reconstruction.blending import resize_alpha
from facemend.terminal import progress as show_progress

_ORDERS = {"RGB": slice(None), "BGR": slice(None, None, -1)}
_HOLES = {"keep": None, "black": -1.0, "white": 1.0}
_MOST_BYTES = 4 << 20
"""Of a TOML file, which may name thousands of people."""
_OUTSIDE = 0.1
"""Share of the range by which an output may leave it, since networks overshoot a little."""
_FLAT = 0.02
"""An output that spans a smaller share of its range is in another range than its description says."""

T = TypeVar("T")


@dataclass(frozen=True)
class ImageInput:
    """How the network takes a picture.

    Attributes:
        name: of the network's input.
        range: the values of black and white.
        order: of the channels, RGB or BGR.
        hole: what fills it: keep (the occlusion), black or white.
    """

    name: str
    range: tuple[float, float]
    order: str = "RGB"
    hole: str = "keep"


@dataclass(frozen=True)
class MaskInput:
    """How the network takes the mask.

    Attributes:
        name: of the network's input. The image's own name makes it the image's fourth channel.
        occluded: value of occluded pixels: 1, or 0 for a network whose mask marks what is visible.
    """

    name: str
    occluded: int = 1


@dataclass(frozen=True)
class ImageOutput:
    """How the network returns a picture.

    Attributes:
        name, range, order: as in `ImageInput`.
        composite: whether it is used in the hole only, which requires the mask.
    """

    name: str
    range: tuple[float, float]
    order: str = "RGB"
    composite: bool = False


@dataclass(frozen=True)
class ExternalModel:
    """A network, as its TOML file describes it.

    Attributes:
        name: what the report calls it.
        file: the ONNX file, from the TOML file's folder.
        size_px: side of its square. Crops are resized to it and back.
        image, output, mask: see above. Without a mask the network is blind.
        training_people: hashes of them (`datasets.hash_identity`), or None if unknown.
    """

    name: str
    file: str
    size_px: int
    image: ImageInput
    output: ImageOutput
    mask: MaskInput | None = None
    training_people: tuple[str, ...] | None = None


def open_external(path: Path, threads: int | None = None) -> System:
    """The network that a TOML file describes, as a system. It is blind if it takes no mask.

    Args:
        threads: of the processor. None for all cores.

    Raises:
        ConfigError: a key is missing or unknown, or a value makes no sense.
        ModelError: the ONNX file is missing, cannot be read, or has no such input.
    """
    model = read_external(path)
    network = OnnxModel(
        path.parent / model.file,
        [model.output.name],
        unfit=f"has no output {model.output.name}, which {path.name} names",
        threads=threads,
    )
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


def read_external(path: Path) -> ExternalModel:
    """Reads the description of a network.

    Raises:
        ConfigError: the file is not TOML, a key is missing or unknown, or a value makes no sense.
    """
    try:
        table = parse_toml(read_named(path, _MOST_BYTES))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    image = _build(ImageInput, table.pop("image", {}), f"{path}, [image]")
    output = _build(ImageOutput, table.pop("output", {}), f"{path}, [output]")
    mask = table.pop("mask", None)
    mask_input = None if mask is None else _build(MaskInput, mask, f"{path}, [mask]")
    model = _build(ExternalModel, table | {"image": image, "output": output, "mask": mask_input}, str(path))
    for rule, holds in _rules(model).items():
        if not holds:
            raise ConfigError(f"{path}: {rule}")
    return model


def _rules(model: ExternalModel) -> dict[str, bool]:
    """The rules for a description, in words, and whether it keeps them."""
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
    """A dataclass from a table whose keys are its fields. Lists become tuples."""
    if not isinstance(table, dict):
        raise ConfigError(f"{where}: {table!r} is not a table of keys and values")
    known = [entry.name for entry in fields(kind)]  # type: ignore[arg-type]
    for key in table:
        if key not in known:
            near = get_close_matches(key, known, 1, 0) or known
            raise ConfigError(f"{where}: unknown key {key!r}; did you mean {near[0]!r}?")
    try:
        return kind(**{key: tuple(v) if isinstance(v, list) else v for key, v in table.items()})
    except TypeError as error:
        raise ConfigError(f"{where}: {str(error).partition('() ')[2]}") from error


def _reconstruct(model: ExternalModel, network: OnnxModel, image: Image, mask: Mask | None) -> Image:
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
    output = _to_network_range(network.run(feeds)[model.output.name], model, network.path)
    return resize(from_network(output[:, _ORDERS[model.output.order]])[0], side, side)


def _to_network_range(output: Batch, model: ExternalModel, path: Path) -> Batch:
    """An output in [-1, 1].

    Raises:
        ModelError: its size or range is not the one in the description.
    """
    size, (low, high) = model.size_px, model.output.range
    if output.shape != (1, 3, size, size):
        raise ModelError(f"{path} delivers {output.shape}, not (1, 3, {size}, {size})")
    share = (output - low) / (high - low)
    least, most = float(share.min()), float(share.max())
    if least < -_OUTSIDE or most > 1 + _OUTSIDE or most - least < _FLAT:
        raise ModelError(
            f"{path} delivers {output.min():.3g} to {output.max():.3g}, which is not the range "
            f"[{low:g}, {high:g}] of its description"
        )
    return (2 * share - 1).astype(np.float32)


INPUTS, MASKS, MANIFEST = "inputs", "masks", "manifest.json"
FORMAT = 1
_WHITE = 255


@dataclass(frozen=True)
class ExportedInput:
    """One line of the manifest.

    Attributes:
        file: the picture's name in every folder.
        image_sha256: over the input's pixels, uint8 (S, S, 3).
        mask_sha256: over the mask's, bool (S, S).
    """

    file: str
    image_sha256: str
    mask_sha256: str


def export_inputs(
    folder: Path, source: FaceSource, kinds: Sequence[str], *, force: bool = False, progress: bool = False
) -> int:
    """Writes the inputs of v1 for a source, without the truths, and returns how many there are.

    Args:
        force: whether to overwrite earlier ones.
        progress: whether to show a progress bar on a terminal.

    Raises:
        OutputError: a file exists and `force` is not set, or the disk refuses.
    """
    for part in (INPUTS, MASKS):
        refuse_links(folder, folder / part)
    exported = []
    for record in show_progress(source.records, unit="face", quiet=not progress):
        crop = source.crop(record)
        for kind in kinds_for(record.attributes, kinds):
            face = make_input(crop, record.name, kind)
            file = f"{record.name.replace('/', '-')}--{kind}.png"
            write_png(folder / INPUTS / file, face.image, force=force)
            white = face.occlusion.mask.astype(np.uint8) * np.uint8(_WHITE)
            write_png(folder / MASKS / file, white, force=force)
            exported.append(ExportedInput(file, digest_of(face.image), digest_of(face.occlusion.mask)))
    manifest = {"format": FORMAT, "protocol": PROTOCOL, "inputs": [asdict(entry) for entry in exported]}
    write_text(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n", force=force)
    return len(exported)


def open_submission(folder: Path) -> System:
    """A folder of pictures beside `inputs`, `masks` and `manifest.json`, as a system of its name.

    It counts as a system that gets the true masks. What it was trained on is unknown.

    Raises:
        ModelError: the manifest is missing, inputs or masks differ from those that were exported, or a
            picture is missing or not PNG.
    """
    entries = _read_manifest(folder.parent / MANIFEST)
    for entry in entries.values():
        _check_exported(folder.parent, entry)
        if not (folder / entry.file).exists():
            raise ModelError(f"{folder} has no {entry.file}; it needs a PNG for every input")

    def deliver(images: Images, masks: Masks | None) -> Delivery:
        if masks is None:
            raise ValueError(f"{folder.name} needs the true masks")
        pictures = [_find(folder, entries, *pair) for pair in zip(images, masks, strict=True)]
        delivered = np.stack(pictures)
        return Delivery(delivered, delivered, None)

    return System(folder.name, blind=False, deliver=deliver, training_people=None, fixed_inputs=True)


def _read_manifest(path: Path) -> dict[str, ExportedInput]:
    """The exported inputs by the hash of their pixels."""
    try:
        manifest = parse_json(read_own(path))
        if (manifest["format"], manifest["protocol"]) != (FORMAT, PROTOCOL):
            raise ModelError(f"{path} is not of {PROTOCOL}; export the inputs again")
        entries = [_entry_of(**entry) for entry in manifest["inputs"]]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ModelError(
            f"{path.parent} has no {MANIFEST} that can be read; put the system's folder where "
            "facemend evaluate --export-inputs wrote the inputs"
        ) from error
    return {entry.image_sha256: entry for entry in entries}


def _entry_of(file: str, image_sha256: str, mask_sha256: str) -> ExportedInput:
    """Raises ValueError: the fields are not texts, or the file is in another folder."""
    texts = (file, image_sha256, mask_sha256)
    if not all(isinstance(text, str) for text in texts) or file != Path(file).name or file in ("", ".."):
        raise ValueError("an input has a file in the folder and two checksums")
    return ExportedInput(*texts)


def _check_exported(home: Path, entry: ExportedInput) -> None:
    """Makes sure that the input and the mask of a system are those that were exported.

    Raises:
        ModelError: one is missing, re-encoded, or of another picture.
    """
    image, mask = (_read(home / part / entry.file) for part in (INPUTS, MASKS))
    for part, found, wanted in (
        (INPUTS, digest_of(image), entry.image_sha256),
        (MASKS, digest_of(mask[..., 0] == _WHITE), entry.mask_sha256),
    ):
        if found != wanted:
            raise ModelError(
                f"{home / part / entry.file} is not as it was exported; export the inputs again"
            )


def _find(folder: Path, entries: Mapping[str, ExportedInput], image: Image, mask: Mask) -> Image:
    entry = entries.get(digest_of(image))
    if entry is None:
        raise ModelError(
            f"{folder} was made from other inputs than these; export them with the same source, split, "
            "--kinds and --limit"
        )
    if entry.mask_sha256 != digest_of(mask):
        raise ModelError(f"{folder} was made with another mask for {entry.file}; export the inputs again")
    return _read(folder / entry.file)


def _read(path: Path) -> Image:
    try:
        return read_image(path)
    except PictureError as error:
        raise ModelError(str(error)) from error


def open_systems(
    paths: Sequence[Path], threads: int | None = None, open_model: OpenModel = open_model
) -> list[System]:
    """Opens each path: a facemend model, a TOML file that describes a network, or a folder of pictures.

    Systems with the same name get the beginning of their sha256 added to it.

    Args:
        threads: of the processor. None for all cores.
        open_model: opens a facemend model file (see `protocol.Protocol`).

    Raises:
        ModelError: a file is not a model, or a folder does not hold a system's pictures.
        ConfigError: a TOML file does not describe a network.
    """
    systems = [_open(path, threads, open_model) for path in paths]
    times = Counter(system.name for system in systems)
    return [
        system
        if times[system.name] == 1
        else replace(system, name=f"{system.name} {str(system.sha256)[:8]}")
        for system in systems
    ]


def _open(path: Path, threads: int | None, open_model: OpenModel) -> System:
    if path.is_dir():
        return open_submission(path)
    return open_external(path, threads) if path.suffix == ".toml" else open_model(path, threads)

"""Systems that cannot be called: they get the protocol's inputs as files, and give pictures back.

    inputs/NAME--KIND.png    what to reconstruct
    masks/NAME--KIND.png     white where it is occluded
    manifest.json            the hashes of both
    SYSTEM/NAME--KIND.png    what a system made of them: `facemend evaluate FOLDER/SYSTEM`

Pixels are hashed, not files. What was not made from the protocol's own inputs is refused.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from facemend.datasets import FaceSource
from facemend.errors import ModelError, PictureError
from facemend.evaluation.figures import digest_of
from facemend.evaluation.protocol import PROTOCOL, bench_face, kinds_for
from facemend.evaluation.systems import Delivery, Images, Masks, System
from facemend.files import parse_json, read_own, write_text
from facemend.images import Image, Mask, write_png
from facemend.photos import read_image

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
    """Writes the protocol's inputs over a source, without their truths, and returns how many.

    Args:
        force: whether to write over earlier ones.
        progress: whether to show a progress bar on a terminal.

    Raises:
        OutputError: a file exists and `force` is not set, or the disk refuses.
    """
    exported = []
    for record in tqdm(source.records, unit="face", disable=None if progress else True):
        crop = source.crop(record)
        for kind in kinds_for(record.attributes, kinds):
            face = bench_face(crop, record.name, kind)
            file = f"{record.name.replace('/', '-')}--{kind}.png"
            write_png(folder / INPUTS / file, face.image, force=force)
            white = face.occlusion.mask.astype(np.uint8) * np.uint8(_WHITE)
            write_png(folder / MASKS / file, white, force=force)
            exported.append(ExportedInput(file, digest_of(face.image), digest_of(face.occlusion.mask)))
    manifest = {"format": FORMAT, "protocol": PROTOCOL, "inputs": [asdict(entry) for entry in exported]}
    write_text(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n", force=force)
    return len(exported)


def open_submission(folder: Path) -> System:
    """A folder of pictures beside `inputs`, `masks` and `manifest.json`, as a system called as the folder.

    It counts as given the masks, and nobody knows what it was trained on.

    Raises:
        ModelError: no manifest, inputs or masks that are not those which were exported, or a picture that
            is missing or no PNG.
    """
    entries = _read_manifest(folder.parent / MANIFEST)
    for entry in entries.values():
        _check_exported(folder.parent, entry)
        if not (folder / entry.file).exists():
            raise ModelError(f"{folder} has no {entry.file}; a system delivers every input, as PNG")

    def deliver(images: Images, masks: Masks | None) -> Delivery:
        if masks is None:
            raise ValueError(f"{folder.name} was given the true masks")
        pictures = [_find(folder, entries, *pair) for pair in zip(images, masks, strict=True)]
        delivered = np.stack(pictures)
        return Delivery(delivered, delivered, None)

    return System(folder.name, blind=False, deliver=deliver, training_people=None, captive=True)


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
    """Raises ValueError: the fields are no texts, or the file lies in another folder."""
    texts = (file, image_sha256, mask_sha256)
    if not all(isinstance(text, str) for text in texts) or file != Path(file).name or file in ("", ".."):
        raise ValueError("an input is a file of the folder, and its two sums")
    return ExportedInput(*texts)


def _check_exported(home: Path, entry: ExportedInput) -> None:
    """Makes sure that a system had before it what was exported.

    Raises:
        ModelError: it is missing, re-encoded, or belongs to another picture.
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

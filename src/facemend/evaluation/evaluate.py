"""Measures systems on the protocol's inputs, picture by picture, in bounded memory."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from tqdm import tqdm

from facemend import __version__
from facemend.datasets import FaceRecord, FaceSource, check_no_leak, hash_identity, known_identities
from facemend.errors import UsageError
from facemend.evaluation.averages import average
from facemend.evaluation.protocol import PROTOCOL, bench_face, input_digest, join_digests, kinds_for
from facemend.evaluation.results import EvaluationReport, Measure, Measurement, SystemEntry
from facemend.evaluation.systems import Delivery, System
from facemend.images import Alpha, Image
from facemend.metrics.occlusion_iou import occlusion_iou
from facemend.metrics.psnr import psnr
from facemend.metrics.sharpness import sharpness
from facemend.metrics.ssim import ssim
from facemend.occlusion import OccludedFace

NO_OCCLUSION = "none"
_EDITED_SHARE = 0.01
"""More changed pixels than this in a picture without occlusion are a false edit."""


@dataclass(frozen=True)
class Evaluation:
    """A report and the figures of single pictures that it is made of, in the order they were taken."""

    report: EvaluationReport
    measurements: tuple[Measurement, ...]


def evaluate(
    systems: Sequence[System],
    source: FaceSource,
    kinds: Sequence[str],
    *,
    split: str,
    progress: bool = False,
) -> Evaluation:
    """Measures every system on every picture under every kind that it can take, and on the picture itself.

    Args:
        systems: with names that differ.
        source: the faces to evaluate on.
        kinds: of `protocol.protocol_kinds`.
        split: what the report calls these faces.
        progress: whether to show a progress bar on a terminal.

    Raises:
        UsageError: nothing to measure, or two systems of one name.
        LeakError: a system was trained on people of the source.
        SourceError: a trained system, and pictures whose people nobody knows.
        ModelError: a system fails, or delivers what is no picture of the right size.
    """
    if not systems or not kinds:
        raise UsageError("nothing to measure; name a model or a baseline, and a kind of occlusion")
    if not any(kinds_for(record.attributes, kinds) for record in source.records):
        raise UsageError(f"no face of {source.name} can take {', '.join(kinds)}: all wear glasses already")
    names = [system.name for system in systems]
    if len(set(names)) < len(names):
        raise UsageError(f"two systems have one name ({', '.join(names)}); evaluate one of them")
    relations = [_relation(system, source, split) for system in systems]
    digests: dict[str, list[bytes]] = {kind: [] for kind in kinds}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    measurements: list[Measurement] = []
    for record in tqdm(source.records, unit="face", disable=None if progress else True):
        crop = source.crop(record)
        faces = [bench_face(crop, record.name, kind) for kind in kinds_for(record.attributes, kinds)]
        for face in faces:
            digests[face.occlusion.kind].append(input_digest(record.name, face))
        for system in systems:
            if faces:
                start = time.perf_counter()
                delivery = system.run(faces)
                seconds[system.name].append((time.perf_counter() - start) / len(faces))
                measurements += _measure_occluded(system, record, faces, delivery)
            if system.repair is not None:
                measurements.append(_measure_unoccluded(system, record, crop, system.repair(crop[None])[0]))
    report = EvaluationReport(
        protocol=PROTOCOL,
        facemend=__version__,
        source=source.name,
        split=split,
        pictures=len(source),
        people=len({_person(record) for record in source.records}),
        kinds=tuple(kinds),
        inputs_sha256={kind: join_digests(of_kind) for kind, of_kind in digests.items()},
        systems=tuple(
            SystemEntry(s.name, s.blind, s.sha256, relation, round(1000 * median(seconds[s.name]), 3))
            for s, relation in zip(systems, relations, strict=True)
        ),
        rows=average(measurements),
    )
    return Evaluation(report, tuple(measurements))


def _relation(system: System, source: FaceSource, split: str) -> str:
    """How the people that a system was trained on relate to those of the source.

    Raises:
        LeakError: some are the same.
    """
    if system.training_people is None:
        return "unknown"
    if not system.training_people:
        return "none"
    people = frozenset(map(hash_identity, known_identities(source)))
    check_no_leak(system.training_people, people, f"{split} ({system.name})")
    return "disjoint"


def _person(record: FaceRecord) -> str:
    return record.identity or record.name


def _measure_occluded(
    system: System, record: FaceRecord, faces: Sequence[OccludedFace], delivery: Delivery
) -> list[Measurement]:
    alphas = [None] * len(faces) if delivery.alpha is None else delivery.alpha
    return [
        Measurement(
            system=system.name,
            name=record.name,
            person=_person(record),
            kind=face.occlusion.kind,
            extent=face.occlusion.extent,
            coverage=face.occlusion.coverage,
            values=_compare(face, raw, delivered, alpha),
        )
        for face, raw, delivered, alpha in zip(faces, delivery.raw, delivery.composite, alphas, strict=True)
    ]


def _compare(
    face: OccludedFace, raw: Image, delivered: Image, alpha: Alpha | None
) -> dict[Measure, float | None]:
    truth, hole = face.target, face.occlusion.mask
    quality = psnr(delivered, truth), ssim(delivered, truth)
    raw_quality = quality if np.array_equal(raw, delivered) else (psnr(raw, truth), ssim(raw, truth))
    values: dict[Measure, float | None] = {
        ("hole", "psnr"): psnr(delivered, truth, hole),
        ("composite", "psnr"): quality[0],
        ("composite", "ssim"): quality[1],
        ("raw", "psnr"): raw_quality[0],
        ("raw", "ssim"): raw_quality[1],
        ("hole", "sharpness"): sharpness(delivered, truth, hole),
    }
    if alpha is not None:
        values["occlusion", "iou"] = occlusion_iou(alpha, face.occlusion.alpha)
    return values


def _measure_unoccluded(system: System, record: FaceRecord, crop: Image, delivered: Image) -> Measurement:
    changed = float((delivered != crop).any(axis=2).mean())
    return Measurement(
        system=system.name,
        name=record.name,
        person=_person(record),
        kind=NO_OCCLUSION,
        extent=NO_OCCLUSION,
        coverage=0.0,
        values={("unoccluded", "false_edits"): float(changed > _EDITED_SHARE)},
    )

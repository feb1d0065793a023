"""A few inputs and what every system delivers for them: what the figures of a report look like.

No face is picked by eye: a few are drawn by the protocol's seed, the same for every kind; then come the
worst, median and best of the first system by the hole's PSNR.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from facemend.datasets import FaceSource
from facemend.evaluation.evaluate import Evaluation
from facemend.evaluation.protocol import PROTOCOL, V1, Protocol, kinds_for
from facemend.evaluation.results import AS_DRAWN, Measurement
from facemend.evaluation.systems import Delivery, System
from facemend.images import Image
from facemend.occlusion import OccludedFace, seed_of

DRAWN = "drawn by seed"
_FACES_A_KIND = 2
_LABEL_PX = 22
_GAP_PX = 4
_TEXT_PX = 13
_PAPER, _INK = (255, 255, 255), (20, 20, 20)


@dataclass(frozen=True)
class Example:
    """One input, and what became of it.

    Attributes:
        name: of the picture.
        why: why it is shown.
        face: the input, its truth and its occlusion.
        deliveries: by system.
        holes: PSNR in the hole by system, dB; None for a perfect one.
    """

    name: str
    why: str
    face: OccludedFace
    deliveries: Mapping[str, Delivery]
    holes: Mapping[str, float | None]


def take_examples(
    evaluation: Evaluation, systems: Sequence[System], source: FaceSource, protocol: Protocol = V1
) -> tuple[Example, ...]:
    """Two faces a kind, drawn by a fixed seed, then the worst, median and best of the first system.

    Args:
        evaluation: of these systems on this source. Systems that were measured on the first pictures only
            are not shown.
        source: the evaluated faces.
        protocol: that it was measured by.
    """
    records = {record.name: record for record in source.records}
    holes = {
        (m.system, m.name, m.kind): m.values["hole", "psnr"] for m in _occluded(evaluation.measurements)
    }
    shown = [system for system in systems if system.first is None] or systems
    examples = []
    for name, kind, why in _choose(evaluation, source):
        record = records[name]
        face = protocol.occlude(protocol.read_picture(source, record), record, kind)
        deliveries = {s.name: s.run([face]) for s in shown if (s.name, name, kind) in holes}
        found = {system: holes[system, name, kind] for system in deliveries}
        examples.append(Example(name, why, face, deliveries, found))
    return tuple(examples)


def _choose(evaluation: Evaluation, source: FaceSource) -> list[tuple[str, str, str]]:
    """Names and kinds, and why they were chosen."""
    rng = np.random.default_rng(seed_of(PROTOCOL, "grid"))
    count = min(_FACES_A_KIND, len(source))
    places = sorted(rng.choice(len(source), count, replace=False).tolist())
    drawn = [
        (source.records[place].name, kind, DRAWN)
        for kind in evaluation.report.kinds
        for place in places
        if kinds_for(source.records[place].attributes, [kind])
    ]
    first = evaluation.report.systems[0].name
    ranked = sorted((m for m in _occluded(evaluation.measurements) if m.system == first), key=_hole)
    ends = {"worst": 0, "median": len(ranked) // 2, "best": -1}
    return drawn + [
        (ranked[place].name, ranked[place].kind, f"{word} of {first}") for word, place in ends.items()
    ]


def _occluded(measurements: Sequence[Measurement]) -> list[Measurement]:
    return [m for m in measurements if m.coverage and m.condition == AS_DRAWN]


def _hole(measurement: Measurement) -> float:
    hole = measurement.values["hole", "psnr"]
    return float("inf") if hole is None else hole


def caption_of(example: Example, system: str) -> str:
    """The hole's PSNR of a system, in words."""
    hole = example.holes[system]
    return "perfect" if hole is None else f"{hole:.1f} dB"


def draw_grid(examples: Sequence[Example]) -> Image:
    """Input | truth | what each system delivers, an example a line, each captioned with its hole's PSNR.

    Returns:
        uint8 (H, W, 3) RGB.
    """
    lines = []
    for example in examples:
        face = example.face
        tiles = [
            _tile(face.image, f"input, {face.occlusion.kind}: {example.why}"),
            _tile(face.target, f"truth, {example.name}"),
            *(
                _tile(delivery.composite[0], f"{system}: {caption_of(example, system)}")
                for system, delivery in example.deliveries.items()
            ),
        ]
        lines.append(np.concatenate(tiles, axis=1))
    return np.concatenate(lines, axis=0)


def _tile(picture: Image, caption: str) -> Image:
    height, width = picture.shape[:2]
    tile = PillowImage.new("RGB", (width + _GAP_PX, height + _LABEL_PX + _GAP_PX), _PAPER)
    font = ImageFont.load_default(_TEXT_PX)
    ImageDraw.Draw(tile).text((2, _LABEL_PX / 2), caption, fill=_INK, font=font, anchor="lm")
    tile.paste(PillowImage.fromarray(picture), (0, _LABEL_PX))
    return np.asarray(tile, dtype=np.uint8)

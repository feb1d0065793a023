"""A grid of labelled pictures: what the figures of a report look like."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from facemend.datasets import FaceSource
from facemend.evaluation.evaluate import Evaluation
from facemend.evaluation.protocol import PROTOCOL, bench_face, kinds_for
from facemend.evaluation.results import Measurement
from facemend.evaluation.systems import System
from facemend.images import Image
from facemend.occlusion import seed_of

_FACES_A_KIND = 2
_LABEL_PX = 22
_GAP_PX = 4
_TEXT_PX = 13
_PAPER, _INK = (255, 255, 255), (20, 20, 20)


@dataclass(frozen=True)
class _Choice:
    """A picture for the grid: its name and kind, and why it is there."""

    name: str
    kind: str
    why: str


def draw_grid(evaluation: Evaluation, systems: Sequence[System], source: FaceSource) -> Image:
    """Input | truth | what each system delivers, a face a line, each captioned with its hole's PSNR.

    The faces are not picked by eye: a few are drawn by the protocol's seed, the same for every kind;
    then come the worst, median and best of the first system by hole PSNR.

    Args:
        evaluation: of these systems on this source.
        systems: in the order of their columns.
        source: the evaluated faces.

    Returns:
        uint8 (H, W, 3) RGB.
    """
    records = {record.name: record for record in source.records}
    holes = {(m.system, m.name, m.kind): m.values.get(("hole", "psnr")) for m in evaluation.measurements}
    lines = []
    for choice in _choose(evaluation, source):
        face = bench_face(source.crop(records[choice.name]), choice.name, choice.kind)
        tiles = [
            _tile(face.image, f"input, {choice.kind}: {choice.why}"),
            _tile(face.target, f"truth, {choice.name}"),
        ]
        for system in systems:
            hole = holes[system.name, choice.name, choice.kind]
            caption = "perfect" if hole is None else f"{hole:.1f} dB"
            tiles.append(_tile(system.run([face]).composite[0], f"{system.name}: {caption}"))
        lines.append(np.concatenate(tiles, axis=1))
    return np.concatenate(lines, axis=0)


def _choose(evaluation: Evaluation, source: FaceSource) -> list[_Choice]:
    rng = np.random.default_rng(seed_of(PROTOCOL, "grid"))
    count = min(_FACES_A_KIND, len(source))
    places = sorted(rng.choice(len(source), count, replace=False).tolist())
    drawn = [
        _Choice(source.records[place].name, kind, "drawn by seed")
        for kind in evaluation.report.kinds
        for place in places
        if kinds_for(source.records[place].attributes, [kind])
    ]
    first = evaluation.report.systems[0].name
    ranked = sorted((m for m in evaluation.measurements if m.system == first and m.coverage), key=_hole)
    ends = {"worst": 0, "median": len(ranked) // 2, "best": -1}
    return drawn + [
        _Choice(ranked[place].name, ranked[place].kind, f"{word} of {first}")
        for word, place in ends.items()
    ]


def _hole(measurement: Measurement) -> float:
    hole = measurement.values["hole", "psnr"]
    return float("inf") if hole is None else hole


def _tile(picture: Image, caption: str) -> Image:
    height, width = picture.shape[:2]
    tile = PillowImage.new("RGB", (width + _GAP_PX, height + _LABEL_PX + _GAP_PX), _PAPER)
    font = ImageFont.load_default(_TEXT_PX)
    ImageDraw.Draw(tile).text((2, _LABEL_PX / 2), caption, fill=_INK, font=font, anchor="lm")
    tile.paste(PillowImage.fromarray(picture), (0, _LABEL_PX))
    return np.asarray(tile, dtype=np.uint8)

"""Has systems reconstruct inputs and takes the figures, of those that nobody took before."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from facemend.datasets import FaceRecord
from facemend.evaluation.figures import IDENTITY, SlowMetrics, Vector, compare, digest_of, false_edits
from facemend.evaluation.results import AS_DRAWN, Measure
from facemend.evaluation.store import Figures, Ledger, key_of
from facemend.evaluation.systems import System
from facemend.images import Alpha, Image
from facemend.occlusion import OccludedFace

_QUICK = "quick"
"""The question that every system is asked; the others are measures of SlowMetrics."""


@dataclass(frozen=True)
class BenchInput:
    """One input of the protocol.

    Attributes:
        record: the picture that it is made of.
        face: the input, its truth and its occlusion.
        digest: over all of them (`protocol.input_digest`).
        condition: what it went through.
    """

    record: FaceRecord
    face: OccludedFace
    digest: bytes
    condition: str = AS_DRAWN


@dataclass(frozen=True)
class _Answer:
    """What a system made of one input."""

    face: OccludedFace
    raw: Image
    delivered: Image
    alpha: Alpha | None
    interval: Alpha | None
    milliseconds: float


class Examiner:
    """Takes figures; from a ledger where they are in it, and into the ledger where they are not."""

    def __init__(self, store: Ledger | None, slow: SlowMetrics, pool: ThreadPoolExecutor) -> None:
        self._store, self._slow, self._pool = store, slow, pool
        self._truths: dict[tuple[Measure, str], Vector] = {}

    def examine(self, system: System, inputs: Sequence[BenchInput], *, slow: bool) -> list[Figures]:
        """The figures of a system on some inputs, in their order.

        Args:
            slow: whether to take what takes long, too.

        Raises:
            ModelError: the system fails, or delivers what is no picture of the right size.
            OutputError: the store refuses.
        """
        questions: dict[str, Callable[[_Answer], Figures]] = {_QUICK: _ask_quick}
        if slow:
            questions |= {
                " ".join(measure): self._slow_question(measure) for measure in self._slow.measures
            }
        keys = {
            (place, question): self._key(system, item.digest.hex(), question)
            for place, item in enumerate(inputs)
            for question in questions
        }
        found = {asked: known for asked, key in keys.items() if (known := self._get(key)) is not None}
        places = sorted({place for place, question in keys if (place, question) not in found})
        answers = dict(zip(places, _answer(system, [inputs[p].face for p in places]), strict=True))
        open_ = [asked for asked in keys if asked not in found]
        taken = self._pool.map(lambda asked: questions[asked[1]](answers[asked[0]]), open_)
        for asked, figures in zip(open_, taken, strict=True):
            found[asked] = figures
            self._put(keys[asked], figures)
        return [
            _together([found[place, question] for question in questions]) for place in range(len(inputs))
        ]

    def examine_unoccluded(self, system: System, crop: Image) -> Figures | None:
        """What a system does to a face without an occlusion, uint8 (S, S, 3); None if it looks for none."""
        if system.repair is None:
            return None
        key = self._key(system, digest_of(crop), "unoccluded")
        figures = self._get(key)
        if figures is None:
            figures = Figures(false_edits(crop, system.repair(crop[None])[0]))
            self._put(key, figures)
        return figures

    def _key(self, system: System, digest: str, question: str) -> str | None:
        if self._store is None or system.fingerprint is None:
            return None
        sources = {" ".join(measure): source for measure, source in self._slow.sources.items()}
        return key_of(system.fingerprint, digest, question, sources.get(question, ""))

    def _get(self, key: str | None) -> Figures | None:
        return None if self._store is None or key is None else self._store.get(key)

    def _put(self, key: str | None, figures: Figures) -> None:
        if self._store is not None and key is not None:
            self._store.put(key, figures)

    def _slow_question(self, measure: Measure) -> Callable[[_Answer], Figures]:
        if measure in self._slow.pair:
            score = self._slow.pair[measure]
            return lambda answer: Figures({measure: score(answer.delivered, answer.face.target)})
        return lambda answer: self._describe(measure, answer)

    def _describe(self, measure: Measure, answer: _Answer) -> Figures:
        describe, truth = self._slow.describe[measure], answer.face.target
        known = measure, digest_of(truth)
        if known not in self._truths:
            self._truths[known] = describe(truth, truth)
        pair = np.stack([describe(answer.delivered, truth), self._truths[known]])
        distance = {measure: float(np.linalg.norm(pair[0] - pair[1]))} if measure == IDENTITY else {}
        return Figures(distance, {measure: pair})


def _ask_quick(answer: _Answer) -> Figures:
    values = compare(answer.face, answer.raw, answer.delivered, answer.alpha, answer.interval)
    return Figures(values, milliseconds=answer.milliseconds)


def _answer(system: System, faces: Sequence[OccludedFace]) -> list[_Answer]:
    """Reconstructs faces in one batch."""
    if not faces:
        return []
    start = time.perf_counter()
    delivery = system.run(faces)
    milliseconds = 1000 * (time.perf_counter() - start) / len(faces)
    alphas = [None] * len(faces) if delivery.alpha is None else list(delivery.alpha)
    intervals = [None] * len(faces) if delivery.interval is None else list(delivery.interval)
    parts = zip(faces, delivery.raw, delivery.composite, alphas, intervals, strict=True)
    return [_Answer(*part, milliseconds) for part in parts]


def _together(figures: Sequence[Figures]) -> Figures:
    """Several figures of one picture as one; the first knows the time."""
    first, *others = figures
    for other in others:
        first = replace(
            first, values={**first.values, **other.values}, vectors={**first.vectors, **other.vectors}
        )
    return first

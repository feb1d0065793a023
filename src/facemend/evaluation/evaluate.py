"""Measures systems on the inputs of a protocol, picture by picture, in bounded memory."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from statistics import mean, median

from facemend import __version__
from facemend.datasets import FaceRecord, FaceSource, check_no_leak, hash_identity, known_identities
from facemend.errors import UsageError
from facemend.evaluation.cache import CacheBuffer, ScoreCache, Scores, Vectors
from facemend.evaluation.memory import peak_memory_mb
from facemend.evaluation.protocol import CONDITIONS, V1, Protocol, input_digest, join_digests, kinds_for
from facemend.evaluation.results import AS_DRAWN, EvaluationReport, Measure, Measurement, SystemEntry
from facemend.evaluation.scoring import EvaluationInput, Scorer, SlowMetrics
from facemend.evaluation.statistics import (
    DIGITS,
    PeopleBootstrap,
    average,
    compare_systems,
    find_gaps,
    find_spreads,
    frechet_rows,
)
from facemend.evaluation.systems import FIRST_PICTURES, System
from facemend.images import Image
from facemend.occlusion import OccludedFace
from facemend.parallel import Engine, LocalEngine
from facemend.progress import progress as show_progress

NO_OCCLUSION = "none"

OpenSetup = Callable[[], tuple[Sequence[System], SlowMetrics]]
"""Opens the systems and the slow metrics."""

_THIS_PROCESS = LocalEngine(1)


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Attributes:
        slow: slow metrics, measured on the first pictures only.
        robustness: whether to measure the harder conditions, on the first pictures only and for systems
            that find the occlusion themselves.
        memory: whether to measure the memory that a model takes, in a process of its own.
        threads: of the processor, for that process. None for all cores.
        protocol: what the inputs are.
        command: the command that repeats the evaluation, for the report.
    """

    slow: SlowMetrics = field(default_factory=SlowMetrics)
    robustness: bool = False
    memory: bool = False
    threads: int | None = None
    protocol: Protocol = V1
    command: str = ""


@dataclass(frozen=True)
class Evaluation:
    """A report and the scores of single pictures behind it, in the order in which they were measured."""

    report: EvaluationReport
    measurements: tuple[Measurement, ...]


@dataclass
class _Results:
    """What was measured on one picture or on many."""

    protocol: Protocol
    digests: dict[str, list[bytes]]
    measurements: list[Measurement] = field(default_factory=list)
    milliseconds: dict[str, list[float]] = field(default_factory=dict)
    vectors: dict[tuple[str, Measure], list[Vectors]] = field(default_factory=dict)

    def extend(self, other: "_Results") -> None:
        """Appends the results of one more picture."""
        self.measurements += other.measurements
        for kind, digests in other.digests.items():
            self.digests[kind] += digests
        for name, times in other.milliseconds.items():
            self.milliseconds.setdefault(name, []).extend(times)
        for measured, pairs in other.vectors.items():
            self.vectors.setdefault(measured, []).extend(pairs)

    def add(self, system: System, item: EvaluationInput, scores: Scores) -> None:
        """Adds the scores of a system on one input."""
        occlusion, record = item.face.occlusion, item.record
        self.measurements.append(
            Measurement(
                system=system.name,
                name=record.name,
                person=_person(record),
                kind=occlusion.kind,
                extent=occlusion.extent,
                coverage=occlusion.coverage,
                values=scores.values,
                condition=item.condition,
                people=self.protocol.groups_of(record),
            )
        )
        if scores.milliseconds is not None and item.condition == AS_DRAWN:
            self.milliseconds.setdefault(system.name, []).append(scores.milliseconds)
        for measure, pair in scores.vectors.items():
            self.vectors.setdefault((system.name, measure), []).append(pair)

    def add_unoccluded(self, system: System, record: FaceRecord, scores: Scores | None) -> None:
        """Adds the scores of a system on a face without occlusion, if it was measured there."""
        if scores is not None:
            name, person = record.name, _person(record)
            self.measurements.append(
                Measurement(system.name, name, person, NO_OCCLUSION, NO_OCCLUSION, 0.0, scores.values)
            )


def evaluate(
    systems: Sequence[System],
    source: FaceSource,
    kinds: Sequence[str],
    *,
    split: str,
    plan: Plan | None = None,
    cache: ScoreCache | None = None,
    progress: bool = False,
    engine: Engine = _THIS_PROCESS,
    open_setup: OpenSetup | None = None,
) -> Evaluation:
    """Measures every system on every picture, without an occlusion and under every kind that it can take.

    Args:
        systems: with different names.
        source: the faces to evaluate on.
        kinds: of occlusion, of the protocol's.
        split: what the report calls these faces.
        plan: what to measure. None measures the quick metrics of v1.
        cache: where scores are kept, so that a killed run resumes. None keeps none.
        progress: whether to show a progress bar on a terminal.
        engine: runs the work. It affects times only.
        open_setup: opens the systems and the slow metrics again in each worker of an engine with several
            workers. It has to be picklable. None uses those of this process.

    Raises:
        UsageError: nothing to measure, or two systems with one name.
        LeakError: a system was trained on people of the source.
        SourceError: a system is trained, and the people of some pictures are unknown.
        ModelError: a system fails, or its output has another shape, type or range.
        OutputError: the cache cannot be read or written.
    """
    _check(systems, source, kinds)
    plan = plan or Plan()
    relations = refuse_leaks(systems, source, split)
    results = _Results(plan.protocol, {kind: [] for kind in kinds})
    setup = open_setup or (lambda: (systems, plan.slow))
    work = _Work(setup, source, plan.protocol, tuple(kinds), plan.robustness, cache)
    with closing(engine.run(work.open, len(source), batch=1)) as pictures:
        for of_picture, new in show_progress(pictures, total=len(source), unit="face", quiet=not progress):
            results.extend(of_picture)
            for key, scores in new.items():
                assert cache is not None
                cache.put(key, scores)
    entries = [_entry(*pair, source, results, plan) for pair in zip(systems, relations, strict=True)]
    return Evaluation(_report(source, split, results, entries, plan), tuple(results.measurements))


@dataclass(frozen=True)
class _Work:
    """Measures one picture after another, in the process where the engine runs it."""

    open_setup: OpenSetup
    source: FaceSource
    protocol: Protocol
    kinds: tuple[str, ...]
    robustness: bool
    cache: ScoreCache | None

    def open(self) -> Callable[[int], tuple[_Results, dict[str, Scores]]]:
        """Opens the systems. The function it returns takes a picture's index.

        It returns the picture's results, and by key the scores that the cache does not have yet.
        """
        systems, slow = self.open_setup()
        return partial(self._measure, systems, slow, ThreadPoolExecutor())

    def _measure(
        self, systems: Sequence[System], slow: SlowMetrics, pool: ThreadPoolExecutor, index: int
    ) -> tuple[_Results, dict[str, Scores]]:
        record = self.source.records[index]
        picture = self.protocol.read_picture(self.source, record)
        inputs = _make_inputs(self.protocol, picture, record, self.kinds)
        results = _Results(self.protocol, {kind: [] for kind in self.kinds})
        for item in inputs:
            results.digests[item.face.occlusion.kind].append(item.digest)
        buffer = None if self.cache is None else CacheBuffer(self.cache)
        scorer = Scorer(buffer, slow, pool)
        present = [system for system in systems if system.first is None or index < system.first]
        for system in present:
            scored = scorer.score(system, inputs, slow=index < FIRST_PICTURES)
            for item, scores in zip(inputs, scored, strict=True):
                results.add(system, item, scores)
            results.add_unoccluded(system, record, scorer.score_unoccluded(system, picture))
        if self.robustness and index < FIRST_PICTURES:
            _measure_conditions(present, inputs, scorer, results)
        return results, {} if buffer is None else buffer.new


def _check(systems: Sequence[System], source: FaceSource, kinds: Sequence[str]) -> None:
    if not systems or not kinds:
        raise UsageError("nothing to measure; name a model or a baseline, and a kind of occlusion")
    if not any(kinds_for(record.attributes, kinds) for record in source.records):
        raise UsageError(f"no face of {source.name} can take {', '.join(kinds)}: all wear glasses already")
    names = [system.name for system in systems]
    if len(set(names)) < len(names):
        raise UsageError(f"two systems have one name ({', '.join(names)}); evaluate one of them")


def refuse_leaks(systems: Sequence[System], source: FaceSource, split: str) -> list[str]:
    """How the people that each system was trained on relate to the evaluated people (see `SystemEntry`).

    Raises:
        LeakError: a system was trained on people of the source.
        SourceError: a system is trained, and the people of some pictures are unknown.
    """
    return [_relation(system, source, split) for system in systems]


def _relation(system: System, source: FaceSource, split: str) -> str:
    if system.training_people is None:
        return "unknown"
    if not system.training_people:
        return "none"
    people = frozenset(map(hash_identity, known_identities(source)))
    check_no_leak(system.training_people, people, f"{split} ({system.name})")
    return "disjoint"


def _person(record: FaceRecord) -> str:
    return record.identity or record.name


def _make_inputs(
    protocol: Protocol, picture: Image, record: FaceRecord, kinds: Sequence[str]
) -> list[EvaluationInput]:
    possible = kinds_for(record.attributes, kinds)
    return [_input_of(record, protocol.occlude(picture, record, kind), AS_DRAWN) for kind in possible]


def _input_of(record: FaceRecord, face: OccludedFace, condition: str) -> EvaluationInput:
    return EvaluationInput(record, face, input_digest(record.name, face), condition)


def _measure_conditions(
    systems: Sequence[System], inputs: Sequence[EvaluationInput], scorer: Scorer, results: _Results
) -> None:
    for condition, change in CONDITIONS.items():
        harder = [_input_of(item.record, change(item.record.name, item.face), condition) for item in inputs]
        for system in systems:
            if system.blind and not system.fixed_inputs:
                for item, scores in zip(harder, scorer.score(system, harder, slow=False), strict=True):
                    results.add(system, item, scores)


def _entry(system: System, relation: str, source: FaceSource, results: _Results, plan: Plan) -> SystemEntry:
    milliseconds = results.milliseconds.get(system.name)
    return SystemEntry(
        name=system.name,
        blind=system.blind,
        sha256=system.sha256,
        training_people=relation,
        pictures=len(source.first(system.first)),
        latency_ms=round(median(milliseconds), 3) if milliseconds and not system.fixed_inputs else None,
        peak_memory_mb=peak_memory_mb(system.file, plan.threads) if plan.memory and system.file else None,
    )


def _report(
    source: FaceSource, split: str, results: _Results, entries: Sequence[SystemEntry], plan: Plan
) -> EvaluationReport:
    bootstrap = PeopleBootstrap(map(_person, source.records))
    attributes = {record.name: record.attributes for record in source.records}
    return EvaluationReport(
        protocol=results.protocol.name,
        facemend=__version__,
        source=source.name,
        split=split,
        pictures=len(source),
        people=len({_person(record) for record in source.records}),
        kinds=tuple(results.digests),
        inputs_sha256={kind: join_digests(of_kind) for kind, of_kind in results.digests.items()},
        systems=tuple(entries),
        rows=average(results.measurements, bootstrap) + frechet_rows(results.vectors),
        comparisons=compare_systems(results.measurements, bootstrap),
        gaps=find_gaps(results.measurements, attributes, bootstrap),
        left_out=plan.slow.left_out,
        command=plan.command,
        coverage=_coverage(results),
        spreads=find_spreads(results.measurements, bootstrap),
        published=results.protocol.published,
    )


def _coverage(results: _Results) -> dict[str, float]:
    """The mean share of the picture that is occluded, by kind."""
    shares: dict[str, dict[str, float]] = {kind: {} for kind in results.digests}
    for m in results.measurements:
        if m.coverage and m.condition == AS_DRAWN:
            shares[m.kind][m.name] = m.coverage
    return {kind: round(mean(found.values()), DIGITS) for kind, found in shares.items() if found}

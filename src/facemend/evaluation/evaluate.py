"""Measures systems on the protocol's inputs, picture by picture, in bounded memory."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from statistics import mean, median

from tqdm import tqdm

from facemend import __version__
from facemend.datasets import FaceRecord, FaceSource, check_no_leak, hash_identity, known_identities
from facemend.errors import UsageError
from facemend.evaluation.cache import Figures, Ledger, Store, Vectors
from facemend.evaluation.memory import peak_memory_mb
from facemend.evaluation.protocol import CONDITIONS, V1, Protocol, input_digest, join_digests, kinds_for
from facemend.evaluation.results import AS_DRAWN, EvaluationReport, Measure, Measurement, SystemEntry
from facemend.evaluation.scoring import BenchInput, Examiner, SlowMetrics
from facemend.evaluation.statistics import (
    DIGITS,
    PeopleBootstrap,
    average,
    compare_systems,
    find_gaps,
    find_spreads,
    frechet_rows,
)
from facemend.evaluation.systems import FIRST, System
from facemend.images import Image
from facemend.parallel import Engine, LocalEngine

NO_OCCLUSION = "none"

OpenBench = Callable[[], tuple[Sequence[System], SlowMetrics]]
"""Opens the systems and what takes long to measure."""

_THIS_PROCESS = LocalEngine(1)


@dataclass(frozen=True)
class Plan:
    """What to measure beside the protocol's quick metrics, all of it on the first pictures only.

    Attributes:
        slow: metrics that take long.
        robustness: whether to measure the conditions, for systems that find the occlusion themselves.
        memory: whether to measure the memory that a model takes, in a process of its own.
        threads: of the processor, for that process; None lets ONNX Runtime choose.
    """

    slow: SlowMetrics = field(default_factory=SlowMetrics)
    robustness: bool = False
    memory: bool = False
    threads: int | None = None


@dataclass(frozen=True)
class Evaluation:
    """A report and the figures of single pictures that it is made of, in the order they were taken."""

    report: EvaluationReport
    measurements: tuple[Measurement, ...]


@dataclass
class _Notes:
    """What is noted down while pictures go by."""

    protocol: Protocol
    digests: dict[str, list[bytes]]
    measurements: list[Measurement] = field(default_factory=list)
    milliseconds: dict[str, list[float]] = field(default_factory=dict)
    vectors: dict[tuple[str, Measure], list[Vectors]] = field(default_factory=dict)

    def add(self, page: "_Notes") -> None:
        """Puts what was noted of one more picture behind the rest."""
        self.measurements += page.measurements
        for kind, digests in page.digests.items():
            self.digests[kind] += digests
        for name, times in page.milliseconds.items():
            self.milliseconds.setdefault(name, []).extend(times)
        for measured, pairs in page.vectors.items():
            self.vectors.setdefault(measured, []).extend(pairs)

    def note(self, system: System, inputs: Sequence[BenchInput], figures: Sequence[Figures]) -> None:
        for item, found in zip(inputs, figures, strict=True):
            self._note(system, item, found)

    def _note(self, system: System, item: BenchInput, figures: Figures) -> None:
        occlusion, record = item.face.occlusion, item.record
        self.measurements.append(
            Measurement(
                system=system.name,
                name=record.name,
                person=_person(record),
                kind=occlusion.kind,
                extent=occlusion.extent,
                coverage=occlusion.coverage,
                values=figures.values,
                condition=item.condition,
                people=self.protocol.groups_of(record),
            )
        )
        if figures.milliseconds is not None and item.condition == AS_DRAWN:
            self.milliseconds.setdefault(system.name, []).append(figures.milliseconds)
        for measure, pair in figures.vectors.items():
            self.vectors.setdefault((system.name, measure), []).append(pair)

    def note_unoccluded(self, system: System, record: FaceRecord, figures: Figures | None) -> None:
        if figures is not None:
            name, person = record.name, _person(record)
            self.measurements.append(
                Measurement(system.name, name, person, NO_OCCLUSION, NO_OCCLUSION, 0.0, figures.values)
            )


def evaluate(
    systems: Sequence[System],
    source: FaceSource,
    kinds: Sequence[str],
    *,
    split: str,
    protocol: Protocol = V1,
    plan: Plan | None = None,
    store: Store | None = None,
    command: str = "",
    progress: bool = False,
    engine: Engine = _THIS_PROCESS,
    open_bench: OpenBench | None = None,
) -> Evaluation:
    """Measures every system on every picture under every kind that it can take, and on the picture itself.

    Args:
        systems: with names that differ.
        source: the faces to evaluate on.
        kinds: of the protocol's.
        split: what the report calls these faces.
        protocol: what the inputs are.
        plan: what else to measure; None: nothing.
        store: where figures are kept and looked up, so that a killed run goes on; None keeps none.
        command: what the report says repeats it.
        progress: whether to show a progress bar on a terminal.
        engine: who does the work; only times depend on it.
        open_bench: opens the systems and the slow metrics anew, in a worker of an engine that has several;
            can be pickled. None: they stay in this process.

    Raises:
        UsageError: nothing to measure, or two systems of one name.
        LeakError: a system was trained on people of the source.
        SourceError: a trained system, and pictures whose people nobody knows.
        ModelError: a system fails, or delivers what is no picture of the right size.
        OutputError: the store refuses.
    """
    _check(systems, source, kinds)
    plan = plan or Plan()
    relations = refuse_leaks(systems, source, split)
    notes = _Notes(protocol, {kind: [] for kind in kinds})
    bench = open_bench or (lambda: (systems, plan.slow))
    work = _Work(bench, source, protocol, tuple(kinds), plan.robustness, store)
    with closing(engine.run(work.open, len(source), batch=1)) as pages:
        shown = tqdm(pages, total=len(source), unit="face", disable=None if progress else True)
        for page, taken in shown:
            notes.add(page)
            for key, figures in taken.items():
                assert store is not None
                store.put(key, figures)
    entries = [_entry(*pair, source, notes, plan) for pair in zip(systems, relations, strict=True)]
    return Evaluation(_report(source, split, notes, entries, plan, command), tuple(notes.measurements))


@dataclass(frozen=True)
class _Work:
    """The measuring of one picture after another, wherever an engine does it."""

    open_bench: OpenBench
    source: FaceSource
    protocol: Protocol
    kinds: tuple[str, ...]
    robustness: bool
    known: Store | None

    def open(self) -> Callable[[int], tuple[_Notes, dict[str, Figures]]]:
        """Opens the systems; the work gives what it notes of a picture, and the figures that are new."""
        systems, slow = self.open_bench()
        return partial(self._examine, systems, slow, ThreadPoolExecutor())

    def _examine(
        self, systems: Sequence[System], slow: SlowMetrics, pool: ThreadPoolExecutor, place: int
    ) -> tuple[_Notes, dict[str, Figures]]:
        record = self.source.records[place]
        picture = self.protocol.read_picture(self.source, record)
        inputs = _draw(self.protocol, picture, record, self.kinds)
        notes = _Notes(self.protocol, {kind: [] for kind in self.kinds})
        for item in inputs:
            notes.digests[item.face.occlusion.kind].append(item.digest)
        ledger = None if self.known is None else Ledger(self.known)
        examiner = Examiner(ledger, slow, pool)
        present = [system for system in systems if system.first is None or place < system.first]
        for system in present:
            notes.note(system, inputs, examiner.examine(system, inputs, slow=place < FIRST))
            notes.note_unoccluded(system, record, examiner.examine_unoccluded(system, picture))
        if self.robustness and place < FIRST:
            _examine_conditions(present, inputs, examiner, notes)
        return notes, {} if ledger is None else ledger.taken


def _check(systems: Sequence[System], source: FaceSource, kinds: Sequence[str]) -> None:
    if not systems or not kinds:
        raise UsageError("nothing to measure; name a model or a baseline, and a kind of occlusion")
    if not any(kinds_for(record.attributes, kinds) for record in source.records):
        raise UsageError(f"no face of {source.name} can take {', '.join(kinds)}: all wear glasses already")
    names = [system.name for system in systems]
    if len(set(names)) < len(names):
        raise UsageError(f"two systems have one name ({', '.join(names)}); evaluate one of them")


def refuse_leaks(systems: Sequence[System], source: FaceSource, split: str) -> list[str]:
    """How each system's training people relate to the evaluated ones (see `SystemEntry`).

    Raises:
        LeakError: a system was trained on people of the source.
        SourceError: a trained system, and pictures whose people nobody knows.
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


def _draw(protocol: Protocol, picture: Image, record: FaceRecord, kinds: Sequence[str]) -> list[BenchInput]:
    faces = [protocol.occlude(picture, record, kind) for kind in kinds_for(record.attributes, kinds)]
    return [BenchInput(record, face, input_digest(record.name, face)) for face in faces]


def _examine_conditions(
    systems: Sequence[System], inputs: Sequence[BenchInput], examiner: Examiner, notes: _Notes
) -> None:
    for condition, change in CONDITIONS.items():
        faces = [(item.record, change(item.record.name, item.face)) for item in inputs]
        harder = [
            BenchInput(record, face, input_digest(record.name, face), condition) for record, face in faces
        ]
        for system in systems:
            if system.blind and not system.captive:
                notes.note(system, harder, examiner.examine(system, harder, slow=False))


def _entry(system: System, relation: str, source: FaceSource, notes: _Notes, plan: Plan) -> SystemEntry:
    milliseconds = notes.milliseconds.get(system.name)
    return SystemEntry(
        name=system.name,
        blind=system.blind,
        sha256=system.sha256,
        training_people=relation,
        pictures=len(source.first(system.first)),
        latency_ms=round(median(milliseconds), 3) if milliseconds and not system.captive else None,
        peak_memory_mb=peak_memory_mb(system.file, plan.threads) if plan.memory and system.file else None,
    )


def _report(
    source: FaceSource,
    split: str,
    notes: _Notes,
    entries: Sequence[SystemEntry],
    plan: Plan,
    command: str,
) -> EvaluationReport:
    bootstrap = PeopleBootstrap(map(_person, source.records))
    attributes = {record.name: record.attributes for record in source.records}
    return EvaluationReport(
        protocol=notes.protocol.name,
        facemend=__version__,
        source=source.name,
        split=split,
        pictures=len(source),
        people=len({_person(record) for record in source.records}),
        kinds=tuple(notes.digests),
        inputs_sha256={kind: join_digests(of_kind) for kind, of_kind in notes.digests.items()},
        systems=tuple(entries),
        rows=average(notes.measurements, bootstrap) + frechet_rows(notes.vectors),
        comparisons=compare_systems(notes.measurements, bootstrap),
        gaps=find_gaps(notes.measurements, attributes, bootstrap),
        left_out=plan.slow.left_out,
        command=command,
        coverage=_coverage(notes),
        spreads=find_spreads(notes.measurements, bootstrap),
        published=notes.protocol.published,
    )


def _coverage(notes: _Notes) -> dict[str, float]:
    """The mean share of the picture that the hole takes, by kind."""
    shares: dict[str, dict[str, float]] = {kind: {} for kind in notes.digests}
    for m in notes.measurements:
        if m.coverage and m.condition == AS_DRAWN:
            shares[m.kind][m.name] = m.coverage
    return {kind: round(mean(found.values()), DIGITS) for kind, found in shares.items() if found}

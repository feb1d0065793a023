"""Measures systems on people unseen in training, from the data's path to the report."""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import mean, median

from facemend import __version__
from facemend.datasets import (
    FaceRecord,
    FaceSource,
    Split,
    check_no_leak,
    hash_identity,
    known_identities,
    open_source,
    take_split,
)
from facemend.errors import UsageError
from facemend.evaluation import harm
from facemend.evaluation.external import export_inputs, open_systems
from facemend.evaluation.memory import peak_memory_mb
from facemend.evaluation.protocol import (
    CONDITIONS,
    V1,
    Protocol,
    diverse,
    input_digest,
    join_digests,
    kinds_for,
    real_cutouts,
)
from facemend.evaluation.published_masks import published_masks
from facemend.evaluation.report import CACHE_NAME, JSON_NAME, MARKDOWN_NAME, check_folder, write_report
from facemend.evaluation.results import (
    AS_DRAWN,
    CacheBuffer,
    Evaluation,
    EvaluationReport,
    Measure,
    Measurement,
    ScoreCache,
    Scores,
    SystemEntry,
    Vectors,
)
from facemend.evaluation.scoring import EvaluationInput, Scorer, SlowMetrics, open_slow_metrics
from facemend.evaluation.statistics import (
    DIGITS,
    PeopleBootstrap,
    average,
    compare_systems,
    find_gaps,
    find_spreads,
    frechet_rows,
)
from facemend.evaluation.systems import (
    FIRST_PICTURES,
    LEARNT,
    Learnt,
    OpenModel,
    System,
    choose_baselines,
    learn,
    open_model,
)
from facemend.evaluation.tables import short_table
from facemend.files import real_path, refuse_links, write_text
from facemend.images import Image
from facemend.occlusion import OccludedFace
from facemend.parallel import Engine, LocalEngine
from facemend.terminal import progress as show_progress

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


NAMES = ("v1", "published-masks", "diverse", "real-cutouts")
"""Every protocol of faces to reconstruct. `harm` measures whole photos instead (see `harm.py`)."""


def open_protocol(name: str, *, templates: Path | None = None, cutouts: Path | None = None) -> Protocol:
    """The protocol of a name.

    Args:
        name: of NAMES.
        templates: MaskTheFace's, for `published-masks`.
        cutouts: masks cut out of photographs, for `real-cutouts`.

    Raises:
        UsageError: the name is unknown, or a folder is missing or belongs to another protocol.
        SourceError: a folder does not hold what the protocol needs.
    """
    if name not in NAMES:
        raise UsageError(f"unknown protocol {name!r}; choose from {', '.join(NAMES)}")
    if templates is not None and name != "published-masks":
        raise UsageError("--templates is for --protocol published-masks")
    if cutouts is not None and name != "real-cutouts":
        raise UsageError("--cutouts is for --protocol real-cutouts")
    if name == "published-masks":
        if templates is None:
            raise UsageError("--protocol published-masks needs MaskTheFace's templates: --templates FOLDER")
        return published_masks(templates)
    if name == "real-cutouts":
        if cutouts is None:
            raise UsageError("--protocol real-cutouts needs masks cut out of photos: --cutouts FOLDER")
        return real_cutouts(cutouts)
    if name == "diverse":
        return diverse()
    return V1


@dataclass(frozen=True)
class EvaluationOptions:
    """What a run measures, as the command line takes it.

    Attributes:
        models: as `open_systems` takes them.
        sources: CelebA, folders or URLs, as `--data` takes them.
        protocol: of `NAMES`, or "harm".
        templates, cutouts: folders that some protocols need (see `open_protocol`).
        split, split_file: the people to measure on (see `take_split`).
        kinds: names of occlusions, or "all" (see `Protocol.choose_kinds`).
        baselines: names of baselines (see `choose_baselines`). None takes the protocol's.
        robustness: whether to measure the harder conditions.
        identity, lpips, fid: as `open_slow_metrics` takes them.
        cache: folder of the scores. None keeps them beside the report.
        limit: measure the first pictures only. None measures all.
        threads: of the processor, for each model. None for all cores.
        force: whether to overwrite an earlier report.
        progress: whether to show a progress bar on a terminal.
        command: the command that repeats the evaluation, for the report.
    """

    models: tuple[Path, ...]
    sources: tuple[str, ...]
    protocol: str = "v1"
    templates: Path | None = None
    cutouts: Path | None = None
    split: str = Split.TEST
    split_file: Path | None = None
    kinds: str = "all"
    baselines: str | None = None
    robustness: bool = False
    identity: bool = False
    lpips: Path | None = None
    fid: Path | None = None
    cache: Path | None = None
    limit: int | None = None
    threads: int | None = None
    force: bool = False
    progress: bool = False
    command: str = ""

    def open_protocol(self) -> Protocol:
        """The protocol, if it can measure what the options request. Raises as `open_protocol` does."""
        return open_protocol(self.protocol, templates=self.templates, cutouts=self.cutouts)


@dataclass(frozen=True)
class Setup:
    """Opens the systems and the slow metrics; each worker of an engine opens its own.

    Attributes:
        models: as `open_systems` takes them.
        baselines: measured beside them.
        identity, lpips, fid: as `open_slow_metrics` takes them.
        threads: of the processor, for each network. None for all cores.
        open_model: as `open_systems` takes it.
    """

    models: Sequence[Path]
    baselines: Sequence[System] = ()
    identity: bool = False
    lpips: Path | None = None
    fid: Path | None = None
    threads: int | None = None
    open_model: OpenModel = open_model

    def __call__(self) -> tuple[list[System], SlowMetrics]:
        """Opens them. Raises what `open_systems` and `open_slow_metrics` do."""
        slow = open_slow_metrics(
            identity=self.identity, lpips=self.lpips, fid=self.fid, threads=self.threads
        )
        return [*open_systems(self.models, self.threads, self.open_model), *self.baselines], slow


def run_evaluation(options: EvaluationOptions, folder: Path, engine: Engine) -> str:
    """Measures, writes the report into a folder, and returns a summary for a terminal.

    Raises:
        FacemendError: what `evaluate`, `measure_harm` and `write_report` raise.
    """
    if options.protocol == harm.NAME:
        return _run_harm(options, folder, engine)
    protocol = options.open_protocol()
    protocol.check_options(robustness=options.robustness, identity=options.identity)
    kinds = protocol.choose_kinds(options.kinds)
    cache = options.cache or folder / CACHE_NAME
    faces = protocol.open_faces(options.sources, Split(options.split), options.split_file)
    faces = faces.first(options.limit)
    setup = Setup(
        options.models,
        identity=options.identity,
        lpips=options.lpips,
        fid=options.fid,
        threads=options.threads,
        open_model=protocol.open_model,
    )
    systems, slow = setup()
    check_folder(folder, force=options.force)
    refuse_links(folder, folder / CACHE_NAME)
    refuse_leaks(systems, faces, options.split)
    baselines = _open_baselines(options, protocol, cache)
    systems += baselines
    with ScoreCache(cache) as scores:
        evaluation = evaluate(
            systems,
            faces,
            kinds,
            split=options.split,
            plan=Plan(slow, options.robustness, True, options.threads, protocol, options.command),
            cache=scores,
            progress=options.progress,
            engine=engine,
            open_setup=None if isinstance(engine, LocalEngine) else replace(setup, baselines=baselines),
        )
    write_report(folder, evaluation, systems, faces, protocol=protocol, force=options.force)
    left_out = [name for name in protocol.baselines if name in LEARNT] if _is_quick(options) else []
    note = f"\nLeft out for a quick look: {', '.join(left_out)}; --baselines names them" if left_out else ""
    files = "report.html, report.json, report.md and grid.png"
    return f"{short_table(evaluation.report)}{note}\n{folder}: {files}"


def _open_baselines(options: EvaluationOptions, protocol: Protocol, cache: Path) -> list[System]:
    def learn_faces() -> Learnt:
        protocol.check_options(learning=True)
        faces = take_split(open_source(options.sources[0]), Split.TRAIN, options.split_file)
        return learn(faces, cache, progress=options.progress)

    names = options.baselines or ",".join(
        name for name in protocol.baselines if not (_is_quick(options) and name in LEARNT)
    )
    return choose_baselines(names, learn_faces)


_QUICK = 50
"""Pictures. For so few, nobody waits for baselines that learn from thousands of faces first."""


def _is_quick(options: EvaluationOptions) -> bool:
    return options.baselines is None and options.limit is not None and options.limit <= _QUICK


def _run_harm(options: EvaluationOptions, folder: Path, engine: Engine) -> str:
    if len(options.models) != 1 or len(options.sources) != 1:
        raise UsageError("--protocol harm measures one MODEL on one folder of photos, --data FOLDER")
    check_folder(folder, force=options.force)
    refuse_links(folder, folder / CACHE_NAME)
    source = Path(options.sources[0])
    with ScoreCache(options.cache or folder / CACHE_NAME) as scores:
        report = harm.measure_harm(
            options.models[0],
            harm.find_photos(source)[: options.limit],
            source=real_path(source).name,
            threads=options.threads,
            cache=scores,
            command=options.command,
            progress=options.progress,
            engine=engine,
        )
    write_text(folder / JSON_NAME, report.to_json(), force=options.force)
    write_text(folder / MARKDOWN_NAME, report.to_markdown(), force=options.force)
    return f"{harm.to_table(report).to_markdown()}\n{folder}: {JSON_NAME} and {MARKDOWN_NAME}"


def run_export(options: EvaluationOptions, folder: Path) -> str:
    """Writes the inputs of v1 into a folder for another system, and returns a summary for a terminal.

    Raises:
        UsageError: another protocol, or an unknown kind.
        SourceError, OutputError: the faces cannot be opened, or the inputs not written.
    """
    protocol = options.open_protocol()
    if protocol is not V1:
        raise UsageError(f"--export-inputs writes the inputs of {V1.name} only")
    kinds = protocol.choose_kinds(options.kinds)
    faces = protocol.open_faces(options.sources, Split(options.split), options.split_file)
    faces = faces.first(options.limit)
    count = export_inputs(folder, faces, kinds, force=options.force, progress=options.progress)
    return f"{folder}: {count} inputs with their masks, and manifest.json"


def end_after(limit_s: float, say: Callable[[str], None]) -> None:
    """Ends this process with exit code 1 after `limit_s` seconds, unless it ended before.

    The process is killed: a network that computes for ever cannot be interrupted. Measured scores are kept.

    Args:
        say: tells the user why.
    """

    def end() -> None:
        say(f"the evaluation took more than {limit_s:g} s and was ended; the same command resumes it")
        os._exit(1)

    timer = threading.Timer(limit_s, end)
    timer.daemon = True
    timer.start()

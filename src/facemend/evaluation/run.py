"""One run of `facemend evaluate`: opens everything, measures, and writes the report."""

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from facemend.datasets import Split, open_source, take_split
from facemend.errors import UsageError
from facemend.evaluation import harm
from facemend.evaluation.baselines import LEARNT, Learnt, choose_baselines, learn
from facemend.evaluation.cache import ScoreCache
from facemend.evaluation.evaluate import Plan, evaluate, refuse_leaks
from facemend.evaluation.external import export_inputs, open_systems
from facemend.evaluation.protocol import V1, Protocol, diverse, real_cutouts
from facemend.evaluation.published_masks import published_masks
from facemend.evaluation.report import CACHE_NAME, JSON_NAME, MARKDOWN_NAME, check_folder, write_report
from facemend.evaluation.scoring import SlowMetrics, open_slow_metrics
from facemend.evaluation.systems import OpenModel, System, open_model
from facemend.evaluation.tables import short_table
from facemend.files import real_path, refuse_links, write_text
from facemend.parallel import Engine, LocalEngine

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

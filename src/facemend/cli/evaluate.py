"""facemend evaluate: scores of models and baselines under one protocol."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from facemend.cli.options import command_line, engine_option, ray_address_option, say

if TYPE_CHECKING:
    from facemend.evaluation.protocol import Protocol
    from facemend.parallel import Engine

_PATH = click.Path(path_type=Path)
_HARM = "harm"


@click.command()
@click.argument("models", nargs=-1, metavar="[MODEL]...", type=_PATH)
@click.option(
    "--data",
    "sources",
    metavar="SOURCE",
    required=True,
    multiple=True,
    help="CelebA, a folder of face crops or of photos, or a URL of some; real-cutouts takes several.",
)
@click.option(
    "--protocol",
    "protocol_name",
    type=click.Choice(["v1", "published-masks", "diverse", "real-cutouts", _HARM]),
    default="v1",
    show_default=True,
    help="What to measure (docs/evaluation.md).",
)
@click.option("--templates", metavar="FOLDER", type=_PATH, help="MaskTheFace's masks, for published-masks.")
@click.option("--cutouts", metavar="FOLDER", type=_PATH, help="Masks cut out of photos, for real-cutouts.")
@click.option("-o", "--output", "folder", metavar="REPORT", type=_PATH, help="Folder for the report.")
@click.option(
    "--split",
    type=click.Choice(["val", "test"]),
    default="test",
    show_default=True,
    help="The people to evaluate on.",
)
@click.option(
    "--split-file",
    type=_PATH,
    help="CSV with the columns file and split (and identity), in place of the usual split.",
)
@click.option(
    "--kinds",
    default="all",
    metavar="KIND,...",
    show_default=True,
    help='Occlusions: names, "seed" for those of the original project, "all" for the whole protocol.',
)
@click.option(
    "--baselines",
    metavar="NAME,...",
    help='Systems to compare with; "none" for none, "all" for all.  [default: the protocol\'s]',
)
@click.option(
    "--robustness", is_flag=True, help="Measure the first 100 pictures under harder conditions, too."
)
@click.option("--identity", is_flag=True, help="Measure the first 100 pictures' identity distance, too.")
@click.option(
    "--lpips", metavar="FILE", type=_PATH, help="ONNX export of LPIPS, for the first 100 pictures."
)
@click.option(
    "--fid", metavar="FILE", type=_PATH, help="ONNX export of FID's Inception, for the first 100."
)
@click.option(
    "--export-inputs", metavar="FOLDER", type=_PATH, help="Write the inputs for another system, and stop."
)
@click.option(
    "--cache", metavar="FOLDER", type=_PATH, help="Where figures are kept.  [default: REPORT/cache]"
)
@click.option("--limit", type=click.IntRange(min=1), help="Only the first pictures: a quick look.")
@click.option(
    "--threads", type=click.IntRange(min=1), help="Processor threads a model may use.  [default: all]"
)
@click.option(
    "--timeout",
    "timeout_s",
    metavar="SECONDS",
    type=click.FloatRange(min=0, min_open=True),
    help="End a run that takes longer, such as one with a model that you do not know.  [default: never]",
)
@engine_option
@ray_address_option
@click.option("--force", is_flag=True, help="Write over an earlier report.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
@click.pass_context
def evaluate(
    context: click.Context,
    models: tuple[Path, ...],
    sources: tuple[str, ...],
    folder: Path | None,
    protocol_name: str,
    templates: Path | None,
    cutouts: Path | None,
    split: str,
    split_file: Path | None,
    kinds: str,
    baselines: str | None,
    robustness: bool,
    identity: bool,
    lpips: Path | None,
    fid: Path | None,
    export_inputs: Path | None,
    cache: Path | None,
    limit: int | None,
    threads: int | None,
    timeout_s: float | None,
    engine: str,
    ray_address: str | None,
    force: bool,
    quiet: bool,
) -> None:
    """Measure models and baselines on people unseen in training.

    MODEL is a facemend model, a TOML file that describes another ONNX network, or a folder of pictures
    that some system made of --export-inputs. SOURCE is CelebA as downloaded, any folder of face crops, or a
    URL of a folder, a zip, tar shards or Parquet; for harm it is a folder of photos.
    The folder REPORT gets report.html, report.json, report.md and grid.png. The same command again goes
    on where it was stopped. Without a MODEL only the baselines are measured.
    """
    from facemend.evaluation.deadline import end_after
    from facemend.parallel import EngineName, open_engine

    if timeout_s is not None:
        end_after(timeout_s, lambda why: say(f"facemend: {why}", error=True))
    if folder is None and export_inputs is None:
        raise click.UsageError("Missing option '-o' / '--output'.", context)
    work = open_engine(
        EngineName(engine), workers=1 if engine == EngineName.LOCAL else None, address=ray_address
    )
    if engine == EngineName.RAY:
        threads = threads or 1  # a worker has a core
    asked = _Asked(
        models, sources, folder, split, split_file, kinds, baselines, robustness, identity, lpips, fid,
        cache, limit, threads, force, quiet, command_line(context),
    )  # fmt: skip
    if protocol_name == _HARM:
        if templates or cutouts or export_inputs or robustness or identity or lpips or fid or baselines:
            raise click.UsageError(
                "--protocol harm takes --data, --limit, --threads, --cache and the engine alone", context
            )
        _measure_harm(asked, work)
        return
    from facemend.evaluation.protocol import open_protocol

    protocol = open_protocol(protocol_name, templates=templates, cutouts=cutouts)
    if export_inputs is not None:
        _export_inputs(asked, protocol, export_inputs)
    else:
        _measure(asked, protocol, work, shared=engine == EngineName.RAY)


@dataclass(frozen=True)
class _Asked:
    """What the command line asks of every protocol."""

    models: tuple[Path, ...]
    sources: tuple[str, ...]
    folder: Path | None
    split: str
    split_file: Path | None
    kinds: str
    baselines: str | None
    robustness: bool
    identity: bool
    lpips: Path | None
    fid: Path | None
    cache: Path | None
    limit: int | None
    threads: int | None
    force: bool
    quiet: bool
    command: str


def _export_inputs(asked: _Asked, protocol: "Protocol", folder: Path) -> None:
    from facemend.datasets import Split
    from facemend.errors import UsageError
    from facemend.evaluation.external import export_inputs
    from facemend.evaluation.protocol import V1

    if protocol is not V1:
        raise UsageError(f"--export-inputs writes the inputs of {V1.name} only")
    kinds = protocol.choose_kinds(asked.kinds)
    faces = protocol.open_faces(asked.sources, Split(asked.split), asked.split_file).first(asked.limit)
    count = export_inputs(folder, faces, kinds, force=asked.force, progress=not asked.quiet)
    if not asked.quiet:
        say(f"{folder}: {count} inputs with their masks, and manifest.json")


def _measure(asked: _Asked, protocol: "Protocol", work: "Engine", *, shared: bool) -> None:
    """Measures under a protocol. shared: whether several workers open the systems."""
    from dataclasses import replace

    from facemend.datasets import Split, open_source, take_split
    from facemend.evaluation.baselines import Learnt, choose_baselines, learn
    from facemend.evaluation.cache import Store
    from facemend.evaluation.evaluate import Plan, evaluate, refuse_leaks
    from facemend.evaluation.external import Bench
    from facemend.evaluation.report import CACHE_NAME, check_folder, write_report
    from facemend.evaluation.tables import short_table

    assert asked.folder is not None
    protocol.check_options(robustness=asked.robustness, identity=asked.identity)
    kinds = protocol.choose_kinds(asked.kinds)
    kept = asked.cache or asked.folder / CACHE_NAME
    faces = protocol.open_faces(asked.sources, Split(asked.split), asked.split_file).first(asked.limit)
    bench = Bench(
        asked.models, (), asked.identity, asked.lpips, asked.fid, asked.threads, protocol.open_model
    )
    systems, slow = bench()
    check_folder(asked.folder, force=asked.force)
    refuse_leaks(systems, faces, asked.split)

    def learn_faces() -> Learnt:
        protocol.check_options(learning=True)
        everything = open_source(asked.sources[0])
        faces = take_split(everything, Split.TRAIN, asked.split_file)
        return learn(faces, kept, progress=not asked.quiet)

    learnt = choose_baselines(asked.baselines or ",".join(protocol.baselines), learn_faces)
    systems += learnt
    with Store(kept) as store:
        evaluation = evaluate(
            systems,
            faces,
            kinds,
            split=asked.split,
            protocol=protocol,
            plan=Plan(slow, asked.robustness, memory=True, threads=asked.threads),
            store=store,
            command=asked.command,
            progress=not asked.quiet,
            engine=work,
            open_bench=replace(bench, baselines=learnt) if shared else None,
        )
    write_report(asked.folder, evaluation, systems, faces, protocol=protocol, force=asked.force)
    if not asked.quiet:
        say(short_table(evaluation.report))
        say(f"{asked.folder}: report.html, report.json, report.md and grid.png")


def _measure_harm(asked: _Asked, work: "Engine") -> None:
    from facemend.errors import UsageError
    from facemend.evaluation.cache import Store
    from facemend.evaluation.harm import find_photos, measure_harm, to_table
    from facemend.evaluation.report import CACHE_NAME, JSON_NAME, MARKDOWN_NAME, check_folder
    from facemend.files import write_text

    assert asked.folder is not None
    if len(asked.models) != 1 or len(asked.sources) != 1:
        raise UsageError("--protocol harm measures one MODEL on one folder of photos, --data FOLDER")
    check_folder(asked.folder, force=asked.force)
    source = Path(asked.sources[0])
    with Store(asked.cache or asked.folder / CACHE_NAME) as store:
        report = measure_harm(
            asked.models[0],
            find_photos(source)[: asked.limit],
            source=source.resolve().name,
            threads=asked.threads,
            store=store,
            command=asked.command,
            progress=not asked.quiet,
            engine=work,
        )
    write_text(asked.folder / JSON_NAME, report.to_json(), force=asked.force)
    write_text(asked.folder / MARKDOWN_NAME, report.to_markdown(), force=asked.force)
    if not asked.quiet:
        say(to_table(report).to_markdown())
        say(f"{asked.folder}: {JSON_NAME} and {MARKDOWN_NAME}")

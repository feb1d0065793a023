"""facemend evaluate: figures of models and baselines on one protocol."""

from pathlib import Path

import click

from facemend.cli.options import command_line, engine_option, ray_address_option, say

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("models", nargs=-1, metavar="[MODEL]...", type=_PATH)
@click.option(
    "--data",
    "source",
    metavar="SOURCE",
    required=True,
    help="CelebA, a folder of face crops, or a URL of some.",
)
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
    default="copy,mean-colour,mean-face,eigenfaces,telea,navier-stokes",
    metavar="NAME,...",
    show_default=True,
    help='Systems to compare with; "none" for none, "all" for these and biharmonic.',
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
    source: str,
    folder: Path | None,
    split: str,
    split_file: Path | None,
    kinds: str,
    baselines: str,
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
    URL of a folder, a zip, tar shards or Parquet.
    The folder REPORT gets report.html, report.json, report.md and grid.png. The same command again goes
    on where it was stopped. Without a MODEL only the baselines are measured.
    """
    from dataclasses import replace

    from facemend.datasets import Split, open_source, take_split
    from facemend.engine import EngineName, open_engine
    from facemend.evaluation.baselines import choose_baselines, learn
    from facemend.evaluation.deadline import end_after
    from facemend.evaluation.evaluate import Plan, refuse_leaks
    from facemend.evaluation.evaluate import evaluate as measure
    from facemend.evaluation.opening import Bench
    from facemend.evaluation.protocol import choose_kinds
    from facemend.evaluation.report import CACHE_NAME, check_folder, write_report
    from facemend.evaluation.store import Store
    from facemend.evaluation.submission import export_inputs as export
    from facemend.evaluation.tables import short_table

    if timeout_s is not None:
        end_after(timeout_s, lambda why: say(f"facemend: {why}", error=True))
    chosen_kinds = choose_kinds(kinds)
    if export_inputs is not None:
        faces = take_split(open_source(source), Split(split), split_file).first(limit)
        count = export(export_inputs, faces, chosen_kinds, force=force, progress=not quiet)
        if not quiet:
            say(f"{export_inputs}: {count} inputs with their masks, and manifest.json")
        return
    if folder is None:
        raise click.UsageError("Missing option '-o' / '--output'.", context)
    kept = cache or folder / CACHE_NAME
    everything = open_source(source)
    faces = take_split(everything, Split(split), split_file).first(limit)
    work = open_engine(
        EngineName(engine), workers=1 if engine == EngineName.LOCAL else None, address=ray_address
    )
    if engine == EngineName.RAY:
        threads = threads or 1  # a worker has a core
    bench = Bench(models, (), identity, lpips, fid, threads)
    systems, slow = bench()
    check_folder(folder, force=force)
    refuse_leaks(systems, faces, split)
    learnt = choose_baselines(
        baselines, lambda: learn(take_split(everything, Split.TRAIN, split_file), kept, progress=not quiet)
    )
    systems += learnt
    with Store(kept) as store:
        evaluation = measure(
            systems,
            faces,
            chosen_kinds,
            split=split,
            plan=Plan(slow, robustness, memory=True, threads=threads),
            store=store,
            command=command_line(context),
            progress=not quiet,
            engine=work,
            open_bench=None if engine == EngineName.LOCAL else replace(bench, baselines=learnt),
        )
    write_report(folder, evaluation, systems, faces, force=force)
    if not quiet:
        say(short_table(evaluation.report))
        say(f"{folder}: report.html, report.json, report.md and grid.png")

"""facemend evaluate: scores of models and baselines under one protocol."""

from pathlib import Path

import click

from facemend.cli.options import PATH, command_line, engine_option, ray_address_option, say


@click.command()
@click.argument("models", nargs=-1, metavar="[MODEL]...", type=PATH)
@click.option(
    "--data",
    "sources",
    metavar="SOURCE",
    required=True,
    multiple=True,
    help="CelebA, a folder of face crops or of photos, or a URL. real-cutouts takes several.",
)
@click.option(
    "--protocol",
    type=click.Choice(["v1", "published-masks", "diverse", "real-cutouts", "harm"]),
    default="v1",
    show_default=True,
    help="What to measure (docs/evaluation.md).",
)
@click.option("--templates", metavar="FOLDER", type=PATH, help="MaskTheFace's masks, for published-masks.")
@click.option("--cutouts", metavar="FOLDER", type=PATH, help="Masks cut out of photos, for real-cutouts.")
@click.option("-o", "--output", "folder", metavar="REPORT", type=PATH, help="Folder for the report.")
@click.option(
    "--split",
    type=click.Choice(["val", "test"]),
    default="test",
    show_default=True,
    help="People to evaluate on.",
)
@click.option(
    "--split-file",
    type=PATH,
    help="CSV with the columns file and split (and identity), instead of the usual split.",
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
    "--robustness", is_flag=True, help="Also measure the first 100 pictures under harder conditions."
)
@click.option("--identity", is_flag=True, help="Also measure the identity of the first 100 pictures.")
@click.option(
    "--lpips", metavar="FILE", type=PATH, help="ONNX export of LPIPS, for the first 100 pictures."
)
@click.option("--fid", metavar="FILE", type=PATH, help="ONNX export of FID's Inception, for the first 100.")
@click.option(
    "--export-inputs", metavar="FOLDER", type=PATH, help="Write the inputs for another system and stop."
)
@click.option(
    "--cache", metavar="FOLDER", type=PATH, help="Folder of the cached scores.  [default: REPORT/cache]"
)
@click.option("--limit", type=click.IntRange(min=1), help="Measure the first pictures only.")
@click.option(
    "--threads", type=click.IntRange(min=1), help="Processor threads a model may use.  [default: all]"
)
@click.option(
    "--timeout",
    "timeout_s",
    metavar="SECONDS",
    type=click.FloatRange(min=0, min_open=True),
    help="End a run that takes longer, for example with an untrusted model.  [default: never]",
)
@engine_option
@ray_address_option
@click.option("--force", is_flag=True, help="Overwrite an earlier report.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
@click.pass_context
def evaluate(
    context: click.Context,
    models: tuple[Path, ...],
    sources: tuple[str, ...],
    folder: Path | None,
    protocol: str,
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
    that another system made from --export-inputs. SOURCE is CelebA as downloaded, any folder of face crops,
    or a URL of a folder, a zip, tar shards or Parquet. For harm it is a folder of photos.
    The folder REPORT gets report.html, report.json, report.md and grid.png. The same command resumes a run
    that was stopped. Without a MODEL only the baselines are measured.
    """
    from facemend.evaluation.evaluate import EvaluationOptions, end_after, run_evaluation, run_export
    from facemend.parallel import EngineName, open_engine

    if timeout_s is not None:
        end_after(timeout_s, lambda why: say(f"facemend: {why}", error=True))
    if protocol == "harm" and (
        templates or cutouts or export_inputs or robustness or identity or lpips or fid or baselines
    ):
        raise click.UsageError(
            "--protocol harm takes --data, --limit, --threads, --cache and the engine alone", context
        )
    local = engine == EngineName.LOCAL
    options = EvaluationOptions(
        models, sources, protocol, templates, cutouts, split, split_file, kinds, baselines, robustness,
        identity, lpips, fid, cache, limit, threads if local else threads or 1,  # a worker has a core
        force, not quiet, command_line(context),
    )  # fmt: skip
    if export_inputs is not None:
        summary = run_export(options, export_inputs)
    elif folder is None:
        raise click.UsageError("Missing option '-o' / '--output'.", context)
    else:
        work = open_engine(EngineName(engine), workers=1 if local else None, address=ray_address)
        summary = run_evaluation(options, folder, work)
    if not quiet:
        say(summary)

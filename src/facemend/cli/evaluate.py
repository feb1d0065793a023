"""facemend evaluate: figures of models and baselines on one protocol."""

from pathlib import Path

import click


@click.command()
@click.argument("models", nargs=-1, metavar="[MODEL]...", type=click.Path(path_type=Path))
@click.option(
    "--data",
    "source",
    metavar="SOURCE",
    required=True,
    type=click.Path(path_type=Path),
    help="CelebA or a folder of face crops.",
)
@click.option(
    "-o",
    "--output",
    "folder",
    metavar="REPORT",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder for the report.",
)
@click.option(
    "--split",
    type=click.Choice(["val", "test"]),
    default="test",
    show_default=True,
    help="The people to evaluate on.",
)
@click.option(
    "--split-file",
    type=click.Path(path_type=Path),
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
    default="copy,mean-colour,telea,navier-stokes",
    metavar="NAME,...",
    show_default=True,
    help='Systems to compare with; "none" for none.',
)
@click.option("--limit", type=click.IntRange(min=1), help="Only the first pictures: a quick look.")
@click.option(
    "--threads", type=click.IntRange(min=1), help="Processor threads a model may use.  [default: all]"
)
@click.option("--force", is_flag=True, help="Write over an earlier report.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
def evaluate(
    models: tuple[Path, ...],
    source: Path,
    folder: Path,
    split: str,
    split_file: Path | None,
    kinds: str,
    baselines: str,
    limit: int | None,
    threads: int | None,
    force: bool,
    quiet: bool,
) -> None:
    """Measure models and baselines on people unseen in training.

    SOURCE is CelebA as downloaded, or any folder of face crops. The folder REPORT gets report.json,
    report.md and grid.png. Without a MODEL only the baselines are measured.
    """
    from facemend.datasets import Split, open_source, take_split
    from facemend.evaluation.baselines import choose_baselines
    from facemend.evaluation.evaluate import evaluate as measure
    from facemend.evaluation.protocol import choose_kinds
    from facemend.evaluation.report import check_folder, write_report
    from facemend.evaluation.systems import open_models
    from facemend.evaluation.tables import short_table

    chosen_kinds = choose_kinds(kinds)
    systems = open_models(models, threads) + choose_baselines(baselines)
    faces = take_split(open_source(source), Split(split), split_file).first(limit)
    check_folder(folder, force=force)
    evaluation = measure(systems, faces, chosen_kinds, split=split, progress=not quiet)
    write_report(folder, evaluation, systems, faces, force=force)
    if not quiet:
        click.echo(short_table(evaluation.report))
        click.echo(f"{folder}: report.json, report.md and grid.png")

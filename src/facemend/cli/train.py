"""facemend train: from a config and faces to a run that can be exported."""

from pathlib import Path

import click

from facemend.cli.options import say


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option(
    "--data", "source", required=True, type=click.Path(path_type=Path), help="CelebA or a folder."
)
@click.option("-o", "--output", "run", type=click.Path(path_type=Path), help="The run's folder.")
@click.option("--split-file", type=click.Path(path_type=Path), help="CSV: file, split, identity.")
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a value of the config."
)
@click.option(
    "--init",
    type=click.Path(path_type=Path),
    metavar="WEIGHTS",
    help='Start from these: "facemend", the model that is shipped and its discriminator; an exported model '
    "(.onnx), its generator alone; a checkpoint, both.",
)
@click.option("--fresh", is_flag=True, help="Start anew: what is in the run's folder is deleted.")
@click.option(
    "--cache", type=click.Path(path_type=Path), help="Folder for decoded faces (default: RUN/cache)."
)
@click.option("--threads", type=click.IntRange(min=1), help="Processor threads (default: all).")
@click.option(
    "--dry-run", is_flag=True, help="Only say what would be trained, and how long that would take."
)
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def train(
    config: Path,
    source: Path,
    run: Path | None,
    split_file: Path | None,
    overrides: tuple[str, ...],
    init: Path | None,
    fresh: bool,
    cache: Path | None,
    threads: int | None,
    dry_run: bool,
    quiet: bool,
) -> None:
    """Train the model that CONFIG describes. The same command again goes on where it stopped."""
    from facemend.training.run import plan, start

    if dry_run:
        planned = plan(config, source, split_file=split_file, overrides=overrides, threads=threads)
        say(planned.describe())
        return
    if run is None:
        raise click.UsageError("Missing option '-o' / '--output'.")
    outcome = start(
        config,
        source,
        run,
        split_file=split_file,
        overrides=overrides,
        init=init,
        fresh=fresh,
        cache=cache,
        threads=threads,
        quiet=quiet,
    )
    if not outcome.first:
        return
    if outcome.finished:
        say(f"finished after {outcome.images_seen} images; next: facemend export {run} -o model.onnx")
    else:
        say(
            f"saved {outcome.checkpoint} after {outcome.images_seen} images; the same command again goes on"
        )

"""facemend train: trains the model that a config describes."""

from pathlib import Path

import click

from facemend.cli.options import PATH, say


@click.command()
@click.argument("config", type=PATH)
@click.option(
    "--data",
    "source",
    required=True,
    type=PATH,
    help="Folder of CelebA or of other faces.",
)
@click.option("-o", "--output", "run", type=PATH, help="Folder of the run.")
@click.option("--split-file", type=PATH, help="CSV with the columns file, split, identity.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a value of the config, for example phases.low.images=500.",
)
@click.option(
    "--init",
    type=PATH,
    metavar="WEIGHTS",
    help='Start from these weights: a checkpoint, an exported model (.onnx, generator only), or "facemend" '
    "(the shipped model and its discriminator).",
)
@click.option("--fresh", is_flag=True, help="Delete the run in the folder and start again.")
@click.option("--cache", type=PATH, help="Folder for decoded faces (default: RUN/cache).")
@click.option("--threads", type=click.IntRange(min=1), help="Processor threads (default: all).")
@click.option("--dry-run", is_flag=True, help="Print what would be trained and how long it would take.")
@click.option("-v", "--verbose", is_flag=True, help="With --dry-run, also print the resolved config.")
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
    verbose: bool,
    quiet: bool,
) -> None:
    """Train the model that CONFIG describes. The same command again resumes where it stopped."""
    from facemend.training import run as training

    if dry_run:
        estimate = training.dry_run(
            config, source, split_file=split_file, overrides=overrides, threads=threads
        )
        say(estimate.describe())
        if verbose:
            say(estimate.config.model_dump_json(indent=2))
        return
    if run is None:
        raise click.UsageError("Missing option '-o' / '--output'.")
    outcome = training.start(
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
    if outcome.first and outcome.finished:
        say(f"finished after {outcome.images_seen} images; next: facemend export {run} -o model.onnx")
    elif outcome.first:
        say(
            f"saved {outcome.checkpoint} after {outcome.images_seen} images; the same command again resumes"
        )
    if not outcome.finished:
        click.get_current_context().exit(128 + (outcome.stopped_by or 0))

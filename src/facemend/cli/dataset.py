"""facemend dataset build: pairs of occluded and target faces, on disk."""

import os
from pathlib import Path

import click

from facemend.cli.options import quiet_option
from facemend.errors import UsageError


@click.group()
def dataset() -> None:
    """Make datasets of occluded faces."""


@dataset.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--count", type=int, required=True, help="Pairs; beyond the pictures, faces repeat.")
@click.option(
    "--kinds",
    metavar="KIND=SHARE,...",
    help="Occlusions and how often each is drawn, for example nose_mask=0.4,blur=0.6.  "
    "[default: nose_mask, blur, blur_full and mask_full in equal shares]",
)
@click.option("--size", type=int, default=256, show_default=True, help="Side of the pictures in pixels.")
@click.option(
    "--split",
    type=click.Choice(["train", "val", "test", "all"]),
    default="all",
    show_default=True,
    help="The people to take.",
)
@click.option(
    "--split-file",
    type=click.Path(path_type=Path),
    help="CSV with the columns file and split (and identity), in place of the usual split.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed, other occlusions.")
@click.option("--workers", type=click.IntRange(min=1), help="Processes.  [default: one a processor core]")
@click.option("--force", is_flag=True, help="Start anew in a folder that holds another dataset.")
@quiet_option
def build(
    source: Path,
    out: Path,
    count: int,
    kinds: str | None,
    size: int,
    split: str,
    split_file: Path | None,
    seed: int,
    workers: int | None,
    force: bool,
    quiet: bool,
) -> None:
    """Write pairs of occluded and target faces to OUT, with their exact alpha and a manifest.

    SOURCE is CelebA as downloaded (img_align_celeba.zip or its folder, annotations beside it) or any
    folder of face crops. The same command again goes on where it stopped.
    """
    from tqdm import tqdm

    from facemend.datasets import Split, open_source, take_split
    from facemend.datasets.build import build_dataset
    from facemend.datasets.pairs import Recipe, parse_shares
    from facemend.occlusion import SEED_SET

    if split_file is not None and split == "all":
        raise UsageError("--split-file says who belongs to which split; choose one with --split")
    recipe = Recipe(count, parse_shares(kinds or ",".join(SEED_SET)), size, seed)
    faces = open_source(source)
    if split != "all":
        faces = take_split(faces, Split(split), split_file)
    report = build_dataset(
        faces,
        out,
        recipe,
        workers=workers or os.cpu_count() or 1,
        force=force,
        progress=lambda results: tqdm(results, total=count, unit="pair", disable=True if quiet else None),
    )
    if quiet:
        return
    shares = ", ".join(f"{kind} {n}" for kind, n in sorted(report.kinds.items()))
    click.echo(f"{out}: {report.made} pairs made, {report.kept} kept ({shares})")
    if report.without_landmarks:
        click.echo(
            f"{report.without_landmarks} of {count} pairs have no landmarks of their own; "
            "their occlusions lie where faces of the canonical crop have theirs"
        )

"""facemend export: from a run to the file that is served."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from facemend.cli.options import say

if TYPE_CHECKING:
    from facemend.training.weights import Storage


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help="The ONNX file to write."
)
@click.option("--best", is_flag=True, help="The checkpoint that validated best, not the newest.")
@click.option(
    "--weights",
    type=click.Choice(["fp32", "fp16", "int8"]),
    default="fp16",
    show_default=True,
    help="How weights are stored: whole, in half the size, or the large ones in a quarter of it. They are "
    "computed with in fp32.",
)
@click.option(
    "--discriminator",
    type=click.Path(path_type=Path),
    help="Also write this network, which the ONNX file does not hold, as fp16 safetensors.",
)
@click.option(
    "--blend",
    type=(click.Path(path_type=Path), click.FloatRange(0, 1, min_open=True, max_open=True)),
    metavar="RUN SHARE",
    help="Mix in a share (0-1) of another run's weights, of the same network: that of before the "
    "adversarial phase takes noise away and leaves most of the detail.",
)
@click.option(
    "--interval-factor",
    type=click.FloatRange(0, min_open=True),
    default=1.0,
    help="Make the interval so many times as wide: that of a blend is a little wide. Choose it on val.",
)
@click.option("--force", is_flag=True, help="Overwrite existing files.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing.")
def export(
    run: Path,
    output: Path,
    best: bool,
    weights: "Storage",
    discriminator: Path | None,
    blend: tuple[Path, float] | None,
    interval_factor: float,
    force: bool,
    quiet: bool,
) -> None:
    """Write the newest checkpoint of RUN as one ONNX file, if it computes what torch computes."""
    from facemend.training.export import export as export_run

    exported = export_run(
        run,
        output,
        best=best,
        weights=weights,
        discriminator=discriminator,
        blend=blend,
        interval_factor=interval_factor,
        force=force,
    )
    if not quiet:
        say(
            f"wrote {output}, {exported.megabytes:.1f} MB; differs from torch by at most "
            f"{exported.max_difference:.1e} in fp32, by {exported.mean_difference:.1e} on average as stored"
        )

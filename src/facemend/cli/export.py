"""facemend export: writes a trained model as one ONNX file."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from facemend.cli.options import PATH, say

if TYPE_CHECKING:
    from facemend.training.checkpoint import WeightFormat


@click.command()
@click.argument("run", type=PATH)
@click.option("-o", "--output", required=True, type=PATH, help="The ONNX file to write.")
@click.option(
    "--best", is_flag=True, help="Export the checkpoint with the best validation, not the newest."
)
@click.option(
    "--weights",
    type=click.Choice(["fp32", "fp16", "int8"]),
    default="fp16",
    show_default=True,
    help="Format of the weights in the file: fp16 is half of fp32, int8 about half of fp16. The model "
    "computes in fp32.",
)
@click.option(
    "--discriminator",
    type=PATH,
    help="Also write the discriminator to this file, as fp16 safetensors.",
)
@click.option(
    "--blend",
    type=(PATH, click.FloatRange(0, 1, min_open=True, max_open=True)),
    metavar="RUN SHARE",
    help="Mix in a share (0-1) of another run's weights, of the same network. The run before the "
    "adversarial phase removes noise and keeps most of the detail.",
)
@click.option(
    "--interval-factor",
    type=click.FloatRange(0, min_open=True),
    default=1.0,
    help="Multiply the interval by this factor. A blend's interval is a little wide. Choose it on val.",
)
@click.option("--force", is_flag=True, help="Overwrite existing files.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing.")
def export(
    run: Path,
    output: Path,
    best: bool,
    weights: "WeightFormat",
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
            f"{exported.max_difference:.1e} in fp32, and by {exported.mean_difference:.1e} on average as "
            "written"
        )

"""facemend demo: the model on two portraits, in one picture."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from facemend.cli.options import device_option, model_option, quiet_option, say

if TYPE_CHECKING:
    from facemend.reconstruction.demo import DemoRow


@click.command()
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    type=click.Path(path_type=Path),
    default=Path("facemend-demo.png"),
    show_default=True,
    help="The PNG to write.",
)
@model_option
@device_option
@click.option(
    "--open", "open_", metavar="yes|no", type=bool, default=False, help="Show the picture.  [default: no]"
)
@click.option("--force", is_flag=True, help="Overwrite a file that is not an earlier demo.")
@quiet_option
def demo(output: Path, model: Path | None, device: str, open_: bool, force: bool, quiet: bool) -> None:
    """Occlude two portraits, reconstruct them, and write a picture of the result.

    The picture shows input | truth | reconstruction. The model is not told where the occlusion is.
    """
    from facemend.files import real_path
    from facemend.io import write_png
    from facemend.reconstruction.demo import demo_provenance, draw_demo, is_demo, run_demo
    from facemend.reconstruction.reconstructor import Reconstructor

    reconstructor = Reconstructor(model, device=device)
    rows = run_demo(reconstructor)
    text = demo_provenance(reconstructor).to_text()
    write_png(output, draw_demo(rows), text=text, force=force or is_demo(output))
    if not quiet:
        say(_table(rows))
        say(f"wrote {real_path(output)}")
    if open_:
        click.launch(str(output))


def _table(rows: list["DemoRow"]) -> str:
    """PSNR in the hole, of the occluded input and of the reconstruction."""
    lines = [f"{'':<16}{'':<12}{'hole, copied':>14}{'hole, reconstructed':>21}"]
    lines += [
        f"{row.name:<16}{row.occluded.occlusion.kind:<12}{_db(row.copy_db):>14}{_db(row.hole_db):>21}"
        for row in rows
    ]
    return "\n".join(lines)


def _db(value: float | None) -> str:
    return "perfect" if value is None else f"{value:.1f} dB"

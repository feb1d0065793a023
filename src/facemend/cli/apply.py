"""facemend apply: any exported model of pairs over pictures."""

from pathlib import Path

import click

from facemend.cli.options import advised, device_option, quiet_option, say


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("pictures", nargs=-1, required=True, metavar="PICTURE...", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="OUT",
    type=click.Path(path_type=Path),
    help="A folder, or a PNG for one picture.",
)
@click.option(
    "--fit",
    type=click.Choice(["resize", "tiles"]),
    default="resize",
    show_default=True,
    help="Bring each picture to the network's square and back, or work on it in tiles at its own size.",
)
@device_option
@click.option("--recursive", is_flag=True, help="Search the subfolders of folders as well.")
@click.option("--force", is_flag=True, help="Overwrite existing files.")
@quiet_option
def apply(
    model: Path,
    pictures: tuple[Path, ...],
    output: Path,
    fit: str,
    device: str,
    recursive: bool,
    force: bool,
    quiet: bool,
) -> None:
    """Run an exported MODEL over pictures: files, folders or patterns.

    The model may be one of any pairs (configs/pairs.toml). Nothing looks for a face: the whole
    picture is what the model makes of it. Each becomes a PNG of its own size.
    """
    from facemend.errors import OutputError, PictureError
    from facemend.files import is_disk_unfit, sha256_of
    from facemend.io import write_png
    from facemend.io.reading import read_opaque
    from facemend.reconstruction.apply import Fit, apply_model
    from facemend.reconstruction.model import Model
    from facemend.reconstruction.outputs import plan_tasks
    from facemend.reconstruction.provenance import Provenance
    from facemend.terminal import progress

    opened = Model(model, device=device)
    tasks = plan_tasks(pictures, output, aligned=True, save_occlusion=False, recursive=recursive)
    failed = 0
    for task in progress(tasks, unit="pictures", quiet=quiet):
        try:
            photo = read_opaque(task.source)
            made = apply_model(opened, photo.pixels, Fit(fit))
            note = Provenance(
                opened.description.name,
                opened.sha256,
                sha256_of(task.source),
                {"input": "picture", "fit": fit},
            )
            write_png(task.output, made, text=note.to_text(), force=force, most_mode=photo.file_mode)
        except (PictureError, OutputError) as error:
            if is_disk_unfit(error):
                raise
            failed += 1
            say(f"facemend: {advised(error)}", error=True)
    if not quiet:
        say(f"{len(tasks) - failed} pictures written: {output}" + (f", {failed} failed" if failed else ""))
    if failed:
        click.get_current_context().exit(1)

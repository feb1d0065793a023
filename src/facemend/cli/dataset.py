"""facemend dataset: pairs of occluded and target faces on disk, contact sheets and statistics of them."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from facemend.cli.options import engine_option, quiet_option, ray_address_option, say
from facemend.errors import UsageError
from facemend.terminal import printable, printable_json

if TYPE_CHECKING:
    from facemend.datasets import FaceSource
    from facemend.datasets.build import BuildReport

Result = TypeVar("Result")

_PATH = click.Path(path_type=Path)

_split_option = click.option(
    "--split",
    type=click.Choice(["train", "val", "test", "all"]),
    default="all",
    show_default=True,
    help="People to use.",
)
_split_file_option = click.option(
    "--split-file",
    type=_PATH,
    help="CSV with the columns file and split (and identity), instead of the usual split.",
)
_cutouts_option = click.option(
    "--cutouts",
    metavar="FOLDER",
    type=_PATH,
    help='Your own RGBA pictures (PNG, WebP) for the kinds "cutouts" and "real_mask".',
)
_seed_option = click.option(
    "--seed", type=int, default=0, show_default=True, help="Another seed draws other occlusions."
)


@click.group()
def dataset() -> None:
    """Make datasets of occluded faces."""


@dataset.command()
@click.argument("source")
@click.argument("out")
@click.option(
    "--count", type=int, required=True, help="Number of pairs. Above the number of pictures, faces repeat."
)
@click.option(
    "--kinds",
    metavar="KIND=SHARE,...",
    help="Occlusions and the share of each, for example nose_mask=0.4,blur=0.6.  "
    "[default: nose_mask, blur, blur_full, mask_full and cutouts, if any, in equal shares]",
)
@_cutouts_option
@click.option("--size", type=int, default=256, show_default=True, help="Side of the pictures in pixels.")
@_split_option
@_split_file_option
@click.option(
    "--layout",
    type=click.Choice(["folders", "imagefolder", "pix2pix", "webdataset", "parquet"]),
    default="folders",
    show_default=True,
    help="Folders of pictures, Hugging Face's imagefolder, pictures side by side for pix2pix, or shards.",
)
@click.option(
    "--format",
    "picture_format",
    type=click.Choice(["png", "webp"]),
    default="png",
    show_default=True,
    help="Picture format. Both are lossless.",
)
@_seed_option
@click.option(
    "--workers", type=click.IntRange(min=1), help="Processes.  [default: one for each processor core]"
)
@engine_option
@ray_address_option
@click.option("--force", is_flag=True, help="Start anew in a folder that holds another dataset.")
@quiet_option
def build(
    source: str,
    out: str,
    count: int,
    kinds: str | None,
    cutouts: Path | None,
    size: int,
    split: str,
    split_file: Path | None,
    layout: str,
    picture_format: str,
    seed: int,
    workers: int | None,
    engine: str,
    ray_address: str | None,
    force: bool,
    quiet: bool,
) -> None:
    """Write pairs of occluded and target faces to OUT, with their exact alpha and a manifest.

    SOURCE is CelebA as downloaded (img_align_celeba.zip or its folder, annotations beside it), any folder
    of face crops, or a URL of a folder, a zip, tar shards or Parquet. For shards OUT may be a URL. The same
    command resumes a build that was stopped.
    """
    from facemend.datasets.build import build_dataset
    from facemend.datasets.pairs import Files, Layout, PictureFormat, Recipe, equal_shares, parse_shares
    from facemend.datasets.remote import Place, is_url
    from facemend.datasets.shards import SHARD_PAIRS, ShardFormat, build_shards
    from facemend.files import refuse_links
    from facemend.parallel import EngineName, open_engine
    from facemend.terminal import progress

    def show(results: Iterable[Result], total: int, unit: str) -> Iterable[Result]:
        bar: Iterable[Result] = progress(results, total=total, unit=unit, quiet=quiet)
        return bar

    recipe = Recipe(count, parse_shares(kinds) if kinds else equal_shares(cutouts), size, seed, cutouts)
    work = open_engine(EngineName(engine), workers=workers, address=ray_address)
    pictures = PictureFormat(picture_format)
    if layout in list(ShardFormat):
        home: Path | Place = Place(out)
        report = build_shards(
            _open(source, split, split_file),
            Place(out),
            recipe,
            ShardFormat(layout),
            pictures,
            engine=work,
            force=force,
            progress=lambda shards: show(shards, -(-count // SHARD_PAIRS), "shard"),
        )
    elif is_url(out):
        raise UsageError(f"{out} takes shards, not {layout}; add --layout webdataset or parquet")
    else:
        files = Files(Layout(layout), pictures)
        home = folder = files.layout.home(Path(out), split)
        refuse_links(Path(out), folder)
        report = build_dataset(
            _open(source, split, split_file, folder),
            folder,
            recipe,
            files,
            engine=work,
            force=force,
            progress=lambda results: show(results, count, "pair"),
        )
    if not quiet:
        say(_summary(home, report))


@dataset.command()
@click.argument("source", type=_PATH)
@click.option(
    "-o",
    "--output",
    metavar="PICTURE",
    type=_PATH,
    required=True,
    help="PNG to write. Keep sheets of CelebA private.",
)
@click.option("--kinds", metavar="KIND,...", help="Occlusions, one row each.  [default: all]")
@_cutouts_option
@click.option("--faces", type=click.IntRange(1, 100), default=8, show_default=True, help="Faces in a row.")
@click.option(
    "--size",
    type=click.IntRange(32, 512),
    default=128,
    show_default=True,
    help="Side of a face on the sheet in pixels.",
)
@_split_option
@_split_file_option
@_seed_option
@click.option("--force", is_flag=True, help="Overwrite the picture.")
@quiet_option
def preview(
    source: Path,
    output: Path,
    kinds: str | None,
    cutouts: Path | None,
    faces: int,
    size: int,
    split: str,
    split_file: Path | None,
    seed: int,
    force: bool,
    quiet: bool,
) -> None:
    """Draw a contact sheet with a row of faces of SOURCE for each kind of occlusion."""
    from facemend.datasets.pairs import Recipe, parse_shares
    from facemend.datasets.stats import draw_preview
    from facemend.files import written_whole
    from facemend.io import write_png
    from facemend.occlusion import CUTOUTS, KINDS

    every_kind = KINDS if cutouts is None else (*KINDS, CUTOUTS)
    shares = parse_shares(kinds or ",".join(every_kind))
    recipe = Recipe(faces, shares, seed=seed, cutouts=cutouts)
    people = _open(source, split, split_file)
    with written_whole(output, force=force) as temporary:
        write_png(temporary, draw_preview(people, recipe, size), force=True)
    if not quiet:
        say(f"wrote {output}")


@dataset.command()
@click.argument("folder", metavar="DATASET", type=_PATH)
@click.option("-o", "--output", metavar="PICTURE", type=_PATH, help="PNG for the histograms.")
@click.option("--json", "as_json", is_flag=True, help="Print the numbers and histograms as JSON.")
@click.option("--force", is_flag=True, help="Overwrite the picture.")
@quiet_option
def stats(folder: Path, output: Path | None, as_json: bool, force: bool, quiet: bool) -> None:
    """Measure the kinds, coverage and colours of a finished DATASET."""
    from facemend.datasets.stats import draw_histograms, measure_dataset
    from facemend.files import real_path, written_whole
    from facemend.io import write_png

    if output is None:
        found = measure_dataset(folder)
    else:
        with written_whole(output, force=force) as temporary:
            found = measure_dataset(folder)
            write_png(temporary, draw_histograms(found, real_path(folder).name), force=True)
    if as_json:
        say(printable_json(found.to_json(), indent=2))
    elif not quiet:
        say(found.to_table())
        if output is not None:
            say(f"wrote {output}")


def _open(source: Path | str, split: str, split_file: Path | None, *outputs: Path) -> "FaceSource":
    """The requested people of a source, without the pictures of output folders inside it."""
    from facemend.datasets import Split, open_source, take_split

    if split_file is not None and split == "all":
        raise UsageError("--split-file needs a split; choose one with --split")
    faces = open_source(source, leave_out=outputs)
    uses = sorted({record.use for record in faces.records if record.use is not None})
    if split == "all" and len(uses) > 1:
        raise UsageError(
            f"{source} holds pictures for {' and for '.join(uses)}; choose with --split train, val or test "
            "(test is what is marked measure)"
        )
    return faces if split == "all" else take_split(faces, Split(split), split_file)


def _summary(home: object, report: "BuildReport") -> str:
    lines = [f"{printable(home)}: {report.made} pairs made, {report.kept} kept ({_counts(report.kinds)})"]
    if detected := report.landmarks.get("detected"):
        lines.append(f"{detected} pairs have no landmarks in the source; the detector found their faces")
    if missing := report.landmarks.get("canonical"):
        lines.append(
            f"{missing} of {report.made + report.kept} pairs have no landmarks, and no face was found; "
            "their occlusions are at the landmarks of the canonical crop"
        )
    if profiles := report.landmarks.get("profile"):
        lines.append(f"{profiles} pairs show a profile; their occlusions follow it as far as they can bend")
    if report.skipped:
        lines.append(
            f"{report.skipped} faces wear glasses and were skipped: they can take none of the kinds"
        )
    return "\n".join(lines)


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))

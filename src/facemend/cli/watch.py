"""facemend watch: photos that come into a folder are reconstructed into another."""

import signal
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import click

from facemend.cli.options import (
    PATH,
    certificate_option,
    detector_option,
    device_option,
    folder_options,
    key_option,
    model_option,
    quiet_option,
    read_options,
    read_signing,
    say,
)
from facemend.errors import UsageError
from facemend.terminal import printable


@click.command()
@click.argument("folder", type=PATH)
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    required=True,
    type=PATH,
    help="The folder for the results.",
)
@folder_options
@model_option
@detector_option
@device_option
@certificate_option
@key_option
@click.option("--recursive", is_flag=True, help="Watch the subfolders as well.")
@click.option(
    "--poll",
    "poll_s",
    metavar="SECONDS",
    type=click.FloatRange(min=0.1),
    help="Look so often instead of waiting for events, which network drives do not send.",
)
@click.option(
    "--settle",
    "settle_s",
    metavar="SECONDS",
    type=click.FloatRange(min=0),
    default=2.0,
    show_default=True,
    help="A photo is complete when its file stays the same for so long.",
)
@click.option(
    "--save-occlusion",
    is_flag=True,
    help="Also write NAME_occlusion.png, white where it was reconstructed.",
)
@click.option(
    "--save-doubt",
    is_flag=True,
    help="Also write NAME_doubt.png, brighter where the reconstruction may be farther off.",
)
@click.option("--force", is_flag=True, help="Overwrite the result of an earlier photo of the same name.")
@quiet_option
def watch(
    folder: Path,
    output: Path,
    model: Path | None,
    detector: Path | None,
    device: str,
    certificate: Path | None,
    key: Path | None,
    recursive: bool,
    poll_s: float | None,
    settle_s: float,
    save_occlusion: bool,
    save_doubt: bool,
    force: bool,
    quiet: bool,
    **values: Any,
) -> None:
    """Reconstruct every photo that comes into a folder, and those that are there.

    It goes on until Ctrl-C or SIGTERM, and finishes the photo in work. Started again, it does what is
    missing. A photo that fails is reported, and tried again when its file changes.
    """
    from facemend.errors import FacemendError
    from facemend.files import real_path
    from facemend.reconstruction.batch import ReconstructorSetup
    from facemend.reconstruction.watch import Events, Inbox, watch_folder

    options = read_options(values)
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder; name the one that photos come into")
    if real_path(output) == real_path(folder):
        raise UsageError("the photos and their results would lie in one folder; name another with -o")
    stop = threading.Event()
    wait = (
        Events(folder, recursive=recursive, stop=stop).wait
        if poll_s is None
        else lambda most_s: _wait(stop, min(most_s, poll_s))
    )
    reconstructor = ReconstructorSetup(
        model, detector, device, credentials=read_signing(certificate, key)
    )()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: _end(stop))
    if not quiet:
        say(f"facemend watches {printable(folder)} (Ctrl-C ends it)")
    counts: Counter[str] = Counter()
    inbox = Inbox(folder, output, recursive, settle_s)
    for done in watch_folder(
        reconstructor,
        inbox,
        options,
        stop,
        wait,
        save_occlusion=save_occlusion,
        save_doubt=save_doubt,
        force=force,
    ):
        if isinstance(done, FacemendError) or done.error:
            say(
                f"facemend: {printable(done if isinstance(done, FacemendError) else done.error)}",
                error=True,
            )
        elif not quiet:
            say(f"{printable(done.task.output)}: {done.outcome.value}")
        if not isinstance(done, FacemendError):
            counts[done.outcome.value] += 1
    if not quiet:
        say(", ".join(f"{count} {name}" for name, count in counts.items()) or "no photo came")


def _wait(stop: threading.Event, seconds: float) -> None:
    stop.wait(seconds)


def _end(stop: threading.Event) -> None:
    """Ends the watch after the photo in work. A second signal ends it at once."""
    if stop.is_set():
        raise KeyboardInterrupt
    stop.set()

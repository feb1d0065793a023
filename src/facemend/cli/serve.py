"""facemend serve: a page for people and an HTTP API for programs."""

import math
import os
import secrets
import sys
from pathlib import Path
from urllib.parse import quote

import click

from facemend.cli.options import PATH, device_option, model_option, quiet_option
from facemend.errors import UsageError

_LONGEST_TOKEN = 512
_LONGEST_S = 86_400
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Listen on this address.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="Listen on this port; 0 for any free one.",
)
@model_option
@device_option
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="Processor threads for each photo (default: cores / workers).",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Photos reconstructed at the same time, each in a process of its own.",
)
@click.option(
    "--queue",
    "waiting",
    type=click.IntRange(min=0),
    default=16,
    show_default=True,
    help="Photos that may wait. Further requests get 429 and a time to try again.",
)
@click.option(
    "--max-upload", type=click.IntRange(min=1), default=25, show_default=True, help="Largest upload, in MB."
)
@click.option(
    "--max-megapixels",
    type=click.FloatRange(min=0, min_open=True, max=200),
    default=50,
    show_default=True,
    help="Largest photo, in megapixels.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=60,
    show_default=True,
    help="Longest time for a whole request, in seconds. Three quarters of it are for the work.",
)
@click.option(
    "--token-file",
    type=PATH,
    metavar="FILE",
    help="Require the token in this file (or in FACEMEND_TOKEN) from API clients.",
)
@click.option(
    "--allow-host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help="Also accept requests to this host name, such as a proxy's; * for any.",
)
@click.option(
    "--allow-origin",
    "origins",
    multiple=True,
    metavar="URL",
    help="Let pages of this origin use the API (CORS).",
)
@click.option(
    "--share",
    is_flag=True,
    help="Let devices in the same network use it, with a token that a QR code on the terminal holds.",
)
@click.option(
    "--open",
    "open_",
    metavar="yes|no",
    type=bool,
    default=False,
    help="Open the page in a browser.  [default: no]",
)
@quiet_option
def serve(
    host: str,
    port: int,
    model: Path | None,
    device: str,
    threads: int | None,
    workers: int,
    waiting: int,
    max_upload: int,
    max_megapixels: float,
    timeout: float,
    token_file: Path | None,
    hosts: tuple[str, ...],
    origins: tuple[str, ...],
    share: bool,
    open_: bool,
    quiet: bool,
) -> None:
    """Serve a page and an HTTP API that reconstruct photos, on this machine only.

    Photos stay in memory. Nothing is written, and only counts, sizes and times are logged. Ctrl-C ends the
    server once the photos that have begun are done.
    """
    try:
        import segno

        from facemend.server.app import Server, open_socket, run
        from facemend.server.settings import (
            LOOPBACK_NAMES,
            MEGABYTE,
            WORKER_BYTES_A_PIXEL,
            Limits,
            Settings,
        )
    except ModuleNotFoundError as error:
        raise UsageError("serving needs more packages: pip install 'facemend[serve]'") from error

    _refuse_numbers(max_megapixels, timeout)
    limits = Limits(
        upload_bytes=max_upload * MEGABYTE,
        response_bytes=10 * max_upload * MEGABYTE,
        held_bytes=10 * max_upload * MEGABYTE,
        worker_bytes=max(Limits.worker_bytes, round(WORKER_BYTES_A_PIXEL * max_megapixels * 1e6)),
        pixels=round(max_megapixels * 1e6),
        waiting=waiting,
        request_s=timeout,
        work_s=0.75 * timeout,
    )
    token = _token(token_file)
    if share:
        address = _own_address() if host in _LOOPBACK else host
        host, token, hosts = address, token or secrets.token_urlsafe(16), (*hosts, address)
    local = host in _LOOPBACK
    names = LOOPBACK_NAMES.union(name.lower() for name in hosts)
    settings = Settings(
        model=model,
        device=device,
        threads=threads,
        workers=workers,
        token=token,
        hosts=None if "*" in hosts or (not local and not hosts) else names,
        origins=frozenset(origin.rstrip("/") for origin in origins),
        limits=limits,
    )
    listener = open_socket(host, port)
    server = Server(settings)
    server.start()
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{listener.getsockname()[1]}/"
    if share:
        link = f"{url}#token={quote(str(token), safe='')}"
        click.echo(f"facemend serves {link} (Ctrl-C ends it)")
        segno.make(link, error="m").terminal(sys.stdout, border=2, compact=True)
        sys.stdout.flush()
        click.echo(
            "facemend: whoever has this address can use it, and others in the network can read along; "
            "share at home only, or put TLS before it (docs/server.md)",
            err=True,
        )
    elif not quiet:
        click.echo(f"facemend serves {url} (Ctrl-C ends it)")
        if not local and token is None:
            click.echo(
                "facemend: anybody who reaches this address can use it; set FACEMEND_TOKEN", err=True
            )
    if open_:
        click.launch(url)
    run(server, listener, limits, quiet=quiet)


def _own_address() -> str:
    """The address of this machine in its network. Nothing is sent to find it out.

    Raises:
        UsageError: the machine is in no network.
    """
    import socket  # not before the command has left the current folder out

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(
                ("192.0.2.1", 9)
            )  # an address for documentation (RFC 5737), which is in no network
            return str(probe.getsockname()[0])
        except OSError as error:
            raise UsageError(
                "this machine is in no network; connect it, or name its address with --host"
            ) from error


def _token(file: Path | None) -> str | None:
    """The token of the file or of the environment. An empty one is an error: it would let everybody in."""
    if file is None:
        token, where = os.environ.get("FACEMEND_TOKEN", ""), "the token in FACEMEND_TOKEN"
        if not token:
            return None
    else:
        token, where = _read_token(file), f"the token file {file}"
    if not token:
        raise UsageError(f"{where} is empty; write a long random token into it")
    if not token.isprintable() or len(token) > _LONGEST_TOKEN:
        raise UsageError(f"{where} does not hold a token; use up to {_LONGEST_TOKEN} printable characters")
    return token


def _read_token(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return opened.read(8 * _LONGEST_TOKEN).decode("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the token file {file} cannot be read; give one that holds the token") from error


def _refuse_numbers(max_megapixels: float, timeout: float) -> None:
    """Raises UsageError for NaN, which passes click's comparisons, and for a time that is too long."""
    if math.isnan(max_megapixels) or not 0 < timeout <= _LONGEST_S:
        raise UsageError(
            f"--max-megapixels and --timeout must be numbers; the longest time is {_LONGEST_S} s"
        )

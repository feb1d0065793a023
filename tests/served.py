"""`facemend serve` as a process, for tests and benchmarks."""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def serving(*options: str, environment: dict[str, str] | None = None) -> Iterator[str]:
    """The address of a server that runs in the block, on any free port, warm.

    Raises:
        AssertionError: it does not end by itself, with exit code 0.
    """
    with started(*options, environment=environment) as (process, url):
        yield url
        process.send_signal(signal.SIGINT)
        assert process.wait(60) in (0, 130, -signal.SIGINT)


@contextmanager
def started(
    *options: str, environment: dict[str, str] | None = None
) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """A server's process and its address; killed at the end, if it is still there."""
    command = [sys.executable, "-m", "facemend", "serve", "--port", "0", *options]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})},
    )
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        found = re.search(r"http://\S+/", said)
        assert found is not None, f"it said {said!r}"
        _wait_until_ready(found[0])
        yield process, found[0]
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _wait_until_ready(url: str) -> None:
    for _ in range(600):
        try:
            with urllib.request.urlopen(f"{url}readyz", timeout=30):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    raise AssertionError("the server does not get ready")

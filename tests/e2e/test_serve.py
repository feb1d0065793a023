"""`facemend serve` on a port: what a client of it sees, also a bad one, and how it ends."""

import io
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image as PillowImage

pytest.importorskip("uvicorn", reason="needs the serve extra: pip install 'facemend[serve]'")

from benchmarks.server import Sender, form_of
from tests.served import serving, started


@pytest.fixture(scope="module")
def url(stand_in_model: Path) -> Iterator[str]:
    with serving("--model", str(stand_in_model), "--threads", "1") as address:
        yield address


@pytest.fixture(scope="module")
def photo() -> bytes:
    file = io.BytesIO()
    PillowImage.new("RGB", (320, 240), "gray").save(file, "JPEG")
    return file.getvalue()


def _place(url: str) -> tuple[str, int]:
    return "127.0.0.1", int(url.rstrip("/").rpartition(":")[2])


def _request(form: bytes, *headers: str) -> bytes:
    lines = [
        "POST /v1/reconstruct HTTP/1.1",
        "Host: 127.0.0.1",
        "Content-Type: multipart/form-data; boundary=x-x-x",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + form


def _answer(connection: socket.socket) -> tuple[int, bytes]:
    data = connection.makefile("rb").read()
    return int(data.split()[1]), data


def test_requests_of_every_kind_get_their_answer(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.server.time.sleep", lambda _: None)
    sender = Sender()
    sender.url = url
    statuses = {
        kind: [sender.send(kind) for _ in range(2)] for kind in ("good", "plain", "huge", "slow", "aborted")
    }
    assert statuses == {
        "good": [200, 200],
        "plain": [200, 200],
        "huge": [413, 413],
        "slow": [200, 200],
        "aborted": [0, 0],
    }
    assert [sender.send("broken") for _ in range(3)] == [422, 422, 422]
    with urllib.request.urlopen(f"{url}readyz") as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        (["Content-Length: 99999999999"], b"", 413),
        (["Content-Length: -1"], b"", 400),
        (["Content-Length: 5", "Content-Length: 6"], b"hello", 400),
        (["Content-Length: 5", "Transfer-Encoding: chunked"], b"0\r\n\r\n", 400),
        (["Transfer-Encoding: chunked"], b"zz\r\n", 400),
        (["Transfer-Encoding: chunked"], b"5\r\nhello\r\n0\r\n\r\n", 400),
    ],
    ids=["huge", "negative", "two", "both", "no chunk", "chunked"],
)
def test_lengths_that_lie_are_answered(url: str, headers: list[str], body: bytes, status: int) -> None:
    with socket.create_connection(_place(url), timeout=30) as connection:
        connection.sendall(_request(body, "Connection: close", *headers))
        said, data = _answer(connection)
    assert said == status, data


def test_a_head_without_end_is_refused(url: str) -> None:
    with socket.create_connection(_place(url), timeout=30) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000)
        assert _answer(connection)[0] == 400


def test_a_slow_client_holds_up_nobody(url: str, photo: bytes) -> None:
    form = form_of(photo)
    slow = [socket.create_connection(_place(url), timeout=30) for _ in range(20)]
    try:
        for connection in slow:
            connection.sendall(_request(form[:50], f"Content-Length: {len(form)}"))
        request = urllib.request.Request(
            f"{url}v1/reconstruct", form, {"Content-Type": "multipart/form-data; boundary=x-x-x"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.read() == photo
    finally:
        for connection in slow:
            connection.close()


def test_it_finishes_what_it_began(stand_in_model: Path, photo: bytes) -> None:
    form = form_of(photo)
    with (
        started("--model", str(stand_in_model), "--threads", "1") as (process, url),
        socket.create_connection(_place(url), timeout=60) as connection,
    ):
        connection.sendall(_request(form[:60], f"Content-Length: {len(form)}"))
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(_place(url), timeout=5)
        connection.sendall(form[60:])
        status, data = _answer(connection)
        assert status == 200
        assert data.endswith(photo)
        assert process.wait(60) in (0, -signal.SIGTERM)


def test_clients_that_do_not_speak_or_do_not_listen_are_left(stand_in_model: Path) -> None:
    code = """
import sys
from pathlib import Path
from facemend.server.app import Server, open_socket, run
from facemend.server.settings import Limits, Settings
limits = Limits(head_s=0.5, receive_s=0.5, send_s=0.5, linger_s=0.5)
listener = open_socket("127.0.0.1", 0)
print(f"http://127.0.0.1:{listener.getsockname()[1]}/", flush=True)
run(Server(Settings(model=Path(sys.argv[1]), threads=1, limits=limits)), listener, limits)
"""
    command = [sys.executable, "-c", code, str(stand_in_model)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        for _ in range(300):
            try:
                urllib.request.urlopen(f"{url}readyz", timeout=5).close()
                break
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.1)
        for begun in (b"", b"GET / HTT", b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET / HT"):
            with socket.create_connection(_place(url), timeout=30) as connection:
                connection.sendall(begun)
                assert not connection.makefile("rb").read().startswith(b"HTTP/1.1 5")
        with socket.create_connection(_place(url), timeout=30) as connection:
            connection.sendall(_request(b"--x-x-x", "Content-Length: 1000"))
            status, data = _answer(connection)
            assert (status, json.loads(data.partition(b"\r\n\r\n")[2])["code"]) == (408, "too_slow")
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.settimeout(30)
            deaf.connect(_place(url))
            noise = np.random.default_rng(0).integers(0, 256, (1500, 1500, 3), dtype=np.uint8)
            file = io.BytesIO()
            PillowImage.fromarray(noise).save(file, "BMP")
            form = form_of(file.getvalue(), format=b"png")
            deaf.sendall(_request(form, f"Content-Length: {len(form)}"))
            time.sleep(0.2)
            _until_alone(process)
    finally:
        process.kill()
        process.communicate()


def _until_alone(process: "subprocess.Popen[str]") -> None:
    """Waits until the server holds no connection, though its client keeps it open."""
    server = psutil.Process(process.pid)
    for _ in range(600):
        if not [each for each in server.net_connections("tcp") if each.status == "ESTABLISHED"]:
            return
        time.sleep(0.05)
    raise AssertionError("the connection is still there")


def test_it_says_where_it_is_and_who_may_use_it(stand_in_model: Path) -> None:
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    taken.listen()
    command = [sys.executable, "-m", "facemend", "serve", "--model", str(stand_in_model)]
    port = str(taken.getsockname()[1])
    done = subprocess.run([*command, "--port", port], capture_output=True, text=True, check=False)
    taken.close()
    assert done.returncode == 2
    assert re.fullmatch(
        rf"facemend: cannot listen on 127.0.0.1:{port}: .*; choose another --port\n", done.stderr
    )
    missing = subprocess.run(
        [*command, "--token-file", "none"], capture_output=True, text=True, check=False
    )
    assert (missing.returncode, missing.stderr.count("\n")) == (2, 1)
    with started("--model", str(stand_in_model), "--threads", "1", environment={"FACEMEND_TOKEN": "t"}) as (
        _,
        url,
    ):
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"{url}v1/models")
        request = urllib.request.Request(f"{url}v1/models", headers={"Authorization": "Bearer t"})
        with urllib.request.urlopen(request) as answer:
            assert answer.status == 200


def test_several_workers_answer_at_the_same_time(stand_in_model: Path, photo: bytes) -> None:
    with serving("--model", str(stand_in_model), "--threads", "1", "--workers", "2") as url:
        form = form_of(photo)
        headers = {"Content-Type": "multipart/form-data; boundary=x-x-x"}
        answers: list[bytes] = []

        def ask() -> None:
            request = urllib.request.Request(f"{url}v1/reconstruct", form, headers)
            with urllib.request.urlopen(request, timeout=60) as answer:
                answers.append(answer.read())

        threads = [threading.Thread(target=ask) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == [photo] * 6

"""Attacks on `facemend serve` over its port: connections, bodies, signals, the folder that it stands in."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

pytest.importorskip("uvicorn", reason="needs the serve extra: pip install 'facemend[serve]'")

from benchmarks import server_attacks
from benchmarks.server import form_of, photo_of, unique
from facemend.cli.main import main
from tests import hostile_worker
from tests.served import started

_CODE = """
import sys
from pathlib import Path
from facemend.server import workers
from facemend.server.app import Server, open_socket, run
from facemend.server.settings import Limits, Settings
from tests.hostile_worker import PROGRAM
workers._PROGRAM = PROGRAM
limits = Limits(**eval(sys.argv[2]))
listener = open_socket("127.0.0.1", 0)
server = Server(Settings(model=Path(sys.argv[1]), threads=1, token=sys.argv[3] or None, limits=limits))
server.start()
print(listener.getsockname()[1], flush=True)
run(server, listener, limits)
"""
_SHADOWED = (
    "asyncio", "base64", "contextlib", "dataclasses", "email", "functools", "hashlib", "json", "logging",
    "multiprocessing", "numpy", "onnxruntime", "pathlib", "PIL", "queue", "random", "re", "subprocess",
    "threading", "typing", "zlib", "facemend",
)  # fmt: skip


@contextmanager
def attacked(model: Path, repo_root: Path, token: str = "", **limits: float) -> Iterator[tuple[int, int]]:
    """A server whose workers obey photos (tests/hostile_worker.py): its process and its port."""
    path = os.pathsep.join([str(repo_root), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, "-c", _CODE, str(model), repr(limits), token],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        _until(lambda: _get(port, "/readyz").startswith(b"HTTP/1.1 200"))
        yield process.pid, port
    finally:
        process.kill()
        process.communicate()


def _until(true: "object") -> None:
    """Waits until something is so; fails if it never is."""
    assert callable(true)
    for _ in range(1200):
        try:
            if true():
                return
        except OSError:
            pass
        time.sleep(0.05)
    raise AssertionError("it never came to that")


def _connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=60)


def _get(port: int, path: str) -> bytes:
    with _connect(port) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        return connection.makefile("rb").read()


def _head(length: int, *lines: str) -> bytes:
    said = [
        "POST /v1/reconstruct HTTP/1.1",
        "Host: 127.0.0.1",
        "Content-Type: multipart/form-data; boundary=x-x-x",
        f"Content-Length: {length}",
        *lines,
    ]
    return "\r\n".join(said).encode() + b"\r\n\r\n"


def _post(port: int, photo: bytes) -> bytes:
    form = form_of(photo)
    with _connect(port) as connection:
        connection.sendall(_head(len(form), "Connection: close") + form)
        return connection.makefile("rb").read()


def _workers(pid: int) -> list[psutil.Process]:
    return list(psutil.Process(pid).children(recursive=True))


def test_after_a_refusal_a_slow_body_does_not_keep_its_connection(
    stand_in_model: Path, repo_root: Path
) -> None:
    with attacked(stand_in_model, repo_root, "token", linger_s=0.2) as (_, port):
        for request in (
            _head(1_000_000),
            _head(99_999_999_999),
            b"POST /nothing HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: elsewhere\r\nContent-Length: 1000000\r\n\r\n",
        ):
            with _connect(port) as connection:
                connection.sendall(request + b"x")
                answer = connection.makefile("rb").read()  # up to the end of the connection
            assert answer.split()[1] in (b"400", b"401", b"404", b"421"), answer
            assert b"\r\nconnection: close\r\n" in answer.lower()


def test_heads_of_many_lines_and_bodies_of_tiny_chunks_end_their_connection(
    stand_in_model: Path, repo_root: Path
) -> None:
    lines, chunked = b"a:\r\n" * 3000, b"Transfer-Encoding: chunked\r\n\r\n"
    photo = b"POST /v1/reconstruct HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    form = b"Content-Type: multipart/form-data; boundary=x-x-x\r\n"
    with attacked(stand_in_model, repo_root) as (_, port):
        for request in (
            b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n" + lines + b"\r\n",
            b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\na: b\r\n" + b" c\r\n" * 15_000 + b"\r\n",
            photo + form + chunked + b"0\r\n" + lines + b"\r\n",
            photo + form + chunked + b"1\r\nx\r\n" * 1000,
            photo + form + chunked + b"zz\r\n",
            b"POST /nothing HTTP/1.1\r\nHost: 127.0.0.1\r\n" + chunked + b"1\r\nx\r\n" * 1000,
        ):
            with _connect(port) as connection, suppress(ConnectionError):
                connection.sendall(request)
                answer = connection.makefile("rb").read()  # up to the end of the connection
                assert answer.split()[1:2] in ([b"400"], [b"404"], []), answer
        with _connect(port) as connection:  # a chunk that is none, in the middle of a refusal
            connection.sendall(b"POST /nothing HTTP/1.1\r\nHost: 127.0.0.1\r\n" + chunked)
            assert connection.recv(12) == b"HTTP/1.1 404"
            connection.sendall(b"zz\r\n")
            with suppress(ConnectionError):
                connection.makefile("rb").read()
        form = form_of(photo_of(64))
        pieces = b"".join(
            b"%x\r\n%s\r\n" % (len(form[at : at + 200]), form[at : at + 200])
            for at in range(0, len(form), 200)
        )
        with _connect(port) as connection:  # small chunks of an honest client
            head = _head(0, "Connection: close").replace(b"Content-Length: 0", chunked[:-4])
            connection.sendall(head + pieces + b"0\r\n\r\n")
            assert connection.makefile("rb").readline().split()[1] == b"200"


def test_slow_bodies_and_idle_connections_keep_nobody_out(stand_in_model: Path, repo_root: Path) -> None:
    with (
        attacked(stand_in_model, repo_root, connections=20, held_bytes=3_000_000) as (_, port),
        ExitStack() as stack,
    ):
        for _ in range(30):
            idle = stack.enter_context(_connect(port))
            idle.sendall(b"GET / HTTP/1.1\r\n")
        for _ in range(30):
            slow = stack.enter_context(_connect(port))
            slow.sendall(_head(20_000_000) + bytes(300_000))
        assert _get(port, "/healthz").startswith(b"HTTP/1.1 200")
        assert _post(port, photo_of(192)).startswith(b"HTTP/1.1 200")


def test_one_deadline_ends_a_request_that_trickles(stand_in_model: Path, repo_root: Path) -> None:
    with attacked(stand_in_model, repo_root, request_s=1.0, linger_s=0.2) as (_, port):
        with _connect(port) as connection:
            connection.sendall(_head(1000))
            assert connection.makefile("rb").readline().split()[1] == b"408"
        with _connect(port) as connection:  # answered, and then it does not read
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            form = form_of(photo_of(192), answer=b"json", before=b"true")
            connection.sendall(_head(len(form)) + form)
            ended = connection.makefile("rb")
            _until(lambda: ended.readline() == b"")


@pytest.mark.parametrize("ending", [hostile_worker.HANGS, hostile_worker.HANGS_AT_HEAD])
def test_a_signal_ends_the_server_while_a_photo_hangs(
    stand_in_model: Path, repo_root: Path, ending: bytes
) -> None:
    with attacked(stand_in_model, repo_root, work_s=2.0, inspect_s=2.0) as (pid, port):
        form = form_of(photo_of(64) + ending)
        with _connect(port) as connection:
            connection.sendall(_head(len(form)) + form)
            _until(lambda: b"facemend_running 1.0" in _get(port, "/metrics"))
            workers = _workers(pid)
            assert len(workers) == 2
            os.kill(pid, signal.SIGTERM)
            assert connection.makefile("rb").readline().split()[1] == b"422", "what has begun is answered"
        gone, left = psutil.wait_procs(workers, timeout=60)
        assert (len(gone), left) == (2, [])


def test_a_killed_server_leaves_no_worker(stand_in_model: Path, repo_root: Path) -> None:
    with attacked(stand_in_model, repo_root) as (pid, port):
        assert _post(port, photo_of(64)).startswith(b"HTTP/1.1 200")
        workers = _workers(pid)
        os.kill(pid, signal.SIGKILL)
        _, left = psutil.wait_procs(workers, timeout=60)
        assert left == []


def test_a_killed_worker_is_replaced(stand_in_model: Path) -> None:
    with started("--model", str(stand_in_model), "--threads", "1") as (process, url):
        port = int(url.rstrip("/").rpartition(":")[2])
        before = {each.pid for each in _workers(process.pid)}
        for worker in _workers(process.pid):
            worker.kill()
        assert _post(port, photo_of(64)).startswith(b"HTTP/1.1 200")
        assert not before & {each.pid for each in _workers(process.pid)}


def test_no_worker_imports_from_the_current_folder(
    stand_in_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in _SHADOWED:
        code = f"open({str(tmp_path / 'ran')!r}, 'a').write({name!r})\nraise SystemExit(3)\n"
        (tmp_path / f"{name}.py").write_text(code)
    source = os.environ.get("PYTHONPATH", "")
    absolute = [str(Path(each).resolve()) for each in source.split(os.pathsep) if each]
    monkeypatch.chdir(tmp_path)
    # An empty entry means the current folder: many a shell profile leaves one.
    code = """
import os, sys
from facemend.server.settings import Limits
from facemend.server.workers import WorkerProcess, setup_message
os.environ["PYTHONPATH"] = os.pathsep.join(["", *sys.argv[2:]])
for role in ("inspect", "reconstruct"):
    process = WorkerProcess(setup_message(role, Limits(), sys.argv[1], "cpu", 1), 1000)
    process.start()
    process.end()
print("started")
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, str(stand_in_model), *absolute],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(absolute)},
    )
    assert done.stdout == "started\n", done.stderr
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("attack", ["padding", "slow", "same"])
def test_twenty_clients_that_attack_keep_nobody_out(stand_in_model: Path, attack: str) -> None:
    environment = {"FACEMEND_TOKEN": server_attacks._TOKEN}
    options = ("--model", str(stand_in_model), "--threads", "1")
    with started(*options, environment=environment) as (_, url):
        place = server_attacks.place_of(url)
        requests = server_attacks.ATTACKS[attack](place)
        good = photo_of(64)
        with ThreadPoolExecutor(20) as clients:
            attacks = [clients.submit(requests[turn % len(requests)][1]) for turn in range(40)]
            health, answers = 0, 0
            while not all(each.done() for each in attacks) or not health:
                health += server_attacks._get(place, "/healthz") == 200
                answers += server_attacks._post(place, unique(good), token=True) == 200
            statuses = {each.result() for each in attacks}
        assert statuses <= ({200} if attack == "same" else {413, 422})
        assert health == answers > 0
        assert server_attacks._metric(place, "facemend_workers_lost") == 0


def test_a_model_that_is_none_ends_the_command_in_a_line(tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    for data in (b"", b"\x08\x07" * 1000):
        model.write_bytes(data)
        command = [sys.executable, "-m", "facemend", "serve", "--port", "0", "--model", str(model)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert done.stderr.startswith("facemend: ")
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "token"),
    [
        (["--timeout", "nan"], "t"),
        (["--timeout", "inf"], "t"),
        (["--timeout", "1e300"], "t"),
        (["--max-megapixels", "nan"], "t"),
        (["--token-file", "/dev/zero"], ""),
        ([], "\udcff"),
        ([], "x" * 10_000),
        ([], "a\nb"),
    ],
)
def test_a_value_that_is_none_ends_the_command_in_a_line(words: list[str], token: str) -> None:
    done = CliRunner().invoke(main, ["serve", "--port", "0", *words], env={"FACEMEND_TOKEN": token})
    assert done.exit_code == 2
    assert done.output.startswith("facemend: ")
    assert done.output.count("\n") == 1


def test_health_is_answered_through_the_port_while_a_photo_hangs(
    stand_in_model: Path, repo_root: Path
) -> None:
    with attacked(stand_in_model, repo_root, work_s=1.5) as (_, port), _connect(port) as connection:
        form = form_of(photo_of(64) + hostile_worker.HANGS)
        connection.sendall(_head(len(form)) + form)
        _until(lambda: b"facemend_running 1.0" in _get(port, "/metrics"))
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz") as health:
            assert health.status == 200
        assert connection.makefile("rb").readline().split()[1] == b"422"

"""What strangers may send to harm the server, and what it does about it. Attacks are counted, not timed."""

import asyncio
import json
import os
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage

pytest.importorskip("fastapi", reason="needs the serve extra: pip install 'facemend[serve]'")

import h11
from starlette.testclient import TestClient

from benchmarks.server_attacks import padded_photos, slow_photos
from facemend.errors import PictureError
from facemend.server.app import BoundedConnection, Server
from facemend.server.middleware import Memory
from facemend.server.schemas import Problem, read_form
from facemend.server.service import check_head
from facemend.server.settings import Limits, Settings
from facemend.server.workers import Coalescer, MessageError, _environment, read_message, write_message
from tests import hostile_worker

LIMITS = Limits(
    upload_bytes=200_000, held_bytes=2_000_000, pixels=2_000_000, work_s=3.0, inspect_s=3.0, linger_s=0.2
)


@pytest.fixture(scope="module")
def server(stand_in_model: Path, repo_root: Path) -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("facemend.server.workers._PROGRAM", hostile_worker.PROGRAM)
        patch.setenv("PYTHONPATH", f"{repo_root}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
        patch.setenv("FACEMEND_TOKEN", "a secret")
        settings = Settings(
            model=stand_in_model, threads=1, hosts=frozenset({"testserver"}), limits=LIMITS, token="t"
        )
        server = Server(settings)
        server.start()
        yield server
        server.close()


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[TestClient]:
    with TestClient(server.app, raise_server_exceptions=False) as client:
        client.headers["Authorization"] = "Bearer t"
        yield client


@pytest.fixture(scope="module")
def photo() -> bytes:
    file = BytesIO()
    PillowImage.new("RGB", (64, 64), "gray").save(file, "PNG")
    return file.getvalue()


def post(client: TestClient, photo: bytes, **fields: str) -> Any:
    return client.post("/v1/reconstruct", files={"photo": ("p", photo)}, data=fields)


def metric(client: TestClient, name: str) -> float:
    lines = client.get("/metrics").text.splitlines()
    return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} "))


class TestPhotosThatTakeTooLong:
    """Kind 7, and kind 3 as the server sees it: the worker is ended, and the next photo gets another."""

    @pytest.mark.parametrize(
        ("ending", "status", "code"),
        [
            (hostile_worker.HANGS, 422, "too_slow"),
            (hostile_worker.HANGS_AT_HEAD, 422, "too_slow"),
            (hostile_worker.CRASHES, 422, "bad_picture"),
        ],
    )
    def test_the_worker_is_replaced_and_the_photo_not_tried_again(
        self, client: TestClient, photo: bytes, ending: bytes, status: int, code: str
    ) -> None:
        lost = metric(client, "facemend_workers_lost")
        for _ in range(5):
            answer = post(client, photo + b"again" + ending)
            assert (answer.status_code, answer.json()["code"]) == (status, code)
            assert "\n" not in answer.json()["message"]
        assert post(client, photo).status_code == 200
        assert metric(client, "facemend_workers_lost") == lost + 1
        assert metric(client, "facemend_running") == metric(client, "facemend_waiting") == 0

    def test_the_server_answers_while_a_photo_holds_its_worker(
        self, client: TestClient, photo: bytes
    ) -> None:
        answers: list[int] = []
        attack = threading.Thread(
            target=lambda: answers.append(post(client, photo + hostile_worker.HANGS).status_code)
        )
        attack.start()
        while metric(client, "facemend_running") == 0:
            pass
        health = 0
        while not answers:
            assert client.get("/healthz").status_code == 200
            health += 1
        attack.join()
        assert answers == [422]
        assert health > 5, "the worker held its own interpreter's lock, not the server's"

    def test_photos_that_hang_at_their_head_take_no_place_in_the_queue(
        self, client: TestClient, photo: bytes
    ) -> None:
        attacks = [
            threading.Thread(target=post, args=(client, photo + hostile_worker.HANGS_AT_HEAD))
            for _ in range(3)
        ]
        for attack in attacks:
            attack.start()
        assert client.get("/readyz").status_code == 200
        for attack in attacks:
            attack.join()

    def test_one_photo_from_many_clients_ends_one_worker(self, client: TestClient, photo: bytes) -> None:
        lost = metric(client, "facemend_workers_lost")
        answers: list[int] = []
        harmful = photo + b"many" + hostile_worker.HANGS
        clients = [
            threading.Thread(target=lambda: answers.append(post(client, harmful).status_code))
            for _ in range(8)
        ]
        for each in clients:
            each.start()
        for each in clients:
            each.join()
        assert answers == [422] * 8
        assert post(client, photo).status_code == 200
        assert metric(client, "facemend_workers_lost") == lost + 1

    def test_memory_has_an_end(self, client: TestClient, photo: bytes) -> None:
        answer = post(client, photo + hostile_worker.HOGS)
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")

    def test_what_a_decoder_prints_is_no_answer(
        self, client: TestClient, photo: bytes, capfd: pytest.CaptureFixture[str]
    ) -> None:
        assert post(client, photo + hostile_worker.PRINTS).status_code == 200
        assert "hello" not in "".join(capfd.readouterr())


class TestBodies:
    """Kind 4: what is accepted before it is known who asks."""

    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [
            ("GET", "/healthz", 400),
            ("GET", "/", 400),
            ("HEAD", "/", 400),
            ("GET", "/v1/models", 400),
            ("GET", "/nothing", 400),
            ("POST", "/nothing", 404),
            ("POST", "/healthz", 405),
            ("PUT", "/v1/reconstruct", 405),
            ("DELETE", "/", 405),
            ("BREW", "/", 405),
        ],
    )
    def test_only_a_route_that_takes_a_body_is_sent_one(
        self, client: TestClient, method: str, path: str, status: int
    ) -> None:
        received = metric(client, "facemend_received_bytes_total")
        answer = client.request(method, path, content=b"x" * 5000)
        assert answer.status_code == status
        assert answer.headers["connection"] == "close"
        assert method == "HEAD" or answer.json()["message"].count("\n") == 0
        assert metric(client, "facemend_received_bytes_total") == received

    def test_without_the_token_nothing_is_taken(self, server: Server, client: TestClient) -> None:
        held: list[float] = []

        def chunks() -> Iterator[bytes]:
            for _ in range(10):
                held.append(_held(server))
                yield b"x" * 10_000

        answer = client.post("/v1/reconstruct", content=chunks(), headers={"authorization": "Bearer wrong"})
        assert (answer.status_code, answer.headers["connection"]) == (401, "close")
        assert not any(held)

    def test_a_refused_upload_ends_the_connection(self, client: TestClient) -> None:
        answer = client.post("/v1/reconstruct", content=b"x" * 300_000)
        assert (answer.status_code, answer.headers["connection"]) == (413, "close")
        fine = client.get("/healthz")
        assert "connection" not in fine.headers

    def test_who_waits_longest_for_its_client_makes_room(self) -> None:
        async def fill() -> None:
            memory = Memory(100)
            slow, working, quick = memory.open(), memory.open(), memory.open()

            async def arrive() -> None:
                async with asyncio.timeout(60) as timer:
                    slow.waits_for_client(timer)
                    slow.resize(60)
                    await asyncio.sleep(60)

            arriving = asyncio.ensure_future(arrive())
            await asyncio.sleep(0)
            working.resize(30)
            async with asyncio.timeout(60) as timer:
                quick.waits_for_client(timer)
                quick.resize(30)
            quick.waits_for_client(None)
            with pytest.raises(TimeoutError):
                await arriving
            assert (slow.evicted, working.evicted, quick.evicted) == (True, False, False)
            memory.close(slow)
            with pytest.raises(Problem) as refused:
                quick.resize(80)
            assert refused.value.status == 429
            memory.close(quick)
            memory.close(working)
            assert memory.total == 0

        asyncio.run(fill())


class TestTheSameRequest:
    """From several clients."""

    def test_it_is_worked_on_once_and_goes_on_for_who_is_left(self) -> None:
        async def ask() -> None:
            coalescer: Coalescer[int] = Coalescer()
            begun, go = 0, asyncio.Event()

            async def work() -> int:
                nonlocal begun
                begun += 1
                await go.wait()
                return begun

            key, other = await coalescer.key_of(b"a", b"b"), await coalescer.key_of(b"ab", b"")
            assert key == await coalescer.key_of(b"a", memoryview(b"b"))
            assert key != other
            callers = [asyncio.ensure_future(coalescer.share(key, work)) for _ in range(3)]
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            callers[0].cancel()
            await asyncio.sleep(0)
            go.set()
            assert [await caller for caller in callers[1:]] == [1, 1]
            assert await coalescer.share(key, work) == 2, "nothing is kept"
            coalescer.refuse(key, Problem(422, "too_slow", "it takes too long"), 600)
            with pytest.raises(Problem):
                await coalescer.share(key, work)
            assert await coalescer.share(other, work) == 3

        asyncio.run(ask())

    def test_work_that_nobody_waits_for_is_cancelled_and_begins_anew(self) -> None:
        async def ask() -> None:
            coalescer: Coalescer[None] = Coalescer()
            cancelled = 0

            async def work() -> None:
                nonlocal cancelled
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    cancelled += 1
                    raise

            for _ in range(2):
                caller = asyncio.ensure_future(coalescer.share(b"key", work))
                await asyncio.sleep(0.01)
                caller.cancel()
                await asyncio.sleep(0.01)
            assert cancelled == 2

        asyncio.run(ask())


def _held(server: Server) -> float:
    lines = server._metrics.text().decode().splitlines()
    return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith("facemend_held_bytes "))


class TestWords:
    """Kind 10: one line, the right code, never a 500."""

    @pytest.mark.parametrize(
        "origin",
        [
            "http://[", "http://[::1", "http://]/", "//[", "null", "http://a\\b", "http://testserver@evil",
            "http://[v1.x]", "http://\xff", "javascript:alert(1)", "http://testserver:99999999",
        ],
    )  # fmt: skip
    def test_an_origin_that_is_none_is_another_site(
        self, client: TestClient, photo: bytes, origin: str
    ) -> None:
        answer = client.post(
            "/v1/reconstruct",
            files={"photo": photo},
            headers=[(b"origin", origin.encode("latin-1")), (b"authorization", b"Bearer t")],
        )
        assert (answer.status_code, answer.json()["code"]) == (403, "wrong_origin")

    @pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/v1/models", "/metrics", "/page/app.js"])
    def test_head_is_get_without_the_body(self, client: TestClient, path: str) -> None:
        whole, head = client.get(path), client.head(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-type"] == whole.headers["content-type"]
        assert client.head("/nothing").status_code == 404
        assert client.head("/v1/reconstruct").status_code == 405

    @pytest.mark.parametrize(
        ("name", "value", "status"),
        [
            ("remove", b"\xed\xa0\x80", 400),
            ("remove", b"\xff\xfe", 400),
            ("remove", b"[" * 4000, 422),
            ("faces", b'{"a":' * 800, 422),
            ("faces", b"9" * 4000, 422),
            ("faces", b"-1", 422),
            ("faces", b"1e3", 422),
            ("faces", b"1," * 2000, 422),
            ("faces", b"\xd9\xa1\x00", 422),
            ("aligned", b"\x00", 422),
            ("aligned", b"2", 422),
            ("strip", b"null", 422),
            ("format", b"\x1b[31m", 422),
            ("__class__", b"x", 422),
            ("", b"x", 422),
            ("model_config", b"x", 422),
            ("\ud800".encode("utf-8", "surrogatepass").decode("latin-1"), b"x", 400),
            ("a\x1b[31mb\u202e", b"x", 422),
        ],
    )
    def test_a_field_of_the_wrong_type_is_refused_in_a_line(
        self, client: TestClient, photo: bytes, name: str, value: bytes, status: int
    ) -> None:
        raw = name.encode("latin-1") if status == 400 and name != "remove" else name.encode()
        body = form([(b'name="photo"; filename="p"', photo), (b'name="' + raw + b'"', value)])
        answer = client.post("/v1/reconstruct", content=body, headers=FORM)
        assert answer.status_code == status, answer.text
        message = answer.json()["message"]
        assert message.isprintable()
        assert len(message) < 300

    @pytest.mark.parametrize(
        "content_type",
        [
            "multipart/form-data",
            "multipart/form-data; boundary=",
            'multipart/form-data; boundary="',
            "multipart/form-data; boundary=" + "x" * 71,
            "multipart/form-data; boundary=x; boundary=y",
            "multipart/form-data; boundary=x; a=" + '";' * 5000,
            "multipart/form-data; boundary*=nonsense''%ff",
            "multipart/form-data; boundary=\xff",
        ],
    )
    def test_a_boundary_that_is_none_is_refused(self, photo: bytes, content_type: str) -> None:
        with pytest.raises(Problem) as refused:
            read_form(form([(b'name="photo"; filename="p"', photo)]), content_type)
        assert refused.value.status == 400

    @pytest.mark.parametrize(
        "body",
        [
            b"--x\r\n" * 100,
            b"--x\r\n\r\n\r\n--x--",
            b"--xy\r\nContent-Disposition: form-data; name=photo; filename=p\r\n\r\na\r\n--x--",
            b"--x\r\n" + b"A: b\r\n" * 10_000 + b"\r\n\r\n--x--",
            b"--x\r\nContent-Disposition: form-data; name=photo; name=mask; filename=p\r\n\r\na\r\n--x--",
            b"--x\r\nContent-Disposition: form-data; name=photo\r\nContent-Disposition: form-data; "
            b"name=mask\r\n\r\na\r\n--x--",
            b"--x\r\nContent-Disposition: attachment; name=photo; filename=p\r\n\r\na\r\n--x--",
            b"--x\r\nContent-Disposition: form-data; name=\xff\r\n\r\na\r\n--x--",
            b"hello",
        ],
    )
    def test_a_form_that_is_none_is_refused(self, body: bytes) -> None:
        with pytest.raises(Problem) as refused:
            read_form(body, "multipart/form-data; boundary=x")
        assert refused.value.status == 400

    def test_a_form_is_read_without_a_copy_and_in_two_looks_at_a_byte(self, photo: bytes) -> None:
        class Counted(bytearray):
            looked_at = 0

            def find(self, what: Any, start: int = 0, end: int | None = None) -> int:  # type: ignore[override]
                end = len(self) if end is None else end
                found = super().find(what, start, end)
                Counted.looked_at += (end if found < 0 else found) - start
                return found

        steps = []
        for times in (1, 2):
            Counted.looked_at = 0
            like = (b"\r\n--" + b"x" * 69) * 1000 * times
            body = Counted(form([(b'name="photo"; filename="p"', like)], b"x" * 70))
            read = read_form(body, "multipart/form-data; boundary=" + "x" * 70)
            assert bytes(read.photo) == like
            steps.append(Counted.looked_at)
            read.photo.release()
        assert steps[1] < 2.5 * steps[0]
        assert steps[1] < 2.5 * len(like)


FORM = {"content-type": "multipart/form-data; boundary=x"}


def form(parts: list[tuple[bytes, bytes]], boundary: bytes = b"x") -> bytes:
    made = [
        b"--" + boundary + b"\r\nContent-Disposition: form-data; " + head + b"\r\n\r\n" + data + b"\r\n"
        for head, data in parts
    ]
    return b"".join(made) + b"--" + boundary + b"--\r\n"


class TestMessages:
    """Between the server and a worker that a photo may have taken over."""

    def test_they_come_as_they_went(self) -> None:
        file = BytesIO()
        write_message(file, {"a": "\ud800", "b": [1]}, b"one", memoryview(b"two!"))
        file.seek(0)
        assert read_message(file, 7) == ({"a": "\ud800", "b": [1]}, [b"one", b"two!"])

    @pytest.mark.parametrize(
        "said",
        [
            b"",
            b"\x00",
            b"\xff\xff\xff\xff",
            b"\x00\x00\x00\x02{",
            b"\x00\x00\x00\x02{}",
            b"\x00\x00\x00\x02[]",
            b"\x00\x00\x00\x1c" + b'{"head":{},"lengths":[1000]}',
            b"\x00\x00\x00\x1a" + b'{"head":{},"lengths":[-5]}',
            b"\x00\x00\x00\x1a" + b'{"head":[1],"lengths":[1]}',
            (200_000).to_bytes(4, "big") + b"[" * 200_000,
        ],
    )
    def test_what_is_no_message_is_refused(self, said: bytes) -> None:
        with pytest.raises(MessageError):
            read_message(BytesIO(said), 100)


def test_a_worker_knows_no_token_and_imports_nothing_from_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEMEND_TOKEN", "a secret")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", "/somewhere", ""]))
    environment = _environment(1)
    assert "FACEMEND_TOKEN" not in environment
    assert environment["PYTHONPATH"] == "/somewhere"
    assert environment["PYTHONSAFEPATH"] == "1"
    monkeypatch.setenv("PYTHONPATH", "")
    assert "PYTHONPATH" not in _environment(None)


def test_an_answer_that_would_be_too_large_is_refused(stand_in_model: Path) -> None:
    from facemend.server.workers import open_reconstruction, respond, setup_message

    limits = replace(LIMITS, response_bytes=20_000)
    _, work = open_reconstruction(setup_message("reconstruct", limits, stand_in_model, "cpu", 1), limits)
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    file = BytesIO()
    PillowImage.fromarray(noise).save(file, "PNG")
    said, body = respond(work, {"options": {"answer": "json", "before": True}}, [file.getvalue()])
    assert (said["problem"]["status"], body) == (413, b"")
    said, body = respond(work, {"options": {}}, [file.getvalue()])
    assert body == file.getvalue()
    assert json.dumps(asdict(limits)), "the limits travel as JSON"


@pytest.mark.parametrize("name", [*padded_photos(), *slow_photos()])
def test_a_photo_made_to_be_slow_is_refused_by_its_head(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("it was decoded")

    data = (padded_photos() | slow_photos())[name]
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", never)
    with pytest.raises((Problem, PictureError)) as refused:
        check_head(data, "the photo", Limits())
    assert str(refused.value).startswith("the photo ")
    assert str(refused.value).count("\n") == 0


def test_photos_with_the_padding_that_programs_leave_are_taken() -> None:
    packet = b"<x:xmpmeta>" + (b" " * 99 + b"\n") * 100 + b"<?xpacket end='w'?>"
    file = BytesIO()
    PillowImage.new("RGB", (64, 64)).save(file, "JPEG", xmp=packet)
    assert check_head(file.getvalue(), "the photo", Limits()) == (64, 64)


class TestWhatEachLineCosts:
    """Kind 3 in HTTP itself: a parser needs time for each line and chunk, however small."""

    def test_tiny_chunks_are_counted(self) -> None:
        connection = BoundedConnection(h11.SERVER)
        connection.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        connection.receive_data(b"1\r\nx\r\n" * 40_000)
        events: list[object] = []
        with pytest.raises(h11.RemoteProtocolError, match="chunks"):
            events.extend(iter(connection.next_event, h11.NEED_DATA))
        assert 90 < len(events) < 110

    def test_chunks_of_a_usual_size_pass(self) -> None:
        connection = BoundedConnection(h11.SERVER)
        connection.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        connection.receive_data((b"80\r\n" + b"x" * 128 + b"\r\n") * 1000 + b"0\r\n\r\n")
        while not isinstance(connection.next_event(), h11.EndOfMessage):
            pass

    @pytest.mark.parametrize(("lines", "passes"), [(90, True), (110, False)])
    def test_headers_are_counted(self, lines: int, passes: bool) -> None:
        connection = BoundedConnection(h11.SERVER)
        connection.receive_data(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"b:\r\n" * lines + b"\r\n")
        with nullcontext() if passes else pytest.raises(h11.RemoteProtocolError, match="headers"):
            assert isinstance(connection.next_event(), h11.Request)

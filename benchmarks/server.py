"""Load the server: many clients, good and bad; its memory; its throughput against the library alone.

    python benchmarks/server.py [--part throughput|load] [--requests 5000] [--photos 40]

Throughput: the same 1-megapixel photos through the library (file in, file out) and through the server, with
one thread each, the server on the first core and its client on the second. Load: 5,000 requests, of which
half are good, and the others too large, broken, slow, or broken off, eight at a time. Writes
benchmarks/results/server.json.
"""

import argparse
import io
import json
import os
import random
import socket
import statistics
import sys
import threading
import time
import urllib.request
import zlib
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import psutil
from PIL import Image as PillowImage

sys.path.insert(0, str(Path(__file__).parents[1]))

from facemend.io import encode_photo
from facemend.occlusion import occlude
from facemend.reconstruction.demo import read_portraits
from facemend.reconstruction.reconstructor import Reconstructor
from tests.served import started

_RESULT = Path(__file__).parent / "results" / "server.json"
_CLIENTS = 8
_WARM = 500
_TOO_LATE = -2
_KINDS = {"good": 46, "mask": 4, "plain": 6, "huge": 8, "broken": 22, "slow": 4, "aborted": 10}
"""Requests of the load, in percent."""
_EXPECTED = {
    "good": {200, 429},
    "mask": {200, 422, 429},
    "plain": {200, 429},
    "huge": {413, 429},
    "broken": {422, 429},
    "slow": {200, 429},
    "aborted": {0},
}


def main() -> None:
    """Measures, prints and writes all of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--part", choices=("throughput", "load"), help="only this (default: both)")
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--minutes", type=float, default=60, help="send no more after that")
    parser.add_argument("--photos", type=int, default=40)
    arguments = parser.parse_args()
    result = json.loads(_RESULT.read_text()) if _RESULT.exists() else {}
    if arguments.part != "load":
        result["throughput"] = measure_throughput(arguments.photos)
    if arguments.part != "throughput":
        result["load"] = load(arguments.requests, 60 * arguments.minutes)
    print(json.dumps(result, indent=2))
    _RESULT.write_text(json.dumps(result, indent=2) + "\n")


def photo_of(side_px: int) -> bytes:
    """A square photo of a masked face, as JPEG."""
    portrait = read_portraits()[1]
    occluded = occlude(portrait.photo, portrait.landmarks_px, "nose_mask", 2).image
    file = io.BytesIO()
    PillowImage.fromarray(occluded).resize((side_px, side_px)).save(file, "JPEG", quality=92)
    return file.getvalue()


def measure_throughput(count: int) -> dict[str, object]:
    """Photos a second of the library and of the server, taking turns, and the time of a request."""
    photo = photo_of(1000)
    cores = sorted(os.sched_getaffinity(0))
    with started("--threads", "1") as (process, url):
        for each in _family(process.pid):
            for thread in each.threads():
                os.sched_setaffinity(thread.id, cores[:1])
        reconstructor = Reconstructor(threads=1)
        _library(reconstructor, photo)
        rounds: dict[str, list[float]] = {"library": [], "server": []}
        latencies: list[float] = []
        for _ in range(4):
            os.sched_setaffinity(0, cores[:1])
            rounds["library"].append(_rate(lambda: _library(reconstructor, photo), count // 4))
            os.sched_setaffinity(0, cores[-1:])
            rounds["server"].append(
                _rate(lambda: latencies.append(_timed(url, photo + os.urandom(8))), count // 4)
            )
        os.sched_setaffinity(0, cores)
    per_s = {name: statistics.median(rates) for name, rates in rounds.items()}
    return {
        "photos_a_second": {name: round(rate, 3) for name, rate in per_s.items()},
        "ratio": round(per_s["server"] / per_s["library"], 3),
        "p50_s": round(statistics.median(latencies), 3),
        "p99_s": round(statistics.quantiles(latencies, n=100)[98], 3),
        "photos": count,
    }


def _library(reconstructor: Reconstructor, photo: bytes) -> None:
    result = reconstructor(io.BytesIO(photo))
    assert result.changed
    encode_photo(result.photo, note=result.provenance.to_note())


def _rate(work: Callable[[], None], count: int) -> float:
    began = time.perf_counter()
    for _ in range(count):
        work()
    return count / (time.perf_counter() - began)


def _timed(url: str, photo: bytes) -> float:
    began = time.perf_counter()
    assert _post(url, form_of(photo)) == 200
    return time.perf_counter() - began


def load(count: int, most_s: float) -> dict[str, object]:
    """A mix of good and bad requests: what came of each kind, and what the server weighs after them."""
    rng = random.Random(0)
    kinds = rng.choices(list(_KINDS), list(_KINDS.values()), k=count)
    sender = Sender()
    began = time.perf_counter()
    sender.until_s = began + most_s
    with started("--threads", "1", "--timeout", "30") as (process, url):
        sender.url = url
        answers: Counter[tuple[str, int]] = Counter()
        with ThreadPoolExecutor(_CLIENTS) as pool:
            answers.update(zip(kinds[:_WARM], pool.map(sender.send, kinds[:_WARM]), strict=True))
            warm_mb = _weight_mb(process.pid)
            answers.update(zip(kinds[_WARM:], pool.map(sender.send, kinds[_WARM:]), strict=True))
        end_mb = _weight_mb(process.pid)
        stuck = _stuck(url)
        assert process.poll() is None, "the server ended"
    sent = sum(n for (_, status), n in answers.items() if status != _TOO_LATE)
    answers = Counter({key: n for key, n in answers.items() if key[1] != _TOO_LATE})
    unexpected = {
        f"{kind} {status}": n for (kind, status), n in answers.items() if status not in _EXPECTED[kind]
    }
    return {
        "requests": sent,
        "seconds": round(time.perf_counter() - began, 1),
        "answers": {f"{kind} {status}": n for (kind, status), n in sorted(answers.items())},
        "unexpected": unexpected,
        "stuck": stuck,
        "p50_good_s": round(statistics.median(sender.good_s), 3),
        "p99_good_s": round(statistics.quantiles(sender.good_s, n=100)[98], 3),
        "memory_mb": {
            "after_500": round(warm_mb, 1) if sent > _WARM else None,
            "at_the_end": round(end_mb, 1),
        },
    }


def _family(pid: int) -> list[psutil.Process]:
    """The server's process and its workers'."""
    server = psutil.Process(pid)
    return [server, *server.children(recursive=True)]


def _weight_mb(pid: int) -> float:
    return float(sum(each.memory_info().rss for each in _family(pid)) / 1e6)


def _stuck(url: str) -> float:
    """What is still in the server once all clients are done and gone."""
    for _ in range(100):
        with urllib.request.urlopen(f"{url}metrics", timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        names = ("facemend_waiting ", "facemend_running ", "facemend_held_bytes ")
        left = sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(names))
        if not left:
            break
        time.sleep(0.1)
    return left


class Sender:
    """Clients of every kind."""

    def __init__(self) -> None:
        self.url = ""
        self.until_s = float("inf")
        self.good_s: list[float] = []
        good, small = photo_of(256), photo_of(192)
        white = io.BytesIO()
        PillowImage.new("L", (256, 256)).save(white, "PNG")
        huge = io.BytesIO()
        PillowImage.new("L", (9_000, 9_000)).save(huge, "PNG")
        plain = io.BytesIO()
        PillowImage.new("RGB", (400, 300), "gray").save(plain, "WEBP")
        self._forms = {
            "good": [form_of(good, aligned=b"true"), form_of(small, answer=b"json")],
            "mask": [form_of(good, white.getvalue())],
            "plain": [form_of(plain.getvalue())],
            "huge": [form_of(huge.getvalue()), form_of(bytes(26_000_000))],
            "broken": [form_of(good[: len(good) // 3]), form_of(b"<svg/>"), form_of(good, remove=b"x")],
        }
        self._turn = Counter[str]()
        self._lock = threading.Lock()

    def send(self, kind: str) -> int:
        """Sends one request of a kind.

        Returns:
            Its status; 0 if it was broken off, -1 if there was no answer, -2 if it was too late to send it.
        """
        if time.perf_counter() > self.until_s:
            return _TOO_LATE
        with self._lock:
            turn = self._turn[kind]
            self._turn[kind] += 1
        if kind in ("slow", "aborted"):
            return _dribble(self.url, _unique(self._forms["good"][0]), finish=kind == "slow")
        forms = self._forms[kind]
        began = time.perf_counter()
        try:
            status = _post(self.url, _unique(forms[turn % len(forms)]))
        except (OSError, HTTPException):
            return -1
        if kind == "good" and status == 200:
            self.good_s.append(time.perf_counter() - began)
        return status


def form_of(photo: bytes, mask: bytes | None = None, **fields: bytes) -> bytes:
    """A form as multipart/form-data, with the boundary `x-x-x`."""
    parts = [(b'name="photo"; filename="p"', photo)]
    if mask is not None:
        parts.append((b'name="mask"; filename="m"', mask))
    parts += [(f'name="{name}"'.encode(), value) for name, value in fields.items()]
    body = b"".join(
        b"--x-x-x\r\nContent-Disposition: form-data; " + head + b"\r\n\r\n" + data + b"\r\n"
        for head, data in parts
    )
    return body + b"--x-x-x--\r\n"


def unique(photo: bytes) -> bytes:
    """The same photo as another file: with a comment. Bytes behind its end would be refused."""
    mark = os.urandom(4).hex().encode()
    if photo.startswith(b"\xff\xd8"):
        return photo[:2] + b"\xff\xfe" + (2 + len(mark)).to_bytes(2, "big") + mark + photo[2:]
    if photo.startswith(b"\x89PNG"):
        chunk = b"tEXtComment\0" + mark
        whole = (len(chunk) - 4).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
        return photo[:33] + whole + photo[33:]
    return photo + mark


def _unique(form: bytes) -> bytes:
    """The same form with another file: the same from several clients is worked on only once."""
    start, end = form.index(b"\r\n\r\n") + 4, form.index(b"\r\n--x-x-x", 10)
    return form[:start] + unique(form[start:end]) + form[end:]


def _post(url: str, form: bytes) -> int:
    connection = HTTPConnection(*_place_of(url), timeout=120)
    try:
        headers = {"Content-Type": "multipart/form-data; boundary=x-x-x"}
        connection.request("POST", "/v1/reconstruct", form, headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def _dribble(url: str, form: bytes, *, finish: bool) -> int:
    """Sends a form in small pieces over a second; all of it, or half and goes away."""
    head = (
        "POST /v1/reconstruct HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
        f"Content-Type: multipart/form-data; boundary=x-x-x\r\nContent-Length: {len(form)}\r\n\r\n"
    )
    step = len(form) // 10 + 1
    pieces = [form[at : at + step] for at in range(0, len(form), step)]
    try:
        with socket.create_connection(_place_of(url), timeout=120) as connection:
            connection.sendall(head.encode())
            for piece in pieces if finish else pieces[:5]:
                connection.sendall(piece)
                time.sleep(0.1)
            if not finish:
                return 0
            return int(connection.makefile("rb").readline().split()[1])
    except (OSError, IndexError):
        return -1


def _place_of(url: str) -> tuple[str, int]:
    host, _, port = url.removeprefix("http://").rstrip("/").rpartition(":")
    return host, int(port)


if __name__ == "__main__":
    main()

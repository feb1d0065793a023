"""Attack the server with twenty clients, and measure what others get meanwhile.

    python benchmarks/server_attacks.py [--attack padding|bodies|slow|same|worst] [--seconds 20]

`padding`: small photos whose metadata once took seconds to search. `bodies`: large and slow bodies where
none is taken, and without the token. `slow`: photos of millions of segments, fill bytes, scans or chunks.
Every request of these is a different file. `same`: one photo that is good, from every client.

One client asks `/healthz` all the time, another has one good photo after the other reconstructed, first in
quiet, then under attack. `worst` is not an attack: the largest requests that are allowed, one after the
other, and what each takes. Writes benchmarks/results/server_attacks.json.
"""

import argparse
import functools
import io
import itertools
import json
import multiprocessing
import random
import socket
import statistics
import sys
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image as PillowImage

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.server import form_of, photo_of, unique
from tests.served import started

_RESULT = Path(__file__).parent / "results" / "server_attacks.json"
_TOKEN = "a long random token"
_TYPE = {"Content-Type": "multipart/form-data; boundary=x-x-x"}
_SIDE_PX = 512


def main() -> None:
    """Measures, prints and writes all of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--attack", choices=(*ATTACKS, "worst"), help="only this (default: all)")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--clients", type=int, default=20)
    arguments = parser.parse_args()
    result = json.loads(_RESULT.read_text()) if _RESULT.exists() else {}
    for name in [arguments.attack] if arguments.attack else (*ATTACKS, "worst"):
        if name == "worst":
            result[name] = measure_worst()
        else:
            result[name] = measure(name, arguments.seconds, arguments.clients)
        print(json.dumps({name: result[name]}, indent=2), flush=True)
    _RESULT.write_text(json.dumps(result, indent=2) + "\n")


def measure(attack: str, seconds: float, clients: int) -> dict[str, object]:
    """What `/healthz` and a good photo take, in quiet and under attack, and what the server weighs."""
    with started(environment={"FACEMEND_TOKEN": _TOKEN}) as (process, url):
        place = place_of(url)
        _good_photos(place, 2)
        quiet = _observe(process.pid, place, seconds / 2)
        answers: Any = multiprocessing.get_context("spawn").Queue()
        attackers = multiprocessing.get_context("spawn").Process(
            target=_attack, args=(attack, place, seconds + 3, clients, answers)
        )
        attackers.start()
        answers.get()  # the files are made
        time.sleep(1)
        under = _observe(process.pid, place, seconds)
        counted = answers.get()
        attackers.join()
        lost = _metric(place, "facemend_workers_lost")
        assert process.poll() is None, "the server ended"
    return {
        "clients": clients,
        "seconds": seconds,
        "health_s": {"quiet": quiet["health_s"], "attack": under["health_s"]},
        "good_s": {"quiet": quiet["good_s"], "attack": under["good_s"]},
        "good_refused": under["refused"],
        "slowest_good_by_quiet_median": round(under["good_s"]["max"] / quiet["good_s"]["median"], 2)
        if under["good_s"]
        else None,
        "peak_mb": {"quiet": quiet["peak_mb"], "attack": under["peak_mb"]},
        "workers_lost": lost,
        "attackers_got": counted,
    }


def measure_worst() -> dict[str, object]:
    """What the largest requests take: status, seconds, the worker's processor time, and the weights."""
    measured: dict[str, object] = {}
    for name, form in worst_forms().items():
        with started() as (process, url):
            weights: list[tuple[float, float, float]] = []
            done = threading.Event()
            watching = threading.Thread(target=_watch, args=(process.pid, weights, done))
            watching.start()
            place = place_of(url)
            took_s, status = _timed(
                functools.partial(_request, place, "POST", "/v1/reconstruct", form, _TYPE)
            )
            done.set()
            watching.join()
        server_mb, worker_mb, cpu_s = map(max, zip(*weights, strict=True))
        measured[name] = {
            "upload_mb": round(len(form) / 1e6, 1),
            "status": status,
            "seconds": round(took_s, 1),
            "worker_cpu_s": round(cpu_s - weights[0][2], 1),
            "server_peak_mb": round(server_mb),
            "worker_peak_mb": round(worker_mb),
        }
        print(name, measured[name], flush=True)
    return measured


def _watch(pid: int, weights: list[tuple[float, float, float]], done: threading.Event) -> None:
    """Notes what the server itself and its largest worker weigh, and that one's time, until it is done."""
    server = psutil.Process(pid)
    while not done.wait(0.02):
        own = server.memory_info().rss / 1e6
        workers = [(_own_mb(worker), _own_cpu_s(worker)) for worker in server.children()]
        weights.append((own, *max(workers, default=(0.0, 0.0))))


def _own_mb(process: psutil.Process) -> float:
    try:
        return float(process.memory_info().rss / 1e6)
    except psutil.NoSuchProcess:
        return 0.0


def _own_cpu_s(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


def _observe(pid: int, place: tuple[str, int], seconds: float) -> dict[str, Any]:
    """Times of `/healthz` and of good photos, and the largest weight of all the server's processes."""
    until = time.perf_counter() + seconds
    health: list[float] = []
    weights: list[float] = []

    def ask() -> None:
        while time.perf_counter() < until:
            health.append(_timed(lambda: _get(place, "/healthz"))[0])
            weights.append(_weight_mb(pid))
            time.sleep(0.05)

    asking = threading.Thread(target=ask)
    asking.start()
    good = list(itertools.takewhile(lambda _: time.perf_counter() < until, _good_photos(place)))
    asking.join()
    return {
        "health_s": _summary(health),
        "good_s": _summary([took for took, status in good if status == 200]),
        "refused": dict(Counter(status for _, status in good if status != 200)),
        "peak_mb": round(max(weights)),
    }


def _good_photos(place: tuple[str, int], count: int | None = None) -> Iterator[tuple[float, int]]:
    photo = photo_of(_SIDE_PX)
    made = (
        _timed(lambda: _post(place, unique(photo), token=True))
        for _ in (itertools.count() if count is None else range(count))
    )
    return made if count is None else iter(list(made))


def _summary(times: list[float]) -> dict[str, float]:
    if not times:
        return {}
    return {
        "median": round(statistics.median(times), 3),
        "max": round(max(times), 3),
        "count": len(times),
    }


def _weight_mb(pid: int) -> float:
    server = psutil.Process(pid)
    return sum(map(_own_mb, (server, *server.children(recursive=True))))


def _timed(ask: Callable[[], int]) -> tuple[float, int]:
    began = time.perf_counter()
    try:
        status = ask()
    except (OSError, HTTPException):
        status = -1
    return time.perf_counter() - began, status


def _get(place: tuple[str, int], path: str, body: bytes | None = None) -> int:
    return _request(place, "GET", path, body, {})


def _post(place: tuple[str, int], photo: bytes, *, token: bool = False) -> int:
    headers = _TYPE | ({"Authorization": f"Bearer {_TOKEN}"} if token else {})
    return _request(place, "POST", "/v1/reconstruct", form_of(photo), headers)


def _request(
    place: tuple[str, int], method: str, path: str, body: bytes | None, headers: dict[str, str]
) -> int:
    connection = HTTPConnection(*place, timeout=120)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def _metric(place: tuple[str, int], name: str) -> float:
    connection = HTTPConnection(*place, timeout=120)
    connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {_TOKEN}"})
    lines = connection.getresponse().read().decode().splitlines()
    connection.close()
    return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} "))


def _attack(name: str, place: tuple[str, int], seconds: float, clients: int, answers: Any) -> None:
    """Sends what the attack makes from so many clients at once, in a process of its own."""
    requests = ATTACKS[name](place)
    answers.put(None)
    until = time.perf_counter() + seconds
    counted: Counter[str] = Counter()

    def send(client: int) -> None:
        for turn in itertools.count(client):
            if time.perf_counter() > until:
                return
            label, ask = requests[turn % len(requests)]
            counted[f"{label} {_timed(ask)[1]}"] += 1

    threads = [threading.Thread(target=send, args=(client,)) for client in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answers.put(dict(sorted(counted.items())))


Attack = list[tuple[str, Callable[[], int]]]


def _photos(place: tuple[str, int], photos: dict[str, bytes], varied: bool = True) -> Attack:
    def ask(photo: bytes) -> Callable[[], int]:
        return lambda: _post(place, unique(photo) if varied else photo, token=True)

    return [(name, ask(photo)) for name, photo in photos.items()]


def padding(place: tuple[str, int]) -> Attack:
    """Photos whose XMP is padding, or a tag that does not end."""
    return _photos(place, padded_photos())


def slow(place: tuple[str, int]) -> Attack:
    """Photos that are made of very much that is nothing."""
    return _photos(place, slow_photos())


def same(place: tuple[str, int]) -> Attack:
    """A good photo, the same from all."""
    return _photos(place, {"good": photo_of(_SIDE_PX)}, varied=False)


def bodies(place: tuple[str, int]) -> Attack:
    """Bodies that no route takes, bodies without the token, and slow ones."""
    large = bytes(20_000_000)
    return [
        ("GET with a body", lambda: _get(place, "/healthz", large)),
        ("POST to nothing", lambda: _request(place, "POST", "/nothing", large, {})),
        ("no token", lambda: _post(place, large)),
        ("slow, no token", lambda: _trickle(place, "/v1/reconstruct", {})),
        ("slow, POST /", lambda: _trickle(place, "/", {})),
        ("slow, token", lambda: _trickle(place, "/v1/reconstruct", {"Authorization": f"Bearer {_TOKEN}"})),
    ]


ATTACKS: dict[str, Callable[[tuple[str, int]], Attack]] = {
    "padding": padding,
    "bodies": bodies,
    "slow": slow,
    "same": same,
}


def _trickle(place: tuple[str, int], path: str, headers: dict[str, str]) -> int:
    """Sends 20 MB of 25 at once and then a byte a second, until the server has enough of it."""
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Length: 25000000"]
    lines += [f"{name}: {value}" for name, value in (_TYPE | headers).items()]
    with socket.create_connection(place, timeout=1) as connection:
        connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + bytes(20_000_000))
        for _ in range(40):
            try:
                return int(connection.recv(4096).split()[1])
            except TimeoutError:
                connection.sendall(b"x")
            except IndexError:
                return 0
    return -2


def padded_photos() -> dict[str, bytes]:
    """Small photos of a masked face with XMP that a careless search goes through again and again."""
    photo = photo_of(256)
    head = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    end = b"</rdf:RDF></x:xmpmeta>"
    quoted = b'<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:CreatorTool="x"'
    packets = {
        "padding": head + end + b" " * 65_000,
        "padding of lines": head + end + b"\n" * 65_000,
        "space in a tag": head + quoted + b" " * 64_000 + b"/>" + end,
        "attributes": head + quoted + b" \n" * 32_000 + b"/>" + end,
    }
    return {name: _with_segment(photo, 0xE1, b"http://ns.adobe.com/xap/1.0/\0" + packet[:65_000])
            for name, packet in packets.items()}  # fmt: skip


def slow_photos() -> dict[str, bytes]:
    """Files of millions of empty pieces."""
    photo = photo_of(256)
    progressive = io.BytesIO()
    PillowImage.open(io.BytesIO(photo)).save(progressive, "JPEG", progressive=True)
    scans = progressive.getvalue()
    last = scans.rindex(b"\xff\xda")
    png = io.BytesIO()
    PillowImage.new("RGB", (64, 64)).save(png, "PNG")
    chunk = b"\0\0\0\0teSt" + zlib.crc32(b"teSt").to_bytes(4, "big")
    entries = 60_000
    tiff = (
        b"II*\0\x08\0\0\0" + entries.to_bytes(2, "little") + bytes(random.Random(0).randbytes(12 * entries))
    )
    return {
        "segments": photo[:2] + b"\xff\xfe\0\2" * 1_000_000 + photo[2:],
        "fill": photo[:2] + b"\xff" * 4_000_000 + photo[2:],
        "scans": scans[:-2] + scans[last:-2] * 400 + scans[-2:],
        "chunks": png.getvalue()[:33] + chunk * 300_000 + png.getvalue()[33:],
        "entries": tiff,
    }


def worst_forms() -> dict[str, bytes]:
    """The largest requests that a server takes by default."""
    side_px = 7_071
    rng = np.random.default_rng(0)
    plain = PillowImage.new("RGB", (side_px, side_px), "gray")
    noise = PillowImage.fromarray(rng.integers(96, 160, (side_px, side_px, 3), dtype=np.uint8))
    faces = plain.copy()
    with PillowImage.open(io.BytesIO(photo_of(280))) as face:
        for x, y in itertools.product(range(0, side_px - 280, 280), repeat=2):
            faces.paste(face, (x, y))
    group = plain.copy()
    with PillowImage.open(io.BytesIO(photo_of(1_700))) as face:
        for x, y in itertools.product(range(0, side_px - 1_700, 1_700), repeat=2):
            group.paste(face, (x, y))
    fine = _jpeg(noise, 55)
    return {
        "plain": form_of(_jpeg(plain, 90)),
        "16 faces": form_of(_jpeg(group, 90)),
        "16 faces, JSON with before": form_of(_jpeg(group, 90), answer=b"json", before=b"true"),
        "625 faces": form_of(_jpeg(faces, 90)),
        "noise as PNG": form_of(fine, format=b"png", strip=b"true"),
        "noise, JSON with before": form_of(fine, answer=b"json", before=b"true"),
        "noise as AVIF": form_of(fine, format=b"avif", strip=b"true"),
        "noise as WebP": form_of(fine, format=b"webp", strip=b"true"),
        "noise, progressive": form_of(_jpeg(noise, 30, progressive=True)),
    }


def _jpeg(picture: PillowImage.Image, quality: int, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality, **options)
    return file.getvalue()


def _with_segment(photo: bytes, marker: int, data: bytes) -> bytes:
    return photo[:2] + bytes((0xFF, marker)) + (len(data) + 2).to_bytes(2, "big") + data + photo[2:]


def place_of(url: str) -> tuple[str, int]:
    """The host and the port of a server."""
    host, _, port = url.removeprefix("http://").rstrip("/").rpartition(":")
    return host, int(port)


if __name__ == "__main__":
    main()

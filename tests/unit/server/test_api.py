"""The application, called in this process without a port."""

import asyncio
import base64
import hashlib
import io
import logging
import os
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage

pytest.importorskip("fastapi", reason="needs the serve extra: pip install 'facemend[serve]'")

from starlette.testclient import TestClient

from facemend.detection import find_faces
from facemend.errors import OutputError
from facemend.images import Image
from facemend.reconstruction.demo import read_portraits
from facemend.reconstruction.provenance import read_provenance
from facemend.reconstruction.reconstructor import Reconstructor
from facemend.server.app import Server, read_page
from facemend.server.schemas import problem_of
from facemend.server.service import check_head
from facemend.server.settings import Limits, Settings
from tests import hostile_worker
from tests.stand_in import ACCESSORY, COVER

LIMITS = Limits(upload_bytes=3_000_000, pixels=2_000_000, side_px=4_000)
SETTINGS = Settings(hosts=frozenset({"testserver"}), threads=1, limits=LIMITS)


@pytest.fixture(scope="module")
def reconstructor(stand_in_model: Path) -> Reconstructor:
    return Reconstructor(stand_in_model, threads=1)


@pytest.fixture(scope="module")
def settings(stand_in_model: Path) -> Settings:
    return replace(SETTINGS, model=stand_in_model)


@pytest.fixture(scope="module")
def client(settings: Settings) -> Iterator[TestClient]:
    with TestClient(Server(settings).app, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def hostile_workers(monkeypatch: pytest.MonkeyPatch, repo_root: Path) -> None:
    """Workers that do what a photo says: see tests/hostile_worker.py."""
    monkeypatch.setattr("facemend.server.workers._PROGRAM", hostile_worker.PROGRAM)
    monkeypatch.setenv("PYTHONPATH", f"{repo_root}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")


@pytest.fixture(scope="module")
def covered() -> Image:
    photo = next(each.photo for each in read_portraits() if each.name == "Grace Hopper").copy()
    photo[305:370, 205:305] = COVER
    return photo


@pytest.fixture(scope="module")
def png(covered: Image) -> bytes:
    return encoded(covered)


def encoded(image: Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    PillowImage.fromarray(image).save(file, kind, **options)
    return file.getvalue()


def decoded(data: bytes | str) -> Image:
    with PillowImage.open(io.BytesIO(base64.b64decode(data) if isinstance(data, str) else data)) as picture:
        return np.asarray(picture, dtype=np.uint8)


def post(client: TestClient, photo: bytes, mask: bytes | None = None, **fields: str) -> Any:
    files = {"photo": ("../../etc/passwd", photo)} | ({"mask": ("mask", mask)} if mask else {})
    return client.post("/v1/reconstruct", files=files, data=fields)


def test_a_picture_comes_back_as_the_library_makes_it(
    client: TestClient, reconstructor: Reconstructor, png: bytes, tmp_path: Path
) -> None:
    answer = post(client, png)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["facemend-outcome"] == "reconstructed"
    assert answer.headers["facemend-reconstructed"] == "1"
    path = tmp_path / "library.png"
    reconstructor(io.BytesIO(png)).save(path)
    assert answer.content == path.read_bytes()


def test_json_holds_the_picture_the_faces_and_what_was_found(
    client: TestClient, png: bytes, covered: Image, tmp_path: Path
) -> None:
    answer = post(client, png, answer="json", before="true").json()
    picture = base64.b64decode(answer["picture"]["base64"])
    assert picture == post(client, png).content
    assert np.array_equal(decoded(answer["before"]["base64"]), covered)
    assert (answer["height_px"], answer["width_px"]) == covered.shape[:2]
    (face,) = answer["faces"]
    (found,) = find_faces(covered)
    x, y, width, height = face["box_px"]
    assert (found.landmarks_px > (x, y)).all()
    assert (found.landmarks_px < (x + width, y + height)).all()
    assert 1 < height / width < 1.6
    assert x + width < covered.shape[1]
    x1, y1, width, height = face["area_px"]
    x2, y2 = x1 + width, y1 + height
    changed = decoded(face["changed"]) > 0
    cover = decoded(face["occlusions"]["covers"])
    assert changed.shape == cover.shape == (y2 - y1, x2 - x1)
    after = decoded(picture)
    differs = (after != covered).any(axis=2)
    assert differs.sum() > 1400
    assert not differs[y1:y2, x1:x2][~changed].any()
    assert differs.sum() == differs[y1:y2, x1:x2].sum()
    (tmp_path / "answer.png").write_bytes(picture)
    made = read_provenance(tmp_path / "answer.png")
    assert made is not None
    assert made.input_sha256 == hashlib.sha256(png).hexdigest() == answer["provenance"]["input_sha256"]


def test_a_mask_marks_exactly_what_is_reconstructed(client: TestClient, png: bytes, covered: Image) -> None:
    mask = np.zeros(covered.shape[:2], dtype=bool)
    mask[240:260, 230:270] = True
    answer = post(client, png, encoded(mask.astype(np.uint8) * 255))
    assert np.array_equal((decoded(answer.content) != covered).any(axis=2), mask)
    wrong = post(client, png, encoded(mask[: len(mask) // 2].astype(np.uint8) * 255))
    assert (wrong.status_code, wrong.json()["code"]) == (422, "bad_request")
    nowhere = post(
        client, encoded(np.zeros((300, 300, 3), np.uint8)), encoded(np.full((300, 300), 255, np.uint8))
    )
    assert (nowhere.status_code, nowhere.json()["code"]) == (422, "no_face")
    assert nowhere.json()["message"].endswith("say where one is with face=x,y,width,height")


def test_the_corners_of_a_face_are_where_a_mask_may_reach(
    client: TestClient, png: bytes, covered: Image
) -> None:
    (face,) = post(client, png, answer="json").json()["faces"]
    corners = np.array(face["reach_px"])
    middle = corners.mean(axis=0)
    height_px, width_px = covered.shape[:2]
    beyond = middle + 1.08 * (corners - middle)
    inside = ((beyond >= 0) & (beyond < (width_px - 1, height_px - 1))).all(axis=1)
    corner = corners[np.flatnonzero(inside)[0]]
    for share, status in ((0.97, 200), (1.08, 422)):
        x, y = np.rint(middle + share * (corner - middle)).astype(int)
        mask = np.zeros(covered.shape[:2], dtype=np.uint8)
        mask[y, x] = 255
        assert post(client, png, encoded(mask)).status_code == status


def test_only_the_faces_asked_for_are_reconstructed(client: TestClient, covered: Image) -> None:
    both = np.hstack([covered, covered[:, ::-1]])
    photo = encoded(both)
    answer = post(client, photo, answer="json", faces="2").json()
    assert [(face["chosen"], face["reconstructed"]) for face in answer["faces"]] == [
        (False, False),
        (True, True),
    ]
    differs = (decoded(answer["picture"]["base64"]) != both).any(axis=2)
    everything = (decoded(post(client, photo).content) != both).any(axis=2)
    width_px = covered.shape[1]
    left = answer["faces"][1]["box_px"][0] < width_px
    kept, mended = (
        (np.s_[:, width_px:], np.s_[:, :width_px]) if left else (np.s_[:, :width_px], np.s_[:, width_px:])
    )
    assert not differs[kept].any()
    assert everything[kept].any()
    assert np.array_equal(differs[mended], everything[mended])
    assert answer["provenance"]["options"]["only"] == "2"
    assert len(answer["provenance"]["regions"]) == 1
    missing = post(client, photo, faces="3").json()
    assert missing == {"code": "no_such_face", "message": "there is no face 3; found: 1, 2"}


def test_the_edge_and_the_size_of_faces_are_fields(client: TestClient, covered: Image) -> None:
    both = np.hstack([covered, covered[::2, ::2].repeat(2, axis=0)])  # the second face is half as wide
    photo = encoded(both)
    usual = post(client, photo, answer="json").json()
    answer = post(client, photo, answer="json", largest="1", grow="10%", feather="6").json()
    assert [(face["face"], face["chosen"]) for face in answer["faces"]] == [(1, True), (2, False)]
    first, second = answer["faces"]
    assert first["coverage"] > usual["faces"][0]["coverage"]
    assert first["doubt"].startswith("about ±")
    interval, changed = decoded(first["interval"]), decoded(first["changed"])
    assert interval.any()
    assert not interval[changed == 0].any()
    assert (second["doubt"], second["interval"], second["changed"], second["occlusions"]) == (
        None,
        None,
        None,
        {},
    )
    chosen = answer["provenance"]["options"]
    assert (chosen["largest"], chosen["grow"], chosen["feather"]) == ("1", "10%", "6")
    found = client.post("/v1/find", files={"photo": photo}, data={"faces": "2", "min_face": "1%"}).json()
    assert [(face["face"], face["chosen"]) for face in found["faces"]] == [(1, False), (2, True)]
    assert [face["box_px"] for face in found["faces"]] == [face["box_px"] for face in usual["faces"]]


def test_a_face_is_marked_by_its_box(client: TestClient) -> None:
    photo = np.full((300, 400, 3), 120, dtype=np.uint8)
    photo[130:190, 150:250] = COVER
    assert post(client, encoded(photo)).headers["facemend-outcome"] == "no_face"
    answer = post(client, encoded(photo), answer="json", face="130,60,140,180 5,5,60,80").json()
    first, second = answer["faces"]
    assert (first["marked"], first["reconstructed"]) == (True, True)
    assert (second["marked"], second["reconstructed"]) == (True, False)
    assert answer["provenance"]["options"]["faces"] == "130,60,140,180 5,5,60,80"
    differs = (decoded(answer["picture"]["base64"]) != photo).any(axis=2)
    assert differs[140:180, 160:240].all()
    assert not differs[:, :100].any()


def test_what_hides_a_face_and_stays_is_named(client: TestClient) -> None:
    photo = next(each.photo for each in read_portraits() if each.name == "Grace Hopper").copy()
    photo[255:290, 225:305] = ACCESSORY  # over the mouth
    (face,) = post(client, encoded(photo), answer="json").json()["faces"]
    assert (face["reconstructed"], face["stays"]) == (False, ["accessories"])
    (face,) = post(client, encoded(photo), answer="json", remove="all").json()["faces"]
    assert (face["reconstructed"], face["stays"]) == (True, [])


def test_an_unchanged_photo_is_its_file_byte_for_byte(client: TestClient) -> None:
    photo = encoded(np.full((200, 200, 3), 90, np.uint8), "JPEG", comment=b"mine")
    answer = post(client, photo)
    assert answer.headers["facemend-outcome"] == "no_face"
    assert answer.content == photo
    other = post(client, photo, format="png", strip="true")
    assert other.headers["content-type"] == "image/png"


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"remove": "everything"}, "remove: "),
        ({"answer": "xml"}, "answer: "),
        ({"faces": "0"}, "faces: "),
        ({"faces": "one"}, "faces: "),
        ({"faces": ""}, "faces: "),
        ({"face": "1,2,3"}, "face: send x,y,width,height"),
        ({"face": "1,2,0,4"}, "face: send x,y,width,height"),
        ({"face": "nan,2,3,4"}, "face: send x,y,width,height"),
        ({"face": "1,2,1e308,1e308"}, "face: send x,y,width,height"),
        ({"face": "900,900,9,9"}, "the face 900,900,9,9 lies outside the photo"),
        ({"format": "gif"}, "format: "),
        ({"grow": "wide"}, "grow: send pixels such as 8"),
        ({"grow": "900"}, "grow 900 cannot be; use -64 to 64"),
        ({"largest": "0"}, "largest: "),
        ({"min_face": "0"}, "a face's width is more than 0"),
        ({"aligned": "perhaps"}, "aligned: "),
        ({"model": "/etc/passwd"}, "there is no option model; there are faces, largest"),
        ({"url": "http://127.0.0.1/"}, "there is no option url"),
        ({"remove": "x" * 5000}, "the form cannot be read"),
    ],
)
def test_a_wrong_field_is_named(client: TestClient, png: bytes, fields: dict[str, str], says: str) -> None:
    answer = post(client, png, None, **fields)
    assert answer.status_code in (400, 422)
    assert answer.json()["message"].startswith(says)


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"", "multipart/form-data", 400),
        (b"", "multipart/form-data; boundary=x", 422),
        (b"--x\r\n", "multipart/form-data; boundary=x", 422),
        (b"--x\r\nContent-Disposition: form-data\r\n\r\n\r\n--x--", "multipart/form-data; boundary=x", 400),
        (b"--x--\r\n", "multipart/form-data; boundary=x", 422),
        (b"photo=1", "application/x-www-form-urlencoded", 415),
        (b"{}", "application/json", 415),
    ],
)
def test_a_form_that_is_none_is_refused(client: TestClient, body: bytes, kind: str, status: int) -> None:
    answer = client.post("/v1/reconstruct", content=body, headers={"content-type": kind})
    assert answer.status_code == status, answer.text
    assert answer.json()["message"]


def test_a_photo_without_the_name_of_its_file_is_taken(client: TestClient, png: bytes) -> None:
    named, nameless = (
        client.post("/v1/reconstruct", files={"photo": (name, png)}) for name in ("a.png", "")
    )
    body = b'--b\r\ncontent-disposition: form-data; name="photo"\r\n\r\n' + png + b"\r\n--b--\r\n"
    kind = {"content-type": "multipart/form-data; boundary=b"}
    bare = client.post("/v1/reconstruct", content=body, headers=kind)
    assert named.status_code == 200
    assert named.content == nameless.content == bare.content


def test_a_file_in_another_field_is_told_where_it_belongs(client: TestClient, png: bytes) -> None:
    answer = client.post("/v1/reconstruct", files={"image": ("a.png", png)})
    assert answer.json()["message"] == "there is no file image; send photo and mask as files"


def test_a_mask_is_a_file_and_a_field_is_there_once(client: TestClient, png: bytes) -> None:
    files = [("photo", ("a", png)), ("photo", ("b", png))]
    twice = client.post("/v1/reconstruct", files=files)
    assert twice.json() == {"code": "bad_request", "message": "photo is there twice; send it once"}
    text = client.post("/v1/reconstruct", files={"photo": png}, data={"mask": "mask.png"})
    assert text.json()["message"].startswith("send photo and mask as files")


def test_sizes_are_checked_before_a_pixel_is_decoded(
    client: TestClient, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("it was decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", never)
    check_head(png, "the photo", LIMITS)
    many = encoded(np.zeros((1500, 1400, 3), np.uint8))
    strip = encoded(np.zeros((3, 100_000, 3), np.uint8))
    bomb = many[:16] + (60_000).to_bytes(4, "big") * 2 + many[24:]
    passes = encoded(np.zeros((64, 64, 3), np.uint8), "JPEG")
    passes = passes[:-2] + b"\xff\xda\x00\x02" * 60 + passes[-2:]
    for photo, says in ((many, "megapixels"), (strip, "on a side"), (passes, "passes"), (bomb, "")):
        answer = post(client, photo)
        # A changed head no longer fits its checksum: Pillow refuses it even before its size is looked at.
        assert answer.status_code == (413 if says else 422), answer.text
        assert says in answer.json()["message"]


def test_an_upload_that_is_too_large_is_refused(client: TestClient) -> None:
    answer = post(client, b"x" * 4_000_000)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")

    def chunks() -> Iterator[bytes]:
        yield from (b"x" * 100_000 for _ in range(40))

    unsaid = client.post(
        "/v1/reconstruct", content=chunks(), headers={"content-type": "multipart/form-data"}
    )
    assert unsaid.status_code == 413


def test_photos_that_are_none_are_refused_in_a_line(client: TestClient, png: bytes) -> None:
    for name, photo in {
        "text": b"hello",
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
        "gif": b"GIF89a" + bytes(100),
        "truncated": png[: len(png) // 2],
        "head": png[:40],
        "pickle": b"\x80\x04\x95" + bytes(50),
        "html in png": png[:8] + b"<html>" + png[8:],
        "postscript": b"%!PS-Adobe-3.0\n(x) run",
    }.items():
        answer = post(client, photo)
        assert (answer.status_code, answer.json()["code"]) == (422, "bad_picture"), name
        assert "\n" not in answer.json()["message"]


def test_who_may_ask(settings: Settings, png: bytes) -> None:
    settings = replace(settings, token="sésame", origins=frozenset({"https://friend.example"}))
    with TestClient(Server(settings).app) as client:
        for said in (None, "Bearer wrong", "Basic sésame", "Bearer", "Bearer sésame2"):
            headers = [(b"authorization", said.encode())] if said else []
            for path in ("/v1/models", "/metrics", "/v1/reconstruct", "/v1/find"):
                assert client.get(path, headers=headers).status_code == 401, said
        for path in ("/", "/healthz", "/readyz"):
            assert client.get(path).status_code == 200
        right = [(b"authorization", "Bearer sésame".encode())]
        assert client.get("/v1/models", headers=right).status_code == 200
        for origin, status in (
            ("https://friend.example", 422),
            ("http://testserver", 422),
            ("https://evil.example", 403),
            ("null", 403),
        ):
            answer = client.post(
                "/v1/reconstruct", headers=[*right, (b"origin", origin.encode())], files={"mask": png}
            )
            assert answer.status_code == status, origin
        allowed = client.get("/v1/models", headers=[*right, (b"origin", b"https://friend.example")])
        assert allowed.headers["access-control-allow-origin"] == "https://friend.example"
        foreign = client.get("/v1/models", headers=[*right, (b"origin", b"https://evil.example")])
        assert "access-control-allow-origin" not in foreign.headers


def test_without_being_told_no_other_site_and_no_other_name_is_answered(client: TestClient) -> None:
    answer = client.get("/v1/models", headers={"origin": "https://evil.example"})
    assert not [name for name in answer.headers if name.startswith("access-control")]
    for host in ("evil.example", "testserver.evil.example", "", "[::1]"):
        assert client.get("/", headers={"host": host}).status_code == 421, host
    assert client.get("/", headers={"host": "TESTSERVER:81"}).status_code == 200


def test_every_answer_has_the_headers_that_keep_a_browser_safe(client: TestClient, png: bytes) -> None:
    answers = [
        client.get("/"),
        client.get("/nothing"),
        client.get("/", headers={"host": "x"}),
        post(client, png),
    ]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "server" not in answer.headers
    assert post(client, png).headers["cache-control"] == "no-store"


def test_the_page_is_whole_and_asks_nobody_else(client: TestClient) -> None:
    for path in ("/", "/docs"):
        page = client.get(path)
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        # Every address is relative, so that a proxy can serve the page below another path.
        assert not re.search(r"(src|href)=\"(/|https?:)", page.text)
    for name in sorted(read_page()):
        if not name.startswith("/page/") or name.endswith(".jpg"):
            continue
        file = client.get(name)
        assert file.status_code == 200
        assert not re.search("[\"'`(]/[a-z]", file.text)
        assert "http" not in file.text.replace("http://www.w3.org/2000/svg", "")
        again = client.get(name, headers={"if-none-match": file.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    for path in (
        "/page/../app.py",
        "/page/%2e%2e/app.py",
        "/page/",
        "/page",
        "/page/__init__.py",
        "//etc/passwd",
    ):
        assert client.get(path).status_code in (404, 307), path


def test_the_example_is_reconstructed_once(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = (decoded(client.get(f"/page/example-{name}.jpg").content) for name in ("mask", "after"))
    assert before.shape == after.shape
    monkeypatch.setattr(Server, "_respond", None)
    assert client.get("/page/example-after.jpg").status_code == 200


def test_heic_is_named_only_where_its_package_is(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "png" in client.get("/v1/models").json()["formats"]
    monkeypatch.setattr("facemend.server.app.find_spec", lambda name: None)
    assert "heic" not in client.get("/v1/models").json()["formats"]


def test_errors_leak_nothing(
    settings: Settings, png: bytes, hostile_workers: None, caplog: pytest.LogCaptureFixture
) -> None:
    with TestClient(Server(settings).app) as client:
        for said in (hostile_worker.LACKS_MODEL, hostile_worker.FAILS):
            answer = post(client, png + said)
            assert (answer.status_code, answer.json()["code"]) == (500, "internal")
            assert "secret" not in answer.text
    assert "secret of a client" not in caplog.text
    assert "RuntimeError in _obey" in caplog.text
    assert "/secret/model.onnx cannot be run" in caplog.text, "for whoever runs the server"


def test_nothing_of_a_photo_is_logged_or_written(
    client: TestClient, png: bytes, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("a file was written")

    monkeypatch.setattr("tempfile.TemporaryFile", never)
    monkeypatch.setattr("tempfile.SpooledTemporaryFile.rollover", never)
    noise = np.random.default_rng(0).integers(0, 256, (700, 900, 3), dtype=np.uint8)
    with caplog.at_level(logging.DEBUG, logger="facemend"):
        assert post(client, encoded(noise)).status_code == 200, (
            "1.9 MB: more than Starlette keeps in memory"
        )
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("facemend")]
    assert len(ours) == 1
    assert ours[0].startswith("/v1/reconstruct 200 in ")


def test_models_health_and_metrics(client: TestClient, png: bytes, reconstructor: Reconstructor) -> None:
    said = client.get("/v1/models").json()
    assert said["models"][0]["sha256"] == reconstructor.model.sha256
    assert said["limits"]["pixels"] == LIMITS.pixels
    assert "training_people" not in str(said)
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready"}
    count = 'facemend_requests_total{route="/v1/reconstruct",status="200"}'
    before = _metric(client, count)
    post(client, png)
    client.get("/anything/at/all")
    assert _metric(client, count) == before + 1
    text = client.get("/metrics").text
    assert 'route="other"' in text
    assert "anything" not in text
    assert _metric(client, "facemend_held_bytes") == 0


def _metric(client: TestClient, name: str) -> float:
    lines = client.get("/metrics").text.splitlines()
    return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(name)), 0.0)


def test_the_document_has_every_route_and_answer(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    routes = {"/v1/reconstruct", "/v1/find", "/v1/models", "/healthz", "/readyz", "/metrics"}
    assert set(document["paths"]) == routes
    post_ = document["paths"]["/v1/reconstruct"]["post"]
    form = post_["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert set(form["properties"]) >= {"photo", "mask", "answer", "remove", "faces", "format"}
    assert {"image/png", "application/json"} <= post_["responses"]["200"]["content"].keys()
    assert {"400", "413", "415", "422", "429", "503"} <= post_["responses"].keys()


def test_what_is_found_is_what_the_library_finds(
    client: TestClient, reconstructor: Reconstructor, png: bytes
) -> None:
    answer = client.post("/v1/find", files={"photo": png})
    assert answer.status_code == 200, answer.text
    masks = answer.json().pop("masks")
    found = reconstructor.find(io.BytesIO(png))
    assert answer.json().items() >= found.to_json().items()
    cover = decoded(masks["covers"])
    assert np.array_equal(cover >= 128, found.mask("covers"))
    assert cover.any()
    assert not decoded(masks["accessories"]).any()
    alone = client.post("/v1/find", files={"photo": png}, data={"answer": "covers"})
    assert (alone.headers["content-type"], alone.headers["facemend-faces"]) == ("image/png", "1")
    assert np.array_equal(decoded(alone.content), cover)


def test_finding_takes_no_mask_and_no_option_of_the_reconstruction(client: TestClient, png: bytes) -> None:
    for files, fields in (
        ({"photo": png, "mask": png}, {}),
        ({"photo": png}, {"remove": "all"}),
        ({"photo": png}, {"min_confidence": "nan"}),
        ({"photo": png}, {"occlusion_threshold": "2"}),
    ):
        answer = client.post("/v1/find", files=files, data=fields)
        assert (answer.status_code, answer.json()["code"]) == (422, "bad_request")


class TestUnderLoad:
    """With photos that take until a file is there."""

    @pytest.fixture
    def go(self, tmp_path: Path, hostile_workers: None) -> Path:
        return tmp_path / "go"

    @pytest.fixture
    def slow(self, png: bytes, go: Path) -> list[bytes]:
        return [png + number + hostile_worker.WAITS_FOR + str(go).encode() for number in (b"1", b"2", b"3")]

    def test_one_more_than_fits_is_told_when_to_come_back(
        self, settings: Settings, slow: list[bytes], go: Path, png: bytes
    ) -> None:
        server = Server(replace(settings, limits=replace(LIMITS, waiting=2)))
        with TestClient(server.app) as client:
            statuses: list[int] = []
            threads = [
                threading.Thread(
                    target=lambda own: statuses.append(post(client, own).status_code), args=(own,)
                )
                for own in slow
            ]
            threads[0].start()
            _until(lambda: _metric(client, "facemend_running") == 1)  # before the others fill the queue
            for thread in threads[1:]:
                thread.start()
            _until(lambda: _metric(client, "facemend_waiting") == 2)
            assert client.get("/readyz").status_code == 503
            assert client.get("/healthz").status_code == 200
            refused = post(client, png)
            assert (refused.status_code, refused.json()["code"]) == (429, "busy")
            assert 1 <= int(refused.headers["retry-after"]) <= 60
            go.touch()
            for thread in threads:
                thread.join()
            assert statuses == [200, 200, 200]
            assert client.get("/readyz").status_code == 200

    def test_who_waits_too_long_is_told_and_gone(
        self, settings: Settings, slow: list[bytes], go: Path
    ) -> None:
        server = Server(replace(settings, limits=replace(LIMITS, request_s=0.5)))
        with TestClient(server.app) as client:
            answer = post(client, slow[0])
            assert (answer.status_code, answer.json()["code"]) == (503, "too_slow")
            assert answer.headers["retry-after"]
            assert _metric(client, "facemend_running") == 1, "it may be done in its time"
            go.touch()
            _until(lambda: _metric(client, "facemend_running") == 0)

    def test_a_client_that_goes_away_leaves_the_queue(
        self, settings: Settings, slow: list[bytes], go: Path, png: bytes
    ) -> None:
        server = Server(settings)
        with TestClient(server.app) as client:
            first = threading.Thread(target=post, args=(client, slow[0]))
            first.start()
            _until(lambda: _metric(client, "facemend_running") == 1)

            async def leave() -> None:
                """Sends a whole request, and goes."""
                boundary = b"--x\r\n"
                head = b'Content-Disposition: form-data; name="photo"; filename="p"\r\n\r\n'
                messages = [
                    {"type": "http.request", "body": boundary + head + png + b"\r\n--x--\r\n"},
                    {"type": "http.disconnect"},
                ]
                answers: list[Any] = []

                async def receive() -> Any:
                    return messages.pop(0) if messages else await asyncio.Event().wait()

                async def send(message: Any) -> None:
                    answers.append(message)

                headers = [(b"host", b"testserver"), (b"content-type", b"multipart/form-data; boundary=x")]
                scope = {
                    "type": "http",
                    "method": "POST",
                    "path": "/v1/reconstruct",
                    "raw_path": b"/v1/reconstruct",
                    "query_string": b"",
                    "headers": headers,
                    "http_version": "1.1",
                    "scheme": "http",
                    "root_path": "",
                    "server": ("testserver", 80),
                    "client": None,
                    "asgi": {"version": "3.0"},
                }
                await server.app(scope, receive, send)
                assert [each.get("status") for each in answers] == [499, None], "to nobody"

            assert client.portal is not None
            client.portal.call(leave)
            assert _metric(client, "facemend_waiting") == 0
            assert _metric(client, 'facemend_requests_total{route="/v1/reconstruct",status="499"}') == 1
            go.touch()
            first.join()


def _until(true: Any) -> None:
    """Waits until something is so; fails if it never is."""
    for _ in range(2000):
        if true():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it never came to that")


def test_health_is_told_under_any_name_and_by_head(client: TestClient) -> None:
    for path in ("/healthz", "/readyz"):
        for host in ("10.0.0.7:8000", "balancer", ""):
            assert client.get(path, headers={"host": host}).status_code == 200
    for path in ("/healthz", "/readyz", "/v1/models", "/metrics", "/"):
        told = client.head(path)
        assert (told.status_code, told.content) == (200, b"")


def test_no_photo_is_sent_on_to_another_address(client: TestClient, png: bytes) -> None:
    found = client.post("/v1/reconstruct/", files={"photo": png}, follow_redirects=False)
    assert found.status_code == 404
    assert "location" not in found.headers


def test_a_request_is_advised_what_a_request_has() -> None:
    for advice, said in (
        ("it has XMP; strip=True leaves its metadata out", "strip=true leaves"),
        ("it holds more; primary_only=True writes the picture alone", "; save the picture alone and send"),
        ("no face under the mask; say where one is with faces=[(x, y, width, height)]", "under the mask"),
    ):
        message = problem_of(OutputError(advice)).message
        assert said in message
        assert "=True" not in message
        assert "[(" not in message

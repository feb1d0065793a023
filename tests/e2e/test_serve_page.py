"""The server's page in a real browser: Debian's package `chromium`, driven by Playwright."""

import base64
import io
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pytest
from PIL import Image as PillowImage

from facemend.images import Image
from facemend.reconstruction.provenance import read_provenance
from tests.served import serving
from tests.stand_in import COVER, write_model

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page, ViewportSize

Scheme = Literal["light", "dark"]

playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install playwright")
_BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(_BROWSER is None, reason="needs Chromium: apt-get install chromium")

_PHONE: "ViewportSize" = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    model = write_model(tmp_path_factory.mktemp("model") / "stand-in.onnx")
    with serving("--model", str(model), "--threads", "1") as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=_BROWSER, args=["--headless", "--no-sandbox", *camera]
        )
        yield browser
        browser.close()


@pytest.fixture
def page(browser: "Browser", url: str) -> Iterator["Page"]:
    """The page; whatever it asks others for, or complains of, is an error."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
    context.set_default_timeout(20_000)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(url)
    yield page
    context.close()
    # Chromium names every answer that is no success; the page says what is wrong with it.
    assert [each for each in complaints if "status of 422" not in each] == []
    assert [each for each in asked if not each.startswith((url, "blob:"))] == []


@pytest.fixture(scope="module")
def covered(portrait: Image) -> Image:
    """A portrait whose chin is under pure green: the stand-in model draws its negative there."""
    covered = portrait.copy()
    covered[305:370, 205:305] = COVER
    return covered


@pytest.fixture(scope="module")
def portrait() -> Image:
    from facemend.reconstruction.demo import read_portraits

    return next(each.photo for each in read_portraits() if each.name == "Grace Hopper")


@pytest.fixture(scope="module")
def photo(covered: Image, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photos") / "at the desk.png"
    PillowImage.fromarray(covered).save(path)
    return path


def _reconstruct(page: "Page", *photos: Path) -> None:
    page.set_input_files("#file", photos)
    _wait(page)


def _wait(page: "Page") -> None:
    page.locator("#status").filter(has_text="found").wait_for()
    page.locator("#busy").wait_for(state="hidden")


def _pixels(canvas: "Locator") -> Image:
    """What a canvas shows, without the layers over it."""
    url = canvas.evaluate("canvas => canvas.toDataURL()")
    with PillowImage.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as picture:
        return np.asarray(picture.convert("RGB"), dtype=np.uint8)


def _seen(page: "Page", locator: str) -> Image:
    """What a person sees."""
    with PillowImage.open(io.BytesIO(page.locator(locator).screenshot())) as picture:
        return np.asarray(picture.convert("RGB"), dtype=np.uint8)


def _download(page: "Page", folder: Path) -> Path:
    with page.expect_download() as started:
        page.get_by_role("link", name="Download").click()
    path = folder / started.value.suggested_filename
    started.value.save_as(path)
    return path


def test_from_a_photo_to_its_download(page: "Page", photo: Path, covered: Image, tmp_path: Path) -> None:
    _reconstruct(page, photo)
    assert page.locator("#status").inner_text() == "One face was found and reconstructed."
    after = _pixels(page.locator("#after"))
    assert np.array_equal(_pixels(page.locator("#before")), covered)
    hole = np.s_[345:365, 235:275]
    assert (after[hole][..., 1] < 60).all(), "the negative of green"
    assert np.array_equal(after[:150], covered[:150])
    # The wipe shows after on the right of it alone.
    green = {}
    for place in ("0", "100"):
        page.get_by_role("slider", name="From before to after").fill(place)
        shown = _seen(page, "#stage").astype(int)
        green[place] = int((shown[..., 1] - shown[..., 0] > 200).sum())
    assert green["0"] == 0
    assert green["100"] > 800
    # The brush adds a place on the forehead; nothing happens to it before it is reconstructed again.
    page.get_by_role("button", name="Brush: add").click()
    box = page.locator("#brush").bounding_box()
    assert box is not None
    scale = box["width"] / covered.shape[1]
    page.mouse.move(box["x"] + 230 * scale, box["y"] + 250 * scale)
    page.mouse.down()
    page.mouse.move(box["x"] + 270 * scale, box["y"] + 250 * scale, steps=5)
    page.mouse.up()
    assert np.array_equal(_pixels(page.locator("#after")), after)
    with page.expect_response("**/v1/reconstruct") as answered:
        page.get_by_role("button", name="Reconstruct again").click()
    assert answered.value.status == 200
    _wait(page)
    again = _pixels(page.locator("#after"))
    brushed = np.s_[245:255, 235:265]
    assert (np.abs(again[brushed].astype(int) - (255 - covered[brushed].astype(int))) < 40).mean() > 0.9
    assert (again[hole][..., 1] < 60).all(), "what was found stays"
    path = _download(page, tmp_path)
    assert path.name == "at the desk_reconstructed.png"
    with PillowImage.open(path) as picture:
        assert np.array_equal(np.asarray(picture.convert("RGB")), again)
    provenance = read_provenance(path)
    assert provenance is not None
    assert provenance.regions
    assert "mask_sha256" in provenance.options
    # Undone, the first result is there again; and done again.
    page.get_by_role("button", name="Undo").click()
    assert np.array_equal(_pixels(page.locator("#after")), after)
    page.keyboard.press("Control+Shift+z")
    assert np.array_equal(_pixels(page.locator("#after")), again)


def test_with_the_keyboard_alone(page: "Page", photo: Path, covered: Image) -> None:
    with page.expect_file_chooser() as chooser:
        for _ in range(2):
            page.keyboard.press("Tab")
        page.keyboard.press("Enter")
    chooser.value.set_files(photo)
    _wait(page)
    before = _pixels(page.locator("#after"))
    _tab_to(page, "split")
    page.keyboard.press("Home")
    assert page.locator("#split").input_value() == "0"
    _tab_to(page, "remove")
    page.keyboard.press("Enter")
    assert page.evaluate_handle("document.activeElement").evaluate("element => element.id") == "brush"
    # From the middle of the photo to the hole, at (255, 355).
    for _ in range(9):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    page.keyboard.press("Escape")
    assert page.evaluate_handle("document.activeElement").evaluate("element => element.id") == "remove"
    _tab_to(page, "again")
    with page.expect_response("**/v1/reconstruct"):
        page.keyboard.press("Enter")
    _wait(page)
    after = _pixels(page.locator("#after"))
    kept = np.s_[348:362, 250:262]
    assert np.array_equal(after[kept], covered[kept])
    page.keyboard.press("Control+z")
    assert np.array_equal(_pixels(page.locator("#after")), before)


def _tab_to(page: "Page", name: str) -> None:
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate_handle("document.activeElement").evaluate("element => element.id") == name:
            return
    pytest.fail(f"the keyboard does not reach {name}")


def test_it_fits_a_phone_and_is_dark_where_the_reader_wants_it(
    browser: "Browser", url: str, photo: Path
) -> None:
    papers: dict[Scheme, str] = {"dark": "rgb(20, 22, 27)", "light": "rgb(246, 245, 241)"}
    for scheme, paper in papers.items():
        page = browser.new_page(viewport=_PHONE, color_scheme=scheme, has_touch=True)
        page.goto(url)
        _reconstruct(page, photo)
        for details in page.locator("summary").all():
            details.click()
        assert page.evaluate("() => [document.documentElement.scrollWidth, window.innerWidth]") == [
            390,
            390,
        ]
        assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") == paper
        for button in page.locator("button:visible").all():
            box = button.bounding_box()
            assert box is not None
            assert box["height"] >= 44, button.inner_text()
        page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(browser: "Browser", url: str, photo: Path, scheme: Scheme) -> None:
    from axe_playwright_python.sync_playwright import Axe

    # axe is injected as a script, which the policy forbids to everybody else, too.
    context = browser.new_context(bypass_csp=True, color_scheme=scheme)
    page = context.new_page()
    page.goto(url)
    axe = Axe()
    found = list(_serious(axe.run(page).response))
    _reconstruct(page, photo, photo)
    page.check("#show-tint")
    for details in page.locator("summary").all():
        details.click()
    page.get_by_role("button", name="Brush: add").click()
    found += _serious(axe.run(page).response)
    page.get_by_role("button", name="Compare all").click()
    found += _serious(axe.run(page).response)
    context.close()
    assert found == []


def _serious(response: dict[str, list[dict[str, object]]]) -> list[object]:
    return [
        (each["id"], [node["html"] for node in each["nodes"]])  # type: ignore[attr-defined]
        for each in response["violations"]
        if each["impact"] in ("serious", "critical")
    ]


def test_faces_are_chosen_and_chosen_again(
    page: "Page", covered: Image, portrait: Image, tmp_path: Path
) -> None:
    both = np.hstack([covered, covered[:, ::-1]])
    path = tmp_path / "two.png"
    PillowImage.fromarray(both).save(path)
    _reconstruct(page, path)
    boxes = page.get_by_role("checkbox", name="Face ")
    assert boxes.count() == 2
    x = [
        float(page.locator("#marks div").nth(i).evaluate("mark => parseFloat(mark.style.left)"))
        for i in (0, 1)
    ]
    left = int(x[0] > x[1])
    with page.expect_response("**/v1/reconstruct"):
        boxes.nth(left).uncheck()
    page.locator("#busy").wait_for(state="hidden")
    page.locator("#status").filter(has_text="1 of them").wait_for()
    after = _pixels(page.locator("#after"))
    width_px = covered.shape[1]
    assert np.array_equal(after[:, :width_px], both[:, :width_px])
    assert not np.array_equal(after[:, width_px:], both[:, width_px:])
    assert f"-F faces={2 - left}" in page.locator("#call").text_content()  # type: ignore[operator]


def test_several_photos_are_compared_and_a_bad_one_fails_alone(
    page: "Page", photo: Path, portrait: Image, tmp_path: Path
) -> None:
    plain, broken = tmp_path / "plain.jpg", tmp_path / "broken.jpg"
    PillowImage.fromarray(portrait).save(plain, quality=95)
    broken.write_bytes(plain.read_bytes()[:200])
    page.set_input_files("#file", [photo, broken, plain])
    page.locator("#status").filter(has_text="nothing hides it").wait_for()
    assert page.get_by_role("button", name="broken.jpg, failed").count() == 1
    page.get_by_role("button", name="broken.jpg, failed").click()
    assert "cannot be read" in page.get_by_role("alert").inner_text()
    page.get_by_role("button", name="Compare all").click()
    captions = page.locator("figcaption").all_inner_texts()
    assert [text.splitlines()[0] for text in captions] == ["at the desk.png", "plain.jpg"]
    page.get_by_role("slider", name="All photos").fill("0")
    pair = _seen(page, "#grid figure:first-child .pair").astype(int)
    assert int((pair[..., 1] - pair[..., 0] > 200).sum()) == 0


def test_a_format_that_the_browser_cannot_show_comes_back_as_png(
    page: "Page", covered: Image, tmp_path: Path
) -> None:
    path = tmp_path / "scan.tif"
    PillowImage.fromarray(covered).save(path)
    _reconstruct(page, path)
    assert np.array_equal(_pixels(page.locator("#before")), covered)
    assert page.get_by_role("link", name="Download").get_attribute("download") == "scan_reconstructed.png"


def test_a_picture_from_the_camera_is_reconstructed(page: "Page") -> None:
    page.get_by_role("button", name="Take a picture").click()
    page.locator("#camera-dialog[open]").wait_for()
    page.locator("#video").evaluate(
        "video => new Promise(done => video.videoWidth ? done() : video.onloadeddata = () => done())"
    )
    page.get_by_role("button", name="Take it").click()
    page.locator("#status").filter(has_text="No face was found").wait_for()


def test_a_pasted_and_a_dropped_photo_are_reconstructed(page: "Page", photo: Path) -> None:
    data = base64.b64encode(photo.read_bytes()).decode()
    give = """(body, [data, kind]) => {
        const bytes = Uint8Array.from(atob(data), letter => letter.charCodeAt(0));
        const files = new DataTransfer();
        files.items.add(new File([bytes], `${kind}.png`, {type: "image/png"}));
        const event = kind === "paste" ? new ClipboardEvent(kind, {clipboardData: files, bubbles: true})
            : new DragEvent(kind, {dataTransfer: files, bubbles: true, cancelable: true});
        body.dispatchEvent(event);
    }"""
    for kind in ("paste", "drop"):
        page.locator("body").evaluate(give, [data, kind])
        page.locator("#status").filter(has_text="reconstructed").wait_for()
        page.locator("#busy").wait_for(state="hidden")
    assert page.get_by_role("button", name="drop.png").count() == 1


def test_the_call_that_it_shows_does_the_same(page: "Page", photo: Path, tmp_path: Path) -> None:
    _reconstruct(page, photo)
    call = page.locator("#call").text_content()
    assert call is not None
    if shutil.which("curl") is None:
        pytest.skip("needs curl")
    subprocess.run(["bash", "-c", call], cwd=photo.parent, check=True, capture_output=True)
    by_hand = photo.with_name("at the desk_reconstructed.png")
    assert by_hand.read_bytes() == _download(page, tmp_path).read_bytes()


def test_a_server_that_asks_for_a_token_gets_it(
    browser: "Browser", photo: Path, stand_in_model: Path, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("let me in\n")
    with serving("--model", str(stand_in_model), "--token-file", str(tmp_path / "token")) as address:
        page = browser.new_page()
        page.goto(address)
        page.set_input_files("#file", photo)
        page.get_by_role("textbox", name="Token").fill("let me in")
        page.keyboard.press("Enter")
        _wait(page)
        assert "Bearer $FACEMEND_TOKEN" in str(page.locator("#call").text_content())
        page.close()


def test_a_server_that_is_gone_is_said(browser: "Browser", url: str, photo: Path) -> None:
    page = browser.new_page()
    page.goto(url)
    page.route("**/v1/reconstruct", lambda route: route.abort())
    page.set_input_files("#file", photo)
    page.get_by_role("alert").filter(has_text="cannot be reached").wait_for()
    page.close()

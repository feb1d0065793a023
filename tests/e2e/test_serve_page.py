"""The server's page in a real browser: Debian's package `chromium`, driven by Playwright."""

import base64
import io
import json
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pytest
from PIL import Image as PillowImage

from facemend.images import Image
from facemend.reconstruction.provenance import read_provenance
from tests.served import serving
from tests.stand_in import ACCESSORY, COVER, write_model

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page, Route, ViewportSize

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
    # Chromium names every response that is no success; the page says what is wrong with it.
    assert [each for each in complaints if "Failed to load resource" not in each] == []
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


def _green(page: "Page", locator: str = "#stage") -> int:
    """How many pixels of the cover's colour a person sees."""
    with PillowImage.open(io.BytesIO(page.locator(locator).screenshot())) as picture:
        seen = np.asarray(picture.convert("RGB"), dtype=int)
    return int((seen[..., 1] - seen[..., 0] > 200).sum())


def _download(page: "Page", folder: Path, name: str = "Download") -> Path:
    with page.expect_download() as started:
        page.get_by_role("button", name=name, exact=True).click()
    path = folder / started.value.suggested_filename
    started.value.save_as(path)
    return path


def _focused(page: "Page") -> str:
    found: str = page.evaluate_handle("document.activeElement").evaluate("element => element.id")
    return found


def _tab_to(page: "Page", name: str) -> None:
    for _ in range(40):
        page.keyboard.press("Tab")
        if _focused(page) == name:
            return
    pytest.fail(f"the keyboard does not reach {name}")


def _drag(page: "Page", photo: Image, start: tuple[int, int], end: tuple[int, int]) -> None:
    """Moves the pressed mouse over the photo, from one of its pixels to another."""
    page.locator("#brush").scroll_into_view_if_needed()
    box = page.locator("#brush").bounding_box()
    assert box is not None
    scale = box["width"] / photo.shape[1]
    page.mouse.move(box["x"] + start[0] * scale, box["y"] + start[1] * scale)
    page.mouse.down()
    page.mouse.move(box["x"] + end[0] * scale, box["y"] + end[1] * scale, steps=5)
    page.mouse.up()


def test_the_first_view_shows_what_it_does_and_has_an_example_to_click(page: "Page", url: str) -> None:
    assert "Photos stay on this computer." in page.locator("#promise").inner_text()
    for picture in page.locator("#start img").all():
        picture.evaluate("image => image.decode()")
    assert page.locator(".halves.alone").count() == 0
    with page.expect_response("**/v1/reconstruct"):
        page.get_by_role("button", name="A mask").click()
    _wait(page)
    assert page.locator("#work-title").inner_text() == "example-mask.jpg"
    assert _focused(page) == "work-title"


def test_from_a_photo_to_its_download(page: "Page", photo: Path, covered: Image, tmp_path: Path) -> None:
    _reconstruct(page, photo)
    assert page.locator("#status").inner_text() == "One face was found and reconstructed."
    after = _pixels(page.locator("#after"))
    assert np.array_equal(_pixels(page.locator("#before")), covered)
    hole = np.s_[345:365, 235:275]
    assert (after[hole][..., 1] < 60).all(), "the negative of green"
    assert np.array_equal(after[:150], covered[:150])
    # It opens reconstructed. Before is there while the button or the photo is held.
    assert _green(page) == 0
    assert page.locator(".badge:visible").all_inner_texts() == ["After"]
    for held in ("#hold", "#stage"):
        page.locator(held).hover()
        page.mouse.down()
        page.locator("#badge-before").wait_for()
        assert page.locator(".badge:visible").all_inner_texts() == ["Before"]
        assert _green(page) > 800
        page.mouse.up()
        page.locator("#badge-after").wait_for()
    # The slider has before on the left of it and after on the right, and its labels lie there.
    page.get_by_role("button", name="Slider").click()
    slider = page.get_by_role("slider", name="Where before ends")
    green = {}
    for place in ("0", "100"):
        slider.fill(place)
        green[place] = _green(page)
    assert green["0"] == 0
    assert green["100"] > 800
    left, right = (page.locator(f"#badge-{side}").bounding_box() for side in ("before", "after"))
    assert left is not None
    assert right is not None
    assert left["x"] < right["x"]
    page.get_by_role("button", name="Slider").click()
    # The brush adds a place on the forehead; nothing happens to it before it is reconstructed again.
    page.get_by_role("button", name="Brush: add").click()
    _drag(page, covered, (230, 250), (270, 250))
    assert np.array_equal(_pixels(page.locator("#after")), after)
    with page.expect_response("**/v1/reconstruct") as answered:
        page.get_by_role("button", name="Reconstruct again").click()
    assert answered.value.status == 200
    _wait(page)
    # Then neither the brush nor its paint hides the result.
    assert page.locator("#brush").is_hidden()
    assert page.locator("#tint").is_hidden()
    assert _green(page) == 0
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
    page.locator("#promise").filter(has_text=".").wait_for()  # the page has begun
    with page.expect_file_chooser() as chooser:
        _tab_to(page, "choose")
        page.keyboard.press("Enter")
    chooser.value.set_files(photo)
    _wait(page)
    assert _focused(page) == "work-title"
    before = _pixels(page.locator("#after"))
    _tab_to(page, "hold")
    page.keyboard.down("Space")
    assert page.locator("#badge-before").is_visible()
    page.wait_for_timeout(300)  # less is a click, which shows before for a second
    page.keyboard.up("Space")
    page.locator("#badge-before").wait_for(state="hidden")
    _tab_to(page, "remove")
    page.keyboard.press("Enter")
    assert _focused(page) == "brush"
    # From the middle of the photo to the hole, at (255, 355).
    for _ in range(9):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    page.keyboard.press("Escape")
    assert _focused(page) == "remove"
    _tab_to(page, "again")
    with page.expect_response("**/v1/reconstruct"):
        page.keyboard.press("Enter")
    _wait(page)
    assert _focused(page) == "hold"
    after = _pixels(page.locator("#after"))
    kept = np.s_[348:362, 250:262]
    assert np.array_equal(after[kept], covered[kept])
    page.keyboard.press("Control+z")
    assert np.array_equal(_pixels(page.locator("#after")), before)


def test_on_a_phone(browser: "Browser", url: str, photo: Path) -> None:
    papers: dict[Scheme, str] = {"dark": "rgb(20, 22, 27)", "light": "rgb(246, 245, 241)"}
    for scheme, paper in papers.items():
        context = browser.new_context(
            viewport=_PHONE, color_scheme=scheme, has_touch=True, is_mobile=True, reduced_motion="reduce"
        )
        page = context.new_page()
        page.goto(url)
        assert "drop" not in page.locator("body").inner_text().lower()
        _fits(page)
        _reconstruct(page, photo)
        for details in page.locator("summary").all():
            details.click()
        _fits(page)
        assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") == paper
        # The brush has photo and tools in view at the same time, and a finger paints.
        page.get_by_role("button", name="Brush: add").tap()
        for part in ("#stage", "#size"):
            box = page.locator(part).bounding_box()
            assert box is not None
            assert box["y"] >= 0, part
            assert box["y"] + box["height"] <= _PHONE["height"], part
        page.locator("#marks div").wait_for()
        face = page.locator("#marks div").bounding_box()
        assert face is not None
        page.touchscreen.tap(face["x"] + face["width"] / 2, face["y"] + face["height"] / 2)
        page.locator("#status").filter(has_text="Painted.").wait_for()
        page.get_by_role("button", name="Reconstruct again").tap()
        _wait(page)
        context.close()


def _fits(page: "Page") -> None:
    """Nothing is wider than the phone, in either direction of writing, and a finger hits every button."""
    widths = "() => [document.documentElement.scrollWidth, window.innerWidth]"
    for direction in ("rtl", "ltr"):
        page.locator("html").evaluate("(html, direction) => { html.dir = direction; }", direction)
        assert page.evaluate(widths) == [390, 390], direction
    for button in page.locator("button:visible").all():
        box = button.bounding_box()
        assert box is not None
        assert box["height"] >= 44, button.inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(browser: "Browser", url: str, photo: Path, scheme: Scheme) -> None:
    from axe_playwright_python.sync_playwright import Axe

    # axe is injected as a script, which the policy forbids to everybody else.
    context = browser.new_context(bypass_csp=True, color_scheme=scheme)
    page = context.new_page()
    axe = Axe()
    page.goto(f"{url}docs")
    page.locator("#paths tr").first.wait_for()
    found = list(_serious(axe.run(page).response))
    page.goto(url)
    found += _serious(axe.run(page).response)
    _reconstruct(page, photo, photo)
    page.check("#show-tint")
    for details in page.locator("summary").all():
        details.click()
    page.get_by_role("button", name="Slider").click()
    found += _serious(axe.run(page).response)
    page.get_by_role("button", name="Brush: add").click()
    found += _serious(axe.run(page).response)
    page.get_by_role("button", name="All photos").click()
    found += _serious(axe.run(page).response)
    context.close()
    assert found == []


def _serious(response: dict[str, list[dict[str, object]]]) -> list[object]:
    return [
        (each["id"], [node["html"] for node in each["nodes"]])  # type: ignore[attr-defined]
        for each in response["violations"]
        if each["impact"] in ("serious", "critical")
    ]


def test_the_edge_grows_and_the_doubt_is_a_layer(page: "Page", photo: Path, covered: Image) -> None:
    _reconstruct(page, photo)
    usual = (_pixels(page.locator("#after")) != covered).any(axis=2)
    assert page.locator("#tint").is_hidden()
    page.get_by_label("Show doubt").check()
    seen = _pixels(page.locator("#tint"))
    assert (seen[345:365, 235:275] == (255, 250, 160)).all(), "the stand-in is as unsure as can be"
    assert not seen[:150].any()
    page.get_by_label("Show what changed").check()
    assert not page.get_by_label("Show doubt").is_checked()
    with page.expect_response("**/v1/reconstruct"):
        page.get_by_label("Grow or shrink").fill("12")
    _wait(page)
    grown = (_pixels(page.locator("#after")) != covered).any(axis=2)
    assert (grown & ~usual).sum() > 1000
    assert "-F grow=12" in page.locator("#call").text_content()  # type: ignore[operator]
    page.get_by_role("button", name="Undo").click()
    assert page.get_by_label("Grow or shrink").input_value() == "0"
    assert np.array_equal((_pixels(page.locator("#after")) != covered).any(axis=2), usual)


def test_faces_are_chosen_and_chosen_again(page: "Page", covered: Image, tmp_path: Path) -> None:
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
    assert page.locator(".face small").nth(left).inner_text() == "left as it is"


def test_a_face_that_is_not_found_is_marked_with_a_box(page: "Page", tmp_path: Path) -> None:
    # Of many colours: a photo of one tone would keep it.
    photo = np.random.default_rng(0).integers(90, 150, (300, 400, 3), dtype=np.uint8)
    photo[130:190, 150:250] = COVER
    path = tmp_path / "hidden.png"
    PillowImage.fromarray(photo).save(path)
    page.set_input_files("#file", path)
    page.locator("#status").filter(has_text="No face was found").wait_for()
    assert page.get_by_role("button", name="Brush: add").is_disabled()
    page.get_by_role("button", name="Mark the face").click()
    assert _focused(page) == "brush"
    _drag(page, photo, (120, 60), (125, 62))
    page.locator("#status").filter(has_text="larger").wait_for()
    with page.expect_response("**/v1/reconstruct"):
        _drag(page, photo, (130, 60), (270, 240))
    page.locator("#status").filter(has_text="One face was found and reconstructed.").wait_for()
    after = _pixels(page.locator("#after"))
    assert (after[145:175, 170:230, 1] < 60).all()
    assert np.array_equal(after[:, :50], photo[:, :50])
    assert "-F face=1" in page.locator("#call").text_content()  # type: ignore[operator]
    # The same without a mouse: back to no face, and a box from the middle on.
    page.keyboard.press("Control+z")
    page.get_by_role("button", name="Mark the face").click()
    for key in ("ArrowLeft", "ArrowUp"):
        for _ in range(4):
            page.keyboard.press(f"Shift+{key}")
    page.keyboard.press("Space")
    for key in ("ArrowRight", "ArrowDown"):
        for _ in range(8):
            page.keyboard.press(f"Shift+{key}")
    with page.expect_response("**/v1/reconstruct"):
        page.keyboard.press("Space")
    page.get_by_role("checkbox", name="Face 1").wait_for()


def test_it_says_what_was_left_alone_and_what_cannot_be_painted(
    page: "Page", portrait: Image, tmp_path: Path
) -> None:
    held = portrait.copy()
    held[255:290, 225:305] = ACCESSORY  # over the mouth: over the eyes it would count as a bar
    path = tmp_path / "held.png"
    PillowImage.fromarray(held).save(path)
    page.set_input_files("#file", path)
    page.locator("#status").filter(has_text="Glasses or the like").wait_for()
    assert page.locator(".face small").inner_text() == "glasses: choose “Both”"
    page.get_by_role("button", name="Brush: add").click()
    _drag(page, held, (20, 560), (40, 580))
    assert "nothing was painted" in page.locator("#status").inner_text()
    assert page.get_by_role("button", name="Undo").is_disabled()
    page.get_by_role("button", name="Brush: add").click()
    with page.expect_response("**/v1/reconstruct"):
        page.get_by_role("button", name="Reconstruct it").click()
    page.locator("#status").filter(has_text="One face was found and reconstructed.").wait_for()
    assert page.get_by_role("radio", name="Both").is_checked()
    assert _pixels(page.locator("#after"))[272, 265, 2] < 60


def test_several_photos_and_a_bad_one_that_fails_alone(
    page: "Page", photo: Path, portrait: Image, tmp_path: Path
) -> None:
    plain, broken, notes = (tmp_path / name for name in ("plain.jpg", "broken.jpg", "notes.pdf"))
    PillowImage.fromarray(portrait).save(plain, quality=95)
    broken.write_bytes(plain.read_bytes()[:200])
    notes.write_bytes(b"%PDF-1.4")
    page.set_input_files("#file", [notes])
    assert "notes.pdf" in page.locator("#message").inner_text()
    assert page.get_by_role("button", name="Choose photos").is_visible()
    page.set_input_files("#file", [photo, broken, plain])
    page.locator("#thumbs .pending").first.wait_for()
    page.wait_for_selector("#thumbs .pending", state="detached")
    assert page.locator("#count").inner_text() == "1 of 3"
    assert page.locator("#thumbs span").all_inner_texts() == ["at the desk.png", "broken.jpg", "plain.jpg"]
    page.get_by_role("button", name="Next photo").click()
    assert page.locator("#work-title").inner_text() == "broken.jpg"
    assert "cannot be read" in page.get_by_role("alert").inner_text()
    with page.expect_file_chooser():
        page.get_by_role("button", name="Choose another photo").click()
    page.get_by_role("button", name="All photos").click()
    captions = page.locator("figcaption:visible button").all_inner_texts()
    assert captions == ["at the desk.png", "broken.jpg", "plain.jpg"]
    assert page.locator(".pair").first.locator("canvas").count() == 2
    page.get_by_role("button", name="plain.jpg", exact=True).click()
    # All in one file, in another format. What failed is not in it, and the page says so.
    page.get_by_label("Format").select_option("WebP")
    packed = _download(page, tmp_path, "Download all")
    with zipfile.ZipFile(packed) as files:
        assert files.testzip() is None
        assert files.namelist() == ["at the desk_reconstructed.webp", "plain_reconstructed.webp"]
        with PillowImage.open(files.open("plain_reconstructed.webp")) as picture:
            assert (picture.format, picture.size) == ("WEBP", portrait.shape[1::-1])
    assert "2 photos are in the zip. One failed" in page.locator("#message").inner_text()
    page.get_by_role("button", name="Remove", exact=True).click()
    assert page.locator("#count").inner_text() == "2 of 2"
    page.get_by_role("button", name="Bring back").click()
    assert page.locator("#count").inner_text() == "3 of 3"
    page.get_by_role("button", name="Start over").click()
    assert page.get_by_role("button", name="Choose photos").is_visible()
    assert _focused(page) == "choose"


def test_a_format_that_the_browser_cannot_show_is_shown_and_kept(
    page: "Page", covered: Image, tmp_path: Path
) -> None:
    path = tmp_path / "scan.tif"
    PillowImage.fromarray(covered).save(path)
    _reconstruct(page, path)
    assert np.array_equal(_pixels(page.locator("#before")), covered)
    saved = _download(page, tmp_path)
    assert saved.name == "scan_reconstructed.tif"
    with PillowImage.open(saved) as picture:
        assert np.array_equal(np.asarray(picture), _pixels(page.locator("#after")))


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


def test_below_another_path_and_with_a_token(page: "Page", url: str, photo: Path) -> None:
    def pass_on(route: "Route") -> None:
        """As a proxy does that serves the page below /mend/."""
        if "/v1/" in route.request.url and "authorization" not in route.request.headers:
            route.fulfill(status=401, json={"code": "no_token", "message": "this server requires a token"})
        else:
            route.continue_(url=route.request.url.replace("/mend/", "/"))

    page.route("**/mend/**", pass_on)
    page.goto(f"{url}mend/")
    page.set_input_files("#file", photo)
    page.get_by_role("textbox", name="Token").fill("let me in")
    page.keyboard.press("Enter")
    _wait(page)
    call = str(page.locator("#call").text_content())
    assert "Bearer $FACEMEND_TOKEN" in call
    assert f"{url}mend/v1/reconstruct" in call
    page.get_by_role("link", name="For programs: the API").click()
    page.get_by_role("cell", name="A picture of the photo's size").wait_for()


def _fulfil(route: "Route", *, body: str) -> None:
    route.fulfill(body=body, content_type="application/json")


def test_heic_is_offered_only_where_the_server_reads_it(page: "Page", url: str) -> None:
    for names, offered in ((["png", "heic"], True), (["png"], False)):
        body = json.dumps({"formats": names})
        page.route("**/v1/models", partial(_fulfil, body=body))
        with page.expect_response("**/v1/models"):
            page.goto(url)
        page.locator("#format option[value=png]").wait_for(state="attached")
        assert (page.locator("#format option[value=heic]").count() == 1) == offered
        assert (".heic" in str(page.locator("#file").get_attribute("accept"))) == offered
        page.unroute("**/v1/models")


def test_a_server_that_is_gone_is_said_and_tried_again(page: "Page", photo: Path) -> None:
    page.route("**/v1/reconstruct", lambda route: route.abort())
    page.set_input_files("#file", photo)
    page.get_by_role("alert").filter(has_text="cannot be reached").wait_for()
    page.unroute("**/v1/reconstruct")
    page.get_by_role("button", name="Try again").click()
    _wait(page)

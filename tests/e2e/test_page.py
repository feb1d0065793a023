"""The report's page in a real browser: Debian's package `chromium`, driven by Playwright."""

import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from facemend.evaluation.evaluate import Plan, evaluate
from facemend.evaluation.external import open_systems
from facemend.evaluation.report import take_examples, to_html
from facemend.evaluation.scoring import open_slow_metrics
from facemend.evaluation.systems import BASELINES
from tests.unit.evaluation.test_evaluate import SOURCE

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install playwright")
_BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(_BROWSER is None, reason="needs Chromium: apt-get install chromium")


@pytest.fixture(scope="module")
def page_file(stand_in_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    systems = [*open_systems([stand_in_model], threads=1), BASELINES["copy"], BASELINES["telea"]]
    evaluation = evaluate(
        systems,
        SOURCE,
        ["nose_mask", "blur"],
        split="test",
        plan=Plan(
            open_slow_metrics(),
            robustness=True,
            command="facemend evaluate stand-in.onnx --data <faces> --output report",
        ),
    )
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(
        to_html(evaluation.report, take_examples(evaluation, systems, SOURCE)), encoding="utf-8"
    )
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=_BROWSER, args=["--headless", "--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: "Browser", page_file: Path) -> Iterator["Page"]:
    """The page, on a phone in dark mode; whatever it asks the network for, or complains of, is an error."""
    context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme="dark", offline=True)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: complaints.append(request.url))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.partition(":")[0]))
    page.goto(page_file.as_uri())
    yield page
    context.close()
    assert complaints == []
    assert set(asked) <= {"file", "data"}


def test_every_picture_is_there_and_has_words(page: "Page") -> None:
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert page.evaluate("[...document.images].every(image => image.alt)")
    assert page.locator(".example").count() == 2 * 2 + 3
    assert [title.partition(":")[0] for title in page.locator(".example h3").all_inner_texts()][:3] == [
        "Worst",
        "Median",
        "Best",
    ]


def test_the_slider_wipes_from_input_over_reconstruction_to_truth(page: "Page") -> None:
    figure = page.locator(".example").first
    slider, stack = figure.get_by_role("slider"), figure.locator(".stack")
    # Which picture lies under a point: what is clipped away cannot be hit.
    hit = """(stack, share) => {
        stack.scrollIntoView();
        const box = stack.getBoundingClientRect();
        return document.elementFromPoint(box.left + share * box.width, box.top + box.height / 2).className;
    }"""
    seen = {}
    for place in ("0", "50", "100", "150", "200"):
        slider.fill(place)
        seen[place] = [stack.evaluate(hit, share) for share in (0.25, 0.75)]
    assert seen == {
        "0": ["input", "input"],
        "50": ["delivered", "input"],
        "100": ["delivered", "delivered"],
        "150": ["delivered", "truth"],
        "200": ["truth", "truth"],
    }
    slider.focus()
    page.keyboard.press("Home")
    assert slider.input_value() == "0"
    assert slider.get_attribute("aria-valuetext") == "0% reconstruction"


def test_it_fits_a_phone_and_is_dark_where_the_reader_wants_it(
    page: "Page", browser: "Browser", page_file: Path
) -> None:
    width = "[document.documentElement.scrollWidth, window.innerWidth]"
    colour = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(width) == [390, 390]
    assert page.evaluate(colour) == "rgb(20, 22, 27)"
    light = browser.new_page(viewport={"width": 1200, "height": 800}, color_scheme="light")
    light.goto(page_file.as_uri())
    assert light.evaluate(width) == [1200, 1200]
    assert light.evaluate(colour) == "rgb(255, 255, 255)"
    light.close()


def test_it_can_be_read_by_its_structure(page: "Page") -> None:
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.locator("h1").count() == 1
    levels = [
        int(tag[1]) for tag in page.locator("h1, h2, h3").evaluate_all("all => all.map(h => h.tagName)")
    ]
    assert all(later - earlier <= 1 for earlier, later in pairwise(levels))
    for plot in page.get_by_role("img", name="Quality by").all():
        assert plot.locator("circle").count() >= 3
    assert page.get_by_role("img", name="Quality by").count() == 2
    # Tables have headers in both directions, and can be scrolled from the keyboard.
    tables = page.locator("table").count()
    assert tables >= 8
    assert page.locator(".scroll[tabindex='0'] > table").count() == tables
    assert page.locator("tbody th[scope=row]").count() == page.locator("tbody tr").count()


def test_it_says_the_hashes_and_the_command(page: "Page", stand_in_model: Path) -> None:
    text = page.locator("body").inner_text()
    assert "facemend evaluate stand-in.onnx --data <faces> --output report" in text
    (system, *_) = open_systems([stand_in_model])
    assert str(system.sha256) in text
    assert "no network given: --lpips FILE" in text

"""The page's languages, its life on a home screen, and sharing: in a real browser, see test_serve_page."""

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.test_serve_page import browser, covered, photo, portrait, pytestmark, url
from tests.served import started

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

__all__ = ["browser", "covered", "photo", "portrait", "pytestmark", "url"]
_PAGE = files("facemend.server").joinpath("page")
_LANGUAGES = ("ar", "de", "es", "fr")


def _messages(code: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_PAGE.joinpath(f"messages-{code}.json").read_text("utf-8"))
    return found


class _Texts(HTMLParser):
    """The texts and labels of a document that people read."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()
        self._skipped = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._skipped += tag in ("script", "style", "title", "code", "pre", "noscript")
        self.found |= {value for name, value in attrs if name in ("aria-label", "alt") and value}

    def handle_endtag(self, tag: str) -> None:
        self._skipped -= tag in ("script", "style", "title", "code", "pre", "noscript")

    def handle_data(self, data: str) -> None:
        text = " ".join(data.split())
        if not self._skipped and re.search("[A-Za-z]", text):
            self.found.add(text)


@pytest.mark.parametrize("code", _LANGUAGES)
def test_every_text_of_the_page_has_a_translation(code: str) -> None:
    reader = _Texts()
    reader.feed(_PAGE.joinpath("index.html").read_text("utf-8"))
    text = _messages(code)["text"]
    assert reader.found - text.keys() == {"facemend", "English"}


@pytest.mark.parametrize("code", _LANGUAGES)
def test_a_translation_keeps_what_the_page_puts_in(code: str) -> None:
    messages = _messages(code)
    assert messages.keys() == {"name", "dir", "text"}
    for english, translation in messages["text"].items():
        assert translation.strip(), english
        assert set(re.findall(r"\{\d\}", english)) == set(re.findall(r"\{\d\}", translation)), english


def test_all_languages_translate_the_same() -> None:
    first, *others = ({*_messages(code)["text"]} for code in _LANGUAGES)
    assert all(each == first for each in others)


@pytest.fixture
def foreign(browser: "Browser", url: str, request: pytest.FixtureRequest) -> Iterator["Page"]:
    """The page in a browser of another language; whatever it complains of is an error."""
    context = browser.new_context(locale=request.param, viewport={"width": 390, "height": 844})
    context.set_default_timeout(20_000)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(url)
    page.locator("#language option").nth(4).wait_for(state="attached")
    yield page
    context.close()
    assert [each for each in complaints if "Failed to load resource" not in each] == []


@pytest.mark.parametrize(("foreign", "code"), [("de-AT", "de"), ("ar-EG", "ar")], indirect=["foreign"])
def test_the_page_speaks_the_browsers_language(foreign: "Page", code: str, photo: Path) -> None:
    messages = _messages(code)
    text = messages["text"]
    root = foreign.locator("html")
    assert (root.get_attribute("lang"), root.get_attribute("dir")) == (code, messages["dir"])
    foreign.get_by_role("button", name=text["Choose photos"]).wait_for()
    foreign.set_input_files("#file", photo)
    done = text["One face was found and reconstructed."]
    foreign.locator("#status").filter(has_text=done).wait_for()
    foreign.get_by_text(text["Face {0}"].replace("{0}", "1")).first.wait_for()
    wide = foreign.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0
    # What no translation knows, such as a file's name, stays as it is.
    assert foreign.locator("#work-title").text_content() == photo.name


@pytest.mark.parametrize("foreign", ["ja-JP"], indirect=True)
def test_another_language_is_english_until_one_is_chosen(foreign: "Page") -> None:
    assert foreign.locator("html").get_attribute("lang") == "en"
    foreign.get_by_role("button", name="Choose photos").wait_for()
    foreign.locator("#language").select_option("fr")
    foreign.get_by_role("button", name=_messages("fr")["text"]["Choose photos"]).wait_for()
    foreign.reload()
    foreign.get_by_role("button", name=_messages("fr")["text"]["Choose photos"]).wait_for()


@pytest.mark.parametrize("foreign", ["en-GB"], indirect=True)
def test_the_page_can_be_installed(foreign: "Page") -> None:
    session = foreign.context.new_cdp_session(foreign)
    manifest = session.send("Page.getAppManifest")
    assert manifest["errors"] == []
    assert json.loads(manifest["data"])["name"] == "facemend"
    errors = session.send("Page.getInstallabilityErrors")["installabilityErrors"]
    assert [each["errorId"] for each in errors if each["errorId"] != "in-incognito"] == []


def test_sharing_takes_the_token_out_of_the_address(
    browser: "Browser", stand_in_model: Path, photo: Path
) -> None:
    words = ("--share", "--model", str(stand_in_model), "--threads", "1")
    with started(*words, environment={"FACEMEND_TOKEN": "s/cret +1"}) as (_, address):
        assert "127.0.0.1" not in address
        page = browser.new_page()
        page.goto(f"{address}#token=s%2Fcret%20%2B1")
        page.set_input_files("#file", photo)
        page.locator("#status").filter(has_text="reconstructed").wait_for()
        assert "token" not in page.url
        page.close()
        stranger = browser.new_page()
        stranger.goto(address)
        stranger.set_input_files("#file", photo)
        stranger.locator("#token-dialog").wait_for()
        stranger.close()

"""What the documents tell a reader to type or to open exists."""

import ast
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import click
import pytest

import facemend
from facemend.cli.main import main
from tools.draw_rooms import draw, import_graph

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("configs/*.md")])
_SHELL_LANGUAGES = {"bash", "console", "sh", "shell"}
_FILE_TYPES = (click.Path, click.File)


def _blocks(document: Path, languages: set[str]) -> Iterator[str]:
    """The fenced blocks of a document in the given languages."""
    fence = re.compile(r"^ *```(\w+)[^\n]*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
    for language, block in fence.findall(document.read_text(encoding="utf-8")):
        if language in languages:
            yield block


def _commands(block: str) -> Iterator[list[str]]:
    """The simple commands of a shell block, as words; of a console block, what follows the prompts."""
    lines = block.replace("\\\n", " ").splitlines()
    if any(line.lstrip().startswith("$ ") for line in lines):
        lines = [line.lstrip()[2:] for line in lines if line.lstrip().startswith("$ ")]
    for line in lines:
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if set(word) <= set("|&;<>"):
                if words:
                    yield words
                words = []
            else:
                words.append(word)


def _examples(first: str) -> list[list[str]]:
    """The words after a first word, of every command in the documents that begins with it."""
    return [
        words[1:]
        for document in DOCUMENTS
        for block in _blocks(document, _SHELL_LANGUAGES)
        for words in _commands(block)
        if words[0] == first
    ]


def _resolve(words: list[str]) -> None:
    """Reads a command line as click would, without running it and without asking for its files.

    Raises:
        click.UsageError: there is no such command, option or value.
    """
    command: click.Command = main
    context = click.Context(main, info_name="facemend")
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name, *words = words
        found = command.get_command(context, name)
        if found is None:
            raise click.UsageError(f"no command {name!r}")
        command, context = found, click.Context(found, info_name=name, parent=context)
    values, rest, _ = command.make_parser(context).parse_args(list(words))
    if rest:
        raise click.UsageError(f"too much: {rest}")
    if values.keys() & {"help", "version"}:
        return
    for parameter in command.params:
        value = values.get(parameter.name or "")
        if parameter.required and parameter.value_is_missing(value):
            raise click.UsageError(f"{parameter.name} is missing")
        if isinstance(value, str) and not isinstance(parameter.type, _FILE_TYPES):
            parameter.type_cast_value(context, value)


@pytest.mark.parametrize("words", _examples("facemend"), ids=" ".join)
def test_a_documented_command_has_its_name_options_and_values(words: list[str]) -> None:
    _resolve(words)


@pytest.mark.parametrize("words", _examples("make"), ids=" ".join)
def test_a_documented_target_is_in_the_makefile(words: list[str]) -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {word for word in words if "=" not in word} <= targets


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_a_documented_extra_is_in_the_project(document: Path) -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        extras = tomllib.load(file)["project"]["optional-dependencies"]
    named = re.findall(r"(?:facemend|\.)\[([a-z,]+)\]", document.read_text(encoding="utf-8"))
    assert {extra for names in named for extra in names.split(",")} <= extras.keys()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documented_python_is_python_and_uses_public_names(document: Path) -> None:
    for block in _blocks(document, {"python"}):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert node.value.id != "facemend" or node.attr in facemend.__all__
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("facemend"):
                module = import_module(str(node.module))
                assert all(hasattr(module, alias.name) for alias in node.names), ast.unparse(node)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_a_link_leads_to_a_file(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text(encoding="utf-8")):
        if "://" not in target and not target.startswith("mailto:"):
            assert (document.parent / target).exists(), target


@pytest.mark.parametrize("name", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_a_path_that_a_guide_names_is_there(name: str) -> None:
    words = re.findall(r"`([\w./-]+)`", (ROOT / name).read_text(encoding="utf-8"))
    paths = {word for word in words if "/" in word and not word.startswith(".")}
    assert paths, "the guide names no path at all"
    missing = {path for path in paths if not _is_there(path)}
    assert not missing


def _is_there(path: str) -> bool:
    return any((base / path).exists() for base in (ROOT, ROOT / "src/facemend"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documentation's site, built as `make docs` builds it: a warning is an error."""
    if any(find_spec(name) is None for name in ("mkdocs", "material", "mkdocstrings")):
        pytest.skip("needs the extra docs: pip install '.[docs]'")
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(build, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_readme_is_read_in_one_sitting() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) < 900


def test_the_picture_of_the_rooms_is_that_of_the_import_graph() -> None:
    drawn = (ROOT / "docs/rooms.svg").read_text(encoding="utf-8")
    assert drawn == draw(import_graph()), "draw it again: python tools/draw_rooms.py"


def test_the_site_holds_every_guide_and_every_command(site: Path) -> None:
    pages = {path.relative_to(site).as_posix() for path in site.rglob("*.html")}
    guides = {
        path.relative_to(ROOT / "docs").with_suffix(".html").as_posix() for path in ROOT.glob("docs/*.md")
    }
    assert guides <= pages
    commands = (site / "reference/command-line.html").read_text(encoding="utf-8")
    for name, command in main.commands.items():
        assert f'id="facemend-{name}"' in commands
        for parameter in command.params:
            assert all(option in commands for option in parameter.opts if option.startswith("--"))


def test_the_site_tells_language_models_what_is_where(site: Path) -> None:
    text = (site / "llms.txt").read_text(encoding="utf-8")
    assert text.startswith("# facemend\n\n> ")
    entries = re.findall(r"^- \[([^\]]+)\]\(([^)]+)\): (.+)$", text, re.MULTILINE)
    assert {"photos.md", "find.md", "reference/model-card.md"} <= {uri for _, uri, _ in entries}
    for _, uri, sentence in entries:
        assert (site / uri).is_file()
        assert not {"[", "|", "```"} & set(sentence)


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    loaded = re.compile(
        r"<(?:script|link|img|iframe|source)\b[^>]*?(?:src|srcset|href)=\"?(?:https?:)?//[^\s>]*"
    )
    imported = re.compile(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//[^\s)]*")
    pages = [path for path in site.rglob("*.html") if path.name != "sample-report.html"]
    assert len(pages) > 20
    found = [hit for path in pages for hit in loaded.findall(path.read_text(encoding="utf-8"))]
    found += [
        hit for path in site.rglob("*.css") for hit in imported.findall(path.read_text(encoding="utf-8"))
    ]
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "facemend mend a.jpg",
        "facemend demo --louder",
        "facemend dataset build a b --count many",
        "facemend reconstruct --aligned",
    ],
)
def test_a_command_that_is_not_there_would_be_noticed(line: str) -> None:
    (words,) = _commands(line)
    with pytest.raises(click.UsageError):
        _resolve(words[1:])


def test_commands_are_found_behind_prompts_pipes_and_comments() -> None:
    block = """
        $ facemend demo  # a picture
        wrote it
        $ cat a.png | facemend info - > b && facemend demo \\
            --force
    """
    assert list(_commands(block)) == [
        ["facemend", "demo"],
        ["cat", "a.png"],
        ["facemend", "info", "-"],
        ["b"],
        ["facemend", "demo", "--force"],
    ]

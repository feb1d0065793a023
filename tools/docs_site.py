"""What the documentation's site needs beyond the files in docs/: a hook of MkDocs (mkdocs.yml).

It writes the command line's reference from the commands themselves, takes in the documents of the
repository's root, and leads links that leave the site to where the same text stands on it.
"""

import html
import inspect
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from facemend.cli.main import main

_ROOT = Path(__file__).resolve().parents[1]
_COMMANDS = "<!-- commands -->"
_FROM_THE_ROOT = {
    "MODEL_CARD.md": "reference/model-card.md",
    "ARCHITECTURE.md": "reference/architecture.md",
    "SECURITY.md": "reference/security.md",
    "CONTRIBUTING.md": "reference/contributing.md",
    "CHANGELOG.md": "reference/changes.md",
    "configs/EXPERIMENTS.md": "reference/experiments.md",
    "README.md": "index.md",
}
"""Documents outside docs/, and where they stand on the site."""
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
_FENCE = re.compile(r"(^```.*?^```[^\n]*$)", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the documents that are not in docs/."""
    for name, uri in _FROM_THE_ROOT.items():
        path = _ROOT / name
        if path.exists() and files.get_file_from_path(uri) is None:
            files.append(File.generated(config, uri, content=path.read_text(encoding="utf-8")))
    return files


def on_post_build(config: MkDocsConfig) -> None:
    """Writes llms.txt (llmstxt.org): the contents for language models, and the guides as plain text."""
    site = Path(config.site_dir)
    documents = {uri: _ROOT / name for name, uri in _FROM_THE_ROOT.items() if name != "README.md"}
    lines = [f"# {config.site_name}", "", f"> {config.site_description}", ""]
    for group in config.nav or []:
        for title, pages in group.items():
            named = [(title, pages)] if isinstance(pages, str) else [next(iter(p.items())) for p in pages]
            lines += [f"## {title}", ""]
            for name, uri in named:
                text = documents.get(uri, _ROOT / "docs" / uri).read_text(encoding="utf-8")
                (site / uri).write_text(text, encoding="utf-8")
                lines.append(f"- [{name}]({uri}): {_first_sentence(text)}")
            lines.append("")
    (site / "llms.txt").write_text("\n".join(lines), encoding="utf-8")


def _first_sentence(markdown: str) -> str:
    """The first sentence of a document's first paragraph, without links and emphasis."""
    text = re.sub(r"\A---\n.*?\n---\n", "", markdown, flags=re.DOTALL)
    blocks = [block.strip() for block in _FENCE.sub("", text).split("\n\n")]
    prose = next(block for block in blocks if block and block[0] not in "#!|<-*>:")
    plain = re.sub(r"[*`]", "", _LINK.sub(r"\2", " ".join(prose.split())))
    return re.split(r"(?<=[.:])\s", plain, maxsplit=1)[0].rstrip(":")


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Leads a page's links to the site, and writes the commands where a page wants them.

    A link to a file that is not on the site becomes the file's name.
    """
    uri = page.file.src_uri
    home = next(
        (name for name, there in _FROM_THE_ROOT.items() if there == uri and name != "README.md"), None
    )
    origin = PurePosixPath(home or f"docs/{uri}").parent

    def lead(link: re.Match[str]) -> str:
        mark, text, target = link.groups()
        path, hash_, anchor = target.partition("#")
        if not path or "://" in path or path.startswith("mailto:"):
            return link[0]
        name = os.path.normpath(origin / path)
        there = _FROM_THE_ROOT.get(name, name.removeprefix("docs/"))
        if files.get_file_from_path(there) is not None:
            relative = os.path.relpath(there, PurePosixPath(uri).parent)
            return f"{mark}[{text}]({relative}{hash_}{anchor})"
        if not (_ROOT / name).exists():
            return link[0]  # MkDocs warns of it
        return text if name in text else f"{text} (`{name}`)"

    parts = _FENCE.split(markdown)
    led = "".join(part if part.startswith("```") else _LINK.sub(lead, part) for part in parts)
    return led.replace(_COMMANDS, command_line_reference()) if _COMMANDS in led else led


def command_line_reference() -> str:
    """The commands, their arguments and options as Markdown, from the commands themselves."""
    lines: list[str] = []
    for context in _commands(click.Context(main, info_name="facemend")):
        lines += [f"## {context.command_path}", *_description(context)]
    return "\n\n".join(lines)


def _commands(context: click.Context) -> Iterator[click.Context]:
    """The command of a context and all below it, groups first."""
    yield context
    command = context.command
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from _commands(click.Context(below, info_name=name, parent=context))


def _description(context: click.Context) -> Iterator[str]:
    """How a command is called, what it does, and its options as a definition list."""
    command = context.command
    yield f"```text\n{' '.join([context.command_path, *command.collect_usage_pieces(context)])}\n```"
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(command.help or "")):
        yield _escaped(" ".join(paragraph.replace("\b", "").split()))
    if isinstance(command, click.Group):
        return
    for parameter in command.get_params(context):
        names, text = parameter.get_help_record(context) or ("", "")
        if text:
            yield f"`{names}`\n\n:   {_escaped(text)}"


def _escaped(text: str) -> str:
    """Text that Markdown shows as it is."""
    return re.sub(r"([*_`\[\]])", r"\\\1", html.escape(text, quote=False))

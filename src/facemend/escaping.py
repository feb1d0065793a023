"""Text of strangers (file names, metadata, models' names), made harmless where it is shown.

A terminal obeys escape sequences, a report's reader believes a line of its own, and half a character
(a lone surrogate, as in a file name that is not UTF-8) cannot be written at all.
"""

import json

_MARKDOWN = ("\\", "`", "*", "<", ">", "|", "&")


def printable(text: object) -> str:
    """One line that a terminal shows and does not obey: what is not printable is written as `\\x1b`."""
    said = str(text)
    return said if said.isprintable() else "".join(map(_shown, said))


def printable_lines(text: str) -> str:
    """The same for each line of a text whose newlines are ours."""
    return "\n".join(map(printable, text.split("\n")))


def printable_json(value: object, indent: int | None = None) -> str:
    """A value as JSON text that a terminal shows as it is; it says the same to a program."""
    said = json.dumps(value, ensure_ascii=False, indent=indent)
    if said.replace("\n", "").isprintable():
        return said
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in said)


def markdown(text: str) -> str:
    """One line of text that Markdown shows as it is: no tags, links, emphasis, code or cells of a table."""
    said = printable(text)
    for sign in _MARKDOWN:
        said = said.replace(sign, f"\\{sign}")
    return said.replace("](", "]\\(").replace("://", "\\://")


def fenced(text: str, language: str = "") -> str:
    """A line of code as Markdown's block, which nothing in it can end."""
    said = printable(text)
    fence = "```"
    while fence in said:
        fence += "`"
    return f"{fence}{language}\n{said}\n{fence}"


def _shown(letter: str) -> str:
    return letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")

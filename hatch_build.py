"""The long description for package indexes: the README, whose links lead to the repository or nowhere."""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_IMAGE = re.compile(r"^!\[[^\]]*\]\((?!https?:)[^)]*\)\n(?:\n\*[^\n]*\*\n)?", re.MULTILINE)
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!https?:|#|mailto:)([^)]+)\)")


class CustomMetadataHook(MetadataHookInterface):
    """Called by hatchling."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Sets the long description."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        repository = metadata.get("urls", {}).get("Repository")
        metadata["readme"] = {"content-type": "text/markdown", "text": long_description(text, repository)}


def long_description(readme: str, repository: str | None) -> str:
    """A README as an index shows it, which has none of the repository's files.

    Args:
        repository: the address that relative links and pictures get. None leaves pictures and links out.
    """
    if repository is None:
        return _LINK.sub(r"\1", _IMAGE.sub("", readme))
    base = repository.rstrip("/")
    readme = re.sub(r"!\[([^\]]*)\]\((?!https?:)([^)]+)\)", rf"![\1]({base}/raw/HEAD/\2)", readme)
    return _LINK.sub(rf"[\1]({base}/blob/HEAD/\2)", readme)

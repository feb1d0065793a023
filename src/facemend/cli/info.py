"""facemend info: what a model file, or a picture that facemend wrote, says about itself."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from facemend.cli.options import PATH, say
from facemend.terminal import printable, printable_json


@click.command()
@click.argument("file", type=PATH)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def info(file: Path, as_json: bool) -> None:
    """Say how a model, or a photo or a clip that facemend wrote, was made."""
    from facemend.io import is_clip
    from facemend.reconstruction.provenance import describe_file
    from facemend.video.outputs import describe_clip

    facts = describe_clip(file) if is_clip(file) else describe_file(file)
    if as_json:
        say(printable_json(facts, indent=2))
        return
    lines = list(_lines(facts))
    width = max(len(name) for name, _ in lines)
    for name, value in lines:
        say(f"{name:<{width}}  {printable(value)}")


def _lines(facts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Names and values; a name inside of another is joined by a dot."""
    for key, value in facts.items():
        if key == "config":  # a hundred lines
            yield "config", "see --json" if value else "not given"
        elif key == "regions" and isinstance(value, list):
            for number, region in enumerate(value, 1):
                x, y, width, height = region["box_px"]
                share = f"{100 * region['coverage']:.1f}% of the picture"
                yield f"region {number}", f"{width}×{height} px at {x}, {y}: {share}"
        elif isinstance(value, Mapping) and value:
            yield from _lines(value, f"{prefix}{key}.")
        else:
            yield printable(prefix + key), _shown(value)


def _shown(value: object) -> str:
    if value is None:
        return "not given"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping | list) and not value:
        return "none"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

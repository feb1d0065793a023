"""facemend doctor: what a bug report needs, in one paste."""

from collections.abc import Mapping
from typing import Any

import click

from facemend.cli.options import say
from facemend.terminal import printable_json


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def doctor(as_json: bool) -> None:
    """Check this installation, and print what a bug report needs.

    It reconstructs two portraits that come with facemend and compares the result with that of our tests. It
    names no file and no person of this machine. The exit code is 1 if the check fails.
    """
    from facemend.reconstruction.demo import diagnose

    facts = diagnose()
    say(printable_json(facts, indent=2) if as_json else "\n".join(_lines(facts)))
    if not facts["self_test"]["passed"]:
        click.get_current_context().exit(1)


def _lines(facts: Mapping[str, Any]) -> list[str]:
    machine = f"{facts['system']}, {facts['cores']} cores"
    networks = [f"  {name:<22}{sha256[:16]}" for name, sha256 in facts["networks"].items()]
    test = facts["self_test"]
    return [
        f"facemend {facts['facemend']}, Python {facts['python']}, {machine}",
        f"packages   {_listed(facts['packages'])}",
        f"providers  {', '.join(facts['providers'])}",
        "networks",
        *networks,
        f"self-test  {'passed' if test['passed'] else 'FAILED'}: {test['said']}",
        f"           {test['pixels_sha256'][:16]}",
        "extras",
        *(f"  {name:<10}{_extra(name, extra)}" for name, extra in facts["extras"].items()),
    ]


def _extra(name: str, extra: Mapping[str, Any]) -> str:
    packages = extra["packages"]
    missing = [package for package, version in packages.items() if version is None]
    if packages and not missing:
        return f"{extra['for']}: {_listed(packages)}"
    return f"{extra['for']}: not installed (pip install 'facemend[{name}]')"


def _listed(versions: Mapping[str, str | None]) -> str:
    return ", ".join(f"{name} {version or 'missing'}" for name, version in versions.items())

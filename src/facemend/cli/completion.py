"""facemend completion: lets a shell complete the command's words."""

import os
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from facemend.cli.options import say
from facemend.errors import UsageError

_SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS), required=False)
@click.option("--print", "only_print", is_flag=True, help="Print the script, and install nothing.")
@click.pass_context
def completion(context: click.Context, shell: str | None, only_print: bool) -> None:
    """Install shell completion for bash, zsh or fish (default: the shell that runs this).

    New shells complete commands, options and their values. To undo, delete the file that is named.
    """
    from facemend.files import write_text

    shell = shell or Path(os.environ.get("SHELL", "")).name
    known = get_completion_class(shell)
    if shell not in _SHELLS or known is None:
        raise UsageError(f"name your shell: facemend completion {'|'.join(_SHELLS)}")
    script = known(context.find_root().command, {}, "facemend", "_FACEMEND_COMPLETE").source()
    if only_print:
        say(script)
        return
    path = _script_path(shell)
    write_text(path, script, force=True)
    say(f"wrote {path}; open a new shell")
    if shell == "zsh":
        say(f"in ~/.zshrc, before compinit: fpath=({path.parent} $fpath)")


def _script_path(shell: str) -> Path:
    """Where the shell looks for a user's scripts, by the XDG Base Directory Specification."""
    home = Path.home()
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    config = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    return {
        "bash": data / "bash-completion" / "completions" / "facemend",
        "zsh": data / "zsh" / "site-functions" / "_facemend",
        "fish": config / "fish" / "completions" / "facemend.fish",
    }[shell]

"""The command `facemend`. Commands import what they need when they run, so that help is instant."""

import warnings
from typing import Any, TextIO

import click

from facemend import __version__
from facemend.cli.dataset import dataset
from facemend.cli.demo import demo
from facemend.cli.evaluate import evaluate
from facemend.cli.export import export
from facemend.cli.info import info
from facemend.cli.reconstruct import reconstruct
from facemend.cli.serve import serve
from facemend.cli.train import train
from facemend.errors import FacemendError
from facemend.escaping import printable
from facemend.safe_path import leave_out_current_folder

_INTERRUPTED = 130  # what a shell reports for a command that Ctrl-C ended


class _Facemend(click.Group):
    """Ends every error in one line and the right exit code."""

    def main(self, args: Any = None, *more: Any, **extra: Any) -> Any:
        """Runs the process's own command line, without code from the current folder. Or given words."""
        if args is None:
            leave_out_current_folder()
        return super().main(args, *more, **extra)

    def invoke(self, ctx: click.Context) -> object:
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _say_warning
                # Of what is in a stranger's file: one file can give thousands.
                warnings.filterwarnings("ignore", module="PIL")
                return super().invoke(ctx)
        except FacemendError as error:
            click.echo(f"facemend: {printable(error)}", err=True)
            ctx.exit(error.exit_code)
        except click.UsageError as error:
            message = error.format_message()
            if "\n" in message:  # a group without a command shows its help
                raise
            command = (error.ctx or ctx).command_path
            said = printable(message.rstrip("."))
            click.echo(f"facemend: {said}; see {command} --help", err=True)
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            click.echo("facemend: interrupted", err=True)
            ctx.exit(_INTERRUPTED)


def _say_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Says a warning in one line, without the place in the code that Python would add."""
    click.echo(f"facemend: {printable(message)}", err=True)


@click.group("facemend", cls=_Facemend, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="facemend %(version)s")
def main() -> None:
    """Find what hides a face in a photo and reconstruct what is under it.

    A reconstruction is a guess, not evidence of who somebody is.
    """


main.add_command(dataset)
main.add_command(demo)
main.add_command(evaluate)
main.add_command(export)
main.add_command(info)
main.add_command(reconstruct)
main.add_command(serve)
main.add_command(train)

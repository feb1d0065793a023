"""The command `facemend`. Commands import what they need when they run, so that help is instant."""

import errno
import os
import sys
import warnings
from contextlib import suppress
from typing import Any, TextIO

import click

from facemend import __version__
from facemend.cli.apply import apply
from facemend.cli.completion import completion
from facemend.cli.dataset import dataset
from facemend.cli.demo import demo
from facemend.cli.doctor import doctor
from facemend.cli.evaluate import evaluate
from facemend.cli.export import export
from facemend.cli.find import find
from facemend.cli.info import info
from facemend.cli.options import advised
from facemend.cli.reconstruct import reconstruct
from facemend.cli.serve import serve
from facemend.cli.train import train
from facemend.cli.watch import watch
from facemend.errors import FacemendError, reason_of
from facemend.safe_path import leave_out_current_folder
from facemend.terminal import printable

_INTERRUPTED = 130  # what a shell reports for a command that Ctrl-C ended


class _Facemend(click.Group):
    """Ends every error in one line and the right exit code."""

    def main(self, args: Any = None, *more: Any, **extra: Any) -> Any:
        """Runs the process's own command line, without code from the current folder. Or given words."""
        if args is None:
            _open_closed_streams()
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
            click.echo(f"facemend: {printable(advised(error))}", err=True)
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
        except MemoryError:
            click.echo("facemend: there is not enough memory for this; give it less at a time", err=True)
            ctx.exit(FacemendError.exit_code)
        except OSError as error:
            if error.errno == errno.EPIPE:  # whoever reads has enough: click ends in silence
                raise
            _drop_output()
            click.echo(f"facemend: {printable(_reason_at_the_edge(error))}", err=True)
            ctx.exit(FacemendError.exit_code)


def _reason_at_the_edge(error: OSError) -> str:
    """What an error of the system says that no command has expected."""
    if isinstance(error, FileNotFoundError) and not error.filename:
        return "the current folder was removed; change to one that is there"
    return f"{error.filename}: {reason_of(error)}" if error.filename else reason_of(error)


def _open_closed_streams() -> None:
    """Makes stdin, stdout and stderr at least lead nowhere, where a shell has closed them.

    Otherwise the next file that is opened would take the number of one, and be written into.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            with suppress(OSError):
                os.fstat(number)
                continue  # somebody else's file has the number already
            # The system gives it the lowest number that is free, which is the one that was closed.
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123 (to the end)


def _drop_output() -> None:
    """Lets what could not be written to stdout go nowhere, so that Python's end does not try again."""
    with suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()
        return
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


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


main.add_command(apply)
main.add_command(completion)
main.add_command(dataset)
main.add_command(demo)
main.add_command(doctor)
main.add_command(evaluate)
main.add_command(export)
main.add_command(find)
main.add_command(info)
main.add_command(reconstruct)
main.add_command(serve)
main.add_command(train)
main.add_command(watch)

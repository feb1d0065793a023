"""The command `facemend`. Commands import what they need when they run, so that help is instant."""

import click

from facemend import __version__
from facemend.errors import FacemendError


class _Facemend(click.Group):
    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except FacemendError as error:
            click.echo(f"facemend: {error}", err=True)
            ctx.exit(error.exit_code)


@click.group(cls=_Facemend, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="facemend %(version)s")
def main() -> None:
    """Find what hides a face in a photo and reconstruct what is under it.

    A reconstruction is a guess, not evidence of who somebody is.
    """

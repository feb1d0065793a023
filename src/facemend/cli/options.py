"""Options that several commands share."""

import shlex
from pathlib import Path
from typing import Any

import click

from facemend.escaping import printable_lines
from facemend.reconstruction.options import Device

model_option = click.option(
    "--model",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Use this model, not the one that comes with facemend.",
)
device_option = click.option(
    "--device",
    type=click.Choice([device.value for device in Device]),
    default=Device.AUTO.value,
    show_default=True,
    help="Where to compute.",
)
engine_option = click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Who does the work: this machine, or a Ray cluster (docs/scale.md).",
)
ray_address_option = click.option(
    "--ray-address", metavar="ADDRESS", help="Of a Ray cluster.  [default: a Ray of its own, here]"
)
quiet_option = click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")


class _Region(click.ParamType[tuple[float, float, float, float]]):
    """Four numbers: x, y, width, height."""

    name = "region"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, float, float, float]:
        try:
            x, y, width, height = map(float, str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is no region; give x,y,width,height in pixels", param, ctx)
        return x, y, width, height


REGION = _Region()


def say(text: object, *, error: bool = False) -> None:
    """Prints text whose newlines are ours; what strangers wrote in it is shown and not obeyed."""
    click.echo(printable_lines(str(text)), err=error)


def command_line(context: click.Context) -> str:
    """The command that is running, as one would type it again; options at their default are left out."""
    words = ["facemend", *context.command_path.split()[1:]]
    for parameter in context.command.params:
        value = context.params[str(parameter.name)]
        if isinstance(parameter, click.Argument):
            words += map(str, value if parameter.nargs != 1 else [value])
        elif value is not None and value != parameter.get_default(context):
            assert isinstance(parameter, click.Option)
            values = value if parameter.multiple else [value]
            for each in values:
                words += [max(parameter.opts, key=len), *([] if each is True else [str(each)])]
    return shlex.join(words)

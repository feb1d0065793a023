"""Options that several commands share."""

import shlex
from collections.abc import Callable, Mapping
from dataclasses import fields
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

import click

from facemend.escaping import printable_lines
from facemend.reconstruction.options import Device, Options

CommandT = TypeVar("CommandT", bound=Callable[..., Any])

model_option = click.option(
    "--model",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The model to use.  [default: the one that comes with facemend]",
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
    help="Where the work is done: on this machine, or on a Ray cluster (docs/scale.md).",
)
ray_address_option = click.option(
    "--ray-address", metavar="ADDRESS", help="Address of a Ray cluster.  [default: start one here]"
)
quiet_option = click.option("-q", "--quiet", is_flag=True, help="Print errors only.")


class _Region(click.ParamType[tuple[float, float, float, float]]):
    """Four numbers: x, y, width, height."""

    name = "region"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, float, float, float]:
        try:
            x, y, width, height = map(float, str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not a region; give x,y,width,height in pixels", param, ctx)
        return x, y, width, height


REGION = _Region()


_SPELLED: Mapping[str, tuple[str, dict[str, Any]]] = {
    "mask": ("--mask", {"metavar": "FILE", "type": click.Path(path_type=Path)}),
    "faces": ("--face", {"metavar": "X,Y,W,H", "type": REGION, "multiple": True}),
    "keep": ("--keep", {"metavar": "X,Y,W,H|FILE", "multiple": True}),
}
"""The fields of `Options` whose words on the command line do not follow from their type."""


def reconstruction_options(command: CommandT) -> CommandT:
    """Gives a command an option for each field of `Options`, with its help and its default."""
    for field in reversed(fields(Options)):
        flag, settings = _SPELLED.get(field.name, ("--" + field.name.replace("_", "-"), {}))
        default = field.default
        if isinstance(field.default, bool):
            settings = {"is_flag": True}
        elif isinstance(field.default, StrEnum):
            names = [each.value for each in type(field.default)]
            settings, default = {"type": click.Choice(names), "show_default": True}, field.default.value
        elif isinstance(field.default, float):
            settings = {"type": click.FloatRange(0, 1), "show_default": True}
        if not settings.get("multiple"):
            settings = {**settings, "default": default}
        command = click.option(flag, field.name, help=field.metadata["help"], **settings)(command)
    return command


_ADVICE = {
    "force=True": "--force",
    "strip=True": "--strip",
    "primary_only=True": "--primary-only",
    "aligned=True": "--aligned",
    "recursive=True": "--recursive",
    "in_place=True": "--in-place",
    'device="cpu"': "--device cpu",
    "faces=[(x, y, width, height)]": "--face X,Y,W,H",
}
"""What the library's errors advise, in the words of the command line."""


def advised(error: object) -> str:
    """What an error says, with the command line's options in place of Python's arguments."""
    text = str(error)
    for argument, option in _ADVICE.items():
        text = text.replace(argument, option)
    return text


def say(text: object, *, error: bool = False) -> None:
    """Prints text whose newlines are ours. Control characters of a stranger are shown, not obeyed."""
    click.echo(printable_lines(str(text)), err=error)


def command_line(context: click.Context) -> str:
    """The command that is running, as one would type it again, without options at their default."""
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

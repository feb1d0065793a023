"""Options that several commands share."""

import shlex
from collections.abc import Callable, Container, Mapping
from dataclasses import fields
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from facemend.errors import UsageError
from facemend.reconstruction.options import FIND_OPTIONS, Device, Length, Options, length_of, options_of
from facemend.terminal import printable_lines

if TYPE_CHECKING:
    from facemend.reconstruction.provenance import Credentials

CommandT = TypeVar("CommandT", bound=Callable[..., Any])


class _NamedPath(click.Path):
    """A path that has a name. An empty text, as of a variable that is not set, is no current folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("the name of a file is empty", param, ctx)
        return super().convert(value, param, ctx)


PATH = _NamedPath(path_type=Path)

model_option = click.option(
    "--model",
    metavar="FILE",
    type=PATH,
    help="The model to use.  [default: the one that comes with facemend]",
)
detector_option = click.option(
    "--detector",
    metavar="FILE",
    type=PATH,
    help="Find faces with this YuNet (ONNX).  [default: the detector that comes with facemend]",
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
certificate_option = click.option(
    "--c2pa-certificate",
    "certificate",
    metavar="FILE",
    type=PATH,
    help="Sign what is written with this certificate chain (PEM), as a C2PA manifest.",
)
key_option = click.option(
    "--c2pa-key",
    "key",
    metavar="FILE",
    type=PATH,
    help="The private key of the certificate (PEM).",
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


class _Length(click.ParamType[Length]):
    """Pixels such as 8, or percent such as 5%."""

    name = "length"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Length:
        try:
            return length_of(value)
        except UsageError as error:
            self.fail(str(error), param, ctx)


class _Numbers(click.ParamType[tuple[int, ...]]):
    """Whole numbers with commas between them."""

    name = "numbers"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        try:
            return value if isinstance(value, tuple) else tuple(map(int, str(value).split(",")))
        except ValueError:
            self.fail(f"{value!r} names no faces; give their numbers, such as 1,3", param, ctx)


_LENGTH: dict[str, Any] = {"metavar": "PX|%", "type": _Length()}


_SPELLED: Mapping[str, tuple[str, dict[str, Any]]] = {
    "mask": ("--mask", {"metavar": "FILE", "type": PATH}),
    "faces": ("--face", {"metavar": "X,Y,W,H", "type": REGION, "multiple": True}),
    "keep": ("--keep", {"metavar": "X,Y,W,H|FILE", "multiple": True}),
    "grow": ("--grow", {**_LENGTH, "show_default": True}),
    "feather": ("--feather", _LENGTH),
    "only": ("--only", {"metavar": "N,N", "type": _Numbers()}),
    "largest": ("--largest", {"metavar": "N", "type": click.IntRange(min=1)}),
    "min_face": ("--min-face", _LENGTH),
    "max_face": ("--max-face", _LENGTH),
}
"""The fields of `Options` whose words on the command line do not follow from their type."""


def reconstruction_options(command: CommandT, only: Container[str] | None = None) -> CommandT:
    """Gives a command an option for each field of `Options`, with its help and its default.

    Args:
        only: names of the fields. None for all.
    """
    for field in reversed(fields(Options)):
        if only is not None and field.name not in only:
            continue
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


def find_options(command: CommandT) -> CommandT:
    """Gives a command the options that decide about what is found."""
    return reconstruction_options(command, FIND_OPTIONS)


def folder_options(command: CommandT) -> CommandT:
    """Gives a command the options that are not for one photo alone."""
    names = {each.name for each in fields(Options)} - {"mask", "faces", "only"}
    return reconstruction_options(command, names)


def read_options(values: dict[str, Any]) -> Options:
    """The options of the command line, their masks read."""
    from facemend.io import read_mask

    regions, masks = [], []
    for value in values["keep"]:
        try:
            regions.append(REGION.convert(value, None, None))
        except click.UsageError:
            masks.append(Path(value))
    if len(masks) > 1:
        raise UsageError("--keep takes one picture; put the regions together into one")
    mask = read_mask(values["mask"]) if values.get("mask") else None
    return options_of(None, values | {"mask": mask, "keep": (*regions, *map(read_mask, masks))})


def read_signing(certificate: Path | None, key: Path | None) -> "Credentials | None":
    """What files are signed with, or None. Raises UsageError: one of both is missing, or does not fit."""
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise UsageError("signing takes both --c2pa-certificate and --c2pa-key; name both files")
    from facemend.reconstruction.provenance import read_credentials

    return read_credentials(certificate, key)


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

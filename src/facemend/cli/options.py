"""Options that several commands share."""

from pathlib import Path

import click

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
quiet_option = click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")

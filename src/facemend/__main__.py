"""`python -m facemend`: the command line, for launchers that start modules (torchrun, accelerate)."""

from facemend.cli.main import main

main()

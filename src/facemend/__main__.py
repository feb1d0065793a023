"""`python -m facemend`: the command line, for launchers that start modules (torchrun, accelerate).

In a stranger's folder use the command `facemend`, or `python -P -m facemend`: before `-m` runs a line of
ours, Python itself imports modules such as `contextlib`, and looks for them in the current folder first.
"""

from facemend.safe_path import leave_out_current_folder

if __name__ == "__main__":
    leave_out_current_folder()
    from facemend.cli.main import main

    main()

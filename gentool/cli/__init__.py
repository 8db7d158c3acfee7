"""The command line: one module a verb.

Plain help instead of Typer's rich panels: those cost 0.15 s at every `--help`, more than all the
rest, and `TYPER_USE_RICH=1` brings them back.
"""

import os

from gentool.subprocesses import forget_current_folder

forget_current_folder()  # before a verb imports anything
os.environ.setdefault("TYPER_USE_RICH", "0")

"""What is run as ``vaccelctl``: it loads the rest so that Ctrl-C ends it quietly from the start."""

from __future__ import annotations

import sys


def main() -> None:
    """The program."""
    try:
        from vaccel.cli.main import main as program

        program()
    except KeyboardInterrupt:
        sys.exit(130)  # as errors.INTERRUPTED; that module is not loaded yet

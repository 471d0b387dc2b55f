"""Where a benchmark's program runs; apart from ``place``, so that the CLI's help stays quick."""

from __future__ import annotations

from enum import StrEnum


class Where(StrEnum):
    """Where the program that uses the VF runs."""

    VM = "vm"
    LOCAL = "local"

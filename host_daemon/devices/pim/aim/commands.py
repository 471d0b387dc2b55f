"""The DRAM commands of AiM that work on all sixteen banks of a channel, or on what they share.

Values are the names that the public simulator counts them by.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Command(StrEnum):
    """A command on a channel's command bus."""

    ACTIVATE = "ACT16"  # open a row in all banks
    PRECHARGE = "PREA"  # close all rows
    MAC = "MAC16"  # 16 products a bank with the buffer, added to its MAC register
    AF = "AF16"  # the activation function of the MAC registers
    EWMUL = "EWMUL16"  # element-wise product of two banks of each group, into a third
    WRITE_BUFFER = "WRGB"  # 32 bytes into the global buffer
    WRITE_MAC = "WRMAC16"  # 16 bits into each MAC register
    READ_MAC = "RDMAC16"  # 16 bits out of each
    READ_AF = "RDAF16"  # 16 bits out of each activation register
    WRITE_BANKS = "WRA16"  # 32 bytes, the same column of every bank
    MODE = "TMOD"  # between computing, and access to registers and buffer


# Commands that need their row open in all banks.
COMPUTE: Final = (Command.MAC, Command.AF, Command.EWMUL)
ON_ROWS: Final = frozenset((*COMPUTE, Command.WRITE_BANKS))
# Commands that need the channel in register mode; all others need it to compute.
ON_REGISTERS: Final = frozenset(
    (Command.WRITE_BUFFER, Command.WRITE_MAC, Command.READ_MAC, Command.READ_AF)
)

"""The DRAM commands of AiM: those that work on all sixteen banks of a channel, or on what these
share, and those on single banks.

Values are the names that the public simulator counts them by.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Command(StrEnum):
    """A command on a channel's command bus."""

    ACTIVATE = "ACT16"  # open a row in all banks
    PRECHARGE = "PREA"  # close all rows
    MAC = "MAC16"  # 16 products a bank, added to its MAC register
    AF = "AF16"  # the activation function of the MAC registers
    EWMUL = "EWMUL16"  # element-wise product of two banks of each group, into a third
    WRITE_BUFFER = "WRGB"  # 32 bytes into the global buffer
    WRITE_MAC = "WRMAC16"  # 16 bits into each MAC register
    READ_MAC = "RDMAC16"  # 16 bits out of each
    READ_AF = "RDAF16"  # 16 bits out of each activation register
    WRITE_BANKS = "WRA16"  # 32 bytes, the same column of every bank
    MODE = "TMOD"  # between computing, and access to registers and buffer
    ACTIVATE_ONE = "ACT"  # open a row of one bank
    PRECHARGE_ONE = "PRE"  # close it
    READ_ONE = "RD"  # 32 bytes out of one bank
    WRITE_ONE = "WR"  # 32 bytes into it
    MAC_ONE = "MAC"  # 16 products of one bank
    BANK_TO_BUFFER = "RDCP"  # 32 bytes of a bank into the global buffer
    BUFFER_TO_BANK = "WRCP"  # 32 bytes of the buffer into a bank


# Commands that need their row open in all banks.
COMPUTE: Final = (Command.MAC, Command.AF, Command.EWMUL)
ON_ROWS: Final = frozenset((*COMPUTE, Command.WRITE_BANKS))
# Commands that need the channel in register mode; all others need it to compute.
ON_REGISTERS: Final = frozenset(
    (Command.WRITE_BUFFER, Command.WRITE_MAC, Command.READ_MAC, Command.READ_AF)
)
# Commands that need their row open in the one bank that they name.
ON_ONE_ROW: Final = frozenset(
    (
        Command.READ_ONE,
        Command.WRITE_ONE,
        Command.MAC_ONE,
        Command.BANK_TO_BUFFER,
        Command.BUFFER_TO_BANK,
    )
)
ON_ONE: Final = ON_ONE_ROW | {Command.ACTIVATE_ONE, Command.PRECHARGE_ONE}
TOGETHER: Final = tuple(each for each in Command if each not in ON_ONE)

"""What the host asks of a channel, burst by burst, to run a kernel in its banks.

A PIM kernel is ordinary reads and writes at addresses that the device takes for something else.
The addresses and the protocol are those of Samsung's published programming model (S. Lee et al.,
"Hardware Architecture and Software Stack for PIM Based on Commercial DRAM Technology", ISCA 2021;
PIMSimulator's README, section "Programming Guide"):

- rows with bit 12 are no memory in PIM modes;
- SB to HAB: activate row 0x17ff, column 0x1f, in banks 0, 1, 8 and 9;
- HAB to SB: precharge row 0x1fff in banks 0 and 1;
- row 0x3fff is the device's registers: column 0 the mode, 1 the SRF, 4 to 7 the CRF, 8 to 15 GRF_A,
  24 to 31 GRF_B;
- all else in HAB_PIM mode steps the program counter, in all banks of the addressed parity at once.

A barrier is a fence of the host: nothing passes a transaction that carries one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Final, NamedTuple

from host_daemon.devices.pim.hbm.timing import BANKS, BANKS_PER_GROUP, COLUMNS, GROUPS

PARK_ROW: Final = 0x1000
HAB_ROW: Final = 0x17FF
SB_ROW: Final = 0x1FFF
REGISTER_ROW: Final = 0x3FFF
NO_MEMORY: Final = 1 << 12
LAST_COLUMN: Final = COLUMNS - 1
MODE_COLUMN: Final = 0
SRF_COLUMN: Final = 1
CRF_COLUMN: Final = 4
GRF_A_COLUMN: Final = 8
GRF_B_COLUMN: Final = 24
# Registers of each GRF, and columns of a row that one pass over them takes.
REGISTERS: Final = 8


class Transaction(NamedTuple):
    """One burst. ``barrier``: it waits for all before it, and all after it wait for it.

    ``enters`` says the mode that a write of the mode register asks for: "pim", "all", or "".
    """

    write: bool
    bank: int
    row: int
    column: int
    barrier: bool = False
    enters: str = ""


Step = tuple[Transaction, ...]


@lru_cache(maxsize=4096)
def burst(write: bool, bank: int, row: int, column: int, count: int = REGISTERS) -> Step:
    """``count`` bursts of neighbouring columns, a barrier on the last. Columns may run over."""
    return tuple(
        Transaction(
            write,
            bank,
            row + (column + index) // COLUMNS,
            (column + index) % COLUMNS,
            index == count - 1,
        )
        for index in range(count)
    )


def _park() -> Step:
    """A read of every bank: closes what rows other traffic left open."""
    banks = [
        group * BANKS_PER_GROUP + bank for bank in range(BANKS_PER_GROUP) for group in range(GROUPS)
    ]
    return tuple(
        Transaction(False, bank, PARK_ROW, 0, index == BANKS - 1)
        for index, bank in enumerate(banks)
    )


def _enter_all_bank() -> Step:
    return tuple(
        Transaction(True, bank, HAB_ROW, LAST_COLUMN, bank == 9) for bank in (0, 1, 8, 9)
    )


def _leave_all_bank() -> Step:
    return tuple(Transaction(True, bank, SB_ROW, LAST_COLUMN, bank == 1) for bank in (0, 1))


@cache
def write_mode(enters: str) -> Step:
    """A write of the mode register."""
    return (Transaction(True, 0, REGISTER_ROW, MODE_COLUMN, True, enters),)


def write_grf(bank: int = 1) -> Step:
    """Eight bursts of the host into GRF_A of all blocks."""
    return burst(True, bank, REGISTER_ROW, GRF_A_COLUMN)


@cache
def write_srf() -> Step:
    """One burst of the host into the SRF of all blocks."""
    return (Transaction(True, 0, REGISTER_ROW, SRF_COLUMN, True),)


def program(words: int) -> Step:
    """The CRF: eight instructions of 32 bits to a burst."""
    return burst(True, 1, REGISTER_ROW, CRF_COLUMN, -(-words // 8))


@cache
def opening(words: int) -> Step:
    """Until the program is in: parked, all-bank mode, CRF written."""
    return (*_park(), *_enter_all_bank(), *program(words))


@cache
def closing() -> Step:
    """From all-bank mode back to single-bank mode, parked."""
    return (*_leave_all_bank(), *_park())


@dataclass(frozen=True, slots=True)
class Phase:
    """``count`` repetitions of a step whose rows move on by ``stride`` columns each time."""

    step: Step
    count: int = 1
    stride: int = 0

    def __iter__(self) -> Iterator[Transaction]:
        """Every transaction, at its own address."""
        for turn in range(self.count):
            for each in self.step:
                if not self.stride or each.row & NO_MEMORY:
                    yield each
                    continue
                column = each.column + turn * self.stride
                yield each._replace(row=each.row + column // COLUMNS, column=column % COLUMNS)

"""Every command of a kernel with its cycle, in the columns of PIMSimulator's trace.

The simulator notes a command when it reaches the device, one cycle after it was issued; what the
PIM logic notes, which is everything but ACT, PRE and REF outside SB mode, one more. A PRE is noted
with the row that the bank opened last as memory: rows with bit 12 are not kept.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from typing import IO, Final

from host_daemon.devices.pim.hbm import kernels, program
from host_daemon.devices.pim.hbm.controller import Channel, Command
from host_daemon.devices.pim.hbm.crf import text
from host_daemon.devices.pim.hbm.kernels import Kernel
from host_daemon.devices.pim.hbm.program import Program
from host_daemon.devices.pim.hbm.sequencer import Sequencer
from host_daemon.devices.pim.hbm.timing import BANKS, BANKS_PER_GROUP, Timing
from host_daemon.devices.pim.hbm.transactions import (
    CRF_COLUMN,
    GRF_A_COLUMN,
    GRF_B_COLUMN,
    MODE_COLUMN,
    NO_MEMORY,
    REGISTER_ROW,
    SRF_COLUMN,
    Transaction,
)

COLUMNS: Final = ("cycle", "cmd", "bankgroup", "bank", "row", "col", "grf_reg", "crf_pc_and_op")
Row = tuple[str, ...]
_NAMES: Final = {"ACT": "ACTIVATE", "PRE": "PRECHARGE"}


def _row(cycle: int, name: str, *rest: int | str) -> Row:
    cells = (cycle, name, *rest)
    return tuple(str(cell) for cell in (*cells, *[""] * (len(COLUMNS) - len(cells))))


class _Device:
    """The device's side: modes, the program counter, the rows that it has open as memory."""

    def __init__(self, of: Program, zeroes: bool) -> None:
        self.mode = "SB"
        self.sequencer = Sequencer(of)
        self.zeroes = zeroes  # GRF_B is cleared when HAB_PIM begins
        self.memory_row = [0] * BANKS
        self.rows: list[Row] = []

    def take(self, command: Command, mode: str) -> None:
        """Note a command; ``mode`` is the controller's once it has been issued."""
        arrived = command.cycle + 1
        if command.kind == "REF":
            self.rows.append(_row(arrived, "REF"))
        elif command.kind in _NAMES:
            self._note_row(command, arrived)
        elif self.mode == "SB":
            self.rows.append(self._access(command, arrived))
        else:
            self._note_unit(command, arrived + 1)
        if mode != self.mode:
            self._note_mode(command, arrived, mode)

    def _note_row(self, command: Command, arrived: int) -> None:
        bank = command.bank
        group = bank // BANKS_PER_GROUP
        if command.kind == "PRE":
            row = self.memory_row[bank]
            self.rows.append(_row(arrived, "PRECHARGE", group, bank, row))
            return
        column = command.transaction.column if command.transaction else 0
        self.rows.append(_row(arrived, "ACTIVATE", group, bank, command.row, column))
        if command.row & NO_MEMORY:
            return
        together = range(bank % 2, BANKS, 2) if self.mode != "SB" else (bank,)
        for each in together:
            self.memory_row[each] = command.row

    def _access(self, command: Command, cycle: int, operation: str = "") -> Row:
        group, column = command.bank // BANKS_PER_GROUP, _column(command)
        place = (group, command.bank, command.row, column)
        return _row(cycle, command.kind, *place, "", operation)

    def _note_unit(self, command: Command, cycle: int) -> None:
        if command.row == REGISTER_ROW:
            self.rows += _register(_column(command), cycle)
        elif command.row & NO_MEMORY or self.mode != "HAB_PIM":
            self.rows.append(self._access(command, cycle))
        else:
            for index, instruction in self.sequencer.burst():
                operation = f"{index}:{text(instruction)}"
                self.rows.append(self._access(command, cycle, operation))

    def _note_mode(self, command: Command, arrived: int, mode: str) -> None:
        if mode == "HAB_PIM":
            self.sequencer.reset()
            if self.zeroes:
                self.rows.append(_row(arrived + 1, "GRF_B_ZEROIZE"))
            self.rows.append(_row(arrived + 1, "HAB_PIM"))
        elif mode == "SB":
            self.rows.append(_row(arrived, "SB mode"))
        elif self.mode == "SB":
            self.rows.append(_row(arrived, "HAB"))
        else:
            self.rows.append(_row(arrived + 1, "HAB mode"))
        self.mode = mode


def _column(command: Command) -> int:
    transaction: Transaction | None = command.transaction
    return transaction.column if transaction else 0


def _register(column: int, cycle: int) -> list[Row]:
    """A write of the device's registers; that of the mode is noted as the mode's change."""
    if column == MODE_COLUMN:
        return []
    if column == SRF_COLUMN:
        return [_row(cycle, "BWRITE_SRF")]
    if column < GRF_A_COLUMN:
        return [_row(cycle, "BWRITE_CRF")] if column >= CRF_COLUMN else []
    name, first = ("A", GRF_A_COLUMN) if column < GRF_B_COLUMN else ("B", GRF_B_COLUMN)
    return [_row(cycle, f"BWRITE_GRF_{name}", "", "", "", "", column - first)]


def record(kernel: Kernel, of: Program, timing: Timing, *, zeroes: bool = False) -> list[Row]:
    """All commands of a kernel on one channel until its last data has arrived."""
    device = _Device(of, zeroes)
    channel = Channel(timing)
    issued: list[Command] = []
    channel.sink = issued.append
    source: Iterator[Transaction] = iter(kernel)
    # The mode of a command is the channel's once it is out: one step, one command.
    end = 0
    for command, mode in _stepped(channel, source, issued):
        device.take(command, mode)
        end = command.cycle if command.transaction and command.kind != "ACT" else end
    last = end + timing.read_return - 1
    return [row for row in device.rows if int(row[0]) <= last]


def _stepped(
    channel: Channel, source: Iterator[Transaction], issued: list[Command]
) -> Iterator[tuple[Command, str]]:
    for _ in channel.steps(source):
        yield issued[-1], channel.mode
    # Rows stay open until nothing wants them; the controller closes them while data returns.
    for _ in channel.settle(channel.timing.read_return):
        yield issued[-1], channel.mode


def write(rows: Sequence[Row], file: IO[str]) -> None:
    """As CSV with a header."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows)


def gemv(outputs: int, inputs: int, timing: Timing) -> list[Row]:
    """The trace of GEMV on one channel."""
    tiles = -(-inputs // kernels.TILE_INPUTS)
    rounds = -(-outputs // kernels.TILE_OUTPUTS)
    of = program.gemv(tiles)
    return record(kernels.gemv(tiles, rounds, len(of)), of, timing, zeroes=True)

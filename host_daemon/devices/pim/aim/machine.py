"""Runs a program instruction by instruction over data: banks, global buffers, registers.

What each instruction does to data is the public simulator's description of it (README and
comments); the simulator itself holds none. Where that leaves something open, taken here:

- An instruction moves columns from the first one of a row on, ``size`` of them, or one.
- Of several channels, the k-th one named takes or fills the k-th register from the one named; the
  global buffers of all are written from the same registers.
- Writing all banks writes the same 32 bytes to each.
- With vectors from the neighbouring bank, an even bank multiplies with the odd one behind it.
- An element-wise product is bank 0 of a group by bank 1, into bank 2; of all groups, or the first.
- EWADD adds the second registers to the first, in bf16.

A channel's number is its bit in a mask, and that of W MEM and R MEM.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from host_daemon.devices.pim.aim.activation import activate
from host_daemon.devices.pim.aim.arithmetic import Floats, accumulate, multiply, rounded
from host_daemon.devices.pim.aim.gemv import BANKS, LANES, ROW
from host_daemon.devices.pim.aim.isr import (
    BROADCAST,
    FUNCTION,
    GROUPS,
    REGISTERS,
    START,
    Instruction,
    Opcode,
)
from vaccel import bounds
from vaccel.errors import InvalidArgument

_PER_GROUP: Final = 4
_NOTHING: Final = np.zeros(ROW, np.float32)
# By the number that W CFR 2 takes; the last ones have no table.
FUNCTION_NAMES: Final = ("Sigmoid", "Tanh", "Gelu", "Relu", "LeakyRelu")


class Machine:
    """``channels`` channels, all zero, with the configuration that the simulator starts with.

    ``registers`` are the host's, (16384, 16), ``sums`` the MAC registers and
    ``results`` those behind the activation functions, (channels, 16). All values are bf16, the sums
    float32.
    """

    def __init__(self, channels: int) -> None:
        self.channels = channels
        self.registers: Floats = np.zeros((REGISTERS, LANES), np.float32)
        self.configuration = dict(START)
        self.buffer: Floats = np.zeros((channels, ROW), np.float32)
        self.sums: Floats = np.zeros((channels, BANKS), np.float32)
        self.results: Floats = np.zeros((channels, BANKS), np.float32)
        self._rows: dict[tuple[int, int, int], Floats] = {}

    def row(self, channel: int, bank: int, row: int) -> Floats:
        """A row of a bank, (1024,), to be written in place. Raises InvalidArgument where too many
        are.
        """
        found = self._rows.get((channel, bank, row))
        if found is None:
            if len(self._rows) == bounds.PIM_MACHINE_ROWS:
                raise InvalidArgument(f"more than {bounds.PIM_MACHINE_ROWS} rows of banks in use")
            found = self._rows[channel, bank, row] = np.zeros(ROW, np.float32)
        return found

    def read(self, channel: int, bank: int, row: int, size: int = 1) -> Floats:
        """The first ``size`` columns of a row, (16 * size,)."""
        return self._rows.get((channel, bank, row), _NOTHING)[: size * LANES]

    def load(self, banks: NDArray[Any], first_row: int = 0) -> None:
        """Put (channels, banks, rows, 1024) into the banks, as ``layout.to_banks`` gives them."""
        for channel, bank, row in np.ndindex(banks.shape[:3]):
            self.row(channel, bank, first_row + row)[:] = rounded(banks[channel, bank, row])

    def run(
        self, program: Iterable[Instruction], written: Iterable[NDArray[Any]] = ()
    ) -> list[Floats]:
        """Every instruction in order; what the host reads with R GPR and R MEM, a burst each.

        ``written`` are the bursts of W GPR and W MEM, in order. Raises InvalidArgument naming the
        instruction that lacks one, names what is not there, or takes a function without a table.
        """
        bursts, read = iter(written), list[Floats]()
        for number, each in enumerate(program, start=1):
            try:
                self._step(each, bursts, read)
            except InvalidArgument as error:
                message = f"instruction {number}, {each.opcode}: {error.message}"
                raise InvalidArgument(message, hint=error.hint) from error
        return read

    def _step(self, each: Instruction, bursts: Any, read: list[Floats]) -> None:
        beyond = [index for index in each.channels if index >= self.channels]
        if beyond:
            raise InvalidArgument(f"channel = {beyond[0]} is not there: there are {self.channels}")
        match each.opcode:
            case Opcode.W_GPR:
                self._register(each.register)[:] = _burst(bursts)
            case Opcode.R_GPR:
                read.append(self._register(each.register).copy())
            case Opcode.W_MEM:
                self.row(each.channel, each.bank, each.row)[:LANES] = _burst(bursts)
            case Opcode.R_MEM:
                read.append(self.read(each.channel, each.bank, each.row).copy())
            case Opcode.W_CFR:
                self.configuration[each.register] = each.data
            case Opcode.EWADD:
                self._add(each)
            case Opcode.SYNC | Opcode.EOC:
                pass
            case _:
                for place, channel in enumerate(each.channels):
                    _STEPS[each.opcode](self, each, channel, place)

    def _register(self, number: int) -> Floats:
        if number >= REGISTERS:
            raise InvalidArgument(
                f"register = {number} is not there", hint=f"the last one is {REGISTERS - 1}"
            )
        return np.asarray(self.registers[number])

    def _add(self, each: Instruction) -> None:
        for index in range(each.size):
            own, other = (self._register(first + index) for first in (each.register, each.second))
            with np.errstate(over="ignore", invalid="ignore"):
                own[:] = rounded(own + other)

    def _write_bank(self, each: Instruction, channel: int, place: int) -> None:
        self.row(channel, each.bank, each.row)[:LANES] = self._register(each.register + place)

    def _read_bank(self, each: Instruction, channel: int, place: int) -> None:
        self._register(each.register + place)[:] = self.read(channel, each.bank, each.row)

    def _write_banks(self, each: Instruction, channel: int, place: int) -> None:
        for bank in range(BANKS):
            self.row(channel, bank, each.row)[:LANES] = self._register(each.register + place)

    def _write_buffer(self, each: Instruction, channel: int, place: int) -> None:
        for index in range(each.size):
            burst = self._register(each.register + index)
            self.buffer[channel, index * LANES : (index + 1) * LANES] = burst

    def _write_sums(self, each: Instruction, channel: int, place: int) -> None:
        self.sums[channel] = self._register(each.register + place)

    def _read_sums(self, each: Instruction, channel: int, place: int) -> None:
        self._register(each.register + place)[:] = rounded(self.sums[channel])

    def _read_results(self, each: Instruction, channel: int, place: int) -> None:
        self._register(each.register + place)[:] = self.results[channel]

    def _copy_in(self, each: Instruction, channel: int, place: int) -> None:
        end = each.size * LANES
        self.buffer[channel, :end] = self.read(channel, each.bank, each.row, each.size)

    def _copy_out(self, each: Instruction, channel: int, place: int) -> None:
        end = each.size * LANES
        self.row(channel, each.bank, each.row)[:end] = self.buffer[channel, :end]

    def _multiply_one(self, each: Instruction, channel: int, place: int) -> None:
        self._accumulate(each, channel, (each.bank,))

    def _multiply_all(self, each: Instruction, channel: int, place: int) -> None:
        apart = 1 if self.configuration[BROADCAST] else 2
        self._accumulate(each, channel, range(0, BANKS, apart))

    def _accumulate(self, each: Instruction, channel: int, banks: Sequence[int]) -> None:
        def of(wanted: Iterable[int]) -> Floats:
            rows = [self.read(channel, bank, each.row, each.size) for bank in wanted]
            return np.ascontiguousarray(np.stack(rows, axis=1))

        if self.configuration[BROADCAST]:
            vector = self.buffer[channel, : each.size * LANES]
        elif any(bank % 2 for bank in banks):
            raise InvalidArgument(f"bank = {each.bank} has no vector: W CFR 0 0 pairs even banks")
        else:
            vector = of(bank + 1 for bank in banks)
        where = list(banks)
        self.sums[channel, where] = accumulate(of(banks), vector, self.sums[channel, where])

    def _activate(self, each: Instruction, channel: int, place: int) -> None:
        number = self.configuration[FUNCTION]
        if number >= len(FUNCTION_NAMES):
            known = ", ".join(f"{index} {name}" for index, name in enumerate(FUNCTION_NAMES))
            raise InvalidArgument(
                f"W CFR 2: function = {number} has no table", hint=f"there are {known}"
            )
        self.results[channel] = activate(FUNCTION_NAMES[number], self.sums[channel])

    def _products(self, each: Instruction, channel: int, place: int) -> None:
        end = each.size * LANES
        groups = BANKS // _PER_GROUP if self.configuration[GROUPS] else 1
        for first in range(0, groups * _PER_GROUP, _PER_GROUP):
            left, right = (self.read(channel, first + k, each.row, each.size) for k in (0, 1))
            self.row(channel, first + 2, each.row)[:end] = multiply(left, right)


_STEPS: Final[Mapping[Opcode, Callable[[Machine, Instruction, int, int], None]]] = {
    Opcode.WR_SBK: Machine._write_bank,
    Opcode.RD_SBK: Machine._read_bank,
    Opcode.WR_ABK: Machine._write_banks,
    Opcode.WR_GB: Machine._write_buffer,
    Opcode.WR_BIAS: Machine._write_sums,
    Opcode.RD_MAC: Machine._read_sums,
    Opcode.RD_AF: Machine._read_results,
    Opcode.COPY_BKGB: Machine._copy_in,
    Opcode.COPY_GBBK: Machine._copy_out,
    Opcode.MAC_SBK: Machine._multiply_one,
    Opcode.MAC_ABK: Machine._multiply_all,
    Opcode.AF: Machine._activate,
    Opcode.EWMUL: Machine._products,
}


def _burst(bursts: Any) -> Floats:
    given = next(bursts, None)
    if given is None:
        raise InvalidArgument("no data is left for it", hint="give 16 numbers for each W")
    if np.shape(given) != (LANES,):
        raise InvalidArgument(f"data of shape {list(np.shape(given))} is not 16 numbers")
    return rounded(np.asarray(given, np.float32))
